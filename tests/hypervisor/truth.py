"""What a guest's own kernel says about its memory, as `inside/init` prints it."""

import re
from dataclasses import dataclass
from typing import Any, Final

PAGE_BYTES: Final = 4096

FIELDS: Final = {
    "sequence": "sequence",
    "uptime": "uptime_s",
    "time": "time_s",
    "MemTotal": "total_bytes",
    "MemFree": "free_bytes",
    "MemAvailable": "available_bytes",
    "Buffers": "buffers_bytes",
    "Cached": "cached_bytes",
    "SwapCached": "swap_cached_bytes",
    "Shmem": "shmem_bytes",
    "SwapTotal": "swap_total_bytes",
    "SwapFree": "swap_free_bytes",
    "pswpin": "swapped_in_pages",
    "pswpout": "swapped_out_pages",
    "pgfault": "faults",
    "pgmajfault": "major_faults",
    "oom_kill": "oom_kills",
}
"""The guest's words and ours."""

_TRUTH: Final = re.compile(r"truth((?: \w+=[0-9.]+)+)")
_DONE: Final = re.compile(r"done (\d+) (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestTruth:
    """One reading of a guest's /proc/meminfo and /proc/vmstat."""

    sequence: int
    """1 for the first record since the guest started to report."""

    uptime_s: float
    """Since the guest's boot, by its clock. Source: /proc/uptime."""

    time_s: int
    """The guest's wall clock, which starts with the host's: whole seconds since 1970."""

    total_bytes: int
    """MemTotal."""

    free_bytes: int
    """MemFree."""

    available_bytes: int
    """MemAvailable."""

    buffers_bytes: int
    """Buffers."""

    cached_bytes: int
    """Cached, without SwapCached."""

    swap_cached_bytes: int
    """SwapCached."""

    shmem_bytes: int
    """Shmem; part of Cached. The guest's root file system lives there."""

    swap_total_bytes: int
    """SwapTotal."""

    swap_free_bytes: int
    """SwapFree."""

    swapped_in_pages: int
    """pswpin, since boot."""

    swapped_out_pages: int
    """pswpout, since boot."""

    faults: int
    """pgfault, minor and major ones, since boot."""

    major_faults: int
    """pgmajfault, since boot."""

    oom_kills: int
    """oom_kill, since boot."""

    @property
    def page_cache_bytes(self) -> int:
        """All file pages, which the balloon driver reports as `disk_caches`."""
        return self.buffers_bytes + self.cached_bytes + self.swap_cached_bytes

    @property
    def swapped_in_bytes(self) -> int:
        """Since boot; the balloon driver's `swap_in`."""
        return self.swapped_in_pages * PAGE_BYTES

    @property
    def swapped_out_bytes(self) -> int:
        """Since boot; the balloon driver's `swap_out`."""
        return self.swapped_out_pages * PAGE_BYTES


def parse_truth(records: str) -> list[GuestTruth]:
    """Read all records of a guest, oldest first; lines that were cut off are left out."""
    return [truth for line in _whole_lines(records) if (truth := _parse_line(line))]


def parse_done(records: str) -> dict[int, int]:
    """Map the number of every order that a guest has carried out to its exit status."""
    return {int(match[1]): int(match[2]) for line in _whole_lines(records) if (match := _DONE.fullmatch(line))}


def _whole_lines(records: str) -> list[str]:
    return records[: records.rfind("\n") + 1].splitlines()


def _parse_line(line: str) -> GuestTruth | None:
    match = _TRUTH.fullmatch(line)
    if not match:
        return None
    words = dict(word.split("=") for word in match[1].split())
    if words.keys() != FIELDS.keys():
        return None
    values: dict[str, Any] = {
        field: float(words[word]) if word == "uptime" else int(words[word]) for word, field in FIELDS.items()
    }
    return GuestTruth(**values)
