"""The page of jobs, by keys."""

from dataclasses import replace

import pytest

from tests.builders import START_S, make_frame, make_job, make_vm, vm_uuid
from tests.tui.fake_operator import FakeOperator
from tests.tui.screen import Stage
from vmtop.actions.command import CancelJob, Command, LimitJob, ResumeVm
from vmtop.derive.frame import Frame
from vmtop.model.sample import FinishedJob, JobKind, VmState
from vmtop.tui.screens.confirm import ConfirmScreen
from vmtop.tui.screens.detail import DetailScreen
from vmtop.tui.screens.jobs import JobsScreen
from vmtop.tui.screens.main import MainScreen
from vmtop.units import MIB

BUSY = make_vm(name="web-1", jobs=(make_job(),))


def commands(operator: FakeOperator) -> list[Command]:
    """What was handed over, whenever its job began."""
    return [
        replace(command, began_s=None) if isinstance(command, CancelJob | LimitJob) else command
        for command, _, _ in operator.submitted
    ]


def frame_of(*, is_stopped: bool = False) -> Frame:
    other = make_vm(uuid=vm_uuid(2), name="db-1")
    if is_stopped:
        other = replace(other, state=VmState.PAUSED, state_reason="I/O error")
    return make_frame([BUSY, other])


async def open_jobs(stage: Stage) -> None:
    await stage.press("j")
    assert isinstance(stage.app.screen, JobsScreen)


def test_the_page_opens_by_its_key_and_closes_again() -> None:
    async def scene(stage: Stage) -> None:
        await open_jobs(stage)
        assert "30%" in stage.line_with("web-1")
        assert "1 running" in stage.line_with("Jobs")
        await stage.press("escape")
        assert isinstance(stage.app.screen, MainScreen)

    Stage(frame_of()).play(scene)


def test_a_job_is_cancelled_through_the_card() -> None:
    frame = frame_of()
    operator = FakeOperator(frame)

    async def scene(stage: Stage) -> None:
        await open_jobs(stage)
        await stage.press("x")
        assert isinstance(stage.app.screen, ConfirmScreen)
        await stage.wait_for_text("what was copied so far is thrown away")
        await stage.press("enter")
        assert isinstance(stage.app.screen, JobsScreen)

    Stage(frame, operator=operator).play(scene)
    assert commands(operator) == [CancelJob(uuid=vm_uuid(1), kind=JobKind.BACKUP)]


def test_the_job_of_a_disk_is_cancelled_and_throttled_and_no_other() -> None:
    commit = make_job(kind=JobKind.BLOCK_COMMIT, disk="vda")
    frame = make_frame([make_vm(name="web-1", jobs=(commit, replace(commit, disk="vdb")))])
    operator = FakeOperator(frame)

    async def scene(stage: Stage) -> None:
        await open_jobs(stage)
        await stage.press("home", "down", "x")
        await stage.wait_for_text("Cancel the block commit of vdb of web-1")
        await stage.wait_for_text("what was merged so far stays merged")
        await stage.press("enter")
        await stage.press("home", "t")
        assert "Most for this disk" in "\n".join(stage.lines)
        await stage.press(*"20M", "enter")
        await stage.wait_for_text("Limit the block commit of vda of web-1 to 20M/s")
        await stage.wait_for_text("do it")
        await stage.press("enter")

    Stage(frame, operator=operator).play(scene)
    kind = JobKind.BLOCK_COMMIT
    assert commands(operator) == [
        CancelJob(uuid=vm_uuid(1), kind=kind, disk="vdb"),
        LimitJob(uuid=vm_uuid(1), bytes_per_s=20 * MIB, kind=kind, disk="vda"),
    ]


def test_keys_that_have_nothing_to_act_on_say_so() -> None:
    async def on_a_stopped_vm(stage: Stage) -> None:
        await open_jobs(stage)
        await stage.press("home", "x")
        await stage.wait_for_text("only a job that runs can be cancelled")
        await stage.press("t")
        await stage.wait_for_text("only a job that runs can be throttled")
        assert isinstance(stage.app.screen, JobsScreen)

    frame = frame_of(is_stopped=True)
    Stage(frame, operator=FakeOperator(frame)).play(on_a_stopped_vm)

    async def on_an_empty_page(stage: Stage) -> None:
        await open_jobs(stage)
        for key, said in (
            ("x", "there is no job to cancel"),
            ("t", "there is no job to throttle"),
            ("enter", "there is no job to choose"),
        ):
            await stage.press(key)
            await stage.wait_for_text(said)
        assert isinstance(stage.app.screen, JobsScreen)

    frame = make_frame(1)
    Stage(frame, operator=FakeOperator(frame)).play(on_an_empty_page)


def test_a_backup_is_throttled_to_what_is_typed_and_mistakes_can_be_put_right() -> None:
    frame = frame_of()
    operator = FakeOperator(frame)

    async def scene(stage: Stage) -> None:
        await open_jobs(stage)
        await stage.press("t", *"fast", "enter")
        assert "is no rate" in stage.line_with("Most for each disk")
        await stage.press("ctrl+u", *"20M", "enter")
        await stage.wait_for_text("Limit the backup of web-1 to 20M/s")
        await stage.wait_for_text("do it")
        await stage.press("enter")

    Stage(frame, operator=operator).play(scene)
    assert commands(operator) == [LimitJob(uuid=vm_uuid(1), bytes_per_s=20 * MIB, kind=JobKind.BACKUP)]


def test_enter_lets_a_vm_go_on_that_an_io_error_stopped() -> None:
    frame = frame_of(is_stopped=True)
    operator = FakeOperator(frame)

    async def scene(stage: Stage) -> None:
        await open_jobs(stage)
        assert "STOPPED" in stage.lines[3]
        await stage.press("home", "enter")
        await stage.wait_for_text("make room first")
        await stage.press("enter")

    Stage(frame, operator=operator).play(scene)
    assert [command for command, _, _ in operator.submitted] == [ResumeVm(uuid=vm_uuid(2))]


def test_enter_on_a_job_opens_the_page_of_its_vm() -> None:
    async def scene(stage: Stage) -> None:
        await open_jobs(stage)
        await stage.press("enter")
        assert isinstance(stage.app.screen, DetailScreen)
        assert "web-1" in stage.lines[1]

    Stage(frame_of()).play(scene)


def test_the_page_of_a_stopped_vm_says_what_to_do() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("N", "home", "enter")
        assert "Make room" in "\n".join(stage.lines)

    Stage(frame_of(is_stopped=True), size=(80, 40)).play(scene)


def test_read_only_says_why_nothing_is_cancelled() -> None:
    async def scene(stage: Stage) -> None:
        await open_jobs(stage)
        await stage.press("x")
        assert isinstance(stage.app.screen, JobsScreen)
        assert "read-only: for the test" in "\n".join(stage.lines)

    Stage(frame_of(), why_readonly="read-only: for the test").play(scene)


def test_the_cursor_stays_on_its_job_while_others_come_and_the_end_can_be_reached() -> None:
    finished = tuple(
        FinishedJob(
            uuid=vm_uuid(1),
            name=f"end-{number}",
            kind=JobKind.BACKUP,
            is_good=False,
            error="No space left on device",
            ended_s=START_S + number,
            elapsed_s=1.0,
            processed_bytes=None,
        )
        for number in range(50)
    )
    frame = frame_of()
    frame = replace(frame, jobs=replace(frame.jobs, finished=finished))

    async def scene(stage: Stage) -> None:
        await open_jobs(stage)
        await stage.press("down")
        assert stage.lines[-2].startswith("end-49: backup after 1 s: No space left on device")
        await stage.press("end")
        assert stage.lines[-2].startswith("end-0: backup")
        await stage.press("home")
        assert stage.lines[-2].startswith("web-1: backup 30%")

    Stage(frame, size=(80, 24)).play(scene)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (40, 8), (200, 50)])
def test_the_page_fits_every_screen(size: tuple[int, int]) -> None:
    async def scene(stage: Stage) -> None:
        await open_jobs(stage)
        assert "db-1" in "\n".join(stage.lines)
        assert "choose" in stage.lines[-1]

    Stage(frame_of(is_stopped=True), size=size).play(scene)
