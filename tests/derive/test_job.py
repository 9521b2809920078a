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
