"""The last lines of the screen: what happened, what changes the view, which keys there are, how often is read."""

from collections.abc import Sequence
from typing import NamedTuple

from vmtop.viewmodel.formats import cell_width, cut_line, fit, format_duration, safe_text, wrap_text
from vmtop.viewmodel.tone import Line, Span, Tone
from vmtop.viewmodel.ui_state import UiState

LATE_TIMES = 1.25
"""A reading that takes longer than the pause makes the interval longer than asked; from here on the line says so."""

_FILTER_CELLS = 24
_PACE_CELLS = 100
"""From this width on the line says how often is read."""
_HINT_GAP = "  "

_BAD = frozenset({Tone.WARN, Tone.HARD, Tone.CRITICAL})


class Notice(NamedTuple):
    """Something to be said above the status line; it may hold foreign text."""

    text: str
    tone: Tone

    @property
    def is_bad(self) -> bool:
        """Something went wrong, or is not possible."""
        return self.tone in _BAD


def build_status(
    state: UiState,
    *,
    interval_s: float | None,
    paused_s: float | None,
    filter_error: str | None,
    hints: Sequence[tuple[str, str]],
    width: int,
) -> Line:
    """One line of exactly `width` cells.

    Args:
        state: what the operator chose.
        interval_s: time between the last two readings, as it really was. None before the second.
        paused_s: for how long the view has been held. None while it moves.
        filter_error: why the filter cannot be used; only marks it here.
        hints: keys and what they do, most important first; as many are shown as fit, and the last one always.
        width: cells.
    """
    notes = _notes(state, paused_s, filter_error)
    pace = _pace(state.delay_s, interval_s, width)
    room = width - sum(cell_width(span.text) for span in (*notes, *pace))
    if room < 0:
        return _cut((*notes, *pace), width)
    keys = _keys(hints, room)
    gap = room - sum(cell_width(span.text) for span in keys)
    return (*notes, *keys, Span(" " * gap, Tone.NORMAL), *pace)


def build_page_status(hints: Sequence[tuple[str, str]], *, width: int) -> Line:
    """The last line of a page above the table: keys, of which the last one always stays; exactly `width` cells."""
    keys = _keys(hints, width)
    return (*keys, Span(" " * (width - sum(cell_width(span.text) for span in keys)), Tone.NORMAL))


def build_notice(notice: Notice, *, width: int, rows: int, has_unicode: bool = True) -> tuple[Line, ...]:
    """A notice in at most `rows` lines; what does not fit even then ends in an ellipsis."""
    lines = wrap_text(safe_text(notice.text, has_unicode), width)
    shown = [*lines[: rows - 1], " ".join(lines[rows - 1 :])] if len(lines) > rows else lines
    return tuple(cut_line((Span(line, notice.tone),), width, has_unicode) for line in shown)


def notice_rows(terminal_rows: int) -> int:
    """Lines to spend on a notice at most on a screen of this height: 2 of 15, 3 of 24, never more than 4."""
    return max(1, min(4, terminal_rows // 7))


def build_more(seen: tuple[int, int, int], keys: tuple[str, str], *, width: int, has_unicode: bool = True) -> Line:
    """A rule below lines of which not all are in sight, exactly `width` cells.

    Args:
        seen: numbers of the first and last line in sight, and of all lines.
        keys: what shows those before and those after.
        width: cells.
        has_unicode: characters beyond ASCII may be used.
    """
    first, last, all_lines = seen
    back, on = keys
    dash = "─" if has_unicode else "-"
    spans = [Span(f"{dash * 2} lines {first}-{last} of {all_lines}  ", Tone.DIM)]
    if last < all_lines:
        spans += [Span(on, Tone.KEY), Span(" more  ", Tone.DIM)]
    if first > 1:
        spans += [Span(back, Tone.KEY), Span(" back  ", Tone.DIM)]
    room = width - sum(cell_width(span.text) for span in spans)
    return _cut((*spans, Span(dash * max(0, room), Tone.DIM)), width)


def build_place(seen: tuple[int, int, int], keys: tuple[str, str]) -> Line:
    """Which lines of a list are in sight and what shows the others; nothing while all are. Arguments as above."""
    first, last, all_lines = seen
    if last < 1 or last - max(1, first) + 1 >= all_lines:
        return ()
    key, word = (keys[1], "more") if last < all_lines else (keys[0], "back")
    return Span(f"{first}-{last}/{all_lines}  ", Tone.DIM), Span(key, Tone.KEY), Span(f" {word}", Tone.DIM)


def build_emptiness(state: UiState, width: int) -> Line:
    """Why the table has no rows, in at most `width` cells."""
    reason = "No name matches the filter; Esc shows all VMs again." if state.filter_text else "There are no VMs here."
    return _cut((Span(reason, Tone.DIM),), width)


def _notes(state: UiState, paused_s: float | None, filter_error: str | None) -> Line:
    spans: list[Span] = []
    if paused_s is not None:
        spans += [Span(f" PAUSED {format_duration(paused_s)} ", Tone.SIMULATED), Span("  ", Tone.NORMAL)]
    if state.marked:
        spans += [Span(f"{len(state.marked)} marked", Tone.SORTED), Span("  ", Tone.NORMAL)]
    if state.filter_text:
        shown = safe_text(state.filter_text, state.has_unicode)
        if cell_width(shown) > _FILTER_CELLS:
            shown = fit(shown, _FILTER_CELLS, has_unicode=state.has_unicode)
        spans += [Span("/", Tone.KEY), Span(shown, Tone.WARN if filter_error else Tone.NAME), Span("  ", Tone.NORMAL)]
    return tuple(spans)


def _pace(delay_s: float, interval_s: float | None, width: int) -> Line:
    """How often is read. Where room is short keys are worth more, unless it is not as often as asked."""
    if interval_s is not None and interval_s > LATE_TIMES * delay_s:
        return (Span(f" every {interval_s:.1f} s, not {delay_s:g} s", Tone.WARN),)
    return (Span(f" every {delay_s:g} s", Tone.DIM),) if width >= _PACE_CELLS else ()


def _keys(hints: Sequence[tuple[str, str]], room: int) -> Line:
    """As many as fit, from the first on, and the last one."""
    if not hints:
        return ()
    *others, last = hints
    room -= _hint_cells(last) - len(_HINT_GAP)
    if room < 0:
        return ()
    spans: list[Span] = []
    for hint in others:
        room -= _hint_cells(hint)
        if room < 0:
            break
        spans += _hint_spans(hint, _HINT_GAP)
    return (*spans, *_hint_spans(last, ""))


def _hint_cells(hint: tuple[str, str]) -> int:
    key, does = hint
    return cell_width(key) + 1 + cell_width(does) + len(_HINT_GAP)


def _hint_spans(hint: tuple[str, str], gap: str) -> Line:
    key, does = hint
    return Span(key, Tone.KEY), Span(f" {does}{gap}", Tone.DIM)


def _cut(spans: Line, width: int) -> Line:
    cut: list[Span] = []
    for text, tone in spans:
        shown = text if cell_width(text) <= width else fit(text, width)
        width -= cell_width(shown)
        if shown:
            cut.append(Span(shown, tone))
    return (*cut, Span(" " * width, Tone.NORMAL))
