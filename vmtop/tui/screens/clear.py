"""The card of checkpoints that go."""

from vmtop.actions.checkpoint import Clearing, choose_checkpoints
from vmtop.actions.command import Command, DeleteCheckpoints
from vmtop.derive.frame import Frame
from vmtop.model.storage import StorageSample
from vmtop.tui.keymap import Scope, bindings
from vmtop.tui.screens.confirm import ConfirmScreen
from vmtop.viewmodel.tone import Line, Span, Tone

_CHOICES = {Clearing.OLD: "All but the newest", Clearing.ALL: "All of vmtop"}


class ClearScreen(ConfirmScreen):
    """Offers to delete all checkpoints of vmtop, or all but the newest."""

    BINDINGS = bindings(Scope.CHOICE)
    SCOPES = (Scope.CARD, Scope.CHOICE)

    def __init__(self, storage: StorageSample, clearing: Clearing) -> None:
        """Prepare.

        Args:
            storage: Of the VM, with its checkpoints.
            clearing: What is offered first; the other one where that would delete nothing.
        """
        super().__init__()
        self._uuid = storage.uuid
        chosen = {each: choose_checkpoints(storage, each) for each in Clearing}
        self._choices = {each: names for each, names in chosen.items() if names}
        self._clearing = clearing if clearing in self._choices else Clearing.ALL

    def make_commands(self, frame: Frame) -> tuple[Command, ...]:  # noqa: ARG002 - they are made of what was read
        """One for the VM."""
        return (DeleteCheckpoints(uuid=self._uuid, names=self._choices.get(self._clearing, ())),)

    def make_title(self) -> str:
        """Whose checkpoints."""
        return f"Checkpoints of {self.make_whose((self._uuid,))}"

    def make_notes(self) -> tuple[Line, ...]:
        """What was chosen, and that there is a choice."""
        if len(self._choices) <= 1:
            return ()
        return ((Span("Deletes: ", Tone.DIM), Span(_CHOICES[self._clearing], Tone.NAME), Span("  (Tab)", Tone.DIM)),)

    def useless_keys(self) -> set[str]:
        """One way, or none, is no choice."""
        return {*super().useless_keys(), *([] if len(self._choices) > 1 else ["choice"])}

    def action_choose_next(self) -> None:
        """The other choice, where there is one."""
        choices = list(self._choices)
        if choices:
            self._clearing = choices[(choices.index(self._clearing) + 1) % len(choices)]
            self.redraw()
