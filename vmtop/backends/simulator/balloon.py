"""The balloon moves towards its target."""

from vmtop.backends.simulator.backing import give_back
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.host import Host
from vmtop.backends.simulator.plan import PAGES_PER_MIB
from vmtop.backends.simulator.reclaim import swap_out

INFLATION = 600 * PAGES_PER_MIB
CACHE_INFLATION = 128 * PAGES_PER_MIB
SWAP_INFLATION = 40 * PAGES_PER_MIB
DEFLATION = 1024 * PAGES_PER_MIB
"""Most that the balloon moves in a second: into free memory, into cold cache, into what must be swapped, and back.
measured: 570 to 650 MiB/s into free memory and 820 to 1480 back (down to 280 and 600 beside busy neighbours), with
software emulation (tests/recordings). That into cache is our own choice; to swap on zram it was 36 to 90 MiB/s. All in
the order that EuroSys'25 HyperAlloc gives (virtio-balloon is slow: 4 KiB pages in batches of 256)."""


def move_balloon(guest: Guest, host: Host) -> None:
    """Take memory from the guest or give it back, one second's worth.

    Inflating takes free memory, then wakes the guest's reclaim. When that finds nothing the driver waits and tries
    again ("Out of puff" in drivers/virtio/virtio_balloon.c); it never kills. Only the guest's next allocation may.
    """
    if guest.target >= guest.current:
        step = min(guest.target - guest.current, DEFLATION)
        guest.current += step
        guest.free += step
        return
    wanted = guest.current - guest.target
    from_free = min(wanted, INFLATION, guest.free - guest.least)
    if from_free > 0:
        _give_up_free(guest, host, from_free)
        wanted -= from_free
    if not wanted or from_free == INFLATION:
        return
    from_cache = min(wanted, CACHE_INFLATION, guest.cache - max(guest.plan.file_hot, guest.cache_floor))
    if from_cache > 0:
        guest.cache -= from_cache
        guest.current -= from_cache
        give_back(guest, host, from_cache)
        wanted -= from_cache
    if not wanted or from_cache == CACHE_INFLATION:
        return
    from_swap = min(wanted, SWAP_INFLATION, guest.plan.swap_capacity - guest.swapped, guest.anon)
    swap_out(guest, from_swap)
    guest.current -= from_swap
    give_back(guest, host, from_swap)


def _give_up_free(guest: Guest, host: Host, pages: int) -> None:
    """Put free pages into the balloon; the host wins only those that it had backed, about their share of all free."""
    unused_but_backed = max(0, guest.backed - guest.used)
    backed = pages * unused_but_backed // guest.free
    guest.current -= pages
    guest.free -= pages
    give_back(guest, host, backed)
