import pytest

from tests.backends.simulator.worlds import make_host_plan, make_plan, make_world, run
from vmtop.backends.simulator.fault import GUEST_FAULTS, HOST_FAULTS
from vmtop.backends.simulator.inject import FAULTS, Injector
from vmtop.backends.simulator.plan import NEVER, GuestPlan
from vmtop.backends.simulator.world import World
from vmtop.errors import ControlError


def world_with(*plans: GuestPlan) -> tuple[World, Injector]:
    injector = Injector()
    world = make_world(*(plans or (make_plan(1), make_plan(2))), directors=(injector,))
    return run(world, 30), injector


def uuid(world: World, place: int = 0) -> str:
    return world.guests[place].plan.uuid


def test_the_menu_has_a_line_for_each_fault_those_of_vms_first() -> None:
    assert [fault.fault_id for fault in FAULTS] == [*GUEST_FAULTS, *HOST_FAULTS]
    assert [fault.is_for_vm for fault in FAULTS] == [True] * len(GUEST_FAULTS) + [False] * len(HOST_FAULTS)
    assert all(fault.sentence and not fault.sentence.endswith(".") for fault in FAULTS)


def test_an_injected_fault_happens_at_once_and_is_told_as_long_as_it_lasts() -> None:
    world, injector = world_with()
    injector.inject(world, "stats-stale", uuid(world))
    assert world.guests[0].next_report == NEVER
    assert world.notices() == ("injected: web-01: figures stop coming",)
    run(world, 119)
    assert len(world.notices()) == 1
    run(world, 1)
    assert world.notices() == ()
    assert world.guests[0].next_report != NEVER


def test_a_fault_of_the_host_needs_no_vm() -> None:
    world, injector = world_with()
    injector.inject(world, "disconnect", None)
    assert not world.is_reachable
    assert world.notices() == ("injected: the connection to libvirt is gone",)
    assert run(world, 20).is_reachable


def test_all_that_was_injected_ends_at_a_word_and_nothing_else_does() -> None:
    world, injector = world_with()
    hung, stale = world.guests
    world.tell("something else", 500)
    injector.inject(world, "qemu-hung", uuid(world, 0))
    injector.inject(world, "stats-stale", uuid(world, 1))
    injector.inject(world, "slow-swap", None)
    assert len(world.notices()) == 4
    injector.end_faults(world)
    assert not hung.is_frozen
    assert stale.next_report != NEVER
    assert world.host.swap_slowdown == 1
    assert world.notices() == ("something else",)
    injector.end_faults(world)
    assert world.notices() == ("something else",)


@pytest.mark.parametrize("fault", [fault.fault_id for fault in FAULTS if fault.lasts_s])
def test_a_fault_that_lasts_is_refused_while_it_lasts_and_possible_again_afterwards(fault: str) -> None:
    injector = Injector()
    plans = (make_plan(uid) for uid in range(1, 4))
    world = run(make_world(*plans, host=make_host_plan(has_ksm=True), directors=(injector,)), 30)
    target = uuid(world) if fault in GUEST_FAULTS else None
    injector.inject(world, fault, target)
    with pytest.raises(ControlError):
        injector.inject(world, fault, target)
    injector.end_faults(world)
    run(world, 5)
    injector.inject(world, fault, target)
    assert len(world.notices()) == 1


@pytest.mark.parametrize(
    ("fault", "place", "reason"),
    [
        ("backup-full", 0, "web-01: no backup-full now: no backup of it runs"),
        ("backup-network", 0, "web-01: no backup-network now: no backup of it runs"),
        ("paused", 1, "web-02: no paused now: it is not running"),
        ("driver-hung", 2, "web-03: no driver-hung now: no balloon driver works in it"),
        ("stats-stale", 2, "web-03: no stats-stale now: its figures do not come anyway"),
        ("balloon-error", 2, "web-03: no balloon-error now: it has no memory balloon"),
        ("reboot", 3, "web-04: no reboot now: it stands still already"),
        ("guest-hung", 3, "web-04: no guest-hung now: it stands still already"),
        ("foreign-balloon", 4, "web-05: no foreign-balloon now: it has nothing left to give"),
        ("stats-partial", 5, "web-06: no stats-partial now: its figures do not come anyway"),
    ],
)
def test_what_cannot_happen_to_a_vm_now_is_refused_with_the_reason(fault: str, place: int, reason: str) -> None:
    world, injector = world_with(
        make_plan(1),
        make_plan(2, starts_at=NEVER),
        make_plan(3, has_balloon=False),
        make_plan(4, is_paused=True),
        make_plan(5, target=1, utilisation=0.02, swap_capacity=0, file_set=0, file_hot=0),
        make_plan(6, reports_until=5),
    )
    with pytest.raises(ControlError) as refused:
        injector.inject(world, fault, uuid(world, place))
    assert str(refused.value) == reason
    assert world.notices() == ()


@pytest.mark.parametrize(
    ("fault", "target", "reason"),
    [
        ("stats-stael", None, "no fault is called 'stats-stael'. Did you mean 'stats-stale'"),
        ("paused", None, "paused happens to a VM: choose one"),
        ("paused", "00000000-0000-4000-8000-000000000099", "no VM has the UUID"),
        ("slow-swap", "00000000-0000-4000-8000-000000000001", "happens to the host"),
        ("ksm-unmerge", None, "no ksm-unmerge now: KSM does not run"),
    ],
)
def test_what_makes_no_sense_is_refused(fault: str, target: str | None, reason: str) -> None:
    world, injector = world_with()
    with pytest.raises(ControlError, match=reason):
        injector.inject(world, fault, target)


def test_a_vm_that_vanished_cannot_be_chosen() -> None:
    world, injector = world_with()
    injector.inject(world, "vanish", uuid(world))
    with pytest.raises(ControlError, match="no VM has the UUID"):
        injector.inject(world, "paused", uuid(world))
    assert world.notices() == ("injected: web-01: undefined, and defined again later",)


def test_a_guest_that_is_restarted_leaves_its_fault_and_the_notice_behind() -> None:
    world, injector = world_with()
    injector.inject(world, "guest-hung", uuid(world))
    injector.inject(world, "restart", uuid(world))
    run(world, 2)
    assert world.notices() == ("injected: web-01: stopped and started anew",)
    assert not world.guests[0].is_frozen


def test_events_pass_by_themselves_and_are_told_for_a_minute() -> None:
    world, injector = world_with()
    injector.inject(world, "guest-oom", uuid(world))
    injector.end_faults(world)
    assert world.guests[0].oom_kills == 1
    assert len(run(world, 59).notices()) == 1
    assert run(world, 1).notices() == ()
