"""Whether QEMU writes an image: it holds locks on some bytes of it, which the kernel tells of.

Source: QEMU block/file-posix.c (RAW_LOCK_PERM_BASE, BLK_PERM_WRITE), fcntl(2). `cat /proc/locks` prints such locks.
"""

import fcntl
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_FLOCK = struct.Struct("@hhqqi4x")
"""struct flock on 64-bit Linux: type, whence, start, length, pid."""
_WRITES = 100 + 1
"""The byte that is locked by whoever may write to the image."""


def is_written(path: Path) -> bool | None:
    """A running QEMU has this image open to write to it. None where that cannot be seen."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:  # what may not be read tells nothing
        return None
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _WRITES, 1, 0)
        return bool(_FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK)
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(descriptor)


def is_any_written(paths: Iterable[Path]) -> bool | None:
    """A running QEMU writes to one of these. None when it is seen of none, and not of all can it be seen."""
    seen = {is_written(path) for path in paths}
    return True if True in seen else None if None in seen else False
