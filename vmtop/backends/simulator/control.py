"""Commands to a simulated host from any thread, beside the one that reads it."""

from collections.abc import Callable

from vmtop.backends.simulator import command
from vmtop.backends.simulator.conduct import PATIENCE_S, carry_out
from vmtop.backends.simulator.shared import SharedWorld
from vmtop.backends.simulator.world import World
from vmtop.model.storage import BackupRequest, SnapshotRequest


class SimulatorControl:
    """Changes VMs of a simulated host; `command` tells what each method does and in which errors it ends."""

    def __init__(self, shared: SharedWorld, *, patience_s: float = PATIENCE_S) -> None:
        """Share a world with its backend.

        Args:
            shared: The backend's.
            patience_s: How long a command waits for the next reading.
        """
        self._shared = shared
        self._patience_s = patience_s
        self._is_closed = False

    def set_balloon(self, uuid: str, target_bytes: int) -> None:
        """Ask for a balloon size."""
        self._run(lambda world: command.set_balloon(world, uuid, target_bytes))

    def set_stats_period(self, uuid: str, period_s: int) -> None:
        """Have the guest send its figures every so many seconds, 0 for never."""
        self._run(lambda world: command.set_stats_period(world, uuid, period_s))

    def take_snapshot(self, uuid: str, request: SnapshotRequest) -> float | None:
        """Take a snapshot and return when it is complete; tells for how long the guest stood still."""
        return self._run(lambda world: command.take_snapshot(world, uuid, request))

    def revert_snapshot(self, uuid: str, name: str) -> None:
        """Throw away the present state for that of a snapshot, and return when it is done."""
        self._run(lambda world: command.revert_snapshot(world, uuid, name))

    def delete_snapshot(self, uuid: str, name: str) -> None:
        """Delete one snapshot, merging what it holds where needed, and return when done."""
        self._run(lambda world: command.delete_snapshot(world, uuid, name))

    def start_backup(self, uuid: str, request: BackupRequest) -> None:
        """Begin a push backup; it goes on as a job."""
        self._run(lambda world: command.start_backup(world, uuid, request))

    def cancel_job(self, uuid: str, disk: str | None) -> None:
        """Cancel the job of a VM, or that of a disk."""
        self._run(lambda world: command.cancel_job(world, uuid, disk))

    def limit_job(self, uuid: str, bytes_per_s: int, disk: str | None) -> None:
        """Limit the rate of a running backup, or of the job of a disk; 0 for no limit."""
        self._run(lambda world: command.limit_job(world, uuid, bytes_per_s, disk))

    def delete_checkpoint(self, uuid: str, name: str) -> None:
        """Delete a checkpoint with its bitmaps."""
        self._run(lambda world: command.delete_checkpoint(world, uuid, name))

    def resume(self, uuid: str) -> None:
        """Let a paused VM go on."""
        self._run(lambda world: command.resume(world, uuid))

    def close(self) -> None:
        """Take no more commands; one that waits ends with the next reading."""
        self._is_closed = True

    def _run(self, begin: Callable[[World], command.Steps[command.Result]]) -> command.Result:
        return carry_out(self._shared, begin, patience_s=self._patience_s, is_closed=lambda: self._is_closed)
