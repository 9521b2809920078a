"""Counters to amounts per second.

A counter that got smaller has begun anew: its owner (host, guest, process) restarted. The difference is then worthless,
so there is no rate until the next reading, and never a spike.
"""

from vmtop.model.sample import QemuSample

FIRST_READING = "first reading"
BEGAN_ANEW = "counter began anew"
CLOCK_STOOD = "its clock did not go forward"


def rate_per_s(before: float | None, now: float | None, elapsed_s: float) -> float | None:
    """Mean growth of a counter per second; `why_no_rate` tells the reason of a None.

    Args:
        before: the counter at the earlier reading of the same owner; None when there was none.
        now: the counter at this reading.
        elapsed_s: time between the two on the clock by which the counter moves.
    """
    if before is None or now is None or now < before or elapsed_s <= 0:
        return None
    return (now - before) / elapsed_s


def why_no_rate(before: float | None, now: float) -> str:
    """Reason in words why `rate_per_s` gave None for a counter that can be read now."""
    if before is None:
        return FIRST_READING
    return BEGAN_ANEW if now < before else CLOCK_STOOD


def is_same_process(before: QemuSample, now: QemuSample) -> bool:
    """The same process, not a later one that got its number."""
    return before.pid == now.pid and before.start_ticks == now.start_ticks
