"""Charts above each other on one axis of time: legends with the figures of now, scales, and what plotext drew."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread

from rich.segment import Segment
from rich.style import Style
from textual.message import Message
from textual.strip import Strip

from vmtop.tui.plot import Picture, Plotter, Run, find_levels, legend_symbol
from vmtop.tui.theme import Palette
from vmtop.tui.widgets.lines import LineWidget
from vmtop.viewmodel.chart import Chart, ChartPage, Label
from vmtop.viewmodel.formats import cut_line, line_width, safe_text
from vmtop.viewmodel.tone import Line, Span, Tone

AXIS_CELLS = 7
"""A label such as "512K/s", and the axis itself."""
TITLE_CELLS = AXIS_CELLS + 2
LEAST_COLUMNS = 8
"""In less than this nothing can be recognised; then there are legends only."""
SHARES = (4, 3, 3)
"""How the charts share the rows that legends leave."""
ROOMY_ROWS = 24
"""From this height on there is a blank line between charts."""


def chart_columns(width: int, *, has_right_scale: bool) -> int:
    """Columns of a chart in a widget of this width, 0 where it is too narrow for any."""
    columns = width - AXIS_CELLS * (2 if has_right_scale else 1)
    return columns if columns >= LEAST_COLUMNS else 0


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A picture between its scales, and what it was made of."""

    made_of: tuple[object, ...]
    strips: list[Strip]


@dataclass(frozen=True, slots=True)
class _Look:
    """How to draw, apart from the figures."""

    palette: Palette
    has_right_scale: bool
    has_unicode: bool
    is_stale: bool

    @property
    def is_fine(self) -> bool:
        """There are colours, and block and braille characters; without either, characters must tell curves apart."""
        colors = {self.palette.style(tone).color for tone in (Tone.BAR_USED, Tone.BAR_CACHE)}
        return self.has_unicode and len(colors) > 1


class Charts(LineWidget):
    """Draws a `ChartPage`. A thread loads plotext when the first one is opened; legends do not wait for it."""

    class PlotterLoaded(Message):
        """Pictures can be drawn, or never will be."""

        def __init__(self, plotter: Plotter | None, trouble: str) -> None:
            super().__init__()
            self.plotter = plotter
            self.trouble = trouble

    def __init__(self, load: Callable[[], Plotter] = Plotter, *, id: str | None = None) -> None:  # noqa: A002 - the name that all widgets of Textual have
        super().__init__(id=id)
        self._load = load
        self._plotter: Plotter | None = None
        self._waiting_for = "loading plotext to draw this ..."
        self._build: Callable[[int], ChartPage] | None = None
        self._look: _Look | None = None
        self._drawn: dict[str, _Drawn] = {}
        """Title of a chart -> what was drawn last."""
        self._strips: list[Strip] = []

    # -- loading

    def on_mount(self) -> None:
        """Load plotext beside the screen, which goes on answering keys."""
        Thread(target=self._load_plotter, daemon=True, name="vmtop-plotext").start()

    def _load_plotter(self) -> None:
        try:
            loaded = self.PlotterLoaded(self._load(), "")
        except ImportError as error:
            loaded = self.PlotterLoaded(None, f"no picture: {error}")
        with suppress(RuntimeError):  # the program ended in the meantime
            self.post_message(loaded)

    def on_charts_plotter_loaded(self, message: PlotterLoaded) -> None:
        """Draw what waits to be drawn."""
        message.stop()
        self._plotter, self._waiting_for = message.plotter, message.trouble
        self._drawn.clear()
        self._draw()

    # -- drawing

    def show_charts(
        self,
        build: Callable[[int], ChartPage],
        palette: Palette,
        *,
        has_right_scale: bool,
        has_unicode: bool,
        is_stale: bool = False,
    ) -> None:
        """Draw charts; plotext is asked only for pictures that look other than before.

        Args:
            build: gives the charts for a number of columns.
            palette: how tones look.
            has_right_scale: some chart has labels on the right.
            has_unicode: the terminal shows more than ASCII.
            is_stale: the figures of now are old; take their colours away.
        """
        self._build, self._look = build, _Look(palette, has_right_scale, has_unicode, is_stale)
        self._draw()

    def on_resize(self) -> None:
        """Draw in another size."""
        self._draw()

    def _draw(self) -> None:
        if self._build is None or self._look is None or not self.size:
            return
        page = self._build(chart_columns(self.size.width, has_right_scale=self._look.has_right_scale))
        strips, before = self._make_strips(page, self._look), self._strips
        self._strips = [
            before[y] if y < len(before) and before[y] == strip else strip for y, strip in enumerate(strips)
        ]
        if len(before) != len(strips) or any(old is not new for old, new in zip(before, self._strips, strict=False)):
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """A row, ready to be sent."""
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, None if self._look is None else self._look.palette.blank())

    def _make_strips(self, page: ChartPage, look: _Look) -> list[Strip]:
        height, columns = self.size.height, len(page.charts[0].curves[0].tops)
        heights = share_rows(height, len(page.charts)) if columns else ()
        if not heights:
            return [self._legend(chart, look) for chart in page.charts[:height]]
        strips: list[Strip] = []
        for chart, chart_height in zip(page.charts, heights, strict=False):
            if strips and height >= ROOMY_ROWS:
                strips.append(self._strip([], look))
            strips.append(self._legend(chart, look))
            strips += self._picture(chart, look, columns, chart_height)
        labels = " " * AXIS_CELLS + _spread(page.time_labels, columns)
        strips.append(self._strip(look.palette.segments((Span(labels, Tone.DIM),)), look))
        return strips

    def _strip(self, segments: list[Segment], look: _Look) -> Strip:
        return Strip(segments).adjust_cell_length(self.size.width, look.palette.blank())

    def _legend(self, chart: Chart, look: _Look) -> Strip:
        """What the curves are and their figures of now; what does not fit whole is left out, from the end."""
        entries: list[Line] = [(warning,) for warning in chart.warnings]
        for curve in chart.curves:
            symbol = Span(legend_symbol(curve, is_fine=look.is_fine), curve.tone)
            entries.append((symbol, Span(f" {curve.name} ", Tone.DIM), curve.latest))
        entries += [(remark,) for remark in chart.remarks]
        line: Line = (Span(f"{chart.title:{TITLE_CELLS}}", Tone.TITLE), *entries[0])
        for entry in entries[1:]:
            longer = (*line, Span("  ", Tone.NORMAL), *entry)
            if line_width(longer) > self.size.width:
                break
            line = longer
        line = cut_line(line, self.size.width, look.has_unicode)
        return self._strip(look.palette.segments(line, is_stale=look.is_stale), look)

    def _picture(self, chart: Chart, look: _Look, columns: int, height: int) -> list[Strip]:
        """A picture between its scales, drawn anew only if it looks other than before."""
        plotter, is_fine = self._plotter, look.is_fine
        levels = find_levels(chart.curves, height, is_fine=is_fine)
        made_of = levels, chart.labels, chart.right_labels, look, self.size.width, columns, height, plotter
        drawn = self._drawn.get(chart.title)
        if drawn is None or drawn.made_of != made_of:
            if plotter is None:
                picture = _note(self._waiting_for, columns, height)
            else:
                picture = plotter.draw(levels, columns, height, is_fine=is_fine)
            drawn = self._drawn[chart.title] = _Drawn(made_of, self._frame(chart, look, picture))
        return drawn.strips

    def _frame(self, chart: Chart, look: _Look, picture: Picture) -> list[Strip]:
        """A picture between its scales."""
        height, dim = len(picture), look.palette.style(Tone.DIM)
        left, right = _place(chart.labels, height), _place(chart.right_labels, height)
        line, left_tick, right_tick = ("│", "┤", "├") if look.has_unicode else ("|", "+", "+")
        strips = []
        for y, runs in enumerate(picture):
            label = left.get(y, "")
            row = [Segment(f"{label:>{AXIS_CELLS - 1}}{left_tick if label else line}", dim)]
            row += [Segment(run.text, _style(look.palette, run)) for run in runs]
            if chart.right_labels:
                label = right.get(y, "")
                row.append(Segment(f"{right_tick if label else line}{label}", dim))
            strips.append(self._strip(row, look))
        return strips


def _style(palette: Palette, run: Run) -> Style:
    style = palette.style(run.tone)
    return style if run.behind is None else style + Style(bgcolor=palette.style(run.behind).color)


def _note(text: str, columns: int, height: int) -> Picture:
    """Words in place of a picture."""
    blank = (Run(" " * columns, Tone.NORMAL, None),)
    words = (Run(safe_text(text)[:columns].center(columns), Tone.DIM, None),)
    middle = (height - 1) // 2
    return tuple(words if y == middle else blank for y in range(height))


def share_rows(height: int, charts: int) -> tuple[int, ...]:
    """Rows of each picture, first chart first; charts that would have none are left out, the last ones first.

    Each picture has a legend above it, and below all is one line with the axis of time.
    """
    count = max(0, min(charts, (height - 1) // 2))
    gaps = count - 1 if height >= ROOMY_ROWS else 0
    rest = height - 1 - count - gaps
    shares = SHARES[:count]
    rows = [max(1, rest * share // sum(shares)) for share in shares]
    return (rest - sum(rows[1:]), *rows[1:]) if rows else ()


def _place(labels: Sequence[Label], height: int) -> dict[int, str]:
    """Row -> label; one that would stand in the wrong place, or in that of a more important one, is left out."""
    placed: dict[int, str] = {}
    for label in labels:
        exact = (1 - label.at) * (height - 1)
        if abs(exact - round(exact)) < 0.3:
            placed.setdefault(round(exact), label.text)
    return placed


def _spread(labels: Sequence[Label], columns: int) -> str:
    """Labels of the axis of time under their places, as many as have room."""
    line = " " * columns
    for label in labels:
        start = min(max(0, round(label.at * columns) - len(label.text) // 2), columns - len(label.text))
        end = start + len(label.text)
        if start >= 0 and not line[max(0, start - 1) : end + 1].strip():
            line = line[:start] + label.text + line[end:]
    return line
