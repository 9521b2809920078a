"""THE list of columns: one entry makes a figure visible, sortable, exportable and explained in the help.

A cell is exactly as wide as its column, the gap to the next column included. The cell of a number ends in its mark and
the gap, so that no colour is needed to tell figures of different worth apart; `MARKS` says what each mark means.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import attrgetter

from vmtop.derive.condition import MOVED
from vmtop.derive.metrics import Condition, UsedSource, VmMetrics
from vmtop.derive.overview import Overview
from vmtop.errors import UsageError
from vmtop.model.sample import JobKind, JobSample
from vmtop.viewmodel.fields import VIEW_FIELDS, VM_FIELDS, Field
from vmtop.viewmodel.formats import (
    UNKNOWN_MARK,
    bar,
    cell_width,
    fit,
    format_age,
    format_bytes,
    format_count,
    format_rate,
    format_ratio,
)
from vmtop.viewmodel.tone import Line, Span, Tone
from vmtop.wording import nearest

OFF_MARK = "-"
HOST_MARK = "h"
CACHES_MARK = "c"
STALE_MARK = "~"
LEAST_MARK = "+"
MARKS: tuple[tuple[str, str], ...] = (
    (UNKNOWN_MARK, "not known; the page of the VM says why and what to do"),
    (OFF_MARK, "the VM is off and holds no memory"),
    (HOST_MARK, "seen from the host, since the guest sends nothing that counts: used is what QEMU holds"),
    (CACHES_MARK, "computed from free and cache, since the guest does not tell what is usable"),
    (STALE_MARK, "old: the guest stopped sending figures; they count in no sum"),
    (LEAST_MARK, "at least this much: a sum from which stale or unknown figures are left out"),
)
"""Marks of cells and what they mean."""

CONDITION_TONES: dict[Condition, Tone] = {
    Condition.OFF: Tone.DIM,
    Condition.CRASHED: Tone.CRITICAL,
    Condition.WAITING: Tone.WARN,
    Condition.HUNG: Tone.CRITICAL,
    Condition.PAUSED: Tone.NOTE,
    Condition.BUSY: Tone.NOTE,
    Condition.NO_BALLOON: Tone.UNKNOWN,
    Condition.NO_STATS: Tone.UNKNOWN,
    Condition.NO_DRIVER: Tone.UNKNOWN,
    Condition.STALE: Tone.STALE,
    Condition.THRASH: Tone.CRITICAL,
    Condition.SWAPPING: Tone.HARD,
    Condition.STARVED: Tone.HARD,
    Condition.TIGHT: Tone.WARN,
    Condition.BALLOONED: Tone.NORMAL,
    Condition.IDLE: Tone.DIM,
    Condition.OK: Tone.NORMAL,
}

WORST_FIRST: tuple[Condition, ...] = (
    Condition.CRASHED,
    Condition.HUNG,
    Condition.THRASH,
    Condition.SWAPPING,
    Condition.STARVED,
    Condition.WAITING,
    Condition.TIGHT,
    Condition.STALE,
    Condition.BUSY,
    Condition.NO_DRIVER,
    Condition.NO_STATS,
    Condition.NO_BALLOON,
    Condition.PAUSED,
    Condition.BALLOONED,
    Condition.OK,
    Condition.IDLE,
    Condition.OFF,
)
"""Conditions in the order in which an operator wants to see them."""
_URGENCY = {condition: len(WORST_FIRST) - place for place, condition in enumerate(WORST_FIRST)}

_SWAPS = frozenset({Condition.SWAPPING, Condition.THRASH})
_THRASHES = frozenset({Condition.THRASH})
_WAITS = frozenset({Condition.WAITING})
_SHORT = frozenset({Condition.STARVED, Condition.TIGHT})

_DOUBTS = ("used_source", "is_stale")
"""Figures that say how far those of a guest can be trusted: what marks are on the screen."""

_NUMBER_WIDTH = 7
"""Five cells for a number, one for its mark, one for the gap."""

SortValue = float | str
Figure = Callable[[VmMetrics], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the table of VMs."""

    id: str
    """What `--sort` and `--columns` call it."""
    title: str
    """At most 8 cells."""
    width: int
    """Cells, the gap to the next column included; the least for columns that stretch."""
    priority: int
    """Narrow terminals keep the columns with the smallest numbers."""
    definition: Field
    fields: tuple[str, ...]
    """The figures it shows, by their names in JSON."""
    sort_value: Callable[[VmMetrics], SortValue | None]
    """None sorts last, whichever way."""
    spans: Callable[[VmMetrics, int, bool], Line]
    """The cell: (vm, width, has_unicode) -> spans of exactly `width` cells."""
    total: Callable[[Overview, int, bool], Line | None]
    """The cell under the column, likewise, for several VMs; None where a sum makes no sense."""
    is_left: bool = False
    is_ascending: bool = False
    """Sorting by it puts small values first."""

    @property
    def meaning(self) -> str:
        """What the column shows, in a sentence."""
        return self.definition.meaning

    @property
    def unit(self) -> str:
        """Unit of the figure in JSON and CSV; empty for words."""
        return self.definition.unit

    @property
    def source(self) -> str:
        """Where an operator can look the figure up."""
        return self.definition.source


_GAP = Span(" ", Tone.NORMAL)


@lru_cache(maxsize=16_384)
def _cell(text: str, mark: str, width: int, tone: Tone) -> Line:
    return (Span(text.rjust(width - 2) + mark, tone), _GAP)


@lru_cache(maxsize=16_384)
def _words(text: str, width: int, has_unicode: bool, tone: Tone) -> Line:
    shown = fit(text, width - 1, has_unicode=has_unicode)
    words = shown.rstrip()
    return (Span(words, tone), Span(" " * (width - cell_width(words)), Tone.NORMAL))


def _guest_mark(vm: VmMetrics) -> str:
    return STALE_MARK if vm.is_stale else " "


def _used_mark(vm: VmMetrics) -> str:
    if vm.used_source is UsedSource.HOST:
        return HOST_MARK
    if vm.is_stale:
        return STALE_MARK
    return CACHES_MARK if vm.used_source is UsedSource.CACHES else " "


def _figure(
    field: str,
    column_id: str,
    title: str,
    priority: int,
    *,
    show: Callable[[float], str] = format_bytes,
    mark: Callable[[VmMetrics], str] | None = None,
    alarms: frozenset[Condition] = frozenset(),
    read: Figure | None = None,
) -> Column:
    """A column of numbers that add up.

    Args:
        field: the figure, by its name in `fields`.
        column_id: what `--sort` calls it.
        title: head of the column.
        priority: its place when room is short.
        show: how the number is written.
        mark: how far the number can be trusted; None for what the host itself sees.
        alarms: conditions that this number explains.
        read: the number of a VM; None takes the field of `VmMetrics`.
    """
    value_of: Figure = attrgetter(field) if read is None else read

    def spans(vm: VmMetrics, width: int, _has_unicode: bool) -> Line:
        condition = vm.condition
        if condition is Condition.OFF:
            return _cell(OFF_MARK, " ", width, Tone.DIM)
        value = value_of(vm)
        if value is None:
            return _cell(UNKNOWN_MARK, " ", width, Tone.UNKNOWN)
        text = show(value)
        if mark is not None and (sign := mark(vm)) != " ":
            return _cell(text, sign, width, Tone.STALE)
        if text == "0":
            return _cell(text, " ", width, Tone.DIM)
        return _cell(text, " ", width, CONDITION_TONES[condition] if condition in alarms else Tone.NORMAL)

    def total(overview: Overview, width: int, _has_unicode: bool) -> Line:
        found = overview.sums[field]
        if found.amount is None:
            return _cell(UNKNOWN_MARK, " ", width, Tone.UNKNOWN)
        return _cell(show(found.amount), LEAST_MARK if found.is_least else " ", width, Tone.NORMAL)

    return Column(
        id=column_id,
        title=title,
        width=max(_NUMBER_WIDTH, len(title) + 2),
        priority=priority,
        definition=(VM_FIELDS | VIEW_FIELDS)[field],
        fields=(field,) if mark is None else (field, *_DOUBTS),
        sort_value=value_of,
        spans=spans,
        total=total,
    )


def _no_total(_overview: Overview, _width: int, _has_unicode: bool) -> None:
    return None


def _name_spans(vm: VmMetrics, width: int, has_unicode: bool) -> Line:
    return _words(vm.name, width, has_unicode, Tone.DIM if vm.condition is Condition.OFF else Tone.NAME)


def _condition_text(vm: VmMetrics) -> str:
    """The condition in a word, how long a VM has been hung, and whether one that is off is elsewhere."""
    if vm.reason == MOVED:
        return "off, moved"
    if vm.condition is Condition.HUNG and vm.hung_s is not None:
        age = format_age(vm.hung_s)
        return f"hung {age[:-1]} {age[-1]}"
    return vm.condition.value


def _condition_spans(vm: VmMetrics, width: int, has_unicode: bool) -> Line:
    return _words(_condition_text(vm), width, has_unicode, CONDITION_TONES[vm.condition])


def _memory_parts(vm: VmMetrics) -> tuple[tuple[float, Tone], ...]:
    """What the maximum of a VM consists of, in bytes, as far as it is known; empty when nothing is.

    Used, droppable cache and free make up the balloon's current size, and given back is the rest of the maximum. What
    the guest does not tell is a part of its own.
    """
    if vm.maximum_bytes is None or vm.balloon_bytes is None or vm.used_bytes is None:
        return ()
    cache = vm.cache_bytes if vm.reclaimable_bytes is None else vm.reclaimable_bytes
    if vm.used_source is UsedSource.HOST or cache is None or vm.free_bytes is None:
        inside: tuple[tuple[float, Tone], ...] = (
            (vm.used_bytes, Tone.BAR_USED),
            (vm.balloon_bytes - vm.used_bytes, Tone.UNKNOWN),
        )
    else:
        inside = ((vm.used_bytes, Tone.BAR_USED), (cache, Tone.BAR_CACHE), (vm.free_bytes, Tone.BAR_FREE))
    return (*inside, (vm.maximum_bytes - vm.balloon_bytes, Tone.BAR_GIVEN))


def _memory_spans(vm: VmMetrics, width: int, has_unicode: bool) -> Line:
    if vm.condition is Condition.OFF:
        return _words(OFF_MARK, width, has_unicode, Tone.DIM)
    parts = _memory_parts(vm)
    if not parts:
        return _words(UNKNOWN_MARK, width, has_unicode, Tone.UNKNOWN)
    drawn = bar(parts, width - 1, has_unicode)
    if _used_mark(vm) != " ":
        drawn = tuple(Span(text, Tone.STALE) for text, _ in drawn)
    return (*drawn, _GAP)


def _memory_total(overview: Overview, width: int, has_unicode: bool) -> Line:
    if overview.not_counted:
        return _words(f"{overview.not_counted} not counted", width, has_unicode, Tone.UNKNOWN)
    return _words("", width, has_unicode, Tone.NORMAL)


def _running_maximum(vm: VmMetrics) -> int | None:
    return None if vm.condition is Condition.OFF else vm.maximum_bytes


def _used_ratio_total(overview: Overview, width: int, _has_unicode: bool) -> Line:
    if overview.used_ratio is None:
        return _cell(UNKNOWN_MARK, " ", width, Tone.UNKNOWN)
    return _cell(format_ratio(overview.used_ratio), " ", width, Tone.NORMAL)


def format_job(job: JobSample) -> str:
    """A job in words: "backup 43%", or only its kind where it does not tell how far it is."""
    if job.processed_bytes is None or not job.total_bytes:
        return job.kind.value
    return f"{job.kind.value} {min(1.0, job.processed_bytes / job.total_bytes):.0%}"


def limit_words(job: JobSample) -> list[str]:
    """The limit of a job: "limited to 20.0M/s for each disk"; nothing where there is none, or none is told."""
    if not job.limit_bytes_per_s:
        return []
    each = " for each disk" if job.disk is None and job.disks != 1 else ""
    return [f"limited to {format_rate(job.limit_bytes_per_s)}{each}"]


def format_jobs(vm: VmMetrics, stalled: frozenset[JobKind] = frozenset()) -> str:
    """All jobs of a VM, comma-separated, those that stand still called stalled; empty when there is none."""
    return ", ".join(f"{format_job(job)}{' stalled' if job.kind in stalled else ''}" for job in vm.jobs)


def _jobs_spans(vm: VmMetrics, width: int, has_unicode: bool) -> Line:
    return _words(format_jobs(vm), width, has_unicode, Tone.NOTE if vm.jobs else Tone.NORMAL)


def stalled_spans(vm: VmMetrics, stalled: frozenset[JobKind], width: int, has_unicode: bool) -> Line:
    """The cell of the jobs of a VM of which some stand still."""
    return _words(format_jobs(vm, stalled), width, has_unicode, Tone.WARN)


def _jobs_total(overview: Overview, width: int, has_unicode: bool) -> Line:
    return _words(f"{overview.jobs} running" if overview.jobs else "", width, has_unicode, Tone.NORMAL)


COLUMNS: tuple[Column, ...] = (
    Column(
        id="name",
        title="NAME",
        width=12,
        priority=0,
        definition=VM_FIELDS["name"],
        fields=("name",),
        sort_value=lambda vm: vm.name.casefold(),
        spans=_name_spans,
        total=lambda overview, width, has_unicode: _words(
            f"{overview.running} running", width, has_unicode, Tone.NORMAL
        ),
        is_left=True,
        is_ascending=True,
    ),
    Column(
        id="condition",
        title="STATE",
        width=11,
        priority=1,
        definition=VM_FIELDS["condition"],
        fields=("condition", "reason"),
        sort_value=lambda vm: _URGENCY[vm.condition],
        spans=_condition_spans,
        total=_no_total,
        is_left=True,
    ),
    Column(
        id="memory",
        title="MEMORY",
        width=14,
        priority=2,
        definition=VIEW_FIELDS["memory"],
        fields=("used_bytes", "reclaimable_bytes", "free_bytes", "ballooned_bytes"),
        sort_value=attrgetter("used_ratio"),
        spans=_memory_spans,
        total=_memory_total,
        is_left=True,
    ),
    _figure("used_bytes", "used", "USED", 3, mark=_used_mark, alarms=_SHORT),
    replace(
        _figure("used_ratio", "used%", "USED%", 5, show=format_ratio, mark=_used_mark, alarms=_SHORT),
        total=_used_ratio_total,
    ),
    _figure("balloon_bytes", "balloon", "NOW", 8),
    replace(_figure("maximum_bytes", "maximum", "MAX", 4), sort_value=_running_maximum),
    _figure("cache_bytes", "cache", "CACHE", 12, mark=_guest_mark),
    _figure("free_bytes", "free", "FREE", 13, mark=_guest_mark),
    _figure("rss_bytes", "rss", "RSS", 7),
    _figure("host_swap_bytes", "host-swap", "HSWAP", 9),
    _figure("guest_swap_in_bytes_per_s", "swap-in", "SWIN/s", 6, mark=_guest_mark, alarms=_SWAPS),
    _figure("guest_swap_out_bytes_per_s", "swap-out", "SWOUT/s", 14, mark=_guest_mark, alarms=_THRASHES),
    _figure("guest_major_faults_per_s", "faults", "FLT/s", 16, show=format_count, mark=_guest_mark, alarms=_SWAPS),
    _figure("host_major_faults_per_s", "host-faults", "HFLT/s", 15, show=format_count),
    replace(_figure("psi_some_avg10_ratio", "psi", "PSI", 11, show=format_ratio, alarms=_WAITS), total=_no_total),
    _figure("ksm_saved_bytes", "ksm-saved", "SAVED", 17),
    replace(_figure("guest_age_s", "age", "AGE", 10, show=format_age, mark=_guest_mark), total=_no_total),
    Column(
        id="jobs",
        title="JOBS",
        width=20,
        priority=18,
        definition=VM_FIELDS["jobs"],
        fields=("jobs",),
        sort_value=lambda vm: len(vm.jobs),
        spans=_jobs_spans,
        total=_jobs_total,
        is_left=True,
    ),
    _figure("ballooned_bytes", "ballooned", "GIVEN", 19),
    _figure("ksm_merged_bytes", "ksm-merged", "MERGED", 20),
    _figure("untouched_bytes", "untouched", "UNTOUCH", 21),
    _figure("hugetlb_bytes", "hugetlb", "HUGE", 22),
    Column(
        id="uuid",
        title="UUID",
        width=37,
        priority=23,
        definition=VM_FIELDS["uuid"],
        fields=("uuid",),
        sort_value=attrgetter("uuid"),
        spans=lambda vm, width, has_unicode: _words(vm.uuid, width, has_unicode, Tone.DIM),
        total=_no_total,
        is_left=True,
        is_ascending=True,
    ),
)

_BY_ID = {each.id: each for each in COLUMNS}


def column(column_id: str) -> Column:
    """The column that `--sort` and `--columns` call so.

    Raises:
        UsageError: there is none; the text names the nearest one and all of them.
    """
    found = _BY_ID.get(column_id.strip().lower())
    if found is None:
        raise UsageError(f"there is no column {column_id!r}. {nearest(column_id.strip().lower(), _BY_ID)}")
    return found
