"""Numbers and foreign text as they stand on the screen: how many cells, which unit, which characters.

Widths are counted in terminal cells. Everything that `safe_text` lets through has a width on which terminals and
Textual (`rich.cells`) agree, so columns stay straight whatever a VM is called.
"""

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from vmtop.units import GIB, KIB, MIB, TIB
from vmtop.viewmodel.tone import Line, Span, Tone

UNKNOWN_MARK = "?"
"""Stands where a figure is not known."""
_REPLACEMENT = "\ufffd"

_SIZE_UNITS = ((1024 * TIB, "P"), (TIB, "T"), (GIB, "G"), (MIB, "M"))
_COUNT_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_AGE_UNITS = ((86_400, "d", "d"), (3_600, "h", "h"), (60, "m", "min"))
_NEARLY = 0.9995
"""From this share of a unit on three digits round to the whole unit."""

_GLYPHS = {
    Tone.BAR_USED: ("━", "#"),
    Tone.BAR_OTHER: ("╍", "%"),
    Tone.BAR_CACHE: ("─", "="),
    Tone.BAR_FREE: ("·", "."),
    Tone.BAR_GIVEN: ("\u2039", "<"),
    Tone.BAR_SHARED: ("+", "+"),
    Tone.UNKNOWN: ("?", "?"),
}


@lru_cache(maxsize=16_384)
def safe_text(text: str, has_unicode: bool = True) -> str:
    """Foreign text made harmless: nothing in it can act on a terminal, and every character has one agreed width.

    Control, bidi, zero-width, private and unassigned characters become U+FFFD; combining marks, variation selectors
    and skin tones, about which terminals disagree, go. Without Unicode what is left becomes ASCII, "?" where it must.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = "".join(map(_safe_character, _DISPUTED.sub(_REPLACEMENT, unicodedata.normalize("NFC", text))))
    if has_unicode:
        return shown
    return "".join(map(_ascii_character, shown))


def _safe_character(character: str) -> str:
    if not character.isprintable():
        return _REPLACEMENT
    if unicodedata.category(character)[0] == "M" or "\U0001f3fb" <= character <= "\U0001f3ff":
        return ""
    return character


_DISPUTED = re.compile(
    "["
    "\u1160-\u11ff\ud7b0-\ud7ff"  # parts of Hangul syllables, drawn into the cell before them or not
    "\u3164\uffa0"  # invisible letters
    "\u2630-\u2637\u268a-\u268f\u4dc0-\u4dff\U0001d300-\U0001d356\U0001d360-\U0001d376"  # wide since Unicode 16
    "]"
)
"""Printable characters about whose width terminals disagree."""


def _ascii_character(character: str) -> str:
    base = unicodedata.normalize("NFKD", character)[0]
    return base if base.isascii() and base.isprintable() else UNKNOWN_MARK


@lru_cache(maxsize=16_384)
def cell_width(text: str) -> int:
    """Terminal cells that safe text takes; the same number as `rich.cells.cell_len`."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


@lru_cache(maxsize=16_384)
def fit(text: str, width: int, *, is_left: bool = True, has_unicode: bool = True) -> str:
    """Text made safe and exactly `width` cells wide; what is cut ends in an ellipsis ("~" in ASCII)."""
    shown = safe_text(text, has_unicode)
    missing = width - cell_width(shown)
    if missing < 0:
        shown = _cut(shown, width - 1) + _ellipsis(has_unicode) if width > 0 else ""
        missing = width - cell_width(shown)
    return shown + " " * missing if is_left else " " * missing + shown


def _ellipsis(has_unicode: bool) -> str:
    return "…" if has_unicode else "~"


def _cut(text: str, width: int) -> str:
    taken = 0
    for index, character in enumerate(text):
        taken += cell_width(character)
        if taken > width:
            return text[:index]
    return text


@lru_cache(maxsize=16_384)
def format_bytes(amount: float | None) -> str:
    """An amount of memory in three digits and a binary unit: "512K", "1.25G"; at most 5 cells, 6 below zero."""
    if amount is None:
        return UNKNOWN_MARK
    if amount < 0:
        return "-" + format_bytes(-amount)
    for factor, unit in _SIZE_UNITS:
        if amount >= factor * _NEARLY:
            return _three_digits(amount / factor) + unit
    if amount >= KIB:
        return f"{amount / KIB:.0f}K"
    return f"{amount:.0f}B" if amount >= 0.5 else "0"


def _three_digits(number: float) -> str:
    if number >= 99.95:
        return f"{number:.0f}"
    return f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"


def format_rate(bytes_per_s: float | None) -> str:
    """Bytes per second: "12.5M/s", "0", "?"; at most 7 cells."""
    shown = format_bytes(bytes_per_s)
    return shown if bytes_per_s is None or shown == "0" else shown + "/s"


@lru_cache(maxsize=4_096)
def format_count(count: float | None) -> str:
    """A count or a rate of things in three digits and a decimal unit: "0.4", "12", "1.25k"; at most 5 cells."""
    if count is None:
        return UNKNOWN_MARK
    for factor, unit in _COUNT_UNITS:
        if count >= factor * _NEARLY:
            return _three_digits(count / factor) + unit
    if count >= 9.95:
        return f"{count:.0f}"
    return f"{count:.1f}" if count >= 0.05 else "0"


@lru_cache(maxsize=4_096)
def format_ratio(ratio: float | None) -> str:
    """A share in percent: "38%", "0.4%"; at most 4 cells up to 999 %."""
    if ratio is None:
        return UNKNOWN_MARK
    percent = ratio * 100
    if percent >= 9.95 or percent <= -9.95:
        return f"{percent:.0f}%"
    return f"{percent:.1f}%" if abs(percent) >= 0.05 else "0%"


def format_times(ratio: float | None) -> str:
    """How many times over: "1.52x"."""
    return UNKNOWN_MARK if ratio is None else f"{ratio:.2f}x"


def format_age(seconds: float | None) -> str:
    """A time span in one unit for a table: "3s", "12m", "4h", "2d"; at most 4 cells up to 999 days."""
    if seconds is None:
        return UNKNOWN_MARK
    number, short, _ = _age(seconds)
    return f"{number}{short}"


def format_duration(seconds: float | None) -> str:
    """A time span that goes on, in one unit for a sentence: "3 s", "12 min", "4 h", "2 d"."""
    if seconds is None:
        return "an unknown time"
    number, _, long = _age(seconds)
    return f"{number} {long}"


def _age(seconds: float) -> tuple[int, str, str]:
    factor, short, long = next((unit for unit in _AGE_UNITS if seconds >= 2 * unit[0]), (1, "s", "s"))
    return max(0, int(seconds // factor)), short, long


def format_time(time_s: float) -> str:
    """A moment as RFC 3339 in UTC with milliseconds: "2023-11-14T22:13:20.000Z"."""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def bar_glyph(tone: Tone, has_unicode: bool) -> str:
    """The character that stands for a kind of memory in a bar; differs for each kind, so that no colour is needed."""
    return _GLYPHS[tone][not has_unicode]


def bar(parts: Sequence[tuple[float, Tone]], width: int, has_unicode: bool) -> Line:
    """A stacked bar of exactly `width` cells; its whole length is the sum of the parts, in whatever unit they are.

    Each border between parts lies within half a cell of its true place and moves only with the amounts before it.
    Parts below zero count as zero; when nothing is left the bar is blank.
    """
    whole = sum(max(0.0, amount) for amount, _ in parts)
    if whole <= 0:
        return (Span(" " * width, Tone.NORMAL),)
    spans = []
    reached, drawn = 0.0, 0
    for amount, tone in parts:
        reached += max(0.0, amount)
        border = int(reached / whole * width + 0.5)
        if border > drawn:
            spans.append(Span(bar_glyph(tone, has_unicode) * (border - drawn), tone))
            drawn = border
    return tuple(spans)


def line_width(line: Sequence[Span]) -> int:
    """Cells that a line takes."""
    return sum(cell_width(text) for text, _ in line)


def cut_line(line: Line, width: int, has_unicode: bool = True) -> Line:
    """The line in at most `width` cells; what is cut ends in an ellipsis."""
    if line_width(line) <= width:
        return line
    spans: list[Span] = []
    room = width - 1
    for text, tone in line:
        taken = _cut(text, room)
        spans.append(Span(taken, tone))
        room -= cell_width(taken)
        if taken != text:
            break
    return (*spans, Span(_ellipsis(has_unicode), spans[-1].tone)) if width > 0 else ()


def wrap_text(text: str, width: int) -> list[str]:
    """Safe text in lines of at most `width` cells (2 at least), broken between words where that can be."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and cell_width(line) + 1 + cell_width(word) <= width:
            line += f" {word}"
            continue
        if line:
            lines.append(line)
        line = word
        while cell_width(line) > width:
            lines.append(_cut(line, max(width, 2)))
            line = line[len(lines[-1]) :]
    return [*lines, line]
