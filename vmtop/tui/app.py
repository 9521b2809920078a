"""The Textual app: owns what the operator chose, and hands every screen its view."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from textual.app import App
from textual.timer import Timer

from vmtop.derive.frame import Frame
from vmtop.errors import UsageError
from vmtop.model.failure import Failure
from vmtop.model.policy import DEFAULT_POLICY, Policy
from vmtop.tui import messages
from vmtop.tui.diff_display import DiffDisplay
from vmtop.tui.keymap import Scope, apply_keymap, bindings
from vmtop.tui.screens.main import MainScreen
from vmtop.tui.terminal import TerminalWatch
from vmtop.tui.theme import OWN_COLORS, Palette, make_palette
from vmtop.tui.view import Source, View, ViewScreen
from vmtop.viewmodel.ui_state import UiState
from vmtop.viewmodel.vm_table import Order
from vmtop.wording import nearest

AGE_REFRESH_S = 1.0
"""Ages are drawn anew this often even when nothing is read."""

NO_KEYS: Mapping[str, str] = MappingProxyType({})


class VmtopApp(TerminalWatch, DiffDisplay, App[None]):
    """Shows what a source reads until the operator quits."""

    CSS_PATH = Path(__file__).with_name("vmtop.tcss")
    BINDINGS = bindings(Scope.EVERYWHERE)
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False

    def __init__(  # noqa: PLR0913 - what comes from outside, each thing under its own name
        self,
        source: Source,
        *,
        state: UiState,
        uri: str,
        is_readonly: bool = True,
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
            is_readonly: nothing can be changed there.
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
        self._is_readonly = is_readonly
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
        self._paused_since_s: float | None = None
        self._is_wake_pending = False
        self._age_timer: Timer | None = None

    def _choose_palette(self, theme: str | None) -> Palette:
        if theme is not None and theme not in self.available_themes:
            raise UsageError(f"there is no theme {theme!r}. {nearest(theme, list(self.available_themes))}")
        self.theme = OWN_COLORS if theme is None or self.no_color else theme
        return make_palette(
            None if theme is None else self.current_theme,
            self.get_css_variables(),
            has_many_colors=self.console.color_system not in {None, "standard"},
            has_color=not self.no_color,
        )

    def get_default_screen(self) -> MainScreen:
        """The screen at the bottom of the stack."""
        return MainScreen()

    def on_mount(self) -> None:
        """Begin to listen to the source."""
        self._age_timer = self.set_interval(AGE_REFRESH_S, self.publish)
        self._source.attach(self._wake)

    def on_unmount(self) -> None:
        """Let the source end."""
        self._source.stop()

    def _wake(self) -> None:
        """Have the newest reading shown; called from any thread."""
        if not self._is_wake_pending:
            self._is_wake_pending = True
            with suppress(RuntimeError):  # the loop has ended, and nobody looks any more
                self.post_message(messages.ReadingTaken())

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
            is_readonly=self._is_readonly,
            is_simulated=self._is_simulated if self._frame is None else self._frame.sample.is_simulated,
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

    def action_show_help(self) -> None:
        """Lay the help above whatever is there."""
        from vmtop.tui.screens.help import HelpScreen  # the first picture does not wait for it

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())

    def action_toggle_pause(self) -> None:
        """Hold the view still, or show the present again."""
        is_paused = not self._state.is_paused
        self._paused_since_s = self._monotonic() if is_paused else None
        self._choose(replace(self._state, is_paused=is_paused))

    def action_redraw(self) -> None:
        """Draw everything anew."""
        self.repaint_all()
