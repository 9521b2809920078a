from itertools import pairwise
from typing import Any

import pytest

from tests.backends.simulator.worlds import make_plan, make_world, run
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.job import CANCELLED, DONE
from vmtop.backends.simulator.migration import BANDWIDTH, NOT_CONVERGED, MigrationJob, start_migration
from vmtop.backends.simulator.plan import NEVER
from vmtop.backends.simulator.world import World
from vmtop.errors import ControlError
from vmtop.units import MIB, PAGE_BYTES


def begin(*, mib_per_s: int = 0, may_throttle: bool = True) -> tuple[World, Guest, MigrationJob]:
    world = run(make_world(make_plan()), 5)
    guest = world.guests[0]
    return world, guest, start_migration(world, guest, may_throttle=may_throttle, bytes_per_s=mib_per_s * MIB)


def finish(world: World, guest: Guest) -> None:
    for _ in range(2000):
        if guest.job is None:
            return
        run(world, 1)
    raise AssertionError("the migration does not end")


def test_a_guest_that_writes_less_than_the_network_carries_leaves_after_a_few_rounds() -> None:
    world, guest, job = begin(mib_per_s=100)
    free, rss = world.host.free, guest.resident
    assert job.total == rss
    finish(world, guest)
    assert job.ending == DONE
    assert 1 < job.rounds < 10
    assert job.throttle == 0
    assert job.done == job.total > rss
    assert (guest.is_running, guest.has_left, guest in world.active) == (False, True, False)
    assert world.host.free > free + rss // 2


def test_it_takes_as_long_as_its_memory_needs_on_the_wire() -> None:
    world, guest, job = begin()
    rss = guest.resident
    finish(world, guest)
    assert world.tick - job.started_at == pytest.approx(rss / BANDWIDTH, abs=2)


def test_rounds_shrink_like_a_geometric_series() -> None:
    world, guest, job = begin(mib_per_s=60)
    rounds = [job.round_pages]
    while guest.job is not None:
        if job.round_pages != rounds[-1]:
            rounds.append(job.round_pages)
        run(world, 1)
    ratios = [later / earlier for earlier, later in pairwise(rounds)]
    assert len(ratios) >= 2
    assert all(ratio < 0.8 for ratio in ratios)


def test_a_guest_that_writes_faster_than_the_network_is_throttled_until_it_fits() -> None:
    world, guest, job = begin(mib_per_s=15)
    slowest = 1.0
    while guest.job is not None and world.tick < 2000:
        run(world, 1)
        slowest = min(slowest, guest.progress)
        assert job.done <= job.total
    assert job.ending == DONE
    assert job.throttle >= 0.2
    assert slowest == pytest.approx(1 - job.throttle, abs=0.11)


def test_where_it_must_not_be_throttled_the_migration_is_given_up_and_the_guest_goes_on() -> None:
    world, guest, job = begin(mib_per_s=15, may_throttle=False)
    finish(world, guest)
    assert job.ending == NOT_CONVERGED
    assert guest.is_running
    assert not guest.has_left
    assert guest.progress == 1.0


def test_a_paused_guest_needs_one_round() -> None:
    world, guest, job = begin(mib_per_s=100)
    guest.pause("user")
    rss = guest.resident
    finish(world, guest)
    assert (job.rounds, job.done) == (1, rss)


def test_a_cancelled_migration_leaves_the_guest_where_it_is() -> None:
    world, guest, job = begin(mib_per_s=100)
    run(world, 3)
    world.cancel_job(guest)
    assert job.ending == CANCELLED
    assert guest.is_running
    assert world.finished[0].processed_bytes == 3 * 100 * MIB == job.done * PAGE_BYTES


def test_a_guest_that_left_can_be_started_again_here() -> None:
    world, guest, _ = begin()
    finish(world, guest)
    world.start(guest)
    run(world, 2)
    assert guest.is_running
    assert not guest.has_left


@pytest.mark.parametrize(("changes", "code"), [({"has_vfio": True}, 55), ({"starts_at": NEVER}, 55)])
def test_what_cannot_leave_is_refused(changes: dict[str, Any], code: int) -> None:
    world = make_world(make_plan(**changes))
    with pytest.raises(ControlError) as error:
        start_migration(world, world.guests[0])
    assert error.value.code == code
