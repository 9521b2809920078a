import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.simulator.worlds import make_plan, make_world, run
from vmtop.backends.simulator.disk import GRANULE_PAGES, HOT_SHARE, WRITE_BYTES, Disk
from vmtop.backends.simulator.plan import NEVER, PAGES_PER_MIB
from vmtop.units import GIB, MIB, PAGE_BYTES

CHUNK = 4 * PAGES_PER_MIB


def make_disk(gib: int = 16, mib_per_s: float = 2.0) -> Disk:
    return Disk(make_plan(disk_bytes=gib * GIB, write_bytes_per_s=mib_per_s * MIB))


def test_a_disk_is_larger_than_what_is_allocated_and_of_a_round_size() -> None:
    assert make_disk(gib=16).capacity * PAGE_BYTES == 30 * GIB
    assert make_disk(gib=16).allocated * PAGE_BYTES == 16 * GIB


def test_what_is_written_grows_with_time_and_stands_still_while_the_guest_does() -> None:
    disk = make_disk(mib_per_s=2.0)
    assert disk.written(10) - disk.written(0) == 20 * MIB
    disk.lose(5, 0.5)
    assert disk.written(10) == 19 * MIB
    disk.stop(10)
    assert disk.written(100) == 19 * MIB
    disk.go(101)
    assert disk.written(105) == 29 * MIB


def test_no_more_than_a_second_is_lost_in_a_second() -> None:
    disk = make_disk(mib_per_s=2.0)
    before = disk.written(0)
    for share in (0.5, 0.4, 0.9, 1.0):
        disk.lose(1, share)
    assert disk.written(1) == before
    disk.lose(2, 0.25)
    assert disk.written(2) == before + 1.5 * MIB


def test_a_guest_that_was_never_on_has_written_nothing() -> None:
    assert Disk(make_plan(starts_at=NEVER)).written(100) == 0


def test_a_paused_guest_writes_nothing_and_one_that_waits_writes_less() -> None:
    world = make_world(make_plan(1), make_plan(2), make_plan(3))
    paused, waiting, free = world.guests
    before = [guest.disk.written(world.tick) for guest in world.guests]
    paused.pause("user")
    for _ in range(20):
        waiting.job_stall_now = 1.0
        run(world, 1)
    written = [guest.disk.written(world.tick) - old for guest, old in zip(world.guests, before, strict=True)]
    assert written[0] == 0
    assert written[2] == pytest.approx(20 * free.plan.write_bytes_per_s, rel=0.01)
    assert written[1] == pytest.approx(
        written[2] * waiting.plan.write_bytes_per_s / free.plan.write_bytes_per_s / 2, rel=0.01
    )


def test_the_first_write_dirties_a_granule_and_rewrites_count_once() -> None:
    disk = make_disk()
    assert disk.touched(0) == (0, 0)
    assert disk.touched(1)[0] == 1
    hot, _ = disk.touched(100 * GIB)
    assert hot == disk.hot_granules() == int(HOT_SHARE * 16 * GIB / (64 * 1024))
    one, two = disk.touched(8 * MIB)[0], disk.touched(16 * MIB)[0]
    assert one < two < 2 * one


@given(bytes_written=st.lists(st.integers(0, 10**12), min_size=2, max_size=2), granule=st.sampled_from((16, 1024)))
def test_more_writes_never_leave_less_dirty_and_never_more_than_was_written(
    bytes_written: list[int], granule: int
) -> None:
    disk = make_disk(gib=8)
    few, many = (disk.touched(written, granule) for written in sorted(bytes_written))
    assert few[0] <= many[0] <= disk.hot_granules(granule)
    assert few[1] <= many[1]
    assert sum(few) <= math.ceil(min(bytes_written) / WRITE_BYTES) + 1


@given(
    times=st.lists(st.integers(0, 10**6), min_size=3, max_size=3),
    granule=st.sampled_from((GRANULE_PAGES, CHUNK)),
    mib_per_s=st.floats(0.01, 10),
)
def test_an_older_mark_holds_all_that_a_newer_one_holds(times: list[int], granule: int, mib_per_s: float) -> None:
    disk = make_disk(gib=8, mib_per_s=mib_per_s)
    first, second, now = sorted(times)
    older, newer = disk.mark(first), disk.mark(second)
    assert disk.dirty_since(newer, now, granule) <= disk.dirty_since(older, now, granule) <= disk.allocated
    assert disk.dirty_since(older, second, granule) <= disk.dirty_since(older, now, granule)


def test_larger_granules_leave_more_dirty() -> None:
    disk = make_disk()
    mark = disk.mark(0)
    assert disk.dirty_since(mark, 60) < disk.dirty_since(mark, 60, CHUNK)
    assert disk.dirty_since(mark, 60, CHUNK) % CHUNK == 0


@pytest.mark.parametrize(
    ("gib", "mib_per_s", "least", "most"), [(24, 0.5, 0.07, 0.2), (64, 7, 0.2, 0.5), (10, 0.05, 0.05, 0.1)]
)
def test_a_day_leaves_as_much_dirty_as_such_guests_do(gib: int, mib_per_s: float, least: float, most: float) -> None:
    disk = make_disk(gib, mib_per_s)
    assert least < disk.dirty_since(disk.mark(0), 86_400) / disk.allocated < most


def test_a_killed_process_leaves_no_bitmap_to_trust_and_an_orderly_end_does() -> None:
    world = make_world(make_plan())
    guest = world.guests[0]
    guest.disk.checkpoints["one"] = guest.disk.mark(world.tick, "one")
    world.stop(guest)
    assert "one" in guest.disk.checkpoints
    world.start(guest)
    run(world, 2)
    world.crash(guest)
    assert not guest.disk.checkpoints


def test_marks_of_a_guest_that_stands_still_are_alike() -> None:
    disk = make_disk(mib_per_s=2.0)
    first = disk.mark(10)
    for tick in range(10, 13):
        disk.lose(tick, 1.0)
    disk.lose(13, 0.5)
    assert disk.mark(13).written == first.written
    assert disk.mark(14).written == first.written + MIB
