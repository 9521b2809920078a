"""Pages of lines, and small tables in them: columns that find no room give way, the least important one first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vmtop.viewmodel.formats import (
    UNKNOWN_MARK,
    cell_width,
    cut_line,
    format_duration,
    line_width,
    safe_text,
    wrap_text,
)
from vmtop.viewmodel.tone import Line, Span, Tone

GAP = 2
"""Cells between two columns."""
LABEL_CELLS = 10
"""Room for the word before a wrapped text."""

Row = Sequence[Line]
"""The cells of a row, one for each column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A column of a small table."""

    title: str
    width: int
    """Cells at most, without the gap."""
    least: int = 0
    """Cells that it can make do with, and has at most when its cells need no more; 0 for always `width`."""
    worth: int = 0
    """Where room is short the column with the least goes first; 0 for one that stays."""
    is_left: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Lines of which some can be chosen."""

    lines: tuple[Line, ...]
    keys: tuple[str | None, ...]
    """For each line what it stands for; None for one that can only be read."""


def make_page(lines: Iterable[tuple[Line, str | None]]) -> Page:
    """A page of lines with their keys; a key that comes twice stands for its first line only."""
    pairs = tuple(lines)
    seen: set[str | None] = set()
    keys = []
    for _, key in pairs:
        keys.append(None if key in seen else key)
        seen.add(key)
    return Page(lines=tuple(line for line, _ in pairs), keys=tuple(keys))


def plain(lines: Iterable[Line]) -> list[tuple[Line, str | None]]:
    """Lines that can only be read."""
    return [(line, None) for line in lines]


def word(text: str, tone: Tone = Tone.NORMAL, *, has_unicode: bool = True) -> Line:
    """A cell with foreign text in it."""
    return (Span(safe_text(text, has_unicode), tone),)


def figure(text: str | None, tone: Tone = Tone.NORMAL) -> Line:
    """A cell with text of ours in it; `?` where there is none."""
    return (Span(UNKNOWN_MARK, Tone.UNKNOWN) if text is None else Span(text, tone),)


def build_sheet(heads: Sequence[Head], rows: Sequence[Row], width: int, has_unicode: bool) -> tuple[Line, list[Line]]:
    """The line with the titles, and one line for each row; all of at most `width` cells."""
    widths = _widths(heads, rows, width)
    titles = _join(heads, [(Span(head.title, Tone.TITLE),) for head in heads], widths, has_unicode)
    lines = [cut_line(_join(heads, row, widths, has_unicode), width, has_unicode) for row in rows]
    return cut_line(titles, width, has_unicode), lines


def _widths(heads: Sequence[Head], rows: Sequence[Row], width: int) -> dict[int, int]:
    """Number of each column that is shown -> its cells."""
    shown = list(range(len(heads)))
    least = [head.least or head.width for head in heads]
    while sum(least[each] + GAP for each in shown) - GAP > width and any(heads[each].worth for each in shown):
        shown.remove(min((each for each in shown if heads[each].worth), key=lambda each: heads[each].worth))
    room = width + GAP - sum(least[each] + GAP for each in shown)
    widths = {}
    for each in shown:
        natural = max([line_width(row[each]) for row in rows], default=0)
        wanted = min(natural, heads[each].width) - least[each]
        more = max(0, min(room, wanted))
        widths[each] = least[each] + more
        room -= more
    return widths


def _join(heads: Sequence[Head], row: Row, widths: dict[int, int], has_unicode: bool) -> Line:
    spans: list[Span] = []
    for each, width in widths.items():
        if spans:
            spans.append(Span(" " * GAP, Tone.NORMAL))
        cell = cut_line(row[each], width, has_unicode)
        blank = Span(" " * (width - line_width(cell)), Tone.NORMAL)
        spans += [*cell, blank] if heads[each].is_left else [blank, *cell]
    return tuple(span for span in spans if span.text)


def build_note(text: str, width: int, tone: Tone = Tone.DIM, *, has_unicode: bool = True) -> list[Line]:
    """A sentence in as many lines as it takes."""
    return [(Span(line, tone),) for line in wrap_text(safe_text(text, has_unicode), width)]


def build_labelled(
    label: str, text: str, width: int, tone: Tone = Tone.NORMAL, *, has_unicode: bool = True
) -> list[Line]:
    """A sentence with a word before it, wrapped beside the word."""
    first, *others = wrap_text(safe_text(text, has_unicode), max(2, width - LABEL_CELLS))
    return [
        (Span(f"{label:<{LABEL_CELLS}}", Tone.TITLE), Span(first, tone)),
        *((Span(" " * LABEL_CELLS, Tone.NORMAL), Span(line, tone)) for line in others),
    ]


def build_title(what: str, name: str, width: int, *, has_unicode: bool) -> Line:
    """What a page shows, and of whom."""
    line = (Span(what, Tone.TITLE), Span(" ", Tone.NORMAL), Span(safe_text(name, has_unicode), Tone.NAME))
    return cut_line(line, width, has_unicode)


def ago(then_s: float, now_s: float) -> str:
    """How long ago a moment was, in a sentence; clocks that differ a little make it now."""
    return f"{format_duration(max(0.0, now_s - then_s))} ago"


def spinner(now_s: float, width: int, has_unicode: bool) -> Line:
    """Something that moves each second, for work that does not tell how far it is."""
    block, rail = ("━", "·") if has_unicode else ("#", ".")
    length = max(1, width // 4)
    way = width - length
    step = int(now_s) % (2 * way) if way > 0 else 0
    place = step if step <= way else 2 * way - step
    parts = (rail * place, Tone.BAR_FREE), (block * length, Tone.BAR_USED), (rail * (way - place), Tone.BAR_FREE)
    return tuple(Span(text, tone) for text, tone in parts if cell_width(text))
