"""The kernel's pressure stall averages, in its own fixed-point arithmetic."""

from itertools import product

from vmtop.model.sample import Pressure

PERIOD_S = 2
_SHIFT = 11
_ONE = 1 << _SHIFT
_DECAYS = (1677, 1981, 2034)
"""e^(-2/10), e^(-2/60) and e^(-2/300) in 1/2048. Source: EXP_10s, EXP_60s, EXP_300s in kernel/sched/psi.c."""

NO_PRESSURE = Pressure(
    some_avg10_ratio=0.0,
    some_avg60_ratio=0.0,
    some_avg300_ratio=0.0,
    full_avg10_ratio=0.0,
    full_avg60_ratio=0.0,
    full_avg300_ratio=0.0,
)


class PressureMeter:
    """Pressure of one host or cgroup."""

    __slots__ = ("_averages", "_pending_full_us", "_pending_some_us", "full_us", "is_quiet", "some_us")

    def __init__(self) -> None:
        self.some_us = 0
        """Counter: time in which some task waited."""
        self.full_us = 0
        """Counter: time in which all tasks waited."""
        self.is_quiet = True
        """All averages are 0 and nothing is waiting to be averaged."""
        self._pending_some_us = 0
        self._pending_full_us = 0
        self._averages = [0] * 6

    def add(self, some: float, full: float) -> None:
        """Count one second of which these shares were lost."""
        some_us, full_us = int(some * 1e6), int(full * 1e6)
        self.some_us += some_us
        self.full_us += full_us
        self._pending_some_us += some_us
        self._pending_full_us += full_us
        self.is_quiet = False

    def average(self) -> None:
        """Fold the last `PERIOD_S` seconds into the averages. Source: `calc_avgs` in kernel/sched/psi.c."""
        if self.is_quiet:
            return
        actives = (_percent(self._pending_some_us), _percent(self._pending_full_us))
        self._averages = [
            _calc_load(load, decay, active)
            for load, (active, decay) in zip(self._averages, product(actives, _DECAYS), strict=True)
        ]
        self._pending_some_us = self._pending_full_us = 0
        self.is_quiet = not any(self._averages)

    def read(self) -> Pressure:
        """The figures as /proc/pressure/memory prints them: percent with two decimals."""
        if self.is_quiet:
            return NO_PRESSURE
        ratios = [average * 100 // _ONE / 10_000 for average in self._averages]
        return Pressure(
            some_avg10_ratio=ratios[0],
            some_avg60_ratio=ratios[1],
            some_avg300_ratio=ratios[2],
            full_avg10_ratio=ratios[3],
            full_avg60_ratio=ratios[4],
            full_avg300_ratio=ratios[5],
        )


def shares(nonidle: float, delayed: float, cpus: float) -> tuple[float, float]:
    """The shares of time in which some and all of the non-idle tasks waited.

    Source: the comment at the top of kernel/sched/psi.c: threads = min(nonidle, cpus),
    SOME = min(delayed / threads, 1), FULL = (threads - min(productive, threads)) / threads.
    """
    threads = min(nonidle, cpus)
    if threads <= 0.0:
        return 0.0, 0.0
    productive = min(nonidle - delayed, threads)
    some = min(delayed / threads, 1.0)
    return some, min(some, max(0.0, (threads - productive) / threads))


def _percent(waited_us: int) -> int:
    """Share of the last `PERIOD_S` seconds, in percent and fixed point."""
    return min(waited_us * 100 * _ONE // (PERIOD_S * 1_000_000), 100 * _ONE)


def _calc_load(load: int, decay: int, active: int) -> int:
    """One step of an exponential average. Source: `calc_load` in include/linux/sched/loadavg.h."""
    rounded = load * decay + active * (_ONE - decay)
    if active >= load:
        rounded += _ONE - 1
    return rounded // _ONE
