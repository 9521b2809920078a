"""What guest memory costs the host: pages appear when first touched, and go when the guest gives them up."""

from collections.abc import Sequence

from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.host import Host
from vmtop.backends.simulator.plan import PAGES_PER_MIB
from vmtop.backends.simulator.reclaim import make_room

ZEROING = 500 * PAGES_PER_MIB
"""Windows writes zeros to all of its memory after a boot at about this speed."""

REPORTED_SHARE = 0.09 * 0.9
"""Share of its unused memory that free page reporting gives back in a second: in 2 s rounds, and nine tenths of it lies
in whole blocks. Source: mm/page_reporting.c (delay 2 s, pageblock_order)."""
BLOCK = 2 * PAGES_PER_MIB


def request(guest: Guest) -> int:
    """Pages that the guest touches for the first time in this tick and the host has to find."""
    pages = guest.current - guest.free - guest.backed
    if guest.to_zero:
        zeroed = min(guest.to_zero, int(ZEROING * guest.progress))
        guest.to_zero -= zeroed
        pages = max(pages, min(guest.current - guest.backed, zeroed))
    return pages


def give_back(guest: Guest, host: Host, pages: int) -> None:
    """The guest gives up backed pages; those in the host's swap go with the others.

    With VFIO QEMU ignores the balloon's pages, and huge pages cannot be given back in pieces.
    """
    pages = min(pages, guest.backed - guest.kernel)
    if pages <= 0 or guest.plan.is_pinned:
        return
    from_swap = pages * guest.host_swapped // guest.backed
    guest.backed -= pages
    guest.host_swapped -= from_swap
    host.swap_used -= from_swap
    host.free += pages - from_swap
    if guest.merged > guest.resident:
        host.sharing.trim(guest)


def report_free_pages(guest: Guest, host: Host) -> None:
    """Free page reporting: unused memory goes back to the host in whole blocks, about half of it within 8 s."""
    pages = int(REPORTED_SHARE * (guest.backed - guest.current + guest.free))
    if pages >= BLOCK:
        give_back(guest, host, pages)


def serve(host: Host, guests: Sequence[Guest], requests: Sequence[tuple[Guest, int]], rivals: int) -> float:
    """Back what guests touched, as far as the host has memory or can make some; tells the share that was served.

    What cannot be served is rolled back: the guest's programs wait for it and ask again.

    Args:
        host: The host.
        guests: Those with a process, of which some may be swapped out.
        requests: Guests with the pages that they touched.
        rivals: Pages that have to be swapped in at the same time; what there is is shared evenly with them.
    """
    if not requests:
        return 1.0
    wanted = sum(pages for _, pages in requests)
    room = host.free - host.least
    if wanted + rivals > room:
        room += make_room(host, guests, wanted + rivals - room)
    if wanted + rivals <= room:
        for guest, pages in requests:
            guest.backed += pages
        host.free -= wanted
        return 1.0
    share = max(0, room) / (wanted + rivals)
    for guest, pages in requests:
        served = int(pages * share)
        guest.backed += served
        host.free -= served
        guest.unserved_now = 1.0 - share
        _roll_back(guest, guest.used - guest.backed)
    return share


def _roll_back(guest: Guest, pages: int) -> None:
    """Undo growth of this tick that the host cannot back: file reads first, then swap-ins, then new memory."""
    if pages <= 0:
        return
    guest.free += pages
    unread = min(pages, guest.cache_grown_now, guest.cache)
    guest.cache -= unread
    pages -= unread
    stays_out = min(pages, guest.swapped_in_now, guest.anon, guest.plan.swap_capacity - guest.swapped)
    guest.anon -= stays_out
    guest.swapped += stays_out
    guest.swap_in -= stays_out
    pages -= stays_out
    refused = min(pages, guest.anon)
    guest.anon -= refused
    guest.cache -= pages - refused
