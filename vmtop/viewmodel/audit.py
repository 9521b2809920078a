"""The page of the audit: who did what, newest first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from vmtop.actions.audit import AuditRecord, Identity, Phase
from vmtop.actions.size import size_text
from vmtop.viewmodel.formats import format_age, format_duration, format_time, line_width
from vmtop.viewmodel.outcome import ACTION_WORDS
from vmtop.viewmodel.sheet import (
    GAP,
    Head,
    Page,
    Row,
    build_labelled,
    build_note,
    build_sheet,
    figure,
    make_page,
    plain,
    word,
)
from vmtop.viewmodel.tone import Line, Span, Tone

NOTHING_DONE = "No action of vmtop is written down here."

_RECORDS = (
    Head(title="WHEN", width=20),
    Head(title="WHO", width=16, least=6, worth=3),
    Head(title="VM", width=32, least=8),
    Head(title="WHAT", width=17, least=8),
    Head(title="FROM", width=7, least=5, worth=4, is_left=False),
    Head(title="TO", width=7, least=5, worth=5, is_left=False),
    Head(title="END", width=18, least=8),
    Head(title="TOOK", width=4, worth=2, is_left=False),
)
_SOURCE = Head(title="SOURCE", width=60, least=14, worth=6)
_HOW = Head(title="", width=200, least=10, worth=1)
_UNCUT = 100_000
"""Cells where nothing is cut: a file or program reads it."""
_INDENT = "    "
NOT_RUNNING: Mapping[str, float] = MappingProxyType({})
SIMULATED_SCHEME = "simulator:"
"""How URIs of demos begin: a line of the audit does not tell in any other way that nothing of it is real."""
_TONES: Mapping[str, Tone] = MappingProxyType(
    {"done": Tone.OK, "failed": Tone.HARD, "cancelled": Tone.WARN, "refused": Tone.WARN, "pending": Tone.WARN}
)
"""How an action ended -> its tone; another version of vmtop may know more ends."""
_NO_END = "no end was written"
"""vmtop was killed, or is at it where that cannot be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One action, from its begin to its end."""

    began: AuditRecord
    ended: AuditRecord | None
    """None when its end was not written down, or not yet."""

    @property
    def last(self) -> AuditRecord:
        """What is known of it."""
        return self.began if self.ended is None else self.ended


def pair_records(records: Sequence[AuditRecord]) -> tuple[Entry, ...]:
    """Begins with their ends, the newest action first; of several ends of one action the last counts."""
    began: dict[str, AuditRecord] = {}
    ended: dict[str, AuditRecord] = {}
    for record in records:
        (began if record.phase is Phase.STARTED else ended)[record.id] = record
        # What is refused never starts: it has an end only.
        began.setdefault(record.id, record)
    return tuple(Entry(began=record, ended=ended.get(each)) for each, record in reversed(began.items()))


def build_audit(
    entries: Sequence[Entry], *, width: int, has_unicode: bool, running: Mapping[str, float] = NOT_RUNNING
) -> Page:
    """All actions in lines of at most `width` cells; the key of a line is the id of its action.

    Where not all are of one source each line says of which. `running`: id -> seconds, of actions that go on.
    """
    if not entries:
        return make_page(plain(build_note(NOTHING_DONE, width)))
    is_mixed = len({entry.last.uri for entry in entries}) > 1
    heads = (*_RECORDS, *([_SOURCE] if is_mixed else []), _HOW)
    rows = [
        (
            *_row(entry, has_unicode, running),
            *([_source(entry, has_unicode)] if is_mixed else []),
            _how(entry, has_unicode),
        )
        for entry in entries
    ]
    title, lines = build_sheet(heads, rows, width, has_unicode)
    return make_page([(title, None), *zip(lines, (entry.began.id for entry in entries), strict=True)])


def build_audit_text(
    entries: Sequence[Entry], *, width: int | None, has_unicode: bool, running: Mapping[str, float] = NOT_RUNNING
) -> tuple[Line, ...]:
    """All actions with their sources, and how each ended in whole, below its line where there is no room beside.

    `width` None is for output that is no screen: nothing is cut there.
    """
    if not entries:
        return tuple(build_note(NOTHING_DONE, width or _UNCUT))
    heads: tuple[Head, ...] = (*_RECORDS, _SOURCE)
    if width is None:
        heads = tuple(replace(head, width=_UNCUT) if head.least else head for head in heads)
    rows = [(*_row(entry, has_unicode, running), _source(entry, has_unicode)) for entry in entries]
    title, sheet = build_sheet(heads, rows, width or _UNCUT, has_unicode)
    lines = [title]
    for entry, line in zip(entries, sheet, strict=True):
        how = _how(entry, has_unicode)
        beside = (*line, Span(" " * GAP, Tone.NORMAL), *how)
        if width is None or line_width(beside) <= width:
            lines.append(beside)
            continue
        wrapped = build_note(entry.last.text, width - len(_INDENT), has_unicode=has_unicode)
        lines += [line, *((Span(_INDENT, Tone.NORMAL), *note) for note in wrapped)]
    return tuple(lines)


def build_entry(entry: Entry, *, width: int, has_unicode: bool, running_s: float | None = None) -> list[Line]:
    """Everything about one action; `running_s` for how long it has gone on, if it does."""
    record = entry.last
    who = "not known" if record.who is None else _whole_name(record.who)
    words = [
        ("who", who, Tone.NORMAL),
        ("asked", record.sentence + (" (forced)" if record.is_forced else ""), Tone.NORMAL),
        ("end", record.text or _end(record, running_s), _tone(record)),
        *(("refused", refusal, Tone.WARN) for refusal in record.refusals if refusal not in record.text),
        *(("warned", warning, Tone.NORMAL) for warning in record.warnings),
        ("where", f"{'SIMULATED ' if _is_simulated(record) else ''}{record.uri}", _source_tone(record)),
    ]
    return [
        line
        for label, text, tone in words
        for line in build_labelled(label, text, width, tone, has_unicode=has_unicode)
    ]


def _row(entry: Entry, has_unicode: bool, running: Mapping[str, float]) -> Row:
    record = entry.last
    return (
        figure(f"{format_time(entry.began.time_s)[:19].replace('T', ' ')}Z"),
        figure(None) if record.who is None else word(_short_name(record.who), has_unicode=has_unicode),
        word(record.vm, Tone.NAME, has_unicode=has_unicode),
        word(ACTION_WORDS.get(record.action, record.action), has_unicode=has_unicode),
        figure(_value(record, record.old)),
        figure(_value(record, record.new)),
        word(_end(record, running.get(record.id)), _tone(record), has_unicode=has_unicode),
        figure("" if record.duration_s is None else format_age(record.duration_s)),
    )


def _end(record: AuditRecord, running_s: float | None) -> str:
    if record.outcome is not None:
        return record.outcome
    return _NO_END if running_s is None else f"running for {format_duration(max(0.0, running_s))}"


def _how(entry: Entry, has_unicode: bool) -> Line:
    return word(entry.last.text, has_unicode=has_unicode)


def _source(entry: Entry, has_unicode: bool) -> Line:
    """The URI; that nothing of it is real comes first."""
    record = entry.last
    uri = word(record.uri, Tone.DIM, has_unicode=has_unicode)
    return (Span("SIMULATED", Tone.SIMULATED), Span(" ", Tone.NORMAL), *uri) if _is_simulated(record) else uri


def _source_tone(record: AuditRecord) -> Tone:
    return Tone.SIMULATED if _is_simulated(record) else Tone.DIM


def _is_simulated(record: AuditRecord) -> bool:
    return record.uri.startswith(SIMULATED_SCHEME)


def _tone(record: AuditRecord) -> Tone:
    return _TONES.get(record.outcome or "", Tone.UNKNOWN)


def _value(record: AuditRecord, value: int | None) -> str:
    """A balloon in bytes, a period in seconds; empty for what has no value."""
    if value is None:
        return ""
    return f"{value} s" if record.action == "period" else size_text(value)


def _short_name(who: Identity) -> str:
    return f"{who.sudo_user} (sudo)" if who.sudo_user else who.user


def _whole_name(who: Identity) -> str:
    words = [f"{who.user} (uid {who.uid})"]
    if who.sudo_user:
        words.append(f"through sudo from {who.sudo_user}")
    if who.login_uid is not None and who.login_uid != who.uid:
        words.append(f"logged in as uid {who.login_uid}")
    return ", ".join(words)
