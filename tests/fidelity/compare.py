"""The model beside real runs: feature by feature, and curve by curve."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from tests.fidelity.curves import COUNTERS, Curves
from tests.fidelity.feature import Feature
from tests.fidelity.story import Story

GRID_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One feature of a story, measured on real runs and on the model."""

    feature: Feature
    reals: tuple[float, ...]
    model: float

    @property
    def low(self) -> float:
        """Least that the model may show."""
        return min(self.reals) - self.feature.floor

    @property
    def high(self) -> float:
        """Most that the model may show."""
        return max(self.reals) + self.feature.floor

    @property
    def is_within(self) -> bool:
        """The model differs no more from the real runs than these do from each other, give or take the floor."""
        return self.low <= self.model <= self.high

    def confirms(self, real: float) -> bool:
        """A further real run shows the same. Where these do not agree, chance rules, and it may show anything."""
        floor = self.feature.floor
        is_steady = max(self.reals) - min(self.reals) <= floor
        return not is_steady or self.low - floor <= real <= self.high + floor

    @property
    def is_as_known(self) -> bool:
        """It is within, or is not where it is said not to be: what is said must go when the model learns it."""
        return self.is_within == (self.feature.unlike is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far apart curves of one figure are, on average over the story."""

    name: str
    spread: float
    """From the lowest to the highest real run."""
    model: float
    """From the middle of the real runs to the model."""


def judge(story: Story, reals: Sequence[Curves], model: Curves) -> list[Verdict]:
    """Measure all features of a story."""
    return [
        Verdict(feature=feature, reals=tuple(feature.measure(curves) for curves in reals), model=feature.measure(model))
        for feature in story.features
    ]


def align(curves: Curves, story: Story) -> Curves:
    """Bring curves to the story's own time, in which each step takes exactly as long as it is meant to.

    Real guests take their time for an order, and more of it on a busy machine. Time within a step is stretched evenly;
    what was before the first step comes before 0, what was after the last is left out. Counters begin at 0.
    """
    edges = [0.0]
    for step in story.steps:
        edges.append(edges[-1] + step.lasts_s)
    first_s, told = curves.starts_s[0], [curves.starts_s[0], *curves.ends_s]

    def on_story_time(time_s: float) -> float:
        if time_s <= first_s:
            return time_s - first_s
        place = next(place for place, end_s in enumerate(told) if time_s <= end_s)
        share = (time_s - told[place - 1]) / (told[place] - told[place - 1])
        return edges[place - 1] + share * (edges[place] - edges[place - 1])

    count = sum(time_s <= told[-1] for time_s in curves.times_s)
    return Curves(
        story=curves.story,
        teller=curves.teller,
        starts_s=tuple(edges[:-1]),
        ends_s=tuple(edges[1:]),
        times_s=tuple(on_story_time(time_s) for time_s in curves.times_s[:count]),
        values={name: _from_zero(curves, name)[:count] for name in curves.values},
    )


def _from_zero(curves: Curves, name: str) -> tuple[float | None, ...]:
    values = curves.values[name]
    if name not in COUNTERS:
        return values
    before = curves.at(name, curves.starts_s[0])
    return tuple(None if value is None else value - before for value in values)


def distances(story: Story, reals: Sequence[Curves], model: Curves) -> list[Distance]:
    """Compare aligned curves of all figures that the story shows."""
    length_s = sum(step.lasts_s for step in story.steps)
    times_s = [number * GRID_S for number in range(int(length_s / GRID_S) + 1)]
    found = []
    for name in story.shown:
        rows = [[curves.at(name, time_s) for curves in reals] for time_s in times_s]
        found.append(
            Distance(
                name=name,
                spread=fmean(max(row) - min(row) for row in rows),
                model=fmean(
                    abs(model.at(name, time_s) - median(row)) for time_s, row in zip(times_s, rows, strict=True)
                ),
            )
        )
    return found
