"""Waiting: what guests lose to disks and to a host without memory, and the pressure that it shows as."""

from collections.abc import Sequence

from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.host import Host
from vmtop.backends.simulator.pressure import PERIOD_S, shares

BUSY_SHARE = 0.3
"""Share of its vCPUs that a guest keeps busy on average."""


def count_stalls(host: Host, guests: Sequence[Guest], tick: int) -> None:
    """Close the books of one second: waiting, progress, pressure of each guest's cgroup and of the host.

    A guest waits stall = faults x latency / vCPUs seconds for each second that it runs, so 1 / (1 + stall) of its time
    remains. Only waiting for the host's memory counts as pressure of the host: the guest's own swap is its own affair,
    and writes that wait for a backup are no matter of memory. Whoever waits does not write to the disk either.
    """
    pool = host.pool
    swap_latency_s = pool.latency_s * host.swap_slowdown
    is_averaged = tick % PERIOD_S == 0
    delayed = 0.0
    for guest in guests:
        if guest.io_now:
            guest.io_now = guest.cache_grown_now = guest.swapped_in_now = 0
        if guest.faults_now or guest.host_faults_now or guest.unserved_now or guest.job_stall_now:
            vcpus = guest.plan.vcpus
            host_stall = guest.host_faults_now * swap_latency_s / vcpus + guest.unserved_now
            stall = host_stall + guest.faults_now * pool.latency_s / vcpus + guest.job_stall_now
            guest.progress = 1.0 / (1.0 + stall)
            if host_stall:
                busy = BUSY_SHARE * vcpus
                lost = host_stall * guest.progress * busy
                guest.pressure.add(*shares(busy, lost, host.plan.cpus))
                delayed += lost
            guest.faults_now = guest.host_faults_now = 0
            guest.unserved_now = guest.job_stall_now = 0.0
            guest.disk.lose(tick, 1.0 - guest.progress)
        else:
            guest.progress = 1.0
        if is_averaged and not guest.pressure.is_quiet:
            guest.pressure.average()
    if delayed:
        host.pressure.add(*shares(BUSY_SHARE * host.vcpus, delayed, host.plan.cpus))
    if is_averaged:
        host.pressure.average()
    pool.end_tick()
