"""What is fixed about a guest: its size, its programs, its devices."""

from enum import StrEnum
from typing import NamedTuple

from vmtop.units import GIB, MIB, PAGE_BYTES

PAGES_PER_MIB = MIB // PAGE_BYTES
PAGES_PER_GIB = GIB // PAGE_BYTES

WARM_UP_S = 40
"""Worlds live at most this long before tick 0, the moment of the first picture."""
NEVER = 1 << 62
"""A tick that does not come."""


class Kind(StrEnum):
    """How the demand of a guest's programs moves; see `workload`."""

    STEADY = "steady"
    DIURNAL = "diurnal"
    BURSTY = "bursty"
    LEAK = "leak"
    BATCH = "batch"
    IDLE = "idle"
    DB = "db"


ACTIVITY = {Kind.IDLE: 0.2, Kind.DB: 2.0, Kind.BATCH: 1.5, Kind.BURSTY: 1.5}
"""How much faster than a steady guest others write to their memory; our own choice."""


class Family(NamedTuple):
    """An operating system; guests with the same one hold the same pages of code."""

    name: str
    is_windows: bool
    common_pages: int
    """Pages that all guests of the family hold alike. 120 MiB for Linux and 500 MiB for Windows are our own choice
    within the range of Barker et al., USENIX ATC'12, where under 15 % of memory could be shared in all."""
    sends_usable: bool = True
    """The balloon driver sends `usable` and `disk_caches`; older Windows drivers do not."""


def linux(name: str) -> Family:
    """A Linux distribution."""
    return Family(name, is_windows=False, common_pages=120 * PAGES_PER_MIB)


def windows(name: str, *, sends_usable: bool = True) -> Family:
    """A release of Windows."""
    return Family(name, is_windows=True, common_pages=500 * PAGES_PER_MIB, sends_usable=sends_usable)


class GuestPlan(NamedTuple):
    """One guest as the operator defined it, and the programs that run in it. Amounts are pages of 4 KiB."""

    uid: int
    """Who it is for the dice; counts from 1."""
    name: str
    uuid: str
    kind: Kind
    family: Family
    maximum: int
    vcpus: int

    utilisation: float
    """Mean demand of the programs as a share of the maximum."""
    hot_share: float
    """Share of the programs' memory that is touched all the time."""
    phase: float
    """Where in its cycle the guest is at tick 0, 0 to 1."""
    leak_pages_per_s: float
    file_set: int
    """Files that are read now and then: as much as the page cache would like to hold."""
    file_hot: int
    """Files that are read all the time."""
    read_pages_per_s: float
    write_bytes_per_s: float
    disk_bytes: int
    """Allocated on disk, which a full backup reads."""
    zero_share: float
    """Part of that which holds only zeros: deleted files, parts that were formatted and not used yet."""
    touched_share: float
    """Share of its unused memory that the guest touched at some time before tick 0 and the host still holds."""
    swap_capacity: int
    swap_readahead: int = 8
    """Pages that a fault brings in from its swap: 8 from a disk. Source: vm.page-cluster 3, kernel Documentation
    sysctl/vm.rst. measured: 1 from zram, which skips readahead (tests/recordings)."""

    has_balloon: bool = True
    has_driver: bool = True
    has_agent: bool = True
    """The QEMU guest agent runs in it, which can freeze file systems."""
    stats_period_s: int = 5
    has_autodeflate: bool = False
    has_free_page_reporting: bool = False
    has_hugepages: bool = False
    has_vfio: bool = False
    has_nosharepages: bool = False
    min_guarantee: int | None = None

    disk_capacity_bytes: int | None = None
    """What the guest sees of its disk. None for what is usual."""
    overhead: int | None = None
    """What QEMU needs besides the guest's memory. None for what is usual."""
    target: int | None = None
    """Balloon target at tick 0. None for the maximum."""
    is_paused: bool = False
    """An operator paused it before tick 0."""
    reports_until: int = NEVER
    """Tick after which the guest's figures stop coming, as when its balloon driver got stuck."""
    starts_at: int | None = None
    """Tick at which it boots. None: it has been running for weeks. `NEVER`: it is shut off."""

    @property
    def is_pinned(self) -> bool:
        """All its memory is on the host from the start and stays there: VFIO or huge pages."""
        return self.has_vfio or self.has_hugepages


class HostPlan(NamedTuple):
    """The host as it was bought and set up. Amounts are pages of 4 KiB."""

    total: int
    cpus: int
    swap_capacity: int
    hugepages: int = 0
    """Set aside for guests with huge pages."""
    name: str = "kvm-demo"
    swap_bandwidth: int = 400 * PAGES_PER_MIB
    """Pages per second in each direction: a SATA SSD."""
    pool_bandwidth: int = 1500 * PAGES_PER_MIB
    """Pages per second of the storage that guests and backups share: NVMe."""
    latency_s: float = 100e-6
    """One read on an idle device: NVMe about 100 us, SATA SSD 250 us, disk 10 ms. Source: field measurements."""
    has_ksm: bool = True
    has_ksmtuned: bool = True
