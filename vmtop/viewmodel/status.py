"""The last line of the screen: what changes the view, which keys there are, how often is read."""

from collections.abc import Sequence
from typing import NamedTuple

from vmtop.viewmodel.formats import cell_width, fit, format_duration, safe_text
from vmtop.viewmodel.tone import Line, Span, Tone
from vmtop.viewmodel.ui_state import UiState

LATE_TIMES = 1.25
"""A reading that takes longer than the pause makes the interval longer than asked; from here on the line says so."""

_FILTER_CELLS = 24

_BAD = frozenset({Tone.WARN, Tone.HARD, Tone.CRITICAL})


class Notice(NamedTuple):
    """Something to be said in the status line; it may hold foreign text."""

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
    notice: Notice | None = None,
) -> Line:
    """One line of exactly `width` cells.

    Args:
        state: what the operator chose.
        interval_s: time between the last two readings, as it really was. None before the second.
        paused_s: for how long the view has been held. None while it moves.
        filter_error: why the filter cannot be used.
        hints: keys and what they do, most important first; as many are shown as fit.
        width: cells.
        notice: stands before the hints, which get what room it leaves.
    """
    notes = _notes(state, paused_s, filter_error)
    if notice is not None:
        room = max(0, width - sum(cell_width(span.text) for span in notes))
        return _cut((*notes, *_said(notice, hints, room, state.has_unicode)), width)
    pace = _pace(state.delay_s, interval_s)
    room = width - sum(cell_width(span.text) for span in (*notes, pace))
    if room < 0:
        return _cut((*notes, pace), width)
    keys = _keys(hints, room)
    gap = room - sum(cell_width(span.text) for span in keys)
    return (*notes, *keys, Span(" " * gap, Tone.NORMAL), pace)


def build_page_status(
    hints: Sequence[tuple[str, str]], *, width: int, notice: Notice | None = None, has_unicode: bool = True
) -> Line:
    """The last line of a page above the table: keys, which come first here, and a notice; exactly `width` cells."""
    keys = _keys(hints, width)
    if notice is not None:
        room = width - sum(cell_width(span.text) for span in keys)
        return (*keys, Span(fit(notice.text, room, has_unicode=has_unicode), notice.tone)) if room else keys
    return (*keys, Span(" " * (width - sum(cell_width(span.text) for span in keys)), Tone.NORMAL))


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
    if filter_error:
        spans += [Span(f"{safe_text(filter_error, state.has_unicode)}  ", Tone.WARN)]
    return tuple(spans)


def _said(notice: Notice, hints: Sequence[tuple[str, str]], room: int, has_unicode: bool) -> Line:
    """A notice in at most `room` cells, and hints in what it leaves; exactly `room` cells."""
    shown = safe_text(notice.text, has_unicode)
    gap = room - cell_width(shown) - 2
    if gap <= 0:
        return (Span(fit(shown, room, has_unicode=has_unicode), notice.tone),)
    keys = _keys(hints, gap)
    gap -= sum(cell_width(span.text) for span in keys)
    return (Span(f"{shown}  ", notice.tone), *keys, Span(" " * gap, Tone.NORMAL))


def _pace(delay_s: float, interval_s: float | None) -> Span:
    if interval_s is not None and interval_s > LATE_TIMES * delay_s:
        return Span(f" every {interval_s:.1f} s, not {delay_s:g} s", Tone.WARN)
    return Span(f" every {delay_s:g} s", Tone.DIM)


def _keys(hints: Sequence[tuple[str, str]], room: int) -> Line:
    spans: list[Span] = []
    for key, does in hints:
        room -= cell_width(key) + cell_width(does) + 3
        if room < 0:
            break
        spans += [Span(key, Tone.KEY), Span(f" {does}  ", Tone.DIM)]
    return tuple(spans)


def _cut(spans: Line, width: int) -> Line:
    cut: list[Span] = []
    for text, tone in spans:
        shown = text if cell_width(text) <= width else fit(text, width)
        width -= cell_width(shown)
        if shown:
            cut.append(Span(shown, tone))
    return (*cut, Span(" " * width, Tone.NORMAL))
