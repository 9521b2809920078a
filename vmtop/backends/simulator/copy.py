"""A disk that somebody copies to another place while its VM runs, as `virsh blockcopy` does."""

from dataclasses import dataclass

from vmtop.backends.simulator.backup import READ_RATE
from vmtop.backends.simulator.disk import TARGET
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.job import BLOCK_CANCELLED, DONE, Job
from vmtop.backends.simulator.world import World
from vmtop.model.sample import JobKind
from vmtop.units import PAGE_BYTES


@dataclass(slots=True, kw_only=True, eq=False)
class BlockCopy(Job):
    """It never ends by itself: once complete, it follows what the guest writes."""

    guest: Guest

    def step(self, share: int) -> int:
        """Copy on, and what the guest wrote meanwhile once more."""
        guest = self.guest
        written = 0 if guest.is_frozen else int(guest.disk.write_rate * guest.progress) // PAGE_BYTES
        self.total += written * self.done // self.total
        moved = min(self.capped(READ_RATE), share, self.total - self.done)
        self.done += moved
        return moved

    def close(self) -> None:
        """The copy is left to whoever began it."""


def start_copy(world: World, guest: Guest) -> None:
    """Begin to copy the disk of a guest.

    Raises:
        ControlError: the VM is off, or a job runs on it.
    """
    total = guest.disk.allocated
    world.begin_job(
        guest, BlockCopy(kind=JobKind.BLOCK_COPY, started_at=world.tick, total=total, disk=TARGET, guest=guest)
    )


def end_copy(world: World, guest: Guest) -> None:
    """Whoever began a copy is done with it; if that was cancelled meanwhile, there is nothing to do."""
    if isinstance(guest.job, BlockCopy):
        world.end_job(guest, DONE if guest.job.done == guest.job.total else BLOCK_CANCELLED)
