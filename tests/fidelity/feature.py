"""What can be measured on the curves of a story, as one number each."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.fidelity.curves import Curves
from vmtop.units import MIB, PAGE_BYTES

PAGES_PER_MIB = MIB // PAGE_BYTES

Measure = Callable[[Curves], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One number of a story, by which the model is judged."""

    title: str
    unit: str
    measure: Measure
    floor: float
    """How far beyond the real runs the model may lie all the same: what the measurement, or the model's second,
    cannot resolve."""
    unlike: str | None = None
    """What the model leaves out on purpose, so that it lies elsewhere. None where it has to agree."""


def level(name: str, step: int) -> Measure:
    """The figure when a step had settled."""
    return lambda curves: curves.at(name, curves.ends_s[step])


def rise(name: str, step: int) -> Measure:
    """By how much the figure grew in a step."""
    return lambda curves: curves.at(name, curves.ends_s[step]) - curves.at(name, curves.starts_s[step])


def fall(name: str, step: int) -> Measure:
    """By how much the figure shrank in a step."""
    return lambda curves: -rise(name, step)(curves)


def rate(name: str, step: int, after_s: float) -> Measure:
    """Growth in a second, from some time after the step began until its end."""

    def measure(curves: Curves) -> float:
        start_s, end_s = curves.starts_s[step] + after_s, curves.ends_s[step]
        return (curves.at(name, end_s) - curves.at(name, start_s)) / (end_s - start_s)

    return measure


def per_page(name: str, paged: str, step: int) -> Measure:
    """Growth of a counter for each page by which an amount grew."""
    return lambda curves: rise(name, step)(curves) / (rise(paged, step)(curves) * PAGES_PER_MIB)


def time_to(name: str, share: float, step: int) -> Measure:
    """Seconds from the beginning of a step until a share of the figure's whole change was done."""
    return lambda curves: _time_of(curves, name, share, step) - curves.starts_s[step]


def speed(name: str, step: int) -> Measure:
    """How fast the figure moves between a tenth and a half of its change; the model may end in a part of a second."""

    def measure(curves: Curves) -> float:
        change = abs(rise(name, step)(curves))
        return 0.4 * change / (_time_of(curves, name, 0.5, step) - _time_of(curves, name, 0.1, step))

    return measure


def _time_of(curves: Curves, name: str, share: float, step: int) -> float:
    start_s, end_s = curves.starts_s[step], curves.ends_s[step]
    first, last = curves.at(name, start_s), curves.at(name, end_s)
    wanted = first + share * (last - first)
    inner = [(time_s, value) for time_s, value in curves.points(name) if start_s < time_s < end_s]
    before_s, before = start_s, first
    for time_s, value in [*inner, (end_s, last)]:
        if abs(value - first) >= abs(wanted - first):
            return before_s + (time_s - before_s) * (wanted - before) / (value - before) if value != before else time_s
        before_s, before = time_s, value
    return end_s
