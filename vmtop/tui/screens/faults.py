"""The menu of faults, where everything is simulated."""

from collections.abc import Mapping, Sequence

from vmtop.actions.situation import find_subject
from vmtop.model.fault import FaultInfo
from vmtop.tui.keymap import Scope, bindings
from vmtop.tui.messages import FaultAsked, FaultsEnded
from vmtop.tui.screens.list import ListScreen
from vmtop.tui.view import View
from vmtop.viewmodel.faults import FaultChoice, build_faults
from vmtop.viewmodel.sheet import Page, build_note
from vmtop.viewmodel.tone import Line, Span, Tone


class FaultsScreen(ListScreen):
    """What can be made to go wrong with a VM and with the host."""

    BINDINGS = bindings(Scope.PICK, Scope.FAULTS)
    SCOPES = (Scope.PICK, Scope.FAULTS)

    def __init__(self, uuid: str | None, faults: Sequence[FaultInfo]) -> None:
        """What there is.

        Args:
            uuid: of the VM; None for the host alone.
            faults: the menu.
        """
        super().__init__()
        self._uuid = uuid
        self._faults = tuple(faults)
        self._choices: Mapping[str, FaultChoice] = {}

    def make_head(self, view: View, width: int) -> Sequence[Line]:
        """What goes on already: the faults that were injected tell it themselves."""
        title = (Span("Make something go wrong", Tone.TITLE), Span("  nothing of this is real", Tone.DIM))
        notices = () if view.frame is None else view.frame.sample.notices
        told = [
            line
            for notice in notices
            for line in build_note(f"! {notice}", width, Tone.NOTE, has_unicode=view.state.has_unicode)
        ]
        return title, *told, ()

    def make_page(self, view: View, width: int) -> Page:
        """The menu."""
        if view.frame is None:
            return Page(lines=(), keys=())
        subject = None if self._uuid is None else find_subject(view.frame, self._uuid)
        page, self._choices = build_faults(
            self._faults,
            None if subject is None else self._uuid,
            "" if subject is None else subject.metrics.name,
            width=width,
            has_unicode=view.state.has_unicode,
        )
        return page

    def make_more(self, view: View, width: int) -> Sequence[Line]:
        """The fault under the cursor, whole."""
        found = next((fault for fault in self._faults if fault.fault_id == self.key), None)
        return () if found is None else build_note(found.sentence, width, has_unicode=view.state.has_unicode)

    def action_choose(self) -> None:
        """Inject the fault under the cursor."""
        choice = None if self.key is None else self._choices.get(self.key)
        if choice is not None:
            self.post_message(FaultAsked(choice.fault_id, choice.uuid))

    def action_end_faults(self) -> None:
        """Undo what was injected."""
        self.post_message(FaultsEnded())
