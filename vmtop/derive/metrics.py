"""What is computed from samples: the figures that the screen, JSON and CSV show, under one set of names.

A figure that cannot be computed is None, and `unknown` maps its name to the reason in words. No figure is ever 0
because it is missing. A rate is None for one sample after its counter began anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from vmtop.model.sample import NOTHING_UNKNOWN, Answer, JobSample, Pressure


class Level(IntEnum):
    """The host's rung on the ladder, from good to bad. See `vmtop.derive.levels`."""

    CALM = 0
    WATCH = 1
    SOFT = 2
    HARD = 3
    CRITICAL = 4

    @property
    def word(self) -> str:
        """The name as people read it: calm, watch, soft, hard, critical."""
        return self.name.lower()


class UsedSource(StrEnum):
    """Where `used_bytes` of a VM comes from, best first."""

    USABLE = "usable"
    """balloon - usable: what the guest cannot give up without swapping."""
    CACHES = "caches"
    """balloon - unused - disk_caches: the guest sends no `usable`; tmpfs files count as cache here."""
    HOST = "host"
    """The smaller of host RSS and balloon (less what the guest calls free, if it does): the guest does not tell what it
    uses, so this is what the host sees."""


class Condition(StrEnum):
    """The memory state of a VM in a word; the first that fits, in this order."""

    OFF = "off"
    CRASHED = "crashed"
    HUNG = "hung"
    PAUSED = "paused"
    BUSY = "busy"
    NO_BALLOON = "no-balloon"
    NO_STATS = "no-stats"
    NO_DRIVER = "no-driver"
    STALE = "stale"
    THRASH = "thrash"
    SWAPPING = "swapping"
    STARVED = "starved"
    WAITING = "waiting"
    TIGHT = "tight"
    BALLOONED = "ballooned"
    IDLE = "idle"
    OK = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmMetrics:
    """The figures of one VM. Names are those of the JSON output; each docstring is the definition in the help."""

    uuid: str
    name: str
    state: str
    """What the VM does, in libvirt's words (`virsh domstate`)."""
    answer: Answer
    hung_s: float | None
    """For how long QEMU has not answered."""
    condition: Condition
    reason: str
    """Why the condition is what it is, in words; empty for ok."""

    maximum_bytes: int | None
    """Most memory the VM can have (`virsh dominfo`: Max memory)."""
    balloon_bytes: int | None
    """Memory that the balloon leaves to the VM now (`virsh dominfo`: Used memory)."""
    ballooned_bytes: int | None
    """Given back to the host by the balloon: maximum - balloon."""
    used_bytes: int | None
    """What the guest cannot give up without swapping: balloon - usable, never below 0, both of the moment when the
    guest sent its figures; `used_source` says when it had to be something else."""
    used_source: UsedSource | None
    used_ratio: float | None
    """How full the VM is: used / balloon."""
    cache_bytes: int | None
    """Page cache of the guest, buffers and files in tmpfs included (Cached + Buffers in the guest's /proc/meminfo)."""
    free_bytes: int | None
    """Memory that the guest uses for nothing (MemFree in the guest's /proc/meminfo)."""
    reclaimable_bytes: int | None
    """Cache that the guest can drop at once: usable - free, never below 0. Used, reclaimable and free make up the
    balloon's size when the guest sent them."""
    untouched_bytes: int | None
    """Memory of the VM that never cost the host anything: balloon less what of it the host holds in RAM and swap. An
    estimate, as QEMU's own need can only be guessed."""

    rss_bytes: int | None
    """Resident memory of the QEMU process, shared pages counted in full (VmRSS in /proc/<pid>/status)."""
    hugetlb_bytes: int | None
    """Huge pages of the QEMU process, which RSS leaves out (HugetlbPages in /proc/<pid>/status)."""
    resident_bytes: int | None
    """Host memory that the VM holds: RSS + huge pages."""
    host_swap_bytes: int | None
    """Memory of the QEMU process in the host's swap (VmSwap in /proc/<pid>/status)."""
    ksm_merged_bytes: int | None
    """Memory of the VM whose pages are shared (ksm_merging_pages in /proc/<pid>)."""
    ksm_saved_bytes: int | None
    """The VM's fair share of what sharing saves: merged x sharing / (shared + sharing), plus its zero pages, where the
    kernel counts them."""
    cgroup_bytes: int | None
    """Memory charged to the VM's cgroup (memory.current)."""

    guest_swap_in_bytes_per_s: float | None
    """The guest reads this from its own swap (pswpin in the guest's /proc/vmstat)."""
    guest_swap_out_bytes_per_s: float | None
    """The guest writes this to its own swap (pswpout in the guest's /proc/vmstat)."""
    guest_major_faults_per_s: float | None
    """Pages that guest programs waited for, from disk or swap (pgmajfault in the guest's /proc/vmstat)."""
    host_major_faults_per_s: float | None
    """Pages of the QEMU process that had to come from the host's disk or swap (field 12 of /proc/<pid>/stat)."""
    psi_some_avg10_ratio: float | None
    """Share of the last 10 s in which some task of the VM waited for host memory (memory.pressure of its cgroup)."""
    psi_full_avg10_ratio: float | None
    """Share of the last 10 s in which all tasks of the VM waited for host memory."""
    guest_age_s: float | None
    """How old the guest's own figures are: time since it last sent some (`virsh dommemstat`: last_update). None also
    when they did not advance yet and the host's clock is not ours."""
    is_stale: bool
    """The guest's figures stopped coming; the last ones are shown, marked, and count in no sum, and rates are None."""

    jobs: tuple[JobSample, ...]
    """Jobs that run on the VM: backup, snapshot, migration and the like (`virsh domjobinfo`)."""
    unknown: Mapping[str, str] = field(default_factory=lambda: NOTHING_UNKNOWN)
    """Name of each figure that is None -> the reason in words; `hung_s` of a VM that answers is no such figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMetrics:
    """The figures of the host. Names are those of the JSON output."""

    name: str
    level: Level | None
    """The host's rung: calm, watch, soft, hard or critical. None when no figure that would tell is known."""
    cause: str
    """What put the host on this rung, in words, with the figure; of a figure that is unknown it says so."""

    total_bytes: int | None
    """Memory of the host (MemTotal in /proc/meminfo)."""
    available_bytes: int | None
    """Memory that programs can get without swapping (MemAvailable in /proc/meminfo)."""
    free_bytes: int | None
    """Memory used for nothing (MemFree in /proc/meminfo)."""
    cache_bytes: int | None
    """Page cache, buffers and reclaimable slab (Cached + Buffers + SReclaimable in /proc/meminfo)."""
    droppable_bytes: int | None
    """Memory that the host can free at once, mostly cache: available - free, never below 0."""
    vms_bytes: int | None
    """Host memory that VMs hold: sum of RSS and huge pages of running VMs, less the shared pages that RSS counts more
    than once (pages_sharing; merged zero pages are in no RSS). None when RSS or huge pages of one VM are unknown; where
    KSM's figures are, nothing is subtracted."""
    other_bytes: int | None
    """Memory that neither VMs nor the droppable cache hold: total - available - VMs, never below 0."""
    min_free_bytes: int | None
    """What a host of this size should keep free: 6 % of the first 4 GiB, 4 % up to 12, 2 % up to 28, 1 % of the rest.
    The levels are multiples of it."""

    swap_total_bytes: int | None
    """Size of the host's swap (SwapTotal in /proc/meminfo)."""
    swap_used_bytes: int | None
    """Swap in use; history, not a sign of trouble by itself (SwapTotal - SwapFree)."""
    swap_in_bytes_per_s: float | None
    """The host reads this from swap: what guests wait for (pswpin in /proc/vmstat)."""
    swap_out_bytes_per_s: float | None
    """The host writes this to swap (pswpout in /proc/vmstat)."""
    pressure: Pressure | None
    psi_some_avg10_ratio: float | None
    """Share of the last 10 s in which some task waited for memory (/proc/pressure/memory)."""
    psi_full_avg10_ratio: float | None
    """Share of the last 10 s in which all tasks waited for memory (/proc/pressure/memory)."""

    ksm_is_running: bool | None
    """ksmd merges pages now (/sys/kernel/mm/ksm/run is 1)."""
    ksm_saved_bytes: int | None
    """Memory that sharing saves: pages_sharing (and ksm_zero_pages) x page size (/sys/kernel/mm/ksm)."""
    ksm_profit_bytes: int | None
    """Saved less bookkeeping of 64 B for each scanned page; below 0 KSM costs more than it gives (general_profit)."""
    ksm_cpu_ratio: float | None
    """Share of one CPU that ksmd takes (/proc/<pid of ksmd>/stat)."""
    hugepages_total_bytes: int | None
    hugepages_free_bytes: int | None

    overcommit_configured_ratio: float | None
    """If every running VM took its maximum: sum of maxima / total. Above 1 the host relies on VMs not doing so. None
    when the maximum of one of them is unknown."""
    overcommit_current_ratio: float | None
    """If every running VM filled its balloon: sum of balloon sizes / total. None when one of them is unknown."""
    overcommit_resident_ratio: float | None
    """What VMs hold now: VMs / total."""

    vms_running: int
    """VMs that are not off: they run, or are paused and hold their memory."""
    vms_total: int
    """All VMs that the source knows, shut-off ones included."""
    unknown: Mapping[str, str] = field(default_factory=lambda: NOTHING_UNKNOWN)
    """Name of each figure that is None -> the reason in words."""
