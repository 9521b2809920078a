import pytest

from tests.backends.simulator.worlds import make_host_plan, make_plan, make_world, run
from vmtop.backends.simulator.foreign import CYCLE_S, MOST_CHANGE, Holding, ProxmoxBalancer, balance
from vmtop.backends.simulator.plan import NEVER, PAGES_PER_GIB
from vmtop.backends.simulator.world import World

DEAD_ZONE = 10


def two_poor() -> list[Holding]:
    return [Holding(least=1000, most=2000, actual=1000, shares=shares) for shares in (2000, 1000)]


def rich_and_poor() -> list[Holding]:
    return [
        Holding(least=4000, most=4000, actual=4000),
        Holding(least=3000, most=6000, actual=3050, free=100),
        Holding(least=3000, most=6000, actual=3050, free=2000),
    ]


def sizes(holdings: list[Holding]) -> list[int]:
    return [holding.held for holding in holdings]


def settle(goal: int, holdings: list[Holding]) -> list[int]:
    """Cycle after cycle until nothing moves; what a guest wins is free memory, and what it loses was free."""
    while True:
        balance(goal, holdings, 100, DEAD_ZONE)
        moved = [holding.held - holding.actual for holding in holdings]
        if not any(moved):
            return sizes(holdings)
        goal -= sum(moved)
        for holding, change in zip(holdings, moved, strict=True):
            holding.actual, holding.assigned = holding.held, None
            holding.free = max(0, holding.free + change)


@pytest.mark.parametrize(
    ("goal", "expected"), [(0, [1000, 1000]), (60, [1040, 1020]), (150, [1100, 1050]), (240, [1100, 1080])]
)
def test_a_cycle_shares_out_by_weight_and_moves_nobody_by_more_than_its_step(goal: int, expected: list[int]) -> None:
    holdings = two_poor()
    balance(goal, holdings, 100, DEAD_ZONE)
    assert sizes(holdings) == expected


@pytest.mark.parametrize(("goal", "expected"), [(150, [1100, 1050]), (240, [1160, 1080])])
def test_cycle_after_cycle_it_shares_out_all(goal: int, expected: list[int]) -> None:
    assert settle(goal, two_poor()) == expected


def test_guests_with_enough_free_memory_wait_until_the_others_have_some() -> None:
    holdings = rich_and_poor()
    balance(80, holdings, 100, DEAD_ZONE)
    assert sizes(holdings) == [4000, 3130, 3050]


def test_it_takes_from_those_with_free_memory_first() -> None:
    holdings = rich_and_poor()
    balance(-40, holdings, 100, DEAD_ZONE)
    assert sizes(holdings) == [4000, 3050, 3010]


@pytest.mark.parametrize("goal", [10, -10])
def test_near_its_aim_it_rests(goal: int) -> None:
    holdings = two_poor()
    balance(goal, holdings, 100, DEAD_ZONE)
    assert all(holding.assigned is None for holding in holdings)


def balanced_world(total_gib: int, **changes: object) -> World:
    plans = [make_plan(uid, min_guarantee=PAGES_PER_GIB, touched_share=1.0, **changes) for uid in range(1, 9)]
    return make_world(*plans, host=make_host_plan(total=total_gib * PAGES_PER_GIB), directors=(ProxmoxBalancer(),))


def used_share(world: World) -> float:
    return 1 - world.host.available / world.host.total


def test_it_shrinks_guests_until_a_fifth_of_the_host_is_available() -> None:
    world = balanced_world(36)
    assert used_share(world) > 0.95
    sizes_before = [guest.current for guest in world.guests]
    run(world, CYCLE_S)
    assert all(
        0 < before - guest.target <= MOST_CHANGE for before, guest in zip(sizes_before, world.guests, strict=True)
    )
    run(world, 400)
    assert used_share(world) == pytest.approx(0.8, abs=0.02)


def test_on_a_host_with_room_it_leaves_guests_at_their_maximum() -> None:
    world = run(balanced_world(64), 60)
    assert all(guest.current == guest.target == guest.plan.maximum for guest in world.guests)


def test_guests_that_tell_nothing_or_do_not_answer_are_left_alone() -> None:
    world = balanced_world(36)
    mute, hung, *_ = world.guests
    mute.report, mute.next_report = None, NEVER
    hung.hang(0)
    run(world, CYCLE_S)
    assert [guest.target < guest.plan.maximum for guest in world.guests] == [False, False, *6 * (True,)]
