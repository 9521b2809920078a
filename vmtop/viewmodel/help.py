"""The help: every key, every column with meaning, unit and source, the marks, the bars and the levels."""

from collections.abc import Sequence
from typing import NamedTuple

from vmtop.derive.metrics import Condition, Level
from vmtop.derive.words import percent_words, rate_words
from vmtop.model.policy import DEFAULT_POLICY, Policy
from vmtop.viewmodel.columns import COLUMNS, CONDITION_TONES, MARKS, Column
from vmtop.viewmodel.fields import HOST_FIELDS, Field
from vmtop.viewmodel.formats import bar_glyph, cut_line, fit, wrap_text
from vmtop.viewmodel.summary import LEVEL_TONES
from vmtop.viewmodel.tone import Line, Span, Tone

CONDITION_WORDS: dict[Condition, str] = {
    Condition.OFF: "the VM holds no memory",
    Condition.CRASHED: "the VM crashed",
    Condition.HUNG: "QEMU does not answer; the figures are the last known ones",
    Condition.PAUSED: "the VM is paused or suspended and holds its memory",
    Condition.BUSY: "another job holds the VM, so libvirt told only its sizes",
    Condition.NO_BALLOON: "there is no balloon device, so the guest tells nothing",
    Condition.NO_STATS: "the guest sends no figures that count: its statistics period is 0, or not known yet",
    Condition.NO_DRIVER: "the guest sent nothing: it boots, or has no balloon driver",
    Condition.STALE: "the guest stopped sending figures; the last ones are shown",
    Condition.THRASH: "the guest swaps in and out at once, and goes on with it",
    Condition.SWAPPING: "the guest reads from its swap and has little memory left",
    Condition.STARVED: "the balloon took so much that almost nothing is usable",
    Condition.WAITING: "the host is short of memory and this VM feels it: its tasks wait for memory",
    Condition.TIGHT: "little of the guest's memory is usable",
    Condition.BALLOONED: "the balloon gave memory back to the host; the guest is well",
    Condition.IDLE: "the VM holds much more memory than its guest wants",
    Condition.OK: "nothing to say",
}
"""What each state means."""

_LEAST_TEXT_CELLS = 30

_HEAD_WORDS = (
    ("VMs", "vms_bytes"),
    ("other", "other_bytes"),
    ("droppable", "droppable_bytes"),
    ("free", "free_bytes"),
    ("shared, saves", "ksm_saved_bytes"),
    ("configured, max", "overcommit_configured_ratio"),
    ("current, now", "overcommit_current_ratio"),
    ("resident, held", "overcommit_resident_ratio"),
    ("Swap", "swap_used_bytes"),
    ("Swap in", "swap_in_bytes_per_s"),
    ("Swap out", "swap_out_bytes_per_s"),
    ("Pressure some", "psi_some_avg10_ratio"),
    ("Pressure full", "psi_full_avg10_ratio"),
    ("profit", "ksm_profit_bytes"),
    ("ksmd", "ksm_cpu_ratio"),
)
"""What the head calls figures of the host; on narrow screens some have a shorter word."""

_BAR_WORDS: tuple[tuple[Tone, str, str], ...] = (
    (Tone.BAR_USED, "used", "what the guest cannot give up; in the host's bar what VMs hold"),
    (Tone.BAR_OTHER, "other", "the host's bar only: neither VMs nor cache that can be dropped"),
    (Tone.BAR_CACHE, "cache", "what can be dropped at once: usable less free; of the host, available less free"),
    (Tone.BAR_FREE, "free", "used for nothing"),
    (Tone.BAR_GIVEN, "given back", "what the balloon returned to the host"),
    (Tone.BAR_SHARED, "shared", "the host's bar only, beyond its end: what page sharing saves"),
    (Tone.UNKNOWN, "unknown", "held, but nobody tells for what"),
)


class KeyHelp(NamedTuple):
    """One line of the list of keys."""

    keys: str
    """As written on the keyboard: "q, F10"."""
    does: str
    is_here: bool = True
    """It works on the page from which the help was opened."""


def build_help(
    keys: Sequence[KeyHelp],
    columns: Sequence[Column] = COLUMNS,
    *,
    width: int = 80,
    has_unicode: bool = True,
    policy: Policy = DEFAULT_POLICY,
) -> tuple[Line, ...]:
    """Lines of at most `width` cells."""
    lines: list[Line] = []
    for title, is_here in (("Keys here", True), ("Keys of other pages", False)):
        entries = [(key.keys, Tone.KEY, key.does) for key in keys if key.is_here is is_here]
        lines += _section(title, entries, width) if entries else []
    lines += _section(
        "Columns, and what --sort and --columns call them",
        [(f"{each.title:<8} {each.id}", Tone.NAME, _column_words(each)) for each in columns],
        width,
    )
    head = [(words, Tone.NAME, _field_words(HOST_FIELDS[name])) for words, name in _HEAD_WORDS]
    lines += _section("Head of the screen; K M G T are 1024, 1024 K and so on", head, width)
    lines += _section("Marks", [(mark, Tone.NAME, meaning) for mark, meaning in MARKS], width)
    bars = [(f"{bar_glyph(tone, has_unicode) * 3} {name}", tone, meaning) for tone, name, meaning in _BAR_WORDS]
    lines += _section("Bars", bars, width)
    states = [(each.value, CONDITION_TONES[each], words) for each, words in CONDITION_WORDS.items()]
    lines += _section("States of a VM; the first that fits", states, width)
    levels = [(level.word, LEVEL_TONES[level], words) for level, words in level_words(policy).items()]
    lines += _section("Levels of the host", levels, width)
    return tuple(lines[:-1])


def level_words(policy: Policy) -> dict[Level, str]:
    """What each level means."""

    def below(times: float) -> str:
        return f"available memory is below {times:g} times what a host of this size should keep free"

    def some(ratio: float) -> str:
        return f"some program waits for memory {percent_words(ratio)} of the time"

    def swap_in(bytes_per_s: float) -> str:
        return f"the host swaps in more than {rate_words(bytes_per_s)}"

    return {
        Level.CALM: "enough memory; nothing to do",
        Level.WATCH: below(policy.watch_times),
        Level.SOFT: f"{below(policy.soft_times)}, or {some(policy.psi_soft_some_ratio)}, or "
        f"{swap_in(policy.swap_in_soft_bytes_per_s)}",
        Level.HARD: f"{below(policy.hard_times)}, or {some(policy.psi_hard_some_ratio)}, or "
        f"{swap_in(policy.swap_in_hard_bytes_per_s)}: guests feel it",
        Level.CRITICAL: f"{below(policy.critical_times)}, or everything waits "
        f"{percent_words(policy.psi_critical_full_ratio)} of the time: the OOM killer is near",
    }


def describe_columns() -> str:
    """All columns as plain text: id, title, meaning, unit and source."""
    return "".join(f"{each.id:<12} {each.title:<8} {_column_words(each)}\n" for each in COLUMNS)


def _column_words(each: Column) -> str:
    return _field_words(each.definition)


def _field_words(field: Field) -> str:
    unit = f" Unit: {field.unit}." if field.unit else ""
    return f"{field.meaning}{unit} Source: {field.source}."


def _section(title: str, entries: Sequence[tuple[str, Tone, str]], width: int) -> list[Line]:
    """A title, below it words with their explanations beside them (or below, where room is short), an empty line."""
    left = max(len(word) for word, _, _ in entries) + 4
    is_beside = width - left >= _LEAST_TEXT_CELLS
    indent = left if is_beside else 4
    lines: list[Line] = [(Span(title, Tone.TITLE),)]
    for word, tone, text in entries:
        wrapped = wrap_text(text, max(2, width - indent))
        head = Span("  " + (fit(word, left - 2) if is_beside else word), tone)
        lines.append((head, Span(wrapped.pop(0), Tone.NORMAL)) if is_beside else (head,))
        lines += [(Span(" " * indent + line, Tone.NORMAL),) for line in wrapped]
    return [*(cut_line(line, width) for line in lines), ()]
