"""The card of statistics periods: have guests send their figures."""

from collections.abc import Collection

from vmtop.actions.command import Command, SetStatsPeriod
from vmtop.actions.situation import find_subject
from vmtop.derive.frame import Frame
from vmtop.tui.keymap import Scope, bindings
from vmtop.tui.screens.confirm import ConfirmScreen
from vmtop.viewmodel.tone import Line, Span, Tone

LEFT_ALONE = "Others may rely on a period that is set, so vmtop leaves it alone"


class PeriodScreen(ConfirmScreen):
    """Offers a period to VMs that have none, and leaves those of others alone."""

    BINDINGS = bindings(Scope.CHOICE)
    SCOPES = (Scope.CARD, Scope.CHOICE)

    def __init__(self, uuids: tuple[str, ...]) -> None:
        super().__init__()
        self._uuids = uuids
        self._is_put_back = False
        self._present: dict[str, int] = {}
        """Name of each VM that has a period -> seconds."""

    def make_commands(self, frame: Frame) -> tuple[Command, ...]:
        """A period for each VM that has none."""
        subjects = [subject for uuid in self._uuids if (subject := find_subject(frame, uuid)) is not None]
        self._present = {
            subject.metrics.name: subject.sample.facts.stats_period_s
            for subject in subjects
            if subject.sample.facts is not None and subject.sample.facts.stats_period_s
        }
        return tuple(
            SetStatsPeriod(uuid=subject.metrics.uuid, period_s=self.view.policy.stats_period_s)
            for subject in subjects
            if subject.metrics.name not in self._present
        )

    def make_title(self) -> str:
        """Whose periods."""
        return f"Statistics period of {self.make_whose(self._uuids)}"

    def make_notes(self) -> tuple[Line, ...]:
        """Who sends figures already, and what becomes of the period when vmtop ends."""
        already = tuple(
            (Span(f"{self.safe(name)} sends its figures every {period_s} s already", Tone.NORMAL),)
            for name, period_s in self._present.items()
        )
        if already:
            already = (*already, (Span(LEFT_ALONE, Tone.DIM),))
        if len(self._present) == len(self._uuids):
            return already
        chosen = "puts back what was before" if self._is_put_back else "leaves it as it is"
        return (*already, (Span("When it ends, vmtop ", Tone.DIM), Span(chosen, Tone.NAME), Span("  (Tab)", Tone.DIM)))

    def passing(self) -> Collection[Command]:
        """All of them, where that was chosen."""
        return tuple(entry.command for entry in self.entries) if self._is_put_back else ()

    def useless_keys(self) -> set[str]:
        """There is nothing to choose where nothing is set."""
        return {*super().useless_keys(), *([] if self.entries else ["choice"])}

    def action_choose_next(self) -> None:
        """Keep the period when vmtop ends, or put it back."""
        self._is_put_back = not self._is_put_back
        self.redraw()
