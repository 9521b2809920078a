"""How much room there is, as it was seen or as storage pools tell."""

import pytest

from vmtop.actions.space import Room, find_room, pool_words, warn_of_pool
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.storage import PoolInfo
from vmtop.units import GIB

POOLS = (
    PoolInfo(name="all", path="/srv", available_bytes=9 * GIB),
    PoolInfo(name="inner", path="/srv/backup/", available_bytes=2 * GIB),
    PoolInfo(name="odd", path="", available_bytes=1),
)


@pytest.mark.parametrize(
    ("folder", "room"),
    [
        ("/srv", Room(9 * GIB, "all")),
        ("/srv/", Room(9 * GIB, "all")),
        ("/srv/other/deep", Room(9 * GIB, "all")),
        ("/srv/backup", Room(2 * GIB, "inner")),
        ("/srv/backup/web", Room(2 * GIB, "inner")),
        ("/srv/backups", Room(9 * GIB, "all")),
        ("/srv/../etc", Room()),
        ("/srvs", Room()),
        ("/", Room()),
        ("", Room()),
    ],
)
def test_the_innermost_pool_in_which_a_folder_lies_tells_its_room(folder: str, room: Room) -> None:
    assert find_room(folder, None, POOLS) == room
    assert find_room(folder, 5, POOLS) == Room(5), "who has looked needs no pool"


def test_a_pool_with_too_little_room_is_warned_of_and_one_with_enough_is_not() -> None:
    assert warn_of_pool(Room(GIB, "all"), GIB, DEFAULT_POLICY) == [
        "storage pool all last told of 1.0G free there, and up to 1.3G are needed"
    ]
    for room, write_bytes in ((Room(9 * GIB, "all"), GIB), (Room(GIB, "all"), None), (Room(GIB), GIB), (Room(), GIB)):
        assert warn_of_pool(room, write_bytes, DEFAULT_POLICY) == []


def test_what_a_pool_tells_is_said_with_what_it_does_not_tell() -> None:
    assert pool_words(9 * GIB, "all") == (
        "at most 9.0G if it is on the file system of storage pool all, as of its last refresh"
    )
