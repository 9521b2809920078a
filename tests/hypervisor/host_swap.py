"""Swap of the host for a test, and a way to push a QEMU into it."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.hypervisor.guest_image import cache_folder, locked

MADV_PAGEOUT: Final = 21
"""Have the kernel write a range to swap now. Source: madvise(2)."""
PROCESS_MADVISE: Final = 440
"""Number of the system call on all architectures. Source: process_madvise(2)."""


def missing_for_swap() -> str | None:
    """Say why this process cannot give the host swap, or None if it can."""
    if os.geteuid() != 0:
        return "only root may call swapon"
    if shutil.which("mkswap") is None:
        return "needs mkswap: apt-get install util-linux"
    return None


@contextmanager
def host_swap(mib: int) -> Iterator[None]:
    """Let the host swap to a file; waits while another test run of this user does."""
    # A link to the file would outlive a killed test run, so there is none while it is in use.
    with locked("swap"), tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        path = Path(folder) / "swap"
        path.touch(mode=0o600)
        with path.open("wb") as file:
            file.write(bytes(mib * 2**20))
        subprocess.run(["mkswap", str(path)], check=True, capture_output=True)
        subprocess.run(["swapon", str(path)], check=True, capture_output=True)
        try:
            yield
        finally:
            subprocess.run(["swapoff", str(path)], check=True, capture_output=True)


def page_out(pid: int) -> None:
    """Have the kernel write the memory of a process to swap, largest mapping first.

    Raises:
        OSError: the kernel refuses.
    """

    class Range(ctypes.Structure):
        _fields_ = (("start", ctypes.c_void_p), ("length", ctypes.c_size_t))

    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    process = os.pidfd_open(pid)
    try:
        for start, end in _anonymous_mappings(pid)[:1]:
            part = Range(start, end - start)
            done = libc.syscall(PROCESS_MADVISE, process, ctypes.byref(part), ctypes.c_size_t(1), MADV_PAGEOUT, 0)
            if done < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(process)


def _anonymous_mappings(pid: int) -> list[tuple[int, int]]:
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        addresses, rights, _, _, inode, *_ = line.split()
        start, end = (int(part, 16) for part in addresses.split("-"))
        if inode == "0" and rights.startswith("rw"):
            found.append((start, end))
    return sorted(found, key=lambda each: each[0] - each[1])
