"""Jobs as libvirt tells of them, captured from real guests (libvirt 9.0, QEMU 7.2)."""

import json
from pathlib import Path
from typing import Any

import pytest

from vmtop.backends.libvirt_job_parse import (
    add_limits,
    is_end_of,
    parse_block_job,
    parse_finished_block_job,
    parse_finished_job,
    parse_job,
)
from vmtop.model.sample import FinishedJob, JobKind, JobSample

JOBS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "captured/jobs.json").read_text())
ENDS: dict[str, dict[str, Any]] = JOBS["ends"]
NOW_S = 1_700_000_000.0


@pytest.mark.parametrize(
    ("name", "job"),
    [
        ("idle", None),
        (
            "push backup",
            JobSample(kind=JobKind.BACKUP, elapsed_s=0.44, processed_bytes=524288000, total_bytes=524288000),
        ),
        (
            "pull backup",
            JobSample(
                kind=JobKind.BACKUP,
                elapsed_s=0.369,
                processed_bytes=None,
                total_bytes=None,
                scratch_used_bytes=0,
                scratch_total_bytes=524288000,
            ),
        ),
        ("dump", JobSample(kind=JobKind.DUMP, elapsed_s=0.289, processed_bytes=168304640, total_bytes=168304640)),
        ("save", JobSample(kind=JobKind.SAVE, elapsed_s=0.175, processed_bytes=168304640, total_bytes=168304640)),
    ],
)
def test_jobs_of_real_guests(name: str, job: JobSample | None) -> None:
    assert parse_job(JOBS[name]["info"], JOBS[name]["stats"]) == job


def test_a_job_in_the_middle_counts_what_remains_not_what_was_sent() -> None:
    info = [1, 2500, 0, 1000, 200, 300, 0, 0, 0, 0, 0, 0]
    migration = {"operation": 5, "data_total": 1000, "data_processed": 200, "data_remaining": 300, "type": 1}
    assert parse_job(info, migration) == JobSample(
        kind=JobKind.MIGRATION_OUT, elapsed_s=2.5, processed_bytes=700, total_bytes=1000
    )


@pytest.mark.parametrize("ended", [0, 3, 4, 5])
def test_a_job_that_has_ended_is_none(ended: int) -> None:
    assert parse_job([ended, 10, 0, 100, 100, 0], {"operation": 9, "type": ended}) is None


def test_a_job_whose_kind_libvirt_does_not_tell_is_still_shown() -> None:
    job = JobSample(kind=JobKind.OTHER, elapsed_s=0.026, processed_bytes=40, total_bytes=100)
    assert parse_job([2, 26, 0, 100, 40, 60], {"type": 0}) == job
    assert parse_job([2, 26, 0, 0, 0, 0], {"type": 2, "operation": 77}) == JobSample(
        kind=JobKind.OTHER, elapsed_s=0.026, processed_bytes=None, total_bytes=None
    )


def finished(name: str) -> FinishedJob:
    job = parse_finished_job("u", "vm", ENDS[name], NOW_S)
    assert job is not None
    assert (job.uuid, job.name, job.ended_s) == ("u", "vm", NOW_S)
    return job


@pytest.mark.parametrize(
    ("name", "kind", "is_good", "error", "elapsed_s", "processed_bytes"),
    [
        ("backup", JobKind.BACKUP, True, None, 0.06, 100663296),
        ("backup canceled", JobKind.BACKUP, False, "Operation canceled", 0.254, 37879808),
        ("backup target full", JobKind.BACKUP, False, "No space left on device", 0.176, 16711680),
        ("backup of a VM that was destroyed", JobKind.BACKUP, False, None, 0.36, None),
        ("nothing was dirty", JobKind.BACKUP, True, None, 0.142, None),
        ("pull backup ended", JobKind.BACKUP, True, None, 0.416, None),
        ("external snapshot", JobKind.SNAPSHOT, True, None, 0.108, 101195776),
        ("dump", JobKind.DUMP, True, None, 0.481, 101195776),
    ],
)
def test_ends_of_real_jobs(
    name: str,
    kind: JobKind,
    is_good: bool,
    error: str | None,
    elapsed_s: float,
    processed_bytes: int | None,
) -> None:
    job = finished(name)
    assert (job.kind, job.is_good, job.error) == (kind, is_good, error)
    assert (job.elapsed_s, job.processed_bytes) == (elapsed_s, processed_bytes)


@pytest.mark.parametrize(
    ("name", "is_cancelled"),
    [("backup", False), ("backup canceled", True), ("backup target full", False), ("pull backup ended", False)],
)
def test_a_cancelled_backup_is_told_from_one_that_failed(name: str, is_cancelled: bool) -> None:
    assert finished(name).is_cancelled is is_cancelled


def info_of(limit: int, number: int = 5) -> dict[str, int]:
    return {"type": number, "bandwidth": limit, "cur": 1, "end": 9}


@pytest.mark.parametrize(
    ("infos", "limit", "disks"),
    [
        ([], None, None),
        ([{}], None, None),
        ([info_of(0)], 0, 1),
        ([info_of(7), {}, info_of(7)], 7, 2),
        ([info_of(7), info_of(9)], None, 2),
        ([info_of(7), info_of(9, number=2)], 7, 1),
    ],
)
def test_the_limit_of_a_backup_is_that_of_its_disks(
    infos: list[dict[str, int]], limit: int | None, disks: int | None
) -> None:
    backup = JobSample(kind=JobKind.BACKUP, elapsed_s=1.0, processed_bytes=1, total_bytes=2)
    job = add_limits(backup, infos)
    assert (job.limit_bytes_per_s, job.disks, job.disk) == (limit, disks, None)


def test_a_job_without_statistics_is_one_of_which_nothing_is_known() -> None:
    job = parse_job([2, *[0] * 11], {})
    assert job == JobSample(kind=JobKind.OTHER, elapsed_s=None, processed_bytes=None, total_bytes=None)


def test_statistics_of_an_old_libvirt_say_by_their_type_how_a_job_ended() -> None:
    old = {"operation": 5, "time_elapsed": 10}
    for number, is_good in ((3, True), (4, False), (5, False)):
        job = parse_finished_job("u", "vm", {**old, "type": number}, NOW_S)
        assert job is not None
        assert job.is_good is is_good


def test_no_statistics_are_no_job() -> None:
    assert parse_finished_job("u", "vm", {"type": 0}, NOW_S) is None


def test_statistics_are_the_end_of_a_job_of_their_kind_that_did_not_last_longer() -> None:
    job = JobSample(kind=JobKind.DUMP, elapsed_s=0.4, processed_bytes=None, total_bytes=None)
    longer = JobSample(kind=JobKind.DUMP, elapsed_s=0.5, processed_bytes=None, total_bytes=None)
    assert is_end_of(job, ENDS["dump"])
    assert not is_end_of(longer, ENDS["dump"]), "they are those of an earlier dump"
    assert not is_end_of(job, ENDS["backup"])
    assert not is_end_of(job, {"type": 0})


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, None),
        ({"type": 5, "bandwidth": 0, "cur": 0, "end": 67108864}, None),
        ({"type": 99, "bandwidth": 0, "cur": 0, "end": 5}, None),
        ({"type": 4, "bandwidth": 0, "cur": 300, "end": 500}, (JobKind.BLOCK_COMMIT, 300, 500)),
        ({"type": 3, "bandwidth": 0, "cur": 300, "end": 500}, (JobKind.BLOCK_COMMIT, 300, 500)),
        ({"type": 2, "bandwidth": 0, "cur": 0, "end": 67108864}, (JobKind.BLOCK_COPY, 0, 67108864)),
        ({"type": 1, "bandwidth": 0, "cur": 0, "end": 1}, (JobKind.BLOCK_PULL, None, None)),
        ({"type": 1, "bandwidth": 0, "cur": 600, "end": 500}, (JobKind.BLOCK_PULL, 500, 500)),
    ],
)
def test_block_jobs(info: dict[str, int], expected: tuple[JobKind, int | None, int | None] | None) -> None:
    job = parse_block_job(info, "vda")
    assert (job and (job.kind, job.processed_bytes, job.total_bytes)) == expected
    assert job is None or (job.disk, job.elapsed_s) == ("vda", None)


@pytest.mark.parametrize(
    ("number", "status", "expected"),
    [
        (4, 0, (JobKind.BLOCK_COMMIT, True, False)),
        (2, 1, (JobKind.BLOCK_COPY, False, False)),
        (1, 2, (JobKind.BLOCK_PULL, False, True)),
        (4, 3, None),
        (5, 0, None),
        (77, 0, None),
    ],
)
def test_ends_of_block_jobs(number: int, status: int, expected: tuple[JobKind, bool, bool] | None) -> None:
    job = parse_finished_block_job("u", "vm", "vda", number, status, NOW_S)
    assert (job and (job.kind, job.is_good, job.is_cancelled)) == expected
    assert job is None or (job.disk, job.error) == ("vda", None)
