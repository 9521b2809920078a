"""From the text of /proc and /sys to our values. Pure, and tested with captured input.

What a kernel lacks is None or missing; text that no kernel writes raises ValueError or LookupError, see `procfs_file`.
"""

import os
import re
from dataclasses import dataclass

from vmtop.model.sample import Pressure
from vmtop.units import KIB

STATUS_LINES = {"rss_bytes": b"\nVmRSS:", "swap_bytes": b"\nVmSwap:", "hugetlb_bytes": b"\nHugetlbPages:"}

# The cgroup that libvirt makes for a machine, with systemd's machined and without, and its leaves for QEMU's threads.
_MACHINE_CGROUP = re.compile(r"(?:/[^/]+)*/(?:machine-qemu\\x2d[^/]+\.scope|[^/]+\.libvirt-qemu)")
_THREAD_LEAVES = re.compile(r"(?:/libvirt)?(?:/emulator)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStat:
    """Some numbers of a process. Source: /proc/<pid>/stat, kernel Documentation/filesystems/proc.rst."""

    name: bytes
    """Field 2, without its brackets."""
    parent_pid: int
    """Field 4."""
    major_faults: int
    """Field 12."""
    cpu_ticks: int
    """User and system time: fields 14 and 15."""
    start_ticks: int
    """Field 22."""


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


def parse_text(text: bytes) -> str:
    """A file that says one thing, in words."""
    return text.decode(errors="replace").strip()


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
    name_end = text.rindex(b")")
    fields = text[name_end + 1 :].split(None, 20)
    return ProcessStat(
        name=text[text.index(b"(") + 1 : name_end],
        parent_pid=int(fields[1]),
        major_faults=int(fields[9]),
        cpu_ticks=int(fields[11]) + int(fields[12]),
        start_ticks=int(fields[19]),
    )


def parse_status(text: bytes) -> dict[str, int | None]:
    """Memory of a process by field of QemuSample; a process that is ending tells none of it.

    Source: /proc/<pid>/status (`grep -e Vm -e Huge /proc/<pid>/status`).
    """
    amounts: dict[str, int | None] = dict.fromkeys(STATUS_LINES)
    for field, name in STATUS_LINES.items():
        start = text.find(name)
        if start >= 0:
            amounts[field] = int(text[start + len(name) : text.index(b" kB", start)]) * KIB
    return amounts


def parse_cgroup(text: bytes) -> Cgroups:
    """Find the paths, without the leaves that libvirt makes for QEMU's threads."""
    v1 = v2 = None
    # Names of VMs are part of paths, and may hold what splitlines() takes for the end of a line.
    for line in os.fsdecode(text).removesuffix("\n").split("\n"):
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


def uuid_of(command_line: bytes) -> str | None:
    """The UUID of the VM that a process runs; None when it runs none. Source: /proc/<pid>/cmdline."""
    _, flag, rest = command_line.partition(b"\0-uuid\0")
    return os.fsdecode(rest.partition(b"\0")[0]) if flag else None
