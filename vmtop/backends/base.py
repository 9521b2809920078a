"""What every source of samples promises; `tests/backends/test_contract.py` checks it for each of them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from vmtop.model.capability import Capability
from vmtop.model.sample import Sample

if TYPE_CHECKING:  # who only reads does not wait for them
    from vmtop.model.fault import FaultInfo
    from vmtop.model.recovery import BackupFolder
    from vmtop.model.sample import FinishedJob
    from vmtop.model.storage import BackupRequest, FolderSample, SnapshotRequest, StorageSample


NO_DOMAIN, NO_CHECKPOINT = 42, 103
"""VIR_ERR_NO_DOMAIN, VIR_ERR_NO_DOMAIN_CHECKPOINT: codes of a `ControlError` that says what is not there (any more)."""


class Clock(Protocol):
    """Time from outside, so that a test or a demo can hold it in its hand."""

    def time(self) -> float:
        """Wall clock, seconds since 1970."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class Reader(Protocol):
    """A source of samples.

    One thread calls `read_sample` again and again; `close` may come from another thread and must not wait for it.
    """

    name: str
    """Short name of the kind of source: libvirt, simulator."""
    uri: str
    """What is being read, in full; shown in the header."""
    is_simulated: bool
    capability: Capability

    def read_sample(self) -> Sample:
        """Read everything once.

        Returns within a bounded time even when a guest or the daemon hangs, connects by itself where needed, and
        takes VMs that come and go between two calls for normal.

        Raises:
            BackendError: nothing could be read; the text says what, where and what now.
        """

    def on_change(self, notify: Callable[[], None]) -> None:
        """Have `notify` called, from any thread, whenever the source announces that something changed."""

    def close(self) -> None:
        """Let go of connections without waiting for calls that hang; from then on every reading is a `BackendError`."""


class Backend(Reader, Protocol):
    """A source of samples that also tells more of a VM when somebody looks, and whose VMs can be acted upon.

    To look needs no right to act: all but `open_control` works where nothing can be changed. What is read here may be
    asked for from any thread.
    """

    began_s: float | None
    """Wall clock when its world began, seconds since 1970. None for a real host, which was always there."""

    @property
    def fault_control(self) -> "FaultControl | None":
        """What makes things go wrong, to train on. None where everything is real."""

    def read_storage(self, uuid: str) -> "StorageSample":
        """Disks, snapshots, checkpoints and agent of a VM as they are now; may block for a minute.

        Readings go on meanwhile. `virsh domblklist VM`, `virsh snapshot-list VM`, `virsh checkpoint-list VM`.

        Raises:
            ControlError: they cannot be read; libvirt's code where it is about the VM.
        """

    def read_folder(self, path: str, inner: str) -> "FolderSample | None":
        """A folder on the host of this source, with the names in the folder `inner` inside it; "" for its own names.

        None where folders of that host cannot be seen from here; one that is here but cannot be looked at says why.
        """

    def read_backups(self, folder: str, uuid: str) -> "BackupFolder":
        """The backups of a VM that vmtop made below a folder on the host of this source.

        Raises:
            ControlError: the folder cannot be seen from here, or not be read.
        """

    def read_last_job(self, uuid: str) -> "FinishedJob | None":
        """How the last job of a VM ended, whoever began it; `virsh domjobinfo VM --completed --keep-completed`.

        `ended_s` is the time of the question where the source does not keep that of the end. None when it ran none
        since it started. May block for half a minute.

        Raises:
            ControlError: the VM is gone, or does not answer.
        """

    def open_control(self) -> "Control":
        """What changes VMs of this source; it connects, apart from the reader, with the first call.

        Raises:
            ControlError: this source cannot change anything; `capability` says so, too.
        """


class BalloonControl(Protocol):
    """Balloons of running VMs. Here and below every method may block for half a minute, and raises `ControlError`."""

    def set_balloon(self, uuid: str, target_bytes: int) -> None:
        """Ask for a balloon size. It returns at once whatever the guest does; `virsh setmem VM SIZE --live`."""

    def set_stats_period(self, uuid: str, period_s: int) -> None:
        """Have the guest send its figures every so often, 0 for never; `virsh dommemstat VM --period S --live`."""


class SnapshotControl(Protocol):
    """Snapshots of VMs."""

    def take_snapshot(self, uuid: str, request: "SnapshotRequest") -> float | None:
        """Take a snapshot and return when it is complete; `virsh snapshot-create-as`.

        Returns:
            Seconds for which the guest stood still. None where nobody tells, as for a snapshot of disks only.
        """

    def revert_snapshot(self, uuid: str, name: str) -> None:
        """Throw away the present state for that of a snapshot, and return when it is done; `virsh snapshot-revert`."""

    def delete_snapshot(self, uuid: str, name: str) -> None:
        """Delete one snapshot, merging what it holds where needed, and return when done; `virsh snapshot-delete`."""


class BackupControl(Protocol):
    """Backups of VMs, and jobs in general."""

    def start_backup(self, uuid: str, request: "BackupRequest") -> None:
        """Begin a push backup; it goes on as a job. `virsh backup-begin`."""

    def cancel_job(self, uuid: str, disk: str | None) -> None:
        """Cancel the job of a VM, or that of one of its disks, and return when it is over.

        The VM goes on with the images that it has. `virsh domjobabort VM`, `virsh blockjob VM vda --abort`.
        """

    def limit_job(self, uuid: str, bytes_per_s: int, disk: str | None) -> None:
        """Limit the rate of a running backup for each of its disks, or that of the job of one disk; 0 for no limit.

        `virsh blockjob VM vda --bandwidth`.
        """

    def delete_checkpoint(self, uuid: str, name: str) -> None:
        """Delete a checkpoint with its bitmaps; `virsh checkpoint-delete`."""

    def resume(self, uuid: str) -> None:
        """Let a paused VM go on; `virsh resume`."""


class Control(BalloonControl, SnapshotControl, BackupControl, Protocol):
    """All that vmtop can change about VMs; what a driver cannot do is a `ControlError` with libvirt's code 3.

    Only `vmtop.actions.runner` calls it, so that nothing passes by the guard and the audit.
    """

    def close(self) -> None:
        """Let go of the connection without waiting for calls that hang."""


class FaultControl(Protocol):
    """A source in which things can be made to go wrong, to train on: the simulator."""

    def faults(self) -> "tuple[FaultInfo, ...]":
        """What can be injected, in the order of a menu."""

    def inject_fault(self, fault_id: str, uuid: str | None) -> None:
        """Make it happen now, to a VM or, with None, to the host.

        Raises:
            ControlError: it cannot happen to this VM now; the text says why.
        """

    def end_faults(self) -> None:
        """Undo all that was injected and can be undone."""
