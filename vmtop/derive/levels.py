"""The host's ladder: calm, watch, soft, hard, critical.

Available memory, measured in what a host of this size should keep free, names the rung; pressure and swap-in can raise
it. It gets worse at once, and better one rung at a time, only after several samples that are clearly better, so that a
figure which swings around a threshold does not make the level swing.
"""

from collections.abc import Callable
from operator import ge, gt
from typing import NamedTuple

from vmtop.derive.metrics import Level
from vmtop.derive.words import percent_words, rate_words, size_words
from vmtop.model.policy import Policy, min_free_bytes


class HostReading(NamedTuple):
    """The figures that decide the level; each is None when it is unknown."""

    total_bytes: int | None = None
    available_bytes: int | None = None
    psi_some_ratio: float | None = None
    """Mean over 10 s, 0 to 1."""
    psi_full_ratio: float | None = None
    """Mean over 10 s, 0 to 1."""
    swap_in_bytes_per_s: float | None = None
    swap_free_ratio: float | None = None
    """Share of the swap that is left, 0 to 1. None also for a host without swap."""


class LevelState(NamedTuple):
    """The level and what it must remember from sample to sample."""

    level: Level | None = None
    """None when nothing that would tell is known; that is no calm."""
    cause: str = ""
    """What put the host on this rung, in words, with the figure."""
    better_samples: int = 0
    """Samples in a row, up to this one, that were clearly better than the level."""
    raised_samples: int = 0
    """Samples in a row, up to this one, in which pressure or swap-in asked for a worse level."""


_LADDER: tuple[tuple[Level, Callable[[Policy], float]], ...] = (
    (Level.CRITICAL, lambda policy: policy.critical_times),
    (Level.HARD, lambda policy: policy.hard_times),
    (Level.SOFT, lambda policy: policy.soft_times),
    (Level.WATCH, lambda policy: policy.watch_times),
)
_ENTRY_TIMES = dict(_LADDER)


class _Alarm(NamedTuple):
    """A figure that raises the level when it reaches a limit."""

    level: Level
    name: str
    figure: Callable[[HostReading], float | None]
    limit: Callable[[Policy], float]
    is_reached: Callable[[float, float], bool]
    words: Callable[[float], str]


def _full(level: Level, limit: Callable[[Policy], float]) -> _Alarm:
    return _Alarm(level, "PSI full", lambda reading: reading.psi_full_ratio, limit, ge, percent_words)


def _some(level: Level, limit: Callable[[Policy], float]) -> _Alarm:
    return _Alarm(level, "PSI some", lambda reading: reading.psi_some_ratio, limit, ge, percent_words)


def _swap_in(level: Level, limit: Callable[[Policy], float]) -> _Alarm:
    return _Alarm(level, "swap-in", lambda reading: reading.swap_in_bytes_per_s, limit, gt, rate_words)


_ALARMS = (
    _full(Level.CRITICAL, lambda policy: policy.psi_critical_full_ratio),
    _full(Level.HARD, lambda policy: policy.psi_hard_full_ratio),
    _some(Level.HARD, lambda policy: policy.psi_hard_some_ratio),
    _swap_in(Level.HARD, lambda policy: policy.swap_in_hard_bytes_per_s),
    _full(Level.SOFT, lambda policy: policy.psi_soft_full_ratio),
    _some(Level.SOFT, lambda policy: policy.psi_soft_some_ratio),
    _swap_in(Level.SOFT, lambda policy: policy.swap_in_soft_bytes_per_s),
)
"""Worst first."""


def next_level(state: LevelState, reading: HostReading, policy: Policy) -> LevelState:
    """Take one step on the ladder.

    An unknown figure neither raises the level nor holds it. Where available memory is unknown, the level comes from
    pressure and swap-in, and the cause says so; where they are unknown, too, the level is None.
    """
    by_memory, alarm = _memory_level(reading, policy), _alarm_level(reading, policy)
    if by_memory is None and not _has_alarm_figure(reading):
        return LevelState(cause="available memory, pressure and swap-in are unknown")
    raised_samples = state.raised_samples + 1 if alarm else 0
    level, cause = by_memory or (Level.CALM, "nothing alarming")
    does_count = level >= Level.WATCH or raised_samples >= policy.escalate_samples
    if alarm is not None and does_count and alarm[0] > level:
        level, cause = alarm

    better_samples = 0
    if state.level is not None and level < state.level:
        obstacle = _obstacle(state.level, reading, policy)
        better_samples = 0 if obstacle else state.better_samples + 1
        held = state.level
        if better_samples >= policy.leave_samples:
            held, better_samples = Level(held - 1), 0
        cause = obstacle or (cause if held == level else f"easing: {cause}")
        level = held
    return LevelState(
        level=level,
        cause=cause if by_memory else f"{cause}; available memory is unknown",
        better_samples=better_samples,
        raised_samples=raised_samples,
    )


def _memory_level(reading: HostReading, policy: Policy) -> tuple[Level, str] | None:
    """The rung that available memory alone names; None when it is unknown."""
    total_bytes, available_bytes = reading.total_bytes, reading.available_bytes
    if not total_bytes or available_bytes is None:
        return None
    keep_bytes = min_free_bytes(total_bytes)
    left = _left_words(available_bytes, total_bytes)
    for level, times in _LADDER:
        limit_bytes = int(times(policy) * keep_bytes)
        if available_bytes < limit_bytes:
            return level, f"{left}, {level.word} is below {size_words(limit_bytes)}"
    return Level.CALM, f"{left}, watch is below {size_words(int(policy.watch_times * keep_bytes))}"


def _alarm_level(reading: HostReading, policy: Policy, *, margin: float = 1.0) -> tuple[Level, str] | None:
    """The worst level that pressure and swap ask for; limits are divided by `margin`."""
    first_alarm = next(
        (
            (alarm.level, f"{alarm.name} {alarm.words(figure)}")
            for alarm in _ALARMS
            if (figure := alarm.figure(reading)) is not None and alarm.is_reached(figure, alarm.limit(policy) / margin)
        ),
        None,
    )
    found = [each for each in (first_alarm, _low_swap(reading, policy, margin)) if each is not None]
    return max(found, key=lambda each: each[0], default=None)


def _low_swap(reading: HostReading, policy: Policy, margin: float) -> tuple[Level, str] | None:
    """Little swap left is an alarm only where memory is short as well."""
    left, total_bytes, available_bytes = reading.swap_free_ratio, reading.total_bytes, reading.available_bytes
    if left is None or not total_bytes or available_bytes is None or left >= policy.swap_free_hard_ratio * margin:
        return None
    if available_bytes >= policy.soft_times * margin * min_free_bytes(total_bytes):
        return None
    return Level.HARD, f"swap {percent_words(left)} left, {_left_words(available_bytes, total_bytes)}"


def _obstacle(level: Level, reading: HostReading, policy: Policy) -> str | None:
    """What keeps the host from a better level than this; None when nothing does."""
    margin = policy.leave_times
    if reading.total_bytes and reading.available_bytes is not None:
        keep_bytes = min_free_bytes(reading.total_bytes)
        times = margin * _ENTRY_TIMES[level](policy)
        if reading.available_bytes < times * keep_bytes:
            left = _left_words(reading.available_bytes, reading.total_bytes)
            return f"{left}, not yet above {size_words(int(times * keep_bytes))}"
    raised = _alarm_level(reading, policy, margin=margin)
    return f"{raised[1]}, not yet clear of the limit" if raised is not None and raised[0] >= level else None


def _has_alarm_figure(reading: HostReading) -> bool:
    return any(alarm.figure(reading) is not None for alarm in _ALARMS)


def _left_words(available_bytes: int, total_bytes: int) -> str:
    return f"{size_words(available_bytes)} available ({percent_words(available_bytes / total_bytes)})"
