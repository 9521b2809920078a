"""Which file system something lies on, and how much of it files take."""

from collections.abc import Iterable
from pathlib import Path


def read_device(path: str) -> int | None:
    """The file system of a file or folder, as its number; `stat -c %d PATH`. None where that cannot be seen."""
    try:
        return Path(path).stat().st_dev
    except OSError:
        return None


def read_written_bytes(paths: Iterable[str]) -> int:
    """What files take on their disk by now; `du -B1 PATH`. One that is not there, or not to be seen, counts 0."""
    total_bytes = 0
    for path in paths:
        try:
            total_bytes += Path(path).lstat().st_blocks * 512
        except OSError:
            continue
    return total_bytes
