"""The host's ladder: where it stands, why, and that it does not flap."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmtop.derive.levels import HostReading, LevelState, next_level
from vmtop.derive.metrics import Level
from vmtop.model.policy import DEFAULT_POLICY, min_free_bytes
from vmtop.units import GIB, MIB

TOTAL_BYTES = 128 * GIB
KEEP_BYTES = min_free_bytes(TOTAL_BYTES)
ENTRY_TIMES = {Level.WATCH: 4.0, Level.SOFT: 2.0, Level.HARD: 1.0, Level.CRITICAL: 0.5}


def reading(
    times: float | None = 10.0,
    *,
    some: float | None = 0.0,
    full: float | None = 0.0,
    swap_in: float | None = 0.0,
    swap_free: float | None = 1.0,
) -> HostReading:
    """A host with so many times as much memory available as it should keep free."""
    return HostReading(
        total_bytes=TOTAL_BYTES,
        available_bytes=None if times is None else int(times * KEEP_BYTES),
        psi_some_ratio=some,
        psi_full_ratio=full,
        swap_in_bytes_per_s=swap_in,
        swap_free_ratio=swap_free,
    )


def walk(*readings: HostReading, state: LevelState | None = None) -> list[LevelState]:
    states = [LevelState() if state is None else state]
    for each in readings:
        states.append(next_level(states[-1], each, DEFAULT_POLICY))
    return states[1:]


def levels(*readings: HostReading) -> list[Level | None]:
    return [state.level for state in walk(*readings)]


@pytest.mark.parametrize(
    ("seen", "level", "cause"),
    [
        (reading(10), Level.CALM, "available (15 %), watch is below 7.5 GiB"),
        (reading(4.01), Level.CALM, "available (5.9 %), watch is below 7.5 GiB"),
        (reading(3.99), Level.WATCH, "available (5.9 %), watch is below 7.5 GiB"),
        (reading(1.9), Level.SOFT, "available (2.8 %), soft is below 3.8 GiB"),
        (reading(0.9), Level.HARD, "available (1.3 %), hard is below 1.9 GiB"),
        (reading(0.4), Level.CRITICAL, "available (0.6 %), critical is below 963 MiB"),
        (reading(0), Level.CRITICAL, "available (0 %), critical is below 963 MiB"),
        (reading(3, full=0.01), Level.SOFT, "PSI full 1 %"),
        (reading(3, some=0.05), Level.SOFT, "PSI some 5 %"),
        (reading(3, swap_in=2 * MIB), Level.SOFT, "swap-in 2 MiB/s"),
        (reading(3, full=0.06), Level.HARD, "PSI full 6 %"),
        (reading(3, some=0.2), Level.HARD, "PSI some 20 %"),
        (reading(3, swap_in=18 * MIB), Level.HARD, "swap-in 18 MiB/s"),
        (reading(3, full=0.2), Level.CRITICAL, "PSI full 20 %"),
        (reading(1.5, swap_free=0.05), Level.HARD, "swap 5 % left, 2.8 GiB available (2.2 %)"),
        (reading(3, swap_free=0.05), Level.WATCH, "available (4.4 %), watch is below 7.5 GiB"),
        (reading(1.5, swap_free=None), Level.SOFT, "available (2.2 %), soft is below 3.8 GiB"),
        (reading(3, full=0.0099, some=0.0499, swap_in=MIB), Level.WATCH, "available (4.4 %), watch is below"),
        (reading(0.4, full=0.06), Level.CRITICAL, "available (0.6 %), critical is below 963 MiB"),
        (reading(3, some=None, full=None, swap_in=None, swap_free=None), Level.WATCH, "available (4.4 %)"),
    ],
)
def test_the_first_reading_names_the_rung_and_its_cause(seen: HostReading, level: Level, cause: str) -> None:
    [state] = walk(seen)
    assert state.level is level
    assert cause in state.cause


def test_pressure_with_memory_to_spare_counts_from_the_second_sample_on() -> None:
    pressed = reading(10, full=0.3)
    assert levels(pressed, pressed) == [Level.CALM, Level.CRITICAL]
    assert levels(pressed, reading(10), pressed) == [Level.CALM, Level.CALM, Level.CALM]


def test_it_gets_worse_at_once_and_better_one_rung_at_a_time_after_three_samples() -> None:
    seen = levels(reading(10), reading(0.4), *[reading(10)] * 13)
    assert seen[:2] == [Level.CALM, Level.CRITICAL]
    assert seen[2:] == [
        *[Level.CRITICAL] * 2,
        *[Level.HARD] * 3,
        *[Level.SOFT] * 3,
        *[Level.WATCH] * 3,
        *[Level.CALM] * 2,
    ]


@pytest.mark.parametrize("level", ENTRY_TIMES)
def test_a_rung_is_left_only_clearly_above_the_threshold_that_led_to_it(level: Level) -> None:
    entry = ENTRY_TIMES[level]
    barely, clearly = reading(entry * 1.24), reading(entry * 1.26)
    assert levels(reading(entry * 0.99), *[barely] * 20)[-1] is level
    assert levels(reading(entry * 0.99), *[clearly] * 3)[-1] == level - 1


def test_a_sample_that_is_not_clearly_better_starts_the_count_anew() -> None:
    better, not_clearly = reading(5.1), reading(4.5)
    assert levels(reading(3.9), better, better, not_clearly, better, better)[-1] is Level.WATCH
    assert levels(reading(3.9), better, better, not_clearly, better, better, better)[-1] is Level.CALM


def test_pressure_that_raised_the_level_has_to_be_clearly_gone() -> None:
    raised = [reading(3, full=0.05)]
    assert levels(*raised, *[reading(10, full=0.045)] * 20)[-1] is Level.HARD
    assert levels(*raised, *[reading(10, full=0.03)] * 20)[-1] is Level.SOFT
    assert levels(*raised, *[reading(10)] * 9)[-1] is Level.CALM


def test_a_level_that_is_held_says_what_holds_it() -> None:
    held = walk(reading(1.9), reading(2.2))[-1]
    assert held.level is Level.SOFT
    assert held.cause == "4.1 GiB available (3.2 %), not yet above 4.7 GiB"
    held = walk(reading(3, full=0.05), reading(10, full=0.045))[-1]
    assert held.cause == "PSI full 4.5 %, not yet clear of the limit"
    easing = walk(reading(1.9), reading(10))[-1]
    assert easing.cause == "easing: 19 GiB available (15 %), watch is below 7.5 GiB"


def test_without_available_memory_the_level_comes_from_the_rest_and_says_so() -> None:
    quiet, pressed = reading(None), reading(None, full=0.06)
    states = walk(quiet, pressed, pressed)
    assert [state.level for state in states] == [Level.CALM, Level.CALM, Level.HARD]
    assert [state.cause for state in states] == [
        "nothing alarming; available memory is unknown",
        "nothing alarming; available memory is unknown",
        "PSI full 6 %; available memory is unknown",
    ]


@pytest.mark.parametrize(
    "seen",
    [
        HostReading(),
        HostReading(total_bytes=TOTAL_BYTES),
        HostReading(total_bytes=TOTAL_BYTES, swap_free_ratio=0.5),
        HostReading(available_bytes=GIB),
        HostReading(total_bytes=0, available_bytes=0),
    ],
)
def test_a_host_of_which_nothing_is_known_is_not_called_calm(seen: HostReading) -> None:
    [state] = walk(seen)
    assert state.level is None
    assert "unknown" in state.cause


def test_a_level_is_found_anew_after_nothing_was_known() -> None:
    assert levels(reading(0.4), HostReading(), reading(10)) == [Level.CRITICAL, None, Level.CALM]


TIMES = st.floats(min_value=0, max_value=12)
RATIOS = st.none() | st.floats(min_value=0, max_value=1)
READINGS = st.lists(
    st.builds(
        reading,
        st.none() | TIMES,
        some=RATIOS,
        full=RATIOS,
        swap_in=st.none() | st.floats(min_value=0, max_value=64 * MIB),
        swap_free=RATIOS,
    ),
    min_size=1,
    max_size=30,
)


@given(seen=READINGS)
def test_whatever_happens_the_level_is_never_better_than_memory_alone(seen: list[HostReading]) -> None:
    for state, each in zip(walk(*seen), seen, strict=True):
        if state.level is None:
            assert each.available_bytes is None
        elif each.available_bytes is not None:
            [by_memory] = levels(HostReading(total_bytes=TOTAL_BYTES, available_bytes=each.available_bytes))
            assert by_memory is not None
            assert state.level >= by_memory
        assert state.cause


@given(seen=READINGS)
def test_whatever_happens_it_gets_better_by_one_rung_in_three_samples(seen: list[HostReading]) -> None:
    states = walk(*seen)
    since_change = DEFAULT_POLICY.leave_samples
    for before, after in pairwise(states):
        since_change += 1
        if before.level is None or after.level is None or after.level == before.level:
            continue
        if after.level < before.level:
            assert after.level == before.level - 1
            assert since_change >= DEFAULT_POLICY.leave_samples
        since_change = 0


@given(
    level=st.sampled_from(list(ENTRY_TIMES)),
    swings=st.lists(st.tuples(st.floats(0.76, 0.999), st.floats(1.0, 1.249)), min_size=1, max_size=20),
)
def test_swinging_around_a_threshold_by_less_than_a_quarter_changes_the_level_once(
    level: Level, swings: list[tuple[float, float]]
) -> None:
    entry = ENTRY_TIMES[level]
    seen = levels(*(reading(entry * times) for swing in swings for times in swing))
    assert seen == [level] * len(seen)


@given(seen=READINGS)
def test_the_same_readings_give_the_same_levels(seen: list[HostReading]) -> None:
    assert walk(*seen) == walk(*seen)
