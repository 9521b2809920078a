"""The memory of one guest, as its own kernel and the host see it."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vmtop.backends.simulator.disk import Disk
from vmtop.backends.simulator.flaw import Flaws
from vmtop.backends.simulator.job import Job
from vmtop.backends.simulator.plan import ACTIVITY, NEVER, PAGES_PER_MIB, GuestPlan
from vmtop.backends.simulator.pressure import PressureMeter
from vmtop.backends.simulator.workload import Demand
from vmtop.model.sample import GuestSample

if TYPE_CHECKING:  # the first picture does not wait for snapshots
    from vmtop.backends.simulator.snapshot_tree import SnapshotTree

CACHE_FLOOR_SHARE = 0.01
"""A kernel keeps at least this much page cache: the code it runs."""

KERNEL_PAGES = 25 * PAGES_PER_MIB
"""What a guest's kernel allocates for itself: code, slabs, page tables, processes of its own."""
RESERVED_PAGES = 34 * PAGES_PER_MIB
RESERVED_SHARE = 0.0172
"""What lies outside MemTotal: firmware, the kernel's image, and page structs (1.56 %).
measured: 37.6 and 60.2 MiB outside, 24.6 and 26.1 MiB inside, in guests of 200 and 1536 MiB with Debian's kernel 6.1
(tests/recordings)."""
SLAB_PAGES = 9 * PAGES_PER_MIB
"""Part of the kernel's own memory that it could give up, which counts as usable. measured: SReclaimable of the same."""

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

    Source: min_free_kbytes = 4 sqrt(kB), at most 256 MiB, comment in mm/page_alloc.c; low and high lie one
    and two steps above it, a step being a quarter of it or 0.1 % of memory (watermark_scale_factor 10), whichever is
    more: __setup_per_zone_wmarks, kernel Documentation sysctl/vm.rst. measured: 356, 445, 534 pages in 147 MiB. Not
    here: where huge pages are on, kernels keep 22 MiB more for each zone (measured: 66 MiB on a host of 24 GiB).
    """
    least = min(math.isqrt(pages * 4), _MOST_RESERVED)
    step = max(least // 4, pages // 1000)
    return least, least + step, least + 2 * step


@dataclass(slots=True, eq=False)
class Guest:
    """One guest. Amounts are pages; what ends in `_now` belongs to the present tick only."""

    plan: GuestPlan
    demand: Demand

    kernel: int = field(init=False)
    """The guest's kernel and its page structs, which nothing can take away."""
    reserved: int = field(init=False)
    """Part of it that the kernel does not count as its memory."""
    cache_floor: int = field(init=False)
    least: int = field(init=False)
    low: int = field(init=False)
    high: int = field(init=False)
    overhead: int = field(init=False)
    """What QEMU needs besides the guest's memory."""
    activity: float = field(init=False)
    """How much faster than a usual guest it writes to its memory."""
    is_mergeable: bool = field(init=False)
    """KSM may merge its memory."""

    current: int = field(init=False)
    """What the balloon leaves: kernel + anon + cache + free."""
    target: int = field(init=False)
    boot_target: int | None = None
    """Target of each boot. None when nobody ever changed the present one only."""
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
    has_left: bool = False
    """It is off because it was migrated to another host."""
    is_frozen: bool = False
    """No vCPU does anything: paused or hung."""
    flaws: Flaws = field(default_factory=Flaws)
    to_zero: int = 0
    """Memory that it still has to write zeros to, as Windows does once after a boot."""
    paused_for: str | None = None
    """Who or what stopped its vCPUs, in the words of `virsh domstate --reason` ..."""
    held_for: str | None = None
    """... and which job stopped them, for as long as it needs."""
    hung_since: int = NEVER
    """Tick from which QEMU has not answered."""
    domain_id: int | None = None
    started_at: int = 0
    """Tick at which its process started."""
    booted_at: int = 0
    """Tick at which its system started last."""
    starts_at: int = field(init=False)
    """Tick of the next boot while it is off."""
    driver_from: int = NEVER
    """Tick from which the balloon driver works."""
    next_report: int = NEVER
    stats_period_s: int = field(init=False)
    """How often it sends its figures, 0 for never."""
    report: GuestSample | None = None
    """What the guest told last."""
    disk: Disk = field(init=False)
    job: Job | None = None
    snapshots: "SnapshotTree | None" = None
    """None until the first one is asked for."""

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
    job_stall_now: float = 0.0
    """Seconds that a job makes it wait for each second that it runs."""

    def __post_init__(self) -> None:
        maximum = self.plan.maximum
        self.disk = Disk(self.plan)
        self.reserved = RESERVED_PAGES + int(RESERVED_SHARE * maximum)
        self.kernel = self.reserved + KERNEL_PAGES
        self.cache_floor = int(CACHE_FLOOR_SHARE * maximum)
        self.least, self.low, self.high = watermarks(maximum)
        usual = OVERHEAD_PAGES + int(OVERHEAD_SHARE * maximum)
        self.overhead = usual if self.plan.overhead is None else self.plan.overhead
        self.activity = ACTIVITY.get(self.plan.kind, 1.0)
        self.is_mergeable = not self.plan.has_hugepages and not self.plan.has_nosharepages
        self.current = self.reported_current = maximum
        self.target = maximum if self.plan.target is None else self.plan.target
        self.free = maximum - self.kernel
        self.stats_period_s = self.plan.stats_period_s
        self.starts_at = NEVER if self.plan.starts_at is None else self.plan.starts_at

    @property
    def pause_reason(self) -> str | None:
        """Why it is paused, as libvirt tells it. None when it is not."""
        return self.held_for or self.paused_for

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
        """Begin a new run: a process whose memory is empty."""
        self.begin_process(tick)
        self.reboot(tick)

    def begin_process(self, tick: int) -> None:
        """Be a new process, as the VM is defined; what its memory holds is up to the caller."""
        self.host_swapped = self.ksm_self = self.ksm_zero = self.ksm_common = 0
        self.backed = self.plan.maximum if self.plan.is_pinned else self.kernel
        self.is_running, self.starts_at = True, NEVER
        self.is_crashed = self.has_left = False
        self.hung_since, self.paused_for, self.held_for = NEVER, None, None
        self.started_at = tick
        self.host_faults = self.host_faults_before = 0
        self.pressure = PressureMeter()
        self.report = None

    def reboot(self, tick: int) -> None:
        """Start the system anew in the same process, as `virsh reboot` does; the driver comes later.

        The guest's counters begin at 0 and its balloon is empty; until its driver is loaded QEMU goes on to tell the
        figures that came last. What the host backs stays backed.
        """
        plan = self.plan
        self.current = self.reported_current = plan.maximum
        self.anon = self.cache = self.swapped = 0
        self.free = plan.maximum - self.kernel
        self.to_zero = plan.maximum if plan.family.is_windows and not plan.is_pinned else 0
        self.flaws = Flaws()
        self._thaw()
        self.booted_at = tick
        self.demand.restart(tick, 0.0)
        self.swap_in = self.swap_out = self.swap_released = self.major_faults = 0
        self.load_driver(tick + (WINDOWS_DRIVER_AFTER_S if plan.family.is_windows else LINUX_DRIVER_AFTER_S))

    def power_off(self) -> None:
        """The process is gone, and all memory with it."""
        self.is_running, self.to_zero = False, 0
        self.anon = self.cache = self.swapped = self.backed = self.host_swapped = 0
        self.free = self.current - self.kernel
        self.driver_from = self.next_report = NEVER
        self.domain_id = self.report = None
        self.progress = 1.0
        self.cache_grown_now = self.swapped_in_now = self.io_now = self.faults_now = self.host_faults_now = 0
        self.unserved_now = self.job_stall_now = 0.0
        self.flaws = Flaws()
        # What was changed only live ends with the process.
        self.stats_period_s = self.plan.stats_period_s
        self.target = self.target if self.boot_target is None else self.boot_target
        self.recover()
        self.release()
        self.resume()

    def pause(self, reason: str) -> None:
        """Stop the vCPUs; `reason` in the words of `virsh domstate --reason`."""
        self.paused_for = reason
        self.is_frozen = True

    def resume(self) -> None:
        """Let the vCPUs run again, unless something else holds them."""
        self.paused_for = None
        self._thaw()

    def hold(self, reason: str) -> None:
        """Stop the vCPUs for a job; a pause that was there before, or comes meanwhile, outlasts it."""
        self.held_for = reason
        self.is_frozen = True

    def release(self) -> None:
        """The job needs them to stand still no longer."""
        self.held_for = None
        self._thaw()

    def hang(self, tick: int) -> None:
        """QEMU stops answering, and its vCPUs stop, too."""
        self.hung_since = tick
        self.is_frozen = True

    def recover(self) -> None:
        """QEMU answers again."""
        self.hung_since = NEVER
        self._thaw()

    def hang_kernel(self) -> None:
        """The guest's kernel stops doing anything; QEMU does not notice."""
        self.flaws.has_hung_kernel = self.is_frozen = True

    def recover_kernel(self) -> None:
        """The guest's kernel goes on."""
        self.flaws.has_hung_kernel = False
        self._thaw()

    def _thaw(self) -> None:
        is_held = self.pause_reason is not None or self.hung_since != NEVER
        self.is_frozen = is_held or self.flaws.has_hung_kernel

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
