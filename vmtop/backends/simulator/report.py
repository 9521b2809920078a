"""What a guest tells through its balloon driver: the figures of its own kernel, once in each statistics period."""

from vmtop.backends.simulator.guest import Guest
from vmtop.model.sample import GuestSample
from vmtop.units import PAGE_BYTES

MINOR_FAULTS_PER_VCPU_S = 220
"""Pages that programs touch for the first time or share; grows whether or not memory is short."""


def take_report(guest: Guest, tick: int, now_s: int) -> GuestSample:
    """The guest's figures of this moment; all are multiples of a page, so of a KiB as libvirt tells them.

    Source: `update_balloon_stats` in drivers/virtio/virtio_balloon.c; usable follows `si_mem_available` in
    mm/show_mem.c; of the kernel's own memory about half lies outside MemTotal.
    """
    sends_usable = guest.plan.family.sends_usable
    usable = max(0, guest.free - guest.low + guest.cache - min(guest.cache // 2, guest.low))
    uptime_s = tick - guest.booted_at
    return GuestSample(
        last_update_s=now_s,
        total_bytes=(guest.current - guest.kernel // 2) * PAGE_BYTES,
        usable_bytes=usable * PAGE_BYTES if sends_usable else None,
        free_bytes=guest.free * PAGE_BYTES,
        cache_bytes=guest.cache * PAGE_BYTES if sends_usable else None,
        swap_in_bytes=guest.swap_in * PAGE_BYTES,
        swap_out_bytes=guest.swap_out * PAGE_BYTES,
        major_faults=guest.major_faults,
        minor_faults=guest.major_faults + MINOR_FAULTS_PER_VCPU_S * guest.plan.vcpus * uptime_s,
    )
