"""The memory of the host."""

from collections.abc import Sequence

from vmtop.backends.simulator.guest import Guest, watermarks
from vmtop.backends.simulator.ksm import Sharing
from vmtop.backends.simulator.plan import PAGES_PER_GIB, HostPlan
from vmtop.backends.simulator.pressure import PressureMeter
from vmtop.backends.simulator.storage import Pool

SYSTEM_PAGES = 2 * PAGES_PER_GIB
SYSTEM_MOST_SHARE = 0.1
SYSTEM_SHARE = 0.01
"""What the host's own system takes: 2 GiB (a tenth on small hosts), and 1 % of memory for page structs."""
SLAB_SHARE = 0.005
CACHE_SHARE = 0.02
CACHE_FLOOR_SHARE = 0.002
"""Kernel objects, page cache at the start, and the part of it that cannot be dropped, as shares of memory."""


class Host:
    """One KVM host. Amounts are pages of 4 KiB; what ends in `_now` belongs to the present tick only."""

    __slots__ = (
        "backup_buffers",
        "cache",
        "cache_floor",
        "free",
        "high",
        "hugepages_free",
        "least",
        "low",
        "oom_kills",
        "overheads",
        "plan",
        "pool",
        "pressure",
        "sharing",
        "slab",
        "starving_s",
        "swap_in",
        "swap_in_before",
        "swap_out",
        "swap_out_before",
        "swap_out_left",
        "swap_slowdown",
        "swap_used",
        "system",
        "total",
        "vcpus",
    )

    def __init__(self, plan: HostPlan) -> None:
        self.plan = plan
        self.total = total = plan.total
        self.least, self.low, self.high = watermarks(total)
        self.system = min(SYSTEM_PAGES, int(SYSTEM_MOST_SHARE * total)) + int(SYSTEM_SHARE * total)
        self.slab = int(SLAB_SHARE * total)
        self.cache = int(CACHE_SHARE * total)
        self.cache_floor = int(CACHE_FLOOR_SHARE * total)
        self.backup_buffers = 0
        self.overheads = 0
        """What all QEMU processes need besides their guests' memory."""
        self.vcpus = 0
        """Of all running guests."""
        self.hugepages_free = plan.hugepages
        self.free = total - self.system - self.slab - self.cache - plan.hugepages
        self.swap_used = 0
        self.swap_in = self.swap_out = 0
        self.swap_in_before = self.swap_out_before = 0
        """The counters as they were a tick ago."""
        self.swap_slowdown = 1
        """How many times slower than it should be the swap device is."""
        self.swap_out_left = 0
        """Pages that may still be swapped out in this tick."""
        self.starving_s = 0
        self.oom_kills = 0
        self.pressure = PressureMeter()
        self.pool = Pool(plan.pool_bandwidth, plan.latency_s)
        self.sharing = Sharing(total, is_running=plan.has_ksm)

    @property
    def swap_bandwidth(self) -> int:
        """Pages that the swap device moves in a second in one direction."""
        return self.plan.swap_bandwidth // self.swap_slowdown

    @property
    def available(self) -> int:
        """What programs can get without swapping. Source: `si_mem_available` in mm/show_mem.c."""
        return max(0, self.free - self.high + self.cache - min(self.cache // 2, self.low))

    def begin_tick(self) -> None:
        """Start the budgets of a new second."""
        self.swap_in_before, self.swap_out_before = self.swap_in, self.swap_out
        self.swap_out_left = self.swap_bandwidth

    def admit(self, guest: Guest) -> None:
        """Account for a QEMU process that started."""
        self.vcpus += guest.plan.vcpus
        self.overheads += guest.overhead
        self.free -= guest.overhead
        if guest.plan.has_hugepages:
            self.hugepages_free -= guest.plan.maximum
        else:
            self.free -= guest.resident
        self.sharing.join(guest)

    def tune_sharing(self, guests: Sequence[Guest]) -> None:
        """Let ksmtuned decide, if it is installed."""
        if self.plan.has_ksmtuned:
            committed = self.overheads + sum(guest.resident for guest in guests if not guest.plan.has_hugepages)
            self.sharing.tune(self.total, self.free + self.cache, committed)

    def dismiss(self, guest: Guest) -> None:
        """Take back all that a QEMU process held."""
        self.sharing.leave(guest)
        self.vcpus -= guest.plan.vcpus
        self.overheads -= guest.overhead
        self.free += guest.overhead
        self.swap_used -= guest.host_swapped
        if guest.plan.has_hugepages:
            self.hugepages_free += guest.plan.maximum
        else:
            self.free += guest.resident
        self.free += self.sharing.settle()
