"""Live migration: a guest leaves for another host while it runs."""

import math
from dataclasses import dataclass

from vmtop.backends.simulator.error import Code, refusal
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.job import DONE, Ending, Job
from vmtop.backends.simulator.plan import PAGES_PER_MIB
from vmtop.backends.simulator.snapshot import rewritten_pages
from vmtop.backends.simulator.world import World
from vmtop.model.sample import JobKind
from vmtop.units import PAGE_BYTES

BANDWIDTH = 1100 * PAGES_PER_MIB
"""Pages per second of one migration: 10 Gbit/s."""
DOWNTIME_S = 0.3
"""The guest is stopped for the rest once that takes no longer than this. Source: downtime-limit of QEMU, 300 ms."""
DIRTY_SHARE = 0.5
"""A round in which the guest dirties more than this share of what was sent makes no headway ..."""
PATIENCE_ROUNDS = 2
"""... and after so many of them the guest is throttled. Source: throttle-trigger-threshold and the two periods of
migration_trigger_throttle in QEMU's migration/ram.c."""
FIRST_THROTTLE = 0.20
MORE_THROTTLE = 0.10
MOST_THROTTLE = 0.99
"""Share of its time that is taken from the guest. Source: cpu-throttle-initial, -increment and max-cpu-throttle of
QEMU."""
MOST_ROUNDS = 30
"""One that may not throttle is given up after so many rounds without headway; our own choice for what operators do by
hand (QEMU itself never gives up)."""

NOT_CONVERGED = Ending(is_good=False, error="operation aborted: migration out job: canceled by client")


@dataclass(slots=True, kw_only=True, eq=False)
class MigrationJob(Job):
    """A guest that is being copied away, in rounds. Amounts are pages.

    Pre-copy: round i sends V_i pages in t_i = V_i / B seconds, and the next one what was dirtied meanwhile,
    V_i+1 = W (1 - e^(-D t_i / W)), with D pages written per second all over a hot set of W pages. With
    lambda = D / B < 1 the rounds shrink like a geometric series; otherwise the guest has to be throttled. Source: Clark
    et al., Live Migration of Virtual Machines, NSDI'05; the values are those of QEMU.
    """

    world: World
    guest: Guest
    may_throttle: bool
    left: int
    """Of the present round."""
    round_pages: int
    """In the present round in all."""
    rounds: int = 1
    round_s: float = 0.0
    """For how long the present round has been going on while the guest ran."""
    idle_rounds: int = 0
    """Rounds without headway, in a row."""
    throttle: float = 0.0

    def step(self, _share: int, /) -> int:
        """Send for one second; the storage pool has no part in it."""
        guest = self.guest
        rate = self.capped(BANDWIDTH)
        budget = rate
        while self.ending is None and budget > 0:
            sent = min(budget, self.left)
            budget -= sent
            self.left -= sent
            self.done += sent
            if not guest.is_frozen:
                self.round_s += sent / rate
            if self.left == 0:
                self._end_round(rate)
        if self.throttle:
            # A stall of s leaves 1 / (1 + s) of the guest's time.
            guest.job_stall_now = self.throttle / (1.0 - self.throttle)
        return 0

    def close(self) -> None:
        """When everything is there the guest is no longer here; otherwise it just goes on."""
        if self.ending == DONE:
            self.world.stop(self.guest)
            self.guest.has_left = True

    def _end_round(self, rate: int) -> None:
        """Stop and send the rest if that is little enough, otherwise begin another round."""
        dirty = self._dirtied()
        self.total = self.done + dirty
        if dirty <= DOWNTIME_S * rate:
            self.done = self.total
            self.ending = DONE
            return
        has_headway = dirty <= DIRTY_SHARE * self.round_pages
        self.idle_rounds = 0 if has_headway else self.idle_rounds + 1
        if self.idle_rounds >= PATIENCE_ROUNDS and self.may_throttle:
            more = MORE_THROTTLE if self.throttle else FIRST_THROTTLE
            self.throttle = min(MOST_THROTTLE, self.throttle + more)
            self.idle_rounds = 0
        elif self.idle_rounds >= MOST_ROUNDS:
            self.ending = NOT_CONVERGED
        self.left = self.round_pages = dirty
        self.rounds += 1
        self.round_s = 0.0

    def _dirtied(self) -> int:
        """Different pages that the guest wrote to in this round."""
        hot = int(self.guest.plan.hot_share * self.guest.anon)
        if not hot:
            return 0
        writes = rewritten_pages(self.guest) * (1.0 - self.throttle) * self.round_s
        return int(round(-hot * math.expm1(-writes / hot), 6))


def start_migration(world: World, guest: Guest, *, may_throttle: bool = True, bytes_per_s: int = 0) -> MigrationJob:
    """Begin to move a guest to another host; its disks are on shared storage.

    Args:
        world: Where it is.
        guest: Which; paused ones can be moved, too.
        may_throttle: Slow the guest down where it writes faster than can be copied (`virsh migrate --auto-converge`);
            otherwise such a migration is given up.
        bytes_per_s: Most that is sent in a second; 0 for no limit.

    Raises:
        ControlError: it is off, busy, or bound to this host.
    """
    if guest.plan.has_vfio:
        raise refusal(Code.OPERATION_INVALID, "cannot migrate a domain with <hostdev mode='subsystem' type='pci'>")
    rss = guest.plan.maximum if guest.plan.has_hugepages else guest.resident
    job = MigrationJob(
        kind=JobKind.MIGRATION_OUT,
        started_at=world.tick,
        total=rss,
        limit=bytes_per_s // PAGE_BYTES or None,
        world=world,
        guest=guest,
        may_throttle=may_throttle,
        left=rss,
        round_pages=rss,
    )
    world.begin_job(guest, job)
    return job
