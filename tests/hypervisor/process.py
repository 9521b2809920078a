"""Signals to daemon and QEMU, and the certainty that they have arrived."""

import psutil

from tests.hypervisor.waiting import wait_until


def is_alive(pid: int) -> bool:
    """Tell whether the process is there, be it stopped, and is no zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def hang(pid: int) -> None:
    """Stop a process with SIGSTOP."""
    process = psutil.Process(pid)
    process.suspend()
    wait_until(lambda: process.status() == psutil.STATUS_STOPPED, f"process {pid} to stop")


def wake(pid: int) -> None:
    """Let a process go on with SIGCONT; no matter if it was not stopped."""
    process = psutil.Process(pid)
    process.resume()
    wait_until(lambda: process.status() != psutil.STATUS_STOPPED, f"process {pid} to go on")
