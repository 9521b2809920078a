"""Memory that runs short: page cache, swap and the OOM killer, inside a guest and on the host."""

from collections.abc import Sequence

from vmtop.backends.simulator.guest import BOOT_S, Guest
from vmtop.backends.simulator.host import Host
from vmtop.backends.simulator.plan import PAGES_PER_MIB

GROWTH = 400 * PAGES_PER_MIB
"""Most memory that a guest's programs fill in a second."""
DIRECT_SWAP_OUT = 200 * PAGES_PER_MIB
KSWAPD_SWAP_OUT = 150 * PAGES_PER_MIB
SWAP_IN = 100 * PAGES_PER_MIB
"""Most that a guest moves to and from its own swap in a second; our own choice for a virtual disk on flash."""

PAGES_PER_FAULT = 8
"""Pages that one wait for a disk brings in. Source: vm.page-cluster 3, kernel Documentation sysctl/vm.rst."""

ANON_SHARE = 0.6
"""Share of programs' memory in what a kernel takes once cold cache is gone, at the default vm.swappiness of 60."""

HOT_RETURN = 1.0
COLD_RETURN = 0.0005
"""Shares of a guest's swapped hot and cold pages that are wanted back each second. measured: a hog that touched all of
its memory twice a second, and had 40 MiB too little, swapped in 22 to 43 MiB/s, and got all of it back within a second
when there was room again (tests/recordings). That of cold pages is our own choice."""

BOOT_READ = 15 * PAGES_PER_MIB
"""A boot reads about 600 MiB of files in its 40 s."""

KILLED_KEEPS = 0.25
"""Share of its programs' memory that a guest keeps when its OOM killer took the biggest one."""

HOST_COLD_WEIGHT = 0.95
"""How well the host tells cold pages of guests from hot ones: its list of them is a little wrong, since it does not
see what the guest's kernel knows (uncooperative swapping: Amit et al., VSwapper, ASPLOS'14)."""
HOST_HOT_RETURN = 0.3
HOST_COLD_RETURN = 0.001
"""Shares of a guest's hot and cold pages in the host's swap that are touched each second; our own choice."""

OOM_PATIENCE_S = 5
OOM_SERVED_SHARE = 0.05
"""The host's OOM killer acts when for this long next to nothing of what guests asked for could be given."""


def grow(guest: Guest, wanted: int) -> bool:
    """Give the guest's programs more memory: free, then cache, then by swapping. False is out of memory.

    With autodeflate the balloon gives way before anything is killed: VIRTIO_BALLOON_F_DEFLATE_ON_OOM in
    drivers/virtio/virtio_balloon.c.
    """
    wanted = min(wanted, int(GROWTH * guest.progress))
    room = guest.free - guest.least
    if wanted <= room:
        guest.anon += wanted
        guest.free -= wanted
        return True
    if room > 0:
        guest.anon += room
        guest.free -= room
        wanted -= room
    dropped = min(wanted, guest.cache - guest.cache_floor)
    if dropped > 0:
        guest.cache -= dropped
        guest.anon += dropped
        wanted -= dropped
    capacity_left = guest.plan.swap_capacity - guest.swapped
    # Old pages leave and new ones take their place at once, so `anon` stays what it is.
    swapped = min(wanted, DIRECT_SWAP_OUT, capacity_left, guest.anon)
    guest.swapped += swapped
    guest.swap_out += swapped
    guest.io_now += swapped
    wanted -= swapped
    if not wanted or swapped < capacity_left:
        return True
    if guest.plan.has_autodeflate:
        deflated = min(wanted, guest.plan.maximum - guest.current)
        guest.current += deflated
        guest.anon += deflated
        wanted -= deflated
    return not wanted


def shrink(guest: Guest, unwanted: int) -> None:
    """Free memory of the guest's programs, in memory and in swap alike; freeing swap is no swap-in."""
    from_swap = unwanted * guest.swapped // (guest.anon + guest.swapped)
    guest.swapped -= from_swap
    guest.swap_released += from_swap
    guest.anon -= unwanted - from_swap
    guest.free += unwanted - from_swap


def kill_biggest_program(guest: Guest) -> None:
    """What the guest's OOM killer does."""
    killed = guest.anon - int(KILLED_KEEPS * guest.anon)
    guest.anon -= killed
    guest.free += killed
    guest.swap_released += guest.swapped
    guest.swapped = 0
    guest.oom_kills += 1


def restore_watermark(guest: Guest) -> None:
    """The guest's kswapd: below the low mark it frees up to the high one, cold cache first, then by swappiness."""
    wanted = guest.high - guest.free
    cold = min(wanted, guest.cache - max(guest.plan.file_hot, guest.cache_floor))
    if cold > 0:
        guest.cache -= cold
        guest.free += cold
        wanted -= cold
    if not wanted:
        return
    swap_left = guest.plan.swap_capacity - guest.swapped
    swapped = min(int(wanted * ANON_SHARE), int(KSWAPD_SWAP_OUT * guest.progress), swap_left, guest.anon)
    swap_out(guest, swapped)
    guest.free += swapped
    hot = min(wanted - swapped, guest.cache - guest.cache_floor)
    if hot > 0:
        guest.cache -= hot
        guest.free += hot


def swap_out(guest: Guest, pages: int) -> None:
    """Move pages of programs to the guest's swap; what becomes of the memory is up to the caller."""
    guest.anon -= pages
    guest.swapped += pages
    guest.swap_out += pages
    guest.io_now += pages


def read_files(guest: Guest, tick: int) -> None:
    """Fill free memory with page cache, as Linux does: the reason why a healthy guest has hardly any free memory."""
    plan = guest.plan
    rate = plan.read_pages_per_s * guest.demand.read_factor
    if tick < guest.booted_at + BOOT_S:
        rate = max(rate, BOOT_READ)
    missing_hot = plan.file_hot - guest.cache
    if missing_hot > 0:
        faults = int(min(missing_hot, rate)) // PAGES_PER_FAULT
        guest.major_faults += faults
        guest.faults_now += faults
    grown = min(int(rate * guest.progress), guest.free - guest.high, plan.file_set - guest.cache)
    if grown > 0:
        guest.cache += grown
        guest.free -= grown
        guest.cache_grown_now = grown
        guest.io_now += grown


def swap_in(guest: Guest) -> None:
    """Read back what the guest's programs touch; what finds no room pushes out as much as it brings in.

    Such thrashing counts as swap-in and swap-out and changes nothing else.
    """
    held = guest.anon + guest.swapped
    hot_missing = min(guest.swapped, max(0, int(guest.plan.hot_share * held) - guest.anon))
    wanted = min(HOT_RETURN * hot_missing + COLD_RETURN * (guest.swapped - hot_missing), SWAP_IN)
    moved = int(wanted * guest.progress)
    served = max(0, min(moved, guest.free - guest.least))
    guest.anon += served
    guest.swapped -= served
    guest.free -= served
    guest.swapped_in_now = served
    guest.swap_in += moved
    guest.swap_out += moved - served
    guest.io_now += 2 * moved - served
    faults = moved // guest.plan.swap_readahead
    guest.major_faults += faults
    guest.faults_now += faults


def make_room(host: Host, guests: Sequence[Guest], pages: int) -> int:
    """Free memory of the host, page cache first, then by swapping guests out; tells how much came free."""
    cached = max(0, min(pages, host.cache - host.cache_floor))
    host.cache -= cached
    host.free += cached
    return cached + swap_out_guests(host, guests, pages - cached)


def swap_out_guests(host: Host, guests: Sequence[Guest], pages: int) -> int:
    """Swap out about so many pages of guests, mostly cold ones; tells how many.

    Pages that KSM merged stay: they have several users, one of which is always active.
    """
    pages = min(pages, host.plan.swap_capacity - host.swap_used, host.swap_out_left)
    if pages <= 0:
        return 0
    weights = []
    for guest in guests:
        evictable = 0 if guest.plan.is_pinned else guest.resident - guest.merged
        cold = max(0, min(evictable, guest.cold - guest.host_swapped))
        weights.append((guest, evictable, HOST_COLD_WEIGHT * cold + (1 - HOST_COLD_WEIGHT) * evictable))
    total = sum(weight for _, _, weight in weights)
    done = 0
    for guest, evictable, weight in weights:
        share = min(evictable, int(pages * weight / total)) if weight else 0
        guest.host_swapped += share
        done += share
    host.swap_used += done
    host.swap_out += done
    host.swap_out_left -= done
    host.free += done
    host.pool.busy_now += done
    return done


def restore_host_watermark(host: Host, guests: Sequence[Guest]) -> None:
    """The host's kswapd: below the low mark it frees up to the high one."""
    if host.free < host.low:
        make_room(host, guests, host.high - host.free)


def wanted_back(guest: Guest) -> int:
    """Pages of a guest in the host's swap that it touches in this tick."""
    hot = max(0, guest.host_swapped - guest.cold)
    return int(HOST_HOT_RETURN * hot + HOST_COLD_RETURN * guest.host_swapped) + 1


def swap_in_guests(host: Host, guests: Sequence[Guest], wants: Sequence[tuple[Guest, int]]) -> None:
    """Read back pages of guests that they touch; where memory is short, others have to leave for them."""
    if not wants:
        return
    wanted = sum(want for _, want in wants)
    pages = min(wanted, host.swap_bandwidth)
    room = host.free - host.least
    if pages > room:
        room += make_room(host, guests, pages - room)
    share = max(0.0, min(1.0, min(pages, room) / wanted))
    for guest, want in wants:
        served = min(int(want * share), guest.host_swapped)
        guest.host_swapped -= served
        host.swap_used -= served
        host.free -= served
        host.swap_in += served
        host.pool.busy_now += served
        guest.host_faults_now += -(-served // PAGES_PER_FAULT)
        guest.host_faults += -(-served // PAGES_PER_FAULT)


def is_out_of_memory(host: Host, served_share: float) -> bool:
    """The host has had nothing left to give for several seconds, so its OOM killer must act."""
    is_full = host.swap_used >= host.plan.swap_capacity and host.free < host.least // 2
    host.starving_s = host.starving_s + 1 if is_full or served_share < OOM_SERVED_SHARE else 0
    if host.starving_s < OOM_PATIENCE_S:
        return False
    host.starving_s = 0
    return True
