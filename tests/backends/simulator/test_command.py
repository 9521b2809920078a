from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends.simulator.invariants import Snapshot, check_world
from tests.backends.simulator.worlds import EPOCH_S, make_host_plan, make_plan, make_world, run
from vmtop.backends.simulator import command
from vmtop.backends.simulator.backup import BackupJob
from vmtop.backends.simulator.command import AGENT_WAIT_S, LOCK_WAIT_S, Steps
from vmtop.backends.simulator.copy import BlockCopy, end_copy, start_copy
from vmtop.backends.simulator.dice import Dice
from vmtop.backends.simulator.disk import TARGET
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.job import Ending
from vmtop.backends.simulator.plan import NEVER, PAGES_PER_GIB, PAGES_PER_MIB
from vmtop.backends.simulator.publish import Publisher
from vmtop.backends.simulator.snapshot import LIVE_PAUSE_S, MEMORY_RATE, SWITCH_S
from vmtop.backends.simulator.workload import Demand
from vmtop.backends.simulator.world import World
from vmtop.errors import ControlError
from vmtop.model.kind import SnapshotKind
from vmtop.model.sample import JobKind
from vmtop.model.storage import BackupRequest, SnapshotRequest
from vmtop.units import GIB, KIB, MIB, PAGE_BYTES

Result = TypeVar("Result")
PATIENCE_S = 3600
DISKS = SnapshotRequest(name="s1", kind=SnapshotKind.DISK_ONLY)
INTERNAL = SnapshotRequest(name="s1", kind=SnapshotKind.INTERNAL)
LIVE = SnapshotRequest(name="s1", kind=SnapshotKind.EXTERNAL, memory_path="/var/lib/libvirt/images/s1.mem")


def finish(world: World, steps: Steps[Result]) -> Result:
    """Take the steps of a command, one in each second."""
    for _ in range(PATIENCE_S):
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        world.advance()
    raise AssertionError("the command never ends")


def one_guest(**changes: Any) -> tuple[World, Guest, str]:
    plan = make_plan(**changes)
    world = make_world(plan)
    return world, world.guests[0], plan.uuid


def backup_to(path: str, **changes: Any) -> BackupRequest:
    fields: dict[str, Any] = {"targets": {"vda": path}, "formats": {"vda": "qcow2"}, "checkpoint": None}
    return BackupRequest(**(fields | changes))


def test_a_balloon_is_asked_for_at_once_and_moves_by_itself() -> None:
    world, guest, uuid = one_guest()
    finish(world, command.set_balloon(world, uuid, 3 * GIB))
    assert (world.tick, guest.target) == (0, 3 * PAGES_PER_GIB)
    run(world, 30)
    assert guest.current == 3 * PAGES_PER_GIB


def test_one_kibibyte_is_accepted_and_never_reached() -> None:
    world, guest, uuid = one_guest()
    finish(world, command.set_balloon(world, uuid, KIB))
    run(world, 120)
    assert guest.target == 1
    assert guest.current > guest.kernel


def test_a_guest_without_driver_accepts_a_size_and_nothing_happens() -> None:
    world, guest, uuid = one_guest(has_driver=False)
    finish(world, command.set_balloon(world, uuid, GIB))
    run(world, 30)
    assert guest.current == guest.plan.maximum


def test_a_size_that_was_set_live_ends_with_the_process() -> None:
    world, guest, uuid = one_guest(target=3 * PAGES_PER_GIB)
    finish(world, command.set_balloon(world, uuid, 2 * GIB))
    finish(world, command.set_stats_period(world, uuid, 1))
    world.stop(guest)
    world.start(guest)
    run(world, 40)
    assert (guest.target, guest.current, guest.stats_period_s) == (3 * PAGES_PER_GIB, 3 * PAGES_PER_GIB, 5)


def test_figures_come_at_once_when_a_period_is_set_and_then_in_step() -> None:
    world, guest, uuid = one_guest(stats_period_s=0)
    publisher = Publisher(world, "simulator:///")
    old = guest.report
    run(world, 20)
    assert guest.report is old
    finish(world, command.set_stats_period(world, uuid, 3))
    updates = []
    for _ in range(7):
        world.advance()
        (vm,) = publisher.read(time_s=0, monotonic_s=0, read_s=0, passed=1).vms
        assert vm.guest is not None
        assert vm.facts is not None
        assert vm.facts.stats_period_s == 3
        updates.append(vm.guest.last_update_s - EPOCH_S)
    assert updates == [20, 20, 20, 23, 23, 23, 26]


def test_period_0_leaves_the_figures_as_they_are() -> None:
    world, guest, uuid = one_guest()
    run(world, 10)
    finish(world, command.set_stats_period(world, uuid, 0))
    frozen = guest.report
    run(world, 20)
    assert frozen is not None
    assert guest.report is frozen


def test_another_period_does_not_wake_a_driver_that_got_stuck() -> None:
    world, guest, uuid = one_guest()
    guest.next_report = NEVER
    finish(world, command.set_stats_period(world, uuid, 1))
    frozen = guest.report
    run(world, 10)
    assert guest.report is frozen


def have_checkpoint_and_switch_off(world: World, guest: Guest) -> None:
    begin_backup(world, guest)
    while guest.job is not None:
        world.advance()
    world.stop(guest)


def switch_off(world: World, guest: Guest) -> None:
    world.stop(guest)


def begin_backup(world: World, guest: Guest) -> None:
    finish(world, command.start_backup(world, guest.plan.uuid, backup_to("/backup/first.qcow2", checkpoint="c1")))


def begin_commit(world: World, guest: Guest) -> None:
    finish(world, command.take_snapshot(world, guest.plan.uuid, SnapshotRequest(name="s0", kind=DISKS.kind)))
    run(world, 600)
    next(command.delete_snapshot(world, guest.plan.uuid, "s0"))


def have_snapshot(request: SnapshotRequest) -> Callable[[World, Guest], None]:
    def take(world: World, guest: Guest) -> None:
        finish(world, command.take_snapshot(world, guest.plan.uuid, request))

    return take


def have_branches(world: World, guest: Guest) -> None:
    """s1 with two children."""
    uuid = guest.plan.uuid
    for name, back_to in (("s1", None), ("a", "s1"), ("b", None)):
        finish(world, command.take_snapshot(world, uuid, SnapshotRequest(name=name, kind=SnapshotKind.DISK_ONLY)))
        run(world, 5)
        if back_to is not None:
            finish(world, command.revert_snapshot(world, uuid, back_to))
            run(world, 5)


def have_child_and_go_back(world: World, guest: Guest) -> None:
    have_snapshot(DISKS)(world, guest)
    have_snapshot(SnapshotRequest(name="a", kind=SnapshotKind.DISK_ONLY))(world, guest)
    finish(world, command.revert_snapshot(world, guest.plan.uuid, "s1"))
    run(world, 5)


def have_overlay_on_internal(world: World, guest: Guest) -> None:
    have_snapshot(INTERNAL)(world, guest)
    have_snapshot(SnapshotRequest(name="a", kind=SnapshotKind.DISK_ONLY))(world, guest)


def set_flaw(name: str) -> Callable[[World, Guest], None]:
    return lambda world, guest: setattr(guest.flaws, name, True)


def nothing(_: World, __: Guest) -> None:
    """The guest is well."""


SET = command.set_balloon
TAKE, REVERT, DELETE = command.take_snapshot, command.revert_snapshot, command.delete_snapshot
PERIOD, BACKUP = command.set_stats_period, command.start_backup
Prepare = Callable[[World, Guest], None]
REFUSALS: list[tuple[str, dict[str, Any], Prepare, Callable[..., Any], tuple[Any, ...], int, str]] = [
    ("zero", {}, nothing, SET, (KIB - 1,), 8, "memory in virDomainSetMemoryFlags must not be zero"),
    ("above maximum", {}, nothing, SET, (4 * GIB + 1,), 8, "cannot set memory higher than max memory"),
    ("balloon of an off VM", {}, switch_off, SET, (GIB,), 55, "domain is not running"),
    ("no balloon", {"has_balloon": False}, nothing, SET, (GIB,), 55, "without the balloon device and guest OS"),
    ("balloon broken", {}, set_flaw("refuses_balloon"), SET, (GIB,), 1, "QEMU command 'balloon'"),
    ("negative period", {}, nothing, PERIOD, (-1,), 8, "must be zero or greater"),
    ("period, no balloon", {"has_balloon": False}, nothing, PERIOD, (1,), 1, "No memory balloon device"),
    ("period of an off VM", {}, switch_off, PERIOD, (1,), 55, "domain is not running"),
    ("name twice", {}, have_snapshot(DISKS), TAKE, (DISKS,), 9, "domain moment s1 already exists"),
    ("live, off", {}, switch_off, TAKE, (LIVE,), 27, "memory state cannot be saved with offline"),
    ("VFIO", {"has_vfio": True}, nothing, TAKE, (INTERNAL,), 55, "VFIO migration is not supported"),
    ("block job", {}, begin_commit, TAKE, (DISKS,), 83, "domain has active block job"),
    ("snapshots fail", {}, set_flaw("refuses_snapshots"), TAKE, (DISKS,), 1, "Input/output error"),
    ("unknown snapshot", {}, nothing, REVERT, ("no",), 72, "no domain snapshot with matching name 'no'"),
    ("delete unknown", {}, nothing, DELETE, ("no",), 72, "no domain snapshot with matching name 'no'"),
    ("revert, block job", {}, begin_commit, REVERT, ("s0",), 83, "domain has active block job"),
    ("two branches", {}, have_branches, DELETE, ("s1",), 67, "multiple children snapshots not supported"),
    ("active, no leaf", {}, have_child_and_go_back, DELETE, ("s1",), 67, "is not a leaf snapshot"),
    ("below overlay", {}, have_overlay_on_internal, DELETE, ("s1",), 84, "is not the same as disk image"),
    ("backup of an off VM", {}, switch_off, BACKUP, (backup_to("/backup/b"),), 84, "inactive domain"),
    ("no disk", {}, nothing, BACKUP, (backup_to("", targets={}),), 67, "at least one disk"),
    ("other disk", {}, nothing, BACKUP, (backup_to("", targets={"vdz": "/backup/b"}),), 67, "named 'vdz'"),
    ("no folder", {}, nothing, BACKUP, (backup_to("/nope/b"),), 38, "failed to create image file '/nope/b'"),
    ("unknown checkpoint", {}, nothing, BACKUP, (backup_to("/backup/b", since="c9"),), 103, "'c9'"),
    ("backup, block job", {}, begin_commit, BACKUP, (backup_to("/backup/b"),), 1, "has a blockjob assigned"),
    ("nothing to cancel", {}, nothing, command.cancel_job, (None,), 55, "no job is active on the domain"),
    ("no job of a disk", {}, nothing, command.cancel_job, ("vda",), 8, "disk vda does not have an active block job"),
    ("unknown disk", {}, nothing, command.cancel_job, ("vdq",), 8, "disk 'vdq' not found in domain"),
    ("nothing to limit", {}, nothing, command.limit_job, (MIB, None), 104, "no domain backup job present"),
    ("no disk to limit", {}, nothing, command.limit_job, (MIB, "vda"), 8, "does not have an active block job"),
    ("delete unknown checkpoint", {}, nothing, command.delete_checkpoint, ("c9",), 103, "matching name 'c9'"),
    ("delete checkpoint of an off VM", {}, have_checkpoint_and_switch_off, command.delete_checkpoint, ("c1",), 84,
     "cannot delete checkpoint for inactive domain"),
    ("resume what runs", {}, nothing, command.resume, (), 55, "domain is already running"),
    ("resume what is off", {}, switch_off, command.resume, (), 55, "domain is not running"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "prepare", "begin", "arguments", "code", "text"),
    [case[1:] for case in REFUSALS],
    ids=[case[0] for case in REFUSALS],
)
def test_libvirt_refuses_at_once_with_its_code_and_words(
    changes: dict[str, Any],
    prepare: Prepare,
    begin: Callable[..., Steps[None]],
    arguments: tuple[Any, ...],
    code: int,
    text: str,
) -> None:
    world, guest, uuid = one_guest(**changes)
    prepare(world, guest)
    began = world.tick
    with pytest.raises(ControlError) as refused:
        finish(world, begin(world, uuid, *arguments))
    assert refused.value.code == code
    assert text in str(refused.value)
    assert world.tick == began


def test_a_snapshot_tells_for_how_long_the_guest_stood_still() -> None:
    world, guest, uuid = one_guest()
    internal = SnapshotRequest(name="a", kind=SnapshotKind.INTERNAL)
    stood_s = finish(world, command.take_snapshot(world, uuid, internal))
    assert stood_s == pytest.approx(guest.used / MEMORY_RATE, rel=0.2)
    live = SnapshotRequest(name="b", kind=SnapshotKind.EXTERNAL, memory_path="/var/lib/b.mem")
    stood_s = finish(world, command.take_snapshot(world, uuid, live))
    assert stood_s is not None
    assert SWITCH_S <= stood_s <= SWITCH_S + LIVE_PAUSE_S
    assert finish(world, command.take_snapshot(world, uuid, DISKS)) is None


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (SnapshotRequest(name="a/b", kind=SnapshotKind.INTERNAL), 35),
        (SnapshotRequest(name=".a", kind=SnapshotKind.INTERNAL), 35),
        (SnapshotRequest(name="a", kind=SnapshotKind.INTERNAL, is_quiesced=True), 8),
        (SnapshotRequest(name="a", kind=SnapshotKind.EXTERNAL), 27),
        (SnapshotRequest(name="a", kind=SnapshotKind.EXTERNAL, memory_path="a.mem"), 27),
        (SnapshotRequest(name="a", kind=SnapshotKind.EXTERNAL, memory_path="/nope/a.mem"), 38),
    ],
)
def test_a_snapshot_that_makes_no_sense_is_refused(request_: SnapshotRequest, code: int) -> None:
    world, _, uuid = one_guest()
    with pytest.raises(ControlError) as refused:
        finish(world, command.take_snapshot(world, uuid, request_))
    assert refused.value.code == code
    assert not finish(world, command.read_storage(world, uuid, 0.0)).snapshots


def test_a_target_that_exists_is_never_written_to() -> None:
    world, guest, uuid = one_guest()
    begin_backup(world, guest)
    while guest.job is not None:
        world.advance()
    with pytest.raises(ControlError, match=r"store '/backup/first\.qcow2' for backup of 'vda' exists") as refused:
        finish(world, command.start_backup(world, uuid, backup_to("/backup/first.qcow2")))
    assert refused.value.code == 8


@pytest.mark.parametrize(
    ("begin", "arguments"),
    [
        (command.take_snapshot, (DISKS,)),
        (command.start_backup, (backup_to("/backup/b"),)),
        (command.delete_snapshot, ("s1",)),
        (command.revert_snapshot, ("s1",)),
    ],
)
def test_a_second_job_waits_half_a_minute_for_the_first_and_then_fails(
    begin: Callable[..., Steps[None]], arguments: tuple[Any, ...]
) -> None:
    world, guest, uuid = one_guest(disk_bytes=100 * GIB)
    begin_backup(world, guest)
    with pytest.raises(ControlError, match="held by monitor=remoteDispatchDomainBackupBegin") as refused:
        finish(world, begin(world, uuid, *arguments))
    assert (refused.value.code, world.tick) == (68, LOCK_WAIT_S)
    assert guest.job is not None


def test_a_second_job_begins_when_the_first_ends_in_time() -> None:
    world, guest, uuid = one_guest(disk_bytes=100 * GIB)
    begin_backup(world, guest)
    steps = command.take_snapshot(world, uuid, DISKS)
    for _ in range(10):
        next(steps)
        world.advance()
    finish(world, command.cancel_job(world, uuid, None))
    finish(world, steps)
    assert [taken.name for taken in finish(world, command.read_storage(world, uuid, 0.0)).snapshots] == ["s1"]


def test_balloons_move_beside_a_backup() -> None:
    world, guest, uuid = one_guest(disk_bytes=100 * GIB)
    begin_backup(world, guest)
    finish(world, command.set_balloon(world, uuid, 3 * GIB))
    finish(world, command.set_stats_period(world, uuid, 1))
    assert (world.tick, guest.target, guest.stats_period_s) == (0, 3 * PAGES_PER_GIB, 1)


def test_a_hung_vm_lets_everybody_wait_half_a_minute() -> None:
    world, guest, uuid = one_guest()
    guest.hang(world.tick)
    with pytest.raises(ControlError, match="cannot acquire state change lock") as refused:
        finish(world, command.set_balloon(world, uuid, GIB))
    assert (refused.value.code, world.tick) == (68, LOCK_WAIT_S)


@pytest.mark.parametrize(
    ("changes", "flaw", "wait_s"), [({"has_agent": False}, None, 0), ({}, "has_hung_agent", AGENT_WAIT_S)]
)
def test_file_systems_are_frozen_only_by_an_agent_that_answers(
    changes: dict[str, Any], flaw: str | None, wait_s: int
) -> None:
    world, guest, uuid = one_guest(**changes)
    if flaw is not None:
        setattr(guest.flaws, flaw, True)
    quiesced = SnapshotRequest(name="s1", kind=SnapshotKind.DISK_ONLY, is_quiesced=True)
    with pytest.raises(ControlError, match="agent") as refused:
        finish(world, command.take_snapshot(world, uuid, quiesced))
    assert (refused.value.code, world.tick) == (86, wait_s)
    assert not finish(world, command.read_storage(world, uuid, 0.0)).snapshots


def test_an_agent_freezes_file_systems() -> None:
    world, _, uuid = one_guest()
    finish(world, command.take_snapshot(world, uuid, SnapshotRequest(name="s1", kind=DISKS.kind, is_quiesced=True)))
    storage = finish(world, command.read_storage(world, uuid, 7.5))
    assert (storage.has_agent, storage.monotonic_s) == (True, 7.5)
    assert [(taken.name, taken.state) for taken in storage.snapshots] == [("s1", "disk-snapshot")]


def test_a_backup_is_seen_limited_and_cancelled() -> None:
    world, guest, uuid = one_guest(disk_bytes=100 * GIB)
    begin_backup(world, guest)
    finish(world, command.limit_job(world, uuid, 20 * MIB, None))
    run(world, 10)
    job = guest.job
    assert job is not None
    assert isinstance(job, BackupJob)
    read = job.read
    run(world, 10)
    assert job.read - read == 10 * 20 * PAGES_PER_MIB
    finish(world, command.cancel_job(world, uuid, None))
    assert guest.job is None
    finished = world.finished[-1]
    assert (finished.kind, finished.is_good, finished.error) == (JobKind.BACKUP, False, "Operation canceled")
    assert finished.is_cancelled
    # Real libvirt leaves it, too: whoever cancels has to clean up.
    assert "c1" in {point.name for point in finish(world, command.read_storage(world, uuid, 0.0)).checkpoints}


def test_a_disk_that_somebody_copies_is_limited_and_the_copy_cancelled() -> None:
    world, guest, uuid = one_guest(disk_bytes=100 * GIB)
    start_copy(world, guest)
    finish(world, command.limit_job(world, uuid, 20 * MIB, TARGET))
    run(world, 10)
    job = guest.job
    assert job is not None
    done = job.done
    run(world, 10)
    assert job.done - done == 10 * 20 * PAGES_PER_MIB
    with pytest.raises(ControlError, match="no job is active on the domain"):
        finish(world, command.cancel_job(world, uuid, None))
    with pytest.raises(ControlError, match="no domain backup job present"):
        finish(world, command.limit_job(world, uuid, MIB, None))
    finish(world, command.cancel_job(world, uuid, TARGET))
    assert guest.job is None
    ended = world.finished[-1]
    assert (ended.kind, ended.disk, ended.is_good, ended.is_cancelled) == (JobKind.BLOCK_COPY, TARGET, False, True)


def test_a_copy_that_is_complete_follows_the_guest_until_its_owner_ends_it_well() -> None:
    world, guest, _ = one_guest(disk_bytes=GIB)
    start_copy(world, guest)
    run(world, 120)
    job = guest.job
    assert isinstance(job, BlockCopy)
    assert job.done == job.total
    run(world, 60)
    assert job.done == job.total
    end_copy(world, guest)
    assert (guest.job, world.finished[-1].is_good) == (None, True)
    end_copy(world, guest)


def test_the_merge_of_a_snapshot_that_is_being_deleted_is_waited_for_and_not_cancelled() -> None:
    world, guest, uuid = one_guest(disk_bytes=100 * GIB)
    begin_commit(world, guest)
    assert guest.job is not None
    for steps in (command.cancel_job(world, uuid, TARGET), command.limit_job(world, uuid, MIB, TARGET)):
        guest.job.done, guest.job.total = 0, 1_000_000_000
        with pytest.raises(ControlError, match="cannot acquire state change lock") as refused:
            finish(world, steps)
        assert refused.value.code == 68
    assert guest.job is not None


def test_an_incremental_backup_goes_on_from_its_checkpoint_until_that_is_deleted() -> None:
    world, guest, uuid = one_guest()
    begin_backup(world, guest)
    while guest.job is not None:
        world.advance()
    run(world, 300)
    (point,) = [info for info in finish(world, command.read_storage(world, uuid, 0.0)).checkpoints if info.name == "c1"]
    finish(world, command.start_backup(world, uuid, backup_to("/backup/second.qcow2", since="c1")))
    run(world, 2)
    assert point.dirty_bytes
    while guest.job is not None:
        world.advance()
    assert world.finished[-1].processed_bytes == pytest.approx(point.dirty_bytes, rel=0.1)
    finish(world, command.delete_checkpoint(world, uuid, "c1"))
    assert "c1" not in guest.disk.checkpoints


def test_a_paused_vm_goes_on() -> None:
    world, guest, uuid = one_guest(is_paused=True)
    guest.pause("I/O error")
    finish(world, command.resume(world, uuid))
    assert (guest.pause_reason, guest.is_frozen) == (None, False)


def test_a_vm_that_does_not_exist_is_not_found() -> None:
    world, guest, uuid = one_guest()
    with pytest.raises(ControlError, match="no domain with matching uuid 'nobody'") as refused:
        finish(world, command.resume(world, "nobody"))
    assert refused.value.code == 42
    guest.is_defined = False
    with pytest.raises(ControlError, match="no domain with matching uuid"):
        finish(world, command.read_storage(world, uuid, 0.0))


def test_a_connection_that_breaks_ends_the_call_but_not_the_job() -> None:
    world, guest, uuid = one_guest()
    steps = command.take_snapshot(world, uuid, INTERNAL)
    next(steps)
    world.is_reachable = False
    world.advance()
    with pytest.raises(ControlError, match="client socket is closed"):
        next(steps)
    assert guest.job is not None
    world.is_reachable = True
    run(world, 60)
    assert [taken.name for taken in finish(world, command.read_storage(world, uuid, 0.0)).snapshots] == ["s1"]


def test_a_snapshot_that_fails_on_the_way_says_why_and_leaves_nothing() -> None:
    world, guest, uuid = one_guest()
    steps = command.take_snapshot(world, uuid, INTERNAL)
    next(steps)
    world.end_job(guest, Ending(is_good=False, error="Input/output error"))
    with pytest.raises(ControlError, match="operation failed: Input/output error") as failed:
        next(steps)
    assert failed.value.code == 9
    assert guest.pause_reason is None
    assert not finish(world, command.read_storage(world, uuid, 0.0)).snapshots


def test_a_live_snapshot_that_is_cancelled_ends_its_call() -> None:
    world, guest, uuid = one_guest()
    steps = command.take_snapshot(world, uuid, LIVE)
    next(steps)
    finish(world, command.cancel_job(world, uuid, None))
    with pytest.raises(ControlError, match="operation aborted: snapshot job: canceled by client") as aborted:
        next(steps)
    assert aborted.value.code == 78
    assert guest.job is None


def test_an_image_takes_what_is_in_it() -> None:
    world, guest, uuid = one_guest(write_bytes_per_s=4 * MIB)

    def allocation_bytes() -> int:
        (disk,) = finish(world, command.read_storage(world, uuid, 0.0)).disks
        assert disk.allocation_bytes is not None
        return disk.allocation_bytes

    whole = allocation_bytes()
    assert whole == guest.disk.allocated * PAGE_BYTES
    finish(world, command.take_snapshot(world, uuid, INTERNAL))
    assert allocation_bytes() >= whole + GIB
    finish(world, command.take_snapshot(world, uuid, SnapshotRequest(name="s2", kind=SnapshotKind.DISK_ONLY)))
    overlay = allocation_bytes()
    run(world, 100)
    assert overlay < allocation_bytes() < whole / 2


def test_a_snapshot_whose_vm_goes_away_ends() -> None:
    world, guest, uuid = one_guest()
    steps = command.take_snapshot(world, uuid, INTERNAL)
    next(steps)
    world.stop(guest)
    with pytest.raises(ControlError, match="domain is no longer running"):
        next(steps)


def test_reverting_with_checkpoints_ends_the_vm() -> None:
    world, guest, uuid = one_guest()
    finish(world, command.take_snapshot(world, uuid, INTERNAL))
    begin_backup(world, guest)
    while guest.job is not None:
        world.advance()
    with pytest.raises(ControlError, match="qemu unexpectedly closed the monitor") as failed:
        finish(world, command.revert_snapshot(world, uuid, "s1"))
    assert failed.value.code == 1
    assert not guest.is_running


def test_without_checkpoints_a_revert_works_again() -> None:
    world, guest, uuid = one_guest()
    finish(world, command.take_snapshot(world, uuid, INTERNAL))
    begin_backup(world, guest)
    while guest.job is not None:
        world.advance()
    finish(world, command.delete_checkpoint(world, uuid, "c1"))
    finish(world, command.revert_snapshot(world, uuid, "s1"))
    assert guest.is_running


class Operator:
    """Does anything at any time."""

    def __init__(self, seed: int, uuids: Sequence[str]) -> None:
        self._dice = Dice(seed)
        self._uuids = uuids
        self._draws = 0

    def pick(self, items: Sequence[Result]) -> Result:
        self._draws += 1
        return items[self._dice.bits(0, self._draws, 0) % len(items)]

    def next_command(self, world: World) -> Steps[Any]:
        """A command, seldom one for a VM that does not exist."""
        uuid = self.pick([*3 * [self._uuids[0]], *self._uuids, "nobody"])
        name = self.pick(["a", "b", "c"])
        begin = self.pick(
            [
                *2 * [self._balloon],
                *5 * [self._snapshot],
                *3 * [command.revert_snapshot, command.delete_snapshot],
                *2 * [self._backup, command.delete_checkpoint],
                *(self._period, self._storage, self._cancel, self._limit, self._resume),
            ]
        )
        return begin(world, uuid, name)

    def _balloon(self, world: World, uuid: str, _: str) -> Steps[None]:
        return command.set_balloon(world, uuid, self.pick([0, KIB, GIB, 2 * GIB, 4 * GIB, 5 * GIB]))

    def _period(self, world: World, uuid: str, _: str) -> Steps[None]:
        return command.set_stats_period(world, uuid, self.pick([-1, 0, 1, 7]))

    def _storage(self, world: World, uuid: str, _: str) -> Steps[Any]:
        return command.read_storage(world, uuid, 0.0)

    def _snapshot(self, world: World, uuid: str, name: str) -> Steps[Any]:
        kind = self.pick(list(SnapshotKind))
        memory_path = "/var/lib/libvirt/images/mem" if kind is SnapshotKind.EXTERNAL else None
        is_quiesced = kind is SnapshotKind.DISK_ONLY and self.pick([False, True])
        request = SnapshotRequest(name=name, kind=kind, memory_path=memory_path, is_quiesced=is_quiesced)
        return command.take_snapshot(world, uuid, request)

    def _backup(self, world: World, uuid: str, name: str) -> Steps[None]:
        path = self.pick([f"/backup/{self._draws}", "/backup/again", "/nope/3"])
        request = backup_to(path, checkpoint=self.pick([None, name]), since=self.pick([None, "a"]))
        return command.start_backup(world, uuid, request)

    def _cancel(self, world: World, uuid: str, _: str) -> Steps[None]:
        return command.cancel_job(world, uuid, self.pick([None, TARGET]))

    def _limit(self, world: World, uuid: str, _: str) -> Steps[None]:
        return command.limit_job(world, uuid, self.pick([0, MIB, GIB]), self.pick([None, TARGET]))

    def _resume(self, world: World, uuid: str, _: str) -> Steps[None]:
        return command.resume(world, uuid)


def crowded_world(total_gib: int) -> World:
    plans = (
        make_plan(1),
        make_plan(2, has_hugepages=True),
        make_plan(3, has_vfio=True, has_agent=False),
        make_plan(4, has_driver=False, starts_at=NEVER),
    )
    host = make_host_plan(
        total=total_gib * PAGES_PER_GIB, swap_capacity=2 * PAGES_PER_GIB, hugepages=4 * PAGES_PER_GIB, has_ksm=True
    )
    return make_world(*plans, host=host)


@settings(max_examples=40, deadline=None)
@given(total_gib=st.sampled_from((14, 18, 64)), seed=st.integers(0, 1_000_000), pause_s=st.integers(1, 8))
def test_no_order_of_commands_breaks_the_world_or_changes_what_programs_want(
    total_gib: int, seed: int, pause_s: int
) -> None:
    world = crowded_world(total_gib)
    operator = Operator(seed, [guest.plan.uuid for guest in world.guests])
    alone = [Demand(world.dice, guest.plan) for guest in world.guests]
    running: list[Steps[Any]] = []
    began_anew = set[int]()
    for tick in range(200):
        if tick % pause_s == 0:
            running.append(operator.next_command(world))
        running = [steps for steps in running if takes_a_step(steps)]
        before = Snapshot.of(world)
        world.advance()
        check_world(world, before)
        for guest, demand in zip(world.guests, alone, strict=True):
            # Killed programs and systems that boot begin anew; nothing else changes what they want.
            if guest.oom_kills or guest.booted_at > 0:
                began_anew.add(guest.plan.uid)
            if guest.plan.uid not in began_anew:
                assert guest.demand.pages_at(world.tick) == demand.pages_at(world.tick), "D2"


def takes_a_step(steps: Steps[Any]) -> bool:
    try:
        next(steps)
    except (StopIteration, ControlError):
        return False
    return True
