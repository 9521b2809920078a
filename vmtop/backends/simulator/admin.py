"""What the operator of the simulated host did before the first picture: balloons, set by hand.

Nobody balances the guests of a demo afterwards; without this a host that is overcommitted by half would swap.
"""

from collections.abc import Sequence

from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.host import Host
from vmtop.backends.simulator.ksm import COMMON_PARTING, PASSES, SELF_PARTING, SELF_SHARE, ZERO_PARTING, zero_share
from vmtop.backends.simulator.plan import PAGES_PER_MIB, WARM_UP_S
from vmtop.model.policy import min_free_bytes
from vmtop.units import PAGE_BYTES

STEP = 64 * PAGES_PER_MIB
"""Operators choose round numbers."""
LEAST_SHARE = 0.35
"""No balloon takes more than 65 % of a guest. Source: Mem.CtlMaxPercent, ESXi 4.0 resource management guide."""
RESERVES = (1.1, 0.85)
"""Programs are left a tenth more than they hold; where that gives too little, cold parts of them have to be swapped."""


def leave_available(times: float, host: Host, guests: Sequence[Guest]) -> None:
    """Balloon one guest after the other, the one with most to give first, until the host should keep enough available.

    Args:
        times: How much of `min_free_bytes(total)` is to stay available; the levels of the host are such multiples.
        host: The host, still without guests.
        guests: The guests, before they start.
    """
    running = [guest for guest in guests if guest.plan.starts_at is None]
    goal = int(times * min_free_bytes(host.total * PAGE_BYTES)) // PAGE_BYTES
    held = sum(_expected(guest) for guest in running)
    missing = held - _expected_saved(host, running, held) + sum(guest.overhead for guest in running)
    missing += goal + host.high + host.low - host.free - host.cache
    able = [guest for guest in running if _is_able(guest)]
    for reserve in RESERVES:
        able.sort(key=lambda guest: (_floor(guest, reserve) - _expected(guest), guest.plan.uid))
        for guest in able:
            before = _expected(guest)
            target = -(-max(_floor(guest, reserve), before - missing) // STEP) * STEP
            if missing > 0 and target < guest.target:
                guest.target = target
                missing -= before - _expected(guest)


def _is_able(guest: Guest) -> bool:
    """It has a balloon that works, and nobody set it before."""
    plan = guest.plan
    return plan.has_balloon and plan.has_driver and not plan.is_pinned and plan.target is None


def _wanted(guest: Guest) -> int:
    """Memory that the guest would fill by itself, unless its demand bursts."""
    return guest.kernel + guest.demand.pages_at(-WARM_UP_S) + guest.plan.file_set + guest.high


def _expected(guest: Guest) -> int:
    """Memory that the guest will hold on the host under its balloon."""
    plan = guest.plan
    if plan.is_pinned:
        return 0 if plan.has_hugepages else plan.maximum
    wanted = _wanted(guest)
    if not plan.has_free_page_reporting:
        wanted += int(plan.touched_share * max(0, guest.target - wanted))
    return min(guest.target, wanted)


def _expected_saved(host: Host, guests: Sequence[Guest], held: int) -> int:
    """About what KSM will save before anybody gives memory back."""
    rate = host.sharing.scan_rate / PASSES / max(1, held)
    own, common, zero = (rate / (rate + parting) for parting in (SELF_PARTING, COMMON_PARTING, ZERO_PARTING))
    saved = own * SELF_SHARE / 2 * held
    for guest in guests:
        saved += common * guest.plan.family.common_pages
        saved += zero * zero_share(guest.plan) * max(0, _expected(guest) - _wanted(guest))
    return int(saved)


def _floor(guest: Guest, reserve: float) -> int:
    """What the guest needs now, with the files that it reads all the time; its bursts will have to swap."""
    plan = guest.plan
    needed = guest.kernel + int(reserve * guest.demand.pages_at(-WARM_UP_S)) + plan.file_hot + 2 * guest.high
    return min(plan.maximum, max(needed, int(LEAST_SHARE * plan.maximum)))
