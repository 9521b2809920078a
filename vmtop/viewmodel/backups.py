"""The page of a VM's backups: the points in time to which it can be put back, and what the next backup would copy."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmtop.actions.backup_plan import is_ours
from vmtop.actions.checkpoint import Clearing, choose_checkpoints, count_words
from vmtop.actions.guard import NO_BACKUPS
from vmtop.actions.size import size_text
from vmtop.derive.job import JobMetrics
from vmtop.derive.recovery import last_good
from vmtop.derive.words import duration_words
from vmtop.model.kind import BackupKind
from vmtop.model.recovery import RecoveryPoint
from vmtop.model.storage import StorageSample
from vmtop.viewmodel.formats import format_age, format_bytes
from vmtop.viewmodel.jobs import describe_job
from vmtop.viewmodel.sheet import (
    Head,
    Page,
    Row,
    ago,
    build_labelled,
    build_note,
    build_sheet,
    figure,
    make_page,
    plain,
    word,
)
from vmtop.viewmodel.status import Notice
from vmtop.viewmodel.tone import Line, Tone

if TYPE_CHECKING:  # what checks images is not needed to tell of them
    from vmtop.actions.verification import Verification

NO_POINTS = "There is no backup of this VM in the folder. f starts a full one."
NO_FOLDER = "o asks for the folder to which backups go."
SIMULATED_POINT = "not possible: it is simulated, and no file of this machine holds it"
UNABLE = f"This hypervisor {NO_BACKUPS}."

_POINTS = (
    Head(title="BACKUP OF", width=20, least=17),
    Head(title="AGE", width=4, is_left=False),
    Head(title="KIND", width=11, least=4, worth=4),
    Head(title="SIZE", width=5, worth=3, is_left=False),
    Head(title="CHAIN", width=14, least=8, worth=1),
    Head(title="WORTH", width=200, least=12),
)
_KINDS = {BackupKind.FULL: "full", BackupKind.INCREMENTAL: "incremental"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What lies in a backup folder for one VM, as read at one moment."""

    points: tuple[RecoveryPoint, ...]
    """The oldest first, good and bad ones."""
    problems: tuple[str, ...] = ()
    """A sentence for each record that cannot be used; foreign text."""


def build_backups(recovery: Recovery, *, now_s: float, width: int, has_unicode: bool) -> Page:
    """The recovery points, newest first, in lines of at most `width` cells; the key of a line is its stamp.

    Args:
        recovery: What was found in the folder.
        now_s: Wall clock.
        width: Cells of a line.
        has_unicode: Characters beyond ASCII may be used.
    """
    points = tuple(reversed(recovery.points))
    page: list[tuple[Line, str | None]] = []
    if points:
        title, lines = build_sheet(_POINTS, [_row(point, now_s, has_unicode) for point in points], width, has_unicode)
        page.append((title, None))
        page.extend(zip(lines, (point.backup.record.stamp for point in points), strict=True))
    else:
        page += plain(build_note(NO_POINTS, width))
    for problem in recovery.problems:
        page += plain(build_note(problem, width, Tone.WARN, has_unicode=has_unicode))
    return make_page(page)


def build_state(
    recovery: Recovery | None,
    jobs: Sequence[JobMetrics],
    storage: StorageSample | None,
    *,
    now_s: float,
    width: int,
    checking: str = "",
) -> list[Line]:
    """In a few lines: how old the last good backup is, what runs, and what was written since.

    Args:
        recovery: What was found in the folder. None while that is not known.
        jobs: Those that run on the VM.
        storage: Its disks and checkpoints. None while they are not known.
        now_s: Wall clock.
        width: Cells of a line.
        checking: Which of its backups is being checked, in words; foreign text.
    """
    lines: list[Line] = []
    if recovery is not None:
        good = last_good(recovery.points)
        if good is not None:
            checked = "verified" if good.is_verified else "not verified"
            lines += build_labelled("last good", f"{ago(good.backup.record.time_s, now_s)}, {checked}", width, Tone.OK)
        elif recovery.points:
            lines += build_labelled("last good", "none: nothing here can be restored", width, Tone.HARD)
        else:
            lines += build_labelled("last good", "none", width, Tone.WARN)
    if checking:
        lines += build_labelled("runs", checking, width, Tone.NOTE)
    lines += [line for each in jobs for line in build_labelled("runs", describe_job(each), width, Tone.NOTE)]
    if jobs:
        return lines
    if storage is not None and storage.checkpoints:
        lines += build_labelled("holds", checkpoint_words(storage), width)
    dirty = None if storage is None else next((c for c in reversed(storage.checkpoints) if is_ours(c.name)), None)
    if dirty is not None and dirty.dirty_bytes is not None:
        lines += build_labelled("changed", f"{size_text(dirty.dirty_bytes)} since the last backup of vmtop", width)
    return lines


def checkpoint_words(storage: StorageSample) -> str:
    """How many checkpoints a VM has, and which key deletes them."""
    ours = choose_checkpoints(storage, Clearing.ALL)
    others = len(storage.checkpoints) - len(ours)
    own = f"{count_words(len(ours))} of vmtop's backups, which c deletes" if ours else ""
    foreign = f"{count_words(others)} of other programs" if others else ""
    return ", ".join(each for each in (own, foreign) if each)


def verification_notice(vm: str, found: "Verification") -> Notice:
    """What came of a check of a VM's backups; foreign text."""
    checked = found.whole + found.damaged
    text = f"{checked} backup{'' if checked == 1 else 's'} checked, "
    text += f"{found.damaged} damaged" if found.damaged else "all whole"
    if not checked:
        text = "no backup was checked" if found.complaints else "there is no finished backup to check"
    if found.complaints:
        first, *others = found.complaints
        text += f"; {first}{f' (and {len(others)} more)' if others else ''}"
    tone = Tone.HARD if found.damaged else Tone.WARN if found.complaints or not checked else Tone.OK
    return Notice(f"{vm}: {text}", tone)


def build_point(
    point: RecoveryPoint, vm: str, *, now_s: float, width: int, has_unicode: bool, is_simulated: bool = False
) -> list[Line]:
    """What a recovery point is made of, and how the VM is put back to it; a simulated one has no files for that."""
    record = point.backup.record
    lines = build_labelled("chain", " + ".join(each.record.stamp for each in point.chain), width)
    if point.problem is not None:
        return [*lines, *build_labelled("problem", point.problem, width, Tone.HARD, has_unicode=has_unicode)]
    checked = [each.record.checked_s for each in point.chain]
    if is_simulated:
        return [*lines, *build_labelled("restore", SIMULATED_POINT, width)]
    oldest = min((when for when in checked if when is not None), default=None)
    if oldest is not None and point.is_verified:
        lines += build_labelled("verified", f"all its files were found whole {ago(oldest, now_s)}", width)
    else:
        lines += build_labelled("verified", "no: all its files are there, and were not checked", width)
    words = ("vmtop", "restore", vm, "--from", point.backup.folder, "--at", record.stamp, "--to", "FILE")
    return [*lines, *build_labelled("restore", shlex.join(words), width, has_unicode=has_unicode)]


def _row(point: RecoveryPoint, now_s: float, has_unicode: bool) -> Row:
    record = point.backup.record
    return (
        word(_moment(record.stamp), Tone.NAME, has_unicode=has_unicode),
        figure(format_age(max(0.0, now_s - record.time_s))),
        figure(_KINDS[record.kind]),
        figure(format_bytes(point.backup.size_bytes)),
        figure("full" if len(point.chain) == 1 else f"full + {len(point.chain) - 1} inc"),
        _worth(point, now_s, has_unicode),
    )


def _moment(stamp: str) -> str:
    """20260105T120000Z -> 2026-01-05 12:00:00Z."""
    day, _, time = stamp.partition("T")
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {time[:2]}:{time[2:4]}:{time[4:]}"


def _worth(point: RecoveryPoint, now_s: float, has_unicode: bool) -> Line:
    if point.problem is not None:
        return word(f"broken: {point.problem}", Tone.HARD, has_unicode=has_unicode)
    if not point.is_verified:
        return figure("not verified")
    oldest = min(each.record.checked_s or 0 for each in point.chain)
    return figure(f"verified {duration_words(max(0.0, now_s - oldest))} ago", Tone.OK)
