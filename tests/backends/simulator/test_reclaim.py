import pytest

from tests.backends.simulator.worlds import make_host_plan, make_plan, make_world, run
from vmtop.backends.simulator.guest import watermarks
from vmtop.backends.simulator.plan import PAGES_PER_GIB, PAGES_PER_MIB, Kind
from vmtop.backends.simulator.reclaim import DIRECT_SWAP_OUT, GROWTH

GIB = PAGES_PER_GIB
MIB = PAGES_PER_MIB


def test_watermarks_of_four_gib_are_those_of_the_kernel() -> None:
    assert [mark / MIB for mark in watermarks(4 * GIB)] == pytest.approx([8, 12.1, 16.2], abs=0.1)


def test_a_healthy_guest_fills_its_memory_with_page_cache() -> None:
    world = make_world(make_plan(file_set=4 * GIB, read_pages_per_s=30.0 * MIB))
    guest = world.guests[0]
    guest.demand.restart(0, 1.0)
    run(world, 120)
    assert guest.free < 2 * guest.high
    assert guest.cache > 1.5 * GIB
    assert guest.swapped == 0


def test_programs_take_memory_from_the_cache_first_and_swap_after_that() -> None:
    world = make_world(make_plan(kind=Kind.DB, utilisation=0.85, file_set=4 * GIB))
    guest = world.guests[0]
    guest.anon -= GIB
    guest.cache += GIB
    run(world, 10)
    assert guest.anon + guest.swapped == guest.demand.pages_at(world.tick)
    assert guest.swapped < 0.1 * GIB


def test_programs_grow_no_faster_than_memory_can_be_filled() -> None:
    world = make_world(make_plan(kind=Kind.DB, utilisation=0.9))
    guest = world.guests[0]
    dropped = guest.anon
    guest.anon, guest.free = 0, guest.free + guest.anon
    run(world, 2)
    assert guest.anon == 2 * GROWTH < dropped


def test_demand_beyond_memory_is_swapped_at_the_speed_of_the_disk() -> None:
    world = make_world(make_plan(kind=Kind.DB, utilisation=1.3, swap_capacity=2 * GIB))
    guest = world.guests[0]
    run(world, 5)
    assert guest.swapped == pytest.approx(1.4 * GIB, rel=0.2)
    assert guest.swap_out - guest.swapped < 5 * DIRECT_SWAP_OUT
    assert guest.free >= guest.least


def test_without_swap_the_biggest_program_is_killed_and_comes_back() -> None:
    world = make_world(make_plan(kind=Kind.DB, utilisation=1.1, swap_capacity=0))
    guest = world.guests[0]
    run(world, 2)
    assert guest.oom_kills == 1
    after_kill = guest.anon
    assert after_kill < 0.3 * guest.plan.maximum
    run(world, 75)
    assert guest.anon > 2 * after_kill


def test_freeing_swapped_memory_is_no_swap_in() -> None:
    world = make_world(make_plan(utilisation=0.5, hot_share=0.0))
    guest = world.guests[0]
    guest.target = int(1.5 * GIB)
    run(world, 60)
    swapped, swap_in = guest.swapped, guest.swap_in
    assert swapped > 0.2 * GIB
    guest.demand.restart(world.tick + 5, 0.1)
    run(world, 1)
    assert guest.swapped < swapped / 2
    assert guest.swap_in - swap_in < 10 * MIB


def test_a_host_that_runs_short_drops_its_cache_before_it_swaps_out_guests() -> None:
    plans = [make_plan(uid, utilisation=0.3, touched_share=1.0) for uid in range(1, 5)]
    world = make_world(*plans, host=make_host_plan(total=20 * GIB))
    cache = world.host.cache
    world.host.cache += world.host.free - world.host.least
    world.host.free = world.host.least
    run(world, 1)
    assert world.host.free >= world.host.high
    assert world.host.cache > cache
    assert world.host.swap_out == 0
    world.host.system += world.host.free + world.host.cache - world.host.cache_floor
    world.host.free, world.host.cache = 0, world.host.cache_floor
    run(world, 2)
    assert world.host.swap_out >= world.host.high - world.host.least


def test_the_host_swaps_out_unused_memory_and_spares_what_guests_touch() -> None:
    idle = make_plan(1, kind=Kind.DB, utilisation=0.1, touched_share=1.0, hot_share=0.1)
    busy = make_plan(2, kind=Kind.DB, utilisation=0.9, hot_share=1.0, file_set=0, file_hot=0)
    world = make_world(idle, busy)
    world.host.system += world.host.free + world.host.cache - world.host.cache_floor
    world.host.free, world.host.cache = 0, world.host.cache_floor
    run(world, 1)
    swapped_idle, swapped_busy = (guest.host_swapped for guest in world.guests)
    assert swapped_idle > 10 * swapped_busy


def test_hot_memory_that_was_swapped_out_comes_back_and_the_guest_waits_for_it() -> None:
    world = make_world(make_plan(kind=Kind.DB, utilisation=0.8, hot_share=1.0))
    guest, host = world.guests[0], world.host
    taken = GIB
    guest.host_swapped += taken
    host.swap_used += taken
    host.free += taken
    run(world, 1)
    assert guest.host_faults > 0
    assert guest.progress < 1.0
    assert guest.pressure.some_us > 0
    run(world, 30)
    assert guest.host_swapped < 1.1 * guest.cold
    assert host.swap_in == taken - guest.host_swapped


def test_growth_that_the_host_cannot_back_is_rolled_back_in_full() -> None:
    plans = [make_plan(uid, kind=Kind.DB, utilisation=0.8, swap_capacity=GIB) for uid in (1, 2)]
    world = make_world(*plans, host=make_host_plan(total=16 * GIB, swap_capacity=0))
    host = world.host
    for guest in world.guests:
        given = guest.anon // 2
        guest.anon -= given
        guest.free += given
        guest.backed -= given
        guest.swapped += given // 4
        guest.swap_out += given // 4
    host.system = host.total - host.slab - host.cache_floor - host.overheads - host.least
    host.system -= sum(guest.resident for guest in world.guests)
    host.free, host.cache = host.least, host.cache_floor
    before = [(guest.anon + guest.swapped, guest.used, guest.swap_in) for guest in world.guests]
    run(world, 1)
    assert [(guest.anon + guest.swapped, guest.used, guest.swap_in) for guest in world.guests] == before
    assert all(guest.progress == pytest.approx(0.5, abs=0.1) for guest in world.guests)
    assert host.free == host.least
