import pytest

from tests.backends.simulator.worlds import make_host_plan, make_plan, make_world, run
from vmtop.backends.simulator.backup import BUFFER_PAGES, dirty_pages, start_backup, start_snapshot
from vmtop.backends.simulator.guest import Guest, Job
from vmtop.backends.simulator.plan import PAGES_PER_GIB, GuestPlan
from vmtop.backends.simulator.schedule import BackupWindow, Snapshots
from vmtop.backends.simulator.world import World
from vmtop.units import GIB, MIB, PAGE_BYTES


def backup_world(*plans: GuestPlan) -> World:
    world = make_world(*(plans or (make_plan(disk_bytes=2 * GIB, write_bytes_per_s=4.0 * MIB),)))
    for guest in world.guests:
        guest.bitmap_from = None
    return world


def begin(world: World, *, will_fail: bool = False) -> tuple[Guest, Job]:
    guest = world.guests[0]
    assert start_backup(guest, world.host, world.active, world.tick, will_fail=will_fail)
    assert guest.job is not None
    return guest, guest.job


def test_a_backup_goes_forward_and_leaves_a_bitmap() -> None:
    world = backup_world()
    guest, job = begin(world)
    assert job.total * PAGE_BYTES == 2 * GIB
    done = []
    while guest.job is not None:
        done.append(job.done)
        run(world, 1)
    assert done == sorted(done)
    assert len(done) == pytest.approx(2048 / 200, abs=2)
    assert job.done == job.total
    assert guest.bitmap_from == job.started_at


def test_after_a_full_backup_only_what_was_written_is_read_again() -> None:
    world = backup_world()
    guest, _ = begin(world)
    assert guest.bitmap_from is None
    run(world, 100)
    dirty = dirty_pages(guest, world.tick)
    assert 0 < dirty * PAGE_BYTES < 0.2 * 2 * GIB
    assert dirty % 16 == 0
    assert dirty_pages(guest, world.tick + 100) > dirty


def test_a_backup_that_fails_loses_no_dirty_bit() -> None:
    world = backup_world()
    begin(world)
    run(world, 100)
    guest, job = begin(world, will_fail=True)
    bitmap_from = guest.bitmap_from
    before = job.total
    run(world, 20)
    assert guest.job is None
    assert guest.bitmap_from == bitmap_from
    assert dirty_pages(guest, world.tick) >= before
    assert any("web-01 failed" in notice for notice in world.notices())


def test_a_backup_takes_buffers_and_page_cache_and_slows_the_disks_down() -> None:
    world = backup_world(*(make_plan(uid, disk_bytes=20 * GIB) for uid in range(1, 5)))
    host = run(world, 1).host
    idle_latency_s, cache, free = host.pool.latency_s, host.cache, host.free
    for guest in world.guests:
        start_backup(guest, host, world.active, world.tick)
    assert host.free == free - 4 * BUFFER_PAGES
    run(world, 10)
    assert host.cache - cache > PAGES_PER_GIB
    assert 2 * idle_latency_s < host.pool.latency_s < 5 * idle_latency_s
    assert host.backup_buffers == 4 * BUFFER_PAGES
    world.stop(world.guests[0])
    assert host.backup_buffers == 3 * BUFFER_PAGES


def test_no_backup_begins_where_the_host_has_no_memory_for_it() -> None:
    world = make_world(make_plan(), host=make_host_plan(swap_capacity=0))
    world.host.system += world.host.free + world.host.cache - world.host.cache_floor
    world.host.free, world.host.cache = 0, world.host.cache_floor
    assert not start_backup(world.guests[0], world.host, world.active, world.tick)
    assert world.guests[0].job is None


def test_a_guest_stands_still_while_its_memory_is_saved() -> None:
    world = make_world(make_plan())
    guest = run(world, 10).guests[0]
    start_snapshot(guest, world.tick)
    report, used = guest.report, guest.used
    run(world, 5)
    assert guest.is_frozen
    assert guest.pause_reason == "creating snapshot"
    assert (guest.report, guest.used) == (report, used)
    run(world, 20)
    assert not guest.is_frozen
    assert guest.job is None
    assert guest.report is not report


def test_a_hung_guest_holds_its_backup_up() -> None:
    world = backup_world()
    guest, job = begin(world)
    run(world, 3)
    guest.hang(world.tick)
    done = job.done
    run(world, 10)
    assert job.done == done > 0
    guest.recover()
    run(world, 20)
    assert guest.job is None


def test_a_window_backs_up_so_many_at_once_and_each_guest_once() -> None:
    world = make_world(
        *(make_plan(uid, disk_bytes=4 * GIB) for uid in range(1, 6)),
        directors=(BackupWindow(parallel=2, starts_at=10, again_after_s=100_000),),
    )
    for guest in world.guests:
        guest.bitmap_from = None
    run(world, 9)
    assert not any(guest.job for guest in world.guests)
    most = 0
    for _ in range(200):
        run(world, 1)
        most = max(most, sum(guest.job is not None for guest in world.guests))
    assert most == 2
    assert all(guest.bitmap_from is not None and guest.bitmap_from >= 10 for guest in world.guests)


def test_snapshots_come_at_their_times() -> None:
    world = make_world(make_plan(1), make_plan(2), directors=(Snapshots(every_s=20, count=2),))
    stunned = 0
    for _ in range(100):
        run(world, 1)
        stunned += any(guest.job is not None and guest.job.started_at == world.tick for guest in world.guests)
    assert stunned == 2
