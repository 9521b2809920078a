"""From libvirt's figures about jobs to ours: those that run, those that have ended, and block jobs of single disks.

Pure, and tested with captured figures. libvirt has no common place for them: a job of a VM has statistics and an event
at its end, a block job has neither kind nor time in common with those, and some jobs have nothing at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vmtop.model.sample import FinishedJob, JobKind, JobSample

JobStats = Mapping[str, int | str | bool]
"""What virDomainGetJobStats returns, and what the event at the end of a job brings."""

_BACKUP = 9
_JOB_KINDS = {
    1: JobKind.START,
    2: JobKind.SAVE,
    3: JobKind.RESTORE,
    4: JobKind.MIGRATION_IN,
    5: JobKind.MIGRATION_OUT,
    6: JobKind.SNAPSHOT,
    7: JobKind.REVERT,
    8: JobKind.DUMP,
    _BACKUP: JobKind.BACKUP,
    10: JobKind.SNAPSHOT_DELETE,
}
"""By number: virDomainJobOperation."""

_BLOCK_JOB_KINDS = {
    1: JobKind.BLOCK_PULL,
    2: JobKind.BLOCK_COPY,
    3: JobKind.BLOCK_COMMIT,
    4: JobKind.BLOCK_COMMIT,
}
"""By number: virDomainBlockJobType."""
_BACKUP_OF_DISK = 5
"""Another of these numbers: a part of a backup, which is a job of the VM."""

_RUNNING_JOBS = (1, 2)
"""virDomainJobType: with and without a known end. The others are none and the ways in which one has ended."""
_COMPLETED, _CANCELLED = 3, 5
_CANCELLED_WORDS = "Operation canceled"
"""What QEMU says of a backup that was cancelled."""

_BLOCK_JOB_DONE, _BLOCK_JOB_CANCELLED = 0, 2
_BLOCK_JOB_ENDS = (_BLOCK_JOB_DONE, 1, _BLOCK_JOB_CANCELLED)
"""virConnectDomainEventBlockJobStatus. The others are stages on the way."""


def parse_job(info: Sequence[int], stats: JobStats) -> JobSample | None:
    """The job that runs on a VM; None when none does (`virsh domjobinfo VM`).

    Args:
        info: virDomainGetJobInfo: type, elapsed and remaining milliseconds, bytes in all, bytes done, and more.
        stats: virDomainGetJobStats, the only one to know what kind of job it is; it may miss a job that `info` has.
    """
    if info[0] not in _RUNNING_JOBS:
        return None
    if stats.get("operation"):
        total, remaining = _amounts(stats)
    else:
        total, remaining = info[3], info[3] - info[4]
    return JobSample(
        kind=_kind(stats),
        elapsed_s=info[1] / 1000 if stats or info[1] else None,
        processed_bytes=max(0, total - remaining) if total else None,
        total_bytes=total or None,
        scratch_used_bytes=_number(stats, "disk_temp_used"),
        scratch_total_bytes=_number(stats, "disk_temp_total"),
    )


def parse_finished_job(uuid: str, name: str, stats: JobStats, ended_s: float) -> FinishedJob | None:
    """A job of a VM that has ended (`virsh domjobinfo --completed --keep-completed VM`); None when there is none.

    Args:
        uuid: of the VM.
        name: of the VM.
        stats: what the event brought, or virDomainGetJobStats with the flag COMPLETED.
        ended_s: wall clock.
    """
    if "operation" not in stats:
        return None
    # libvirt says whether a backup succeeded. Other jobs it announces only when they did, and their statistics have
    # a type. Ending a pull backup is its success, though libvirt adds that it was cancelled.
    is_good = bool(stats.get("success", stats.get("type", _COMPLETED) == _COMPLETED))
    errmsg = stats.get("errmsg")
    elapsed_ms = _number(stats, "time_elapsed")
    total, remaining = _amounts(stats)
    return FinishedJob(
        uuid=uuid,
        name=name,
        kind=_kind(stats),
        is_good=is_good,
        error=str(errmsg) if errmsg and not is_good else None,
        ended_s=ended_s,
        elapsed_s=None if elapsed_ms is None else elapsed_ms / 1000,
        processed_bytes=max(0, total - remaining) if total else None,
        is_cancelled=not is_good and (stats.get("type") == _CANCELLED or errmsg == _CANCELLED_WORDS),
    )


def is_end_of(job: JobSample, stats: JobStats) -> bool:
    """Whether statistics of a job that has ended may be those of this one: its kind, and not over before it was."""
    elapsed_ms = _number(stats, "time_elapsed")
    lasted = elapsed_ms is None or job.elapsed_s is None or elapsed_ms / 1000 >= job.elapsed_s
    return "operation" in stats and _kind(stats) is job.kind and lasted


def parse_block_job(info: Mapping[str, int], disk: str) -> JobSample | None:
    """The block job of a disk (`virsh blockjob VM vda --info`); None when there is none, or it is part of a backup.

    Args:
        info: virDomainGetBlockJobInfo, its rate in bytes.
        disk: name of the disk.
    """
    kind = _BLOCK_JOB_KINDS.get(info.get("type", 0))
    if kind is None:
        return None
    # A job that is still preparing itself is told as nothing done of one byte, so that it does not look complete.
    total = info["end"] if info["end"] > 1 else None
    return JobSample(
        kind=kind,
        elapsed_s=None,
        processed_bytes=None if total is None else min(info["cur"], total),
        total_bytes=total,
        disk=disk,
        limit_bytes_per_s=info.get("bandwidth"),
    )


def is_backup_of_disk(info: Mapping[str, int]) -> bool:
    """Whether virDomainGetBlockJobInfo tells of a part of a backup."""
    return info.get("type") == _BACKUP_OF_DISK


def add_limits(backup: JobSample, infos: Sequence[Mapping[str, int]]) -> JobSample:
    """A backup with its limit, which libvirt tells disk by disk.

    Args:
        backup: the job of the VM.
        infos: virDomainGetBlockJobInfo of all disks of the VM, rates in bytes.
    """
    limits = [info.get("bandwidth") for info in infos if is_backup_of_disk(info)]
    if not limits:
        return backup
    return replace(backup, limit_bytes_per_s=limits[0] if len(set(limits)) == 1 else None, disks=len(limits))


def parse_finished_block_job(
    uuid: str, name: str, disk: str, number: int, status: int, ended_s: float
) -> FinishedJob | None:
    """A block job that has ended; None when it goes on, or is part of a backup (`virsh event VM block-job-2`).

    Args:
        uuid: of the VM.
        name: of the VM.
        disk: name of the disk.
        number: virDomainBlockJobType.
        status: virConnectDomainEventBlockJobStatus.
        ended_s: wall clock.
    """
    kind = _BLOCK_JOB_KINDS.get(number)
    if kind is None or status not in _BLOCK_JOB_ENDS:
        return None
    return FinishedJob(
        uuid=uuid,
        name=name,
        kind=kind,
        is_good=status == _BLOCK_JOB_DONE,
        error=None,
        ended_s=ended_s,
        elapsed_s=None,
        processed_bytes=None,
        disk=disk,
        is_cancelled=status == _BLOCK_JOB_CANCELLED,
    )


def _kind(stats: JobStats) -> JobKind:
    return _JOB_KINDS.get(int(stats.get("operation", 0)), JobKind.OTHER)


def _amounts(stats: JobStats) -> tuple[int, int]:
    """Bytes in all and bytes that remain.

    Not those that were processed: that leaves out empty pages, which need no sending, and would never reach the total.
    """
    sizes = "disk" if stats.get("operation") == _BACKUP else "data"
    return int(stats.get(f"{sizes}_total", 0)), int(stats.get(f"{sizes}_remaining", 0))


def _number(stats: JobStats, key: str) -> int | None:
    value = stats.get(key)
    return None if value is None else int(value)
