"""The page of jobs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import START_S, make_frame, make_job, make_vm, vm_uuid
from tests.viewmodel.scenes import HOSTILE_NAMES
from vmtop.actions.action import Action, Ending, Outcome
from vmtop.actions.command import TakeSnapshot
from vmtop.derive.frame import Frame
from vmtop.derive.job import JobBook
from vmtop.model.kind import SnapshotKind
from vmtop.model.sample import FinishedJob, JobKind, JobSample, VmSample, VmState
from vmtop.model.storage import SnapshotRequest
from vmtop.units import GIB, MIB
from vmtop.viewmodel.columns import format_jobs
from vmtop.viewmodel.formats import line_width
from vmtop.viewmodel.jobs import JobsPage, build_jobs, describe_job, stopped_vms

NOW_S = START_S + 60.0


def busy(job: JobSample, *, number: int = 1, name: str = "web-1") -> VmSample:
    return make_vm(uuid=vm_uuid(number), name=name, jobs=(job,))


def run(*readings: Sequence[VmSample], step_s: float = 5.0) -> Frame:
    """The frame after VMs were read several times."""
    frame: Frame | None = None
    for place, vms in enumerate(readings):
        frame = make_frame(vms, at_s=step_s * place, previous=frame)
    assert frame is not None
    return frame


def make_finished(**changes: Any) -> FinishedJob:
    values: dict[str, Any] = {
        "uuid": vm_uuid(1),
        "name": "web-1",
        "kind": JobKind.BACKUP,
        "is_good": True,
        "error": None,
        "ended_s": NOW_S - 30,
        "elapsed_s": 90.0,
        "processed_bytes": 4 * GIB,
    }
    return FinishedJob(**{**values, **changes})


def with_finished(*finished: FinishedJob) -> Frame:
    return replace(make_frame(1), jobs=JobBook(finished=finished))


def build(frame: Frame, actions: Sequence[Action] = (), *, width: int = 120, has_unicode: bool = True) -> JobsPage:
    return build_jobs(frame, actions, now_s=NOW_S, width=width, has_unicode=has_unicode)


def lines_of(frame: Frame, actions: Sequence[Action] = (), *, width: int = 120) -> list[str]:
    return ["".join(span.text for span in line).rstrip() for line in build(frame, actions, width=width).page.lines]


def line_with(frame: Frame, text: str, *, width: int = 120) -> str:
    return next(line for line in lines_of(frame, width=width) if text in line)


BACKUP = make_job(processed_bytes=3 * GIB, total_bytes=10 * GIB, elapsed_s=15)
GROWN = replace(BACKUP, processed_bytes=4 * GIB, elapsed_s=20)


def test_a_backup_shows_how_far_it_is_how_fast_it_goes_and_what_is_left() -> None:
    frame = run([busy(BACKUP)], [busy(GROWN)])
    row = line_with(frame, "web-1")
    assert row.split()[:2] == ["web-1", "backup"]
    assert "━━━━━━━━············" in row
    assert row.split()[3:8] == ["40%", "4.00G/10.0G", "205M/s", "30s", "20s"]


def test_the_memory_of_the_vm_stands_beside_its_job() -> None:
    row = line_with(run([busy(BACKUP)]), "web-1")
    assert row.split()[-2:] == ["0%", "ok"]


def test_a_pull_backup_shows_its_scratch_space_and_no_percentage_of_its_own() -> None:
    job = JobSample(
        kind=JobKind.BACKUP,
        elapsed_s=40,
        processed_bytes=None,
        total_bytes=None,
        scratch_used_bytes=300 * MIB,
        scratch_total_bytes=3 * GIB,
    )
    row = line_with(run([busy(job)]), "web-1")
    assert row.split()[:6] == ["web-1", "backup", "scratch", "9.8%", "300M/3.00G", "40s"]


def test_a_job_that_does_not_tell_how_far_it_is_moves_a_spinner() -> None:
    job = JobSample(kind=JobKind.SNAPSHOT, elapsed_s=8, processed_bytes=None, total_bytes=None)
    frame = run([busy(job)])
    first, second = (
        "".join(span.text for span in build_jobs(frame, (), now_s=now_s, width=120, has_unicode=True).page.lines[1])
        for now_s in (NOW_S, NOW_S + 1)
    )
    assert "%" not in first.partition("8s")[0]
    assert first != second


def test_a_job_that_stands_still_is_called_stalled() -> None:
    frame = run(*[[busy(replace(BACKUP, elapsed_s=5.0 * place))] for place in range(20)])
    assert "stalled" in line_with(frame, "web-1")
    (job,) = frame.jobs.running
    assert "stalled for" in describe_job(job)
    assert format_jobs(frame.vms[0], frozenset({JobKind.BACKUP})) == "backup 30% stalled"


def test_block_jobs_name_their_disk() -> None:
    job = JobSample(kind=JobKind.BLOCK_COMMIT, elapsed_s=None, processed_bytes=1, total_bytes=2, disk="vdb")
    row = line_with(run([busy(job)]), "web-1")
    assert "block commit vdb" in row
    assert "?" in row  # for how long it runs


def test_a_limit_stands_beside_the_rate_and_in_the_sentence() -> None:
    slow = replace(GROWN, limit_bytes_per_s=20 * MIB, disks=2)
    frame = run([busy(BACKUP)], [busy(slow)])
    assert "LIMIT" in lines_of(frame)[0]
    assert "20.0M/s" in line_with(frame, "web-1")
    assert "limited to 20.0M/s for each disk" in describe_job(frame.jobs.running[0])
    for job, said in (
        (replace(slow, disks=1), "limited to 20.0M/s,"),
        (replace(slow, kind=JobKind.BLOCK_COPY, disk="vda"), "limited to 20.0M/s,"),
    ):
        assert said in describe_job(run([busy(job)]).jobs.running[0])
    for limit in (0, None):
        frame = run([busy(replace(slow, limit_bytes_per_s=limit))])
        assert "limited" not in describe_job(frame.jobs.running[0])


def test_a_copy_that_is_complete_is_ready_and_not_stalled() -> None:
    job = make_job(kind=JobKind.BLOCK_COPY, processed_bytes=GIB, total_bytes=GIB, disk="vda", elapsed_s=None)
    frame = run(*[[busy(job)] for _ in range(20)])
    assert "ready" in line_with(frame, "web-1")
    assert "stalled" not in line_with(frame, "web-1")
    assert describe_job(frame.jobs.running[0]) == (
        "block copy of vda 100%, complete, and follows what the guest writes until somebody ends it"
    )


def test_a_job_that_somebody_cancelled_is_not_called_failed() -> None:
    frame = with_finished(
        make_finished(is_good=False, error="Operation canceled", is_cancelled=True),
        make_finished(name="db-1", kind=JobKind.BLOCK_COPY, disk="vdb", is_good=False, is_cancelled=True),
    )
    assert line_with(frame, "web-1").split() == ["web-1", "backup", "cancelled", "4.00G", "90s", "30s"]
    assert line_with(frame, "db-1").split()[:5] == ["db-1", "block", "copy", "vdb", "cancelled"]
    page, choices = build(frame)
    assert [choices[key].text for key in page.keys if key is not None] == [
        "db-1: block copy of vdb after 90 s: cancelled",
        "web-1: backup after 90 s: cancelled",
    ]


def test_two_jobs_of_one_vm_can_both_be_chosen() -> None:
    jobs = (BACKUP, JobSample(kind=JobKind.BLOCK_COPY, elapsed_s=1, processed_bytes=1, total_bytes=9, disk="vda"))
    page, choices = build(run([make_vm(jobs=jobs)]))
    keys = [key for key in page.keys if key is not None]
    assert len(keys) == 2
    assert {choices[key].uuid for key in keys} == {vm_uuid(1)}
    assert [(choices[key].running, choices[key].disk) for key in keys] == [
        (JobKind.BACKUP, None),
        (JobKind.BLOCK_COPY, "vda"),
    ]


def test_jobs_that_ended_tell_how_the_last_one_first() -> None:
    frame = with_finished(
        make_finished(name="old", is_good=False, error="No space left on device", ended_s=NOW_S - 600),
        make_finished(name="lost", is_good=None, ended_s=NOW_S - 60),
        make_finished(name="new"),
    )
    shown = lines_of(frame)
    ended = shown[shown.index(next(line for line in shown if line.startswith("ENDED"))) + 1 :]
    assert [line.split()[0] for line in ended] == ["new", "lost", "old"]
    assert ended[0].split() == ["new", "backup", "done", "4.00G", "90s", "30s"]
    assert ended[1].endswith("nobody told how it ended")
    assert ended[2].endswith("No space left on device")
    assert "failed" in ended[2]


def test_where_nothing_runs_and_nothing_ended_that_is_said() -> None:
    shown = "\n".join(lines_of(make_frame(1)))
    assert "No job runs on any VM. In the table, k starts a backup of a VM and s takes a snapshot." in shown
    assert "No job has ended since vmtop was started." in shown


def test_who_can_start_no_job_is_not_told_how() -> None:
    page = build_jobs(make_frame(1), (), now_s=NOW_S, width=120, has_unicode=True, can_start=False).page
    assert "".join(span.text for span in page.lines[1]) == "No job runs on any VM."


def stopped() -> VmSample:
    return make_vm(name="full-1", state=VmState.PAUSED, state_reason="I/O error")


def test_a_vm_that_an_io_error_stopped_comes_first_and_can_be_chosen() -> None:
    frame = make_frame([stopped(), make_vm(uuid=vm_uuid(2), state=VmState.PAUSED, state_reason="paused by user")])
    page, choices = build(frame)
    assert [vm.name for vm in stopped_vms(frame)] == ["full-1"]
    assert page.keys[0] is None
    key = page.keys[1]
    assert key is not None
    assert choices[key].is_stopped
    assert "Enter lets it go on" in "".join(span.text for span in page.lines[1])


def make_action(**changes: Any) -> Action:
    request = SnapshotRequest(name="before", kind=SnapshotKind.INTERNAL)
    values: dict[str, Any] = {
        "id": "a1",
        "command": TakeSnapshot(uuid=vm_uuid(1), request=request),
        "vm": "web-1",
        "sentence": "take snapshot before of web-1",
        "submitted_s": NOW_S,
        "elapsed_s": 12.0,
        "progress": "asking",
        "verdict": None,
        "outcome": None,
    }
    return Action(**{**values, **changes})


def test_what_was_asked_for_and_goes_on_is_shown_until_it_is_a_job_or_over() -> None:
    idle = make_frame([make_vm()])
    (row,) = [line for line in lines_of(idle, [make_action()]) if "asking" in line]
    assert row.split()[:2] == ["web-1", "snapshot"]
    assert "12s" in row
    pending = make_action(outcome=Outcome(Ending.PENDING, "no answer after 600 s"))
    assert any("no answer after 600 s" in line for line in lines_of(idle, [pending]))
    over = make_action(outcome=Outcome(Ending.DONE, "done in 3 s"))
    assert not any("ASKED FOR" in line for line in lines_of(idle, [over]))
    assert not any("ASKED FOR" in line for line in lines_of(run([busy(BACKUP)]), [make_action()]))


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("has_unicode", [True, False])
def test_lines_fit_whatever_vms_are_called(width: int, has_unicode: bool) -> None:
    vms = [busy(BACKUP, number=number, name=name) for number, name in enumerate(HOSTILE_NAMES, 1)]
    finished = tuple(make_finished(name=name, is_good=False, error=name, ended_s=NOW_S) for name in HOSTILE_NAMES)
    frame = run(vms)
    frame = replace(frame, jobs=replace(frame.jobs, finished=finished))
    page, _ = build(frame, width=width, has_unicode=has_unicode)
    assert all(line_width(line) <= width for line in page.lines)
    text = "".join(span.text for line in page.lines for span in line)
    assert text.isprintable()
    assert has_unicode or text.isascii()


def test_on_a_narrow_screen_what_matters_most_stays() -> None:
    row = line_with(run([busy(BACKUP)], [busy(GROWN)]), "web-1", width=60)
    assert [part for part in row.split() if part in {"web-1", "backup", "40%", "205M/s"}] == [
        "web-1",
        "backup",
        "40%",
        "205M/s",
    ]
