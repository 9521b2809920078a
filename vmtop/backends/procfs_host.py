"""What the host's kernel tells about the host, in /proc and /sys below any root folder.

What there is to be read is found out by trying, never from a version.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from mmap import PAGESIZE
from pathlib import Path

from vmtop.backends.procfs_file import KernelFile, list_pids, read_once
from vmtop.backends.procfs_parse import (
    parse_cpu_list,
    parse_meminfo,
    parse_number,
    parse_pressure,
    parse_stat,
    parse_text,
)
from vmtop.model.sample import NOTHING_MORE, HostSample, KsmSample

SETTINGS_S = 10.0
"""What else the kernel tells about KSM is mostly settings: it is read after this time, and not at every sample."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_KTHREADD_PID = 2

_MEMINFO_FIELDS: Mapping[str, Callable[[Mapping[str, int]], int]] = {
    "total_bytes": lambda lines: lines["MemTotal"],
    "available_bytes": lambda lines: lines["MemAvailable"],
    "free_bytes": lambda lines: lines["MemFree"],
    "cache_bytes": lambda lines: lines["Cached"] + lines["Buffers"] + lines["SReclaimable"],
    "swap_total_bytes": lambda lines: lines["SwapTotal"],
    "swap_used_bytes": lambda lines: lines["SwapTotal"] - lines["SwapFree"],
    "hugepages_total_bytes": lambda lines: lines["HugePages_Total"] * lines["Hugepagesize"],
    "hugepages_free_bytes": lambda lines: lines["HugePages_Free"] * lines["Hugepagesize"],
}
_VMSTAT_FIELDS = {"swap_in_bytes": b"pswpin", "swap_out_bytes": b"pswpout"}
_KSM_FILES = {
    "is_running": "run",
    "pages_shared": "pages_shared",
    "pages_sharing": "pages_sharing",
    "pages_unshared": "pages_unshared",
    "pages_volatile": "pages_volatile",
    "zero_pages": "ksm_zero_pages",
    "profit_bytes": "general_profit",
    "full_scans": "full_scans",
    "pages_to_scan": "pages_to_scan",
    "sleep_s": "sleep_millisecs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """What tells the host on which we are from others."""

    name: str | None
    """Source: /proc/sys/kernel/hostname (`hostname`)."""
    total_bytes: int | None
    """Source: MemTotal in /proc/meminfo (`free -b`)."""


def read_here(root: Path) -> Here:
    """Look where we are; what cannot be read is None."""
    return Here(
        name=read_once(root / "proc/sys/kernel/hostname", parse_text),
        total_bytes=read_once(root / "proc/meminfo", lambda text: parse_meminfo(text)["MemTotal"]),
    )


class HostReader:
    """Reads the host below `root`, again and again."""

    def __init__(self, root: Path) -> None:
        self._meminfo = KernelFile(root / "proc/meminfo")
        self._vmstat = KernelFile(root / "proc/vmstat")
        self._pressure = KernelFile(root / "proc/pressure/memory")
        self._cpus = KernelFile(root / "sys/devices/system/cpu/online")
        ksm = root / "sys/kernel/mm/ksm"
        self._ksm = {field: KernelFile(ksm / name) for field, name in _KSM_FILES.items()}
        names = sorted(path.name for path in ksm.iterdir()) if ksm.is_dir() else ()
        self._ksm_settings = {name: KernelFile(ksm / name) for name in names if name not in _KSM_FILES.values()}
        self._settings: Mapping[str, str] = NOTHING_MORE
        self._settings_read_s = -math.inf
        self._ksmd = _find_ksmd(root / "proc")

    def read(self, name: str, now_s: float) -> HostSample:
        """Read everything about the host.

        Args:
            name: what the host is called.
            now_s: the monotonic clock, against which the reading of settings is counted.
        """
        unknown: dict[str, str] = {}
        return HostSample(
            name=name,
            cpus=self._cpus.read(parse_cpu_list, unknown, "cpus"),
            pressure=self._pressure.read(parse_pressure, unknown, "pressure"),
            ksm=self._read_ksm(unknown, now_s),
            **self._read_meminfo(unknown),
            **self._read_swap_counters(unknown),
            unknown=unknown,
        )

    def _read_meminfo(self, unknown: dict[str, str]) -> dict[str, int | None]:
        amounts: dict[str, int | None] = dict.fromkeys(_MEMINFO_FIELDS)
        lines = self._meminfo.read(parse_meminfo, unknown, *_MEMINFO_FIELDS)
        if lines is None:
            return amounts
        for field, amount in _MEMINFO_FIELDS.items():
            try:
                amounts[field] = amount(lines)
            except KeyError as missing:
                unknown[field] = f"this kernel's /proc/meminfo has no {missing.args[0]}"
        return amounts

    def _read_swap_counters(self, unknown: dict[str, str]) -> dict[str, int | None]:
        amounts: dict[str, int | None] = dict.fromkeys(_VMSTAT_FIELDS)
        counts = self._vmstat.read(_parse_swap_counters, unknown, *_VMSTAT_FIELDS)
        if counts is None:
            return amounts
        for field, pages in counts.items():
            if pages is None:
                unknown[field] = f"this kernel's /proc/vmstat has no {_VMSTAT_FIELDS[field].decode()}"
            else:
                amounts[field] = pages * PAGESIZE
        return amounts

    def _read_ksm(self, unknown: dict[str, str], now_s: float) -> KsmSample | None:
        missing: dict[str, str] = {}
        numbers = {field: file.read(int, missing, field) for field, file in self._ksm.items()}
        shared, sharing = numbers["pages_shared"], numbers["pages_sharing"]
        if shared is None or sharing is None:
            unknown["ksm"] = missing["pages_shared" if shared is None else "pages_sharing"]
            return None
        if now_s - self._settings_read_s >= SETTINGS_S:
            self._settings_read_s = now_s
            texts = ((name, file.read(parse_text, {})) for name, file in self._ksm_settings.items())
            self._settings = {name: text for name, text in texts if text is not None}
        cpu_s = self._read_ksmd_s(missing)
        run, sleep_ms = numbers["is_running"], numbers["sleep_s"]
        unknown.update(missing)
        return KsmSample(
            is_running=None if run is None else run == 1,
            pages_shared=shared,
            page_bytes=PAGESIZE,
            pages_sharing=sharing,
            pages_unshared=numbers["pages_unshared"],
            pages_volatile=numbers["pages_volatile"],
            zero_pages=numbers["zero_pages"],
            profit_bytes=numbers["profit_bytes"],
            full_scans=numbers["full_scans"],
            pages_to_scan=numbers["pages_to_scan"],
            sleep_s=None if sleep_ms is None else sleep_ms / 1000,
            cpu_s=cpu_s,
            more=self._settings,
        )

    def _read_ksmd_s(self, unknown: dict[str, str]) -> float | None:
        if self._ksmd is None:
            unknown["cpu_s"] = "no ksmd among the processes that are visible here"
            return None
        stat = self._ksmd.read(parse_stat, unknown, "cpu_s")
        return None if stat is None else stat.cpu_ticks / _TICKS_PER_S


def _parse_swap_counters(text: bytes) -> dict[str, int | None]:
    return {field: parse_number(text, name) for field, name in _VMSTAT_FIELDS.items()}


def _find_ksmd(proc: Path) -> KernelFile | None:
    for pid in list_pids(proc):
        path = proc / str(pid) / "stat"
        stat = read_once(path, parse_stat)
        # Any program may call itself ksmd; only the kernel's own threads have kthreadd as their parent.
        if stat is not None and stat.name == b"ksmd" and stat.parent_pid == _KTHREADD_PID:
            return KernelFile(path)
    return None
