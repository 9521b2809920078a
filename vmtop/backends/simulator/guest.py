"""The memory of one guest, as its own kernel and the host see it."""

import math
from dataclasses import dataclass, field

from vmtop.backends.simulator.plan import NEVER, PAGES_PER_MIB, GuestPlan
from vmtop.backends.simulator.pressure import PressureMeter
from vmtop.backends.simulator.workload import Demand
from vmtop.model.sample import GuestSample, JobKind

CACHE_FLOOR_SHARE = 0.01
"""A kernel keeps at least this much page cache: the code it runs."""

OVERHEAD_PAGES = 120 * PAGES_PER_MIB
OVERHEAD_SHARE = 0.005
"""What QEMU needs besides the guest's memory; the same estimate as in vmtop.model.policy."""

BOOT_S = 40
"""A boot reads files for this long."""
LINUX_DRIVER_AFTER_S = 20
WINDOWS_DRIVER_AFTER_S = 60
"""When after a boot the balloon driver is loaded."""

_MOST_RESERVED = 256 * PAGES_PER_MIB


def watermarks(pages: int) -> tuple[int, int, int]:
    """The kernel's marks min, low and high for so much memory, in pages.

    Source: min_free_kbytes = 4 sqrt(kB), at most 256 MiB, comment in mm/page_alloc.c; low and high lie a quarter and a
    half above it, plus 0.1 % and 0.2 % of memory (watermark_scale_factor 10), kernel Documentation sysctl/vm.rst.
    """
    least = min(math.isqrt(pages * 4), _MOST_RESERVED)
    return least, least * 5 // 4 + pages // 1000, least * 3 // 2 + pages // 500


@dataclass(slots=True, kw_only=True)
class Job:
    """A backup or snapshot that runs on a guest. Amounts are pages."""

    kind: JobKind
    started_at: int
    total: int
    done: int = 0
    fails_after: int | None = None
    """Pages after which the target is full. None for a job that will succeed."""


@dataclass(slots=True, eq=False)
class Guest:
    """One guest. Amounts are pages; what ends in `_now` belongs to the present tick only."""

    plan: GuestPlan
    demand: Demand

    kernel: int = field(init=False)
    """The guest's kernel and its page structs, which nothing can take away: 64 MiB and 2 %."""
    cache_floor: int = field(init=False)
    least: int = field(init=False)
    low: int = field(init=False)
    high: int = field(init=False)
    overhead: int = field(init=False)
    """What QEMU needs besides the guest's memory."""

    current: int = field(init=False)
    """What the balloon leaves: kernel + anon + cache + free."""
    target: int = field(init=False)
    reported_current: int = field(init=False)
    """`current` as libvirt knows it: QEMU announces changes at most once a second."""
    anon: int = 0
    cache: int = 0
    free: int = field(init=False)
    swapped: int = 0
    """In the guest's own swap."""

    backed: int = 0
    """Guest memory that exists on the host, resident or swapped; the rest was never touched or was given back."""
    host_swapped: int = 0
    """Part of `backed` in the host's swap."""
    ksm_self: int = 0
    """Resident pages that KSM merged with others of this guest ..."""
    ksm_zero: int = 0
    """... with other empty pages ..."""
    ksm_common: int = 0
    """... and with guests of the same family."""
    patch_level: int = 0
    is_patching: bool = False
    """Its copy of the family's pages is being replaced."""

    is_defined: bool = True
    """libvirt knows it."""
    is_running: bool = False
    """A QEMU process exists."""
    is_crashed: bool = False
    """It is off because its process was killed."""
    is_frozen: bool = False
    """No vCPU runs: paused or hung."""
    is_touching: bool = False
    """It is writing zeros to all of its memory, as Windows does after a boot."""
    pause_reason: str | None = None
    hung_since: int = NEVER
    """Tick from which QEMU has not answered."""
    domain_id: int | None = None
    booted_at: int = 0
    starts_at: int = field(init=False)
    """Tick of the next boot while it is off."""
    driver_from: int = NEVER
    """Tick from which the balloon driver works."""
    next_report: int = NEVER
    report: GuestSample | None = None
    """What the guest told last."""
    job: Job | None = None
    bitmap_from: int | None = None
    """Tick of the last good backup; writes since then are marked in its dirty bitmap. None before the first."""

    swap_in: int = 0
    swap_out: int = 0
    swap_released: int = 0
    """Swapped pages that were freed without being read."""
    major_faults: int = 0
    oom_kills: int = 0
    host_faults: int = 0
    """Major faults of the QEMU process."""
    host_faults_before: int = 0
    """The same a tick ago."""

    progress: float = 1.0
    """Share of its time that the guest really runs; the rest it waits for disks and for the host."""
    pressure: PressureMeter = field(default_factory=PressureMeter)
    cache_grown_now: int = 0
    swapped_in_now: int = 0
    io_now: int = 0
    faults_now: int = 0
    host_faults_now: int = 0
    unserved_now: float = 0.0
    """Share of the memory it asked the host for that it did not get."""

    def __post_init__(self) -> None:
        maximum = self.plan.maximum
        self.kernel = 64 * PAGES_PER_MIB + maximum // 50
        self.cache_floor = int(CACHE_FLOOR_SHARE * maximum)
        self.least, self.low, self.high = watermarks(maximum)
        self.overhead = OVERHEAD_PAGES + int(OVERHEAD_SHARE * maximum)
        self.current = self.reported_current = maximum
        self.target = maximum if self.plan.target is None else self.plan.target
        self.free = maximum - self.kernel
        self.starts_at = NEVER if self.plan.starts_at is None else self.plan.starts_at

    @property
    def used(self) -> int:
        """Guest memory that holds something."""
        return self.current - self.free

    @property
    def resident(self) -> int:
        """Guest memory in the RAM of the host; merged pages count in full."""
        return self.backed - self.host_swapped

    @property
    def merged(self) -> int:
        """Pages that KSM merged."""
        return self.ksm_self + self.ksm_zero + self.ksm_common

    @property
    def cold(self) -> int:
        """Backed pages that the guest does not touch: unused memory, idle programs, files read once."""
        hot_files = min(self.cache, self.plan.file_hot)
        return max(0, self.backed - self.kernel - int(self.plan.hot_share * self.anon) - hot_files)

    def boot(self, tick: int) -> None:
        """Begin a new run with empty memory and an empty balloon; the driver comes later."""
        plan = self.plan
        self.current = self.reported_current = plan.maximum
        self.anon = self.cache = self.swapped = self.host_swapped = 0
        self.ksm_self = self.ksm_zero = self.ksm_common = 0
        self.free = plan.maximum - self.kernel
        self.backed = plan.maximum if plan.is_pinned else self.kernel
        self.is_touching = plan.family.is_windows and not plan.is_pinned
        self.is_running, self.is_crashed, self.starts_at = True, False, NEVER
        self.hung_since = NEVER
        self.resume()
        self.booted_at = tick
        self.demand.restart(tick, 0.0)
        self.swap_in = self.swap_out = self.swap_released = 0
        self.major_faults = self.host_faults = self.host_faults_before = 0
        self.pressure = PressureMeter()
        self.report = None
        self.load_driver(tick + (WINDOWS_DRIVER_AFTER_S if plan.family.is_windows else LINUX_DRIVER_AFTER_S))

    def power_off(self) -> None:
        """The process is gone, and all memory with it."""
        self.is_running = self.is_touching = False
        self.anon = self.cache = self.swapped = self.backed = self.host_swapped = 0
        self.free = self.current - self.kernel
        self.driver_from = self.next_report = NEVER
        self.domain_id = self.report = None
        self.progress = 1.0
        self.cache_grown_now = self.swapped_in_now = self.io_now = self.faults_now = self.host_faults_now = 0
        self.unserved_now = 0.0
        self.recover()
        self.resume()

    def pause(self, reason: str) -> None:
        """Stop the vCPUs; `reason` in the words of `virsh domstate --reason`."""
        self.pause_reason = reason
        self.is_frozen = True

    def resume(self) -> None:
        """Let the vCPUs run again, unless QEMU hangs."""
        self.pause_reason = None
        self.is_frozen = self.hung_since != NEVER

    def hang(self, tick: int) -> None:
        """QEMU stops answering, and its vCPUs stop, too."""
        self.hung_since = tick
        self.is_frozen = True

    def recover(self) -> None:
        """QEMU answers again."""
        self.hung_since = NEVER
        self.is_frozen = self.pause_reason is not None

    def load_driver(self, tick: int) -> None:
        """The balloon driver comes up at `tick`, if the guest has one, and sends its first figures."""
        has_driver = self.plan.has_balloon and self.plan.has_driver
        self.driver_from = self.next_report = tick if has_driver else NEVER

    def settle(self, tick: int) -> None:
        """Be as after weeks of running: programs at their demand, page cache full, past peaks still on the host."""
        plan = self.plan
        self.is_running = True
        self.current = self.reported_current = max(self.target, self.kernel + self.cache_floor + 2 * self.high)
        room = self.current - self.kernel - self.high
        wanted = self.demand.pages_at(tick)
        self.anon = min(wanted, room - self.cache_floor)
        self.swapped = min(wanted - self.anon, plan.swap_capacity)
        self.swap_out = self.swapped
        self.cache = min(plan.file_set, room - self.anon)
        self.free = self.current - self.kernel - self.anon - self.cache
        self.backed = self.used
        if plan.is_pinned:
            self.backed = plan.maximum
        elif not plan.has_free_page_reporting:
            self.backed += int(plan.touched_share * self.free)
        self.load_driver(tick)
        if self.next_report != NEVER:
            # Guests do not report in step.
            self.next_report += 1 + plan.uid % max(1, plan.stats_period_s)
        if plan.is_paused:
            self.pause("user")
