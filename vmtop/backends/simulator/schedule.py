"""Backups and snapshots at their times, as cron or a backup server would begin them."""

from dataclasses import dataclass

from vmtop.backends.simulator.backup import BackupSpec, start_backup
from vmtop.backends.simulator.dice import HOST_UID, Channel
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.plan import NEVER
from vmtop.backends.simulator.store import CHECKPOINT_PREFIX, CHUNKS
from vmtop.backends.simulator.workload import DAY_S
from vmtop.backends.simulator.world import World
from vmtop.errors import ControlError
from vmtop.model.sample import JobKind

LOOK_S = 5
"""The scheduler looks this often for something to begin."""
FAILS_AT = 0.5
"""Share after which the target of a backup is full that is to fail."""
KEEP_POINTS = 7
"""So many recovery points of each guest are kept; our own choice of what many choose: one for each day of a week."""
SNAPSHOT_PREFIX = "auto-"


@dataclass(slots=True, kw_only=True)
class BackupWindow:
    """Backs up one guest after the other, those first whose last backup is longest ago."""

    parallel: int
    starts_at: int = -DAY_S
    """Tick of the first backup; by default the window is open when the world begins."""
    again_after_s: int = DAY_S
    """No guest is backed up again before this time."""
    failures: int = 0
    """So many of the first backups fail because their target is full."""
    pull_every: int = 0
    """Each so many-th backup is fetched by a reader (pull mode), which libvirt tells less of; 0 for none."""
    begun: int = 0
    """Backups so far."""

    def direct(self, world: World) -> None:
        """Fill the free places."""
        if world.tick < self.starts_at or world.tick % LOOK_S:
            return
        running = sum(guest.job is not None and guest.job.kind is JobKind.BACKUP for guest in world.active)
        if running >= self.parallel:
            return
        due = [guest for guest in world.active if self._is_due(world, guest)]
        due.sort(key=lambda guest: (_last_at(world, guest), guest.plan.uid))
        for guest in due[: self.parallel - running]:
            self.begun += 1
            world.store.prune(guest.plan, KEEP_POINTS - 1)
            is_pull = self.pull_every > 0 and self.begun % self.pull_every == 0
            job = start_backup(world, guest, _next_spec(world, guest, is_pull=is_pull))
            if self.failures > 0:
                self.failures -= 1
                job.fail_at(FAILS_AT)

    def _is_due(self, world: World, guest: Guest) -> bool:
        if guest.job is not None or guest.is_frozen:
            return False
        return world.tick - _last_at(world, guest) >= self.again_after_s


def _last_at(world: World, guest: Guest) -> int:
    points = world.store.points(guest.plan)
    return points[-1].mark.at if points else -NEVER


def _next_spec(world: World, guest: Guest, *, is_pull: bool) -> BackupSpec:
    """Go on from the last recovery point where its checkpoint still exists, otherwise copy everything.

    Checkpoints that are of no use any more are deleted, as backup programs do with their own: those of earlier points,
    and those that failed backups left behind.
    """
    points, checkpoints = world.store.points(guest.plan), guest.disk.checkpoints
    last = points[-1].mark.name if points else None
    for name in [name for name in checkpoints if name.startswith(CHECKPOINT_PREFIX) and name != last]:
        del checkpoints[name]
    return BackupSpec(
        checkpoint=f"{CHECKPOINT_PREFIX}{world.epoch_s + world.tick}",
        since=last if last in checkpoints else None,
        is_pull=is_pull,
        form=CHUNKS,
    )


@dataclass(slots=True, kw_only=True)
class Snapshots:
    """Takes a snapshot with memory of some guest every so often."""

    every_s: int
    count: int

    def direct(self, world: World) -> None:
        """Begin the next one at its time, on a guest that is free for it."""
        # Few worlds take snapshots, and the first picture waits for all that is imported before it.
        from vmtop.backends.simulator.snapshot import begin_snapshot
        from vmtop.model.kind import SnapshotKind
        from vmtop.model.storage import SnapshotRequest

        if self.count == 0 or world.tick <= 0 or world.tick % self.every_s:
            return
        free = [guest for guest in world.active if guest.job is None and not guest.is_frozen]
        if free:
            self.count -= 1
            guest = free[world.dice.bits(HOST_UID, world.tick, Channel.VICTIM) % len(free)]
            name = f"{SNAPSHOT_PREFIX}{world.epoch_s + world.tick}"
            try:
                begin_snapshot(world, guest, SnapshotRequest(name=name, kind=SnapshotKind.INTERNAL))
            except ControlError as error:
                world.tell(f"{JobKind.SNAPSHOT} of {guest.plan.name} failed: {error}")
