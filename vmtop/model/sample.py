"""What a backend read at one instant.

A field that could not be read is None, and `unknown` of the same value maps the field's name to the reason in words.
Counters grow for ever and start anew when their owner restarts; gauges are values of now. Nothing here is computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

NOTHING_UNKNOWN: Mapping[str, str] = MappingProxyType({})
NOTHING_MORE: Mapping[str, str] = MappingProxyType({})


class VmState(StrEnum):
    """The state of a VM, in libvirt's words. Source: `state.state` of the bulk statistics (`virsh domstate`)."""

    RUNNING = "running"
    BLOCKED = "blocked"
    PAUSED = "paused"
    SHUTDOWN = "in shutdown"
    SHUTOFF = "shut off"
    CRASHED = "crashed"
    SUSPENDED = "pmsuspended"
    NO_STATE = "no state"


class Answer(StrEnum):
    """How the hypervisor answered for one VM in this sample."""

    FULL = "full"
    """Everything that was asked."""

    BUSY = "busy"
    """Another job holds the VM, so libvirt told only its sizes; older figures are kept with their age."""

    NOT_ASKED = "not asked"
    """libvirt was not asked for its figures this time; older ones are kept with their age."""

    HUNG = "hung"
    """QEMU does not answer; `hung_s` tells for how long."""


class JobKind(StrEnum):
    """What a running job does. Source: `operation` of virDomainGetJobStats (`virsh domjobinfo`)."""

    BACKUP = "backup"
    SNAPSHOT = "snapshot"
    REVERT = "revert"
    SNAPSHOT_DELETE = "snapshot delete"
    SAVE = "save"
    RESTORE = "restore"
    DUMP = "dump"
    MIGRATION_IN = "migration in"
    MIGRATION_OUT = "migration out"
    START = "start"
    BLOCK_COMMIT = "block commit"
    BLOCK_COPY = "block copy"
    BLOCK_PULL = "block pull"
    """Jobs of single disks, which libvirt does not count among the jobs of a VM. Source: virDomainGetBlockJobInfo
    (`virsh blockjob VM vda`)."""
    OTHER = "job"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSample:
    """A job that runs on a VM."""

    kind: JobKind
    elapsed_s: float | None
    """Since the job began. None where libvirt does not say."""
    processed_bytes: int | None
    """Done so far. None for jobs without progress (pull backup, internal snapshot)."""
    total_bytes: int | None
    """To do in all; may grow while the guest writes. None for jobs without progress."""
    scratch_used_bytes: int | None = None
    """Old data that a pull backup holds for its reader; grows as the guest writes. Source: disk_temp_used."""
    scratch_total_bytes: int | None = None
    """Most that there is room for. Source: disk_temp_total. None unless it is a pull backup."""
    disk: str | None = None
    """The disk of a block job. None for jobs of the whole VM."""
    limit_bytes_per_s: int | None = None
    """Most that it may move, a backup on each of its disks; 0 for no limit. None where that is not told, and where the
    disks of a backup have different limits. Source: `bandwidth` of virDomainGetBlockJobInfo."""
    disks: int | None = None
    """How many disks a backup still copies. None where that is not told, and for other jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedJob:
    """A job that ended since the sample before."""

    uuid: str
    name: str
    """Of the VM, which may be gone by now."""
    kind: JobKind
    is_good: bool | None
    """It succeeded. None where it is gone and nobody told how it ended."""
    error: str | None
    """Why it failed, in the words of libvirt; foreign text. None when it was good, or nobody said."""
    ended_s: float
    """Wall clock, seconds since 1970."""
    elapsed_s: float | None
    processed_bytes: int | None
    disk: str | None = None
    """The disk of a block job. None for jobs of the whole VM."""
    is_cancelled: bool = False
    """It did not succeed because somebody cancelled it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """Pressure stall figures of one host or cgroup: the share of time in which tasks waited for memory, 0 to 1.

    Source: /proc/pressure/memory or memory.pressure of the cgroup (which print percent), kernel
    Documentation/accounting/psi.rst.
    """

    some_avg10_ratio: float
    """At least one task waited; mean over the last 10 s."""
    some_avg60_ratio: float
    some_avg300_ratio: float
    full_avg10_ratio: float
    """All tasks waited at once; mean over the last 10 s."""
    full_avg60_ratio: float
    full_avg300_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KsmSample:
    """Page sharing of the host; what its kernel lacks is None.

    Source: /sys/kernel/mm/ksm (`grep . /sys/kernel/mm/ksm/*`), for a remote host libvirt's virNodeGetMemoryParameters
    (`virsh node-memory-tune`).
    """

    is_running: bool | None
    """ksmd merges pages now. Source: `run` is 1."""
    page_bytes: int
    """Size of the pages below (`getconf PAGESIZE`); a remote host does not tell, and is taken to have 4 KiB."""
    pages_shared: int
    """Physical pages that are kept and shared."""
    pages_sharing: int
    """Further users of those pages: the pages that are saved."""
    pages_unshared: int | None
    pages_volatile: int | None
    zero_pages: int | None
    """Empty pages that were merged with the kernel's zero page; saved in addition. Source: ksm_zero_pages (6.6)."""
    profit_bytes: int | None
    """Saved bytes less the cost of bookkeeping; may be below zero. Source: general_profit (6.4)."""
    full_scans: int | None
    pages_to_scan: int | None
    sleep_s: float | None
    cpu_s: float | None
    """Counter: CPU time that ksmd spent. Source: utime + stime in /proc/<pid of ksmd>/stat."""
    more: Mapping[str, str] = field(default_factory=lambda: NOTHING_MORE)
    """What else this kernel tells, some seconds old: name of the file -> what it prints. Empty for a remote host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSample:
    """Raw readings of the host at one instant."""

    name: str
    """Host name, as the source tells it; foreign text."""
    cpus: int | None
    """Online CPUs (`nproc`)."""
    total_bytes: int | None
    """Source: MemTotal in /proc/meminfo (`free -b`); remote: virNodeGetMemoryStats."""
    available_bytes: int | None
    """Memory that programs can get without swapping. Source: MemAvailable in /proc/meminfo."""
    free_bytes: int | None
    """Source: MemFree in /proc/meminfo."""
    cache_bytes: int | None
    """Page cache and buffers. Source: Cached + Buffers + SReclaimable in /proc/meminfo, as `free` adds them up."""
    swap_total_bytes: int | None
    """Source: SwapTotal in /proc/meminfo (`swapon`)."""
    swap_used_bytes: int | None
    """Source: SwapTotal - SwapFree in /proc/meminfo."""
    swap_in_bytes: int | None
    """Counter since boot. Source: pswpin in /proc/vmstat times the page size."""
    swap_out_bytes: int | None
    """Counter since boot. Source: pswpout in /proc/vmstat times the page size."""
    pressure: Pressure | None
    """Source: /proc/pressure/memory. None where the kernel has no PSI or the host is remote."""
    ksm: KsmSample | None
    hugepages_total_bytes: int | None
    """Pool of huge pages of the default size. Source: HugePages_Total x Hugepagesize in /proc/meminfo."""
    hugepages_free_bytes: int | None
    """Part of the pool that nobody uses. Source: HugePages_Free x Hugepagesize in /proc/meminfo."""
    unknown: Mapping[str, str] = field(default_factory=lambda: NOTHING_UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSample:
    """What the guest's own kernel told through the balloon driver (`virsh dommemstat VM`).

    A figure that this guest does not send is None (Windows drivers send fewer).
    """

    last_update_s: int
    """When the guest sent these figures: seconds since 1970 on the clock of the VM's host. Source: last-update."""
    total_bytes: int | None
    """Memory the guest's kernel manages. Source: balloon.available = MemTotal of the guest."""
    usable_bytes: int | None
    """What guest programs can get without swapping. Source: balloon.usable = MemAvailable of the guest."""
    free_bytes: int | None
    """Source: balloon.unused = MemFree of the guest."""
    cache_bytes: int | None
    """Source: balloon.disk_caches = file pages of the guest: Cached (files in tmpfs included) + Buffers."""
    swap_in_bytes: int | None
    """Counter since the guest booted. Source: balloon.swap_in = pswpin of the guest."""
    swap_out_bytes: int | None
    """Counter since the guest booted. Source: balloon.swap_out = pswpout of the guest."""
    major_faults: int | None
    """Counter since the guest booted. Source: balloon.major_fault = pgmajfault of the guest."""
    minor_faults: int | None
    """Counter since the guest booted. Source: balloon.minor_fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuSample:
    """What the host's kernel tells about the process of a VM. Source: /proc/<pid>; None for remote hosts.

    A figure that we may not read is None with its reason in `VmSample.unknown`.
    """

    pid: int
    start_ticks: int
    """Field 22 of /proc/<pid>/stat: together with the pid it names one process for ever."""
    rss_bytes: int | None
    """Resident memory; counts pages that KSM shares in full, and no huge pages. Source: VmRSS in status."""
    swap_bytes: int | None
    """Memory of the process in the host's swap. Source: VmSwap in status."""
    hugetlb_bytes: int | None
    """Huge pages of the process, which VmRSS leaves out. Source: HugetlbPages in status."""
    major_faults: int | None
    """Counter. Source: field 12 of stat."""
    ksm_merged_bytes: int | None
    """Memory whose pages are KSM pages. Source: ksm_merging_pages (0400: root only) times the page size."""
    ksm_zero_bytes: int | None
    """Empty pages merged with the zero page. Source: ksm_zero_pages in ksm_stat."""
    ksm_profit_bytes: int | None
    """Source: ksm_process_profit in ksm_stat; counts the kept copy as saved, too."""
    cgroup: str | None
    """Path below the cgroup mount, emulator and libvirt leaves stripped. Source: /proc/<pid>/cgroup."""
    cgroup_bytes: int | None
    """Memory charged to the cgroup. Source: memory.current (v2) or memory.usage_in_bytes (v1)."""
    cgroup_swap_bytes: int | None
    """Source: memory.swap.current (v2), or memsw minus usage (v1)."""
    pressure: Pressure | None
    """Source: memory.pressure of the cgroup (v2 or hybrid)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmFacts:
    """What changes only with the VM's definition. Source: its live XML (`virsh dumpxml VM`)."""

    has_balloon: bool
    """A memory balloon device is present (memballoon with a model other than none)."""
    stats_period_s: int | None
    """How often the guest sends its figures; 0 is never. None without a balloon device. Source: <stats period=>."""
    has_autodeflate: bool
    has_free_page_reporting: bool
    virtio_mem_bytes: int
    """Current size of all virtio-mem devices; part of the balloon's current size, out of the balloon's reach."""
    has_hugepages: bool
    """The memory comes from huge pages: it is never merged, never swapped, and ballooning gives nothing back."""
    has_nosharepages: bool
    """The definition forbids KSM for this VM."""
    is_locked: bool
    """The definition pins the memory."""
    has_vfio: bool
    """A host device is passed through: all memory is pinned, the balloon is inhibited."""
    min_guarantee_bytes: int | None
    """Source: <memtune><min_guarantee>. None where not set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSample:
    """Raw readings of one VM at one instant."""

    uuid: str
    name: str
    """Foreign text: may hold anything that XML allows."""
    domain_id: int | None
    """libvirt's number of this run of the VM; None while it is off."""
    state: VmState
    state_reason: str | None
    """libvirt's reason of the state in words, such as "migrating". None when there is none."""
    answer: Answer
    hung_s: float | None
    """For how long QEMU has not answered. None unless `answer` is HUNG."""
    maximum_bytes: int | None
    """Most the guest can have. Source: balloon.maximum (`virsh dominfo`: Max memory)."""
    balloon_bytes: int | None
    """What the balloon leaves to the guest, up to 1 s late. Source: balloon.current (`virsh dominfo`: Used memory)."""
    rss_bytes: int | None
    """Resident memory of QEMU as libvirt tells it, which works for remote hosts, too. Source: balloon.rss."""
    guest: GuestSample | None
    """None when the guest never sent figures."""
    qemu: QemuSample | None
    facts: VmFacts | None
    """None until the definition could be read."""
    jobs: tuple[JobSample, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=lambda: NOTHING_UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Everything that a backend read in one go."""

    time_s: float
    """Wall clock when the reading was complete, seconds since 1970."""
    monotonic_s: float
    """The same moment on a clock that never jumps; differences give rates."""
    read_s: float
    """How long the reading took."""
    backend: str
    uri: str
    is_simulated: bool
    is_local: bool
    """The source's clock and /proc are ours."""
    host: HostSample
    vms: tuple[VmSample, ...]
    """Running and shut-off VMs, in no order that matters."""
    finished: tuple[FinishedJob, ...] = ()
    """Jobs that ended since the sample before, the oldest first, as far as the source tells."""
    notices: tuple[str, ...] = ()
    """What the source wants the operator to know, such as a fault that is being injected."""
