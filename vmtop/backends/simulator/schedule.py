"""Backups and snapshots at their times, as cron or a backup server would begin them."""

from dataclasses import dataclass

from vmtop.backends.simulator.backup import start_backup, start_snapshot
from vmtop.backends.simulator.dice import HOST_UID, Channel
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.workload import DAY_S
from vmtop.backends.simulator.world import World
from vmtop.model.sample import JobKind

LOOK_S = 5
"""The scheduler looks this often for something to begin."""


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

    def direct(self, world: World) -> None:
        """Fill the free places."""
        if world.tick < self.starts_at or world.tick % LOOK_S:
            return
        running = sum(guest.job is not None and guest.job.kind is JobKind.BACKUP for guest in world.active)
        if running >= self.parallel:
            return
        due = [guest for guest in world.active if self._is_due(guest, world.tick)]
        due.sort(key=lambda guest: (guest.bitmap_from is not None, guest.bitmap_from or 0, guest.plan.uid))
        for guest in due[: self.parallel - running]:
            if start_backup(guest, world.host, world.active, world.tick, will_fail=self.failures > 0):
                self.failures -= 1

    def _is_due(self, guest: Guest, tick: int) -> bool:
        if guest.job is not None or guest.is_frozen:
            return False
        return guest.bitmap_from is None or tick - guest.bitmap_from >= self.again_after_s


@dataclass(slots=True, kw_only=True)
class Snapshots:
    """Takes a snapshot with memory of some guest every so often."""

    every_s: int
    count: int

    def direct(self, world: World) -> None:
        """Begin the next one at its time, on a guest that is free for it."""
        if self.count == 0 or world.tick <= 0 or world.tick % self.every_s:
            return
        free = [guest for guest in world.active if guest.job is None and not guest.is_frozen]
        if free:
            self.count -= 1
            start_snapshot(free[world.dice.bits(HOST_UID, world.tick, Channel.VICTIM) % len(free)], world.tick)
