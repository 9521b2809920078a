"""What vmtop changes about VMs through libvirt; it does what it is asked, for the guard has been asked before."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from vmtop.backends.libvirt_act import INVALID_ARG, Acts, explain_refusal
from vmtop.backends.libvirt_backup import build_backup_xml, build_checkpoint_xml, limit_backup
from vmtop.backends.libvirt_job_parse import is_backup_of_disk
from vmtop.backends.libvirt_link import Target
from vmtop.backends.libvirt_parse import parse_facts
from vmtop.backends.libvirt_snapshot import take_snapshot
from vmtop.backends.libvirt_storage_parse import parse_disks, parse_snapshot
from vmtop.errors import ControlError
from vmtop.model.capability import EVERYTHING, Capability
from vmtop.model.kind import SnapshotKind
from vmtop.model.storage import BackupRequest, SnapshotRequest
from vmtop.units import KIB

_NO_BACKUP = 104
"""VIR_ERR_NO_DOMAIN_BACKUP."""

_ABILITIES = {
    "qemu": EVERYTHING,
    "test": Capability(
        is_readonly=False,
        can_balloon=True,
        can_snapshot=True,
        snapshot_kinds=frozenset({SnapshotKind.INTERNAL}),
        has_real_disks=False,
    ),
}
"""By driver; vmtop does nothing with VMs on which it was never tried."""


def ability(target: Target) -> Capability:
    """What can be done with the VMs of a target."""
    # Each connection to a file of test domains is a world of its own, so that nothing would change in the one we read.
    is_fleeting = target.driver == "test" and target.path != "/default"
    return Capability() if is_fleeting else _ABILITIES.get(target.driver, Capability())


class LibvirtControl:
    """Changes VMs of one daemon, on connections of its own that are opened when they are needed; see `Control`.

    Its methods may be called from several threads at once.
    """

    def __init__(self, binding: Any, target: Target, *, note_act: Callable[[str], None]) -> None:
        """Prepare to act; nothing is opened yet.

        Args:
            binding: the libvirt module.
            target: whose VMs.
            note_act: called with the UUID of a VM after each act, also one that failed.
        """
        self._binding = binding
        self._note_act = note_act
        self._acts = Acts(binding, target)

    def close(self) -> None:
        """Let go of the connections, of those in use when their calls end."""
        self._acts.close()

    def set_balloon(self, uuid: str, target_bytes: int) -> None:
        """Ask for a balloon size, memory of virtio-mem devices included, as libvirt tells it; rounded down to KiB."""
        with self._domain(uuid) as domain:
            # libvirt counts these devices in what it tells, and not in what it takes.
            out_of_reach = parse_facts(domain.XMLDesc(0)).virtio_mem_bytes
            domain.setMemoryFlags((target_bytes - out_of_reach) // KIB, self._binding.VIR_DOMAIN_AFFECT_LIVE)

    def set_stats_period(self, uuid: str, period_s: int) -> None:
        """Have the guest send its figures every so many seconds, 0 for never."""
        with self._domain(uuid) as domain:
            domain.setMemoryStatsPeriod(period_s, self._binding.VIR_DOMAIN_AFFECT_LIVE)

    def take_snapshot(self, uuid: str, request: SnapshotRequest) -> float | None:
        """Take a snapshot and return when it is complete; tells for how long the guest stood still."""
        with self._acting(uuid) as connection:
            return take_snapshot(self._binding, connection, uuid, request)

    def revert_snapshot(self, uuid: str, name: str) -> None:
        """Throw away the present state for that of a snapshot, and return when it is done."""
        with self._domain(uuid) as domain:
            snapshot = domain.snapshotLookupByName(name)
            # Without memory nothing would go on, and libvirt leaves the VM off: one that runs is to run again.
            is_cold = parse_snapshot(snapshot.getXMLDesc()).kind is SnapshotKind.DISK_ONLY
            is_running = is_cold and domain.state()[0] == self._binding.VIR_DOMAIN_RUNNING
            domain.revertToSnapshot(snapshot, self._binding.VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING if is_running else 0)

    def delete_snapshot(self, uuid: str, name: str) -> None:
        """Delete one snapshot, merging what it holds where needed, and return when done."""
        with self._domain(uuid) as domain:
            domain.snapshotLookupByName(name).delete(0)

    def start_backup(self, uuid: str, request: BackupRequest) -> None:
        """Begin a push backup; the limit is set when it runs, which a small disk may be too quick for."""
        with self._domain(uuid) as domain:
            disks = [disk.target for disk in parse_disks(domain.XMLDesc(0))]
            domain.backupBegin(build_backup_xml(request, disks), build_checkpoint_xml(request, disks), 0)
            if request.bytes_per_s is not None:
                self._limit_new_backup(domain, request.bytes_per_s)

    def cancel_job(self, uuid: str, disk: str | None) -> None:
        """Cancel the job of a VM, or that of one of its disks, and return when it is over."""
        with self._domain(uuid) as domain:
            if disk is None:
                domain.abortJob()
                return
            _check_own_job(domain, disk)
            # No flag: it waits for the end, and the VM stays on the image that it has.
            domain.blockJobAbort(disk, 0)

    def limit_job(self, uuid: str, bytes_per_s: int, disk: str | None) -> None:
        """Limit the rate of a running backup for each of its disks, or that of the job of one disk; 0 for no limit."""
        with self._domain(uuid) as domain:
            if disk is None:
                limit_backup(self._binding, domain, bytes_per_s)
                return
            _check_own_job(domain, disk)
            domain.blockJobSetSpeed(disk, bytes_per_s, self._binding.VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES)

    def delete_checkpoint(self, uuid: str, name: str) -> None:
        """Delete a checkpoint with its bitmaps."""
        with self._domain(uuid) as domain:
            domain.checkpointLookupByName(name).delete(0)

    def resume(self, uuid: str) -> None:
        """Let a paused VM go on."""
        with self._domain(uuid) as domain:
            domain.resume()

    @contextmanager
    def _acting(self, uuid: str) -> Iterator[Any]:
        try:
            with self._acts.connection() as connection, _readable():
                yield connection
        finally:
            self._note_act(uuid)

    @contextmanager
    def _domain(self, uuid: str) -> Iterator[Any]:
        with self._acting(uuid) as connection:
            yield connection.lookupByUUIDString(uuid)

    def _limit_new_backup(self, domain: Any, bytes_per_s: int) -> None:
        try:
            limit_backup(self._binding, domain, bytes_per_s)
        except OverflowError as error:
            self._abort_unlimited(domain, f"its limit could not be set: {error}")
        except self._binding.libvirtError as error:
            if error.get_error_code() != _NO_BACKUP:
                self._abort_unlimited(domain, f"its limit could not be set: {explain_refusal(error)}")

    def _abort_unlimited(self, domain: Any, limit: str) -> NoReturn:
        # Without libvirt's number: the backup began, so that its end is still to be seen.
        try:
            domain.abortJob()
        except self._binding.libvirtError as failure:
            raise ControlError(
                f"the backup may still run, and without a limit, for {limit}. Nor could it be cancelled: "
                f"{explain_refusal(failure)}"
            ) from failure
        raise ControlError(f"the backup was cancelled, as {limit}")


def _check_own_job(domain: Any, disk: str) -> None:
    """See to it that a backup that began meanwhile is not taken for the job that was meant.

    Raises:
        ControlError: what runs on the disk is a part of a backup.
    """
    if is_backup_of_disk(domain.blockJobInfo(disk, 0)):
        raise ControlError(
            f"the disk {disk} is being backed up, and has no job of its own. Nothing was done", INVALID_ARG
        )


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ControlError(f"what was asked, or what libvirt tells of the VM, cannot be read: {error}") from error
