"""The table of VMs: which rows, in which order, in which columns; cells are made only when they are drawn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from operator import attrgetter
from typing import overload

from vmtop.derive.frame import Frame, Roster
from vmtop.derive.metrics import VmMetrics
from vmtop.derive.overview import Overview, derive_overview
from vmtop.errors import UsageError
from vmtop.viewmodel.columns import COLUMNS, Column, SortValue, column
from vmtop.viewmodel.formats import cell_width, safe_text
from vmtop.viewmodel.pattern import parse_pattern
from vmtop.viewmodel.tone import Line, Span, Tone
from vmtop.viewmodel.ui_state import UiState

NOISE_RATIO = 0.05
"""A VM keeps its place in the order until the figure that sorts moved by more than this share."""

_LONGEST_NAME = 41
"""Cells for names at most; they are stretched to what they need first, the bar after them."""
_LONGEST_BAR = 41
_FITTING_NAME = 21
"""Room that long names may take from other columns."""

_Matcher = Callable[[str], bool]


class Rows(Sequence[VmMetrics]):
    """VMs in an order. Fetches those that are asked for: of 10,000 rows the screen shows 40."""

    __slots__ = ("_places", "_vms")

    def __init__(self, vms: Sequence[VmMetrics], places: Sequence[int]) -> None:
        self._vms = vms
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> VmMetrics: ...
    @overload
    def __getitem__(self, index: slice) -> "Rows": ...
    def __getitem__(self, index: int | slice) -> "VmMetrics | Rows":
        if isinstance(index, slice):
            return Rows(self._vms, self._places[index])
        return self._vms[self._places[index]]

    def __iter__(self) -> Iterator[VmMetrics]:
        return map(self._vms.__getitem__, self._places)


class Order:
    """Sorts VMs so that rows do not jump on noise. Its owner keeps one from frame to frame.

    A VM sorts by the value it had when it last moved by more than `NOISE_RATIO`, so neighbours may stand in the wrong
    order by that much. Equal values sort by name. Choosing another column starts anew.
    """

    def __init__(self) -> None:
        self._column_id = ""
        self._roster = Roster((), ())
        self._by_name: list[int] = []
        """Places of the VMs in the order of their names."""
        self._ranks: list[int] = []
        """Of each VM, how many names come before its own."""
        self._falling_ranks: list[int] = []
        """The same, negative: equal values stand by name in a falling order, too."""
        self._places: list[int] = []
        """Places of the VMs in the last order."""
        self._held: list[SortValue | None] = []
        """What each VM sorts by."""

    def sort(self, vms: Sequence[VmMetrics], by: Column, *, is_reversed: bool, roster: Roster | None = None) -> Rows:
        """VMs in the order to show; those without a value come last, whichever way.

        Args:
            vms: what to sort.
            by: the column whose values count.
            is_reversed: against the direction of the column.
            roster: who `vms` are, where that is known already.
        """
        values = list(map(by.sort_value, vms))
        before = self._values_before(roster or _roster_of(vms), by)
        held = self._held = _without_noise(values, before) if before else values
        is_falling = is_reversed is by.is_ascending
        if None in held:
            last = -inf if is_falling else inf
            held = [last if value is None else value for value in held]
        keys = list(zip(held, self._falling_ranks if is_falling else self._ranks, strict=True))
        # From the last order on, which is nearly the next one: sorting that takes a fifth of the time.
        self._places = sorted(self._places, key=keys.__getitem__, reverse=is_falling)
        return Rows(vms, self._places)

    def _values_before(self, roster: Roster, by: Column) -> list[SortValue | None]:
        """What each of these VMs sorted by so far; empty when there is nothing to go by."""
        held = None
        if roster is not self._roster and roster != self._roster:
            held = dict(zip(self._roster.uuids, self._held, strict=True))
            keys = [(name.casefold(), name, uuid) for uuid, name in zip(*roster, strict=True)]
            self._places = self._by_name = sorted(range(len(keys)), key=keys.__getitem__)
            self._ranks = sorted(range(len(keys)), key=self._by_name.__getitem__)
            self._falling_ranks = [-rank for rank in self._ranks]
        self._roster = roster
        is_same_column, self._column_id = by.id == self._column_id, by.id
        if not is_same_column:
            return []
        return self._held if held is None else list(map(held.get, roster.uuids))


def _roster_of(vms: Sequence[VmMetrics]) -> Roster:
    return Roster(tuple([vm.uuid for vm in vms]), tuple([vm.name for vm in vms]))


def _without_noise(values: list[SortValue | None], before: list[SortValue | None]) -> list[SortValue | None]:
    """The values before, except where they moved by more than noise; text and zero are never noise."""
    least, most = 1 - NOISE_RATIO, 1 + NOISE_RATIO
    try:
        return [
            old if new and old and least <= new / old <= most else new  # type: ignore[operator] # text raises
            for new, old in zip(values, before, strict=True)
        ]
    except TypeError:
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class TableView:
    """One frame of the table. Cells are exactly as wide as `widths` says and follow each other without a gap."""

    columns: tuple[Column, ...]
    """All enabled columns, `name` first: those that fit in the width, then those that gave way (scroll to them)."""
    widths: tuple[int, ...]
    """Cells of each column, its gap included."""
    fitting: int
    """How many of `columns` fit side by side without scrolling."""
    rows: Rows
    """Filtered and sorted."""
    overview: Overview
    """The rows together."""
    filter_error: str | None
    """Why the filter cannot be used, in words; then it hides nothing."""
    state: UiState

    def header(self) -> list[Line]:
        """Titles, one line for each of `columns`."""
        return [self._title(each, width) for each, width in zip(self.columns, self.widths, strict=True)]

    def _title(self, each: Column, width: int) -> Line:
        is_sorted = each.id == self.state.sort_column
        is_descending = self.state.is_reversed is each.is_ascending
        marks = ("▲", "▼") if self.state.has_unicode else ("^", "v")
        text = each.title + (marks[is_descending] if is_sorted else " ")
        title = text.ljust(width) if each.is_left else f"{text} ".rjust(width)
        return (Span(title, Tone.SORTED if is_sorted else Tone.TITLE),)

    def row_spans(self, vm: VmMetrics, first: int = 1, last: int | None = None) -> list[Line]:
        """Cells of one row: the name, and those of `columns[first:last]`."""
        has_unicode = self.state.has_unicode
        return [each.spans(vm, width, has_unicode) for each, width in self._drawn(first, last)]

    def totals(self, first: int = 1, last: int | None = None) -> list[Line]:
        """Sums over the rows, cells as in `row_spans`; what is stale or unknown is left out, and it says so."""
        has_unicode = self.state.has_unicode
        return [
            each.total(self.overview, width, has_unicode) or (Span(" " * width, Tone.NORMAL),)
            for each, width in self._drawn(first, last)
        ]

    def _drawn(self, first: int, last: int | None) -> Iterator[tuple[Column, int]]:
        part = slice(max(1, first), last)
        columns, widths = self.columns, self.widths
        return zip((columns[0], *columns[part]), (widths[0], *widths[part]), strict=True)


def build_table(frame: Frame, state: UiState, order: Order, width: int | None) -> TableView:
    """The table for a screen of `width` cells; None gives every column its place, for output that is no screen.

    Raises:
        UsageError: `state` names a column that does not exist.
    """
    rows, filter_error = select_rows(frame, state, order)
    columns, widths, fitting = _lay_out(
        _enabled_columns(state), _name_width(frame.roster.names), width, bool(state.columns)
    )
    return TableView(
        columns=columns,
        widths=widths,
        fitting=fitting,
        rows=rows,
        overview=frame.overview if len(rows) == len(frame.vms) else derive_overview(rows),
        filter_error=filter_error,
        state=state,
    )


def _enabled_columns(state: UiState) -> tuple[Column, ...]:
    chosen = tuple(map(column, state.columns)) or COLUMNS
    name = column("name")
    return (name, *(each for each in dict.fromkeys(chosen) if each is not name))


@lru_cache(maxsize=2)
def _name_width(names: tuple[str, ...]) -> int:
    longest = max((len(name) if name.isascii() else cell_width(safe_text(name)) for name in names), default=0)
    return max(column("name").width, min(longest + 1, _LONGEST_NAME))


def _lay_out(
    columns: tuple[Column, ...], name_width: int, width: int | None, is_in_order: bool
) -> tuple[tuple[Column, ...], tuple[int, ...], int]:
    """Columns with those that fit first, their widths, and how many fit; `is_in_order` keeps the order they have."""
    widths = {each.id: each.width for each in columns} | {"name": name_width}
    if width is None:
        return columns, tuple(widths.values()), len(columns)
    widths |= {"name": min(name_width, _FITTING_NAME), "memory": max(column("memory").width, width // 8)}
    room = width - widths["name"]
    fitting = {"name"}
    for each in columns[1:] if is_in_order else sorted(columns[1:], key=attrgetter("priority")):
        if widths[each.id] <= room:
            room -= widths[each.id]
            fitting.add(each.id)
        elif is_in_order:
            break
    for column_id, most in (("name", name_width), ("memory", _LONGEST_BAR)):
        if column_id in fitting:
            more = max(0, min(room, most - widths[column_id]))
            widths[column_id] += more
            room -= more
    ordered = sorted(columns, key=lambda each: each.id not in fitting)
    return tuple(ordered), tuple(widths[each.id] for each in ordered), len(fitting)


def select_rows(frame: Frame, state: UiState, order: Order) -> tuple[Rows, str | None]:
    """The VMs that the filter leaves, in the state's order; and why the filter cannot be used, if so."""
    try:
        matches = _matcher(state.filter_text)
        error = None
    except UsageError as problem:
        matches, error = _matcher(""), str(problem)
    by, is_reversed = column(state.sort_column), state.is_reversed
    if not state.filter_text or error is not None:
        return order.sort(frame.vms, by, is_reversed=is_reversed, roster=frame.roster), error
    return order.sort([vm for vm in frame.vms if matches(vm.name)], by, is_reversed=is_reversed), None


def check_filter(text: str) -> None:
    """Try a filter.

    Raises:
        UsageError: it is no regular expression that we know.
    """
    _matcher(text)


@lru_cache(maxsize=8)
def _matcher(text: str) -> _Matcher:
    if text.startswith("/"):
        pattern = parse_pattern(text[1:].removesuffix("/"))
        return lru_cache(maxsize=32_768)(pattern.search)
    wanted = text.casefold()
    return lambda name: wanted in name.casefold()
