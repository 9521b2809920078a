"""What libvirt does with commands, manners included: what it refuses and in which words, and what it waits for.

A command is a generator. It yields where libvirt would block, and goes on when time has passed; what it returns is the
answer, and what libvirt refuses is a `ControlError`. Commands change what an operator can change, never what the
programs of a guest want.
"""

from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

from vmtop.backends.simulator import backup, snapshot
from vmtop.backends.simulator.disk import TARGET
from vmtop.backends.simulator.error import Code, refusal
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.job import CANCELLED, Job
from vmtop.backends.simulator.plan import NEVER
from vmtop.backends.simulator.snapshot_tree import Snapshot
from vmtop.backends.simulator.world import World
from vmtop.model.kind import SnapshotKind
from vmtop.model.sample import JobKind
from vmtop.model.storage import BackupRequest, CheckpointInfo, DiskInfo, SnapshotInfo, SnapshotRequest, StorageSample
from vmtop.units import KIB, PAGE_BYTES

Result = TypeVar("Result")
Steps: TypeAlias = Generator[None, None, Result]

LIBVIRT_VERSION = 10_000_000
"""10.0.0, which can revert to external snapshots (9.9) and delete them on running VMs (9.0)."""

LOCK_WAIT_S = 30
"""A command waits this long for another that holds the VM. Source: QEMU_JOB_WAIT_TIME in src/qemu/qemu_domainjob.c."""
AGENT_WAIT_S = 5
"""An agent that is connected but does not answer is given up after this time. Source: libvirt 9.0, measured."""

FOLDERS = ("/backup/", "/mnt/", "/srv/", "/var/")
"""What is below these exists on the simulated host."""

_HOLDERS = {
    JobKind.BACKUP: "remoteDispatchDomainBackupBegin",
    JobKind.SNAPSHOT: "remoteDispatchDomainSnapshotCreateXML",
    JobKind.REVERT: "remoteDispatchDomainRevertToSnapshot",
    JobKind.MIGRATION_OUT: "remoteDispatchDomainMigratePerform3Params",
}
_READER = "remoteDispatchConnectGetAllDomainStats"
"""Who holds the lock of a VM, in the words of libvirt; one that hangs is held by whoever asked it something last."""


def set_balloon(world: World, uuid: str, target_bytes: int) -> Steps[None]:
    """Set the balloon's target and return, whatever the guest makes of it: with 1 KiB it is squeezed for ever."""
    _find(world, uuid)
    if target_bytes // KIB == 0:
        raise refusal(Code.INVALID_ARG, "memory in virDomainSetMemoryFlags must not be zero")
    guest = yield from _hold(world, uuid, _lets_change)
    _check_running(guest)
    if target_bytes > guest.plan.maximum * PAGE_BYTES:
        raise refusal(Code.INVALID_ARG, "cannot set memory higher than max memory")
    if not guest.plan.has_balloon:
        raise refusal(
            Code.OPERATION_INVALID,
            "Unable to change memory of active domain without the balloon device and guest OS balloon driver",
        )
    if guest.flaws.refuses_balloon:
        raise refusal(Code.INTERNAL_ERROR, "unable to execute QEMU command 'balloon': Balloon device is not available")
    if guest.boot_target is None:
        guest.boot_target = guest.target
    guest.target = -(-target_bytes // PAGE_BYTES)


def set_stats_period(world: World, uuid: str, period_s: int) -> Steps[None]:
    """Have the guest send its figures every so many seconds, the first ones at once; 0 leaves them as they are."""
    _find(world, uuid)
    if period_s < 0:
        raise refusal(Code.INVALID_ARG, "period in virDomainSetMemoryStatsPeriod must be zero or greater")
    guest = yield from _hold(world, uuid, _lets_change)
    _check_running(guest)
    if not guest.plan.has_balloon:
        raise refusal(Code.INTERNAL_ERROR, "No memory balloon device configured, can not set the collection period")
    # A driver that got stuck is not waked by another period.
    is_stuck = guest.stats_period_s != 0 and guest.next_report == NEVER
    guest.stats_period_s = period_s
    if period_s == 0:
        guest.next_report = NEVER
    elif not is_stuck and guest.driver_from != NEVER:
        guest.next_report = max(world.tick + 1, guest.driver_from)


def read_storage(world: World, uuid: str, monotonic_s: float) -> Steps[StorageSample]:
    """Tell of disks, snapshots and checkpoints; `monotonic_s` is the present moment."""
    guest = yield from _hold(world, uuid, _lets_ask)
    tree, disk = snapshot.snapshots_of(world, guest), guest.disk
    return StorageSample(
        uuid=uuid,
        monotonic_s=monotonic_s,
        disks=(
            DiskInfo(
                target=TARGET,
                path=tree.image,
                image_format="qcow2",
                capacity_bytes=disk.capacity * PAGE_BYTES,
                allocation_bytes=snapshot.image_pages(world, guest) * PAGE_BYTES,
                folder_free_bytes=snapshot.free_pages(world) * PAGE_BYTES,
            ),
        ),
        snapshots=tuple(_snapshot_info(world, guest, taken) for taken in tree),
        checkpoints=tuple(
            CheckpointInfo(
                name=name,
                created_s=world.epoch_s + mark.at,
                dirty_bytes=disk.dirty_since(mark, world.tick) * PAGE_BYTES,
            )
            for name, mark in disk.checkpoints.items()
        ),
        has_agent=guest.is_running and guest.plan.has_agent,
        block_job_disk=None if guest.job is None else guest.job.disk,
        libvirt_version=LIBVIRT_VERSION,
        can_revert_external=True,
    )


def take_snapshot(world: World, uuid: str, request: SnapshotRequest) -> Steps[float | None]:
    """Take a snapshot, and return when it is complete: the seconds for which the guest stood still.

    None for disks only: libvirt announces no pause then.
    """
    guest = _find(world, uuid)
    _check_snapshot_request(guest, request)
    guest = yield from _hold(world, uuid, _lets_begin)
    if guest.job is not None:
        raise refusal(Code.BLOCK_COPY_ACTIVE, "domain has active block job")
    if request.name in snapshot.snapshots_of(world, guest):
        raise refusal(Code.OPERATION_FAILED, f"domain moment {request.name} already exists")
    has_memory = guest.is_running and request.kind is not SnapshotKind.DISK_ONLY
    if has_memory and guest.plan.has_vfio:
        raise refusal(
            Code.OPERATION_INVALID, "cannot migrate domain: 0000:01:00.0: VFIO migration is not supported in kernel"
        )
    if request.memory_path is not None:
        _check_folder(request.memory_path, "failed to create file")
    if request.is_quiesced:
        yield from _freeze(world, guest)
    if has_memory and snapshot.free_pages(world) < guest.used:
        raise refusal(Code.OPERATION_FAILED, "Error while writing VM state: No space left on device")
    job = snapshot.begin_snapshot(world, guest, request)
    yield from _wait(world, job)
    return None if job is None else job.stood_s


def revert_snapshot(world: World, uuid: str, name: str) -> Steps[None]:
    """Go back to a snapshot, and return when the guest runs again.

    Nobody saves an operator here: with checkpoints present QEMU is ended, and then cannot load the images. The VM is
    off.
    """
    guest = yield from _hold(world, uuid, _lets_begin)
    taken = _find_snapshot(world, guest, name)
    if guest.job is not None:
        raise refusal(Code.BLOCK_COPY_ACTIVE, "domain has active block job")
    if guest.disk.checkpoints and not taken.is_external:
        if guest.is_running:
            world.stop(guest)
        raise refusal(Code.INTERNAL_ERROR, "qemu unexpectedly closed the monitor: Error -22 while loading VM state")
    yield from _wait(world, snapshot.begin_revert(world, guest, taken))


def delete_snapshot(world: World, uuid: str, name: str) -> Steps[None]:
    """Delete one snapshot, merging its overlay, and return when that is done."""
    guest = yield from _hold(world, uuid, _lets_begin)
    taken = _find_snapshot(world, guest, name)
    tree = snapshot.snapshots_of(world, guest)
    children = tree.children(taken)
    if taken.is_external and guest.job is not None:
        raise refusal(
            Code.CONFIG_UNSUPPORTED, "cannot delete external snapshots when there is another active block job"
        )
    if taken.is_external and taken is tree.current and children:
        raise refusal(
            Code.CONFIG_UNSUPPORTED,
            "deletion of active external snapshot that is not a leaf snapshot is not supported",
        )
    if taken.is_external and len(children) > 1:
        raise refusal(
            Code.CONFIG_UNSUPPORTED,
            "deletion of external disk snapshot with multiple children snapshots not supported",
        )
    if guest.is_running and not taken.is_external and taken.image != tree.image:
        raise refusal(
            Code.OPERATION_UNSUPPORTED,
            f"disk image '{TARGET}' for internal snapshot '{name}' is not the same as disk image currently used by VM",
        )
    yield from _wait(world, snapshot.begin_delete(world, guest, taken))


def start_backup(world: World, uuid: str, request: BackupRequest) -> Steps[None]:
    """Begin a backup and return; it goes on as a job."""
    _find(world, uuid)
    if not request.targets:
        raise refusal(Code.CONFIG_UNSUPPORTED, "domain must have at least one disk to perform backup")
    for disk in request.targets:
        if disk != TARGET:
            raise refusal(Code.CONFIG_UNSUPPORTED, f"no disk named '{disk}'")
    guest = yield from _hold(world, uuid, _lets_begin)
    path = request.targets[TARGET]
    _check_folder(path, "failed to create image file")
    backup.start_backup(
        world,
        guest,
        backup.BackupSpec(
            name=path, checkpoint=request.checkpoint, since=request.since, bytes_per_s=request.bytes_per_s or 0
        ),
    )


def cancel_job(world: World, uuid: str, disk: str | None) -> Steps[None]:
    """End the job of a VM, or that of a disk."""
    if disk is None:
        guest = yield from _hold(world, uuid, _lets_ask)
        world.cancel_job(guest)
        return
    guest = yield from _hold(world, uuid, _lets_change_disk)
    job = _block_job(guest, disk)
    world.end_job(guest, job.cancelled())


def limit_job(world: World, uuid: str, bytes_per_s: int, disk: str | None) -> Steps[None]:
    """Let the backup of a VM move no more than this on each disk, or the job of one disk; 0 for no limit."""
    guest = yield from _hold(world, uuid, _lets_change_disk)
    _check_running(guest)
    if disk is not None:
        _block_job(guest, disk).set_limit(bytes_per_s)
    elif guest.job is None or guest.job.disk is not None:
        raise refusal(Code.NO_DOMAIN_BACKUP, "no domain backup job present")
    else:
        guest.job.set_limit(bytes_per_s)


def _block_job(guest: Guest, disk: str) -> Job:
    if disk != TARGET:
        raise refusal(Code.INVALID_ARG, f"disk '{disk}' not found in domain")
    if guest.job is None or guest.job.disk != disk:
        raise refusal(Code.INVALID_ARG, f"disk {disk} does not have an active block job")
    return guest.job


def delete_checkpoint(world: World, uuid: str, name: str) -> Steps[None]:
    """Forget a checkpoint; incremental backups cannot go on from it any more, and from older ones as before."""
    guest = yield from _hold(world, uuid, _lets_change)
    if name not in guest.disk.checkpoints:
        raise refusal(Code.NO_DOMAIN_CHECKPOINT, f"no domain checkpoint with matching name '{name}'")
    if not guest.is_running:
        raise refusal(Code.OPERATION_UNSUPPORTED, "cannot delete checkpoint for inactive domain")
    del guest.disk.checkpoints[name]


def resume(world: World, uuid: str) -> Steps[None]:
    """Let a paused VM go on, whatever paused it."""
    guest = yield from _hold(world, uuid, _lets_change)
    _check_running(guest)
    if guest.pause_reason is None:
        raise refusal(Code.OPERATION_INVALID, "domain is already running")
    guest.resume()


def _lets_ask(job: Job) -> bool:
    """A job beside which a VM can be asked something, and which can be cancelled."""
    return not job.holds_monitor


def _lets_change(job: Job) -> bool:
    """A job beside which a VM can be changed: backups, and jobs of disks."""
    return job.kind is JobKind.BACKUP or job.disk is not None


def _lets_change_disk(job: Job) -> bool:
    """A job beside which the job of a disk can be changed: not one that is a part of a longer command."""
    return _lets_change(job) and not job.is_internal


def _lets_begin(job: Job) -> bool:
    """A job that does not hold the VM at all; what wants to begin has to see for itself."""
    return job.disk is not None


def _hold(world: World, uuid: str, lets: Callable[[Job], bool]) -> Steps[Guest]:
    """Wait, as long as libvirt does, until nobody else holds the VM but jobs that let us."""
    gives_up_at = world.tick + LOCK_WAIT_S
    while True:
        guest = _find(world, uuid)
        if guest.hung_since != NEVER:
            holder = _READER
        elif guest.job is not None and not lets(guest.job):
            holder = _HOLDERS.get(guest.job.kind, _READER)
        else:
            return guest
        if world.tick >= gives_up_at:
            raise refusal(Code.OPERATION_TIMEOUT, f"cannot acquire state change lock (held by monitor={holder})")
        yield


def _wait(world: World, job: Job | None) -> Steps[None]:
    """Return when a job is done, as calls of libvirt do that begin one."""
    while job is not None and job.ending is None:
        yield
        _check_reachable(world)
    if job is None or job.ending is None or job.ending.is_good:
        return
    if job.ending == CANCELLED:
        raise refusal(Code.OPERATION_ABORTED, f"{job.kind} job: canceled by client")
    raise refusal(Code.OPERATION_FAILED, job.ending.error or "domain is no longer running")


def _freeze(world: World, guest: Guest) -> Steps[None]:
    """Have the agent freeze file systems."""
    if not guest.is_running:
        raise refusal(Code.OPERATION_INVALID, "domain is not running")
    if not guest.plan.has_agent:
        raise refusal(Code.AGENT_UNRESPONSIVE, "QEMU guest agent is not connected")
    gives_up_at = world.tick + AGENT_WAIT_S
    while guest.flaws.has_hung_agent or guest.is_frozen:
        if world.tick >= gives_up_at:
            raise refusal(Code.AGENT_UNRESPONSIVE, "Guest agent not available for now")
        yield
        _check_reachable(world)


def _find(world: World, uuid: str) -> Guest:
    _check_reachable(world)
    for guest in world.guests:
        if guest.is_defined and guest.plan.uuid == uuid:
            return guest
    raise refusal(Code.NO_DOMAIN, f"no domain with matching uuid '{uuid}'")


def _find_snapshot(world: World, guest: Guest, name: str) -> Snapshot:
    taken = snapshot.snapshots_of(world, guest).find(name)
    if taken is None:
        raise refusal(Code.NO_DOMAIN_SNAPSHOT, f"no domain snapshot with matching name '{name}'")
    return taken


def _check_reachable(world: World) -> None:
    if not world.is_reachable:
        raise refusal(Code.INTERNAL_ERROR, "client socket is closed")


def _check_running(guest: Guest) -> None:
    if not guest.is_running:
        raise refusal(Code.OPERATION_INVALID, "domain is not running")


def _check_folder(path: str, failure: str) -> None:
    if not path.startswith(FOLDERS):
        raise refusal(Code.SYSTEM_ERROR, f"{failure} '{path}': No such file or directory")


def _check_snapshot_request(guest: Guest, request: SnapshotRequest) -> None:
    """What libvirt sees without looking at the VM's jobs."""
    if request.is_quiesced and request.kind is not SnapshotKind.DISK_ONLY:
        raise refusal(
            Code.INVALID_ARG,
            "flag 'VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY' is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE'",
        )
    if request.kind is SnapshotKind.EXTERNAL:
        if not guest.is_running:
            raise refusal(Code.XML_ERROR, "memory state cannot be saved with offline or disk-only snapshot")
        if request.memory_path is None or not request.memory_path.startswith("/"):
            raise refusal(Code.XML_ERROR, f"memory snapshot file path ({request.memory_path}) must be absolute")
    if "/" in request.name:
        raise refusal(Code.XML_DETAIL, f"invalid snapshot name '{request.name}': name can't contain '/'")
    if request.name.startswith("."):
        raise refusal(Code.XML_DETAIL, f"invalid snapshot name '{request.name}': name can't start with '.'")


def _snapshot_info(world: World, guest: Guest, taken: Snapshot) -> SnapshotInfo:
    tree = snapshot.snapshots_of(world, guest)
    return SnapshotInfo(
        name=taken.name,
        parent=taken.parent,
        kind=taken.kind,
        created_s=world.epoch_s + taken.taken_at,
        state=taken.state,
        is_current=taken is tree.current,
        size_bytes=snapshot.size_pages(world, guest, taken) * PAGE_BYTES,
    )
