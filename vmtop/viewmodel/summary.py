"""The head of the screen: is this host all right, and if not, who and why?

Figures inside a block have a fixed width, so that nothing wanders from one reading to the next.
"""

import re
from collections.abc import Callable, Sequence
from enum import IntEnum
from heapq import nsmallest
from operator import attrgetter
from typing import NamedTuple

from vmtop.derive.frame import Frame
from vmtop.derive.metrics import Condition, HostMetrics, Level, VmMetrics
from vmtop.model.failure import Failure
from vmtop.model.policy import DEFAULT_POLICY, Policy
from vmtop.viewmodel.columns import CONDITION_TONES, format_job
from vmtop.viewmodel.flow import GAP, Block, fixed_block, flow_blocks
from vmtop.viewmodel.formats import (
    bar,
    bar_glyph,
    cell_width,
    cut_line,
    fit,
    format_age,
    format_bytes,
    format_duration,
    format_rate,
    format_ratio,
    format_times,
    line_width,
    safe_text,
    wrap_text,
)
from vmtop.viewmodel.tone import Line, Span, Tone
from vmtop.viewmodel.ui_state import UiState

LEVEL_TONES: dict[Level | None, Tone] = {
    Level.CALM: Tone.OK,
    Level.WATCH: Tone.NOTE,
    Level.SOFT: Tone.WARN,
    Level.HARD: Tone.HARD,
    Level.CRITICAL: Tone.CRITICAL,
    None: Tone.UNKNOWN,
}

NO_FIGURES = frozenset({Condition.NO_BALLOON, Condition.NO_STATS, Condition.NO_DRIVER, Condition.STALE})
"""Conditions in which the guest tells nothing that counts."""

_LEAST_BAR = 20
_NAME_CELLS = 24
_LEAST_URI, _MOST_URI = 16, 40
_MOST_NAMES = 3
_ROOMY = 120
"""From this width on figures have their full names."""
_TALL = 8
"""From so many lines on there may be two for who is in trouble."""
_AFTER_LEVEL = "  "
_IN_BRACKETS = re.compile(r" \([^()]*\)")
_LEAST_SPLIT_ROWS = 3
"""With fewer lines the cause has only one: that nothing can be read takes the others."""
_CAUSE_CELLS = 72
"""Room for a level and its cause; what stands beside them must leave as much, or it would come and go with them."""


class _Worth(IntEnum):
    """What a block is worth; the lowest goes first."""

    KSM = 1
    OVERCOMMIT = 2
    WHO_MORE = 3
    LEGEND = 4
    PRESSURE = 5
    SWAP = 6
    IDENTITY = 7
    NOTICE = 8
    FAILURE_TEXT = 9
    BAR = 10
    WHO = 11
    CAUSE = 12
    VERDICT = 13
    FAILURE = 14


class _Seen(NamedTuple):
    """What the blocks of a frame are made from."""

    frame: Frame
    state: UiState
    width: int
    rows: int
    age_s: float
    source: str
    is_readonly: bool | None
    policy: Policy


def summary_rows(terminal_rows: int) -> int:
    """Lines to spend on the head of a screen of this height: 4 of 15, 6 of 24, 8 of 30 and more."""
    return max(1, min(8, terminal_rows * 4 // 15))


def build_summary(  # noqa: PLR0913 - all that the head says comes in here, each thing under its own name
    frame: Frame | None,
    failure: Failure | None,
    state: UiState,
    *,
    width: int,
    rows: int,
    now_monotonic_s: float,
    source: str,
    is_readonly: bool | None = None,
    policy: Policy = DEFAULT_POLICY,
) -> tuple[Line, ...]:
    """At most `rows` lines of at most `width` cells; with fewer rows the less important blocks go.

    Args:
        frame: what is shown; None before the first reading.
        failure: why the last reading failed; None when it did not.
        state: the operator's choices.
        width: cells of a line.
        rows: lines to fill.
        now_monotonic_s: the present on the clock of `Sample.monotonic_s`.
        source: URI of what is being read.
        is_readonly: nothing can be changed; None says nothing of that.
        policy: what counts as a problem.
    """
    age_s = None if frame is None else max(0.0, now_monotonic_s - frame.sample.monotonic_s)
    blocks: list[Block] = []
    if failure is not None:
        where = f" from {safe_text(source, state.has_unicode)}" if frame is None else ""
        since = f"{where} for {format_duration(now_monotonic_s - failure.since_monotonic_s)}"
        blocks += _failure_blocks(failure, since, age_s, width, state.has_unicode)
    elif frame is None:
        waiting = f"Waiting for the first figures of {safe_text(source, state.has_unicode)}"
        blocks.append(fixed_block(_Worth.FAILURE, (Span(waiting, Tone.NOTE),)))
    if frame is not None and age_s is not None:
        seen = _Seen(
            frame=frame,
            state=state,
            width=width,
            rows=rows,
            age_s=age_s,
            source=source,
            is_readonly=is_readonly,
            policy=policy,
        )
        is_past = failure is not None or _is_old(seen)
        blocks += map(_faded, _frame_blocks(seen)) if is_past else _frame_blocks(seen)
    return flow_blocks(blocks, width, rows, has_unicode=state.has_unicode)


def _failure_blocks(failure: Failure, since: str, age_s: float | None, width: int, has_unicode: bool) -> list[Block]:
    """That there is no answer, since when and what comes next; then why."""
    tries = f", tried {failure.attempts} times" if failure.attempts > 1 else ""
    ages = f"; the figures are {format_duration(age_s)} old" if age_s is not None else ""
    said = f"{since}{tries}, next try within {format_duration(max(1, failure.retry_s))}{ages}"
    head = fixed_block(_Worth.FAILURE, (Span("NO ANSWER", Tone.CRITICAL), Span(said, Tone.WARN)), is_alone=True)
    lines = wrap_text(safe_text(failure.text, has_unicode), width)
    return [head, *(fixed_block(_Worth.FAILURE_TEXT, (Span(line, Tone.WARN),), is_alone=True) for line in lines[:2])]


def _frame_blocks(seen: _Seen) -> list[Block]:
    host, sample, has_unicode = seen.frame.host, seen.frame.sample, seen.state.has_unicode
    identity = _identity(seen)
    badges = _badges(seen)
    has_room = _CAUSE_CELLS + line_width(identity) + line_width(badges) <= seen.width
    verdict = _verdict(seen, (*identity, *badges) if has_room else badges)
    parts = _memory_parts(host)
    memory_bar, legend = _bar_block(host, parts, has_unicode), _legend_block(parts, has_unicode)
    is_wide = memory_bar.least + len(GAP) + legend.least <= seen.width
    overcommit = _overcommit_block(host, seen.width)
    return [
        *verdict,
        *_who_blocks(seen),
        *(_notice_block(notice, has_unicode) for notice in sample.notices),
        *((memory_bar, legend, overcommit) if is_wide else (memory_bar, overcommit, legend)),
        _swap_block(host, seen.policy),
        _pressure_block(host, seen.policy),
        _ksm_block(host),
        *(() if has_room else (fixed_block(_Worth.IDENTITY, identity),)),
    ]


def _is_old(seen: _Seen) -> bool:
    if seen.state.is_paused:
        return False
    return seen.age_s > max(seen.policy.stale_least_s, seen.policy.stale_periods * seen.state.delay_s)


def _faded(block: Block) -> Block:
    """The same in the tone of old figures: what they said is no longer known. Badges stay as they are."""

    def draw(width: int) -> Line:
        return tuple(Span(text, tone if tone is Tone.SIMULATED else Tone.STALE) for text, tone in block.draw(width))

    return block._replace(draw=draw)


def _verdict(seen: _Seen, right: Line) -> list[Block]:
    """The level and its cause, and at the right end what is said beside; a long cause goes on in a line of its own."""
    host, has_unicode = seen.frame.host, seen.state.has_unicode
    word = "UNKNOWN" if host.level is None else host.level.word.upper()
    level = Span(word, LEVEL_TONES[host.level])
    beside = line_width(right)
    gap = len(GAP) if right else 0
    room = max(0, seen.width - cell_width(word) - len(_AFTER_LEVEL) - gap - beside)
    cause, rest = _split_cause(safe_text(host.cause, has_unicode), room, seen.rows)
    left = (level, Span(f"{_AFTER_LEVEL}{cause}", Tone.NORMAL))

    def draw(width: int) -> Line:
        shown = cut_line(left, width - beside - gap, has_unicode)
        return (*shown, Span(" " * (width - beside - line_width(shown)), Tone.NORMAL), *right)

    least = line_width(left) + gap + beside
    first = Block(worth=_Worth.VERDICT, least=least, draw=draw, does_stretch=True, is_alone=True)
    more = (Span(" " * (len(word) + len(_AFTER_LEVEL)), Tone.NORMAL), Span(rest, Tone.NORMAL))
    return [first, *([fixed_block(_Worth.CAUSE, more, is_alone=True)] if rest else [])]


def _split_cause(cause: str, room: int, rows: int) -> tuple[str, str]:
    """The cause in so many cells, and the rest of it; what stands in brackets goes before anything is cut."""
    if cell_width(cause) <= room:
        return cause, ""
    brief = _IN_BRACKETS.sub("", cause)
    if cell_width(brief) <= room or rows < _LEAST_SPLIT_ROWS:
        return brief, ""
    first, *others = wrap_text(cause, room)
    return first, " ".join(others)


def _badges(seen: _Seen) -> Line:
    """What changes the worth of everything on the screen."""
    badges: list[str] = []
    tone = Tone.SIMULATED
    if seen.state.is_paused:
        badges.append("PAUSED")
    elif _is_old(seen):
        badges.append(f"OLD {format_duration(seen.age_s)}")
    if seen.frame.sample.is_simulated:
        badges.append("SIMULATED")
    return tuple(Span(f" {badge} ", tone) for badge in badges)


def _identity(seen: _Seen) -> Line:
    """Which host this is, through which connection, and how old the figures are."""
    host, has_unicode = seen.frame.host, seen.state.has_unicode
    name, uri = safe_text(host.name, has_unicode), safe_text(seen.source, has_unicode)
    rest = [
        *([] if seen.is_readonly is None else ["RO" if seen.is_readonly else "RW"]),
        f"{host.vms_running} of {host.vms_total} VMs",
        *([f"read {format_age(seen.age_s)} ago".ljust(12)] if seen.age_s else []),
    ]
    room = seen.width - sum(cell_width(word) + 2 for word in (name, *rest))
    uri = fit(uri, min(cell_width(uri), max(_LEAST_URI, min(room, _MOST_URI))), has_unicode=has_unicode)
    return (Span("  ".join(word for word in (name, uri, *rest) if word), Tone.DIM),)


def _notice_block(notice: str, has_unicode: bool) -> Block:
    return fixed_block(_Worth.NOTICE, (Span(f"! {safe_text(notice, has_unicode)}", Tone.NOTE),), is_alone=True)


class _Part(NamedTuple):
    """A part of the host's memory."""

    name: str
    amount: int
    tone: Tone


def _memory_parts(host: HostMetrics) -> tuple[_Part, ...]:
    """Where the host's memory is; the parts but the last make up the total, the last is what sharing saves beyond it.

    What the host can drop is available less free; it is part of what is cache, and what cannot be dropped is in other.
    """
    total, available, free, droppable = host.total_bytes, host.available_bytes, host.free_bytes, host.droppable_bytes
    if total is None or available is None or free is None or droppable is None:
        return ()
    if host.vms_bytes is None or host.other_bytes is None:
        held: tuple[_Part, ...] = (_Part("in use", total - available, Tone.BAR_USED),)
    else:
        held = (_Part("VMs", host.vms_bytes, Tone.BAR_USED), _Part("other", host.other_bytes, Tone.BAR_OTHER))
    return (
        *held,
        _Part("droppable", droppable, Tone.BAR_CACHE),
        _Part("free", min(free, available), Tone.BAR_FREE),
        *([_Part("shared", host.ksm_saved_bytes, Tone.BAR_SHARED)] if host.ksm_saved_bytes else []),
    )


def _bar_block(host: HostMetrics, parts: Sequence[_Part], has_unicode: bool) -> Block:
    label = (Span("Memory ", Tone.TITLE), Span(f"{format_bytes(host.total_bytes):<5} ", Tone.NORMAL))
    amounts = [(part.amount, part.tone) for part in parts]
    return Block(
        worth=_Worth.BAR,
        least=line_width(label) + _LEAST_BAR,
        draw=lambda width: (*label, *bar(amounts, width - line_width(label), has_unicode)),
        does_stretch=True,
    )


def _legend_block(parts: Sequence[_Part], has_unicode: bool) -> Block:
    spans: list[Span] = []
    for part in parts:
        if spans:
            spans.append(Span("  ", Tone.NORMAL))
        spans += [
            Span(bar_glyph(part.tone, has_unicode), part.tone),
            Span(f" {part.name} ", Tone.DIM),
            Span(f"{format_bytes(part.amount):<5}", Tone.NORMAL),
        ]
    return fixed_block(_Worth.LEGEND, tuple(spans) or (Span("where it is, is not known", Tone.UNKNOWN),))


def _overcommit_block(host: HostMetrics, width: int) -> Block:
    words = ("configured", "current", "resident") if width >= _ROOMY else ("max", "now", "held")
    ratios = (
        host.overcommit_configured_ratio,
        host.overcommit_current_ratio,
        host.overcommit_resident_ratio,
    )
    figures = [(word, f"{format_times(ratio):<5}", Tone.NORMAL) for word, ratio in zip(words, ratios, strict=True)]
    return fixed_block(_Worth.OVERCOMMIT, _figures("Overcommit", figures))


def _swap_block(host: HostMetrics, policy: Policy) -> Block:
    if host.swap_total_bytes == 0:
        return fixed_block(_Worth.SWAP, _figures("Swap", [("none", "", Tone.NORMAL)]))
    size = f"{format_bytes(host.swap_used_bytes)} of {format_bytes(host.swap_total_bytes)}"
    limits = ((policy.swap_in_hard_bytes_per_s, Tone.HARD), (policy.swap_in_soft_bytes_per_s, Tone.WARN))
    rate_in, rate_out = host.swap_in_bytes_per_s, host.swap_out_bytes_per_s
    figures = [
        ("", f"{size:<14}", Tone.NORMAL),
        ("in", f"{format_rate(rate_in):<7}", _grade(rate_in, limits)),
        ("out", f"{format_rate(rate_out):<7}", _grade(rate_out, ())),
    ]
    return fixed_block(_Worth.SWAP, _figures("Swap", figures))


def _pressure_block(host: HostMetrics, policy: Policy) -> Block:
    some, full = host.psi_some_avg10_ratio, host.psi_full_avg10_ratio
    some_limits = ((policy.psi_hard_some_ratio, Tone.HARD), (policy.psi_soft_some_ratio, Tone.WARN))
    full_limits = (
        (policy.psi_critical_full_ratio, Tone.CRITICAL),
        (policy.psi_hard_full_ratio, Tone.HARD),
        (policy.psi_soft_full_ratio, Tone.WARN),
    )
    figures = [
        ("some", f"{format_ratio(some):<4}", _grade(some, some_limits)),
        ("full", f"{format_ratio(full):<4}", _grade(full, full_limits)),
    ]
    return fixed_block(_Worth.PRESSURE, _figures("Pressure", figures))


def _ksm_block(host: HostMetrics) -> Block:
    if host.ksm_is_running is False and not host.ksm_saved_bytes:
        return fixed_block(_Worth.KSM, _figures("KSM", [("off", "", Tone.NORMAL)]))
    figures = [
        ("saves", f"{format_bytes(host.ksm_saved_bytes):<5}", Tone.NORMAL),
        (
            "profit",
            f"{format_bytes(host.ksm_profit_bytes):<6}",
            Tone.WARN if (host.ksm_profit_bytes or 0) < 0 else Tone.NORMAL,
        ),
        ("ksmd", _ksmd(host), Tone.NORMAL),
    ]
    return fixed_block(_Worth.KSM, _figures("KSM", figures))


def _ksmd(host: HostMetrics) -> str:
    if host.ksm_is_running is None:
        return "?   "
    return f"{format_ratio(host.ksm_cpu_ratio):<4}" if host.ksm_is_running else "off "


def _figures(title: str, figures: Sequence[tuple[str, str, Tone]]) -> Line:
    spans = [Span(title, Tone.TITLE)]
    for word, text, tone in figures:
        if word:
            spans.append(Span(f" {word}", Tone.DIM))
        if text:
            spans.append(Span(f" {text}", tone))
    return tuple(spans)


def _grade(value: float | None, limits: Sequence[tuple[float, Tone]]) -> Tone:
    """The tone of a figure of which more is worse; `limits` start with the highest."""
    if value is None:
        return Tone.UNKNOWN
    return next((tone for limit, tone in limits if value >= limit), Tone.NORMAL if value else Tone.DIM)


_Detail = Callable[[VmMetrics], str]


def _swaps_in(vm: VmMetrics) -> str:
    return f" in {format_rate(vm.guest_swap_in_bytes_per_s)}"


def _fullness(vm: VmMetrics) -> str:
    return "" if vm.used_ratio is None else f" {format_ratio(vm.used_ratio)} used"


def _hangs(vm: VmMetrics) -> str:
    return "" if vm.hung_s is None else f" {format_duration(vm.hung_s)}"


def _waits(vm: VmMetrics) -> str:
    return f" {format_ratio(vm.psi_some_avg10_ratio)}"


def _holds(vm: VmMetrics) -> str:
    return f" {format_bytes(vm.resident_bytes)}"


def _works(vm: VmMetrics) -> str:
    return f" {format_job(vm.jobs[0])}"


_TROUBLES: tuple[tuple[Condition, str, _Detail, str], ...] = (
    (Condition.CRASHED, "crashed", lambda _: "", "rss_bytes"),
    (Condition.HUNG, "hung", _hangs, "hung_s"),
    (Condition.THRASH, "thrashing", _swaps_in, "guest_swap_in_bytes_per_s"),
    (Condition.SWAPPING, "swapping", _swaps_in, "guest_swap_in_bytes_per_s"),
    (Condition.STARVED, "starved", _fullness, "used_bytes"),
    (Condition.WAITING, "waiting for host memory", _waits, "psi_some_avg10_ratio"),
    (Condition.TIGHT, "tight", _fullness, "used_bytes"),
    (Condition.PAUSED, "paused", lambda _: "", "resident_bytes"),
)


class _Group(NamedTuple):
    """VMs of which the same is to be said."""

    title: str
    tone: Tone
    vms: tuple[str, ...] = ()
    """What is said of the first of them, worst first; none where the title says it all."""
    found: int = 0
    """How many there are."""


def _who_blocks(seen: _Seen) -> list[Block]:
    """Who is in trouble: in one line, or in two where there is room."""
    lines = _who_lines(_troubles(seen), _asides(seen), seen.width, 2 if seen.rows >= _TALL else 1)
    worths = (_Worth.WHO, _Worth.WHO_MORE)
    return [fixed_block(worth, line, is_alone=True) for worth, line in zip(worths, lines, strict=False)]


def _who_lines(troubles: Sequence[_Group], asides: Sequence[_Group], width: int, rows: int) -> list[Line]:
    for most in range(_MOST_NAMES, 0, -1):
        for groups in ((*troubles, *asides), troubles):
            lines = _pack_groups(groups, most, width)
            if len(lines) <= rows and all(line_width(line) <= width for line in lines):
                return lines
    lines = _pack_groups(troubles, 1, width - line_width(_AND_MORE))
    return lines if len(lines) <= rows else [*lines[: rows - 1], (*lines[rows - 1], *_AND_MORE)]


_AND_MORE: Line = (Span("; and more", Tone.DIM),)


def _pack_groups(groups: Sequence[_Group], most: int, width: int) -> list[Line]:
    lines: list[Line] = []
    for group in groups:
        line = _group_line(group, most)
        if lines:
            longer = (*lines[-1], Span("; ", Tone.DIM), *line)
            if line_width(longer) <= width:
                lines[-1] = longer
                continue
        lines.append(line)
    return lines


def _group_line(group: _Group, most: int) -> Line:
    if not group.vms:
        return (Span(group.title, group.tone),)
    more = f" +{group.found - most}" if group.found > most else ""
    return (Span(group.title, group.tone), Span(f": {', '.join(group.vms[:most])}{more}", Tone.NORMAL))


def _troubles(seen: _Seen) -> list[_Group]:
    """Who is in trouble, worst first, and whose state nobody knows."""
    overview, has_unicode = seen.frame.overview, seen.state.has_unicode
    groups = [
        _group(title, CONDITION_TONES[condition], overview.by_condition[condition], figure, detail, has_unicode)
        for condition, title, detail, figure in _TROUBLES
        if condition in overview.by_condition
    ]
    silent = sum(len(overview.by_condition.get(condition, ())) for condition in NO_FIGURES)
    if not groups:
        running = overview.running
        groups.append(_Group(_all_well(running, silent), Tone.OK if running else Tone.NORMAL))
    if silent:
        groups.append(_Group(f"{silent} without guest figures", Tone.UNKNOWN))
    return groups


def _asides(seen: _Seen) -> list[_Group]:
    """What weighs on a host that is short of memory, and which jobs run; said where there is room."""
    overview, level, has_unicode = seen.frame.overview, seen.frame.host.level, seen.state.has_unicode
    groups = []
    if level is not None and level > Level.CALM:
        largest = [vm for vm in overview.largest if vm.resident_bytes][:_MOST_NAMES]
        groups.append(_group("holding most", Tone.NORMAL, largest, "resident_bytes", _holds, has_unicode))
    if overview.busy:
        groups.append(_group("jobs", Tone.NOTE, overview.busy, None, _works, has_unicode))
    return groups


def _group(
    title: str, tone: Tone, vms: Sequence[VmMetrics], figure: str | None, detail: _Detail, has_unicode: bool
) -> _Group:
    """Those of `vms` that may be named, worst by `figure` first; None keeps their order."""
    named = vms[:_MOST_NAMES]
    if figure is not None:
        read = attrgetter(figure)
        named = nsmallest(_MOST_NAMES, vms, key=lambda vm: (-(read(vm) or 0), vm.name))
    return _Group(title, tone, tuple(f"{_short_name(vm, has_unicode)}{detail(vm)}" for vm in named), len(vms))


def _all_well(running: int, silent: int) -> str:
    if not running:
        return "no VM is running"
    if silent >= running:
        return "nothing is known to be wrong"
    if silent:
        return f"nothing wrong in the {running - silent} VMs that tell"
    return f"all {running} VMs are well" if running > 1 else "the only VM is well"


def _short_name(vm: VmMetrics, has_unicode: bool) -> str:
    name = safe_text(vm.name, has_unicode)
    return name if cell_width(name) <= _NAME_CELLS else fit(name, _NAME_CELLS, has_unicode=has_unicode)
