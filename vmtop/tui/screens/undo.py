"""The card of what is taken back."""

from collections.abc import Mapping, Sequence

from vmtop.actions.audit import Undo
from vmtop.actions.command import Command
from vmtop.actions.runner import undo_command
from vmtop.actions.size import size_text
from vmtop.derive.frame import Frame
from vmtop.tui.keymap import Scope, bindings
from vmtop.tui.screens.confirm import ConfirmScreen
from vmtop.viewmodel.formats import format_time
from vmtop.viewmodel.tone import Line, Span, Tone


class UndoScreen(ConfirmScreen):
    """The key that opened it takes back one more."""

    BINDINGS = bindings(Scope.UNDO)
    SCOPES = (Scope.CARD, Scope.UNDO)

    def __init__(self, found: Sequence[Undo]) -> None:
        """`found`: what can be taken back, the newest first."""
        super().__init__()
        newest = {(change.uuid, change.action): change for change in reversed(found)}
        self._found = [change for change in found if newest[change.uuid, change.action] is change]
        self._count = 1

    @property
    def _chosen(self) -> Sequence[Undo]:
        return self._found[: self._count]

    def make_commands(self, frame: Frame) -> tuple[Command, ...]:  # noqa: ARG002 - they are made of the audit
        """The old values."""
        return tuple(undo_command(change) for change in self._chosen)

    def make_title(self) -> str:
        """How much is taken back."""
        return "Take the last change back" if self._count == 1 else f"Take the last {self._count} changes back"

    def make_notes(self) -> tuple[Line, ...]:
        """What was done and when."""
        return tuple((Span(self.safe(_describe(change)), Tone.DIM),) for change in self._chosen)

    def undoes(self) -> Mapping[Command, str]:
        """Which action each command takes back."""
        frame = self.view.frame
        made = () if frame is None else [entry.command for entry in self.entries]
        return {command: change.id for command, change in zip(made, self._chosen, strict=True)}

    def action_undo(self) -> None:
        """One more, if there is one; of each VM only the last change, since the one before may come next."""
        self._count = min(len(self._found), self._count + 1)
        self.redraw()


def _describe(change: Undo) -> str:
    """One change: "2023-11-14 22:13 UTC  web-1: balloon 4.0G to 2.0G"."""
    date, _, time = format_time(change.time_s).partition("T")
    show = size_text if change.action == "balloon" else "{} s".format
    new = "" if change.new is None else f" to {show(change.new)}"
    return f"{date} {time[:5]} UTC  {change.vm}: {change.action} {show(change.old)}{new}"
