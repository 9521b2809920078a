import pytest

from tests.backends.simulator.worlds import make_host_plan, make_plan, make_world, run
from vmtop.backends.simulator.balloon import DEFLATION, INFLATION
from vmtop.backends.simulator.plan import PAGES_PER_GIB, PAGES_PER_MIB, Kind

GIB = PAGES_PER_GIB


def test_the_balloon_reaches_its_target_and_the_host_wins_what_was_backed() -> None:
    world = make_world(make_plan(touched_share=1.0))
    guest = world.guests[0]
    run(world, 3)
    free, backed = world.host.free, guest.backed
    guest.target = 3 * GIB
    run(world, 10)
    assert guest.current == 3 * GIB
    assert world.host.free - free == pytest.approx(backed - guest.backed, abs=100)
    assert backed - guest.backed > 0.9 * GIB


def test_memory_that_was_never_touched_gives_the_host_nothing() -> None:
    world = make_world(make_plan(kind=Kind.DB, touched_share=0.0, file_set=0, file_hot=0))
    guest = world.guests[0]
    run(world, 3)
    free = world.host.free
    guest.target = 3 * GIB
    run(world, 10)
    assert guest.current == 3 * GIB
    assert world.host.free == pytest.approx(free, abs=100)


def test_inflating_and_deflating_take_their_time() -> None:
    world = make_world(make_plan(utilisation=0.1, file_set=0, file_hot=0))
    guest = world.guests[0]
    guest.target = 2 * GIB
    run(world, 2)
    assert guest.plan.maximum - guest.current == 2 * INFLATION
    run(world, 10)
    assert guest.current == 2 * GIB
    guest.target = 4 * GIB
    run(world, 1)
    assert guest.current == 2 * GIB + DEFLATION


def test_cold_cache_goes_before_anything_is_swapped() -> None:
    world = make_world(make_plan(utilisation=0.3, file_set=2 * GIB, file_hot=GIB // 4))
    guest = world.guests[0]
    run(world, 3)
    cache = guest.cache
    guest.target = 5 * GIB // 2
    run(world, 30)
    assert guest.current == guest.target
    assert guest.cache < cache
    assert guest.swapped == 0


def test_a_balloon_that_wants_too_much_waits_and_kills_nothing_by_itself() -> None:
    world = make_world(make_plan(utilisation=0.5, kind=Kind.DB, swap_capacity=0))
    guest = world.guests[0]
    guest.target = GIB
    run(world, 60)
    assert guest.current > 2 * GIB
    assert guest.oom_kills == 0


def test_squeezing_a_guest_that_has_swap_makes_it_swap_all_the_time() -> None:
    world = make_world(make_plan(utilisation=0.5, hot_share=0.75))
    guest = world.guests[0]
    guest.target = int(1.3 * GIB)
    run(world, 60)
    before = guest.swap_in, guest.major_faults
    run(world, 10)
    assert guest.current == guest.target
    assert guest.swap_in - before[0] > 10 * PAGES_PER_MIB
    assert guest.major_faults > before[1]
    assert guest.progress < 1.0


@pytest.mark.parametrize("change", [{"has_driver": False}, {"has_balloon": False}])
def test_without_a_driver_nothing_moves(change: dict[str, bool]) -> None:
    world = make_world(make_plan(**change))
    world.guests[0].target = 2 * GIB
    run(world, 20)
    assert world.guests[0].current == 4 * GIB


def test_libvirt_hears_of_a_new_size_a_second_late() -> None:
    world = make_world(make_plan(utilisation=0.1))
    guest = world.guests[0]
    guest.target = 3 * GIB
    run(world, 1)
    assert guest.reported_current == 4 * GIB
    before = guest.current
    run(world, 1)
    assert guest.reported_current == before


def test_with_vfio_the_balloon_moves_and_gives_nothing_back() -> None:
    world = make_world(make_plan(has_vfio=True, utilisation=0.2))
    guest = world.guests[0]
    free = run(world, 1).host.free
    guest.target = 2 * GIB
    run(world, 20)
    assert guest.current == 2 * GIB
    assert guest.backed == 4 * GIB
    assert world.host.free == free


def test_free_page_reporting_returns_memory_that_the_guest_no_longer_uses() -> None:
    plans = [make_plan(uid, has_free_page_reporting=uid == 1, utilisation=0.6) for uid in (1, 2)]
    world = run(make_world(*plans), 5)
    for guest in world.guests:
        guest.demand.restart(world.tick, 0.1)
    run(world, 20)
    reporting, keeping = world.guests
    assert reporting.backed < 0.7 * keeping.backed
    assert reporting.current == keeping.current == 4 * GIB


def test_a_guest_without_swap_and_with_autodeflate_takes_memory_back_from_its_balloon() -> None:
    plans = [make_plan(uid, swap_capacity=0, utilisation=0.3, has_autodeflate=uid == 1) for uid in (1, 2)]
    world = make_world(*plans, host=make_host_plan())
    for guest in world.guests:
        guest.demand.restart(10, 0.2)
        guest.target = GIB
    run(world, 60)
    deflating, killing = world.guests
    assert (deflating.oom_kills, killing.oom_kills > 0) == (0, True)
    assert deflating.current > GIB
