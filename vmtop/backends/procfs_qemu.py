"""What the host's kernel tells about QEMU processes, in /proc and /sys below any root folder."""

from collections.abc import Callable, Iterator, Sequence
from mmap import PAGESIZE
from pathlib import Path
from typing import TypeVar

from vmtop.backends.procfs_file import KernelFile, list_pids, read_once
from vmtop.backends.procfs_parse import (
    STATUS_LINES,
    Cgroups,
    is_machine_cgroup,
    parse_cgroup,
    parse_number,
    parse_pressure,
    parse_stat,
    parse_status,
    uuid_of,
)
from vmtop.model.sample import Pressure, QemuSample

T = TypeVar("T")

RESCAN_S = 10.0
"""A VM without a pid file is looked for in the whole of /proc, but not more often: that opens a file per process."""

_KSM_STAT_FIELDS = {
    "ksm_merged_bytes": (b"ksm_merging_pages", PAGESIZE),
    "ksm_zero_bytes": (b"ksm_zero_pages", PAGESIZE),
    "ksm_profit_bytes": (b"ksm_process_profit", 1),
}


class _Charge:
    """The cgroup that a process is charged to: v1, v2, or a hybrid where v1 counts memory and v2 measures pressure."""

    def __init__(self, root: Path, cgroups: Cgroups) -> None:
        mount = root / "sys/fs/cgroup"
        unified = mount if (mount / "cgroup.controllers").exists() else mount / "unified"
        self.path = cgroups.v2 if cgroups.v1 is None else cgroups.v1
        self._is_v1 = cgroups.v1 is not None
        self._used: KernelFile | None = None
        self._swap: KernelFile | None = None
        self._pressure: KernelFile | None = None
        if cgroups.v1 is not None and is_machine_cgroup(cgroups.v1):
            folder = mount / "memory" / cgroups.v1.lstrip("/")
            self._used = KernelFile(folder / "memory.usage_in_bytes")
            self._swap = KernelFile(folder / "memory.memsw.usage_in_bytes")
        if cgroups.v2 is not None and is_machine_cgroup(cgroups.v2):
            folder = unified / cgroups.v2.lstrip("/")
            self._pressure = KernelFile(folder / "memory.pressure")
            if not self._is_v1:
                self._used = KernelFile(folder / "memory.current")
                self._swap = KernelFile(folder / "memory.swap.current")

    def read(self, unknown: dict[str, str]) -> tuple[int | None, int | None, Pressure | None]:
        """Bytes charged, bytes of them in swap, and pressure."""
        used = _read_own(self._used, int, unknown, "cgroup_bytes")
        swap = _read_own(self._swap, int, unknown, "cgroup_swap_bytes")
        if self._is_v1 and swap is not None:
            if used is None:
                swap, unknown["cgroup_swap_bytes"] = None, unknown["cgroup_bytes"]
            else:
                # v1 tells memory and swap together, from another instant than memory alone.
                swap = max(0, swap - used)
        return used, swap, _read_own(self._pressure, parse_pressure, unknown, "pressure")


def _read_own(file: KernelFile | None, parse: Callable[[bytes], T], unknown: dict[str, str], field: str) -> T | None:
    if file is None:
        unknown[field] = "the VM has no cgroup of its own: what its cgroup tells is about other processes, too"
        return None
    return file.read(parse, unknown, field)


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
        self._stat = KernelFile(folder / "stat")
        self._status = KernelFile(folder / "status")
        self._ksm_stat = KernelFile(folder / "ksm_stat")
        self._ksm_merging_pages = KernelFile(folder / "ksm_merging_pages")
        self._charge = _Charge(root, read_once(folder / "cgroup", parse_cgroup) or Cgroups(v1=None, v2=None))

    def read(self, unknown: dict[str, str]) -> QemuSample | None:
        """Read everything about the process; None when it is no more.

        Args:
            unknown: gets the reason of each field that is None.
        """
        stat = self._stat.read(parse_stat, {})
        if stat is None or stat.start_ticks != self.start_ticks:
            return None
        used, swap, pressure = self._charge.read(unknown)
        if self._charge.path is None:
            unknown["cgroup"] = f"/proc/{self.pid}/cgroup names no cgroup that counts memory"
        return QemuSample(
            pid=self.pid,
            start_ticks=stat.start_ticks,
            major_faults=stat.major_faults,
            **self._read_memory(unknown),
            **self._read_ksm(unknown),
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

    def _read_memory(self, unknown: dict[str, str]) -> dict[str, int | None]:
        amounts = self._status.read(parse_status, unknown, *STATUS_LINES)
        if amounts is None:
            return dict.fromkeys(STATUS_LINES)
        if None in amounts.values():
            reason = f"/proc/{self.pid}/status does not tell it: the process is ending, or the kernel is old"
            unknown.update((field, reason) for field, amount in amounts.items() if amount is None)
        return amounts

    def _read_ksm(self, unknown: dict[str, str]) -> dict[str, int | None]:
        amounts: dict[str, int | None] = dict.fromkeys(_KSM_STAT_FIELDS)
        numbers = self._ksm_stat.read(_parse_ksm_stat, unknown, *_KSM_STAT_FIELDS)
        if numbers is not None:
            for field, (name, factor) in _KSM_STAT_FIELDS.items():
                number = numbers[field]
                if number is None:
                    unknown[field] = f"this kernel's ksm_stat has no {name.decode()}"
                else:
                    amounts[field] = number * factor
        if amounts["ksm_merged_bytes"] is None:
            # Kernels before 6.4 tell it in a file of its own only.
            pages = self._ksm_merging_pages.read(int, unknown, "ksm_merged_bytes")
            if pages is not None:
                unknown.pop("ksm_merged_bytes")
                amounts["ksm_merged_bytes"] = pages * PAGESIZE
        return amounts


def _parse_ksm_stat(text: bytes) -> dict[str, int | None]:
    return {field: parse_number(text, name) for field, (name, _) in _KSM_STAT_FIELDS.items()}


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
            stat = read_once(folder / "stat", parse_stat)
            if stat is not None and read_once(folder / "cmdline", uuid_of) == uuid:
                return QemuProcess(self._root, pid, stat.start_ticks, status_file)
        return None

    def _candidates(self, uuid: str, name: str, now_s: float) -> Iterator[tuple[int, Path | None]]:
        if "/" not in name and "\0" not in name:
            for folder in self._pid_folders:
                pid = read_once(folder / f"{name}.pid", int)
                if pid is not None:
                    yield pid, folder / f"{name}.xml"
        if uuid in self._pids:
            yield self._pids[uuid], None
        # Whoever is still looking did not find it there, as when the VM was started anew.
        if self._scanned_s is None or now_s - self._scanned_s >= RESCAN_S:
            self._scanned_s = now_s
            self._pids = self._scan()
            if uuid in self._pids:
                yield self._pids[uuid], None

    def _scan(self) -> dict[str, int]:
        proc = self._root / "proc"
        found = ((pid, read_once(proc / str(pid) / "cmdline", uuid_of)) for pid in list_pids(proc))
        return {uuid: pid for pid, uuid in found if uuid is not None}
