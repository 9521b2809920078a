from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmtop.backends.simulator.dice import Channel, Dice

WHOLE = st.integers(-(10**6), 10**6)


def test_a_seed_gives_the_same_numbers_on_every_machine() -> None:
    assert Dice(1).bits(2, 3, Channel.DRIFT) == 0xF71378C523595871
    assert Dice(1).bits(2, -3, Channel.DRIFT) == 0x5EF98C5B20F4817


@given(seed=WHOLE, uid=WHOLE, tick=WHOLE, channel=st.sampled_from(Channel))
def test_draws_stay_in_their_range(seed: int, uid: int, tick: int, channel: Channel) -> None:
    dice = Dice(seed)
    assert 0 <= dice.bits(uid, tick, channel) < 1 << 64
    assert 0 <= dice.uniform(uid, tick, channel) < 1
    assert -3 <= dice.normal(uid, tick, channel) < 3
    assert 5 <= dice.between(5, 7, uid, channel) < 7


def test_a_draw_does_not_depend_on_other_draws() -> None:
    first, second = Dice(7), Dice(7)
    for tick in range(100):
        second.uniform(1, tick, Channel.DRIFT)
    assert first.uniform(9, 5, Channel.SIZE) == second.uniform(9, 5, Channel.SIZE)


@pytest.mark.parametrize("vary", ["seed", "uid", "tick", "channel"])
def test_numbers_next_to_each_other_give_unlike_draws(vary: str) -> None:
    at = {"seed": 1, "uid": 1, "tick": 1, "channel": 1}
    draws = []
    for number in range(2000):
        each = at | {vary: number}
        draws.append(Dice(each["seed"]).uniform(each["uid"], each["tick"], each["channel"]))
    assert sum(draws) / 2000 == pytest.approx(0.5, abs=0.02)
    neighbours = sum((a - 0.5) * (b - 0.5) for a, b in pairwise(draws)) / 2000
    assert abs(neighbours) < 0.01


def test_normal_draws_have_mean_0_and_deviation_1() -> None:
    draws = [Dice(3).normal(1, tick, Channel.DRIFT) for tick in range(5000)]
    mean = sum(draws) / 5000
    assert mean == pytest.approx(0, abs=0.05)
    assert sum((draw - mean) ** 2 for draw in draws) / 5000 == pytest.approx(1, abs=0.05)


def test_choices_come_as_often_as_their_share() -> None:
    counts = Counter(Dice(1).choice((("a", 1), ("b", 3)), uid, Channel.KIND) for uid in range(4000))
    assert counts["b"] / 4000 == pytest.approx(0.75, abs=0.02)
