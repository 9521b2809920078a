"""Somebody else who moves balloons: the balancer of Proxmox VE, as pvestatd runs it.

Source of the constants: pvestatd.pm and AutoBalloon.pm of pve-manager and pve-common. It aims at a share of used
memory, and shares out what is missing or left above the minima, in proportion to weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.plan import NEVER, PAGES_PER_MIB
from vmtop.backends.simulator.world import World
from vmtop.units import PAGE_BYTES

CYCLE_S = 10
USED_SHARE = 0.8
"""It aims at this share of the host's memory being used (ballooning-target)."""
MOST_CHANGE = 100 * PAGES_PER_MIB
"""Most that one balloon moves in a cycle."""
DEAD_ZONE = 10 * PAGES_PER_MIB
"""Closer to the aim than this nothing moves."""
RICH_SHARE = 0.25
"""A guest with more free memory than this share of its minimum has enough."""
SHARES = 1000
"""Weight of a VM, by default."""
LEAST_SHARE = 0.5
"""Minimum, as a share of its maximum, of a VM for which the operator gave none; our own choice."""


@dataclass(slots=True, kw_only=True)
class Holding:
    """One VM as the balancer sees it. Amounts are of any unit."""

    least: int
    most: int
    actual: int
    shares: int = SHARES
    free: int = 0
    assigned: int | None = None
    """What it is to have after this cycle. None for what it has."""

    @property
    def held(self) -> int:
        """What it has, or was assigned."""
        return self.actual if self.assigned is None else self.assigned

    @property
    def is_rich(self) -> bool:
        """It can give; the others may ask."""
        return self.free > RICH_SHARE * self.least and self.actual >= self.least


def balance(goal: int, holdings: Sequence[Holding], most_change: int, dead_zone: int) -> None:
    """One cycle: assign new sizes.

    Args:
        goal: Memory to give to VMs, or, below 0, to take from them.
        holdings: VMs in a fixed order.
        most_change: Most that each may change.
        dead_zone: A goal no farther from 0 than this is reached.
    """
    if abs(goal) <= dead_zone:
        return
    rest = distribute(goal, [holding for holding in holdings if holding.is_rich == (goal < 0)], most_change)
    # Nobody of the first choice could take or give anything.
    if abs(rest) >= abs(goal):
        distribute(rest, holdings, most_change)


def distribute(amount: int, holdings: Sequence[Holding], most_change: int) -> int:
    """Share out an amount above the minima in proportion to shares, in rounds; tells what is left of it."""
    rest = amount
    takers = list(holdings)
    is_open = is_moving = True
    while rest and is_open and is_moving and takers:
        is_open = is_moving = False
        pool = sum(holding.held - holding.least for holding in takers) + rest
        shares = sum(holding.shares for holding in takers)
        changes = 0
        done = []
        for holding in takers:
            wanted = holding.least + int(pool / shares * holding.shares)
            desired = min(holding.most, max(holding.least, wanted))
            is_open = is_open or desired != wanted
            if amount > 0 and desired > holding.actual:
                new = min(desired, holding.actual + most_change)
            elif desired < holding.actual:
                new = max(desired, holding.actual - most_change)
            else:
                done.append(id(holding))
                continue
            change = new - holding.held
            holding.assigned = new
            changes += change
            is_open = is_open or change != 0
            is_moving = is_moving or change != 0
        takers = [holding for holding in takers if id(holding) not in done]
        rest -= changes
    return rest


class ProxmoxBalancer:
    """Moves the balloons of all VMs that tell how they are."""

    __slots__ = ()

    def direct(self, world: World) -> None:
        """Act once in a cycle."""
        if world.tick % CYCLE_S:
            return
        host = world.host
        goal = int(USED_SHARE * host.total) - (host.total - host.available)
        managed = [(guest, _holding(guest)) for guest in world.active if is_managed(guest)]
        balance(goal, [holding for _, holding in managed], MOST_CHANGE, DEAD_ZONE)
        for guest, holding in managed:
            if holding.assigned is not None:
                guest.target = holding.assigned


def is_managed(guest: Guest) -> bool:
    """It answers and tells its figures, so the balancer dares to touch it."""
    return guest.report is not None and guest.hung_since == NEVER and guest.job is None


def _holding(guest: Guest) -> Holding:
    plan = guest.plan
    told = None if guest.report is None else guest.report.free_bytes
    return Holding(
        least=int(LEAST_SHARE * plan.maximum) if plan.min_guarantee is None else plan.min_guarantee,
        most=plan.maximum,
        actual=guest.current,
        free=0 if told is None else told // PAGE_BYTES,
    )
