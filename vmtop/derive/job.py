"""Jobs over time: how fast they go, when they will be done, which stand still, and how they ended."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    """Smoothed with a half-life of `Policy.job_rate_halflife_s`, anew from each change of its limit on. None at the
    first reading and without progress."""
    measured_s: float = 0.0
    """For how long the rate was measured under the same limit."""
    left_s: float | None
    """Time until it is done at this rate. None without a rate, and while it is stalled or ready."""
    still_s: float
    """For how long it has made no progress; 0 for one without progress, of which nobody can tell."""
    is_stalled: bool
    """It stood still for longer than `Policy.job_stalled_s`, and neither its limit nor its end is why."""
    is_ready: bool = False
    """Everything is copied or merged; it follows what the guest writes until somebody ends it."""
    is_told: bool = False
    """Its end was announced; that it runs was read a moment before."""


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
    told = {JobKey(each.uuid, each.kind, each.disk) for each in sample.finished}
    running = [_follow(vm, job, last.get(_key(vm.uuid, job)), elapsed_s, policy) for vm in busy for job in vm.jobs]
    running = [replace(each, is_told=each.is_told or _key(each.uuid, each.job) in told) for each in running]
    there = {_key(each.uuid, each.job) for each in running}
    gone = [
        _Missing(job=each, since_s=sample.monotonic_s, ended_s=sample.time_s)
        for key, each in last.items()
        if key not in there and not each.is_told
    ]
    waiting = [each for each in (*before.missing, *gone) if _key(each.job.uuid, each.job.job) not in told]
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
    rate, measured_s = _rate(before, job, elapsed_s, policy.job_rate_halflife_s)
    stands = before is not None and now is not None and now == before.job.processed_bytes
    still_s = before.still_s + elapsed_s if before is not None and stands else 0.0
    left = None if now is None or job.total_bytes is None else max(0, job.total_bytes - now)
    ready = is_ready(job)
    is_stalled = not ready and still_s >= _patience_s(job, policy)
    return JobMetrics(
        uuid=vm.uuid,
        name=vm.name,
        job=job,
        done_ratio=None if now is None or not job.total_bytes else min(1.0, now / job.total_bytes),
        rate_bytes_per_s=rate,
        measured_s=measured_s,
        left_s=None if left is None or not rate or is_stalled or ready else left / rate,
        still_s=still_s,
        is_stalled=is_stalled,
        is_ready=ready,
        is_told=before is not None and before.is_told,
    )


def _is_another(before: JobSample, now: JobSample) -> bool:
    """A job that began anew: its time or its progress went back."""
    has_less_time = before.elapsed_s is not None and now.elapsed_s is not None and now.elapsed_s < before.elapsed_s
    pair = before.processed_bytes, now.processed_bytes
    return has_less_time or (pair[0] is not None and pair[1] is not None and pair[1] < pair[0])


def is_ready(job: JobSample) -> bool:
    """Everything is copied or merged, and the job follows what the guest writes until somebody ends it.

    Source: of a job that is not ready, libvirt never tells a `cur` that equals `end` (qemuBlockJobInfoTranslate).
    """
    is_complete = job.processed_bytes is not None and job.processed_bytes == job.total_bytes
    return is_complete and job.kind in {JobKind.BLOCK_COPY, JobKind.BLOCK_COMMIT}


def _patience_s(job: JobSample, policy: Policy) -> float:
    """After what time without progress a job is stalled: one with a low limit rests between two pieces."""
    rest_s = policy.job_burst_bytes / job.limit_bytes_per_s if job.limit_bytes_per_s else 0.0
    return max(policy.job_stalled_s, rest_s)


def _rate(before: JobMetrics | None, job: JobSample, elapsed_s: float, halflife_s: float) -> tuple[float | None, float]:
    """The smoothed rate, and for how long it was measured under the same limit.

    QEMU moves large pieces at once and then waits, so that a single interval says little: a rate that was not measured
    for long is no higher than the limit.
    """
    mean = rate_per_s(None if before is None else before.job.processed_bytes, job.processed_bytes, elapsed_s)
    if before is None or mean is None:
        return None, 0.0
    last, measured_s, cap = before.rate_bytes_per_s, before.measured_s, _most_per_s(job)
    if _is_other_limit(before.job, job):
        if cap is not None and last is not None and last > cap:
            # As good as measured for long: the new limit is why.
            return cap, halflife_s
        last, measured_s = None, 0.0
    measured_s += elapsed_s
    if last is None:
        rate = mean
    else:
        # Exponential by time, so that it does not depend on how often is read; at first the mean of all intervals.
        share = min(0.5 ** (elapsed_s / halflife_s), 1 - elapsed_s / measured_s)
        rate = mean + (last - mean) * share
    return (rate if cap is None or measured_s > halflife_s else min(rate, cap)), measured_s


def _most_per_s(job: JobSample) -> float | None:
    """What its limit lets it move in all. None without one."""
    if not job.limit_bytes_per_s or (job.disk is None and job.disks is None):
        return None
    return float(job.limit_bytes_per_s * (job.disks or 1))


def _is_other_limit(before: JobSample, now: JobSample) -> bool:
    pair = before.limit_bytes_per_s, now.limit_bytes_per_s
    return None not in pair and pair[0] != pair[1]


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
        disk=each.job.disk,
    )


def job_began_s(job: JobSample, time_s: float) -> float | None:
    """When a job began that runs at `time_s`, on the same clock. None where nobody tells how long it runs."""
    return None if job.elapsed_s is None else time_s - job.elapsed_s


def jobs_of(book: JobBook, uuid: str) -> Sequence[JobMetrics]:
    """The running jobs of one VM."""
    return [each for each in book.running if each.uuid == uuid]
