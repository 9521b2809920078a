"""Jobs over time."""

from dataclasses import replace

import pytest

from tests.builders import make_sample, make_vm, vm_uuid
from vmtop.derive.job import MOST_FINISHED, NO_JOBS, JobBook, follow_jobs, jobs_of
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import FinishedJob, JobKind, JobSample, Sample
from vmtop.units import MIB


def backup(done_mib: int | None, total_mib: int | None = 1000, elapsed_s: float | None = None) -> JobSample:
    return JobSample(
        kind=JobKind.BACKUP,
        elapsed_s=elapsed_s,
        processed_bytes=None if done_mib is None else done_mib * MIB,
        total_bytes=None if total_mib is None else total_mib * MIB,
    )


def sample(at_s: float, *jobs: JobSample, finished: tuple[FinishedJob, ...] = ()) -> Sample:
    return replace(make_sample(make_vm(name="web", jobs=jobs), at_s=at_s), finished=finished)


def ended(is_good: bool = True, error: str | None = None, number: int = 1) -> FinishedJob:
    return FinishedJob(
        uuid=vm_uuid(number),
        name="web",
        kind=JobKind.BACKUP,
        is_good=is_good,
        error=error,
        ended_s=1.0,
        elapsed_s=2.0,
        processed_bytes=3,
    )


def play(*samples: Sample) -> JobBook:
    book, last_s = NO_JOBS, None
    for each in samples:
        elapsed_s = 0.0 if last_s is None else each.monotonic_s - last_s
        book, last_s = follow_jobs(book, each, elapsed_s, DEFAULT_POLICY), each.monotonic_s
    return book


def test_a_steady_job_has_its_rate_and_the_time_that_is_left() -> None:
    book = play(*(sample(at_s, backup(100 + 10 * at_s)) for at_s in range(0, 20, 2)))
    (job,) = book.running
    assert job.rate_bytes_per_s == pytest.approx(10 * MIB)
    assert job.left_s == pytest.approx((1000 - 280) / 10)
    assert job.done_ratio == pytest.approx(0.28)
    assert not job.is_stalled


def test_the_first_reading_has_no_rate_and_no_time_left() -> None:
    (job,) = play(sample(0, backup(100))).running
    assert (job.rate_bytes_per_s, job.left_s, job.still_s) == (None, None, 0.0)


def test_a_job_without_progress_has_no_percentage_and_never_stalls() -> None:
    (job,) = play(*(sample(at_s, backup(None, None)) for at_s in range(0, 600, 60))).running
    assert (job.done_ratio, job.rate_bytes_per_s, job.left_s, job.is_stalled) == (None, None, None, False)


def test_a_job_that_stands_still_is_stalled_after_the_time_of_the_policy() -> None:
    samples = [sample(0, backup(90)), sample(2, backup(100))]
    samples += [sample(at_s, backup(100)) for at_s in range(4, 31, 2)]
    assert not play(*samples).running[0].is_stalled
    (job,) = play(*samples, sample(32, backup(100))).running
    assert (job.still_s, job.is_stalled, job.left_s) == (30.0, True, None)


def test_progress_ends_a_stall() -> None:
    (job,) = play(sample(0, backup(100)), sample(60, backup(100)), sample(62, backup(120))).running
    assert (job.still_s, job.is_stalled) == (0.0, False)


def test_a_smoothed_rate_does_not_depend_on_how_often_is_read() -> None:
    rates = [60.0] * 60 + [20.0] * 30
    done = [0.0]
    for rate in rates:
        done.append(done[-1] + rate)
    often = play(*(sample(at_s, backup(int(done[at_s]), 10_000)) for at_s in range(91)))
    seldom = play(*(sample(at_s, backup(int(done[at_s]), 10_000)) for at_s in range(0, 91, 10)))
    assert often.running[0].rate_bytes_per_s == pytest.approx(40 * MIB, rel=0.02)
    assert seldom.running[0].rate_bytes_per_s == pytest.approx(40 * MIB, rel=0.02)


def limited(done_mib: float, limit_mib: int | None, disks: int | None = 1) -> JobSample:
    limit = None if limit_mib is None else limit_mib * MIB
    return replace(backup(int(done_mib), 10_000), limit_bytes_per_s=limit, disks=disks)


def at_rates(*stretches: tuple[int, int, int | None], burst_mib: int = 1) -> list[Sample]:
    """A backup in stretches of seconds, MiB a second and limit, which moves whole bursts."""
    samples, at_s, done = [], 0, 0
    for seconds, rate, limit in stretches:
        for _ in range(seconds):
            samples.append(sample(at_s, limited(done // burst_mib * burst_mib, limit)))
            at_s, done = at_s + 1, done + rate
    return samples


@pytest.mark.parametrize("burst_mib", [1, 16])
def test_a_limit_shows_in_the_rate_and_the_time_left_with_the_first_reading_after_it(burst_mib: int) -> None:
    samples = at_rates((60, 100, 0), (60, 2, 2), burst_mib=burst_mib)
    (before,) = play(*samples[:60]).running
    assert before.rate_bytes_per_s == pytest.approx(100 * MIB, rel=0.05)
    for later in range(61, 120):
        (job,) = play(*samples[:later]).running
        assert job.rate_bytes_per_s == pytest.approx(2 * MIB, rel=0.35), later
        assert job.left_s is not None
        left = (job.job.total_bytes or 0) - (job.job.processed_bytes or 0)
        assert job.left_s == pytest.approx(left / (2 * MIB), rel=0.6), later


def test_a_limit_that_is_lifted_shows_within_some_seconds_too() -> None:
    samples = at_rates((60, 2, 2), (10, 100, 0))
    (job,) = play(*samples[:66]).running
    assert job.rate_bytes_per_s == pytest.approx(100 * MIB, rel=0.25)
    (job,) = play(*samples).running
    assert job.rate_bytes_per_s == pytest.approx(100 * MIB, rel=0.15)


def test_a_limit_counts_for_each_disk_of_a_backup() -> None:
    (job,) = play(sample(0, limited(0, 0, 2)), sample(1, limited(90, 0, 2)), sample(2, limited(91, 10, 2))).running
    assert job.rate_bytes_per_s == 20 * MIB


def test_a_job_that_begins_in_bursts_is_no_faster_than_its_limit() -> None:
    (job,) = play(sample(0, limited(0, 2)), sample(1, limited(16, 2))).running
    assert job.rate_bytes_per_s == 2 * MIB


def test_a_limit_of_which_nothing_is_told_changes_nothing() -> None:
    (job,) = play(sample(0, limited(0, None)), sample(1, limited(50, None)), sample(2, limited(100, 1, None))).running
    assert job.rate_bytes_per_s == 50 * MIB


def test_a_job_with_a_low_limit_is_not_stalled_while_it_waits_for_the_next_piece() -> None:
    samples = [sample(0, limited(0, 0)), *(sample(at_s, limited(16, 1)) for at_s in range(1, 33))]
    (job,) = play(*samples).running
    assert not job.is_stalled
    assert job.left_s is not None
    (job,) = play(*samples, *(sample(at_s, limited(16, 1)) for at_s in range(33, 40))).running
    assert (job.is_stalled, job.left_s) == (True, None)


@pytest.mark.parametrize(
    ("kind", "done_mib", "is_ready"),
    [
        (JobKind.BLOCK_COPY, 1000, True),
        (JobKind.BLOCK_COMMIT, 1000, True),
        (JobKind.BLOCK_COPY, 999, False),
        (JobKind.BLOCK_PULL, 1000, False),
        (JobKind.BACKUP, 1000, False),
    ],
)
def test_a_copy_or_commit_that_is_complete_is_ready_and_not_stalled(
    kind: JobKind, done_mib: int, is_ready: bool
) -> None:
    job = replace(backup(done_mib), kind=kind, disk="vda")
    (shown,) = play(*(sample(at_s, job) for at_s in range(0, 100, 5))).running
    assert (shown.is_ready, shown.is_stalled) == (is_ready, not is_ready)


def test_the_end_of_one_disk_tells_nothing_of_the_same_kind_of_job_on_another() -> None:
    copy = replace(backup(10), kind=JobKind.BLOCK_COPY, disk="vda")
    end = replace(ended(), kind=JobKind.BLOCK_COPY, disk="vda")
    book = play(sample(0, copy, replace(copy, disk="vdb")), sample(2, finished=(end,)), sample(8))
    assert [(each.disk, each.is_good) for each in book.finished] == [("vda", True), ("vdb", None)]


@pytest.mark.parametrize("again", [backup(5, elapsed_s=9.0), backup(50, elapsed_s=1.0)])
def test_a_job_whose_time_or_progress_went_back_is_another_one(again: JobSample) -> None:
    (job,) = play(sample(0, backup(30, elapsed_s=3.0)), sample(2, backup(40, elapsed_s=5.0)), sample(4, again)).running
    assert job.rate_bytes_per_s is None


def test_a_total_that_grows_lets_the_share_fall() -> None:
    book = play(sample(0, backup(50, 100)), sample(2, backup(60, 200)))
    assert book.running[0].done_ratio == pytest.approx(0.3)


def test_what_the_source_tells_about_the_end_is_kept() -> None:
    book = play(sample(0, backup(10)), sample(2, finished=(ended(False, "No space left on device"),)))
    assert book.running == ()
    assert book.finished == (ended(False, "No space left on device"),)


def test_an_end_that_is_told_late_is_told_once() -> None:
    book = play(sample(0, backup(10)), sample(2), sample(4, finished=(ended(),)), sample(20))
    assert book.finished == (ended(),)
    assert book.missing == ()


def test_an_end_that_is_told_before_the_job_is_seen_to_be_gone_is_told_once() -> None:
    end = (ended(),)
    book = play(
        sample(0, backup(10)), sample(2, backup(20), finished=end), sample(4, backup(20)), sample(6), sample(20)
    )
    assert (book.finished, book.missing) == (end, ())


def test_an_end_of_which_nobody_tells_is_unknown_and_not_good() -> None:
    book = play(sample(0, backup(10, elapsed_s=7.0)), sample(2))
    assert book.finished == ()
    book = play(sample(0, backup(10, elapsed_s=7.0)), sample(2), sample(8))
    (job,) = book.finished
    assert (job.is_good, job.error, job.processed_bytes, job.elapsed_s) == (None, None, 10 * MIB, 7.0)
    assert job.ended_s == sample(2).time_s


def test_a_short_job_that_no_sample_ever_showed_is_in_the_history() -> None:
    assert play(sample(0), sample(2, finished=(ended(),))).finished == (ended(),)


def test_the_history_forgets_the_oldest() -> None:
    many = tuple(replace(ended(), ended_s=float(place)) for place in range(MOST_FINISHED + 5))
    book = play(sample(0, finished=many))
    assert len(book.finished) == MOST_FINISHED
    assert book.finished[-1].ended_s == MOST_FINISHED + 4


def test_block_jobs_of_two_disks_are_two_jobs() -> None:
    commit = replace(backup(10), kind=JobKind.BLOCK_COMMIT, disk="vda")
    book = play(sample(0, commit, replace(commit, disk="vdb")))
    assert [job.job.disk for job in jobs_of(book, vm_uuid(1))] == ["vda", "vdb"]
    assert jobs_of(book, vm_uuid(2)) == []


def test_a_host_without_jobs_costs_nothing() -> None:
    book = play(sample(0))
    assert book is NO_JOBS
