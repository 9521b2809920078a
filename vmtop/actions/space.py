"""How much room something needs that is to be written, and how much there is."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from vmtop.actions.size import size_text
from vmtop.model.policy import Policy
from vmtop.model.storage import PoolInfo


class Room(NamedTuple):
    """Free space in a folder."""

    free_bytes: int | None = None
    """None when nobody tells."""
    pool: str = ""
    """The storage pool that tells it; empty where it was looked at."""


def needed_bytes(write_bytes: int, policy: Policy) -> int:
    """What has to be free so that a disk does not fill up: a full one pauses VMs, not only the one that is written."""
    return write_bytes + int(policy.space_margin_ratio * write_bytes) + policy.space_margin_bytes


def find_room(folder: str, seen_bytes: int | None, pools: Sequence[PoolInfo]) -> Room:
    """Free space in a folder: as it was seen, else as the innermost storage pool tells in which it lies.

    Args:
        folder: Absolute path; empty when it is not known.
        seen_bytes: What was seen there. None when it cannot be seen from here.
        pools: Of its host.
    """
    if seen_bytes is not None:
        return Room(seen_bytes)
    path = PurePosixPath(folder)
    around = [pool for pool in pools if path.is_relative_to(pool.path)]
    if not around or not path.is_absolute() or ".." in path.parts:
        return Room()
    pool = max(around, key=lambda each: len(PurePosixPath(each.path).parts))
    return Room(pool.available_bytes, pool.name)


def pool_words(free_bytes: int, pool: str) -> str:
    """What a storage pool tells, with what it does not: libvirt looks seldom, and counts what is kept for root."""
    return f"at most {size_text(free_bytes)} if it is on the file system of storage pool {pool}, as of its last refresh"


def warn_of_pool(room: Room, write_bytes: int | None, policy: Policy) -> list[str]:
    """That a storage pool tells of too little room: no more than a warning, for it may have been refreshed long ago."""
    if not room.pool or room.free_bytes is None or write_bytes is None:
        return []
    needed = needed_bytes(write_bytes, policy)
    if room.free_bytes >= needed:
        return []
    return [
        f"storage pool {room.pool} last told of {size_text(room.free_bytes)} free there, and up to "
        f"{size_text(needed)} are needed"
    ]
