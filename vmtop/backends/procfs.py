"""What the host's kernel tells about itself and about QEMU processes, in /proc and /sys.

Text becomes values in the pure `parse_*` functions; `HostReader`, `QemuProcess` and `QemuFinder` open the files. Which
files there are is found out by trying, never from a version. Everything works below any root folder, so that tests can
bring a captured tree.
"""

import os
import re
import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from mmap import PAGESIZE
from pathlib import Path
from typing import ClassVar

from vmtop.model.sample import HostSample, KsmSample, Pressure, QemuSample
from vmtop.units import KIB

RESCAN_S = 10.0
"""A VM without a pid file is looked for in the whole of /proc, but not more often: that opens a file per process."""

_PIECE_BYTES = 16 * KIB
_MOST_KEPT = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
"""Half of the descriptors that this process may have."""

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
    "run": "run",
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
_KSM_STAT_FIELDS = {
    "ksm_merged_bytes": (b"ksm_merging_pages", PAGESIZE),
    "ksm_zero_bytes": (b"ksm_zero_pages", PAGESIZE),
    "ksm_profit_bytes": (b"ksm_process_profit", 1),
}

# The cgroup that libvirt makes for a machine, with systemd's machined and without, and its leaves for QEMU's threads.
_MACHINE_CGROUP = re.compile(r"(?:/[^/]+)*/(?:machine-qemu\\x2d[^/]+\.scope|[^/]+\.libvirt-qemu)")
_THREAD_LEAVES = re.compile(r"(?:/libvirt)?(?:/emulator)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStat:
    """Some numbers of a process. Source: /proc/<pid>/stat, kernel Documentation/filesystems/proc.rst."""

    parent_pid: int
    """Field 4."""
    major_faults: int
    """Field 12."""
    cpu_ticks: int
    """User and system time: fields 14 and 15."""
    start_ticks: int
    """Field 22."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMemory:
    """Memory of a process; None where a line is missing. Source: /proc/<pid>/status (`grep Vm /proc/<pid>/status`)."""

    rss_bytes: int | None
    swap_bytes: int | None
    hugetlb_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroups:
    """Where a process is charged for memory. Source: /proc/<pid>/cgroup."""

    v1: str | None
    """Path in the hierarchy of the v1 memory controller. None where v1 does not count memory."""
    v2: str | None
    """Path in the unified hierarchy. None on a pure v1 host."""


def parse_meminfo(text: bytes) -> dict[str, int]:
    """Name -> bytes, or count where a line has no unit. Source: /proc/meminfo."""
    amounts = {}
    for line in text.splitlines():
        name, _, rest = line.partition(b":")
        number, _, unit = rest.strip().partition(b" ")
        amounts[name.decode()] = int(number) * (KIB if unit == b"kB" else 1)
    return amounts


def parse_number(text: bytes, name: bytes) -> int | None:
    """The number in the line "name number"; None where there is no such line.

    Source: /proc/vmstat; /proc/<pid>/ksm_stat, of which each kernel has other lines.
    """
    start = (b"\n" + text).find(b"\n%b " % name)
    if start < 0:
        return None
    end = text.find(b"\n", start)
    return int(text[start + len(name) : end if end >= 0 else None])


def parse_pressure(text: bytes) -> Pressure:
    """Shares of time, 0 to 1. Source: /proc/pressure/memory, and memory.pressure of a cgroup."""
    shares: dict[str, float] = {}
    for line in text.decode().splitlines():
        kind, *pairs = line.split()
        for span, _, percent in (pair.partition("=") for pair in pairs):
            shares[f"{kind}_{span}"] = float(percent) / 100
    return Pressure(
        some_avg10_ratio=shares["some_avg10"],
        some_avg60_ratio=shares["some_avg60"],
        some_avg300_ratio=shares["some_avg300"],
        full_avg10_ratio=shares["full_avg10"],
        full_avg60_ratio=shares["full_avg60"],
        full_avg300_ratio=shares["full_avg300"],
    )


def parse_stat(text: bytes) -> ProcessStat:
    """Find the numbers behind the name of the process, which may hold blanks and brackets of its own."""
    fields = text[text.rindex(b")") + 1 :].split(None, 20)
    return ProcessStat(
        parent_pid=int(fields[1]),
        major_faults=int(fields[9]),
        cpu_ticks=int(fields[11]) + int(fields[12]),
        start_ticks=int(fields[19]),
    )


def parse_status(text: bytes) -> ProcessMemory:
    """Find the lines VmRSS, VmSwap and HugetlbPages; a process that is ending has none of them."""

    def line_bytes(key: bytes) -> int | None:
        start = text.find(key)
        return None if start < 0 else int(text[start + len(key) : text.index(b" kB", start)]) * KIB

    return ProcessMemory(
        rss_bytes=line_bytes(b"\nVmRSS:"),
        swap_bytes=line_bytes(b"\nVmSwap:"),
        hugetlb_bytes=line_bytes(b"\nHugetlbPages:"),
    )


def parse_cgroup(text: bytes) -> Cgroups:
    """Find the paths, without the leaves that libvirt makes for QEMU's threads."""
    v1 = v2 = None
    for line in os.fsdecode(text).splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            v2 = _THREAD_LEAVES.sub("", path)
        elif "memory" in controllers.split(","):
            v1 = _THREAD_LEAVES.sub("", path)
    return Cgroups(v1=v1, v2=v2)


def is_machine_cgroup(path: str) -> bool:
    """Whether libvirt made this cgroup for one machine, so that its figures are that machine's alone."""
    return _MACHINE_CGROUP.fullmatch(path) is not None


def parse_cpu_list(text: bytes) -> int:
    """How many CPUs "0-3,8" names. Source: /sys/devices/system/cpu/online (`nproc --all`)."""
    ends = (part.partition("-") for part in text.decode().strip().split(","))
    return sum(int(last or first) - int(first) + 1 for first, _, last in ends)


def is_qemu_of(command_line: bytes, uuid: str) -> bool:
    """Whether a process runs the VM with this UUID. Source: /proc/<pid>/cmdline."""
    return _uuid_of(command_line) == uuid


def _uuid_of(command_line: bytes) -> str | None:
    _, flag, rest = command_line.partition(b"\0-uuid\0")
    return os.fsdecode(rest.partition(b"\0")[0]) if flag else None


class _File:
    """A file that is read again and again; one that is not there, or not for us, is tried once only.

    It stays open where the limit of the process allows, since to open a file of /proc takes as long as to read it.
    """

    __slots__ = ("_descriptor", "_path", "_reason")
    _kept: ClassVar[int] = 0

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._reason: str | None = None
        self._descriptor: int | None = None

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            _File._kept -= 1

    def read(self, unknown: dict[str, str], *fields: str) -> bytes | None:
        """What it says now. None when it cannot be read: then `unknown` gets the reason for each of the fields."""
        reason = self._reason
        if reason is None:
            try:
                return self._read()
            except FileNotFoundError:
                reason = self._reason = f"there is no {self._path}"
            except PermissionError:
                reason = self._reason = f"{self._path} is readable by root only"
            except OSError as error:
                reason = f"{self._path}: {error.strerror}"
        unknown.update(dict.fromkeys(fields, reason))
        return None

    def _read(self) -> bytes:
        if self._descriptor is not None:
            return _read_all(self._descriptor)
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        if _File._kept < _MOST_KEPT:
            self._descriptor = descriptor
            _File._kept += 1
            return _read_all(descriptor)
        try:
            return _read_all(descriptor)
        finally:
            os.close(descriptor)


def _read_all(descriptor: int) -> bytes:
    text = os.pread(descriptor, _PIECE_BYTES, 0)
    # The kernel hands out some files in pieces shorter than what was asked for: only an empty one is the end.
    while piece := os.pread(descriptor, _PIECE_BYTES, len(text)):
        text += piece
    return text


def _read_once(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        # A process that ended meanwhile, or one of another user: for whoever looks for one, it is not there.
        return None


def _pids(proc: Path) -> list[int]:
    return sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdigit())


def read_total_bytes(root: Path) -> int | None:
    """Memory of the host. None where it cannot be read. Source: MemTotal in /proc/meminfo (`free -b`)."""
    text = _read_once(root / "proc/meminfo")
    return None if text is None else parse_meminfo(text).get("MemTotal")


class HostReader:
    """Reads the host below `root`, again and again."""

    def __init__(self, root: Path) -> None:
        self._meminfo = _File(root / "proc/meminfo")
        self._vmstat = _File(root / "proc/vmstat")
        self._pressure = _File(root / "proc/pressure/memory")
        self._cpus = _File(root / "sys/devices/system/cpu/online")
        self._ksm = {field: _File(root / "sys/kernel/mm/ksm" / name) for field, name in _KSM_FILES.items()}
        self._ksmd = _find_ksmd(root / "proc")

    def read(self, name: str) -> HostSample:
        """Read everything about the host, which goes by this name."""
        unknown: dict[str, str] = {}
        cpus = self._cpus.read(unknown, "cpus")
        pressure = self._pressure.read(unknown, "pressure")
        return HostSample(
            name=name,
            cpus=None if cpus is None else parse_cpu_list(cpus),
            pressure=None if pressure is None else parse_pressure(pressure),
            ksm=self._read_ksm(unknown),
            **self._read_meminfo(unknown),
            **self._read_swap_counters(unknown),
            unknown=unknown,
        )

    def _read_meminfo(self, unknown: dict[str, str]) -> dict[str, int | None]:
        amounts: dict[str, int | None] = dict.fromkeys(_MEMINFO_FIELDS)
        text = self._meminfo.read(unknown, *_MEMINFO_FIELDS)
        if text is None:
            return amounts
        lines = parse_meminfo(text)
        for field, amount in _MEMINFO_FIELDS.items():
            try:
                amounts[field] = amount(lines)
            except KeyError as missing:
                unknown[field] = f"this kernel's /proc/meminfo has no {missing.args[0]}"
        return amounts

    def _read_swap_counters(self, unknown: dict[str, str]) -> dict[str, int | None]:
        amounts: dict[str, int | None] = dict.fromkeys(_VMSTAT_FIELDS)
        text = self._vmstat.read(unknown, *_VMSTAT_FIELDS)
        if text is None:
            return amounts
        for field, name in _VMSTAT_FIELDS.items():
            pages = parse_number(text, name)
            if pages is None:
                unknown[field] = f"this kernel's /proc/vmstat has no {name.decode()}"
            else:
                amounts[field] = pages * PAGESIZE
        return amounts

    def _read_ksm(self, unknown: dict[str, str]) -> KsmSample | None:
        missing: dict[str, str] = {}
        numbers: dict[str, int] = {}
        for field, file in self._ksm.items():
            text = file.read(missing, field)
            if text is not None:
                numbers[field] = int(text)
        for needed in ("pages_shared", "pages_sharing"):
            if needed in missing:
                unknown["ksm"] = missing[needed]
                return None
        cpu_s = self._read_ksmd_s(missing)
        unknown.update(missing)
        return KsmSample(
            is_running=numbers["run"] == 1 if "run" in numbers else None,
            pages_shared=numbers["pages_shared"],
            page_bytes=PAGESIZE,
            pages_sharing=numbers["pages_sharing"],
            pages_unshared=numbers.get("pages_unshared"),
            pages_volatile=numbers.get("pages_volatile"),
            zero_pages=numbers.get("zero_pages"),
            profit_bytes=numbers.get("profit_bytes"),
            full_scans=numbers.get("full_scans"),
            pages_to_scan=numbers.get("pages_to_scan"),
            sleep_s=numbers["sleep_s"] / 1000 if "sleep_s" in numbers else None,
            cpu_s=cpu_s,
        )

    def _read_ksmd_s(self, unknown: dict[str, str]) -> float | None:
        if self._ksmd is None:
            unknown["cpu_s"] = "no ksmd among the processes that are visible here"
            return None
        text = self._ksmd.read(unknown, "cpu_s")
        return None if text is None else parse_stat(text).cpu_ticks / _TICKS_PER_S


def _find_ksmd(proc: Path) -> _File | None:
    for pid in _pids(proc):
        path = proc / str(pid) / "stat"
        text = _read_once(path)
        # Any program may call itself ksmd; only the kernel's own threads have kthreadd as their parent.
        if text is not None and b" (ksmd) " in text and parse_stat(text).parent_pid == _KTHREADD_PID:
            return _File(path)
    return None


class _Charge:
    """The cgroup that a process is charged to: v1, v2, or a hybrid where v1 counts memory and v2 measures pressure."""

    def __init__(self, root: Path, cgroups: Cgroups) -> None:
        mount = root / "sys/fs/cgroup"
        unified = mount if (mount / "cgroup.controllers").exists() else mount / "unified"
        self.path = cgroups.v2 if cgroups.v1 is None else cgroups.v1
        self._is_v1 = cgroups.v1 is not None
        self._used: _File | None = None
        self._swap: _File | None = None
        self._pressure: _File | None = None
        if cgroups.v1 is not None and is_machine_cgroup(cgroups.v1):
            folder = mount / "memory" / cgroups.v1.lstrip("/")
            self._used = _File(folder / "memory.usage_in_bytes")
            self._swap = _File(folder / "memory.memsw.usage_in_bytes")
        if cgroups.v2 is not None and is_machine_cgroup(cgroups.v2):
            folder = unified / cgroups.v2.lstrip("/")
            self._pressure = _File(folder / "memory.pressure")
            if not self._is_v1:
                self._used = _File(folder / "memory.current")
                self._swap = _File(folder / "memory.swap.current")

    def read(self, unknown: dict[str, str]) -> tuple[int | None, int | None, Pressure | None]:
        """Bytes charged, bytes of them in swap, and pressure."""
        used = _read_number(self._used, unknown, "cgroup_bytes")
        swap = _read_number(self._swap, unknown, "cgroup_swap_bytes")
        if self._is_v1 and swap is not None:
            if used is None:
                swap, unknown["cgroup_swap_bytes"] = None, unknown["cgroup_bytes"]
            else:
                # v1 tells memory and swap together, from another instant than memory alone.
                swap = max(0, swap - used)
        pressure = _read_own(self._pressure, unknown, "pressure")
        return used, swap, None if pressure is None else parse_pressure(pressure)


def _read_own(file: _File | None, unknown: dict[str, str], field: str) -> bytes | None:
    if file is None:
        unknown[field] = "the VM has no cgroup of its own: what its cgroup tells is about other processes, too"
        return None
    return file.read(unknown, field)


def _read_number(file: _File | None, unknown: dict[str, str], field: str) -> int | None:
    text = _read_own(file, unknown, field)
    return None if text is None else int(text)


class QemuProcess:
    """One process that runs a VM, read again and again."""

    def __init__(self, root: Path, pid: int, start_ticks: int, status_file: Path | None) -> None:
        """Name the process.

        Args:
            root: the folder that holds /proc and /sys.
            pid: the number of the process.
            start_ticks: tells it from others that had or will have the same number.
            status_file: where libvirt writes down what it does with the VM, if that is known. Only root may read it.
        """
        folder = root / "proc" / str(pid)
        self.pid = pid
        self.start_ticks = start_ticks
        self._status_file = status_file
        self._status_ns: int | None = None
        self._stat = _File(folder / "stat")
        self._status = _File(folder / "status")
        self._ksm_stat = _File(folder / "ksm_stat")
        self._ksm_merging_pages = _File(folder / "ksm_merging_pages")
        cgroup = _read_once(folder / "cgroup")
        self._charge = _Charge(root, Cgroups(v1=None, v2=None) if cgroup is None else parse_cgroup(cgroup))

    def read(self, unknown: dict[str, str]) -> QemuSample | None:
        """Read everything about the process; None when it is no more.

        Args:
            unknown: gets the reason of each field that is None.
        """
        text = self._stat.read({})
        if text is None:
            return None
        stat = parse_stat(text)
        if stat.start_ticks != self.start_ticks:
            return None
        memory = self._read_memory(unknown)
        ksm = self._read_ksm(unknown)
        used, swap, pressure = self._charge.read(unknown)
        if self._charge.path is None:
            unknown["cgroup"] = f"/proc/{self.pid}/cgroup names no cgroup that counts memory"
        return QemuSample(
            pid=self.pid,
            start_ticks=stat.start_ticks,
            rss_bytes=memory.rss_bytes,
            swap_bytes=memory.swap_bytes,
            hugetlb_bytes=memory.hugetlb_bytes,
            major_faults=stat.major_faults,
            ksm_merged_bytes=ksm["ksm_merged_bytes"],
            ksm_zero_bytes=ksm["ksm_zero_bytes"],
            ksm_profit_bytes=ksm["ksm_profit_bytes"],
            cgroup=self._charge.path,
            cgroup_bytes=used,
            cgroup_swap_bytes=swap,
            pressure=pressure,
        )

    def was_touched(self) -> bool:
        """Whether libvirt began or ended something with the VM since the last call, as far as one can see.

        It announces that a job has ended, but not that one begins; at both it writes the VM's status file anew.
        """
        if self._status_file is None:
            return False
        try:
            written_ns = self._status_file.stat().st_mtime_ns
        except OSError:
            # The VM has just ended, or the folder is not for us: then there is nothing to see.
            return False
        before_ns, self._status_ns = self._status_ns, written_ns
        return before_ns != written_ns

    def _read_memory(self, unknown: dict[str, str]) -> ProcessMemory:
        text = self._status.read(unknown, "rss_bytes", "swap_bytes", "hugetlb_bytes")
        if text is None:
            return ProcessMemory(rss_bytes=None, swap_bytes=None, hugetlb_bytes=None)
        memory = parse_status(text)
        for field in ProcessMemory.__slots__:
            if getattr(memory, field) is None:
                unknown[field] = (
                    f"/proc/{self.pid}/status does not tell it: the process is ending, or the kernel is old"
                )
        return memory

    def _read_ksm(self, unknown: dict[str, str]) -> dict[str, int | None]:
        amounts: dict[str, int | None] = dict.fromkeys(_KSM_STAT_FIELDS)
        text = self._ksm_stat.read(unknown, *_KSM_STAT_FIELDS)
        if text is not None:
            for field, (name, factor) in _KSM_STAT_FIELDS.items():
                number = parse_number(text, name)
                if number is None:
                    unknown[field] = f"this kernel's ksm_stat has no {name.decode()}"
                else:
                    amounts[field] = number * factor
        if amounts["ksm_merged_bytes"] is None:
            # Kernels before 6.4 tell it in a file of its own only.
            pages = self._ksm_merging_pages.read(unknown, "ksm_merged_bytes")
            if pages:  # both files are empty while a process ends
                unknown.pop("ksm_merged_bytes")
                amounts["ksm_merged_bytes"] = int(pages) * PAGESIZE
        return amounts


class QemuFinder:
    """Finds the processes of VMs: by libvirt's pid files, else by their command lines."""

    def __init__(self, root: Path, pid_folders: Sequence[Path]) -> None:
        self._root = root
        self._pid_folders = pid_folders
        self._pids: dict[str, int] = {}
        self._scanned_s: float | None = None

    def find(self, uuid: str, name: str, now_s: float) -> QemuProcess | None:
        """The process that runs this VM; None when none is visible.

        Args:
            uuid: tells whether a process is the right one; a pid file may be old, and its pid somebody else's by now.
            name: names the pid file. It is foreign text: one that is no plain file name is not used.
            now_s: the monotonic clock, against which scans of /proc are counted.
        """
        for pid, status_file in self._candidates(uuid, name, now_s):
            folder = self._root / "proc" / str(pid)
            command_line, stat = _read_once(folder / "cmdline"), _read_once(folder / "stat")
            if command_line is not None and stat is not None and is_qemu_of(command_line, uuid):
                return QemuProcess(self._root, pid, parse_stat(stat).start_ticks, status_file)
        return None

    def _candidates(self, uuid: str, name: str, now_s: float) -> Iterator[tuple[int, Path | None]]:
        if "/" not in name and "\0" not in name:
            for folder in self._pid_folders:
                text = _read_once(folder / f"{name}.pid")
                if text is not None and text.strip().isdigit():
                    yield int(text), folder / f"{name}.xml"
        if uuid not in self._pids and (self._scanned_s is None or now_s - self._scanned_s >= RESCAN_S):
            self._scanned_s = now_s
            self._pids = self._scan()
        if uuid in self._pids:
            yield self._pids[uuid], None

    def _scan(self) -> dict[str, int]:
        proc = self._root / "proc"
        lines = ((pid, _read_once(proc / str(pid) / "cmdline")) for pid in _pids(proc))
        found = ((pid, _uuid_of(line)) for pid, line in lines if line is not None)
        return {uuid: pid for pid, uuid in found if uuid is not None}
