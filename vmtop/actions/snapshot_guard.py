"""May this snapshot be taken, reverted to, deleted, and what would it mean?"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from vmtop.actions.command import DeleteSnapshot, RevertSnapshot, TakeSnapshot
from vmtop.actions.situation import Situation, Subject
from vmtop.actions.size import size_text
from vmtop.actions.space import Room, find_room, needed_bytes, warn_of_pool
from vmtop.actions.verdict import Consistency, SnapshotPreview, Verdict
from vmtop.derive.metrics import VmMetrics
from vmtop.derive.words import duration_words, span_words
from vmtop.model.kind import SnapshotKind
from vmtop.model.policy import Policy
from vmtop.model.sample import VmState
from vmtop.model.storage import DiskInfo, SnapshotInfo, SnapshotRequest, StorageSample

CAN_DELETE_MIXED = 9_010_000
"""From this libvirt on an external snapshot on top of an internal one can be deleted. Source: its news of 9.10.0."""


def check_snapshot(command: TakeSnapshot, subject: Subject, now: Situation) -> Verdict:
    """Judge a snapshot to take."""
    storage = now.storage
    if storage is None:
        return Verdict(refusals=(f"the disks of {subject.metrics.name} could not be read",))
    if command.request.kind not in now.capability.snapshot_kinds:
        return Verdict(refusals=(f"{now.frame.sample.uri} knows no snapshots of this kind",))
    preview = preview_snapshot(command.request, subject.metrics, storage, now)
    return Verdict(
        refusals=tuple(_why_not_take(command.request, subject, storage, now, preview)),
        warnings=tuple(_warnings(command.request, storage, now, preview)),
        preview=preview,
    )


def preview_snapshot(
    request: SnapshotRequest, vm: VmMetrics, storage: StorageSample, now: Situation
) -> SnapshotPreview:
    """Foresee what a snapshot would mean."""
    policy, kind = now.policy, request.kind
    has_memory = kind is not SnapshotKind.DISK_ONLY and now.capability.has_real_disks
    memory_bytes = _memory_bytes(vm) if has_memory else 0
    if kind is SnapshotKind.INTERNAL:
        pause_s = None if memory_bytes is None else memory_bytes / policy.snapshot_bytes_per_s
    else:
        pause_s = policy.snapshot_live_pause_s if kind is SnapshotKind.EXTERNAL else policy.snapshot_disk_pause_s
    consistency = Consistency.COMPLETE
    if kind is SnapshotKind.DISK_ONLY:
        consistency = Consistency.FILE_SYSTEMS if request.is_quiesced else Consistency.CRASH
    room = _room(request, storage, now)
    return SnapshotPreview(
        write_bytes=memory_bytes,
        pause_s=pause_s,
        free_bytes=room.free_bytes,
        pool=room.pool,
        consistency=consistency,
        is_revertible=kind is SnapshotKind.INTERNAL or storage.can_revert_external,
    )


def _memory_bytes(vm: VmMetrics) -> int | None:
    """Memory that a snapshot writes: pages that were never touched are not written."""
    if vm.balloon_bytes is None or vm.resident_bytes is None:
        return vm.balloon_bytes
    return min(vm.balloon_bytes, vm.resident_bytes + (vm.host_swap_bytes or 0))


def _room(request: SnapshotRequest, storage: StorageSample, now: Situation) -> Room:
    """Where the memory goes: into the first disk, or a file of its own; overlays grow beside each disk."""
    if request.kind is SnapshotKind.EXTERNAL:
        folder = (request.memory_path or "").rpartition("/")[0]
        free_bytes = None if now.folder is None else now.folder.free_bytes
        # A folder that cannot be seen from here may still be that of a disk, of which libvirt tells.
        beside = (disk.folder_free_bytes for disk in storage.disks if _folder_of(disk) == folder)
        return find_room(folder, next(beside, None) if free_bytes is None else free_bytes, storage.pools)
    disks = storage.disks[:1] if request.kind is SnapshotKind.INTERNAL else storage.disks
    rooms = [find_room(_folder_of(disk), disk.folder_free_bytes, storage.pools) for disk in disks]
    return min(
        (room for room in rooms if room.free_bytes is not None), key=lambda room: room.free_bytes or 0, default=Room()
    )


def _folder_of(disk: DiskInfo) -> str:
    """The folder that holds its image; empty where it has none."""
    return (disk.path or "").rpartition("/")[0]


def _why_not_take(
    request: SnapshotRequest, subject: Subject, storage: StorageSample, now: Situation, preview: SnapshotPreview
) -> Iterator[str]:
    vm, kind = subject.metrics, request.kind
    yield from why_not_now(storage)
    if any(known.name == request.name for known in storage.snapshots):
        yield f"{vm.name} has a snapshot {request.name} already"
    if not request.name:
        yield "a snapshot needs a name"
    if not storage.disks:
        yield f"{vm.name} has no disk that could be kept"
    if kind is SnapshotKind.INTERNAL and now.capability.has_real_disks:
        others = [f"{disk.target} ({disk.image_format})" for disk in storage.disks if disk.image_format != "qcow2"]
        if others:
            yield f"only qcow2 disks can hold a snapshot inside, and {', '.join(others)} cannot"
    if kind is not SnapshotKind.DISK_ONLY and subject.sample.facts is not None and subject.sample.facts.has_vfio:
        yield f"a host device is passed through to {vm.name}: its memory cannot be kept"
    if kind is SnapshotKind.EXTERNAL:
        yield from _why_not_memory(request, now)
        yield from _why_not_overlays(storage, now.policy)
    elif request.memory_path is not None:
        yield "only a live snapshot with memory has a file for the memory"
    if request.is_quiesced and kind is not SnapshotKind.DISK_ONLY:
        yield "file systems are frozen only for a snapshot of the disks alone"
    elif request.is_quiesced and storage.has_agent is False:
        yield f"the guest agent of {vm.name} is not connected, so file systems cannot be frozen"
    if preview.write_bytes is not None and preview.free_bytes is not None and not preview.pool:
        needed = needed_bytes(preview.write_bytes, now.policy)
        if preview.free_bytes < needed:
            yield f"{size_text(preview.free_bytes)} are free where it is written, and {size_text(needed)} are needed"


def _why_not_memory(request: SnapshotRequest, now: Situation) -> Iterator[str]:
    path, folder = request.memory_path, now.folder
    if path is None:
        yield "a live snapshot needs a file for the memory"
    elif not path.startswith("/") or path.endswith("/"):
        yield f"the file for the memory needs its whole path, and {path!r} is none"
    elif folder is not None and folder.why_unseen is not None:
        yield folder.why_unseen
    elif folder is not None and not folder.exists:
        yield f"there is no folder {folder.path}"
    elif folder is not None and path.rpartition("/")[2] in folder.names:
        yield f"{path} exists already"


def _why_not_overlays(storage: StorageSample, policy: Policy) -> Iterator[str]:
    """The memory may go elsewhere; what the guest writes from now on goes beside each disk."""
    needed = needed_bytes(0, policy)
    for disk in storage.disks:
        if disk.folder_free_bytes is not None and disk.folder_free_bytes < needed:
            free = size_text(disk.folder_free_bytes)
            yield f"{free} are free beside {disk.target}, where its overlay grows, and {size_text(needed)} are needed"


def _warnings(
    request: SnapshotRequest, storage: StorageSample, now: Situation, preview: SnapshotPreview
) -> Iterator[str]:
    kind = request.kind
    if not now.capability.has_real_disks:
        yield "these VMs have names only: no data is kept"
    if preview.pause_s is None:
        yield "how long the guest will stand still is not known"
    elif preview.pause_s > now.policy.pause_warn_s:
        yield f"the guest stands still for about {duration_words(preview.pause_s)}"
    if preview.consistency is Consistency.CRASH:
        yield "its disks are kept as a power failure would leave them (crash-consistent)"
    if request.is_quiesced and storage.has_agent is None:
        yield "it is not known whether the guest agent answers; without it this fails"
    if not preview.is_revertible:
        yield "this libvirt cannot revert to it (9.9 can)"
    elif storage.checkpoints:
        yield "vmtop will refuse to revert to it while the VM has checkpoints of backups"
    if kind is SnapshotKind.INTERNAL and any(known.kind is not kind for known in storage.snapshots):
        yield "it mixes with snapshots outside of the disks: neither kind can be deleted in any order then"
    yield from warn_of_pool(Room(preview.free_bytes, preview.pool), preview.write_bytes, now.policy)
    if preview.write_bytes and preview.free_bytes is None:
        yield f"free space is not known; up to {size_text(preview.write_bytes)} are written"


def why_not_now(storage: StorageSample) -> Iterator[str]:
    """Whatever touches disks waits for jobs of single disks."""
    if storage.block_job_disk is not None:
        yield f"a block job runs on its disk {storage.block_job_disk}"


def check_revert(command: RevertSnapshot, subject: Subject, now: Situation) -> Verdict:
    """Judge a revert."""
    storage = now.storage
    if storage is None:
        return Verdict(refusals=(f"the snapshots of {subject.metrics.name} could not be read",))
    snapshot = _find(storage, command.name)
    if snapshot is None:
        return Verdict(refusals=(f"{subject.metrics.name} has no snapshot {command.name}",))
    refusals = [*why_not_now(storage)]
    if storage.checkpoints:
        names = span_words([checkpoint.name for checkpoint in storage.checkpoints])
        refusals.append(f"it has checkpoints of backups ({names}): libvirt would kill the VM")
    if snapshot.kind is not SnapshotKind.INTERNAL and not storage.can_revert_external:
        refusals.append("this libvirt cannot revert to snapshots outside of the disks; 9.9 can")
    refusals += _below_overlays(snapshot, storage, "reverting would leave them without what they stand on")
    return Verdict(
        refusals=tuple(refusals),
        warnings=(_afterwards(snapshot, subject), "all that happened since is lost"),
        needs_name="the present state of the VM will be lost",
    )


_GOES_ON: Mapping[str, str] = MappingProxyType(
    {
        "running": "QEMU is started anew, and the guest goes on as it was then",
        "paused": "QEMU is started anew, and the guest is paused, as it was then",
    }
)
"""State of the VM at a snapshot with memory -> what becomes of the guest."""


def _afterwards(snapshot: SnapshotInfo, subject: Subject) -> str:
    """What a revert makes of the guest."""
    if snapshot.kind is SnapshotKind.DISK_ONLY:
        if subject.sample.state is VmState.RUNNING:
            return "it holds no memory: the guest starts from its disks, as after a power failure"
        return "it holds no memory: the VM is off afterwards"
    return _GOES_ON.get(snapshot.state, "the VM is off afterwards")


def check_delete(command: DeleteSnapshot, subject: Subject, now: Situation) -> Verdict:
    """Judge the deletion of a snapshot."""
    storage = now.storage
    if storage is None:
        return Verdict(refusals=(f"the snapshots of {subject.metrics.name} could not be read",))
    snapshot = _find(storage, command.name)
    if snapshot is None:
        return Verdict(refusals=(f"{subject.metrics.name} has no snapshot {command.name}",))
    refusals = [*why_not_now(storage), *_below_overlays(snapshot, storage, "libvirt cannot delete it")]
    warnings = [f"there will be no way back to {command.name}"]
    if snapshot.kind is not SnapshotKind.INTERNAL:
        warnings.append("its overlay is merged, which moves data and takes a while")
        parent = None if snapshot.parent is None else _find(storage, snapshot.parent)
        is_mixed = parent is not None and parent.kind is SnapshotKind.INTERNAL
        if is_mixed and storage.libvirt_version < CAN_DELETE_MIXED:
            refusals.append("it stands on a snapshot inside of the disks, which this libvirt cannot merge; 9.10 can")
    return Verdict(refusals=tuple(refusals), warnings=tuple(warnings))


def _find(storage: StorageSample, name: str) -> SnapshotInfo | None:
    return next((known for known in storage.snapshots if known.name == name), None)


def _below_overlays(snapshot: SnapshotInfo, storage: StorageSample, why: str) -> list[str]:
    """Overlays that may stand on the image that holds an internal snapshot: all but those that it stands on itself."""
    if snapshot.kind is not SnapshotKind.INTERNAL:
        return []
    parents = {known.name: known.parent for known in storage.snapshots}
    below, name = set[str](), snapshot.parent
    while name is not None and name not in below:
        below.add(name)
        name = parents.get(name)
    overlays = [
        known.name for known in storage.snapshots if known.kind is not SnapshotKind.INTERNAL and known.name not in below
    ]
    if not overlays:
        return []
    return [f"{', '.join(overlays)} may stand on the disk that holds {snapshot.name}: {why}"]
