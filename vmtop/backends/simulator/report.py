"""What a guest tells through its balloon driver: the figures of its own kernel, once in each statistics period."""

from vmtop.backends.simulator.guest import SLAB_PAGES, Guest
from vmtop.model.sample import GuestSample
from vmtop.units import PAGE_BYTES

LOWMEM_RESERVE_RATIO = 256
"""Source: vm.lowmem_reserve_ratio, kernel Documentation sysctl/vm.rst."""

MINOR_FAULTS_PER_VCPU_S = 220
"""Pages that programs touch for the first time or share; grows whether or not memory is short."""


def take_report(guest: Guest, tick: int, now_s: int) -> GuestSample:
    """The guest's figures of this moment; all are multiples of a page, so of a KiB as libvirt tells them.

    Source: `update_balloon_stats` in drivers/virtio/virtio_balloon.c; usable follows `si_mem_available` in
    mm/show_mem.c: what is free above the high marks and the pages kept for the lowest zone (lowmem_reserve_ratio 256),
    and what page cache and slabs can give up.
    """
    plan, low = guest.plan, guest.low
    sends_usable = plan.family.sends_usable and not guest.flaws.hides_usable
    usable = guest.free - guest.high - plan.maximum // LOWMEM_RESERVE_RATIO
    usable += guest.cache - min(guest.cache // 2, low) + SLAB_PAGES - min(SLAB_PAGES // 2, low)
    uptime_s = tick - guest.booted_at
    return GuestSample(
        last_update_s=now_s,
        total_bytes=(guest.current - guest.reserved) * PAGE_BYTES,
        usable_bytes=max(0, usable) * PAGE_BYTES if sends_usable else None,
        free_bytes=guest.free * PAGE_BYTES,
        cache_bytes=guest.cache * PAGE_BYTES if sends_usable else None,
        swap_in_bytes=guest.swap_in * PAGE_BYTES,
        swap_out_bytes=guest.swap_out * PAGE_BYTES,
        major_faults=guest.major_faults,
        minor_faults=guest.major_faults + MINOR_FAULTS_PER_VCPU_S * plan.vcpus * uptime_s,
    )
