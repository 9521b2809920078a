"""Whether QEMU writes an image: it holds locks on some bytes of it, which the kernel tells of.

Source: QEMU block/file-posix.c (RAW_LOCK_PERM_BASE, BLK_PERM_WRITE), fcntl(2). `cat /proc/locks` prints such locks.
"""

import fcntl
import os
import struct
from pathlib import Path

_FLOCK = struct.Struct("@hhqqi4x")
"""struct flock on 64-bit Linux: type, whence, start, length, pid."""
_WRITES = 100 + 1
"""The byte that is locked by whoever may write to the image."""


def is_written(path: Path) -> bool:
    """A running QEMU has this image open to write to it; False where that cannot be seen."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # what may not be read tells nothing
        return False
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _WRITES, 1, 0)
        return bool(_FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK)
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
