"""Small stories that are told twice: by real guests, and by the simulator."""

from dataclasses import dataclass
from typing import Final

from tests.fidelity.feature import Feature, fall, level, per_page, rate, rise, speed, time_to


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A program in every guest holds so much memory, and nothing of what it held before."""

    mib: int
    is_touched: bool
    """It writes to all of it twice a second. Otherwise never again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balloon:
    """An operator sets the memory of every guest."""

    mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """The host's KSM is switched on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """The first guest writes so much new content to the same place on its disk."""

    mib: int
    is_zero: bool = False
    """Write only zeros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A push backup of the first guest, with a checkpoint for the next one."""

    is_full: bool
    """Otherwise only what was written since the backup before."""


Action = Hold | Balloon | Merge | Write | Backup


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happens, and how long its effect is watched."""

    title: str
    action: Action
    lasts_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What happens to some guests that are alike."""

    name: str
    title: str
    steps: tuple[Step, ...]
    shown: tuple[str, ...]
    """The figures that matter."""
    features: tuple[Feature, ...]
    guests: int = 1
    memory_mib: int = 200
    swap_mib: int = 0
    disk_mib: int = 0

    @property
    def needs_ksm(self) -> bool:
        """Whether the host must be able to merge."""
        return any(isinstance(step.action, Merge) for step in self.steps)


SAMPLE_MIB: Final = 1.0
"""Guests round to KiB, but their kernels take and give a few hundred KiB all the time."""
TMPFS_MIB: Final = 2.0
"""Half of the real guests' root file system, which lies in memory and is not usable; to the model it is page cache."""
PER_CPU_MIB: Final = 10.0
"""Free pages that a kernel keeps ready for a CPU, and does not count as free; more in larger guests, and by chance."""
HUGE_PAGES_MIB: Final = 12.0
"""The host backs guests with huge pages of 2 MiB, so with more than they touched; the rest is zeros, alike for KSM."""
ZRAM_MIB: Final = 2.5
"""What zram and the page tables of a hog need, which lies in the guest's memory."""
BUSY_MIB: Final = 70.0
"""What a busy guest swaps in two seconds: the model's balloon moves at the end of one, and it reports in the next."""
TAIL_MIB: Final = 4.0
"""What the model then still has to swap in, as it brings back a share of what is missing in each second."""
FILE_SYSTEM_MIB: Final = 1.0
"""What the real guests' file system writes besides the content of files."""
HUGE_RESERVE: Final = "from 512 MiB on, a kernel with huge pages keeps 22 MiB more free for each zone"
UNTOUCHED: Final = "KSM splits the host's huge pages, and what guests never touched of these goes back to the host"
HOT_MIB: Final = 6
"""What guests write again and again: 6 % of what they wrote, as the model has it."""
KSMD_RATIO: Final = 0.05
"""ksmd has a low priority, so that beside busy guests it scans less than its settings allow."""
SECOND_S: Final = 1.0
"""The model's second; also the statistics period of the real guests."""

BALLOON: Final = Story(
    name="balloon",
    title="A guest of 200 MiB with a hog; balloon down and up",
    steps=(
        # So that it has touched nearly all of its memory, as guests have after a while.
        Step(title="hog of 125 MiB", action=Hold(mib=125, is_touched=True), lasts_s=2),
        Step(title="hog of 60 MiB", action=Hold(mib=60, is_touched=True), lasts_s=3),
        Step(title="down to 150 MiB", action=Balloon(mib=150), lasts_s=3),
        Step(title="up to 200 MiB", action=Balloon(mib=200), lasts_s=3),
        Step(title="hog ends", action=Hold(mib=0, is_touched=False), lasts_s=2),
        Step(title="down to 90 MiB", action=Balloon(mib=90), lasts_s=3),
        Step(title="up to 200 MiB", action=Balloon(mib=200), lasts_s=3),
    ),
    shown=("balloon", "total", "usable", "free", "cache", "rss"),
    features=(
        Feature(title="balloon, hog, down", unit="MiB", measure=level("balloon", 2), floor=SAMPLE_MIB),
        Feature(title="balloon, down", unit="MiB", measure=level("balloon", 5), floor=SAMPLE_MIB),
        Feature(title="balloon, up", unit="MiB", measure=level("balloon", 6), floor=SAMPLE_MIB),
        Feature(title="total, hog", unit="MiB", measure=level("total", 1), floor=SAMPLE_MIB),
        Feature(title="total, down", unit="MiB", measure=level("total", 5), floor=SAMPLE_MIB),
        Feature(title="free, hog", unit="MiB", measure=level("free", 1), floor=SAMPLE_MIB),
        Feature(title="free, hog, down", unit="MiB", measure=level("free", 2), floor=SAMPLE_MIB),
        Feature(title="free, down", unit="MiB", measure=level("free", 5), floor=SAMPLE_MIB),
        Feature(title="usable, hog", unit="MiB", measure=level("usable", 1), floor=TMPFS_MIB),
        Feature(title="usable, hog, down", unit="MiB", measure=level("usable", 2), floor=TMPFS_MIB),
        Feature(title="usable, up", unit="MiB", measure=level("usable", 6), floor=TMPFS_MIB),
        Feature(title="cache, down", unit="MiB", measure=level("cache", 5), floor=SAMPLE_MIB),
        Feature(title="RSS, hog of 125 MiB", unit="MiB", measure=level("rss", 0), floor=HUGE_PAGES_MIB),
        Feature(title="RSS falls, smaller hog", unit="MiB", measure=fall("rss", 1), floor=HUGE_PAGES_MIB),
        Feature(title="RSS falls, hog, down", unit="MiB", measure=fall("rss", 2), floor=HUGE_PAGES_MIB),
        Feature(title="RSS falls, down", unit="MiB", measure=fall("rss", 5), floor=HUGE_PAGES_MIB),
        Feature(title="RSS grows, up", unit="MiB", measure=rise("rss", 6), floor=HUGE_PAGES_MIB),
    ),
)

SPEED: Final = Story(
    name="speed",
    title="A guest of 1536 MiB; balloon down and up, for long enough to see how fast",
    memory_mib=1536,
    steps=(
        Step(title="down to 256 MiB", action=Balloon(mib=256), lasts_s=5),
        Step(title="up to 1536 MiB", action=Balloon(mib=1536), lasts_s=3),
    ),
    shown=("balloon", "total", "free", "usable", "rss"),
    features=(
        Feature(title="inflates", unit="MiB/s", measure=speed("balloon", 0), floor=0.0),
        Feature(title="deflates", unit="MiB/s", measure=speed("balloon", 1), floor=0.0),
        Feature(title="total, down", unit="MiB", measure=level("total", 0), floor=SAMPLE_MIB),
        Feature(title="total, up", unit="MiB", measure=level("total", 1), floor=SAMPLE_MIB),
        Feature(title="free, down", unit="MiB", measure=level("free", 0), floor=PER_CPU_MIB),
        Feature(title="usable, up", unit="MiB", measure=level("usable", 1), floor=2 * PER_CPU_MIB, unlike=HUGE_RESERVE),
        Feature(
            title="usable, down", unit="MiB", measure=level("usable", 0), floor=2 * PER_CPU_MIB, unlike=HUGE_RESERVE
        ),
    ),
)

SWAP: Final = Story(
    name="swap",
    title="A guest of 200 MiB with swap on zram; a hog that rests, then one that does not",
    swap_mib=128,
    steps=(
        Step(title="resting hog of 90 MiB", action=Hold(mib=90, is_touched=False), lasts_s=2),
        Step(title="down to 120 MiB", action=Balloon(mib=120), lasts_s=3),
        Step(title="up to 200 MiB", action=Balloon(mib=200), lasts_s=2),
        Step(title="hog ends", action=Hold(mib=0, is_touched=False), lasts_s=2),
        Step(title="busy hog of 90 MiB", action=Hold(mib=90, is_touched=True), lasts_s=2),
        Step(title="down to 120 MiB", action=Balloon(mib=120), lasts_s=5),
        Step(title="up to 200 MiB", action=Balloon(mib=200), lasts_s=4),
    ),
    shown=("balloon", "usable", "free", "swap out", "swap in", "major faults", "rss"),
    features=(
        Feature(title="balloon, at rest, down", unit="MiB", measure=level("balloon", 1), floor=SAMPLE_MIB),
        Feature(title="free, at rest, down", unit="MiB", measure=level("free", 1), floor=SAMPLE_MIB),
        Feature(title="swapped out, at rest", unit="MiB", measure=rise("swap out", 1), floor=ZRAM_MIB),
        Feature(title="swapped in, at rest", unit="MiB", measure=rise("swap in", 1), floor=SAMPLE_MIB),
        Feature(title="swapped in, at rest, up", unit="MiB", measure=rise("swap in", 2), floor=SAMPLE_MIB),
        Feature(title="swapped in, hog ends", unit="MiB", measure=rise("swap in", 3), floor=SAMPLE_MIB),
        Feature(title="balloon, busy, down", unit="MiB", measure=level("balloon", 5), floor=SAMPLE_MIB),
        Feature(title="swaps in, busy", unit="MiB/s", measure=rate("swap in", 5, 2.0), floor=1.0),
        Feature(title="swaps out, busy", unit="MiB/s", measure=rate("swap out", 5, 2.0), floor=1.0),
        Feature(title="major faults a page, busy", unit="", measure=per_page("major faults", "swap in", 5), floor=0.05),
        Feature(title="swapped in, busy, up", unit="MiB", measure=rise("swap in", 6), floor=BUSY_MIB),
        Feature(title="free, busy, up", unit="MiB", measure=level("free", 6), floor=TAIL_MIB),
    ),
)

KSM: Final = Story(
    name="ksm",
    title="Two guests of 200 MiB with the same hog, and KSM",
    guests=2,
    steps=(
        Step(title="hogs of 80 MiB", action=Hold(mib=80, is_touched=False), lasts_s=2),
        Step(title="KSM on", action=Merge(), lasts_s=10),
    ),
    shown=("KSM saved", "merged", "rss", "ksmd"),
    features=(
        Feature(title="saved", unit="MiB", measure=level("KSM saved", 1), floor=HUGE_PAGES_MIB),
        Feature(title="merged in one guest", unit="MiB", measure=level("merged", 1), floor=HUGE_PAGES_MIB),
        Feature(title="nine tenths saved after", unit="s", measure=time_to("KSM saved", 0.9, 1), floor=SECOND_S),
        Feature(title="RSS falls", unit="MiB", measure=fall("rss", 1), floor=HUGE_PAGES_MIB, unlike=UNTOUCHED),
        Feature(title="ksmd's CPU", unit="s/s", measure=rate("ksmd", 1, 5.0), floor=KSMD_RATIO),
    ),
)

BACKUP: Final = Story(
    name="backup",
    title="A guest with a disk of 128 MiB; a full push backup, and incremental ones",
    disk_mib=128,
    steps=(
        Step(title="writes 100 MiB of zeros", action=Write(mib=100, is_zero=True), lasts_s=1),
        Step(title="writes 6 MiB", action=Write(mib=HOT_MIB), lasts_s=1),
        Step(title="full backup", action=Backup(is_full=True), lasts_s=2),
        Step(title="writes 6 MiB", action=Write(mib=HOT_MIB), lasts_s=1),
        Step(title="incremental backup", action=Backup(is_full=False), lasts_s=2),
        Step(title="writes the same 6 MiB", action=Write(mib=HOT_MIB), lasts_s=1),
        Step(title="writes them again", action=Write(mib=HOT_MIB), lasts_s=2),
        Step(title="incremental backup", action=Backup(is_full=False), lasts_s=2),
        Step(title="incremental backup of nothing", action=Backup(is_full=False), lasts_s=2),
    ),
    shown=("to read", "read", "written"),
    features=(
        Feature(title="full, to read", unit="MiB", measure=rise("to read", 2), floor=FILE_SYSTEM_MIB),
        Feature(title="full, read", unit="MiB", measure=rise("read", 2), floor=FILE_SYSTEM_MIB),
        Feature(title="full, takes", unit="s", measure=time_to("read", 0.9, 2), floor=SECOND_S),
        Feature(title="full, written", unit="MiB", measure=rise("written", 2), floor=FILE_SYSTEM_MIB),
        Feature(title="incremental, to read", unit="MiB", measure=rise("to read", 4), floor=FILE_SYSTEM_MIB),
        Feature(title="incremental, read", unit="MiB", measure=rise("read", 4), floor=FILE_SYSTEM_MIB),
        Feature(title="incremental, written", unit="MiB", measure=rise("written", 4), floor=FILE_SYSTEM_MIB),
        Feature(title="incremental, rewritten", unit="MiB", measure=rise("read", 7), floor=FILE_SYSTEM_MIB),
        Feature(title="incremental, nothing", unit="MiB", measure=rise("read", 8), floor=SAMPLE_MIB),
    ),
)

STAGES: Final = ((BALLOON, SWAP, BACKUP), (SPEED,), (KSM,))
"""Stories that real guests tell at the same time: not those that need the host, or a CPU of it, for themselves."""
STORIES: Final = tuple(story for stage in STAGES for story in stage)
