"""Jobs over time: how fast they go, when they will be done, which stand still, and how they ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vmtop.derive.rates import rate_per_s
from vmtop.model.policy import Policy
from vmtop.model.sample import FinishedJob, JobKind, JobSample, Sample, VmSample

MOST_FINISHED = 200
"""Finished jobs that are remembered: a night of backups on a large host."""


class JobKey(NamedTuple):
    """What tells one job of a sample from another."""

    uuid: str
    kind: JobKind
    disk: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMetrics:
    """A job that runs."""

    uuid: str
    name: str
    """Of the VM; foreign text."""
    job: JobSample
    done_ratio: float | None
    """Processed / total, 0 to 1; can fall where the total grows. None for a job without progress."""
    rate_bytes_per_s: float | None
    """Smoothed with a half-life of `Policy.job_rate_halflife_s`. None at the first reading and without progress."""
    left_s: float | None
    """Time until it is done at this rate. None without a rate, and while it stands still."""
    still_s: float
    """For how long it has made no progress; 0 for one without progress, of which nobody can tell."""
    is_stalled: bool
    """It stood still for longer than `Policy.job_stalled_s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Missing:
    """A job that is gone, and of which nobody told yet how it ended."""

    job: JobMetrics
    since_s: float
    ended_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobBook:
    """Jobs as of one frame, with what the next frame needs to know."""

    running: tuple[JobMetrics, ...] = ()
    """In the order of the sample's VMs."""
    finished: tuple[FinishedJob, ...] = ()
    """The oldest first, at most `MOST_FINISHED`."""
    missing: tuple[_Missing, ...] = ()
    """Their end may still be told: an event can come after the sample in which the job is gone."""


NO_JOBS = JobBook()


def follow_jobs(before: JobBook, sample: Sample, elapsed_s: float, policy: Policy) -> JobBook:
    """Go on from the book of the frame before.

    Args:
        before: that book, or `NO_JOBS`.
        sample: what was read now.
        elapsed_s: time since the frame before; 0 when there was none.
        policy: when a job counts as stalled, and how rates are smoothed.
    """
    busy = [vm for vm in sample.vms if vm.jobs]
    if not busy and not sample.finished and not before.running and not before.missing:
        return before
    last = {_key(each.uuid, each.job): each for each in before.running}
    running = [_follow(vm, job, last.get(_key(vm.uuid, job)), elapsed_s, policy) for vm in busy for job in vm.jobs]
    there = {_key(each.uuid, each.job) for each in running}
    gone = [
        _Missing(job=each, since_s=sample.monotonic_s, ended_s=sample.time_s)
        for key, each in last.items()
        if key not in there
    ]
    told = {(each.uuid, each.kind) for each in sample.finished}
    waiting = [each for each in (*before.missing, *gone) if (each.job.uuid, each.job.job.kind) not in told]
    lost = [each for each in waiting if sample.monotonic_s - each.since_s >= policy.job_end_wait_s]
    finished = (*before.finished, *map(_without_outcome, lost), *sample.finished)
    return JobBook(
        running=tuple(running),
        finished=finished[-MOST_FINISHED:],
        missing=tuple(each for each in waiting if each not in lost),
    )


def _key(uuid: str, job: JobSample) -> JobKey:
    return JobKey(uuid, job.kind, job.disk)


def _follow(vm: VmSample, job: JobSample, last: JobMetrics | None, elapsed_s: float, policy: Policy) -> JobMetrics:
    before = None if last is None or _is_another(last.job, job) else last
    now = job.processed_bytes
    mean = rate_per_s(None if before is None else before.job.processed_bytes, now, elapsed_s)
    rate = _smooth(None if before is None else before.rate_bytes_per_s, mean, elapsed_s, policy.job_rate_halflife_s)
    stands = before is not None and now is not None and now == before.job.processed_bytes
    still_s = before.still_s + elapsed_s if before is not None and stands else 0.0
    left = None if now is None or job.total_bytes is None else max(0, job.total_bytes - now)
    return JobMetrics(
        uuid=vm.uuid,
        name=vm.name,
        job=job,
        done_ratio=None if now is None or not job.total_bytes else min(1.0, now / job.total_bytes),
        rate_bytes_per_s=rate,
        left_s=None if left is None or not rate or stands else left / rate,
        still_s=still_s,
        is_stalled=still_s >= policy.job_stalled_s,
    )


def _is_another(before: JobSample, now: JobSample) -> bool:
    """A job that began anew: its time or its progress went back."""
    has_less_time = before.elapsed_s is not None and now.elapsed_s is not None and now.elapsed_s < before.elapsed_s
    pair = before.processed_bytes, now.processed_bytes
    return has_less_time or (pair[0] is not None and pair[1] is not None and pair[1] < pair[0])


def _smooth(before: float | None, now: float | None, elapsed_s: float, halflife_s: float) -> float | None:
    """Exponential mean by time, so that it does not depend on how often is read."""
    if now is None or before is None:
        return now
    share: float = 0.5 ** (elapsed_s / halflife_s)
    return now + (before - now) * share


def _without_outcome(missing: _Missing) -> FinishedJob:
    each = missing.job
    return FinishedJob(
        uuid=each.uuid,
        name=each.name,
        kind=each.job.kind,
        is_good=None,
        error=None,
        ended_s=missing.ended_s,
        elapsed_s=each.job.elapsed_s,
        processed_bytes=each.job.processed_bytes,
    )


def jobs_of(book: JobBook, uuid: str) -> Sequence[JobMetrics]:
    """The running jobs of one VM."""
    return [each for each in book.running if each.uuid == uuid]
