"""May this backup begin, and what would it mean? May this job be cancelled or limited?"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from vmtop.actions.backup_plan import find_base, is_ours, plan_backup
from vmtop.actions.command import CancelJob, DeleteCheckpoints, LimitJob, ResumeVm, StartBackup
from vmtop.actions.promise import promise_words
from vmtop.actions.situation import Situation, Subject
from vmtop.actions.size import MOST_BYTES_PER_S, size_text
from vmtop.actions.snapshot_guard import why_not_now
from vmtop.actions.space import Room, find_room, needed_bytes, warn_of_pool
from vmtop.actions.verdict import BackupPreview, CheckpointPreview, Verdict
from vmtop.derive.condition import is_off
from vmtop.derive.job import is_ready
from vmtop.derive.metrics import Level, VmMetrics
from vmtop.model.sample import JobKind, JobSample, VmState
from vmtop.model.storage import BackupRequest, StorageSample

IO_ERROR = "I/O error"
"""libvirt's reason for a VM that stands still because its disk, or the target of its backup, could not be written."""

_WHEN_FULL = "when the folder fills up, the VM stands still"

_CANNOT_CANCEL = {JobKind.MIGRATION_IN, JobKind.REVERT, JobKind.RESTORE, JobKind.START, JobKind.SNAPSHOT_DELETE}
"""Jobs that libvirt does not let anybody cancel from this side."""

_WHEN_CANCELLED: Mapping[tuple[JobKind, bool], str] = MappingProxyType(
    {
        (JobKind.BLOCK_COMMIT, False): "what was merged so far stays merged, and the chain of images stays as it is",
        (JobKind.BLOCK_COMMIT, True): "all is merged and follows the guest's writes; cancelled, the chain of images "
        "stays as it is, and the VM on its present image",
        (JobKind.BLOCK_COPY, False): "the copy is not complete; it is left as it is to whoever began it",
        (JobKind.BLOCK_COPY, True): "the copy is complete and follows the guest's writes; cancelled, it stays as the "
        "disk is then, and the VM on its present image",
        (JobKind.BLOCK_PULL, False): "what was pulled so far stays, and the chain of images stays as it is",
    }
)
"""Kind of a job of a disk, and whether it is ready -> what a cancel means. Source: real guests, and the description of
virDomainBlockJobAbort."""


class _Case(NamedTuple):
    command: StartBackup
    storage: StorageSample
    now: Situation
    request: BackupRequest
    preview: BackupPreview


def check_backup(command: StartBackup, subject: Subject, now: Situation) -> Verdict:
    """Judge a backup to start."""
    storage = now.storage
    if storage is None:
        return Verdict(refusals=(f"the disks of {subject.metrics.name} could not be read",))
    existing = None if now.folder is None else now.folder.usable
    request = plan_backup(command, subject.metrics, storage, now.frame.sample.time_s, existing)
    base = find_base(storage, existing) if command.is_incremental else None
    room = find_room(command.folder, None if now.folder is None else now.folder.free_bytes, storage.pools)
    dirty_bytes = None if base is None else base.dirty_bytes
    preview = BackupPreview(
        write_bytes=dirty_bytes if command.is_incremental else _most_bytes(storage),
        least_bytes=dirty_bytes if command.is_incremental else _least_bytes(storage),
        promised_least_bytes=now.promised.least_bytes,
        promised_most_bytes=now.promised.most_bytes,
        free_bytes=room.free_bytes,
        pool=room.pool,
        files=tuple(request.targets.values()),
        since=request.since,
    )
    case = _Case(command, storage, now, request, preview)
    return Verdict(
        refusals=(*why_not_now(storage), *_why_not_copy(case), *_why_not_there(case)),
        warnings=tuple(_warnings(case)),
        preview=preview,
    )


def _most_bytes(storage: StorageSample) -> int | None:
    """A full backup copies no more than the guest sees."""
    capacities = [disk.capacity_bytes for disk in storage.disks if disk.capacity_bytes is not None]
    return sum(capacities) if len(capacities) == len(storage.disks) else None


def _least_bytes(storage: StorageSample) -> int | None:
    """And no less than is allocated: what is compressed, or in an image that a disk stands on, takes more there."""
    total_bytes = 0
    for disk in storage.disks:
        sizes = [size for size in (disk.capacity_bytes, disk.allocation_bytes) if size is not None]
        if not sizes:
            return None
        total_bytes += min(sizes)
    return total_bytes


def _why_not_copy(case: _Case) -> Iterator[str]:
    command, storage, host = case.command, case.storage, case.now.frame.host
    if not storage.disks:
        yield "the VM has no disk to back up"
    if command.bytes_per_s is not None and command.bytes_per_s <= 0:
        yield "a limit of nothing is none; leave it out for no limit"
    if command.bytes_per_s is not None and command.bytes_per_s > MOST_BYTES_PER_S:
        yield "no disk is as fast as that limit; leave it out for no limit"
    if any(known.name == case.request.checkpoint for known in storage.checkpoints):
        yield f"there is a checkpoint {case.request.checkpoint} already; try again in a second"
    if command.is_incremental:
        raw = [f"{disk.target} ({disk.image_format})" for disk in storage.disks if disk.image_format != "qcow2"]
        if raw:
            yield f"only qcow2 disks know what changed, and {', '.join(raw)} do not; make a full backup"
        elif case.preview.since is None:
            yield "no backup of vmtop that this one could go on from is there; make a full one first"
    if host.level is not None and host.level >= Level.HARD and not command.is_forced:
        yield f"the host is at {host.level.word}: {host.cause}; a backup needs memory, too; it can be forced"


def _why_not_there(case: _Case) -> Iterator[str]:
    command, folder, preview = case.command, case.now.folder, case.preview
    if not command.folder.startswith("/"):
        yield f"the folder needs its whole path, and {command.folder!r} is none"
    elif folder is not None and folder.why_unseen is not None:
        yield folder.why_unseen
    elif folder is not None and not folder.exists:
        yield f"there is no folder {folder.path}"
    if folder is not None:
        taken = [path for path in preview.files if path.rpartition("/")[2] in folder.names]
        if taken:
            yield f"{', '.join(taken)} exists already, and nothing is overwritten"
    if preview.least_bytes is not None and preview.free_bytes is not None and not preview.pool:
        needed = needed_bytes(preview.least_bytes, case.now.policy)
        if preview.free_bytes - case.now.promised.least_bytes < needed:
            free = f"{size_text(preview.free_bytes)} are free in {command.folder}"
            yield f"{free}{promise_words(case.now.promised)}, and {size_text(needed)} are needed"


def _warnings(case: _Case) -> Iterator[str]:
    promised = case.now.promised
    host, preview = case.now.frame.host, case.preview
    level = host.level
    if level is not None and (level is Level.SOFT or (level > Level.SOFT and case.command.is_forced)):
        yield f"the host is at {level.word}: {host.cause}; a backup needs memory, too"
    if preview.pool:
        yield (
            "the folder cannot be seen from here: it has to be there already, what it holds is not known, and no "
            "recovery point is recorded"
        )
        yield from warn_of_pool(Room(preview.free_bytes, preview.pool), preview.write_bytes, case.now.policy)
    elif preview.free_bytes is None:
        yield (
            "the folder cannot be seen from here: it has to be there already, neither its free space nor what it "
            "holds is known, and no recovery point is recorded"
        )
    elif preview.write_bytes is None:
        yield f"how much is to be written is not known; {_WHEN_FULL}"
    elif promised.most_bytes is None:
        yield f"how much other backups will still write there is not known; {_WHEN_FULL}"
    elif preview.free_bytes - promised.most_bytes < needed_bytes(preview.write_bytes, case.now.policy):
        most, free = size_text(preview.write_bytes), size_text(preview.free_bytes)
        yield f"up to {most} are written, and {free} are free{promise_words(promised)}; {_WHEN_FULL}"
    if case.request.checkpoint is None and case.storage.disks:
        yield "not all of its disks are qcow2, so no incremental backup can follow"


NEXT_IS_FULL = "the next backup has to be a full one"
NOTHING_TO_DELETE = "it has no checkpoint of vmtop to delete"
"""Programs ask after each backup to have old checkpoints deleted: where none is to spare all is as it should be."""


def check_clear(command: DeleteCheckpoints, subject: Subject, now: Situation) -> Verdict:
    """Judge the deletion of checkpoints."""
    vm, storage = subject.sample, now.storage
    if storage is None:
        return Verdict(refusals=(f"the checkpoints of {vm.name} could not be read",))
    if not command.names:
        return Verdict(already=NOTHING_TO_DELETE)
    names = [each.name for each in storage.checkpoints]
    preview = CheckpointPreview(
        deleted=tuple(name for name in names if name in command.names),
        kept=tuple(name for name in names if is_ours(name) and name not in command.names),
        foreign=tuple(name for name in names if not is_ours(name)),
    )
    return Verdict(
        refusals=(*why_not_now(storage), *_why_not_clear(command, subject, storage)),
        warnings=() if preview.kept else (f"none of vmtop is left then, so that {NEXT_IS_FULL}",),
        preview=preview,
    )


def _why_not_clear(command: DeleteCheckpoints, subject: Subject, storage: StorageSample) -> Iterator[str]:
    vm, names = subject.sample, {each.name for each in storage.checkpoints}
    if is_off(vm) or vm.state is VmState.CRASHED:
        yield f"libvirt deletes checkpoints only while their VM runs, and {vm.name} is {vm.state}"
    if not any(disk.image_format == "qcow2" for disk in storage.disks):
        yield "none of its disks is qcow2, and only those hold checkpoints"
    for name in command.names:
        if not is_ours(name):
            yield f"the checkpoint {name} was not made by vmtop: whoever made it may need it"
        elif name not in names:
            yield f"{vm.name} has no checkpoint {name}"


def check_cancel(command: CancelJob, subject: Subject, _now: Situation) -> Verdict:
    """Judge the end of a job before its time."""
    vm = subject.metrics
    if command.disk is not None and vm.jobs:
        return _check_disk(vm, command.disk, is_cancel=True)
    whole = [job for job in vm.jobs if job.disk is None]
    kinds = [job.kind for job in whole]
    fixed = [kind for kind in kinds if kind in _CANNOT_CANCEL]
    if not vm.jobs:
        return Verdict(refusals=(f"no job runs on {vm.name}",))
    if not whole:
        return Verdict(refusals=(f"only jobs of single disks run, so name the disk: {_disk_jobs(vm)}",))
    if fixed:
        return Verdict(refusals=(f"libvirt cannot cancel this kind of job: {', '.join(fixed)}",))
    return Verdict(warnings=tuple(_what_is_lost(job) for job in whole if job.kind in {JobKind.BACKUP, JobKind.OTHER}))


def _what_is_lost(job: JobSample) -> str:
    if job.kind is JobKind.OTHER:
        return "libvirt does not say what this job is; some go on whoever cancels them"
    if job.scratch_total_bytes is None:
        return "what was copied so far is thrown away"
    return "it is a pull backup: whoever reads it cannot go on"


def check_limit(command: LimitJob, subject: Subject, _now: Situation) -> Verdict:
    """Judge a limit of a backup's rate."""
    vm = subject.metrics
    backups = [job for job in vm.jobs if job.kind is JobKind.BACKUP]
    refusals = []
    if command.bytes_per_s < 0:
        refusals.append("a rate cannot be below 0; 0 is no limit")
    if command.disk is not None:
        refusals += _check_disk(vm, command.disk, is_cancel=False).refusals
    elif not backups and _disk_jobs(vm):
        refusals.append(f"no backup runs on {vm.name}; to limit the job of a disk, name it: {_disk_jobs(vm)}")
    elif not backups:
        refusals.append(f"no backup runs on {vm.name}, and other jobs cannot be limited")
    elif any(job.scratch_total_bytes is not None for job in backups):
        refusals.append("whoever reads this backup sets its pace: it is a pull backup")
    return Verdict(refusals=tuple(refusals))


def _check_disk(vm: VmMetrics, disk: str, *, is_cancel: bool) -> Verdict:
    """Judge a change to the job of one disk."""
    job = next((job for job in vm.jobs if job.disk == disk), None)
    if job is None:
        others = _disk_jobs(vm) or "none of any other disk either"
        return Verdict(refusals=(f"no job of its own runs on the disk {disk} of {vm.name}; there is: {others}",))
    # libvirt lets a disk be changed beside a backup; all else it would let wait for half a minute, and then refuse.
    holders = [job.kind for job in vm.jobs if job.disk is None and job.kind is not JobKind.BACKUP]
    if holders:
        return Verdict(refusals=(f"{', '.join(holders)} of {vm.name} has to end first: libvirt lets this wait for it",))
    if not is_cancel:
        return Verdict()
    return Verdict(warnings=(_WHEN_CANCELLED[job.kind, is_ready(job)],))


def _disk_jobs(vm: VmMetrics) -> str:
    """The jobs of single disks: "block copy of vda"; empty when there is none."""
    return ", ".join(f"{job.kind} of {job.disk}" for job in vm.jobs if job.disk is not None)


def check_resume(_command: ResumeVm, subject: Subject, _now: Situation) -> Verdict:
    """Judge a resume: somebody may have paused the VM on purpose, and only an I/O error is known to be no purpose."""
    vm = subject.sample
    if vm.state is not VmState.PAUSED:
        return Verdict(refusals=(f"{vm.name} is not paused: it is {vm.state}",))
    if vm.state_reason != IO_ERROR:
        why = vm.state_reason or "libvirt does not say why"
        return Verdict(refusals=(f"{vm.name} was not paused by an I/O error ({why}), so that may be meant",))
    return Verdict(warnings=("make room first, else it stands still again at once",))
