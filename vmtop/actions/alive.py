"""Which actions go on, although nothing but their begin is written: the vmtop that began them still lives."""

import os
from collections.abc import Iterable
from pathlib import Path

from vmtop.actions.audit import AuditRecord, Phase

_START_FIELD = 19
"""Place of `starttime` in /proc/PID/stat behind the name of the program, which may hold blanks and brackets."""


def read_running(records: Iterable[AuditRecord], proc: Path = Path("/proc")) -> frozenset[str]:
    """Ids of actions without an end whose process is alive on this machine.

    A process counts when it is a vmtop of the same user that began before the line was written: numbers of processes
    are used again. Source: /proc/PID/stat, /proc/PID/cmdline; `ps -o lstart,cmd -p PID` shows both.
    """
    open_ones: dict[str, AuditRecord] = {}
    for record in records:
        if record.phase is Phase.STARTED:
            open_ones[record.id] = record
        else:
            open_ones.pop(record.id, None)
    return frozenset(each for each, record in open_ones.items() if _is_alive(record, proc))


def _is_alive(record: AuditRecord, proc: Path) -> bool:
    if record.who is None:
        return False
    folder = proc / str(record.who.pid)
    try:
        stat = (folder / "stat").read_text(errors="replace")
        is_vmtop = b"vmtop" in (folder / "cmdline").read_bytes()
        is_same_user = folder.stat().st_uid == record.who.uid
        boot_s = _boot_time_s(proc)
    except OSError:
        # There is no such process any more, or nobody tells us about it.
        return False
    began_s = boot_s + int(stat.rpartition(")")[2].split()[_START_FIELD]) / os.sysconf("SC_CLK_TCK")
    return is_vmtop and is_same_user and began_s <= record.time_s + 1  # the kernel counts hundredths, and whole seconds


def _boot_time_s(proc: Path) -> float:
    """When this machine started, on the wall clock. Source: btime in /proc/stat."""
    lines = (proc / "stat").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("btime ")).split()[1])
