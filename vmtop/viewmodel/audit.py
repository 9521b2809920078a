"""The page of the audit: who did what, newest first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from vmtop.actions.audit import AuditRecord, Identity, Phase
from vmtop.actions.size import size_text
from vmtop.viewmodel.formats import format_age, format_time
from vmtop.viewmodel.outcome import ACTION_WORDS
from vmtop.viewmodel.sheet import (
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
from vmtop.viewmodel.tone import Line, Tone

NOTHING_DONE = "No action of vmtop is written down here."

_RECORDS = (
    Head(title="WHEN", width=20),
    Head(title="WHO", width=16, least=6, worth=3),
    Head(title="VM", width=32, least=8),
    Head(title="WHAT", width=17, least=8),
    Head(title="FROM", width=5, worth=4, is_left=False),
    Head(title="TO", width=5, worth=5, is_left=False),
    Head(title="END", width=9, least=7),
    Head(title="TOOK", width=4, worth=2, is_left=False),
    Head(title="", width=200, least=10, worth=1),
)
_TONES: Mapping[str, Tone] = MappingProxyType(
    {"done": Tone.OK, "failed": Tone.HARD, "cancelled": Tone.WARN, "refused": Tone.WARN, "pending": Tone.WARN}
)
"""How an action ended -> its tone; another version of vmtop may know more ends."""
_NO_END = "no end"
"""vmtop was killed, or is still at it."""


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


def build_audit(entries: Sequence[Entry], *, width: int, has_unicode: bool) -> Page:
    """All actions in lines of at most `width` cells; the key of a line is the id of its action."""
    if not entries:
        return make_page(plain(build_note(NOTHING_DONE, width)))
    title, lines = build_sheet(_RECORDS, [_row(entry, has_unicode) for entry in entries], width, has_unicode)
    return make_page([(title, None), *zip(lines, (entry.began.id for entry in entries), strict=True)])


def build_entry(entry: Entry, *, width: int, has_unicode: bool) -> list[Line]:
    """Everything about one action."""
    record = entry.last
    who = "not known" if record.who is None else _whole_name(record.who)
    words = [
        ("who", who, Tone.NORMAL),
        ("asked", record.sentence + (" (forced)" if record.is_forced else ""), Tone.NORMAL),
        ("end", record.text or record.outcome or _NO_END, _tone(record)),
        *(("refused", refusal, Tone.WARN) for refusal in record.refusals if refusal not in record.text),
        *(("warned", warning, Tone.NORMAL) for warning in record.warnings),
        ("where", record.uri, Tone.DIM),
    ]
    return [
        line
        for label, text, tone in words
        for line in build_labelled(label, text, width, tone, has_unicode=has_unicode)
    ]


def _row(entry: Entry, has_unicode: bool) -> Row:
    record = entry.last
    return (
        figure(f"{format_time(entry.began.time_s)[:19].replace('T', ' ')}Z"),
        figure(None) if record.who is None else word(_short_name(record.who), has_unicode=has_unicode),
        word(record.vm, Tone.NAME, has_unicode=has_unicode),
        word(ACTION_WORDS.get(record.action, record.action), has_unicode=has_unicode),
        figure(_value(record, record.old)),
        figure(_value(record, record.new)),
        _end(record, has_unicode),
        figure("" if record.duration_s is None else format_age(record.duration_s)),
        word(record.text, has_unicode=has_unicode),
    )


def _end(record: AuditRecord, has_unicode: bool) -> Line:
    return word(record.outcome or _NO_END, _tone(record), has_unicode=has_unicode)


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
