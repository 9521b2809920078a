"""The card of balloons: step by step, or to a size that is typed."""

from collections.abc import Mapping

from vmtop.actions.command import Command
from vmtop.actions.situation import find_subject
from vmtop.actions.size import ACCEPTED, explain_floor
from vmtop.derive.frame import Frame
from vmtop.tui.keymap import Scope, bindings
from vmtop.tui.screens.confirm import ConfirmScreen
from vmtop.viewmodel.balloon_plan import BalloonPlan, plan_steps, plan_typed, read_bases
from vmtop.viewmodel.tone import Line, Span, Tone

AT_MAXIMUM = "That is the maximum: there is no larger size"
AT_LEAST = "That is the least that a step leads to; b asks for any size"
NOTHING_TYPED = BalloonPlan((), "")


class BalloonScreen(ConfirmScreen):
    """The keys that opened it go on in it: the size changes before anything is done."""

    BINDINGS = bindings(Scope.BALLOON)
    SCOPES = (Scope.CARD, Scope.BALLOON)

    def __init__(self, uuids: tuple[str, ...], steps: int) -> None:
        """`steps`: how far to begin with; 0 asks for a size."""
        super().__init__()
        self._uuids = uuids
        self._steps = steps
        self._is_typing = steps == 0
        self._text = ""
        self._typed: BalloonPlan | None = NOTHING_TYPED
        """What the text asks for. It stays as it was when it was typed, though floors move. None: not known yet."""
        self._bases: Mapping[str, int] | None = None
        self._complaint = ""
        self._end = ""
        """Why the last step was not made."""

    def make_commands(self, frame: Frame) -> tuple[Command, ...]:
        """The sizes to ask for."""
        plan = self._plan(frame, self._steps)
        self._complaint = plan.complaint
        return plan.commands

    def _plan(self, frame: Frame, steps: int) -> BalloonPlan:
        view = self.view
        if self._is_typing:
            if self._typed is None:
                self._typed = plan_typed(frame, self._uuids, self._text, view.policy)
            return self._typed
        if self._bases is None:
            self._bases = read_bases(frame, self._uuids, view.targets)
        return plan_steps(frame, self._uuids, self._bases, steps, view.policy)

    def make_title(self) -> str:
        """Whose balloons."""
        return f"Balloon of {self.make_whose(self._uuids)}"

    def make_notes(self) -> tuple[Line, ...]:
        """What can be typed, and what of it makes no sense."""
        if self._complaint:
            return ((Span(self.safe(self._complaint), Tone.WARN),),)
        if self._end and not self._is_typing:
            return ((Span(self._end, Tone.NOTE),),)
        if self._is_typing and not self._text.strip():
            return ((Span(ACCEPTED[0].upper() + ACCEPTED[1:], Tone.DIM),),)
        words = self._floor_words() if self._is_typing else ""
        return ((Span(words, Tone.DIM),),) if words else ()

    def _floor_words(self) -> str:
        """Why "floor" is not the very floor of the card; of several VMs that of the first."""
        frame = self.view.frame
        subject = None if frame is None else find_subject(frame, self._uuids[0])
        return "" if subject is None else explain_floor(self._text, subject.metrics, self.view.policy)

    def own_prompt(self) -> tuple[str, str] | None:
        """The size."""
        return ("New size: ", self._text) if self._is_typing else None

    def take_text(self, text: str) -> None:
        """Another size."""
        self._text = text
        self._typed = None if text.strip() else NOTHING_TYPED

    def action_step_balloon(self, step: int) -> None:
        """A step further down or up; at the ends nothing."""
        frame = self.view.frame
        if frame is None:
            return
        self._is_typing = False
        self._end = ""
        if self._plan(frame, self._steps + step).commands != self._plan(frame, self._steps).commands:
            self._steps += step
        else:
            self._end = AT_MAXIMUM if step > 0 else AT_LEAST
        self.redraw()

    def action_ask_balloon(self) -> None:
        """Type a size instead."""
        self._is_typing = True
        self.ask_text()
        self.redraw()
