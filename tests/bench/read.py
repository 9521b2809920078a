"""Reading 60 real guests against one bare bulk call, and the CPU of vmtop and libvirtd together."""

import sys
import time
from collections.abc import Callable, Iterator
from statistics import median

import psutil

from tests.hypervisor.lab import HostLab, host_lab
from tests.terminal_rig import TerminalRig
from vmtop.backends.clock import SystemClock
from vmtop.backends.libvirt_read import LibvirtBackend
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.pipeline import Pipeline

GUESTS = 60
ROUNDS = 60
WATCH_S = 30.0


def measure() -> Iterator[str]:
    """Start the guests, read them both ways in turns, then run the program."""
    with host_lab() as lab, lab.paused_fleet(GUESTS):
        yield from _compare_reading(lab)
        yield from _watch_program(lab)


def _compare_reading(lab: HostLab) -> Iterator[str]:
    import libvirt

    connection = lab.connect()
    stats = libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_BALLOON
    flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    backend = LibvirtBackend(lab.uri)
    pipeline = Pipeline(backend, DEFAULT_POLICY, SystemClock())
    calls: dict[str, Callable[[], object]] = {
        "bare bulk call": lambda: connection.getAllDomainStats(stats, flags),
        "read_sample": backend.read_sample,
        "read and derive": lambda: pipeline.tick(1.0),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(ROUNDS + 3):
        for name, call in calls.items():
            began_s = time.perf_counter()
            call()
            if turn >= 3:
                times[name].append(time.perf_counter() - began_s)
    backend.close()
    bare = median(times["bare bulk call"])
    for name, values in times.items():
        yield f"{name:16} {median(values) * 1000:6.2f} ms ({median(values) / bare:.2f} x)"
    yield f"to reach: at most 1.25 x the bare call: {median(times['read and derive']) / bare:.2f} x"


def _watch_program(lab: HostLab) -> Iterator[str]:
    command = [sys.executable, "-m", "vmtop", "-c", lab.uri, "-d", "1"]
    with TerminalRig(command, columns=200, rows=50) as rig:
        rig.wait_for_text(f"/{GUESTS}")
        pid = lab.daemon.pid
        assert pid is not None
        processes = {"vmtop": psutil.Process(rig.pid), "libvirtd": psutil.Process(pid)}
        rig.wait_for(_after(5.0))
        before = {name: _cpu_s(process) for name, process in processes.items()}
        received, began_s = len(rig.received), time.monotonic()
        rig.wait_for(_after(WATCH_S), seconds=2 * WATCH_S)
        lasted_s = time.monotonic() - began_s
        used = {name: (_cpu_s(process) - before[name]) * 1000 / lasted_s for name, process in processes.items()}
        sent = (len(rig.received) - received) / lasted_s / 1024
    for name, ms in used.items():
        yield f"{name:16} {ms:6.1f} ms CPU a second"
    yield f"terminal 200x50  {sent:6.1f} KiB a second"
    yield f"to reach: below 45 ms together: {sum(used.values()):.1f} ms"


def _after(seconds: float) -> Callable[[], bool]:
    end_s = time.monotonic() + seconds
    return lambda: time.monotonic() >= end_s


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
