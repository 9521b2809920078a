"""What was before: guests as after weeks of running, squeezed until they fit on their host."""

from collections.abc import Callable, Sequence

from vmtop.backends.simulator.backing import give_back
from vmtop.backends.simulator.dice import Channel, Dice
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.host import Host
from vmtop.backends.simulator.reclaim import swap_out_guests
from vmtop.backends.simulator.store import CHECKPOINT_PREFIX, CHUNKS, RecoveryPoint, Store, expect_shares
from vmtop.backends.simulator.workload import DAY_S
from vmtop.model.kind import BackupKind

UPTIME_DAYS = 30
"""The longest that a guest has been running."""
BACKED_UP_SHARE = 0.6
"""Share of the guests that had a full backup within the last day."""

SWAPPED_GUESTS = 8
"""What lies in the host's swap from a shortage of the past belongs to this fraction of the guests, the coldest."""
ROUNDS = 4
"""Of the pages that a guest gives up some lie in swap or are shared, so one round may free less than it meant to."""


def settle(host: Host, guests: Sequence[Guest], dice: Dice, tick: int, swapped_before: int) -> None:
    """Start guests in the state that they reach after weeks, and make their memory fit.

    What does not fit went the way that memory goes on a real host: page cache of the host was dropped, cold pages were
    swapped out, guests found less room for their own cache, and last their programs wait for what they cannot have.

    Raises:
        ValueError: the host cannot even hold the guests' kernels.
    """
    for guest in guests:
        guest.settle(tick)
        host.admit(guest)
        uid = guest.plan.uid
        guest.started_at = guest.booted_at = -int(dice.between(1, UPTIME_DAYS, uid, Channel.HISTORY, 1) * DAY_S)
    host.tune_sharing(guests)
    host.free += host.sharing.start_merged(guests)
    for make_fit in (
        *ROUNDS * (_drop_host_cache, _swap_out, _forget_unused, _drop_guest_cache),
        *ROUNDS * (_refuse_programs,),
    ):
        missing = host.high - host.free
        if missing <= 0:
            break
        make_fit(host, guests, missing)
        host.free += host.sharing.settle()
    if swapped_before > host.swap_used:
        host.swap_out_left = swapped_before - host.swap_used
        coldest = sorted(guests, key=lambda guest: (-guest.cold, guest.plan.uid))
        swap_out_guests(host, coldest[: -(-len(guests) // SWAPPED_GUESTS)], host.swap_out_left)
    if host.free < 0:
        raise ValueError(f"{len(guests)} guests do not fit into {host.total} pages")


def fill_store(store: Store, guests: Sequence[Guest], dice: Dice, epoch_s: int) -> None:
    """Keep the full backups that guests had, each with the checkpoint from which the next one goes on."""
    for guest in guests:
        disk, plan = guest.disk, guest.plan
        if dice.uniform(plan.uid, 0, Channel.HISTORY) >= BACKED_UP_SHARE:
            continue
        tick = -int(dice.between(0.1, 1.0, plan.uid, Channel.BACKUP) * DAY_S)
        mark = disk.mark(tick, f"{CHECKPOINT_PREFIX}{epoch_s + tick}")
        disk.checkpoints[mark.name] = mark
        shares = expect_shares(store, plan, CHUNKS, kind=BackupKind.FULL, changed=1.0)
        point = RecoveryPoint(
            name=f"{plan.name}.{epoch_s + tick}",
            kind=BackupKind.FULL,
            mark=mark,
            read=disk.allocated,
            sent=int(shares.sent * disk.allocated),
            stored=int(shares.stored * disk.allocated),
            parent=None,
            is_deduplicated=CHUNKS.is_deduplicated,
        )
        store.used += point.stored
        store.add(plan, point)


def _drop_host_cache(host: Host, _: Sequence[Guest], missing: int) -> None:
    dropped = min(missing, host.cache - host.cache_floor)
    host.cache -= dropped
    host.free += dropped


def _swap_out(host: Host, guests: Sequence[Guest], missing: int) -> None:
    host.swap_out_left = missing
    swap_out_guests(host, guests, min(missing, host.plan.swap_capacity // 2))


def _forget_unused(host: Host, guests: Sequence[Guest], missing: int) -> None:
    for guest, pages in _portions(guests, missing, lambda guest: guest.backed - guest.used):
        give_back(guest, host, pages)


def _drop_guest_cache(host: Host, guests: Sequence[Guest], missing: int) -> None:
    for guest, pages in _portions(guests, missing, lambda guest: max(0, guest.cache - guest.cache_floor)):
        guest.cache -= pages
        guest.free += pages
        give_back(guest, host, pages)


def _refuse_programs(host: Host, guests: Sequence[Guest], missing: int) -> None:
    for guest, pages in _portions(guests, missing, lambda guest: guest.anon):
        guest.anon -= pages
        guest.free += pages
        give_back(guest, host, pages)


def _portions(guests: Sequence[Guest], missing: int, held: Callable[[Guest], int]) -> list[tuple[Guest, int]]:
    """Share out what is missing in proportion to what each guest holds, rounded up."""
    amounts = [(guest, 0 if guest.plan.is_pinned else held(guest)) for guest in guests]
    total = max(1, sum(amount for _, amount in amounts))
    return [(guest, min(amount, -(-missing * amount // total))) for guest, amount in amounts]
