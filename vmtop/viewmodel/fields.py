"""What each figure means, in which unit, and where an operator can look it up.

The words are those of the docstrings in `vmtop.derive.metrics`, which are not there when the program runs (and which go
on to say when a figure is None); a test compares both. Help, column list and detail pages take them from here and
nowhere else.
"""

from typing import NamedTuple


class Field(NamedTuple):
    """The definition of one figure."""

    meaning: str
    unit: str
    """ "B", "B/s", "1/s", "ratio", "s", or empty for words."""
    source: str
    """Where the number comes from: a file or command that shows the same one, or the figures it is computed from."""


VM_FIELDS: dict[str, Field] = {
    "uuid": Field("The VM's identity, which outlives a change of its name.", "", "`virsh domuuid`"),
    "name": Field("The VM's name; characters that could harm a terminal are replaced.", "", "`virsh list`"),
    "state": Field("What the VM does, in libvirt's words.", "", "`virsh domstate`"),
    "answer": Field("How the hypervisor answered for this VM: full, busy, hung or not asked.", "", "this sample"),
    "hung_s": Field("For how long QEMU has not answered.", "s", "this sample and those before"),
    "condition": Field("The memory state of the VM in a word; the first that fits.", "", "the figures of this row"),
    "reason": Field("Why the condition is what it is, in words; empty for ok.", "", "the figures of this row"),
    "maximum_bytes": Field("Most memory the VM can have.", "B", "`virsh dominfo`: Max memory"),
    "balloon_bytes": Field("Memory that the balloon leaves to the VM now.", "B", "`virsh dominfo`: Used memory"),
    "ballooned_bytes": Field(
        "Given back to the host by the balloon: maximum - balloon.", "B", "`virsh dominfo`: Max memory - Used memory"
    ),
    "used_bytes": Field(
        "What the guest cannot give up without swapping: balloon - usable, never below 0, both of the moment when the "
        "guest sent its figures; `used_source` says when it had to be something else.",
        "B",
        "`virsh dommemstat`: actual - usable",
    ),
    "used_source": Field("What used is computed from: usable, caches or host.", "", "the figures of this row"),
    "used_ratio": Field("How full the VM is: used / balloon.", "ratio", "the columns used and balloon"),
    "cache_bytes": Field(
        "Page cache of the guest, buffers and files in tmpfs included.",
        "B",
        "Cached + Buffers in the guest's /proc/meminfo",
    ),
    "free_bytes": Field("Memory that the guest uses for nothing.", "B", "MemFree in the guest's /proc/meminfo"),
    "reclaimable_bytes": Field(
        "Cache that the guest can drop at once: usable - free, never below 0. Used, reclaimable and free make up the "
        "balloon's size when the guest sent them.",
        "B",
        "`virsh dommemstat`: usable - unused",
    ),
    "untouched_bytes": Field(
        "Memory of the VM that never cost the host anything: balloon less what of it the host holds in RAM and swap. "
        "An estimate, as QEMU's own need can only be guessed.",
        "B",
        "`virsh dommemstat`: actual - (rss - overhead of QEMU)",
    ),
    "rss_bytes": Field(
        "Resident memory of the QEMU process, shared pages counted in full.", "B", "VmRSS in /proc/<pid>/status"
    ),
    "hugetlb_bytes": Field(
        "Huge pages of the QEMU process, which RSS leaves out.", "B", "HugetlbPages in /proc/<pid>/status"
    ),
    "resident_bytes": Field("Host memory that the VM holds: RSS + huge pages.", "B", "the columns rss and hugetlb"),
    "host_swap_bytes": Field("Memory of the QEMU process in the host's swap.", "B", "VmSwap in /proc/<pid>/status"),
    "ksm_merged_bytes": Field("Memory of the VM whose pages are shared.", "B", "ksm_merging_pages in /proc/<pid>"),
    "ksm_saved_bytes": Field(
        "The VM's fair share of what sharing saves: merged x sharing / (shared + sharing), plus its zero pages, where "
        "the kernel counts them.",
        "B",
        "/proc/<pid>/ksm_merging_pages and /sys/kernel/mm/ksm",
    ),
    "cgroup_bytes": Field("Memory charged to the VM's cgroup.", "B", "memory.current"),
    "guest_swap_in_bytes_per_s": Field(
        "The guest reads this from its own swap.", "B/s", "pswpin in the guest's /proc/vmstat"
    ),
    "guest_swap_out_bytes_per_s": Field(
        "The guest writes this to its own swap.", "B/s", "pswpout in the guest's /proc/vmstat"
    ),
    "guest_major_faults_per_s": Field(
        "Pages that guest programs waited for, from disk or swap.", "1/s", "pgmajfault in the guest's /proc/vmstat"
    ),
    "host_major_faults_per_s": Field(
        "Pages of the QEMU process that had to come from the host's disk or swap.",
        "1/s",
        "field 12 of /proc/<pid>/stat",
    ),
    "psi_some_avg10_ratio": Field(
        "Share of the last 10 s in which some task of the VM waited for host memory.",
        "ratio",
        "memory.pressure of its cgroup",
    ),
    "psi_full_avg10_ratio": Field(
        "Share of the last 10 s in which all tasks of the VM waited for host memory.",
        "ratio",
        "memory.pressure of its cgroup",
    ),
    "guest_age_s": Field(
        "How old the guest's own figures are: time since it last sent some.", "s", "`virsh dommemstat`: last_update"
    ),
    "is_stale": Field(
        "The guest's figures stopped coming; the last ones are shown, marked, and count in no sum, and rates are None.",
        "",
        "`virsh dommemstat`: last_update",
    ),
    "jobs": Field("Jobs that run on the VM: backup, snapshot, migration and the like.", "", "`virsh domjobinfo`"),
}

HOST_FIELDS: dict[str, Field] = {
    "name": Field("The host's name.", "", "`virsh hostname`"),
    "level": Field("The host's rung: calm, watch, soft, hard or critical.", "", "the figures of the host"),
    "cause": Field(
        "What put the host on this rung, in words, with the figure; of a figure that is unknown it says so.",
        "",
        "the figures of the host",
    ),
    "total_bytes": Field("Memory of the host.", "B", "MemTotal in /proc/meminfo"),
    "available_bytes": Field("Memory that programs can get without swapping.", "B", "MemAvailable in /proc/meminfo"),
    "free_bytes": Field("Memory used for nothing.", "B", "MemFree in /proc/meminfo"),
    "cache_bytes": Field(
        "Page cache, buffers and reclaimable slab.", "B", "Cached + Buffers + SReclaimable in /proc/meminfo"
    ),
    "droppable_bytes": Field(
        "Memory that the host can free at once, mostly cache: available - free, never below 0.",
        "B",
        "MemAvailable - MemFree in /proc/meminfo",
    ),
    "vms_bytes": Field(
        "Host memory that VMs hold: sum of RSS and huge pages of running VMs, less the shared pages that RSS counts "
        "more than once (pages_sharing; merged zero pages are in no RSS).",
        "B",
        "VmRSS and HugetlbPages in /proc/<pid>/status",
    ),
    "other_bytes": Field(
        "Memory that neither VMs nor the droppable cache hold: total - available - VMs, never below 0.",
        "B",
        "/proc/meminfo and /proc/<pid>/status",
    ),
    "min_free_bytes": Field(
        "What a host of this size should keep free: 6 % of the first 4 GiB, 4 % up to 12, 2 % up to 28, 1 % of the "
        "rest. The levels are multiples of it.",
        "B",
        "MemTotal in /proc/meminfo",
    ),
    "swap_total_bytes": Field("Size of the host's swap.", "B", "SwapTotal in /proc/meminfo"),
    "swap_used_bytes": Field("Swap in use; history, not a sign of trouble by itself.", "B", "SwapTotal - SwapFree"),
    "swap_in_bytes_per_s": Field(
        "The host reads this from swap: what guests wait for.", "B/s", "pswpin in /proc/vmstat"
    ),
    "swap_out_bytes_per_s": Field("The host writes this to swap.", "B/s", "pswpout in /proc/vmstat"),
    "psi_some_avg10_ratio": Field(
        "Share of the last 10 s in which some task waited for memory.", "ratio", "/proc/pressure/memory"
    ),
    "psi_full_avg10_ratio": Field(
        "Share of the last 10 s in which all tasks waited for memory.", "ratio", "/proc/pressure/memory"
    ),
    "ksm_is_running": Field("ksmd merges pages now.", "", "/sys/kernel/mm/ksm/run is 1"),
    "ksm_saved_bytes": Field(
        "Memory that sharing saves: pages_sharing (and ksm_zero_pages) x page size.", "B", "/sys/kernel/mm/ksm"
    ),
    "ksm_profit_bytes": Field(
        "Saved less bookkeeping of 64 B for each scanned page; below 0 KSM costs more than it gives.",
        "B",
        "general_profit",
    ),
    "ksm_cpu_ratio": Field("Share of one CPU that ksmd takes.", "ratio", "/proc/<pid of ksmd>/stat"),
    "hugepages_total_bytes": Field(
        "Pool of huge pages of the default size.", "B", "HugePages_Total x Hugepagesize in /proc/meminfo"
    ),
    "hugepages_free_bytes": Field(
        "Part of the pool that nobody uses.", "B", "HugePages_Free x Hugepagesize in /proc/meminfo"
    ),
    "overcommit_configured_ratio": Field(
        "If every running VM took its maximum: sum of maxima / total. Above 1 the host relies on VMs not doing so.",
        "ratio",
        "`virsh dominfo` of all VMs and MemTotal",
    ),
    "overcommit_current_ratio": Field(
        "If every running VM filled its balloon: sum of balloon sizes / total.",
        "ratio",
        "`virsh dominfo` of all VMs and MemTotal",
    ),
    "overcommit_resident_ratio": Field("What VMs hold now: VMs / total.", "ratio", "/proc/<pid>/status and MemTotal"),
}

VIEW_FIELDS: dict[str, Field] = {
    "memory": Field(
        "Where the VM's maximum is, as a bar: used, cache that the guest can drop, free, given back to the host.",
        "",
        "the columns used, cache, free and ballooned",
    ),
}
"""Figures that are put together for the eye from those above."""
