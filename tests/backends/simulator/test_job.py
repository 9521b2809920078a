from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends.simulator.invariants import Snapshot, check_world
from tests.backends.simulator.worlds import make_host_plan, make_plan, make_world, run
from vmtop.backends.simulator.backup import NETWORK_LOST, NO_SPACE, BackupJob, BackupSpec, start_backup
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.job import CANCELLED, DONE, VM_GONE, Ending, Job, run_jobs
from vmtop.backends.simulator.migration import start_migration
from vmtop.backends.simulator.plan import PAGES_PER_GIB
from vmtop.backends.simulator.storage import Pool
from vmtop.backends.simulator.store import CHUNKS, PLAIN, SMALL_CHUNKS
from vmtop.backends.simulator.world import World
from vmtop.errors import ControlError
from vmtop.model.sample import JobKind
from vmtop.units import GIB, MIB, PAGE_BYTES


@dataclass(slots=True, kw_only=True, eq=False)
class Copying(Job):
    """Moves as much as it may."""

    rate: int = 100
    closed: int = 0

    def step(self, share: int) -> int:
        moved = min(self.capped(self.rate), share, self.total - self.done)
        self.done += moved
        if self.done == self.total:
            self.ending = DONE
        return moved

    def close(self) -> None:
        self.closed += 1


@dataclass(slots=True, kw_only=True, eq=False)
class Stubborn(Copying):
    """Can be neither cancelled nor limited."""

    can_cancel: ClassVar[bool] = False
    can_limit: ClassVar[bool] = False


def make_job(total: int = 1000, rate: int = 100, disk: str | None = None) -> Copying:
    return Copying(kind=JobKind.OTHER, started_at=0, total=total, rate=rate, disk=disk)


def test_what_one_job_leaves_of_the_storage_goes_to_the_others() -> None:
    pool = Pool(300, 1e-3)
    jobs = [make_job(rate=20), make_job(rate=1000), make_job(rate=1000)]
    run_jobs(jobs, pool, 1)
    assert [job.done for job in jobs] == [20, 140, 140]
    assert pool.busy_now == 300


def test_the_first_second_goes_into_setting_a_job_up() -> None:
    job = make_job()
    run_jobs([job], Pool(300, 1e-3), 0)
    assert job.done == 0


def test_a_job_that_is_done_is_closed_once_and_told() -> None:
    world = make_world(make_plan())
    guest, job = world.guests[0], make_job(total=250)
    world.begin_job(guest, job)
    run(world, 2)
    assert guest.job is job
    run(world, 5)
    assert guest.job is None
    assert job.closed == 1
    (told,) = world.finished
    assert (told.is_good, told.elapsed_s, told.processed_bytes) == (True, 3.0, 250 * PAGE_BYTES)


def test_only_one_job_holds_a_vm_at_a_time() -> None:
    world = make_world(make_plan())
    guest = world.guests[0]
    world.begin_job(guest, make_job())
    with pytest.raises(ControlError, match="cannot acquire state change lock") as error:
        world.begin_job(guest, make_job())
    assert error.value.code == 68
    world.stop(guest)
    assert [told.is_good for told in world.finished] == [False]
    with pytest.raises(ControlError, match="domain is not running") as error:
        world.begin_job(guest, make_job())
    assert error.value.code == 55


def test_a_job_can_be_cancelled_and_the_operator_sees_it() -> None:
    world = make_world(make_plan())
    guest, job = world.guests[0], make_job()
    world.begin_job(guest, job)
    world.cancel_job(guest)
    assert guest.job is None
    assert (job.ending, job.closed) == (CANCELLED, 1)
    assert any("was cancelled" in notice for notice in world.notices())
    with pytest.raises(ControlError, match="no job is active on the domain") as error:
        world.cancel_job(guest)
    assert error.value.code == 55


def test_a_job_of_a_disk_is_no_job_of_the_vm() -> None:
    world = make_world(make_plan())
    world.begin_job(world.guests[0], make_job(disk="vda"))
    with pytest.raises(ControlError, match="no job is active on the domain"):
        world.cancel_job(world.guests[0])


def test_some_jobs_can_be_neither_cancelled_nor_limited() -> None:
    world = make_world(make_plan())
    job = Stubborn(kind=JobKind.SNAPSHOT, started_at=0, total=10)
    world.begin_job(world.guests[0], job)
    with pytest.raises(ControlError, match="state change lock"):
        world.cancel_job(world.guests[0])
    with pytest.raises(ControlError, match="no limit"):
        job.set_limit(1)
    assert world.guests[0].job is job


@pytest.mark.parametrize(("bytes_per_s", "limit"), [(0, None), (1, 1), (10 * PAGE_BYTES, 10), (MIB, 256)])
def test_a_limit_is_in_pages_and_never_stops_a_job(bytes_per_s: int, limit: int | None) -> None:
    job = make_job()
    job.set_limit(bytes_per_s)
    assert job.limit == limit
    assert job.capped(1000) == (1000 if limit is None else limit)


def test_a_vm_that_is_killed_ends_its_job_without_a_reason() -> None:
    world = make_world(make_plan())
    guest, job = world.guests[0], make_job()
    world.begin_job(guest, job)
    world.crash(guest)
    assert job.ending == VM_GONE
    assert world.finished[0].error is None


FORMATS = (PLAIN, CHUNKS, SMALL_CHUNKS)


class RestlessOperator:
    """Begins, cancels, limits and breaks backups and migrations at any time."""

    def direct(self, world: World) -> None:
        def chance(uid: int, channel: int) -> float:
            return world.dice.uniform(uid, world.tick, channel)

        world.store.is_reachable = chance(0, 900) > 0.05
        for guest in list(world.active):
            uid = guest.plan.uid
            if isinstance(guest.job, BackupJob) and chance(uid, 901) < 0.1:
                guest.job.fail_at(chance(uid, 902), NO_SPACE if chance(uid, 903) < 0.5 else NETWORK_LOST)
            elif guest.job is not None and chance(uid, 904) < 0.05:
                world.cancel_job(guest)
            elif guest.job is not None and chance(uid, 905) < 0.1 and guest.job.can_limit:
                guest.job.set_limit(int(chance(uid, 906) * 500 * MIB))
            elif guest.job is None and chance(uid, 907) < 0.3:
                self.back_up(world, guest, chance(uid, 908), chance(uid, 909))
            elif guest.job is None and chance(uid, 910) < 0.01:
                start_migration(world, guest, bytes_per_s=int(chance(uid, 911) * GIB))
            elif chance(uid, 912) < 0.01:
                world.crash(guest)
            elif chance(uid, 913) < 0.02:
                world.stop(guest)
                world.start(guest)
            elif guest.pause_reason == "I/O error" and chance(uid, 914) < 0.5:
                guest.resume()
            guest.flaws.has_hung_agent = chance(uid, 915) < 0.3

    def back_up(self, world: World, guest: Guest, one: float, other: float) -> None:
        checkpoints = list(guest.disk.checkpoints)
        start_backup(
            world,
            guest,
            BackupSpec(
                checkpoint=None if one < 0.3 else f"at-{world.tick}",
                since=checkpoints[int(other * len(checkpoints))] if checkpoints and one < 0.8 else None,
                is_pull=other < 0.3,
                is_quiesced=0.2 < other < 0.5,
                has_fleecing=0.4 < other < 0.7,
                form=FORMATS[int(one * len(FORMATS))],
            ),
        )


@settings(max_examples=40, deadline=None)
@given(
    ticks=st.integers(1, 120),
    seed=st.integers(0, 1000),
    disk_bytes=st.integers(1, 64),
    write_bytes_per_s=st.floats(0, 50 * MIB),
    room=st.floats(0, 1),
    total=st.sampled_from((12, 64)),
)
def test_jobs_lose_no_page_and_no_dirty_bit(
    ticks: int, seed: int, disk_bytes: int, write_bytes_per_s: float, room: float, total: int
) -> None:
    plans = [
        make_plan(uid, disk_bytes=disk_bytes * 256 * MIB + uid * PAGE_BYTES, write_bytes_per_s=write_bytes_per_s)
        for uid in range(1, 5)
    ]
    world = make_world(
        *plans, host=make_host_plan(total=total * PAGES_PER_GIB), directors=(RestlessOperator(),), seed=seed
    )
    world.store.capacity = world.store.used + int(room * world.store.capacity)
    for _ in range(ticks):
        before = Snapshot.of(world)
        world.advance()
        check_world(world, before)


def test_the_same_jobs_run_twice_are_the_same() -> None:
    def tell() -> list[object]:
        world = make_world(*(make_plan(uid) for uid in range(1, 5)), directors=(RestlessOperator(),), seed=7)
        run(world, 300)
        return [*world.finished, *(world.store.points(guest.plan) for guest in world.guests), world.host.free]

    first = tell()
    assert len(first) > 20
    assert first == tell()


def test_endings_are_told_apart_by_what_they_say() -> None:
    assert Ending(is_good=False, error="No space left on device") == NO_SPACE != CANCELLED
