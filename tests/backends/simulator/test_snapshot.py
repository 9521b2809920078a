from typing import Any

import pytest

from tests.backends.simulator.invariants import Snapshot as Counters
from tests.backends.simulator.invariants import check_world
from tests.backends.simulator.worlds import EPOCH_S, make_host_plan, make_plan, make_world, run
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.job import Job
from vmtop.backends.simulator.plan import NEVER, PAGES_PER_GIB, PAGES_PER_MIB
from vmtop.backends.simulator.publish import Publisher
from vmtop.backends.simulator.snapshot import (
    LIVE_PAUSE_S,
    LOADING,
    MEMORY_RATE,
    PIVOT_S,
    SAVING,
    begin_delete,
    begin_revert,
    begin_snapshot,
    free_pages,
    rewritten_pages,
    size_pages,
    snapshots_of,
)
from vmtop.backends.simulator.snapshot_tree import Snapshot
from vmtop.backends.simulator.world import World
from vmtop.errors import ControlError
from vmtop.model.kind import SnapshotKind
from vmtop.model.sample import Answer, JobKind, VmState
from vmtop.model.storage import SnapshotRequest
from vmtop.units import GIB, MIB, PAGE_BYTES

INTERNAL, EXTERNAL, DISK_ONLY = SnapshotKind


def one_guest(**changes: Any) -> tuple[World, Guest]:
    world = make_world(make_plan(**changes))
    return world, world.guests[0]


def take(world: World, guest: Guest, name: str = "s1", kind: SnapshotKind = DISK_ONLY) -> Snapshot:
    """Take a snapshot, and wait for it."""
    memory_path = f"/var/{name}.mem" if kind is EXTERNAL else None
    finish(world, begin_snapshot(world, guest, SnapshotRequest(name=name, kind=kind, memory_path=memory_path)))
    return find(world, guest, name)


def find(world: World, guest: Guest, name: str) -> Snapshot:
    found = snapshots_of(world, guest).find(name)
    assert found is not None
    return found


def finish(world: World, job: Job | None) -> int:
    """Wait for a job, checking the world all the time; tells how many seconds it took."""
    began = world.tick
    while job is not None and job.ending is None:
        assert world.tick < began + 600, "the job never ends"
        before = Counters.of(world)
        world.advance()
        check_world(world, before)
    return world.tick - began


def tree(world: World, guest: Guest) -> dict[str, str | None]:
    return {snapshot.name: snapshot.parent for snapshot in snapshots_of(world, guest)}


def test_a_guest_stands_still_until_all_of_its_memory_is_written() -> None:
    world, guest = one_guest()
    publisher = Publisher(world, "simulator:///")
    used = guest.used
    job = begin_snapshot(world, guest, SnapshotRequest(name="s1", kind=INTERNAL))
    world.advance()
    (vm,) = publisher.read(time_s=0, monotonic_s=0, read_s=0, passed=1).vms
    assert (vm.state, vm.state_reason, vm.answer) == (VmState.PAUSED, SAVING, Answer.BUSY)
    assert [(shown.kind, shown.processed_bytes, shown.total_bytes) for shown in vm.jobs] == [
        (JobKind.SNAPSHOT, None, None)
    ]
    assert 1 + finish(world, job) == -(-used // MEMORY_RATE)
    assert guest.pause_reason is None
    taken = find(world, guest, "s1")
    assert (taken.memory, taken.state) == (used, "running")


def test_a_guest_that_was_paused_before_stays_paused() -> None:
    world, guest = one_guest(is_paused=True)
    taken = take(world, guest, kind=INTERNAL)
    assert (taken.state, guest.pause_reason, guest.is_frozen) == ("paused", "user", True)


def test_memory_is_copied_while_the_guest_runs_and_what_it_rewrites_again() -> None:
    world, guest = one_guest()
    publisher = Publisher(world, "simulator:///")
    job = begin_snapshot(world, guest, SnapshotRequest(name="s1", kind=EXTERNAL, memory_path="/var/m"))
    assert job is not None
    began_with = job.total
    run(world, 3)
    (vm,) = publisher.read(time_s=0, monotonic_s=0, read_s=0, passed=1).vms
    assert (vm.state, vm.answer) == (VmState.RUNNING, Answer.FULL)
    (shown,) = vm.jobs
    assert shown.processed_bytes == 3 * MEMORY_RATE * PAGE_BYTES
    assert shown.total_bytes is not None
    assert shown.total_bytes > began_with * PAGE_BYTES
    finish(world, job)
    assert job.done == job.total
    ratio = rewritten_pages(guest) / MEMORY_RATE
    # Pages that were not copied yet need not be copied twice, so it is less than the geometric series.
    assert began_with < job.total <= began_with / (1 - ratio)
    assert 1 - LIVE_PAUSE_S <= guest.progress < 1.0


def test_a_guest_that_writes_faster_than_memory_is_copied_is_never_done_and_can_be_cancelled() -> None:
    world, guest = one_guest(hot_share=1.0, maximum=64 * PAGES_PER_GIB)
    world = make_world(guest.plan, host=make_host_plan(total=128 * PAGES_PER_GIB, pool_bandwidth=100 * PAGES_PER_MIB))
    guest = world.guests[0]
    job = begin_snapshot(world, guest, SnapshotRequest(name="s1", kind=EXTERNAL, memory_path="/var/m"))
    run(world, 3_000)
    assert job is not None
    assert job.ending is None
    world.cancel_job(guest)
    assert (guest.job, tree(world, guest)) == (None, {})


def test_a_snapshot_of_disks_is_there_at_once_and_holds_the_guest_up_for_a_moment() -> None:
    world, guest = one_guest()
    taken = take(world, guest)
    assert (world.tick, guest.job, taken.state, taken.memory) == (0, None, "disk-snapshot", 0)
    world.advance()
    assert 0.0 < guest.progress < 1.0
    world.advance()
    assert guest.progress == 1.0


def test_a_snapshot_of_a_vm_that_is_off_needs_no_job() -> None:
    world, guest = one_guest(starts_at=NEVER)
    for name, kind in (("s1", INTERNAL), ("s2", DISK_ONLY)):
        assert take(world, guest, name, kind).state == "shutoff"
    assert world.tick == 0


def test_snapshots_stand_on_each_other_and_grow_with_what_is_written_on_top_of_them() -> None:
    world, guest = one_guest(write_bytes_per_s=4 * MIB)
    first = take(world, guest, "first")
    sizes = []
    for _ in range(5):
        run(world, 60)
        sizes.append(size_pages(world, guest, first))
    assert sizes == sorted(set(sizes))
    # The same places are written again and again.
    assert 0 < sizes[-1] < 300 * 4 * PAGES_PER_MIB
    second = take(world, guest, "second", INTERNAL)
    frozen = size_pages(world, guest, first)
    run(world, 60)
    assert size_pages(world, guest, first) == frozen
    assert size_pages(world, guest, second) > second.memory
    assert tree(world, guest) == {"first": None, "second": "first"}
    assert (second.taken_at, snapshots_of(world, guest).current) == (world.tick - 60, second)


def test_snapshots_take_room_in_the_folder_of_the_images() -> None:
    world, guest = one_guest()
    before = free_pages(world)
    taken = take(world, guest, kind=INTERNAL)
    assert free_pages(world) == before - size_pages(world, guest, taken)


def test_deleting_an_overlay_moves_what_it_holds_and_the_end_moves_away() -> None:
    world, guest = one_guest(write_bytes_per_s=20 * MIB, disk_bytes=400 * GIB)
    overlay = snapshots_of(world, guest).image
    taken = take(world, guest)
    assert snapshots_of(world, guest).image != overlay
    run(world, 300)
    publisher = Publisher(world, "simulator:///")
    job = begin_delete(world, guest, taken)
    assert job is not None
    began_with = job.total
    run(world, 3)
    (vm,) = publisher.read(time_s=0, monotonic_s=0, read_s=0, passed=1).vms
    (shown,) = vm.jobs
    assert (shown.kind, shown.disk, vm.answer) == (JobKind.BLOCK_COMMIT, "vda", Answer.FULL)
    assert shown.total_bytes is not None
    assert shown.total_bytes > began_with * PAGE_BYTES
    finish(world, job)
    assert tree(world, guest) == {}
    assert snapshots_of(world, guest).image == overlay
    stunned = 1.0 - guest.progress
    world.advance()
    while guest.progress < 1.0:
        stunned += 1.0 - guest.progress
        world.advance()
    assert PIVOT_S[0] - 0.1 <= stunned <= PIVOT_S[1]


def test_a_snapshot_between_others_is_merged_into_the_one_below() -> None:
    world, guest = one_guest(write_bytes_per_s=4 * MIB)
    snapshots = []
    for name in ("a", "b", "c"):
        snapshots.append(take(world, guest, name))
        run(world, 100)
    a, b, c = snapshots
    sizes = [size_pages(world, guest, snapshot) for snapshot in snapshots]
    now = snapshots_of(world, guest).image
    job = begin_delete(world, guest, b)
    assert job is not None
    assert job.total == sizes[1]
    finish(world, job)
    assert tree(world, guest) == {"a": None, "c": "a"}
    assert size_pages(world, guest, a) == sizes[0] + sizes[1]
    assert size_pages(world, guest, c) >= sizes[2]
    assert c.image == b.image
    assert snapshots_of(world, guest).image == now


@pytest.mark.parametrize("kind", [INTERNAL, DISK_ONLY])
def test_what_needs_no_merging_is_gone_at_once(kind: SnapshotKind) -> None:
    world, guest = one_guest()
    first = take(world, guest, "first", kind)
    take(world, guest, "second", kind)
    if kind is DISK_ONLY:
        # Nothing stands on the second one any more.
        finish(world, begin_revert(world, guest, first))
    began = world.tick
    assert begin_delete(world, guest, find(world, guest, "second")) is None
    assert (world.tick, tree(world, guest)) == (began, {"first": None})


def test_an_overlay_of_a_vm_that_is_off_is_merged_at_once() -> None:
    world, guest = one_guest()
    taken = take(world, guest)
    run(world, 60)
    world.stop(guest)
    assert begin_delete(world, guest, taken) is None
    assert tree(world, guest) == {}


@pytest.mark.parametrize("kind", [INTERNAL, EXTERNAL])
def test_going_back_brings_memory_and_counters_of_then_in_a_new_process(kind: SnapshotKind) -> None:
    world, guest = one_guest(utilisation=0.6)
    publisher = Publisher(world, "simulator:///")
    taken = take(world, guest, kind=kind)
    kept = (guest.current, guest.anon, guest.cache, guest.swapped, guest.swap_in, guest.major_faults)
    uptime_s = world.tick - guest.booted_at
    guest.target = 2 * PAGES_PER_GIB
    guest.stats_period_s = 2
    run(world, 120)
    assert guest.current < kept[0]
    run_before, major_faults = guest.domain_id, guest.host_faults
    job = begin_revert(world, guest, taken)
    assert (guest.current, guest.anon, guest.cache, guest.swapped, guest.swap_in, guest.major_faults) == kept
    assert (guest.target, guest.stats_period_s) == (guest.plan.maximum, 5)
    assert guest.domain_id != run_before
    assert guest.host_faults == 0 <= major_faults
    (vm,) = publisher.read(time_s=0, monotonic_s=0, read_s=0, passed=1).vms
    assert (vm.state, vm.state_reason, vm.guest) == (VmState.PAUSED, LOADING, None)
    assert vm.balloon_bytes == kept[0] * PAGE_BYTES
    assert finish(world, job) >= taken.memory // MEMORY_RATE
    assert guest.pause_reason is None
    assert world.tick - guest.booted_at - uptime_s < 60
    world.advance()
    # Programs want what they want now, not what they wanted then.
    assert guest.anon + guest.swapped <= guest.demand.pages_at(world.tick)
    assert guest.report is not None
    assert snapshots_of(world, guest).current is taken


def test_going_back_to_disks_alone_boots_the_guest() -> None:
    world, guest = one_guest()
    image = snapshots_of(world, guest).image
    taken = take(world, guest)
    run(world, 60)
    held = size_pages(world, guest, taken)
    assert begin_revert(world, guest, taken) is None
    assert not guest.is_running
    world.advance()
    assert guest.is_running
    assert guest.booted_at == world.tick
    assert snapshots_of(world, guest).image == f"{image.removesuffix('.qcow2')}.{EPOCH_S + 60}"
    assert size_pages(world, guest, taken) < held / 10


def test_going_back_to_memory_starts_a_vm_that_is_off() -> None:
    world, guest = one_guest()
    taken = take(world, guest, kind=INTERNAL)
    world.crash(guest)
    finish(world, begin_revert(world, guest, taken))
    run(world, 120)
    # The restart that was due after the crash has become needless.
    assert guest.is_running
    assert guest.started_at < world.tick - 100
    assert [active.plan.uid for active in world.active] == [1]


def test_going_back_to_a_paused_state_leaves_the_guest_paused() -> None:
    world, guest = one_guest(is_paused=True)
    taken = take(world, guest, kind=INTERNAL)
    guest.resume()
    run(world, 5)
    finish(world, begin_revert(world, guest, taken))
    assert guest.pause_reason == "from snapshot"


def test_going_back_throws_away_what_other_snapshots_do_not_hold() -> None:
    world, guest = one_guest(write_bytes_per_s=4 * MIB)
    a = take(world, guest, "a")
    run(world, 100)
    b = take(world, guest, "b")
    run(world, 100)
    held = size_pages(world, guest, a)
    finish(world, begin_revert(world, guest, a))
    assert tree(world, guest) == {"a": None, "b": "a"}
    assert size_pages(world, guest, b) == 0
    assert size_pages(world, guest, a) == held
    run(world, 100)
    assert size_pages(world, guest, a) > held


def test_going_back_throws_away_what_deleted_snapshots_left_on_top() -> None:
    world, guest = one_guest(write_bytes_per_s=4 * MIB)
    a = take(world, guest, "a")
    run(world, 100)
    finish(world, begin_delete(world, guest, take(world, guest, "b")))
    held = size_pages(world, guest, a)
    finish(world, begin_revert(world, guest, a))
    assert size_pages(world, guest, a) < held / 10


def test_a_guest_that_finds_no_memory_any_more_stays_off() -> None:
    plans = [make_plan(1), *(make_plan(uid, starts_at=NEVER) for uid in (2, 3, 4))]
    world = make_world(*plans, host=make_host_plan(total=6 * PAGES_PER_GIB, swap_capacity=0))
    guest = world.guests[0]
    taken = take(world, guest, kind=INTERNAL)
    world.stop(guest)
    for other in world.guests[1:]:
        world.start(other)
    run(world, 200)
    with pytest.raises(ControlError, match="Cannot allocate memory"):
        begin_revert(world, guest, taken)
    assert not guest.is_running
    before = Counters.of(world)
    world.advance()
    check_world(world, before)


def test_bitmaps_do_not_survive_a_revert() -> None:
    world, guest = one_guest()
    taken = take(world, guest)
    guest.disk.checkpoints["c1"] = guest.disk.mark(world.tick, "c1")
    begin_revert(world, guest, taken)
    assert guest.disk.checkpoints == {}
