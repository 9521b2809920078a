"""Quitting: at once when nothing goes on, and never unawares of what does."""

import pytest

from tests.builders import make_frame, make_vm, vm_uuid
from tests.tui.fake_operator import FakeOperator
from tests.tui.screen import Stage
from vmtop.actions.action import Ending
from vmtop.actions.command import Command, SetBalloon, StartBackup, TakeSnapshot
from vmtop.model.kind import SnapshotKind
from vmtop.model.storage import SnapshotRequest
from vmtop.tui.screens.quit import QuitScreen
from vmtop.units import GIB

ID = vm_uuid(1)
MOVE = SetBalloon(uuid=ID, target_bytes=GIB)
BACKUP = StartBackup(uuid=ID, folder="/backup")
SNAPSHOT = TakeSnapshot(uuid=ID, request=SnapshotRequest(name="a", kind=SnapshotKind.INTERNAL))


def stage_of(*commands: Command, size: tuple[int, int] = (100, 30)) -> tuple[Stage, FakeOperator]:
    frame = make_frame([make_vm(uuid=ID, name="web-1")])
    operator = FakeOperator(frame)
    for command in commands:
        operator.submit(command)
    return Stage(frame, size=size, operator=operator), operator


async def begin(stage: Stage) -> None:
    """The operator is made with the first reading after the first picture."""
    stage.app.follow(stage.source.reading)
    await stage.publish(stage.source.reading.frame)


def is_asked(stage: Stage) -> bool:
    return isinstance(stage.app.screen, QuitScreen)


@pytest.mark.parametrize("key", ["q", "f10", "ctrl+c"])
def test_nothing_is_asked_when_nothing_goes_on(key: str) -> None:
    async def scene(stage: Stage) -> None:
        await begin(stage)
        operator.end(Ending.DONE, "reached 1.0G")
        await begin(stage)
        await stage.press(key)
        assert not stage.app.is_running or stage.app._exit

    stage, operator = stage_of(MOVE)
    stage.play(scene)
    assert operator.is_closed


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (MOVE, ["web-1: balloon: moving for 3 s", "the balloon stays where it is by then"]),
        (BACKUP, ["web-1: backup: moving for 3 s", "the copying goes on, and the next vmtop sees to its end"]),
        (SNAPSHOT, ["web-1: snapshot: moving for 3 s", "it goes on, and nobody sees how it ends"]),
    ],
)
def test_what_goes_on_is_shown_with_what_becomes_of_it(command: Command, words: list[str]) -> None:
    async def scene(stage: Stage) -> None:
        await begin(stage)
        await stage.press("q")
        await stage.wait_for_text("Quit while this goes on?")
        for text in words:
            assert text in "\n".join(stage.lines)
        assert "Enter quit" in stage.lines[-1]
        assert "Esc stay" in stage.lines[-1]
        assert "insist" not in stage.lines[-1]
        await stage.press("escape")
        assert not is_asked(stage)
        assert not stage.app._exit

    stage, _ = stage_of(command)
    stage.play(scene)


@pytest.mark.parametrize("key", ["q", "enter", "ctrl+c"])
def test_a_second_time_it_is_meant(key: str) -> None:
    async def scene(stage: Stage) -> None:
        await begin(stage)
        await stage.press("q")
        await stage.wait_for_text("Quit while this goes on?")
        await stage.press(key)
        assert stage.app._exit

    stage, operator = stage_of(BACKUP)
    stage.play(scene)
    assert operator.is_closed


@pytest.mark.parametrize("size", [(80, 24), (60, 15), (20, 5), (1, 1)])
def test_the_question_fits_any_terminal(size: tuple[int, int]) -> None:
    async def scene(stage: Stage) -> None:
        await begin(stage)
        await stage.press("q")
        await stage.wait_for(lambda: is_asked(stage))
        assert len(stage.lines) == size[1]

    stage, _ = stage_of(BACKUP, MOVE, size=size)
    stage.play(scene)


def test_what_earlier_runs_left_is_taken_over_and_complaints_are_told() -> None:
    async def scene(stage: Stage) -> None:
        operator.problems = ("/state/open/1.json: cannot be used: it is no JSON",)
        await begin(stage)
        await stage.wait_for_text("it is no JSON")

    stage, operator = stage_of()
    stage.play(scene)
    assert operator.has_taken_over
