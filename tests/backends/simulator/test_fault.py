from collections.abc import Callable, Mapping

import pytest

from tests.backends.simulator.invariants import check_host
from tests.backends.simulator.worlds import EPOCH_S, make_host_plan, make_plan, make_world, run
from vmtop.backends.simulator.backup import BackupSpec, start_backup
from vmtop.backends.simulator.copy import BlockCopy
from vmtop.backends.simulator.fault import GUEST_FAULTS, HOST_FAULTS, GuestFault, HostFault
from vmtop.backends.simulator.foreign import ProxmoxBalancer
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.inject import Injector
from vmtop.backends.simulator.job import DONE
from vmtop.backends.simulator.ksm import Run
from vmtop.backends.simulator.plan import NEVER, PAGES_PER_GIB, PAGES_PER_MIB
from vmtop.backends.simulator.publish import Publisher
from vmtop.backends.simulator.script import Event, FaultScript, Hazard
from vmtop.backends.simulator.snapshot import begin_snapshot, snapshots_of
from vmtop.backends.simulator.world import World
from vmtop.errors import ControlError
from vmtop.model.kind import SnapshotKind
from vmtop.model.sample import Answer, JobKind, Sample, VmState
from vmtop.model.storage import SnapshotRequest

SHOWS: dict[str, Callable[[Guest], bool]] = {
    "driver-hung": lambda guest: guest.driver_from == NEVER,
    "no-driver": lambda guest: guest.driver_from == NEVER,
    "stats-stale": lambda guest: guest.next_report == NEVER and guest.driver_from != NEVER,
    "stats-partial": lambda guest: guest.flaws.hides_usable,
    "stats-ahead": lambda guest: guest.flaws.clock_ahead_s == 3600,
    "guest-hung": lambda guest: guest.is_frozen and guest.flaws.has_hung_kernel,
    "qemu-hung": lambda guest: guest.is_frozen and guest.hung_since != NEVER,
    "paused": lambda guest: guest.is_frozen and guest.pause_reason == "user",
    "balloon-error": lambda guest: guest.flaws.refuses_balloon,
    "agent-hung": lambda guest: guest.flaws.has_hung_agent,
    "snapshot-error": lambda guest: guest.flaws.refuses_snapshots,
    "vanish": lambda guest: not guest.is_defined and not guest.is_running,
    "disk-copy": lambda guest: isinstance(guest.job, BlockCopy),
}
"""How each fault of guests that lasts is seen on its guest."""
HOST_SHOWS: dict[str, Callable[[World], bool]] = {
    "disconnect": lambda world: not world.is_reachable,
    "clock-jump": lambda world: world.clock_ahead_s == 3600,
    "slow-swap": lambda world: world.host.swap_slowdown == 20,
    "store-gone": lambda world: not world.store.is_reachable,
    "ksm-unmerge": lambda world: world.host.sharing.run is Run.UNMERGE,
    "foreign-balancer": lambda world: any(isinstance(director, ProxmoxBalancer) for director in world.directors),
}
"""How each fault of the host that lasts is seen on it."""


def faulty_world(*events: Event, guests: int = 1) -> World:
    return make_world(*(make_plan(uid) for uid in range(1, guests + 1)), directors=(FaultScript(events),))


def show(world: World) -> Sample:
    publisher = Publisher(world, "simulator:///test")
    return publisher.read(time_s=float(EPOCH_S + world.tick), monotonic_s=float(world.tick), read_s=0.0, passed=1.0)


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
    assert world.epoch_s + world.tick - 6 <= guest.report.last_update_s < world.epoch_s + world.tick
    assert guest.report.usable_bytes is not None
    assert world.notices() == ()


@pytest.mark.parametrize("fault", HOST_SHOWS)
def test_a_fault_of_the_host_begins_and_ends_at_its_time(fault: str) -> None:
    world = make_world(
        *(make_plan(uid) for uid in range(1, 4)),
        host=make_host_plan(has_ksm=True),
        directors=(FaultScript([Event(fault=fault, at_s=20, lasts_s=10)]),),
    )
    seen = []
    for _ in range(32):
        run(world, 1)
        seen.append(HOST_SHOWS[fault](world))
        assert (HOST_FAULTS[fault].sentence in world.notices()) == seen[-1]
    assert seen == [*19 * (False,), *10 * (True,), *3 * (False,)]


@pytest.mark.parametrize(("faults", "shown"), [(GUEST_FAULTS, SHOWS), (HOST_FAULTS, HOST_SHOWS)])
def test_every_fault_is_either_shown_here_or_passes_by_itself(
    faults: Mapping[str, GuestFault | HostFault], shown: Mapping[str, object]
) -> None:
    assert {name for name, fault in faults.items() if fault.end is not None} == shown.keys()
    assert {name for name, fault in faults.items() if fault.lasts_s > 0} == shown.keys()


def test_a_fault_lasts_as_long_as_the_table_says_unless_told_otherwise() -> None:
    world = run(faulty_world(Event(fault="paused", at_s=1)), 60)
    assert world.guests[0].is_frozen
    assert not run(world, 1).guests[0].is_frozen


def test_a_rebooted_guest_has_new_counters_in_the_same_process() -> None:
    world = run(faulty_world(Event(fault="reboot", at_s=20)), 19)
    guest = world.guests[0]
    guest.swap_in, guest.major_faults, guest.host_faults = 1000, 50_000, 7
    guest.target = guest.plan.maximum // 2
    backed, process = guest.backed, (guest.domain_id, guest.started_at, guest.host_faults)
    told = guest.report
    run(world, 1)
    assert (guest.swap_in, guest.booted_at) == (0, 20)
    assert guest.major_faults < 5000
    assert (guest.domain_id, guest.started_at, guest.host_faults) == process
    assert guest.backed >= backed
    assert guest.current == guest.plan.maximum
    run(world, 18)
    assert guest.report is not None
    assert guest.report == told
    run(world, 30)
    assert guest.report.last_update_s > world.epoch_s + 40
    assert guest.current < guest.plan.maximum


def test_a_driver_that_is_unloaded_gives_all_of_its_memory_back_to_the_guest() -> None:
    world = make_world(
        make_plan(target=3 * PAGES_PER_GIB), directors=(FaultScript([Event(fault="no-driver", at_s=5, lasts_s=20)]),)
    )
    guest = run(world, 4).guests[0]
    assert guest.current == 3 * PAGES_PER_GIB
    run(world, 1)
    assert guest.current == guest.plan.maximum
    run(world, 30)
    assert guest.current == 3 * PAGES_PER_GIB


def test_a_hung_kernel_changes_nothing_while_qemu_answers() -> None:
    world = run(faulty_world(Event(fault="guest-hung", at_s=20, lasts_s=30)), 20)
    guest = world.guests[0]
    held, report = (guest.anon, guest.cache, guest.free), guest.report
    guest.target = guest.plan.maximum // 2
    run(world, 29)
    assert (guest.anon, guest.cache, guest.free) == held
    assert guest.report == report
    (vm,) = show(world).vms
    assert (vm.answer, vm.state) == (Answer.FULL, VmState.RUNNING)
    run(world, 30)
    assert guest.current < guest.plan.maximum


def test_figures_without_usable_memory_say_so() -> None:
    world = run(faulty_world(Event(fault="stats-partial", at_s=5)), 15)
    (vm,) = show(world).vms
    assert vm.guest is not None
    assert vm.guest.free_bytes is not None
    assert vm.guest.usable_bytes is vm.guest.cache_bytes is None
    assert {"guest.usable_bytes", "guest.cache_bytes"} <= vm.unknown.keys()


def test_a_clock_that_jumps_takes_the_figures_of_all_guests_along() -> None:
    world = run(faulty_world(Event(fault="clock-jump", at_s=20, lasts_s=60), guests=2), 40)
    sample = show(world)
    assert sample.time_s == world.epoch_s + 40 + 3600
    assert all(0 < sample.time_s - vm.guest.last_update_s <= 6 for vm in sample.vms if vm.guest is not None)
    run(world, 60)
    assert show(world).time_s == world.epoch_s + 100


def test_figures_of_one_guest_may_come_from_the_future() -> None:
    world = run(faulty_world(Event(fault="stats-ahead", at_s=20)), 40)
    (vm,) = show(world).vms
    assert vm.guest is not None
    assert vm.guest.last_update_s - show(world).time_s == pytest.approx(3600, abs=6)


def test_somebody_else_takes_memory_that_nobody_asked_for() -> None:
    world = run(faulty_world(Event(fault="foreign-balloon", at_s=5)), 20)
    guest = world.guests[0]
    assert guest.current == guest.target == pytest.approx(0.9 * guest.plan.maximum, rel=0.02)
    assert guest.target % (64 * PAGES_PER_MIB) == 0


def test_a_guest_may_be_out_of_memory_all_of_a_sudden() -> None:
    world = run(faulty_world(Event(fault="guest-oom", at_s=5)), 4)
    guest = world.guests[0]
    held = guest.anon
    run(world, 1)
    assert guest.oom_kills == 1
    assert guest.anon < 0.3 * held
    run(world, 150)
    assert guest.anon > 0.9 * held


def test_the_host_kills_its_biggest_vm() -> None:
    world = make_world(
        make_plan(1),
        make_plan(2, maximum=8 * PAGES_PER_GIB),
        directors=(FaultScript([Event(fault="host-oom", at_s=5)]),),
    )
    run(world, 5)
    assert [guest.is_crashed for guest in world.guests] == [False, True]
    assert world.host.oom_kills == 1


def test_a_new_vm_appears_among_the_others() -> None:
    world = run(faulty_world(Event(fault="new-vm", at_s=5, every_s=50), guests=2), 60)
    sample = show(world)
    assert len({vm.uuid for vm in sample.vms}) == len({vm.name for vm in sample.vms}) == 4
    (new, newer) = sample.vms[2:]
    assert new.name.startswith("new-")
    assert new.guest is not None
    assert newer.guest is None
    demand = [guest.demand.pages_at(60) for guest in world.guests[:2]]
    assert demand == [guest.demand.pages_at(60) for guest in run(faulty_world(guests=2), 60).guests]


@pytest.mark.parametrize(("fault", "restart_s"), [("restart", 1), ("crash", 60)])
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
    world = run(faulty_world(Event(fault="paused", at_s=5, lasts_s=20)), 6)
    guest = world.guests[0]
    assert len(world.notices()) == 1
    world.stop(guest)
    world.start(guest)
    run(world, 5)
    assert world.notices() == ()
    guest.pause("I/O error")
    run(world, 30)
    assert guest.pause_reason == "I/O error"


def backed_up_world(fault: str) -> World:
    world = run(faulty_world(Event(fault=fault, at_s=5), guests=2), 1)
    start_backup(world, world.guests[1], BackupSpec(checkpoint="copied"))
    return world


def test_a_backup_target_that_fills_up_ends_a_running_backup_and_stops_its_guest() -> None:
    world = run(backed_up_world("backup-full"), 5)
    untouched, backed_up = world.guests
    assert backed_up.job is None
    assert (untouched.pause_reason, backed_up.pause_reason) == (None, "I/O error")
    (ended,) = world.finished
    assert (ended.uuid, ended.is_good, ended.error) == (backed_up.plan.uuid, False, "No space left on device")


def test_a_backup_that_loses_its_connection_fails_after_most_of_its_way() -> None:
    world = backed_up_world("backup-network")
    job = world.guests[1].job
    assert job is not None
    shares = []
    while job.ending is None:
        run(world, 1)
        shares.append(job.done / job.total)
    assert shares[0] < 0.2
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(0.6, abs=0.02)
    assert not job.ending.is_good
    assert not world.guests[1].is_frozen


def test_backups_wait_for_a_store_that_does_not_answer_and_then_give_up() -> None:
    world = run(backed_up_world("store-gone"), 10)
    job = world.guests[1].job
    assert job is not None
    done = job.done
    assert run(world, 20).guests[1].job is job
    assert job.done == done
    assert run(world, 15).guests[1].job is None


def test_a_snapshot_that_is_being_taken_fails_and_its_guest_goes_on() -> None:
    world = run(faulty_world(Event(fault="snapshot-error", at_s=5)), 3)
    guest = world.guests[0]
    job = begin_snapshot(world, guest, SnapshotRequest(name="before", kind=SnapshotKind.INTERNAL))
    assert job is not None
    run(world, 2)
    assert guest.job is job
    injector = Injector()
    injector.inject(world, "snapshot-error", guest.plan.uuid)
    assert guest.job is None
    assert not guest.is_frozen
    (ended,) = world.finished
    assert (ended.kind, ended.is_good, ended.error) == (JobKind.SNAPSHOT, False, "Input/output error")
    assert "before" not in snapshots_of(world, guest)


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


def test_an_operator_who_resumes_a_guest_ends_no_other_pause() -> None:
    world = run(faulty_world(Event(fault="paused", at_s=5, lasts_s=20)), 10)
    guest = world.guests[0]
    guest.pause("I/O error")
    run(world, 30)
    assert guest.pause_reason == "I/O error"


def test_a_guest_whose_pause_ends_during_a_snapshot_runs_after_it() -> None:
    world = run(faulty_world(Event(fault="paused", at_s=5, lasts_s=10)), 10)
    guest = world.guests[0]
    job = begin_snapshot(world, guest, SnapshotRequest(name="s", kind=SnapshotKind.INTERNAL))
    assert job is not None
    assert guest.pause_reason == "creating snapshot"
    run(world, 6)
    assert guest.pause_reason == "creating snapshot"
    assert guest.is_frozen
    run(world, 60)
    assert job.ending == DONE
    assert (guest.paused_for, guest.held_for) == (None, None)
    assert guest.progress > 0


def test_a_vm_is_started_once_however_often_that_is_ordered() -> None:
    world = run(make_world(make_plan(1), make_plan(2)), 5)
    guest = world.guests[0]
    with pytest.raises(ControlError, match="domain is already running"):
        world.start(guest)
    world.crash(guest)
    world.start(guest)
    world.start(guest, world.tick + 10)
    run(world, 100)
    assert world.active.count(guest) == 1
    assert guest.booted_at == 15
    check_host(world)


def test_a_migration_takes_a_vm_away_unless_something_binds_it() -> None:
    world = make_world(make_plan(1), make_plan(2, has_vfio=True))
    one, bound = world.guests
    obstacle = GUEST_FAULTS["migration"].obstacle
    assert obstacle(bound) == "a device of this host is passed through to it"
    assert obstacle(one) is None
    GUEST_FAULTS["migration"].begin(world, one)
    assert obstacle(one) == "a job runs on it"
    (vm, _) = show(run(world, 2)).vms
    assert [job.kind for job in vm.jobs] == [JobKind.MIGRATION_OUT]
    run(world, 200)
    assert one.has_left
    assert one not in world.active


def test_hazards_of_the_host_do_not_depend_on_its_guests() -> None:
    script = FaultScript(hazards=[Hazard(fault="disconnect", per_hour=60, lasts_s=1)])
    world = make_world(*(make_plan(uid) for uid in range(1, 6)), directors=(script,))
    broken = sum(not run(world, 1).is_reachable for _ in range(3600))
    assert broken == pytest.approx(60, abs=20)


def test_hazards_strike_as_often_as_they_say() -> None:
    script = FaultScript(hazards=[Hazard(fault="paused", per_hour=6, lasts_s=1)])
    world = make_world(*(make_plan(uid) for uid in range(1, 11)), directors=(script,))
    paused = 0
    for _ in range(3600):
        run(world, 1)
        paused += any(guest.is_frozen for guest in world.guests)
    assert paused == pytest.approx(60, abs=20)
