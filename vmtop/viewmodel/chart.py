"""The charts of a detail page as plain numbers: one height per column and curve, labels of scales, figures of now.

All charts of a page share one axis of time. It is cut into columns at fixed moments, so that a column keeps its value
while the picture moves on to the left. Heights are shares of the chart's height, 0 at the bottom. Nothing draws here.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor
from operator import add, sub
from typing import NamedTuple

from vmtop.derive.frame import Frame
from vmtop.derive.metrics import HostMetrics, UsedSource, VmMetrics
from vmtop.derive.series import History, Series
from vmtop.units import KIB
from vmtop.viewmodel.formats import (
    bar_glyph,
    format_bytes,
    format_count,
    format_rate,
    format_ratio,
    safe_text,
)
from vmtop.viewmodel.tone import Line, Span, Tone

Heights = tuple[float | None, ...]
"""One per column, oldest first; None where nothing is known."""

SPANS_S = {60: 15, 120: 30, 300: 60, 600: 120, 1_800: 300, 3_600: 600}
"""Lengths of the axis of time -> distance of its labels. The first that holds all readings is taken."""

OUTAGE_TIMES = 3.0
"""Readings further apart than so many times the distances before and after had an outage between them, which is a gap.
A longer delay that the operator chose goes on, and is none."""

RATE_TOPS_BYTES_PER_S = tuple(64 * KIB << power for power in range(32))
COUNT_TOPS_PER_S = tuple(step * 10.0**power for power in range(1, 12) for step in (1, 2, 5))
PRESSURE_TOPS = (0.04, 0.1, 0.2, 0.5, 1.0)
"""Upper ends of scales, of which the lowest that fits is taken; the first ones keep next to nothing from looking like a
lot. Figures are kept with seven digits, so one that just reaches an end may lie a hair above it."""

_HAIR = 1.000_01


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Words at a scale."""

    at: float
    """Where: 0 at the bottom or left end, 1 at the other."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line, or an area between two lines."""

    name: str
    tone: Tone
    mark: str
    """The ASCII character that draws it where colours or finer characters are missing."""
    latest: Span
    """The figure of now."""
    tops: Heights
    bottoms: Heights | None = None
    """The lower edge of an area, known where the upper one is. None for a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Curves over one scale, or over two where there are two units."""

    title: str
    curves: tuple[Curve, ...]
    """In the order of their importance: areas from the bottom to the top, lines so that the first is never hidden."""
    warnings: Line
    """Why something is old or missing."""
    remarks: Line
    """What else there is to say."""
    labels: tuple[Label, ...]
    """Of the scale on the left, most important first."""
    right_labels: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartPage:
    """Charts that stand above each other, most important first."""

    charts: tuple[Chart, ...]
    time_labels: tuple[Label, ...]
    """Most important first."""


# -- the axis of time


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Readings sorted into columns."""

    span_s: int
    columns: tuple[tuple[int, ...], ...]
    """For each column the readings that count there, oldest first: those within it, or the last one before it."""

    def last(self, values: Sequence[float | None]) -> Heights:
        """What each column ended with: right for amounts."""
        return tuple([values[indices[-1]] if indices else None for indices in self.columns])

    def peak(self, values: Sequence[float | None]) -> Heights:
        """The largest of each column: right for rates, of which a short burst must stay in sight."""
        known = ([value for index in indices if (value := values[index]) is not None] for indices in self.columns)
        return tuple([max(values, default=None) for values in known])

    def labels(self, end: str) -> tuple[Label, ...]:
        """How long ago, for the axis; `end` stands at its right end."""
        step_s = SPANS_S[self.span_s]
        texts = {
            seconds: f"-{seconds}s" if seconds % 60 else f"-{seconds // 60}m"
            for seconds in range(self.span_s, 0, -step_s)
        }
        return (Label(at=1, text=end), *(Label(at=1 - ago / self.span_s, text=text) for ago, text in texts.items()))


def build_time_axis(times_s: Sequence[float], columns: int) -> TimeAxis:
    """Sort readings into columns; the newest is in the last one.

    Args:
        times_s: when they were taken, on a clock that never jumps, oldest first.
        columns: how many there are.
    """
    if not times_s or columns < 1:
        return TimeAxis(min(SPANS_S), ((),) * columns)
    length_s = times_s[-1] - times_s[0]
    span_s = next((span_s for span_s in SPANS_S if length_s <= span_s), max(SPANS_S))
    width_s = span_s / columns
    first = floor(times_s[-1] / width_s) - columns + 1
    found: list[tuple[int, ...]] = [()] * columns
    outages = _outages(times_s)
    after = 0
    for index, time_s in enumerate(times_s):
        column = floor(time_s / width_s) - first
        if index > 0 and not outages[index - 1]:
            for between in range(max(0, after), column):
                found[between] = (index - 1,)
        if column >= 0:
            found[column] = (*found[column], index)
        after = column + 1
    return TimeAxis(span_s, tuple(found))


def _outages(times_s: Sequence[float]) -> list[bool]:
    """Whether there was an outage after each reading but the last."""
    steps = [after - before for before, after in pairwise(times_s)]
    return [
        len(steps) > 1 and step > OUTAGE_TIMES * max(steps[max(0, index - 1) : index] + steps[index + 1 : index + 2])
        for index, step in enumerate(steps)
    ]


# -- pages

Show = Callable[[float | None], str]


def build_vm_charts(
    frame: Frame, history: History | None, uuid: str, *, columns: int, end: str = "now", has_unicode: bool = True
) -> ChartPage:
    """Where the memory of a VM went, how fast guest and host swap, and how long the VM waited for memory.

    Args:
        frame: gives the figures of now, and the end of the axis of time.
        history: what to draw; None where nobody keeps it.
        uuid: the VM; one that is gone has its past and no figures of now.
        columns: width of the charts in cells.
        end: words at the right end of the axis of time.
        has_unicode: whether words may hold more than ASCII.
    """
    vm = next((vm for vm in frame.vms if vm.uuid == uuid), None)
    series = None if history is None else history.vm(uuid)
    subject = _Subject(vm, series, _axis_of(series, frame, columns), has_unicode)
    return ChartPage(
        charts=(_vm_memory(vm, subject), _vm_swap(subject), _pressure(subject)), time_labels=subject.axis.labels(end)
    )


def build_host_charts(
    frame: Frame, history: History | None, *, columns: int, end: str = "now", has_unicode: bool = True
) -> ChartPage:
    """Where the memory of the host went, how fast it swaps, and how long its tasks waited for memory.

    Arguments as for `build_vm_charts`.
    """
    series = None if history is None else history.host()
    subject = _Subject(frame.host, series, _axis_of(series, frame, columns), has_unicode)
    return ChartPage(
        charts=(_host_memory(frame.host, subject), _host_swap(subject), _pressure(subject)),
        time_labels=subject.axis.labels(end),
    )


def _axis_of(series: Series | None, frame: Frame, columns: int) -> TimeAxis:
    """Leave out what came after the frame: while the view is paused, reading goes on."""
    times_s = () if series is None else series.times_s
    return build_time_axis(times_s[: bisect_right(times_s, frame.sample.monotonic_s)], columns)


class _Line(NamedTuple):
    """One line of a chart: which figure, how it is called and looks."""

    field: str
    name: str
    tone: Tone
    mark: str


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a page is about: its figures of now and before."""

    now: VmMetrics | HostMetrics | None
    series: Series | None
    axis: TimeAxis
    has_unicode: bool

    def bottom(self) -> Heights:
        """Nothing, in each column."""
        return (0.0,) * len(self.axis.columns)

    def amounts(self, field: str) -> Heights:
        """What each column ended with."""
        return self._read(field, self.axis.last)

    def rates(self, field: str) -> Heights:
        """The largest of each column."""
        return self._read(field, self.axis.peak)

    def _read(self, field: str, choose: Callable[[Sequence[float | None]], Heights]) -> Heights:
        return (None,) * len(self.axis.columns) if self.series is None else choose(self.series.values[field])

    def figure(self, field: str, show: Show = format_bytes, *, is_stale: bool = False) -> Span:
        """A figure of now."""
        value = None if self.now is None else getattr(self.now, field)
        return Span(show(value), Tone.UNKNOWN if value is None else Tone.STALE if is_stale else Tone.NORMAL)

    def lines(self, lines: Sequence[_Line], show: Show, tops: Sequence[float]) -> tuple[list[Curve], float]:
        """Curves over one scale, and the upper end of it; what is said to be 0 is drawn as 0."""
        zero = show(0.0)
        values = [
            [0.0 if value is not None and show(value) == zero else value for value in self.rates(line.field)]
            for line in lines
        ]
        largest = _largest(*values)
        top = next((top for top in tops if largest <= top * _HAIR), largest)
        curves = [
            Curve(
                name=line.name,
                tone=line.tone,
                mark=line.mark,
                latest=self.figure(line.field, show),
                tops=tuple([None if value is None else min(1.0, value / top) for value in heights]),
            )
            for line, heights in zip(lines, values, strict=True)
        ]
        return curves, top

    def why_empty(self, fields: Iterable[str], curves: Iterable[Curve]) -> Line:
        """Why there is nothing to see in a chart. Nothing where there is something, and of a VM that is gone."""
        if self.now is None or any(top is not None for curve in curves for top in curve.tops):
            return ()
        reasons = (self.now.unknown.get(field) for field in fields)
        return tuple(Span(safe_text(reason, self.has_unicode), Tone.UNKNOWN) for reason in reasons if reason)[:1]


# -- memory

_VM_AREAS = {
    "used_bytes": ("used", Tone.BAR_USED),
    "reclaimable_bytes": ("cache", Tone.BAR_CACHE),
    "free_bytes": ("free", Tone.BAR_FREE),
}


def _vm_memory(vm: VmMetrics | None, subject: _Subject) -> Chart:
    """Used, cache and free as the guest told them, within the balloon's size of now; above it what was given back."""
    balloon, maximum = subject.amounts("balloon_bytes"), subject.amounts("maximum_bytes")
    whole_bytes = _largest(balloon, maximum) or 1.0
    is_stale = vm is not None and vm.is_stale
    curves = []
    edge = subject.bottom()
    for field, (name, tone) in _VM_AREAS.items():
        below, edge = edge, _each(min, _each(add, edge, subject.amounts(field)), balloon)
        curves.append(_area(name, tone, subject.figure(field, is_stale=is_stale), below, edge, whole_bytes))
    warnings = subject.why_empty(_VM_AREAS, curves)
    if vm is not None and vm.is_stale:
        warnings += (Span("stale", Tone.STALE),)
    if vm is not None and vm.used_source is UsedSource.HOST:
        warnings += (_dim("as the host sees it"),)
    curves.append(_area("given back", Tone.BAR_GIVEN, subject.figure("ballooned_bytes"), balloon, maximum, whole_bytes))
    return Chart(
        title="Memory",
        curves=tuple(curves),
        warnings=warnings,
        remarks=(_dim(f"of {subject.figure('maximum_bytes').text}"),),
        labels=_labels(whole_bytes, format_bytes),
    )


def _host_memory(host: HostMetrics, subject: _Subject) -> Chart:
    """VMs and others from the bottom up, free and cache from the top down: all that can be told without the VMs."""
    total, vms = subject.amounts("total_bytes"), subject.amounts("vms_bytes")
    in_use = _each(sub, total, subject.amounts("available_bytes"))
    filled = _each(sub, total, subject.amounts("free_bytes"))
    whole_bytes = _largest(total) or 1.0
    cache = Span(format_bytes(host.droppable_bytes), Tone.UNKNOWN if host.droppable_bytes is None else Tone.NORMAL)
    curves = (
        _area("VMs", Tone.BAR_USED, subject.figure("vms_bytes"), subject.bottom(), vms, whole_bytes),
        _area("other", Tone.BAR_OTHER, subject.figure("other_bytes"), vms, in_use, whole_bytes),
        _area("droppable", Tone.BAR_CACHE, cache, in_use, filled, whole_bytes),
        _area("free", Tone.BAR_FREE, subject.figure("free_bytes"), filled, total, whole_bytes),
    )
    return Chart(
        title="Memory",
        curves=curves,
        warnings=subject.why_empty(("total_bytes", "vms_bytes", "available_bytes", "free_bytes"), curves),
        remarks=(_dim(f"of {subject.figure('total_bytes').text}"),),
        labels=_labels(whole_bytes, format_bytes),
    )


def _each(combine: Callable[[float, float], float], left: Heights, right: Heights) -> Heights:
    """Combine two amounts of each column; what is unknown in one is unknown in the result."""
    return tuple([None if a is None or b is None else combine(a, b) for a, b in zip(left, right, strict=True)])


def _largest(*heights: Sequence[float | None]) -> float:
    return max((value for values in heights for value in values if value is not None), default=0.0)


def _area(name: str, tone: Tone, latest: Span, lower: Heights, upper: Heights, whole: float) -> Curve:
    return Curve(
        name=name,
        tone=tone,
        mark=bar_glyph(tone, has_unicode=False),
        latest=latest,
        bottoms=_each(lambda bottom, _: bottom / whole, lower, upper),
        tops=_each(lambda bottom, top: max(bottom, top) / whole, lower, upper),
    )


# -- swap and pressure

_VM_SWAP = (
    _Line("guest_swap_in_bytes_per_s", "guest in", Tone.BAR_OTHER, "i"),
    _Line("guest_swap_out_bytes_per_s", "guest out", Tone.BAR_USED, "o"),
)
_VM_FAULTS = (_Line("host_major_faults_per_s", "host faults", Tone.BAR_CACHE, "f"),)
_HOST_SWAP = (
    _Line("swap_in_bytes_per_s", "in", Tone.BAR_OTHER, "i"),
    _Line("swap_out_bytes_per_s", "out", Tone.BAR_USED, "o"),
)
_PRESSURE = (
    _Line("psi_full_avg10_ratio", "full", Tone.BAR_OTHER, "f"),
    _Line("psi_some_avg10_ratio", "some", Tone.BAR_USED, "s"),
)
"""The hues of bars are those that stay apart on every terminal."""


def _vm_swap(subject: _Subject) -> Chart:
    """What the guest swaps itself, and what the host makes it wait for, which is counted in pages."""
    swap, top = subject.lines(_VM_SWAP, format_rate, RATE_TOPS_BYTES_PER_S)
    faults, faults_top = subject.lines(_VM_FAULTS, _format_per_s, COUNT_TOPS_PER_S)
    return Chart(
        title="Swap",
        curves=(*swap, *faults),
        warnings=subject.why_empty([line.field for line in _VM_SWAP + _VM_FAULTS], swap + faults),
        remarks=(_dim(f"host swap {subject.figure('host_swap_bytes').text}"),),
        labels=_labels(top, format_rate),
        right_labels=_labels(faults_top, _format_per_s),
    )


def _host_swap(subject: _Subject) -> Chart:
    curves, top = subject.lines(_HOST_SWAP, format_rate, RATE_TOPS_BYTES_PER_S)
    used, total = subject.figure("swap_used_bytes").text, subject.figure("swap_total_bytes").text
    return Chart(
        title="Swap",
        curves=tuple(curves),
        warnings=subject.why_empty([line.field for line in _HOST_SWAP], curves),
        remarks=(_dim(f"{used} of {total} in use"),),
        labels=_labels(top, format_rate),
    )


def _pressure(subject: _Subject) -> Chart:
    curves, top = subject.lines(_PRESSURE, format_ratio, PRESSURE_TOPS)
    return Chart(
        title="Pressure",
        curves=tuple(curves),
        warnings=subject.why_empty([line.field for line in _PRESSURE], curves),
        remarks=(_dim("of the last 10 s"),),
        labels=_labels(top, format_ratio),
    )


# -- words


def _labels(top: float, show: Show) -> tuple[Label, ...]:
    """Both ends and the middle of a scale from 0 to `top`, without digits that say nothing."""
    texts = {1.0: show(top), 0.0: show(0.0), 0.5: show(top / 2)}
    return tuple(Label(at=at, text=re.sub(r"\.0+(?=\D)", "", text)) for at, text in texts.items())


def _format_per_s(count: float | None) -> str:
    shown = format_count(count)
    return shown if count is None or shown == "0" else shown + "/s"


def _dim(text: str) -> Span:
    return Span(text, Tone.DIM)
