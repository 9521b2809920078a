"""What the programs of a guest want: the demand for anonymous memory, second by second.

Demand is a function of seed, guest and time; nothing that a host or an operator does changes it, except that killed
programs start anew. It is drawn at knots `KNOT_S` apart, staggered over the guests, and runs straight between them:
the fastest part of it, the random drift, has a time constant of 300 s, so nothing is lost and most ticks cost one
multiplication. Bursts begin and end at their exact second.
"""

import math

from vmtop.backends.simulator.dice import Channel, Dice
from vmtop.backends.simulator.plan import NEVER, WARM_UP_S, GuestPlan, Kind

KNOT_S = 10
DAY_S = 86_400

DRIFT_TIME_S = 300.0
DRIFT_DEVIATION = 0.02
_DRIFT_KEPT = round(math.exp(-KNOT_S / DRIFT_TIME_S), 9)
_DRIFT_ADDED = round(DRIFT_DEVIATION * math.sqrt(1 - _DRIFT_KEPT**2), 9)
"""The exact step of dX = -X/300 dt + 0.02 sqrt(2/300) dW over one knot: mean 0, deviation 2 % of the demand."""

LEAST_SHARE = 0.02
MOST_SHARE = 1.35
"""Demand stays within these shares of the guest's maximum; above 1 only swap can meet it."""

BURST_GAP_S = 900.0
BURST_MEDIAN_S = 37.0
BURST_SHARE = (0.15, 0.60)
"""Overloads come every 15 min, last 37 s (median of a lognormal with sigma 1), so that 88 % are over within 2 min.
Source: Williams et al., Overdriver, VEE'11; the gap and the size are our own choice."""

BATCH_PERIOD_S = 3600
BATCH_BUSY_S = 900
BATCH_EXTRA_SHARE = 0.3
BATCH_READ_FACTOR = 10

RAMP_S = 40
"""Programs need this long to reach their demand after a boot or a restart."""

_MINUTES = 1440
_DAY_CURVE = tuple(round(0.5 + 0.5 * math.sin(2 * math.pi * minute / _MINUTES), 9) for minute in range(_MINUTES))
"""Between 0 and 1 over a day; a table, rounded, so that every C library gives the same world."""


class Demand:
    """The demand of one guest. Ask for ticks in rising order; gaps are fine."""

    __slots__ = (
        "_burst",
        "_bursts",
        "_ceiling",
        "_dice",
        "_drift",
        "_due",
        "_edge",
        "_knot",
        "_leaks_from",
        "_plan",
        "_ramp_from",
        "_ramp_least",
        "_ramp_until",
        "_rise",
        "_start",
        "read_factor",
    )

    def __init__(self, dice: Dice, plan: GuestPlan) -> None:
        self._dice = dice
        self._plan = plan
        self._ceiling = int(MOST_SHARE * plan.maximum)
        self.read_factor = 1
        """How much faster than usual the guest reads files now."""
        self._bursts = 0
        self._burst = 0
        self._edge = self._gap_s() - WARM_UP_S if plan.kind is Kind.BURSTY else NEVER
        self._leaks_from = self._first_leak()
        self._ramp_from = self._ramp_until = -NEVER
        self._ramp_least = 0.0
        # The same first knot in every world, however long that world warms up.
        self._knot = -WARM_UP_S - plan.uid % KNOT_S
        self._drift = DRIFT_DEVIATION * dice.normal(plan.uid, self._knot, Channel.DRIFT)
        self._start = self._level(self._knot)
        self._rise = self._draw_rise()
        self._due = self._next_due()

    def pages_at(self, tick: int) -> int:
        """Pages of anonymous memory that the guest's programs want to hold."""
        if tick >= self._due:
            self._pass_knots(tick)
        pages = self._start + self._rise * (tick - self._knot) // KNOT_S + self._burst
        if tick < self._ramp_until:
            done = max(0, tick - self._ramp_from) / RAMP_S
            pages = int(pages * (self._ramp_least + (1.0 - self._ramp_least) * done))
        return pages if pages < self._ceiling else self._ceiling

    def restart(self, tick: int, least_share: float) -> None:
        """Begin anew at `tick` from a share of the demand: after a boot, or when programs were killed.

        This is the one way in which the fate of a guest changes its demand.
        """
        self._ramp_from, self._ramp_until = tick, tick + RAMP_S
        self._ramp_least = least_share
        self._leaks_from = tick

    def _pass_knots(self, tick: int) -> None:
        """Go to the last knot, and the last beginning or end of a burst, that is not later than `tick`."""
        while tick >= self._knot + KNOT_S:
            self._knot += KNOT_S
            self._start += self._rise
            self._rise = self._draw_rise()
        while tick >= self._edge:
            self._turn()
        self._due = self._next_due()

    def _next_due(self) -> int:
        return min(self._knot + KNOT_S, self._edge)

    def _draw_rise(self) -> int:
        knot = self._knot + KNOT_S
        self._drift = _DRIFT_KEPT * self._drift + _DRIFT_ADDED * self._dice.normal(self._plan.uid, knot, Channel.DRIFT)
        return self._level(knot) - self._start

    def _level(self, tick: int) -> int:
        """Demand at a knot without bursts.

        The shapes are those of the workload classes that the literature on balancing uses (steady, diurnal, bursty,
        leaking, batch, idle, database); only the length of bursts has a measured source.
        """
        plan = self._plan
        share = plan.utilisation
        if plan.kind is Kind.DIURNAL:
            minute = int(tick + plan.phase * DAY_S) // 60 % _MINUTES
            share *= 0.55 + 0.81 * _DAY_CURVE[minute]
        elif plan.kind is Kind.BATCH:
            is_busy = (tick + plan.phase * BATCH_PERIOD_S) % BATCH_PERIOD_S < BATCH_BUSY_S
            share = share + BATCH_EXTRA_SHARE if is_busy else share / 2
            self.read_factor = BATCH_READ_FACTOR if is_busy else 1
        elif plan.kind is Kind.LEAK:
            share /= 2
        if plan.kind is not Kind.DB:
            share *= 1.0 + self._drift
        if plan.kind is Kind.LEAK:
            # Nobody touches what leaked, so it does not drift.
            share = self._with_leak(share, tick)
        return int(min(MOST_SHARE, max(LEAST_SHARE, share)) * plan.maximum)

    def _with_leak(self, share: float, tick: int) -> float:
        """Add the leak; at the limit its supervisor starts the program anew."""
        plan = self._plan
        share += plan.leak_pages_per_s * max(0, tick - self._leaks_from) / plan.maximum
        if share >= MOST_SHARE:
            self._leaks_from = tick
        return share

    def _first_leak(self) -> int:
        """A leak that has been running for up to a third of the way when the world begins."""
        plan = self._plan
        if plan.leak_pages_per_s == 0:
            return 0
        return -int(plan.phase * plan.maximum / 3 / plan.leak_pages_per_s)

    def _gap_s(self) -> int:
        return 1 + int(
            -BURST_GAP_S * math.log(1.0 - self._dice.uniform(self._plan.uid, self._bursts, Channel.BURST_GAP))
        )

    def _turn(self) -> None:
        """Begin the next burst, or end this one."""
        uid = self._plan.uid
        if self._burst:
            self._burst = 0
            self._bursts += 1
            self._edge += self._gap_s()
            return
        length_s = BURST_MEDIAN_S * math.exp(self._dice.normal(uid, self._bursts, Channel.BURST_LENGTH))
        share = self._dice.between(*BURST_SHARE, uid, Channel.BURST_SIZE, self._bursts)
        self._burst = int(share * self._plan.maximum)
        self._edge += max(1, round(length_s))
