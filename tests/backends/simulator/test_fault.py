from collections.abc import Callable

import pytest

from tests.backends.simulator.worlds import make_plan, make_world, run
from vmtop.backends.simulator.backup import start_backup
from vmtop.backends.simulator.fault import GUEST_FAULTS, HOST_FAULTS, Event, FaultScript, Hazard
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.plan import NEVER
from vmtop.backends.simulator.world import World

SHOWS: dict[str, Callable[[Guest], bool]] = {
    "driver-hung": lambda guest: guest.driver_from == NEVER,
    "stats-stale": lambda guest: guest.next_report == NEVER and guest.driver_from != NEVER,
    "qemu-hung": lambda guest: guest.is_frozen and guest.hung_since != NEVER,
    "paused": lambda guest: guest.is_frozen and guest.pause_reason == "user",
    "vanish": lambda guest: not guest.is_defined and not guest.is_running,
}
"""How each fault that lasts is seen on its guest."""


def faulty_world(*events: Event, guests: int = 1) -> World:
    return make_world(*(make_plan(uid) for uid in range(1, guests + 1)), directors=(FaultScript(events),))


@pytest.mark.parametrize("fault", SHOWS)
def test_a_fault_begins_and_ends_at_its_time_and_the_guest_is_well_again(fault: str) -> None:
    world = run(faulty_world(Event(fault=fault, at_s=20, lasts_s=10)), 19)
    guest = world.guests[0]
    assert not SHOWS[fault](guest)
    run(world, 1)
    assert SHOWS[fault](guest)
    assert any(GUEST_FAULTS[fault].sentence in notice for notice in world.notices())
    run(world, 9)
    assert SHOWS[fault](guest)
    run(world, 40)
    assert not SHOWS[fault](guest)
    assert guest.is_running
    assert not guest.is_frozen
    assert guest.report is not None
    assert guest.report.last_update_s >= world.epoch_s + world.tick - 6
    assert world.notices() == ()


def test_every_fault_is_either_shown_here_or_passes_by_itself() -> None:
    assert {name for name, fault in GUEST_FAULTS.items() if fault.end is not None} == SHOWS.keys()


@pytest.mark.parametrize(("fault", "restart_s"), [("reboot", 1), ("crash", 60)])
def test_a_guest_that_is_started_anew_has_new_counters(fault: str, restart_s: int) -> None:
    world = run(faulty_world(Event(fault=fault, at_s=20)), 19)
    guest = world.guests[0]
    guest.swap_in, run_before = 1000, guest.domain_id
    run(world, 2)
    assert (fault == "crash") == guest.is_crashed
    run(world, restart_s + 1)
    assert guest.is_running
    assert guest.domain_id != run_before
    assert guest.swap_in == 0
    assert guest.report is None
    run(world, 60)
    assert guest.report is not None


def test_a_fault_ends_with_the_run_that_it_befell() -> None:
    world = run(faulty_world(Event(fault="paused", at_s=5, lasts_s=20), Event(fault="reboot", at_s=10)), 6)
    guest = world.guests[0]
    world.stop(guest)
    world.start(guest)
    run(world, 5)
    guest.pause("I/O error")
    run(world, 30)
    assert guest.pause_reason == "I/O error"


def test_a_backup_target_that_fills_up_ends_a_running_backup() -> None:
    world = run(faulty_world(Event(fault="backup-full", at_s=5), guests=2), 1)
    backed_up = world.guests[1]
    backed_up.bitmap_from = None
    start_backup(backed_up, world.host, world.active, world.tick)
    run(world, 5)
    assert backed_up.job is None
    assert backed_up.bitmap_from is None


def test_a_fault_without_a_guest_for_it_does_not_happen() -> None:
    world = run(faulty_world(Event(fault="backup-full", at_s=5)), 10)
    assert world.notices() == ()


def test_the_connection_breaks_again_and_again() -> None:
    world = faulty_world(Event(fault="disconnect", at_s=10, lasts_s=3, every_s=20))
    reachable = []
    for _ in range(45):
        run(world, 1)
        reachable.append(world.is_reachable)
    broken = [tick for tick, is_reachable in enumerate(reachable, start=1) if not is_reachable]
    assert broken == [10, 11, 12, 30, 31, 32]


def test_a_slow_swap_device_is_slow_until_it_is_mended() -> None:
    world = faulty_world(Event(fault="slow-swap", at_s=2, lasts_s=5))
    bandwidth = world.host.swap_bandwidth
    assert run(world, 2).host.swap_bandwidth == bandwidth // 20
    assert run(world, 5).host.swap_bandwidth == bandwidth


def test_an_update_reaches_every_second_guest() -> None:
    world = run(faulty_world(Event(fault="update", at_s=2), guests=4), 40)
    assert [guest.patch_level for guest in world.guests] == [1, 0, 1, 0]
    assert HOST_FAULTS["update"].sentence in world.notices()


def test_hazards_strike_as_often_as_they_say() -> None:
    script = FaultScript(hazards=[Hazard(fault="paused", per_vm_hour=6, lasts_s=1)])
    world = make_world(*(make_plan(uid) for uid in range(1, 11)), directors=(script,))
    paused = 0
    for _ in range(3600):
        run(world, 1)
        paused += any(guest.is_frozen for guest in world.guests)
    assert paused == pytest.approx(60, abs=20)
