"""The card: commands and what the guard says of them -> lines that an operator reads before anything is done."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from vmtop.actions.command import Command, SetBalloon
from vmtop.actions.promise import Promise, promise_words
from vmtop.actions.situation import Subject, find_subject
from vmtop.actions.size import size_text
from vmtop.actions.space import pool_words
from vmtop.actions.verdict import BackupPreview, BalloonPreview, CheckpointPreview, Risk, SnapshotPreview, Verdict
from vmtop.derive.frame import Frame
from vmtop.derive.words import duration_words, span_words
from vmtop.units import KIB
from vmtop.viewmodel.formats import (
    UNKNOWN_MARK,
    bar,
    bar_glyph,
    cell_width,
    cut_line,
    fit,
    line_width,
    safe_text,
    wrap_text,
)
from vmtop.viewmodel.tone import Line, Span, Tone

_LABEL_CELLS = 17
_LEAST_TEXT = 20
_ROOMY_TEXT = 32
"""With less room than this beside a row the reason goes below it."""
_MOST_BAR = 80
_LEAST_NAME, _MOST_NAME = 8, 24
_GAP = Span(" ", Tone.NORMAL)
_ASKING = "asking ..."

RISK_TONES: Mapping[Risk, Tone] = MappingProxyType(
    {
        Risk.NONE: Tone.OK,
        Risk.LOW: Tone.OK,
        Risk.MEDIUM: Tone.WARN,
        Risk.HIGH: Tone.HARD,
        Risk.SEVERE: Tone.CRITICAL,
        Risk.UNKNOWN: Tone.WARN,
    }
)


class Entry(NamedTuple):
    """A command on a card."""

    command: Command
    subject: Subject | None
    """None when the VM is gone."""
    verdict: Verdict | None
    """None while the guard has not answered."""

    @property
    def name(self) -> str:
        """Of the VM, raw; its UUID when it is gone."""
        return self.command.uuid if self.subject is None else self.subject.metrics.name

    @property
    def sentence(self) -> str:
        """What would be done, raw."""
        words = f"{self.command.action} of {self.name}"
        sentence = words if self.subject is None else self.command.sentence(self.subject.metrics)
        return sentence[0].upper() + sentence[1:]

    @property
    def is_allowed(self) -> bool:
        """The guard has answered, does not refuse it, and there is something to do."""
        return self.verdict is not None and not self.verdict.is_refused and not self.verdict.already


def make_entries(commands: Sequence[Command], frame: Frame, verdicts: Mapping[Command, Verdict]) -> tuple[Entry, ...]:
    """Put commands together with what is known of them."""
    return tuple(Entry(each, find_subject(frame, each.uuid), verdicts.get(each)) for each in commands)


def build_card(
    entries: Sequence[Entry],
    frame: Frame,
    *,
    width: int,
    rows: int,
    has_unicode: bool = True,
    notes: Sequence[Line] = (),
) -> tuple[Line, ...]:
    """Lines of at most `width` cells; pictures and blank lines go first when they are more than `rows`.

    Args:
        entries: what would be done.
        frame: gives the host.
        width: cells of a line.
        rows: lines that can be seen at once.
        has_unicode: characters beyond ASCII may be used.
        notes: lines below all others.
    """
    for has_pictures, has_blanks in ((True, True), (False, True), (False, False)):
        writer = _Writer(width, has_unicode, has_pictures)
        if len(entries) == 1:
            _write_one(writer, entries[0], frame)
        elif entries and all(isinstance(entry.command, SetBalloon) for entry in entries):
            _write_balloons(writer, entries, frame)
        else:
            _write_list(writer, entries)
        writer.blank()
        writer.lines += [*notes, ()] if notes else []
        lines = tuple(cut_line(line, width, has_unicode) for line in writer.lines if line or has_blanks)
        if len(lines) <= rows:
            break
    return lines


class _Writer:
    """Sets texts into lines."""

    def __init__(self, width: int, has_unicode: bool, has_pictures: bool) -> None:
        self.width = width
        self.has_unicode = has_unicode
        self.has_pictures = has_pictures
        self.lines: list[Line] = []

    def write(self, text: str, tone: Tone, *left: Span) -> None:
        """Foreign text beside `left`; what does not fit goes on below."""
        indent = sum(cell_width(span.text) for span in left)
        first, *more = wrap_text(safe_text(text, self.has_unicode), max(_LEAST_TEXT, self.width - indent))
        self.lines.append((*left, Span(first, tone)))
        self.lines += [(Span(" " * indent, Tone.NORMAL), Span(line, tone)) for line in more]

    def row(self, text: str, tone: Tone, *left: Span) -> None:
        """The same, all of it below `left` where there is little room beside."""
        if self.width - line_width(left) >= _ROOMY_TEXT:
            self.write(text, tone, *left)
            return
        self.lines.append(left)
        self.write(text, tone, Span("    ", Tone.NORMAL))

    def fact(self, label: str, text: str, tone: Tone = Tone.NORMAL) -> None:
        """A label and what is to be said of it."""
        self.write(text, tone, self.label(label))

    def label(self, text: str) -> Span:
        """What a fact is about."""
        return Span(f"  {text:<{_LABEL_CELLS - 2}}", Tone.DIM)

    def blank(self) -> None:
        """An empty line, where there is none yet."""
        if self.lines and self.lines[-1]:
            self.lines.append(())


# -- one command


def _write_one(writer: _Writer, entry: Entry, frame: Frame) -> None:
    verdict = entry.verdict
    if verdict is not None and verdict.already and not verdict.is_refused:
        writer.write(f"{entry.name}: {verdict.already}", Tone.NOTE)
        return
    writer.write(entry.sentence, Tone.NAME)
    if verdict is None:
        writer.blank()
        writer.write(_ASKING, Tone.DIM)
        return
    if verdict.preview is not None:
        writer.blank()
        _PREVIEWS[type(verdict.preview)](writer, entry, verdict.preview, frame)
    writer.blank()
    _write_remarks(writer, verdict)


def _write_remarks(writer: _Writer, verdict: Verdict) -> None:
    if verdict.already:
        writer.write(verdict.already, Tone.NOTE)
    refusals = tuple(dict.fromkeys(verdict.refusals))
    for text in refusals:
        writer.write(text, Tone.HARD, Span("refused  ", Tone.HARD))
    for text in dict.fromkeys(verdict.warnings):
        if text in refusals:
            continue
        writer.write(text, Tone.WARN, Span("! ", Tone.WARN))
    if verdict.needs_name and not verdict.is_refused:
        writer.write(f"{verdict.needs_name}: its name has to be typed", Tone.HARD, Span("! ", Tone.HARD))


def _write_balloon(writer: _Writer, entry: Entry, preview: BalloonPreview, frame: Frame) -> None:
    if writer.has_pictures and entry.subject is not None:
        _draw_balloon(writer, entry.subject, preview)
    before, after = preview.usable_before_bytes, preview.usable_after_bytes
    if before is None or after is None:
        writer.fact("guest can use", f"{UNKNOWN_MARK} the guest does not tell", Tone.UNKNOWN)
    else:
        writer.fact("guest can use", f"{size_text(before)} now, {size_text(after) if after else 'nothing'} after")
    if preview.floor_bytes is None:
        writer.fact("safe floor", f"{UNKNOWN_MARK} it is not known what the VM uses", Tone.UNKNOWN)
    else:
        whose = "; from what the host holds for it" if preview.is_host_view else ""
        distance = _distance(preview.to_bytes, preview.floor_bytes)
        writer.fact("safe floor", f"{size_text(preview.floor_bytes)}{distance}{whose}")
    if preview.to_bytes < preview.from_bytes:
        wins = _win_words(preview.win_least_bytes, preview.win_most_bytes)
        writer.fact("host wins", f"{wins}{_available_words(frame)}")
    word = Span(f"{preview.risk}:", RISK_TONES[preview.risk])
    writer.write(preview.risk_reason, Tone.NORMAL, writer.label("risk"), word, _GAP)


def _distance(to_bytes: int, floor_bytes: int) -> str:
    if to_bytes == floor_bytes:
        return ", which is the new size"
    return f", {size_text(abs(to_bytes - floor_bytes))} {'above' if to_bytes < floor_bytes else 'below'} the new size"


def _win_words(least_bytes: int | None, most_bytes: int | None) -> str:
    """What the host wins, which is less than the change where the guest gives memory that it never touched."""
    if least_bytes is None or most_bytes is None:
        return f"{UNKNOWN_MARK} (what it holds for the guest is not known)"
    if least_bytes == most_bytes:
        return size_text(most_bytes) if most_bytes else "nothing: it holds no memory for what the guest would give"
    least = f"{size_text(least_bytes)} to" if least_bytes else "up to"
    return f"{least} {size_text(most_bytes)}"


def _draw_balloon(writer: _Writer, subject: Subject, preview: BalloonPreview) -> None:
    """Two bars, before and after, and a mark at the floor."""
    vm = subject.metrics
    maximum_bytes, used_bytes = vm.maximum_bytes, vm.used_bytes
    cells = min(_MOST_BAR, writer.width - _LABEL_CELLS - 7)
    if maximum_bytes is None or used_bytes is None or cells < _LEAST_TEXT:
        return
    rest = Tone.UNKNOWN if preview.usable_before_bytes is None else Tone.BAR_CACHE
    for label, size_bytes in (("now", preview.from_bytes), ("after", preview.to_bytes)):
        used = min(used_bytes, size_bytes)
        parts = (
            (used, Tone.BAR_USED),
            (size_bytes - used, rest),
            (maximum_bytes - size_bytes, Tone.BAR_GIVEN),
        )
        head = (writer.label(label), Span(f"{size_text(size_bytes):<7}", Tone.NORMAL))
        writer.lines.append((*head, *bar(parts, cells, writer.has_unicode)))
    floor_bytes = preview.floor_bytes
    if floor_bytes is not None and maximum_bytes:
        place = min(cells - 1, int(min(1.0, floor_bytes / maximum_bytes) * cells + 0.5))
        mark, words = "▲" if writer.has_unicode else "^", "safe floor"
        is_left = place >= len(words) + 1
        text = f"{words} {mark}".rjust(place + 1) if is_left else f"{mark:>{place + 1}} {words}"
        writer.lines.append((Span(" " * (_LABEL_CELLS + 7) + text, Tone.DIM),))
    legend = ((Tone.BAR_USED, "used"), (Tone.BAR_CACHE, "can be used"), (Tone.BAR_GIVEN, "given to the host"))
    if rest is Tone.UNKNOWN:
        legend = ((Tone.BAR_USED, "held by the host"), (rest, "not known"), (Tone.BAR_GIVEN, "given to the host"))
    writer.lines.append((Span(" " * (_LABEL_CELLS + 7), Tone.NORMAL), *_legend(legend, writer.has_unicode)))
    writer.blank()


def _legend(kinds: Sequence[tuple[Tone, str]], has_unicode: bool) -> Line:
    """What the characters of a bar stand for."""
    spans = [
        span
        for tone, words in kinds
        for span in (Span(bar_glyph(tone, has_unicode), tone), Span(f" {words}", Tone.DIM), Span("   ", Tone.NORMAL))
    ]
    return tuple(spans[:-1])


_CONSISTENCY_TONES = {"complete": Tone.OK, "file systems": Tone.OK, "crash": Tone.WARN}


def _write_snapshot(writer: _Writer, _entry: Entry, preview: SnapshotPreview, _frame: Frame) -> None:
    writer.fact("writes", _at_most(preview.write_bytes, "next to nothing; from then on what the guest changes"))
    writer.fact("free there", _free(preview))
    pause = UNKNOWN_MARK if preview.pause_s is None else f"about {_pause_words(preview.pause_s)}"
    writer.fact("guest stands", pause)
    writer.fact("is worth", preview.consistency.value, _CONSISTENCY_TONES[preview.consistency.value])
    if not preview.is_revertible:
        writer.fact("revert", "this libvirt cannot revert to it", Tone.WARN)


def _write_backup(writer: _Writer, _entry: Entry, preview: BackupPreview, _frame: Frame) -> None:
    writer.fact("copies", _at_most(preview.write_bytes, "nothing: the guest changed nothing"))
    promised = promise_words(Promise(preview.promised_least_bytes, preview.promised_most_bytes))
    writer.fact("free there", f"{_free(preview)}{promised}")
    if preview.since is not None:
        writer.fact("since", preview.since)
    for index, path in enumerate(preview.files):
        writer.fact("" if index else "files", path)


def _write_checkpoints(writer: _Writer, _entry: Entry, preview: CheckpointPreview, _frame: Frame) -> None:
    if preview.deleted:
        writer.fact("deletes", span_words(preview.deleted))
    writer.fact("leaves", span_words(preview.kept) if preview.kept else "none of vmtop")
    if preview.foreign:
        writer.fact("", f"{span_words(preview.foreign)}, of other programs")
    if preview.kept:
        last = preview.kept[-1]
        writer.fact("next backup", f"may be incremental, from {last}, where the backup of that time lies and is whole")
    writer.fact("old backups", "stay as they are: a restore needs their files alone")


def _at_most(amount_bytes: int | None, nothing: str) -> str:
    if amount_bytes is not None and amount_bytes < KIB:
        return nothing
    return UNKNOWN_MARK if amount_bytes is None else f"at most {size_text(amount_bytes)}"


def _free(preview: SnapshotPreview | BackupPreview) -> str:
    if preview.free_bytes is None:
        return f"{UNKNOWN_MARK} that cannot be seen from here"
    return pool_words(preview.free_bytes, preview.pool) if preview.pool else size_text(preview.free_bytes)


def _pause_words(pause_s: float) -> str:
    return f"{pause_s:.1f} s" if pause_s < 10 else duration_words(pause_s)


_PREVIEWS: Mapping[type[Any], Callable[[_Writer, Entry, Any, Frame], None]] = MappingProxyType(
    {
        BalloonPreview: _write_balloon,
        SnapshotPreview: _write_snapshot,
        BackupPreview: _write_backup,
        CheckpointPreview: _write_checkpoints,
    }
)


# -- several commands


def _write_list(writer: _Writer, entries: Sequence[Entry]) -> None:
    for entry in entries:
        writer.write(entry.sentence, Tone.NAME)
        if entry.verdict is None:
            writer.write(_ASKING, Tone.DIM, Span("  ", Tone.NORMAL))
        else:
            _write_remarks(writer, entry.verdict)


def _write_balloons(writer: _Writer, entries: Sequence[Entry], frame: Frame) -> None:
    """A line for each VM, and what they come to together."""
    longest = max(cell_width(safe_text(entry.name, writer.has_unicode)) for entry in entries)
    name_cells = max(_LEAST_NAME, min(_MOST_NAME, writer.width // 4, longest))
    heads = f"{'':<{name_cells + 2}}{'NOW':>7} {'NEW':>7} {'FLOOR':>7}  RISK"
    writer.lines.append((Span(heads, Tone.TITLE),))
    for entry in entries:
        _write_balloon_row(writer, entry, name_cells)
    allowed = [
        entry.verdict.preview
        for entry in entries
        if entry.is_allowed and entry.verdict is not None and isinstance(entry.verdict.preview, BalloonPreview)
    ]
    if not allowed:
        return
    before, after = sum(each.from_bytes for each in allowed), sum(each.to_bytes for each in allowed)
    words = "they get memory back"
    if after < before:
        least = _total([each.win_least_bytes for each in allowed])
        most = _total([each.win_most_bytes for each in allowed])
        words = f"the host wins {_win_words(least, most)}{_available_words(frame)}"
    sums = f"  {fit('together', name_cells)}{size_text(before):>7} {size_text(after):>7} {'':>7}  "
    writer.row(words, Tone.NORMAL, Span(sums, Tone.NAME))
    if len(allowed) < len(entries):
        writer.blank()
        text = f"Enter does {len(allowed)} of {len(entries)}; the sums are without the others, which stay as they are"
        writer.write(text, Tone.WARN, Span("! ", Tone.WARN))


def _available_words(frame: Frame) -> str:
    available_bytes = frame.host.available_bytes
    return "" if available_bytes is None else f"; it has {size_text(available_bytes)} available"


def _total(amounts: Sequence[int | None]) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def _write_balloon_row(writer: _Writer, entry: Entry, name_cells: int) -> None:
    verdict, command = entry.verdict, entry.command
    preview = None if verdict is None else verdict.preview
    now_bytes = None if entry.subject is None else entry.subject.metrics.balloon_bytes
    floor_bytes = preview.floor_bytes if isinstance(preview, BalloonPreview) else None
    target_bytes = command.target_bytes if isinstance(command, SetBalloon) else None
    sizes = " ".join(f"{UNKNOWN_MARK if size is None else size_text(size):>7}" for size in (now_bytes, target_bytes))
    if isinstance(preview, BalloonPreview) or verdict is None or not (verdict.is_refused or verdict.already):
        sizes += f" {UNKNOWN_MARK if floor_bytes is None else size_text(floor_bytes):>7}"
    else:  # it was not asked for, as nothing is to be done
        sizes += f" {'':>7}"
    word, text, tone = _judgement(verdict)
    name = Span(f"  {fit(entry.name, name_cells, has_unicode=writer.has_unicode)}", Tone.NAME)
    writer.row(text, tone, name, Span(f"{sizes}  ", Tone.NORMAL), *(() if word is None else (word, _GAP)))


def _judgement(verdict: Verdict | None) -> tuple[Span | None, str, Tone]:
    """What the guard says: a word, and why."""
    if verdict is None:
        return None, _ASKING, Tone.DIM
    if verdict.is_refused:
        return Span("refused:", Tone.HARD), "; ".join(verdict.refusals), Tone.NORMAL
    if verdict.already:
        return None, verdict.already, Tone.DIM
    if not isinstance(verdict.preview, BalloonPreview):
        return None, UNKNOWN_MARK, Tone.UNKNOWN
    risk = verdict.preview.risk
    remarks = [*([verdict.needs_name] if verdict.needs_name else []), *verdict.warnings]
    why = "; ".join(remarks) or verdict.preview.risk_reason
    return Span(f"{risk}:", RISK_TONES[risk]), why, Tone.WARN if remarks else Tone.NORMAL
