"""The table of VMs: which rows, in which order, in which columns; cells are made only when they are drawn."""

from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress, count
from math import inf
from operator import attrgetter, ne
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, overload

from vmtop.derive.frame import Frame, Roster
from vmtop.derive.metrics import VmMetrics
from vmtop.derive.overview import Overview, derive_overview
from vmtop.errors import UsageError
from vmtop.model.sample import JobKind
from vmtop.viewmodel.columns import COLUMNS, Column, SortValue, column, stalled_spans
from vmtop.viewmodel.formats import cell_width, safe_text
from vmtop.viewmodel.pattern import parse_pattern
from vmtop.viewmodel.tone import Line, Span, Tone
from vmtop.viewmodel.ui_state import UiState

if TYPE_CHECKING:
    from vmtop.actions.target import Target

NOISE_RATIO = 0.05
"""A VM keeps its place in the order until the figure that sorts moved by more than this share."""

_FEW = 32
"""Moving a VM costs about as much as sorting so many of them."""

_LONGEST_NAME = 41
"""Cells for names at most; they are stretched to what they need first, the bar after them."""
_LONGEST_BAR = 41
_FITTING_NAME = 21
"""Room that long names may take from other columns."""

MARK = "*"
"""Stands before the name of a VM that is marked for the next action; where VMs can be marked, every name has a cell for
it."""

NONE_STALLED: frozenset[JobKind] = frozenset()
NO_TARGETS: "Mapping[str, Target]" = MappingProxyType({})

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

    From one frame to the next few VMs move that far. They alone change places, and of the others nothing is looked at
    but the new value: with 10,000 of them, fetching them from memory is what takes time.
    """

    def __init__(self) -> None:
        self._roster = Roster((), ())
        self._names_before: list[int] = []
        """Of each VM, how many names come before its own."""
        self._column_id = ""
        self._way = 1
        """1 when values rise from the first row to the last, -1 when they fall."""
        self._ranks: list[int] = []
        """Of each VM, what settles ties: a falling order is shown from its end, so names have to fall in it as well."""
        self._seen: list[SortValue] = []
        """The value of each VM in the last frame; without one, the number that comes last."""
        self._held: list[SortValue] = []
        """What each VM sorts by."""
        self._places = array("L")
        """Places of the VMs in `_roster`, by rising values."""

    def sort(self, vms: Sequence[VmMetrics], by: Column, *, is_reversed: bool, roster: Roster | None = None) -> Rows:
        """VMs in the order to show; those without a value come last, whichever way.

        Args:
            vms: what to sort.
            by: the column whose values count.
            is_reversed: against the direction of the column.
            roster: who `vms` are, where that is known already.
        """
        way = -1 if is_reversed is by.is_ascending else 1
        is_new = self._begin(roster or _roster_of(vms), by.id, way)
        values = [way * inf if value is None else value for value in map(by.sort_value, vms)]
        moved = self._moved(values)
        self._seen = values
        if is_new or len(moved) * _FEW > len(vms):
            for place in moved:
                self._held[place] = values[place]
            keys = list(zip(self._held, self._ranks, strict=True))
            # From the last order on, which is often nearly the next one, and then sorted in a fifth of the time.
            self._places = array("L", sorted(self._places, key=keys.__getitem__))
        else:
            for place in moved:
                self._move(place, values[place])
        return Rows(vms, self._places[::way])

    def _begin(self, roster: Roster, column_id: str, way: int) -> bool:
        """Forget what does not hold for these VMs, this column and this way; tell whether anything is new."""
        is_same_roster, is_same_column = roster == self._roster, column_id == self._column_id
        if is_same_roster and is_same_column and way == self._way:
            return False
        held = dict(zip(self._roster.uuids, self._held, strict=True)) if is_same_column else {}
        if not is_same_roster:
            names = [(name.casefold(), name, uuid) for uuid, name in zip(*roster, strict=True)]
            by_name = sorted(range(len(names)), key=names.__getitem__)
            self._names_before = sorted(range(len(names)), key=by_name.__getitem__)
            self._places = array("L", by_name)
        self._roster, self._column_id, self._way = roster, column_id, way
        self._ranks = [way * before for before in self._names_before]
        self._held = [held.get(uuid, way * inf) for uuid in roster.uuids]
        self._seen = self._held.copy()
        return True

    def _moved(self, values: list[SortValue]) -> list[int]:
        """Places of the VMs whose values moved by more than noise; text and zero are never noise."""
        changed = list(compress(count(), map(ne, values, self._seen)))
        held, least, most = self._held, 1 - NOISE_RATIO, 1 + NOISE_RATIO
        try:
            return [
                place
                for place in changed
                if not ((new := values[place]) and (old := held[place]) and least <= new / old <= most)  # type: ignore[operator] # text raises
            ]
        except TypeError:
            return changed

    def _move(self, place: int, value: SortValue) -> None:
        """Move one VM to where it belongs with this value."""

        def key(place: int) -> tuple[SortValue, int]:
            return self._held[place], self._ranks[place]

        del self._places[bisect_left(self._places, key(place), key=key)]
        self._held[place] = value
        insort(self._places, place, key=key)


def _roster_of(vms: Sequence[VmMetrics]) -> Roster:
    return Roster(tuple([vm.uuid for vm in vms]), tuple([vm.name for vm in vms]))


class RowExtras(NamedTuple):
    """What a row shows besides the figures of its VM."""

    is_marked: bool
    target: "Target | None"
    """What was asked of its balloon; stands in the place of the bar."""
    stalled: frozenset[JobKind]
    """Its jobs that stand still."""


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
    targets: "Mapping[str, Target]"
    """UUID -> what was asked of a balloon, and what became of it."""
    stalled: "Mapping[str, frozenset[JobKind]]"
    """UUID -> jobs that stand still."""

    has_marks: bool
    """There is a cell for `MARK` before each name."""

    def header(self) -> list[Line]:
        """Titles, one line for each of `columns`."""
        return [self._title(each, width) for each, width in zip(self.columns, self.widths, strict=True)]

    def _title(self, each: Column, width: int) -> Line:
        is_sorted = each.id == self.state.sort_column
        is_descending = self.state.is_reversed is each.is_ascending
        marks = ("▲", "▼") if self.state.has_unicode else ("^", "v")
        text = self._beside_mark(each, each.title) + (marks[is_descending] if is_sorted else " ")
        title = text.ljust(width) if each.is_left else f"{text} ".rjust(width)
        return (Span(title, Tone.SORTED if is_sorted else Tone.TITLE),)

    def _beside_mark(self, each: Column, text: str) -> str:
        return f" {text}" if self.has_marks and each.id == "name" else text

    def row_spans(self, vm: VmMetrics, first: int = 1, last: int | None = None) -> list[Line]:
        """Cells of one row: the name, and those of `columns[first:last]`."""
        has_unicode = self.state.has_unicode
        extras = self.extras(vm)
        (name, width), *others = self._drawn(first, last)
        if extras.target is None and not extras.stalled:
            cells = [each.spans(vm, width, has_unicode) for each, width in others]
        else:
            cells = [self._extra_spans(each, vm, width, extras) for each, width in others]
        if not self.has_marks:
            return [name.spans(vm, width, has_unicode), *cells]
        mark = Span(MARK, Tone.SORTED) if extras.is_marked else Span(" " * len(MARK), Tone.NORMAL)
        return [(mark, *name.spans(vm, width - len(MARK), has_unicode)), *cells]

    def extras(self, vm: VmMetrics) -> RowExtras:
        """What the row of a VM shows besides."""
        return RowExtras(
            vm.uuid in self.state.marked, self.targets.get(vm.uuid), self.stalled.get(vm.uuid, NONE_STALLED)
        )

    def _extra_spans(self, each: Column, vm: VmMetrics, width: int, extras: RowExtras) -> Line:
        has_unicode = self.state.has_unicode
        if each.id == "memory" and extras.target is not None:
            from vmtop.viewmodel.target import target_spans  # only where something was asked for

            return target_spans(extras.target, width)
        if each.id == "jobs" and extras.stalled:
            return stalled_spans(vm, extras.stalled, width, has_unicode)
        return each.spans(vm, width, has_unicode)

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


def build_table(
    frame: Frame,
    state: UiState,
    order: Order,
    width: int | None,
    targets: "Mapping[str, Target]" = NO_TARGETS,
    *,
    has_marks: bool = False,
) -> TableView:
    """The table for a screen of `width` cells; None gives every column its place, for output that is no screen.

    `has_marks` keeps a cell before each name, so that no name moves when its VM is marked.

    Raises:
        UsageError: `state` names a column that does not exist.
    """
    rows, filter_error = select_rows(frame, state, order)
    columns, widths, fitting = _lay_out(
        _enabled_columns(state),
        _name_width(frame.roster.names, len(MARK) if has_marks else 0),
        width,
        bool(state.columns),
    )
    return TableView(
        columns=columns,
        widths=widths,
        fitting=fitting,
        rows=rows,
        overview=frame.overview if len(rows) == len(frame.vms) else derive_overview(rows),
        filter_error=filter_error,
        state=state,
        targets=targets,
        stalled=_stalled_jobs(frame),
        has_marks=has_marks,
    )


def _stalled_jobs(frame: Frame) -> dict[str, frozenset[JobKind]]:
    stalled: dict[str, frozenset[JobKind]] = {}
    for each in frame.jobs.running:
        if each.is_stalled:
            stalled[each.uuid] = stalled.get(each.uuid, NONE_STALLED) | {each.job.kind}
    return stalled


def _enabled_columns(state: UiState) -> tuple[Column, ...]:
    chosen = tuple(map(column, state.columns)) or COLUMNS
    name = column("name")
    return (name, *(each for each in dict.fromkeys(chosen) if each is not name))


@lru_cache(maxsize=2)
def _name_width(names: tuple[str, ...], mark_cells: int) -> int:
    longest = max((len(name) if name.isascii() else cell_width(safe_text(name)) for name in names), default=0)
    return max(column("name").width, min(longest + 1 + mark_cells, _LONGEST_NAME))


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
    if text.startswith("//"):
        raise UsageError("a regular expression begins with one slash, as in /^web/")
    if text.startswith("/"):
        try:
            pattern = parse_pattern(text[1:].removesuffix("/"))
        except UsageError as error:
            raise UsageError(f"the regular expression cannot be used: {error}") from None
        return lru_cache(maxsize=32_768)(pattern.search)
    wanted = text.casefold()
    return lambda name: wanted in name.casefold()
