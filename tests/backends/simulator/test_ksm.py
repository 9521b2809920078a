import math

import pytest

from tests.backends.simulator.invariants import check_sharing
from tests.backends.simulator.worlds import make_host_plan, make_plan, make_world, run
from vmtop.backends.simulator.fleet import DEBIAN, WINDOWS_2022
from vmtop.backends.simulator.ksm import UNMERGED, Run, Sharing
from vmtop.backends.simulator.plan import PAGES_PER_GIB, PAGES_PER_MIB, Kind, linux
from vmtop.backends.simulator.world import World

GIB = PAGES_PER_GIB
KSM_HOST = make_host_plan(total=64 * GIB, has_ksm=True)


def guests(count: int, **changes: object) -> World:
    return make_world(*(make_plan(uid, **changes) for uid in range(1, count + 1)), host=KSM_HOST)


def test_ksmd_scans_as_fast_as_its_settings_allow() -> None:
    sharing = Sharing(16 * GIB, is_running=True)
    assert sharing.scan_rate == pytest.approx(111_000, rel=0.01)
    assert Sharing(16 * GIB, is_running=False).scan_rate == 0


def test_clones_share_their_system_and_strangers_do_not() -> None:
    clones = guests(8)
    strangers = make_world(*(make_plan(uid, family=linux(f"f{uid}")) for uid in range(1, 9)), host=KSM_HOST)
    saved_clones, saved_strangers = clones.host.sharing.saved, strangers.host.sharing.saved
    assert saved_clones - saved_strangers == pytest.approx(7 * DEBIAN.common_pages, rel=0.1)
    assert 0 < saved_strangers < 0.05 * sum(guest.resident for guest in strangers.guests)


def test_windows_fills_unused_memory_with_zeros_that_are_merged() -> None:
    changes = {"touched_share": 1.0, "utilisation": 0.2}
    linuxes, windows = guests(4, **changes), guests(4, family=WINDOWS_2022, **changes)
    assert sum(guest.ksm_zero for guest in windows.guests) > 1.3 * sum(guest.ksm_zero for guest in linuxes.guests)


def test_merging_takes_about_two_passes_and_parting_follows_when_ksmd_stops() -> None:
    world = guests(8, kind=Kind.DB)
    sharing = world.host.sharing
    settled = sharing.saved
    for guest in world.guests:
        sharing.leave(guest)
        sharing.join(guest)
    world.host.free += sharing.settle()
    assert sharing.saved == 0
    passes_s = 2 * sum(guest.resident for guest in world.guests) / sharing.scan_rate
    run(world, int(passes_s) + 10)
    assert 0.4 * settled < sharing.saved < 0.9 * settled
    run(world, 3000)
    assert sharing.saved == pytest.approx(settled, rel=0.05)
    sharing.run = Run.STOP
    run(world, 1200)
    assert 0 < sharing.saved < 0.9 * settled


@pytest.mark.parametrize("count", [2, 5, 40])
def test_parting_of_less_than_a_page_a_second_goes_on_at_its_rate(count: int) -> None:
    world = guests(count, kind=Kind.IDLE, maximum=GIB // 2, utilisation=0.2)
    before = sum(guest.ksm_self + guest.ksm_common for guest in world.guests)
    own = sum(guest.ksm_self for guest in world.guests) / before
    world.host.sharing.run = Run.STOP
    run(world, 2400)
    left = own * math.exp(-0.2 * 2400 / 1200) + (1 - own) * math.exp(-0.2 * 2400 / 7200)
    assert sum(guest.ksm_self + guest.ksm_common for guest in world.guests) == pytest.approx(left * before, rel=0.02)


def test_an_update_in_half_of_the_guests_costs_what_they_shared_until_they_find_each_other() -> None:
    world = guests(8)
    before = sum(guest.ksm_common for guest in world.guests)
    for guest in world.guests[::2]:
        guest.is_patching = True
    run(world, 200)
    assert sum(guest.ksm_common for guest in world.guests) < 0.6 * before
    run(world, 4000)
    assert [guest.patch_level for guest in world.guests] == [1, 0] * 4
    assert sum(guest.ksm_common for guest in world.guests) == pytest.approx(before, rel=0.1)
    check_sharing(world)


def test_pages_that_left_memory_are_no_longer_merged() -> None:
    world = guests(2, touched_share=1.0)
    guest, sharing = world.guests[0], world.host.sharing
    saved = sharing.saved
    guest.backed = guest.ksm_zero + guest.ksm_self + guest.ksm_common - guest.ksm_zero - 10
    sharing.trim(guest)
    assert guest.ksm_zero == 0
    assert guest.merged == guest.resident
    lost = sharing.settle()
    assert lost == sharing.saved - saved < 0
    check_sharing(world)


@pytest.mark.parametrize("change", [{"has_nosharepages": True}, {"has_hugepages": True}])
def test_guests_that_forbid_it_are_not_merged(change: dict[str, bool]) -> None:
    host = KSM_HOST._replace(hugepages=4 * GIB)
    world = run(make_world(make_plan(1, **change), make_plan(2), make_plan(3), host=host), 30)
    assert world.guests[0].merged == 0
    assert world.guests[1].merged > 0


def test_ksmtuned_runs_ksmd_only_where_memory_is_short() -> None:
    sharing = Sharing(64 * GIB, is_running=True)
    sharing.tune(64 * GIB, free=40 * GIB, committed=20 * GIB)
    assert not sharing.is_running
    pages = sharing.pages_to_scan
    sharing.tune(64 * GIB, free=5 * GIB, committed=58 * GIB)
    assert sharing.is_running
    assert sharing.pages_to_scan == min(1250, pages + 300)
    for _ in range(100):
        sharing.tune(64 * GIB, free=40 * GIB, committed=58 * GIB)
    assert sharing.is_running
    assert sharing.pages_to_scan == 64


def test_ksmtuned_that_stops_ksmd_keeps_its_speed_and_leaves_an_operator_who_unmerges_alone() -> None:
    sharing = Sharing(64 * GIB, is_running=True)
    sharing.tune(64 * GIB, free=40 * GIB, committed=20 * GIB)
    assert (sharing.run, sharing.pages_to_scan) == (Run.STOP, 1250)
    sharing.run = Run.UNMERGE
    sharing.tune(64 * GIB, free=5 * GIB, committed=58 * GIB)
    assert sharing.run is Run.UNMERGE


def test_writers_wait_when_the_host_has_no_memory_for_pages_that_part() -> None:
    world = guests(4)
    sharing = world.host.sharing
    sharing.run = Run.STOP
    for guest in world.guests:
        guest.is_patching = True
    saved = sharing.saved
    for tick in range(1, 9):
        assert sharing.scan(world.active, tick, spare=0) == 0
    assert sharing.saved == saved
    lost = sum(sharing.scan(world.active, tick, spare=100 * PAGES_PER_MIB) for tick in range(8))
    assert -400 * PAGES_PER_MIB < lost < 0
    assert sharing.saved == saved + lost


def test_ksmd_takes_the_time_of_a_core_that_its_scanning_costs() -> None:
    world = guests(4)
    sharing = world.host.sharing
    before_s = sharing.cpu_s
    run(world, 10)
    assert (sharing.cpu_s - before_s) / 10 == pytest.approx(sharing.scan_rate * 1e-6)
    sharing.run = Run.STOP
    stopped_s = sharing.cpu_s
    assert run(world, 10).host.sharing.cpu_s == stopped_s


def test_stopped_ksmd_leaves_merged_pages_merged() -> None:
    world = guests(8)
    sharing = world.host.sharing
    before = sharing.saved
    sharing.run = Run.STOP
    run(world, 30)
    assert 0.9 * before < sharing.saved < before


def test_unmerging_takes_a_gibibyte_a_second_and_needs_the_memory() -> None:
    world = guests(8, touched_share=0.5)
    sharing = world.host.sharing
    merged, saved, free = sharing.shared + sharing.sharing, sharing.saved, world.host.free
    assert merged > 2 * UNMERGED
    sharing.run = Run.UNMERGE
    run(world, 1)
    assert sharing.shared + sharing.sharing == merged - UNMERGED
    check_sharing(world)
    run(world, 5)
    assert sharing.saved == sharing.shared == sharing.unshared == sharing.volatile == 0
    assert world.host.free == pytest.approx(free - saved, abs=PAGES_PER_GIB // 4)
    assert sharing.run is Run.UNMERGE
    sharing.run = Run.MERGE
    run(world, 1)
    assert 0 < sharing.unshared < 0.1 * sharing.candidates


def test_unmerging_pushes_others_out_and_gives_up_where_nothing_is_left() -> None:
    plans = [make_plan(uid, touched_share=1.0, family=WINDOWS_2022) for uid in range(1, 9)]
    host = make_host_plan(total=29 * GIB, has_ksm=True, swap_capacity=GIB, swap_bandwidth=GIB // 4)
    world = make_world(*plans, host=host)
    sharing = world.host.sharing
    swapped, merged = world.host.swap_used, sharing.shared + sharing.sharing
    sharing.run = Run.UNMERGE
    run(world, 60)
    assert world.host.swap_used > swapped
    assert sharing.run is Run.STOP
    assert 0 < sharing.shared + sharing.sharing < merged
    assert any("unmerging gave up" in notice for notice in world.notices())
    check_sharing(world)
