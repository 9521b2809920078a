"""The card: what would be done and what it would mean, before anything is done."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from textual.app import ComposeResult

from vmtop.actions.command import Command, SetBalloon, StartBackup
from vmtop.actions.situation import find_subject
from vmtop.derive.frame import Frame
from vmtop.tui.keymap import Key, Scope, bindings, hints, scroll_keys
from vmtop.tui.messages import CommandConfirmed, VerdictAsked
from vmtop.tui.view import View, ViewScreen
from vmtop.tui.widgets.lines import TextLines
from vmtop.tui.widgets.notice_lines import NoticeLines
from vmtop.tui.widgets.prompt import Prompt
from vmtop.tui.widgets.vm_table import VmTable
from vmtop.viewmodel.card import Entry, build_card, make_entries
from vmtop.viewmodel.formats import line_width, safe_text
from vmtop.viewmodel.status import build_more, build_page_status
from vmtop.viewmodel.summary import summary_rows
from vmtop.viewmodel.tone import Line, Span, Tone
from vmtop.viewmodel.vm_table import build_table

INSISTENT: Mapping[type[Command], str] = MappingProxyType(
    {SetBalloon: "figures are old or do not come", StartBackup: "the host is short of memory"}
)
"""Commands on which an operator may insist -> what the guard refuses then no more."""
PATIENCE_S = 0.3
LEAST_TABLE_ROWS = 3
"""With less room than this the table gives way to the card."""


class ConfirmScreen(ViewScreen):
    """Stands at the bottom of the screen, with the host and the table above it going on.

    Cards with choices derive from it: they override what the part "what cards differ in" has, and call `redraw` when
    the operator changed something.
    """

    BINDINGS = bindings(Scope.CARD, Scope.MOVE)
    SCOPES: tuple[Scope, ...] = (Scope.CARD,)
    """Whose keys the last line shows."""
    AUTO_FOCUS = ""

    def __init__(self, commands: tuple[Command, ...] = (), *, title: str = "") -> None:
        """`title`: foreign text; without one the card has the title of its commands."""
        super().__init__()
        self._commands = commands
        self._title = title
        self._view: View | None = None
        self._entries: tuple[Entry, ...] = ()
        self._is_forced = False
        self._names: dict[Command, str] = {}
        """Command -> name of its VM as it was typed: who agrees to one size has not agreed to another."""
        self._naming: Entry | None = None
        """Whose name the prompt asks for. None while it asks for none."""
        self._shown: tuple[Line, ...] = ()
        self._room_rows = 0
        """Lines of the card that can be seen at once."""
        self._hints: list[tuple[str, str]] = []
        self._is_patient = False
        """The card waits a moment for an answer before it says that it waits: a flicker tells nobody anything."""
        self._card_rows = 0
        """The card keeps its height while it is open: what is above it must not jump."""
        self._summary = TextLines(id="summary")
        self._vms = VmTable()
        self._rule = TextLines(id="rule")
        self._card = TextLines(id="card")
        self._notice = NoticeLines(id="notice")
        self._prompt = Prompt()
        self._status = TextLines(id="status")

    @property
    def view(self) -> View:
        """What is shown.

        Raises:
            RuntimeError: nothing was shown yet.
        """
        if self._view is None:
            raise RuntimeError("the card has no view yet")
        return self._view

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What would be done, and what the guard says of it."""
        return self._entries

    # -- what cards differ in

    def make_commands(self, frame: Frame) -> tuple[Command, ...]:  # noqa: ARG002 - other cards look at it
        """What would be done, as the operator's choices and the newest frame make it."""
        return self._commands

    def make_title(self) -> str:
        """A few words; foreign text."""
        return self._title or self.make_whose(tuple(dict.fromkeys(entry.command.uuid for entry in self._entries)))

    def make_whose(self, uuids: Sequence[str]) -> str:
        """The name of the VM, or how many there are; foreign text."""
        if len(uuids) != 1:
            return f"{len(uuids)} VMs"
        frame = self.view.frame
        subject = None if frame is None else find_subject(frame, uuids[0])
        return uuids[0] if subject is None else subject.metrics.name

    def make_notes(self) -> tuple[Line, ...]:
        """Lines below what the guard says."""
        return ()

    def own_prompt(self) -> tuple[str, str] | None:
        """Label and text of what the card asks the operator to type. None when it asks for nothing."""
        return None

    def take_text(self, text: str) -> None:
        """Take what was typed so far into the card's own prompt."""

    def undoes(self) -> Mapping[Command, str]:
        """Command -> id of the action that it takes back."""
        return {}

    def passing(self) -> Collection[Command]:
        """Commands that are taken back when vmtop ends."""
        return ()

    # -- drawing

    def compose(self) -> ComposeResult:
        """The host, the table, the card, what happened, what is typed, the keys."""
        yield self._summary
        yield self._vms
        yield self._rule
        yield self._card
        yield self._notice
        yield self._prompt
        yield self._status

    def on_mount(self) -> None:
        """Nothing is typed yet, and the table is only to look at."""
        self._vms.disabled = True
        self._prompt.display = False

    def show(self, view: View) -> None:
        """Draw the view, and have the commands judged that it makes."""
        is_first = self._view is None
        self._view = view
        if is_first:
            self.ask_text()
        frame = view.frame
        if frame is not None:
            commands = tuple(self._insist(command) for command in self.make_commands(frame))
            if commands != tuple(entry.command for entry in self._entries):
                self.post_message(VerdictAsked(commands))
                self._is_patient = True
                self.set_timer(PATIENCE_S, self._lose_patience)
            self._entries = make_entries(commands, frame, view.verdicts)
            self._forget_naming()
        self._draw(view)

    def _forget_naming(self) -> None:
        """Ask for no name that is not needed any more: the size is another, or the guest uses less by now."""
        if self._naming is None:
            return
        command = self._naming.command
        entry = next((each for each in self._entries if each.command == command), None)
        if entry is None or (entry.verdict is not None and not (entry.is_allowed and self._is_unnamed(entry))):
            self._naming = None
            self.ask_text()

    def _lose_patience(self) -> None:
        """The answer does not come at once, so that has to be said."""
        self._is_patient = False
        self.redraw()

    def redraw(self) -> None:
        """The operator changed something: make and draw everything anew."""
        if self._view is not None:
            self.show(self._view)

    def on_resize(self) -> None:
        """Lay everything out anew."""
        self._card_rows = 0
        self.redraw()

    def _insist(self, command: Command) -> Command:
        if self._is_forced and isinstance(command, SetBalloon | StartBackup):
            return replace(command, is_forced=True)
        return command

    def _insistence(self) -> tuple[Line, ...]:
        """What is done although the guard spoke against it."""
        kinds = dict.fromkeys(type(entry.command) for entry in self._entries)
        reasons = [INSISTENT[kind] for kind in kinds if kind in INSISTENT]
        if not self._is_forced or not reasons:
            return ()
        text = f"insisting: it is done although {' or '.join(reasons)} (Ctrl+F)"
        return ((Span("! ", Tone.WARN), Span(text, Tone.WARN)),)

    def _draw(self, view: View) -> None:
        width, height = self.app.size
        has_unicode = view.state.has_unicode
        prompt_rows = self._prompt.rows if self._prompt.display else 0
        said_rows = self._notice.show_notice(view.notice, view.palette, self.app.size, has_unicode=has_unicode)
        most = max(1, height - 3 - prompt_rows - said_rows)  # a line about the host, the rule, the keys
        is_judged = all(entry.verdict is not None for entry in self._entries)
        card, is_waiting = self._shown, self._is_patient and not is_judged and bool(self._shown)
        if view.frame is not None and not is_waiting:
            notes = (*self.make_notes(), *self._insistence())
            card = build_card(self._entries, view.frame, width=width, rows=most, has_unicode=has_unicode, notes=notes)
        card_rows = min(most, max(self._card_rows, len(card)))
        if is_judged:
            self._card_rows = card_rows
        room = most - card_rows
        head = self.make_summary(view, 1 + max(0, min(summary_rows(height) - 1, room - LEAST_TABLE_ROWS)))
        table_rows = room - (len(head) - 1)
        self._summary.styles.height = len(head)
        self._vms.display = table_rows >= LEAST_TABLE_ROWS
        self._card.styles.height = card_rows if self._vms.display else "1fr"
        self._summary.show_lines(head, view.palette)
        if self._vms.display and view.frame is not None:
            table = build_table(view.frame, view.state, view.order, width, view.targets, has_marks=True)
            self._vms.show_table(table, view.palette, is_stale=view.is_stale)
        self._shown, self._room_rows = card, card_rows if self._vms.display else most
        self._draw_rule(view)
        self._card.show_lines(card, view.palette)
        if not is_waiting:
            scopes = (Scope.CARD,) if self._prompt.display else self.SCOPES
            self._hints = hints(self._useful_keys(view), *scopes)
        status = build_page_status(self._hints, width=width)
        self._status.show_lines((status,), view.palette)

    def _useful_keys(self, view: View) -> list[Key]:
        """Keys that change something as things stand."""
        useless = self.useless_keys()
        return [key for key in view.keys if key.id not in useless]

    def useless_keys(self) -> set[str]:
        """Ids of keys that change nothing as things stand."""
        can_confirm = any(entry.is_allowed for entry in self._entries)
        can_insist = self._is_forced or any(
            entry.verdict is not None and entry.verdict.is_refused and type(entry.command) in INSISTENT
            for entry in self._entries
        )
        return {*([] if can_confirm else ["confirm"]), *([] if can_insist else ["force"])}

    def _draw_rule(self, view: View) -> None:
        """The title of the card, and what of it is in sight, where not all is."""
        width, has_unicode = self.app.size.width, view.state.has_unicode
        dash = "─" if has_unicode else "-"
        title = (Span(f"{dash * 2} ", Tone.DIM), Span(safe_text(self.make_title(), has_unicode), Tone.SORTED))
        all_rows, room = len(self._shown), self._room_rows
        first = min(self._card.top, max(0, all_rows - room)) + 1
        end: Line = (Span(f" {dash * width}", Tone.DIM),)
        if all_rows > room:
            seen = first, min(all_rows, first + room - 1), all_rows
            more = build_more(
                seen, scroll_keys(view.keys), width=max(0, width - line_width(title) - 1), has_unicode=has_unicode
            )
            end = (Span(" ", Tone.DIM), *more)
        self._rule.show_lines(((*title, *end),), view.palette)

    def on_text_lines_scrolled(self) -> None:
        """Other lines of the card are in sight."""
        if self._view is not None:
            self._draw_rule(self._view)

    # -- keys

    def action_go_back(self) -> None:
        """Do nothing."""
        self.dismiss()

    def action_toggle_force(self) -> None:
        """Insist, or not any more."""
        self._is_forced = not self._is_forced
        self.redraw()

    def action_confirm(self) -> None:
        """Do what is allowed, once the names that have to be typed are typed."""
        allowed = [entry for entry in self._entries if entry.is_allowed]
        self._naming = next((entry for entry in allowed if self._is_unnamed(entry)), None)
        if self._naming is not None:
            self.ask_text()
        elif allowed:
            self.post_message(
                CommandConfirmed(
                    tuple(entry.command for entry in allowed),
                    names={
                        entry.command.uuid: self._names[entry.command]
                        for entry in allowed
                        if entry.command in self._names
                    },
                    undoes=self.undoes(),
                    passing=self.passing(),
                )
            )
            self.dismiss()

    def _is_unnamed(self, entry: Entry) -> bool:
        is_needed = entry.verdict is not None and bool(entry.verdict.needs_name)
        return is_needed and entry.command not in self._names

    def action_move_rows(self, step: int) -> None:
        """Scroll the card by lines."""
        self._card.scroll_lines(step)

    def action_move_pages(self, step: int) -> None:
        """Scroll the card by pages."""
        self._card.scroll_pages(step)

    def action_move_to_end(self, direction: int) -> None:
        """Scroll the card to its first or last line."""
        self._card.scroll_to_end(direction)

    # -- typing

    def ask_text(self) -> None:
        """Ask for the name that is missing, or for what the card itself asks, or for nothing."""
        if self._view is None:
            return
        asked = self.own_prompt()
        if self._naming is not None:
            asked = f"Type {self.safe(self._naming.name)} to go on: ", ""
        self._prompt.display = asked is not None
        if asked is None:
            self.set_focus(None)
        else:
            self._prompt.ask(*asked, self._view.palette)
        self._draw(self._view)

    def complain(self, complaint: str) -> None:
        """Say what is wrong with what was typed; nothing takes that back."""
        rows = self._prompt.rows
        self._prompt.complain(complaint)
        if self._prompt.rows != rows and self._view is not None:
            self._draw(self._view)

    def on_prompt_edited(self, message: Prompt.Edited) -> None:
        """Take it in while it is typed."""
        message.stop()
        if self._naming is None:
            self.take_text(message.text)
            self.redraw()

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        """Check the name, or do what the card says."""
        message.stop()
        naming = self._naming
        if naming is not None and message.text not in {naming.name, self.safe(naming.name)}:
            self.complain("that is not its name")
            return
        if naming is not None:
            self._names[naming.command] = naming.name
            self._naming = None
            self.ask_text()
        self.action_confirm()

    def on_prompt_cancelled(self, message: Prompt.Cancelled) -> None:
        """Back to the card, or leave it."""
        message.stop()
        if self._naming is None:
            self.dismiss()
        else:
            self._naming = None
            self.ask_text()

    def safe(self, text: str) -> str:
        """Foreign text, harmless and in the characters of this terminal."""
        return safe_text(text, self._view is None or self._view.state.has_unicode)
