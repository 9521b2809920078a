"""What became of actions, in a line."""

import pytest

from tests.builders import vm_uuid
from vmtop.actions.action import Action, Ending, Outcome
from vmtop.actions.command import Command, SetBalloon, SetStatsPeriod
from vmtop.units import GIB
from vmtop.viewmodel.outcome import ACTION_WORDS, ENDING_TONES, outcome_notice, progress_notice


def make_action(command: Command | None = None) -> Action:
    return Action(
        id="1",
        command=SetBalloon(uuid=vm_uuid(1), target_bytes=GIB) if command is None else command,
        vm="web-1",
        sentence="",
        submitted_s=0.0,
        elapsed_s=12.4,
        progress="moving",
        verdict=None,
        outcome=None,
    )


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (Ending.DONE, "web-1: balloon: reached 1.0G"),
        (Ending.FAILED, "web-1: balloon: reached 1.0G"),
        (Ending.REFUSED, "web-1: balloon: refused: reached 1.0G"),
        (Ending.PENDING, "web-1: balloon: pending: reached 1.0G"),
        (Ending.CANCELLED, "web-1: balloon: cancelled: reached 1.0G"),
    ],
)
def test_an_outcome_names_the_vm_what_was_done_and_how_it_ended(ending: Ending, text: str) -> None:
    notice = outcome_notice(make_action(), Outcome(ending, "reached 1.0G"))
    assert (notice.text, notice.is_bad) == (text, ending is not Ending.DONE)


def test_what_goes_on_is_said_with_how_long_it_takes() -> None:
    period = make_action(SetStatsPeriod(uuid=vm_uuid(1), period_s=5))
    assert progress_notice([make_action()]).text == "web-1: balloon: moving for 12 s"
    assert progress_notice([make_action(), period]).text == "web-1: statistics period: moving for 12 s (and 1 more)"


def test_every_command_and_every_ending_has_its_words() -> None:
    assert {each.action for each in Command.__args__} <= set(ACTION_WORDS)
    assert set(ENDING_TONES) == set(Ending)
