"""Curves to cells with plotext 6; nothing else in vmtop knows plotext.

plotext gets points and gives back a matrix of characters and colours. What stands around it is drawn by
`vmtop.tui.widgets.chart`: plotext makes axes of box characters only, and as wide as the labels of one chart happen to
be, while ours stand above each other on one axis of time. Further ways around plotext 6.1:

* A colour of plotext is for us the number of a tone, which the palette turns into a colour later.
* A cell has one colour of ink, so stacked areas would end at whole cells. The upper end of an area is therefore a
  point of its own whose marker is a part of a block, in front of the colour of the area above.
* `lines()` joins over gaps: points with nothing known between them are taken apart again.
* `matrix.get(row, column)` takes 10 microseconds a cell, `matrix.string()` 50 for all; its only escape sequences are
  those that choose a tone.
* It has one figure for the whole process: one thread at a time may use it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from importlib import import_module
from itertools import accumulate, groupby, pairwise
from typing import Any, NamedTuple

from vmtop.viewmodel.chart import Curve
from vmtop.viewmodel.formats import bar_glyph
from vmtop.viewmodel.tone import Tone

EIGHTHS = " ▁▂▃▄▅▆▇"
_SOLID = "█"
FLOOR_MARK = "_"
_FINE_FILLS = {tone: bar_glyph(tone, has_unicode=True) for tone in (Tone.BAR_FREE, Tone.BAR_GIVEN)}
"""Areas of which nothing is used are no solid blocks."""

_TONES = tuple(Tone)
_SGR_RUN = re.compile(r"\x1b\[([\d;]*)m([^\x1b]*)")


class Run(NamedTuple):
    """Neighbouring cells of a row that look the same."""

    text: str
    tone: Tone
    behind: Tone | None
    """Tone whose colour is the background. None for the usual one."""


Picture = tuple[tuple[Run, ...], ...]
"""Rows from top to bottom."""


class Stem(NamedTuple):
    """Neighbouring columns that are filled alike."""

    columns: tuple[int, ...]
    """The only one, or the first and the last."""
    bottom: int
    top: int
    """Rows from the bottom of the chart; the one at `top` is not filled any more."""
    symbol: str
    tone: Tone
    behind: Tone | None


class Levels(NamedTuple):
    """A curve in whole steps of what can be drawn: two curves with equal levels look the same."""

    tone: Tone
    mark: str
    tops: tuple[int | None, ...]
    bottoms: tuple[int | None, ...] | None


def legend_symbol(curve: Curve, *, is_fine: bool) -> str:
    """The character that stands for a curve in a legend."""
    if not is_fine:
        return curve.mark
    return "━" if curve.bottoms is None else _FINE_FILLS.get(curve.tone, "■")


def find_levels(curves: Iterable[Curve], height: int, *, is_fine: bool) -> tuple[Levels, ...]:
    """What there is to draw of the curves in so many rows.

    Args:
        curves: areas from the bottom to the top; of lines the first is the most important.
        height: rows of the picture.
        is_fine: the terminal has colours, and block and braille characters.
    """
    levels = []
    for curve in curves:
        if curve.bottoms is None:
            steps = height * (4 if is_fine else 1)
            tops, bottoms = tuple([_line_level(at, steps) for at in curve.tops]), None
        else:
            steps = height * (8 if is_fine else 1)
            tops = tuple([_edge_level(at, steps) for at in curve.tops])
            bottoms = tuple([_edge_level(at, steps) for at in curve.bottoms])
        levels.append(Levels(curve.tone, curve.mark, tops, bottoms))
    return tuple(levels)


def _edge_level(at: float | None, steps: int) -> int | None:
    """The nearest border between steps."""
    return None if at is None else max(0, min(steps, int(at * steps + 0.5)))


def _line_level(at: float | None, steps: int) -> int | None:
    """The step that holds it, counted from 1; nothing is 0, and next to nothing is not."""
    return None if at is None else 0 if at <= 0 else 1 + min(steps - 1, int(at * steps))


class Plotter:
    """The figure of plotext."""

    def __init__(self) -> None:
        """Import plotext, which takes 0.2 s the first time.

        Raises:
            ImportError: it is not installed, or its kernel does not load.
        """
        self._plotext: Any = import_module("plotext")
        self._plotext.terminal.limit(False, False)
        self._figure = self._plotext.figure
        self._make_marker = cache(self._new_marker)

    def _new_marker(self, symbol: str, tone: Tone, behind: Tone | None = None) -> Any:
        ground = None if behind is None else _TONES.index(behind)
        return self._plotext.marker(symbol, self._plotext.pixel(_TONES.index(tone), ground))

    def draw(self, levels: Sequence[Levels], width: int, height: int, *, is_fine: bool) -> Picture:
        """Draw curves, as many columns as they have, into a picture of this size."""
        figure = self._figure
        figure.clear()
        figure.plot_size(width, height).canvas("default").axes(False).legend(False)
        for axis, length in (("x", width), ("y", height)):
            figure.ruler(axis).frequency(0).lim(0, length).alignment(lim="edge")
        areas = [curve for curve in levels if curve.bottoms is not None]
        for stems in _fine_stems(areas) if is_fine else _plain_stems(areas):
            self._draw_stems(stems)
        lines = [curve for curve in levels if curve.bottoms is None]
        if lines:
            self._draw_floor(lines, is_fine)
        for curve in reversed(lines):
            symbol = "braille" if is_fine else curve.mark
            self._draw_line(_above_floor(curve.tops), symbol, curve.tone, is_fine)
        return tuple(_parse_row(row) for row in figure.build().string().splitlines())

    def _draw_stems(self, stems: Sequence[Stem]) -> None:
        """Fill columns from the top of each stem down to its bottom."""
        if not stems:
            return
        columns = [column + 0.5 for stem in stems for column in stem.columns]
        markers = [self._make_marker(stem.symbol, stem.tone, stem.behind) for stem in stems for _ in stem.columns]
        signal = self._figure.signal(columns, [stem.top - 0.5 for stem in stems for _ in stem.columns], marker=markers)
        if any(stem.bottom + 1 < stem.top for stem in stems):
            bottoms = [stem.bottom + 0.5 for stem in stems for _ in stem.columns]
            signal.fill(self._figure.signal(columns, bottoms, marker=markers))
        ends = accumulate(len(stem.columns) for stem in stems)
        for end, stem in zip(ends, stems, strict=True):
            if len(stem.columns) == 2:
                signal.line(end - 1)
        self._figure.draw(signal)

    def _draw_floor(self, lines: Sequence[Levels], is_fine: bool) -> None:
        """One faint line at the bottom where a figure is known: of several lines at zero only one could be seen."""
        columns = zip(*(curve.tops for curve in lines), strict=True)
        floor = [None if all(level is None for level in column) else 0 for column in columns]
        self._draw_line(floor, "braille" if is_fine else FLOOR_MARK, Tone.DIM, is_fine)

    def _draw_line(self, levels: Sequence[int | None], symbol: str, tone: Tone, is_fine: bool) -> None:
        """Join neighbouring columns with a level; of a run of equal levels only the ends are points."""
        last = len(levels) - 1
        points = [
            (column, level)
            for column, level in enumerate(levels)
            if level is not None and not (0 < column < last and levels[column - 1] == level == levels[column + 1])
        ]
        if not points:
            return
        per_row = 4 if is_fine else 1
        columns = [column for column, _ in points]
        signal = self._figure.signal(
            [column + 0.5 for column in columns],
            [(max(0, level - 1) + 0.5) / per_row for _, level in points],
            marker=self._make_marker(symbol, tone),
        ).lines()
        for index, (before, column) in enumerate(pairwise(columns), start=1):
            if None in levels[before:column]:
                signal.line(index, False)
        self._figure.draw(signal)


def _above_floor(levels: Sequence[int | None]) -> list[int | None]:
    """A line without its stretches at zero, but from and to zero where it leaves it and comes back."""
    around = zip((None, *levels[:-1]), levels, (*levels[1:], None), strict=True)
    return [level if any((before, level, after)) else None for before, level, after in around]


def _parse_row(row: str) -> tuple[Run, ...]:
    runs: list[Run] = []
    tone, behind = Tone.NORMAL, None
    for codes, text in _SGR_RUN.findall(row):
        if codes == "0":
            tone, behind = Tone.NORMAL, None
        elif codes.startswith("38;5;"):
            tone = _TONES[int(codes[5:])]
        elif codes.startswith("48;5;"):
            behind = _TONES[int(codes[5:])]
        if text:
            runs.append(Run(text, tone, behind))
    return tuple(runs)


# -- areas as stems

Filling = tuple[int, int, str, Tone, Tone | None]
"""What of a column is filled and how: a stem without its columns."""


def _merge(fillings: Iterable[Filling | None]) -> list[Stem]:
    """Make one stem of neighbouring columns with the same filling; None and nothing to fill make none."""
    stems = []
    for filling, group in groupby(enumerate(fillings), key=lambda item: item[1]):
        first, *others = [column for column, _ in group]
        if filling is not None and filling[0] < filling[1]:
            stems.append(Stem((first, *others[-1:]), *filling))
    return stems


Edge = tuple[int, int] | None
"""Lower and upper end of an area in a column; None where it is not known."""


def _edges(area: Levels) -> list[Edge]:
    return [
        None if bottom is None or top is None else (bottom, top)
        for bottom, top in zip(area.bottoms or (), area.tops, strict=True)
    ]


def _plain_stems(areas: Sequence[Levels]) -> Iterator[list[Stem]]:
    for area in areas:
        yield _merge(None if edge is None else (*edge, area.mark, area.tone, None) for edge in _edges(area))


def _fine_stems(areas: Sequence[Levels]) -> Iterator[list[Stem]]:
    """Whole cells and, over them, parts of blocks; edges are in eighths of rows."""
    solids = []
    for area in areas:
        symbol = _FINE_FILLS.get(area.tone)
        if symbol is None:
            solids.append((area.tone, _edges(area)))
        else:
            yield _merge(
                None if edge is None else ((edge[0] + 4) // 8, (edge[1] + 4) // 8, symbol, area.tone, None)
                for edge in _edges(area)
            )
    columns = [_settle(column) for column in zip(*(edges for _, edges in solids), strict=True)]
    solids = [(tone, [column[index] for column in columns]) for index, (tone, _) in enumerate(solids)]
    for tone, edges in solids:
        yield _merge(None if edge is None else (-(-edge[0] // 8), edge[1] // 8, _SOLID, tone, None) for edge in edges)
        yield _merge(
            None if edge is None else _tip(edge, tone, [(other, ends[column]) for other, ends in solids])
            for column, edge in enumerate(edges)
        )


@lru_cache(maxsize=4_096)
def _settle(column: tuple[Edge, ...]) -> tuple[Edge, ...]:
    """Move borders, by half a cell at most, so that no cell has more than one: it has two colours and no third.

    Without that an area that is thinner than a cell would be in the legend and not in the picture.
    """
    borders = sorted({end for edge in column if edge is not None for end in edge})
    moved = {border: border for border in borders}
    for row, group in groupby((border for border in borders if border % 8), key=lambda border: border // 8):
        inside = list(group)
        if len(inside) > 1:
            kept = min(inside, key=lambda border: _settling_cost(border, inside, row, column))
            moved |= {border: _settled(border, kept, row) for border in inside}
    return tuple([None if edge is None else (moved[edge[0]], moved[edge[1]]) for edge in column])


def _settled(border: int, kept: int, row: int) -> int:
    return border if border == kept else row * 8 if border < kept else row * 8 + 8


def _settling_cost(kept: int, inside: Sequence[int], row: int, column: Iterable[Edge]) -> tuple[bool, int, int]:
    """Whether it would move a border too far, how many areas it would hide, how far it would move borders."""
    moved = {border: _settled(border, kept, row) for border in inside}
    farthest = max(abs(there - border) for border, there in moved.items())
    hidden = sum(
        edge is not None and edge[0] < edge[1] and moved.get(edge[0], edge[0]) >= moved.get(edge[1], edge[1])
        for edge in column
    )
    return farthest > 4, hidden, farthest


def _tip(edge: tuple[int, int], tone: Tone, column: Sequence[tuple[Tone, tuple[int, int] | None]]) -> Filling | None:
    """The part of a block at the upper end of an area; what covers most of the rest of its cell shows behind it."""
    bottom, top = edge
    row, part = divmod(top, 8)
    if part == 0 or row * 8 < bottom:
        return None
    middle = row * 8 + (part + 8) // 2
    behind = next((other for other, span in column if span is not None and span[0] <= middle < span[1]), None)
    return row, row + 1, EIGHTHS[part], tone, behind
