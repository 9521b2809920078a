from collections.abc import Callable
from typing import Any

import pytest

from tests.backends.simulator.worlds import make_host_plan, make_plan, make_world, run
from vmtop.backends.simulator.backup import (
    AGENT_LOST,
    AGENT_PATIENCE_S,
    MOST_AT_ONCE,
    NETWORK_LOST,
    NETWORK_PATIENCE_S,
    NO_SPACE,
    BackupJob,
    BackupSpec,
    Stage,
    start_backup,
)
from vmtop.backends.simulator.disk import GRANULE_PAGES
from vmtop.backends.simulator.fleet import DEBIAN, WINDOWS_2022
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.job import CANCELLED, DONE
from vmtop.backends.simulator.plan import NEVER, PAGES_PER_GIB, PAGES_PER_MIB, Family, GuestPlan
from vmtop.backends.simulator.schedule import KEEP_POINTS, BackupWindow, Snapshots
from vmtop.backends.simulator.snapshot import Commit
from vmtop.backends.simulator.snapshot_tree import Snapshot
from vmtop.backends.simulator.store import CHUNKS, PLAIN, SMALL_CHUNKS, Format, Store, expect_shares
from vmtop.backends.simulator.world import World
from vmtop.errors import ControlError
from vmtop.model.kind import BackupKind, SnapshotKind
from vmtop.model.sample import JobKind
from vmtop.units import GIB, MIB, PAGE_BYTES


def backup_world(*plans: GuestPlan) -> World:
    """Guests of which none was ever backed up."""
    world = make_world(*(plans or (make_plan(disk_bytes=2 * GIB, write_bytes_per_s=4.0 * MIB),)))
    world.store = Store(world.store.capacity)
    for guest in world.guests:
        guest.disk.checkpoints.clear()
    return world


def begin(world: World, **spec: Any) -> tuple[Guest, BackupJob]:
    guest = world.guests[0]
    return guest, start_backup(world, guest, BackupSpec(**spec))


def finish(world: World, guest: Guest, within_s: int = 600) -> None:
    for _ in range(within_s):
        if guest.job is None:
            return
        run(world, 1)
    raise AssertionError(f"the job of {guest.plan.name} does not end")


def test_a_full_backup_reads_all_and_leaves_a_recovery_point() -> None:
    world = backup_world()
    guest, job = begin(world, name="/backup/one.qcow2", checkpoint="one")
    assert job.data * PAGE_BYTES == 2 * GIB
    assert job.total == guest.disk.capacity > 2 * job.data
    done = []
    while guest.job is not None:
        done.append(job.done)
        run(world, 1)
    assert done == sorted(done)
    assert len(done) == pytest.approx(2048 / 200, abs=2)
    assert job.ending == DONE
    (point,) = world.store.points(guest.plan)
    assert (point.name, point.kind, point.mark.at, point.parent) == ("/backup/one.qcow2", BackupKind.FULL, 0, None)
    assert job.done == job.total
    assert point.read == point.sent == point.stored == job.data
    assert world.store.used == point.stored
    assert list(guest.disk.checkpoints) == ["one"]


def test_an_incremental_backup_reads_what_was_written_since_its_checkpoint() -> None:
    world = backup_world()
    guest, _ = begin(world, checkpoint="one", name="full")
    finish(world, guest)
    run(world, 60)
    dirty = guest.disk.dirty_since(guest.disk.checkpoints["one"], world.tick)
    _, job = begin(world, since="one", checkpoint="two", name="more")
    assert job.total == job.data == dirty
    assert 0 < dirty < 0.2 * guest.disk.allocated
    assert dirty % GRANULE_PAGES == 0
    finish(world, guest)
    point = world.store.points(guest.plan)[-1]
    assert (point.kind, point.parent, point.mark.name) == (BackupKind.INCREMENTAL, "full", "two")


def test_what_is_written_during_a_backup_is_read_by_the_next_one() -> None:
    world = backup_world()
    guest, _ = begin(world, checkpoint="one")
    began = guest.disk.written(world.tick)
    finish(world, guest)
    written = guest.disk.written(world.tick) - began
    assert written > 10 * MIB
    _, job = begin(world, since="one")
    assert job.total >= sum(guest.disk.touched(written)) * GRANULE_PAGES


@pytest.mark.parametrize("ending", [NO_SPACE, NETWORK_LOST, CANCELLED])
def test_a_backup_that_fails_loses_no_dirty_bit(ending: Any) -> None:
    world = backup_world()
    guest, _ = begin(world, checkpoint="one")
    finish(world, guest)
    run(world, 60)
    _, job = begin(world, since="one", checkpoint="two", bytes_per_s=20 * MIB)
    before = job.total
    if ending == CANCELLED:
        run(world, 2)
        world.cancel_job(guest)
    else:
        job.fail_at(0.5, ending)
    finish(world, guest)
    assert job.ending == ending
    assert 0 < job.done < job.total
    guest.resume()
    run(world, 10)
    assert [point.mark.name for point in world.store.points(guest.plan)] == ["one"]
    assert world.store.used == world.store.stored
    # libvirt leaves the checkpoint of a backup that failed behind.
    assert list(guest.disk.checkpoints) == ["one", "two"]
    _, again = begin(world, since="one")
    assert again.total > before


def test_a_full_store_stops_the_guest_and_leaves_it_stopped() -> None:
    world = backup_world()
    world.store.capacity = PAGES_PER_GIB // 2
    guest, job = begin(world)
    finish(world, guest)
    assert job.ending == NO_SPACE
    assert guest.pause_reason == "I/O error"
    assert world.store.used == 0
    assert any("backup of web-01 failed: No space left on device" in notice for notice in world.notices())
    (told,) = world.finished
    assert (told.is_good, told.error) == (False, "No space left on device")
    run(world, 30)
    assert guest.is_frozen
    guest.resume()
    assert not guest.is_frozen


def test_a_vm_that_goes_away_takes_its_backup_along_and_nobody_says_why() -> None:
    world = backup_world()
    guest, job = begin(world)
    run(world, 3)
    world.stop(guest)
    (told,) = world.finished
    assert (told.is_good, told.error, told.kind) == (False, None, JobKind.BACKUP)
    assert told.processed_bytes == job.done * PAGE_BYTES > 0
    assert (world.host.backup_buffers, world.store.used, world.store.senders) == (0, 0, 0)


def test_a_store_that_comes_back_in_time_only_delays_a_backup() -> None:
    world = backup_world()
    guest, job = begin(world)
    run(world, 3)
    done = job.done
    world.store.is_reachable = False
    run(world, NETWORK_PATIENCE_S - 5)
    assert (job.stage, job.done) == (Stage.PAUSED, done)
    assert guest.progress < 0.1
    world.store.is_reachable = True
    finish(world, guest)
    assert job.ending == DONE
    assert run(world, 1).guests[0].progress == 1.0


def test_a_store_that_stays_away_ends_a_backup_without_stopping_the_guest() -> None:
    world = backup_world()
    guest, job = begin(world)
    world.store.is_reachable = False
    run(world, NETWORK_PATIENCE_S)
    assert guest.job is None
    assert job.ending == NETWORK_LOST
    assert not guest.is_frozen


def test_the_agent_freezes_file_systems_before_the_copy_begins() -> None:
    world = backup_world()
    guest, job = begin(world, is_quiesced=True, checkpoint="one")
    assert job.stage is Stage.FREEZING
    assert not guest.disk.checkpoints
    run(world, 4)
    assert "one" in guest.disk.checkpoints
    assert job.done > 0
    finish(world, guest)
    (point,) = world.store.points(guest.plan)
    assert 1 <= point.mark.at <= 3


def test_a_checkpoint_that_is_deleted_before_the_copy_begins_is_still_gone_on_from() -> None:
    world = backup_world()
    guest, _ = begin(world, checkpoint="one")
    finish(world, guest)
    _, job = begin(world, since="one", is_quiesced=True)
    del guest.disk.checkpoints["one"]
    finish(world, guest)
    assert job.ending == DONE
    assert world.store.points(guest.plan)[-1].kind is BackupKind.INCREMENTAL


def test_an_agent_that_does_not_answer_ends_the_backup() -> None:
    world = backup_world()
    guest, job = begin(world, is_quiesced=True)
    guest.flaws.has_hung_agent = True
    run(world, AGENT_PATIENCE_S - 1)
    assert guest.job is job
    run(world, 1)
    assert guest.job is None
    assert job.ending == AGENT_LOST
    assert world.host.backup_buffers == 0


def test_a_backup_takes_buffers_and_page_cache_and_slows_the_disks_down() -> None:
    world = backup_world(*(make_plan(uid, disk_bytes=20 * GIB) for uid in range(1, 5)))
    host = run(world, 1).host
    idle_latency_s, cache, free = host.pool.latency_s, host.cache, host.free
    jobs = [start_backup(world, guest) for guest in world.guests]
    buffers = sum(job.buffers for job in jobs)
    assert all(64 * PAGES_PER_MIB <= job.buffers <= 256 * PAGES_PER_MIB for job in jobs)
    assert host.free == free - buffers
    run(world, 10)
    assert host.cache - cache > PAGES_PER_GIB
    assert 2 * idle_latency_s < host.pool.latency_s < 5 * idle_latency_s
    assert host.backup_buffers == buffers
    world.stop(world.guests[0])
    assert host.backup_buffers == buffers - jobs[0].buffers


def test_a_backup_waits_until_the_host_has_memory_for_it() -> None:
    world = make_world(make_plan(), host=make_host_plan(swap_capacity=0))
    host = world.host
    taken = host.free + host.cache - host.cache_floor
    host.system += taken
    host.free, host.cache = 0, host.cache_floor
    job = start_backup(world, world.guests[0])
    run(world, 3)
    assert (job.stage, job.done, host.backup_buffers) == (Stage.QUEUED, 0, 0)
    host.system -= taken
    host.free += taken
    run(world, 2)
    assert job.stage is Stage.COPYING
    assert job.done > 0


def test_a_backup_waits_for_its_turn_at_the_store_and_can_be_cancelled_there() -> None:
    plans = [make_plan(uid, disk_bytes=40 * GIB, maximum=PAGES_PER_GIB) for uid in range(1, MOST_AT_ONCE + 3)]
    world = backup_world(*plans)
    jobs = [start_backup(world, guest) for guest in world.guests]
    assert [job.stage for job in jobs[-2:]] == [Stage.QUEUED] * 2
    world.cancel_job(world.guests[-1])
    assert world.host.backup_buffers == sum(job.buffers for job in jobs[:-2])
    world.cancel_job(world.guests[0])
    run(world, 1)
    assert jobs[-2].stage is Stage.COPYING


def test_writes_wait_for_copies_and_less_so_with_fleecing() -> None:
    progress = []
    for has_fleecing in (False, True):
        world = backup_world(make_plan(disk_bytes=20 * GIB, write_bytes_per_s=8.0 * MIB))
        guest, job = begin(world, has_fleecing=has_fleecing)
        run(world, 3)
        progress.append(guest.progress)
        assert (job.scratch_used > 0) == has_fleecing
        assert job.scratch_total is None
    assert progress[0] < progress[1] < 1


def test_a_guest_that_writes_nothing_does_not_wait() -> None:
    world = backup_world(make_plan(disk_bytes=20 * GIB, write_bytes_per_s=0.0))
    guest, _ = begin(world)
    assert run(world, 5).guests[0].progress == 1.0
    assert guest.job is not None


def test_a_pull_backup_ends_with_its_reader_and_only_fills_its_scratch_file() -> None:
    world = backup_world()
    guest, job = begin(world, is_pull=True, checkpoint="one")
    scratch = []
    while guest.job is not None:
        scratch.append(job.scratch_used)
        run(world, 1)
    assert not job.has_progress
    assert scratch == sorted(scratch)
    assert 0 < scratch[-1] < guest.disk.hot_granules() * GRANULE_PAGES * 1.1
    assert job.scratch_total == guest.disk.capacity
    assert len(world.store.points(guest.plan)) == 1
    assert world.finished[0].processed_bytes is None


def test_to_end_a_pull_backup_early_is_good_for_libvirt_but_leaves_no_recovery_point() -> None:
    world = backup_world()
    guest, _ = begin(world, is_pull=True)
    run(world, 3)
    world.cancel_job(guest)
    assert world.finished[0].is_good
    assert not world.store.points(guest.plan)
    assert world.store.used == 0


def test_a_limit_slows_a_backup_down_until_it_is_lifted() -> None:
    world = backup_world(make_plan(disk_bytes=20 * GIB, write_bytes_per_s=0.0))
    _, job = begin(world, bytes_per_s=10 * MIB)
    run(world, 5)
    assert job.read == 50 * PAGES_PER_MIB
    job.set_limit(20 * MIB)
    run(world, 1)
    assert job.read == 70 * PAGES_PER_MIB
    job.set_limit(0)
    run(world, 1)
    assert job.read == 270 * PAGES_PER_MIB


def test_a_hung_guest_holds_its_backup_up() -> None:
    world = backup_world()
    guest, job = begin(world)
    run(world, 3)
    guest.hang(world.tick)
    done = job.done
    run(world, 10)
    assert job.done == done > 0
    guest.recover()
    finish(world, guest)


def _busy_disk(world: World) -> BackupSpec:
    guest = world.guests[0]
    snapshot = Snapshot(
        name="s", kind=SnapshotKind.DISK_ONLY, taken_at=0, state="disk-snapshot", image="i", memory=0, registers=None
    )
    world.begin_job(
        guest,
        Commit(
            kind=JobKind.BLOCK_COMMIT,
            started_at=0,
            total=1,
            disk="vda",
            world=world,
            guest=guest,
            snapshot=snapshot,
            is_active=True,
        ),
    )
    return BackupSpec()


def _busy(world: World) -> BackupSpec:
    start_backup(world, world.guests[0])
    return BackupSpec()


def _off(world: World) -> BackupSpec:
    world.stop(world.guests[0])
    return BackupSpec()


def _taken(**spec: Any) -> Callable[[World], BackupSpec]:
    def make(world: World) -> BackupSpec:
        guest, _ = begin(world, checkpoint="one", name="/backup/one")
        finish(world, guest)
        return BackupSpec(**spec)

    return make


@pytest.mark.parametrize(
    ("prepare", "code", "words"),
    [
        (_off, 84, "cannot perform disk backup for inactive domain"),
        (_busy, 68, "cannot acquire state change lock"),
        (_busy_disk, 1, "disk 'vda' has a blockjob assigned"),
        (lambda _: BackupSpec(since="nope"), 103, "Checkpoint 'nope' for incremental backup of disk 'vda' not found"),
        (_taken(checkpoint="one"), 9, "one already exists"),
        (_taken(name="/backup/one"), 8, "store '/backup/one' for backup of 'vda' exists"),
        (lambda _: BackupSpec(is_quiesced=True), 86, "agent is not connected"),
    ],
)
def test_what_cannot_be_is_refused_with_the_code_of_libvirt(
    prepare: Callable[[World], BackupSpec], code: int, words: str
) -> None:
    world = backup_world(make_plan(disk_bytes=2 * GIB, has_agent=False))
    spec = prepare(world)
    used, job = world.store.used, world.guests[0].job
    with pytest.raises(ControlError, match=words) as error:
        start_backup(world, world.guests[0], spec)
    assert error.value.code == code
    assert (world.store.used, world.guests[0].job) == (used, job)


@pytest.mark.parametrize(
    ("family", "form", "known"), [(DEBIAN, CHUNKS, 0.35), (WINDOWS_2022, CHUNKS, 0.45), (DEBIAN, SMALL_CHUNKS, 0.55)]
)
def test_a_second_guest_of_a_family_stores_less_than_the_first(family: Family, form: Format, known: float) -> None:
    world = backup_world(*(make_plan(uid, disk_bytes=2 * GIB, family=family, zero_share=0.25) for uid in (1, 2)))
    for guest in world.guests:
        start_backup(world, guest, BackupSpec(form=form))
        finish(world, guest)
    first, second = (world.store.points(guest.plan)[0] for guest in world.guests)
    assert first.sent == second.sent == first.stored == pytest.approx(0.75 / 1.6 * first.read, abs=2)
    assert second.stored == pytest.approx((1 - known) * second.sent, abs=2)


def test_a_guest_that_was_backed_up_before_sends_only_what_changed() -> None:
    world = backup_world(make_plan(disk_bytes=2 * GIB, write_bytes_per_s=1.0 * MIB))
    guest, _ = begin(world, form=CHUNKS)
    finish(world, guest)
    run(world, 300)
    begin(world, form=CHUNKS)
    finish(world, guest)
    first, second = world.store.points(guest.plan)
    assert second.kind is BackupKind.FULL
    assert second.read == first.read
    assert second.sent < 0.2 * first.sent
    assert second.stored == pytest.approx(0.9 * second.sent, abs=2)


def test_plain_files_keep_zeros_and_know_nothing_of_each_other() -> None:
    plan = make_plan(zero_share=0.5)
    for kind in BackupKind:
        shares = expect_shares(Store(1), plan, PLAIN, kind=kind, changed=0.1)
        assert shares.sent == shares.stored == 1.0
        assert expect_shares(Store(1), plan, CHUNKS, kind=kind, changed=0.1).sent < 1.0 / CHUNKS.compression + 1e-9


def test_to_prune_old_points_frees_what_newer_ones_replaced() -> None:
    world = backup_world(make_plan(disk_bytes=2 * GIB, write_bytes_per_s=4.0 * MIB))
    world.directors = (BackupWindow(parallel=1, again_after_s=60),)
    guest, store = world.guests[0], world.store
    kept, used = [], []
    for _ in range(60 * (KEEP_POINTS + 4)):
        run(world, 1)
        kept.append(len(store.points(guest.plan)))
        used.append(store.used)
        assert store.used >= store.stored
    assert max(kept) == kept[-1] == KEEP_POINTS
    points = store.points(guest.plan)
    assert points[0].kind is BackupKind.INCREMENTAL
    assert points[0].parent is None
    assert [point.parent for point in points[1:]] == [point.name for point in points[:-1]]
    full = guest.disk.allocated * (1 - guest.plan.zero_share) / CHUNKS.compression
    assert points[0].stored == pytest.approx(full, rel=0.01), "all that did not change is still there"
    assert used[-1] == pytest.approx(used[60 * (KEEP_POINTS + 2)], rel=0.05)


def test_plain_points_are_not_pruned_since_later_ones_build_on_them() -> None:
    world = backup_world()
    guest, _ = begin(world, checkpoint="one")
    finish(world, guest)
    begin(world, since="one", checkpoint="two")
    finish(world, guest)
    world.store.prune(guest.plan, 1)
    assert len(world.store.points(guest.plan)) == 2


def test_a_window_backs_up_so_many_at_once_and_each_guest_once() -> None:
    world = make_world(
        *(make_plan(uid, disk_bytes=4 * GIB) for uid in range(1, 6)),
        directors=(BackupWindow(parallel=2, starts_at=10, again_after_s=1_000),),
    )
    run(world, 9)
    assert not any(guest.job for guest in world.guests)
    most = 0
    for _ in range(200):
        run(world, 1)
        most = max(most, sum(guest.job is not None for guest in world.guests))
    assert most == 2
    assert all(sum(point.mark.at >= 10 for point in world.store.points(guest.plan)) == 1 for guest in world.guests)


def test_the_second_backup_of_a_window_is_incremental_and_old_checkpoints_go() -> None:
    world = backup_world(make_plan(disk_bytes=2 * GIB), make_plan(2, starts_at=NEVER))
    world.directors = (BackupWindow(parallel=1, again_after_s=50, failures=1),)
    guest = world.guests[0]
    run(world, 30)
    assert guest.pause_reason == "I/O error"
    assert not world.store.points(guest.plan)
    guest.resume()
    run(world, 120)
    points = world.store.points(guest.plan)
    assert [point.kind for point in points[:2]] == [BackupKind.FULL, BackupKind.INCREMENTAL]
    assert list(guest.disk.checkpoints) == [point.mark.name for point in points[-2:]]


def test_a_window_has_some_backups_fetched_by_a_reader() -> None:
    world = make_world(
        *(make_plan(uid, disk_bytes=2 * GIB) for uid in range(1, 5)),
        directors=(BackupWindow(parallel=1, starts_at=1, again_after_s=1_000, pull_every=2),),
    )
    kinds: dict[int, bool] = {}
    for _ in range(100):
        run(world, 1)
        kinds |= {guest.plan.uid: guest.job.has_progress for guest in world.guests if guest.job is not None}
    assert sorted(kinds.values()) == [False, False, True, True]
    assert all(any(point.mark.at >= 1 for point in world.store.points(guest.plan)) for guest in world.guests)


def test_a_snapshot_that_a_fault_prevents_fails_and_is_told() -> None:
    world = make_world(make_plan(), directors=(Snapshots(every_s=20, count=1),))
    world.guests[0].flaws.refuses_snapshots = True
    run(world, 20)
    assert world.guests[0].job is None
    assert any("snapshot of web-01 failed: " in notice for notice in world.notices())


def test_snapshots_come_at_their_times() -> None:
    world = make_world(make_plan(1), make_plan(2), directors=(Snapshots(every_s=20, count=2),))
    begun = 0
    for _ in range(100):
        run(world, 1)
        begun += any(guest.job is not None and guest.job.started_at == world.tick for guest in world.guests)
    assert begun == 2
