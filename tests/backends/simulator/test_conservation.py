from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends.simulator.invariants import Snapshot, check_world
from tests.backends.simulator.worlds import make_host_plan, make_plan, make_world, run
from vmtop.backends.simulator.dice import Dice
from vmtop.backends.simulator.fault import GUEST_FAULTS, HOST_FAULTS
from vmtop.backends.simulator.fleet import FAMILIES, Template, sample_fleet
from vmtop.backends.simulator.foreign import ProxmoxBalancer
from vmtop.backends.simulator.plan import PAGES_PER_GIB, PAGES_PER_MIB, GuestPlan, HostPlan, Kind
from vmtop.backends.simulator.schedule import BackupWindow, Snapshots
from vmtop.backends.simulator.script import Event, FaultScript, Hazard
from vmtop.backends.simulator.world import World

SHOWN: tuple[str, ...] = (
    "domain_id",
    "current",
    "target",
    "anon",
    "cache",
    "free",
    "swapped",
    "backed",
    "host_swapped",
    "merged",
)
SHOWN += ("swap_in", "swap_out", "major_faults", "host_faults", "progress", "is_frozen", "is_defined")
"""Figures of a guest that two runs of one world must share."""


class RestlessOperator:
    """Sets balloons to anything at any time."""

    def direct(self, world: World) -> None:
        for guest in world.active:
            if world.dice.uniform(guest.plan.uid, world.tick, 900) < 0.05:
                guest.target = int(world.dice.uniform(guest.plan.uid, world.tick, 901) * guest.plan.maximum) + 1


@st.composite
def guest_plans(draw: st.DrawFn, uid: int) -> GuestPlan:
    gib = draw(st.sampled_from((1, 2, 4, 16)))
    maximum = gib * PAGES_PER_GIB
    changes: dict[str, Any] = {
        "uid": uid,
        "target": draw(st.none() | st.integers(maximum // 8, maximum)),
        "swap_capacity": draw(st.sampled_from((0, maximum // 4, maximum // 2))),
        "hot_share": draw(st.floats(0, 1)),
        "file_set": draw(st.integers(0, maximum)),
        "touched_share": draw(st.floats(0, 1)),
        "starts_at": draw(st.none() | st.integers(1, 30)),
        "stats_period_s": draw(st.sampled_from((0, 1, 5))),
    }
    changes["file_hot"] = draw(st.integers(0, changes["file_set"]))
    for flag in (
        *("has_driver", "has_balloon", "has_autodeflate", "has_free_page_reporting"),
        *("has_nosharepages", "is_paused"),
    ):
        changes[flag] = draw(st.booleans())
    changes["has_vfio"] = draw(st.sampled_from((False, False, False, True)))
    changes["has_hugepages"] = not changes["has_vfio"] and draw(st.sampled_from((False, False, False, True)))
    template = Template(
        count=1,
        gib=gib,
        kind=draw(st.sampled_from(Kind)),
        family=draw(st.sampled_from([family for family, _ in FAMILIES])),
        changes=changes,
    )
    return sample_fleet(Dice(draw(st.integers(0, 1000))), (template,))[0]


def size_total(plans: Sequence[GuestPlan], overcommit: float) -> int:
    """Memory of a host that is overcommitted so much, but holds what cannot be swapped."""
    maxima = sum(plan.maximum for plan in plans)
    pinned = sum(plan.maximum for plan in plans if plan.is_pinned)
    least = sum(plan.maximum // 25 + 256 * PAGES_PER_MIB for plan in plans) + PAGES_PER_GIB // 2
    return max(int(maxima / overcommit), least) + pinned


@st.composite
def worlds(draw: st.DrawFn) -> World:
    plans = [draw(guest_plans(uid)) for uid in range(1, draw(st.integers(1, 7)) + 1)]
    host = HostPlan(
        total=size_total(plans, draw(st.floats(0.8, 3.0))),
        cpus=draw(st.integers(1, 64)),
        swap_capacity=draw(st.sampled_from((0, PAGES_PER_GIB // 4, PAGES_PER_GIB, 16 * PAGES_PER_GIB))),
        swap_bandwidth=draw(st.integers(1_000, 200_000)),
        hugepages=sum(plan.maximum for plan in plans if plan.has_hugepages),
        latency_s=draw(st.sampled_from((1e-4, 1e-2))),
    )
    directors = (
        RestlessOperator(),
        BackupWindow(parallel=draw(st.integers(1, 4)), failures=draw(st.integers(0, 2)), again_after_s=20),
        Snapshots(every_s=7, count=5),
        FaultScript(
            [Event(fault="slow-swap", at_s=10, lasts_s=10), Event(fault="update", at_s=15, every_s=40)],
            [
                *(
                    Hazard(fault=name, per_hour=20, lasts_s=5 if fault.end else 0)
                    for name, fault in GUEST_FAULTS.items()
                ),
                *(
                    Hazard(fault=name, per_hour=40, lasts_s=15 if fault.end else 0)
                    for name, fault in HOST_FAULTS.items()
                ),
            ],
        ),
    )
    return World(host, plans, Dice(draw(st.integers(0, 1000))), directors=directors)


def state(world: World) -> tuple[object, ...]:
    """All figures of a world."""
    host = world.host
    return (
        (world.tick, world.is_reachable, world.clock_s, world.notices()),
        (host.free, host.cache, host.swap_used, host.swap_in, host.swap_out, host.pressure.some_us, host.oom_kills),
        (host.sharing.saved, host.sharing.full_scans, host.sharing.cpu_s, host.pool.latency_s),
        tuple((tuple(getattr(guest, name) for name in SHOWN), guest.report) for guest in world.guests),
    )


def demands(world: World) -> dict[int, int]:
    """What the programs of guests want that never had to begin anew."""
    return {
        guest.plan.uid: guest.demand.pages_at(world.tick)
        for guest in world.guests
        if guest.is_running and guest.oom_kills == 0 and guest.booted_at < 0
    }


@settings(max_examples=60, deadline=None)
@given(world=worlds(), ticks=st.integers(1, 90))
def test_no_page_is_ever_lost_or_made(world: World, ticks: int) -> None:
    for _ in range(ticks):
        before = Snapshot.of(world)
        world.advance()
        check_world(world, before)


@settings(max_examples=20, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_the_same_world_lives_the_same_life_again(data: st.DataObject, seed: int) -> None:
    plans = [data.draw(guest_plans(uid)) for uid in range(1, 5)]
    hugepages = sum(plan.maximum for plan in plans if plan.has_hugepages)
    host = HostPlan(total=size_total(plans, 1.0), cpus=4, swap_capacity=PAGES_PER_GIB, hugepages=hugepages)
    faults = [Hazard(fault=name, per_hour=30) for name in (*GUEST_FAULTS, *HOST_FAULTS)]
    one, other = (World(host, plans, Dice(seed), directors=(FaultScript(hazards=faults),)) for _ in range(2))
    for _ in range(60):
        one.advance()
        other.advance()
        assert state(one) == state(other)


@settings(max_examples=20, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_demand_depends_neither_on_who_moves_balloons_nor_on_who_else_is_there(data: st.DataObject, seed: int) -> None:
    plans = [data.draw(guest_plans(uid)) for uid in range(1, 5)]
    plans = [plan._replace(target=None, starts_at=None, is_paused=False) for plan in plans]
    hugepages = sum(plan.maximum for plan in plans if plan.has_hugepages)
    # What QEMU and the host's own system need is small beside half of what the guests may have, and 2 GiB.
    total = size_total(plans, 2 / 3) + 2 * PAGES_PER_GIB
    host = HostPlan(total=total, cpus=4, swap_capacity=PAGES_PER_GIB, hugepages=hugepages)
    left_alone = World(host, plans, Dice(seed))
    others = (
        World(host, plans, Dice(seed), directors=(RestlessOperator(),)),
        World(host, plans, Dice(seed), directors=(ProxmoxBalancer(),)),
        World(host, plans[::-1], Dice(seed)),
        World(host, plans[:2], Dice(seed)),
    )
    run(left_alone, 90)
    for other in others:
        wanted = demands(run(other, 90))
        known = demands(left_alone)
        assert all(wanted[uid] == known[uid] for uid in wanted.keys() & known.keys())
        assert other is others[0] or len(wanted) == len(other.guests)


@settings(max_examples=25, deadline=None)
@given(
    utilisation=st.floats(0.05, 0.9 / 1.06),
    kind=st.sampled_from(Kind),
    gib=st.sampled_from((2, 4, 16)),
)
def test_guests_with_memory_to_spare_never_swap_or_wait(utilisation: float, kind: Kind, gib: int) -> None:
    maximum = gib * PAGES_PER_GIB
    plan = make_plan()._replace(
        kind=kind,
        maximum=maximum,
        utilisation=utilisation * {Kind.DIURNAL: 0.7, Kind.BURSTY: 0.25, Kind.BATCH: 0.6}.get(kind, 1.0),
        leak_pages_per_s=16 * PAGES_PER_MIB / 60 if kind is Kind.LEAK else 0.0,
        swap_capacity=0,
        file_hot=maximum // 100,
    )
    world = make_world(plan, host=make_host_plan(total=1000 * PAGES_PER_GIB))
    for _ in range(300):
        world.advance()
        guest = world.guests[0]
        assert (guest.swap_in, guest.swap_out, guest.oom_kills) == (0, 0, 0)
        assert guest.progress == 1.0
        assert guest.anon == guest.demand.pages_at(world.tick)
        assert world.host.pressure.some_us == 0
        assert world.host.swap_out == 0


def test_a_host_that_has_nothing_left_kills_the_biggest_vm_and_goes_on() -> None:
    plans = [make_plan(uid, utilisation=0.9, swap_capacity=0) for uid in range(1, 9)]
    plans[2] = make_plan(3, utilisation=0.9, maximum=8 * PAGES_PER_GIB)
    world = make_world(*plans, host=make_host_plan(total=16 * PAGES_PER_GIB, swap_capacity=PAGES_PER_GIB))
    run(world, 60)
    assert world.host.oom_kills > 0
    assert any("OOM killer ended web-03" in notice for notice in world.notices())
    assert world.guests[2].is_crashed
