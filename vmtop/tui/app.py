"""The Textual app: owns what the operator chose, and hands every screen its view."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from textual import events
from textual.app import App
from textual.message import Message
from textual.reactive import Reactive
from textual.timer import Timer

from vmtop.derive.frame import Frame
from vmtop.errors import ControlError, UsageError, VmtopError
from vmtop.model.capability import EVERYTHING, Capability
from vmtop.model.failure import Failure
from vmtop.model.policy import DEFAULT_POLICY, Policy
from vmtop.pipeline import Reading
from vmtop.tui import messages
from vmtop.tui.acting import Acting
from vmtop.tui.diff_display import DiffDisplay
from vmtop.tui.keymap import Scope, apply_keymap, bindings
from vmtop.tui.lookups import Lookups, ReadAudit, ReadRecovery, ReadStorage, VerifyBackups
from vmtop.tui.screens.main import MainScreen
from vmtop.tui.terminal import TerminalWatch
from vmtop.tui.theme import OWN_COLORS, Palette, make_palette
from vmtop.tui.view import Faults, Operator, Source, View, ViewScreen
from vmtop.viewmodel.status import Notice
from vmtop.viewmodel.tone import Tone
from vmtop.viewmodel.ui_state import UiState
from vmtop.viewmodel.vm_table import Order
from vmtop.wording import nearest

AGE_REFRESH_S = 1.0
"""Ages are drawn anew this often even when nothing is read."""

READ_ONLY = "read-only: nothing can be changed here"

NO_KEYS: Mapping[str, str] = MappingProxyType({})


class VmtopApp(TerminalWatch, DiffDisplay, App[None]):
    """Shows what a source reads until the operator quits."""

    CSS_PATH = Path(__file__).with_name("vmtop.tcss")
    BINDINGS = bindings(Scope.EVERYWHERE)
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False

    theme: Reactive[str] = Reactive(OWN_COLORS)  # from the beginning, as each change parses all CSS once more

    def __init__(  # noqa: PLR0913 - what comes from outside, each thing under its own name
        self,
        source: Source,
        *,
        state: UiState,
        uri: str,
        make_operator: Callable[[], Operator] | None = None,
        why_readonly: str = "",
        capability: Capability = EVERYTHING,
        faults: Faults | None = None,
        read_audit: ReadAudit | None = None,
        read_storage: ReadStorage | None = None,
        read_recovery: ReadRecovery | None = None,
        verify_backups: VerifyBackups | None = None,
        is_simulated: bool = False,
        policy: Policy = DEFAULT_POLICY,
        theme: str | None = None,
        keymap: Mapping[str, str] = NO_KEYS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare the screen.

        Args:
            source: gives readings of what is at `uri`; it may have begun long ago.
            state: what to begin with.
            uri: where the figures come from, in full.
            make_operator: gives what changes VMs; called when that is needed, from any thread. None where nothing can
                be changed.
            why_readonly: why that is so, in words.
            capability: what can be done with the VMs there.
            faults: makes things go wrong there.
            read_audit: gives what was done with vmtop; called on a thread.
            read_storage: gives disks, snapshots and checkpoints of a VM; called on a thread. None where nobody tells.
            read_recovery: gives the backups of a VM in a folder; called on a thread. None where they cannot be seen.
            verify_backups: has them checked; called on a thread. None where their files cannot be.
            is_simulated: what is there is no real host.
            policy: thresholds.
            theme: a theme of Textual; None takes the terminal's own colours.
            keymap: other keys for some bindings (id -> keys, comma-separated).
            monotonic: the clock that gives samples their `monotonic_s`.

        Raises:
            UsageError: there is no such theme or binding, or a key cannot be bound so.
        """
        super().__init__()
        self._source = source
        self._state = state
        self._uri = uri
        self._why_readonly = "" if make_operator is not None else why_readonly or READ_ONLY
        self._capability = capability
        self._faults = faults
        self._is_simulated = is_simulated
        self._order = Order()
        self._policy = policy
        self._monotonic = monotonic
        self._keys = apply_keymap(keymap)
        self.set_keymap({key.id: key.keys for key in self._keys if key.id in keymap})
        self._palette = self._choose_palette(theme)
        self._frame: Frame | None = None
        """The one that is shown."""
        self.unanswered: Failure | None = None
        """Why not a single reading worked so far. None when one did, or when the first still goes on."""
        self.left_undone = ""
        """What was to be put back at the end and was not, in words; empty when nothing was."""
        self._paused_since_s: float | None = None
        self._is_wake_pending = False
        self._acting = Acting(make_operator, self._wake, monotonic)
        self._lookups = Lookups(
            read_audit,
            read_storage,
            read_recovery,
            verify_backups,
            self._acting.spawn,
            self._wake,
            lambda notice: self._post(messages.Noticed(notice)),
        )
        self._age_timer: Timer | None = None

    def _choose_palette(self, theme: str | None) -> Palette:
        if theme is not None and theme not in self.available_themes:
            raise UsageError(f"there is no theme {theme!r}. {nearest(theme, list(self.available_themes))}")
        if theme is not None and not self.no_color:
            self.theme = theme
        return make_palette(
            None if theme is None else self.current_theme,
            {} if theme is None else self.get_css_variables(),
            has_many_colors=self.console.color_system not in {None, "standard"},
            has_color=not self.no_color,
        )

    def get_default_screen(self) -> MainScreen:
        """The screen at the bottom of the stack, which shows at once what is read already."""
        return MainScreen(self._make_view())

    def on_mount(self) -> None:
        """Begin to listen to the source."""
        self._age_timer = self.set_interval(AGE_REFRESH_S, self.publish)
        self._source.attach(self._wake)
        self.call_after_refresh(self._begin_to_act)

    async def on_unmount(self) -> None:  # type: ignore[override] # Textual awaits those that have to be
        """Put back what was to be put back, and let the source end."""
        self.left_undone = await self._acting.end()
        self._source.stop()

    def _begin_to_act(self) -> None:
        self._acting.is_on = True

    async def action_quit(self) -> None:
        """End, at once when nothing goes on or it was asked for twice."""
        from vmtop.tui.screens.quit import QuitScreen  # what is under way has loaded most of it

        if self._acting.going and not isinstance(self.screen, QuitScreen):
            await self.push_screen(QuitScreen())
        else:
            self.exit()

    def on_quit_confirmed(self) -> None:
        """The operator saw what goes on."""
        self.exit()

    def follow(self, reading: Reading) -> None:
        """Hand every reading to what acts, once the first picture is drawn; on the thread of whoever reads."""
        self._acting.follow(reading)

    async def on_event(self, event: events.Event) -> None:
        """Take note of keys before they do what they do."""
        is_key = isinstance(event, events.Key) and not event.is_forwarded
        if is_key and self._acting.see_key():
            self.publish()
        await super().on_event(event)

    def _wake(self) -> None:
        """Have what is new shown; called from any thread."""
        if not self._is_wake_pending:
            self._is_wake_pending = True
            self._post(messages.ReadingTaken())

    def _post(self, message: Message) -> None:
        """Send the app a message, from any thread."""
        with suppress(RuntimeError):  # the loop has ended, and nobody looks any more
            self.post_message(message)

    def on_reading_taken(self) -> None:
        """Show it, and whatever comes after."""
        self._is_wake_pending = False
        self.publish()

    def on_view_asked(self) -> None:
        """Show the screen that came to the front what there is."""
        self.publish()

    def publish(self) -> None:
        """Give the screen in front its view."""
        if self._age_timer is not None:
            self._age_timer.reset()  # what is drawn now needs no other reason to be drawn for a while
        if isinstance(self.screen, ViewScreen) and self.screen.is_mounted:
            self.screen.show(self._make_view())

    def _make_view(self) -> View:
        reading, now_s = self._source.latest(), self._monotonic()
        self.unanswered = reading.failure if reading.frame is None else None
        self._acting.see(reading.frame)
        if not self._state.is_paused:
            self._frame = reading.frame
        return View(
            frame=self._frame,
            reading=reading,
            state=self._state,
            order=self._order,
            now_monotonic_s=now_s + reading.clock_ahead_s,
            paused_s=None if self._paused_since_s is None else now_s - self._paused_since_s,
            history=self._source.history,
            policy=self._policy,
            palette=self._palette,
            keys=self._keys,
            uri=self._uri,
            why_readonly=self._why_readonly,
            capability=self._capability,
            is_simulated=self._is_simulated if self._frame is None else self._frame.sample.is_simulated,
            notice=self._acting.notice,
            targets=self._acting.targets,
            actions=self._acting.actions,
            verdicts=self._acting.verdicts,
            storage=self._lookups.storage,
            records=self._lookups.records,
            running=self._lookups.running,
            recovery=self._lookups.recovery,
            verifying=self._lookups.verifying,
            faults=self._faults,
        )

    def _choose(self, state: UiState) -> None:
        self._state = state
        self.publish()

    def on_cursor_moved(self, message: messages.CursorMoved) -> None:
        """Remember the VM; the table has drawn its cursor already."""
        self._state = replace(self._state, cursor_uuid=message.uuid)

    def on_sort_chosen(self, message: messages.SortChosen) -> None:
        """Sort by a column, or the other way round by the same."""
        state = self._state
        is_reversed = message.can_reverse and message.column_id == state.sort_column and not state.is_reversed
        self._choose(replace(state, sort_column=message.column_id, is_reversed=is_reversed))

    def on_sort_moved(self, message: messages.SortMoved) -> None:
        """Sort by a column next to the present one; from the last one on to the first."""
        ids = message.column_ids
        place = ids.index(self._state.sort_column) if self._state.sort_column in ids else 0
        self._choose(replace(self._state, sort_column=ids[(place + message.step) % len(ids)], is_reversed=False))

    def on_sort_reversed(self) -> None:
        """Sort the other way round."""
        self._choose(replace(self._state, is_reversed=not self._state.is_reversed))

    def on_filter_changed(self, message: messages.FilterChanged) -> None:
        """Show fewer VMs, or more."""
        self._choose(replace(self._state, filter_text=message.text))

    def on_delay_chosen(self, message: messages.DelayChosen) -> None:
        """Read at another pace."""
        self._source.set_delay(message.seconds)
        self._choose(replace(self._state, delay_s=message.seconds))

    def on_page_opened(self, message: messages.PageOpened) -> None:
        """Lay the page of a VM or of the host above the table."""
        from vmtop.tui.screens.detail import DetailScreen  # charts are loaded when somebody wants one

        self.push_screen(DetailScreen(message.uuid))

    def on_mark_toggled(self, message: messages.MarkToggled) -> None:
        """Mark a VM, or take its mark away."""
        marked = self._state.marked ^ {message.uuid}
        self._choose(replace(self._state, marked=marked, cursor_uuid=message.cursor_uuid))

    def on_marks_cleared(self) -> None:
        """Mark no VM any more."""
        self._choose(replace(self._state, marked=frozenset()))

    # -- acting

    def on_noticed(self, message: messages.Noticed) -> None:
        """Say it above the status line."""
        self._say(message.notice.text, message.notice.tone)

    def _say(self, text: str, tone: Tone) -> None:
        self._acting.say(Notice(text, tone))
        self.publish()

    def _can_act(self) -> bool:
        """Whether VMs can be changed; if not, that is said."""
        if self._why_readonly:
            self._say(self._why_readonly, Tone.WARN)
        return not self._why_readonly

    def _lay_card(self, card: ViewScreen) -> None:
        """Lay a card above the screen; when it is gone, nothing is in question any more."""
        self.push_screen(card, lambda _: self._acting.ask_verdicts(()))

    def on_command_asked(self, message: messages.CommandAsked) -> None:
        """Lay a card above the screen that says what would be done."""
        if self._can_act():
            from vmtop.tui.screens.confirm import ConfirmScreen  # the first picture does not wait for any of these

            self._lay_card(ConfirmScreen(message.commands))

    def on_balloon_asked(self, message: messages.BalloonAsked) -> None:
        """Lay the card for balloons above the screen."""
        if self._can_act():
            from vmtop.tui.screens.balloon import BalloonScreen

            self._lay_card(BalloonScreen(message.uuids, message.steps))

    def on_period_asked(self, message: messages.PeriodAsked) -> None:
        """Lay the card for statistics periods above the screen."""
        if self._can_act():
            from vmtop.tui.screens.period import PeriodScreen

            self._lay_card(PeriodScreen(message.uuids))

    def on_clearing_asked(self, message: messages.ClearingAsked) -> None:
        """Lay the card for checkpoints above the screen."""
        if self._can_act():
            from vmtop.tui.screens.clear import ClearScreen

            self._lay_card(ClearScreen(message.storage, message.clearing))

    def on_undo_asked(self) -> None:
        """Look for what can be taken back."""
        if self._can_act():
            self._acting.ask_undoable(lambda found: self._post(messages.UndoFound(found)))

    def on_undo_found(self, message: messages.UndoFound) -> None:
        """Lay the card of what would be taken back above the screen."""
        if isinstance(message.found, VmtopError):
            self._say(str(message.found), Tone.HARD)
        elif not message.found:
            self._say("there is nothing to take back", Tone.NOTE)
        else:
            from vmtop.tui.screens.undo import UndoScreen

            self._lay_card(UndoScreen(message.found))

    def on_verdict_asked(self, message: messages.VerdictAsked) -> None:
        """Have the guard judge commands."""
        self._acting.ask_verdicts(message.commands)
        self.publish()

    def on_storage_asked(self, message: messages.StorageAsked) -> None:
        """Have the storage of a VM read."""
        self._lookups.ask_storage(message.uuid)

    def on_jobs_opened(self) -> None:
        """Lay the list of jobs above the screen."""
        from vmtop.tui.screens.jobs import JobsScreen

        self.push_screen(JobsScreen())

    def on_snapshots_opened(self, message: messages.SnapshotsOpened) -> None:
        """Lay the list of a VM's snapshots above the screen."""
        from vmtop.tui.screens.snapshots import SnapshotsScreen

        self.push_screen(SnapshotsScreen(message.uuid))

    def on_kinds_opened(self, message: messages.KindsOpened) -> None:
        """Lay the list of kinds of snapshots above the screen."""
        if self._can_act():
            from vmtop.tui.screens.snapshots import KindsScreen

            self.push_screen(KindsScreen(message.uuid))

    def on_backups_opened(self, message: messages.BackupsOpened) -> None:
        """Lay the list of a VM's backups above the screen."""
        from vmtop.tui.screens.backups import BackupsScreen

        self.push_screen(BackupsScreen(message.uuid))

    def on_backup_folder_chosen(self, message: messages.BackupFolderChosen) -> None:
        """Have backups go to this folder."""
        self._choose(replace(self._state, backup_folder=message.folder))

    def on_recovery_asked(self, message: messages.RecoveryAsked) -> None:
        """Look for the backups of a VM."""
        self._lookups.ask_recovery(message.folder, message.uuid)

    def on_verification_asked(self, message: messages.VerificationAsked) -> None:
        """Have the backups of a VM checked."""
        self._lookups.verify(message.folder, message.uuid, message.vm)

    def on_audit_opened(self) -> None:
        """Lay the list of what was done above the screen."""
        from vmtop.tui.screens.audit import AuditScreen

        self.push_screen(AuditScreen())

    def on_records_asked(self) -> None:
        """Read the audit."""
        self._lookups.ask_records()

    def on_faults_opened(self, message: messages.FaultsOpened) -> None:
        """Lay the menu of faults above the screen, where there is one."""
        if self._faults is None:
            self._say("faults can be injected into a simulated host only: vmtop --demo", Tone.NOTE)
            return
        from vmtop.tui.screens.faults import FaultsScreen

        self.push_screen(FaultsScreen(message.uuid, self._faults.faults()))

    def on_fault_asked(self, message: messages.FaultAsked) -> None:
        """Make something go wrong."""
        fault_id, uuid = message.fault_id, message.uuid
        self._meddle(lambda faults: faults.inject_fault(fault_id, uuid), f"injected: {fault_id}")

    def on_faults_ended(self) -> None:
        """Undo what was injected."""
        self._meddle(lambda faults: faults.end_faults(), "all that was injected and can be undone is undone")

    def _meddle(self, meddle: Callable[[Faults], None], done: str) -> None:
        """Change what is simulated; that waits for the end of a reading."""
        faults = self._faults
        if faults is None:
            return

        def work() -> None:
            try:
                meddle(faults)
            except ControlError as error:
                self._post(messages.Noticed(Notice(str(error), Tone.WARN)))
            else:
                self._post(messages.Noticed(Notice(done, Tone.OK)))

        self._acting.spawn(work)

    def on_command_confirmed(self, message: messages.CommandConfirmed) -> None:
        """Do it."""
        self._acting.do(message)
        self.publish()

    def action_show_help(self) -> None:
        """Lay the help above whatever is there."""
        from vmtop.tui.screens.help import HelpScreen  # the first picture does not wait for it

        if not isinstance(self.screen, HelpScreen):
            here = {active.binding.id for active in self.screen.active_bindings.values() if active.binding.id}
            self.push_screen(HelpScreen(here))

    def action_toggle_pause(self) -> None:
        """Hold the view still, or show the present again."""
        is_paused = not self._state.is_paused
        self._paused_since_s = self._monotonic() if is_paused else None
        self._choose(replace(self._state, is_paused=is_paused))

    def action_redraw(self) -> None:
        """Draw everything anew."""
        self.repaint_all()
