"""The page of jobs: those that run with what they cost, those that ended with how, VMs that an I/O error stopped."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from vmtop.actions.action import Action
from vmtop.actions.backup_guard import IO_ERROR
from vmtop.derive.frame import Frame
from vmtop.derive.job import JobMetrics, job_began_s
from vmtop.derive.metrics import VmMetrics
from vmtop.derive.words import duration_words
from vmtop.model.sample import FinishedJob, JobKind, VmSample, VmState
from vmtop.viewmodel.columns import CONDITION_TONES, limit_words
from vmtop.viewmodel.formats import bar, format_age, format_bytes, format_rate, format_ratio, safe_text
from vmtop.viewmodel.outcome import ACTION_WORDS
from vmtop.viewmodel.sheet import Head, Page, Row, build_note, build_sheet, figure, make_page, plain, spinner, word
from vmtop.viewmodel.tone import Line, Tone

NOTHING_RUNS = "No job runs on any VM."
HOW_TO_START = "In the table, k starts a backup of a VM and s takes a snapshot."
NOTHING_ENDED = "No job has ended since vmtop was started."
STOPPED = "a disk, or the target of its backup, could not be written: make room, then Enter lets it go on"

_LEAST_BAR, _MOST_BAR = 12, 32

_RUNNING = (
    Head(title="RUNNING", width=32, least=8),
    Head(title="JOB", width=24, least=6),
    Head(title="PROGRESS", width=_MOST_BAR, least=_LEAST_BAR, worth=4),
    Head(title="DONE", width=4, worth=10, is_left=False),
    Head(title="BYTES", width=11, worth=2, is_left=False),
    Head(title="RATE", width=7, worth=9, is_left=False),
    Head(title="LIMIT", width=7, least=5, worth=5, is_left=False),
    Head(title="LEFT", width=4, worth=8, is_left=False),
    Head(title="RUNS", width=4, worth=7, is_left=False),
    Head(title="WAITS", width=5, worth=3, is_left=False),
    Head(title="STATE", width=10, least=9, worth=6),
)
_ENDED = (
    Head(title="ENDED", width=32, least=8),
    Head(title="JOB", width=24, least=6),
    Head(title="HOW", width=9),
    Head(title="BYTES", width=5, worth=2, is_left=False),
    Head(title="TOOK", width=4, worth=3, is_left=False),
    Head(title="AGO", width=4, worth=4, is_left=False),
    Head(title="", width=200, least=12, worth=1),
)
_ASKED = (
    Head(title="ASKED FOR", width=32, least=9),
    Head(title="WHAT", width=24, least=8),
    Head(title="PROGRESS", width=_MOST_BAR, least=_LEAST_BAR, worth=1),
    Head(title="SINCE", width=5, worth=2, is_left=False),
    Head(title="", width=200, least=7),
)
_STOPPED = (Head(title="STOPPED", width=32, least=8), Head(title="BY AN I/O ERROR", width=200, least=20))


class JobChoice(NamedTuple):
    """What a line of the page stands for."""

    uuid: str
    """Of the VM."""
    text: str
    """The same in a sentence; foreign text."""
    is_stopped: bool = False
    """The VM stands still after an I/O error."""
    running: JobKind | None = None
    """Kind of the job that runs. None for all else."""
    disk: str | None = None
    """The disk on which it runs. None for the whole VM."""
    began_s: float | None = None
    """When it began, on the clock of the samples. None where nobody tells."""


class JobsPage(NamedTuple):
    """The page, and what its keys stand for."""

    page: Page
    choices: Mapping[str, JobChoice]


def stopped_vms(frame: Frame) -> list[VmSample]:
    """VMs that stand still because a disk or the target of a backup could not be written."""
    return [vm for vm in frame.sample.vms if vm.state is VmState.PAUSED and vm.state_reason == IO_ERROR]


def build_jobs(
    frame: Frame,
    actions: Sequence[Action],
    *,
    now_s: float,
    width: int,
    has_unicode: bool,
    can_start: bool = True,
) -> JobsPage:
    """All jobs that run or ended, in lines of at most `width` cells.

    Args:
        frame: Gives the jobs, and the memory of the VMs on which they run.
        actions: What the operator asked for; that which goes on and is no job yet is shown, too.
        now_s: Wall clock of the frame's source, for how long ago jobs ended.
        width: Cells of a line.
        has_unicode: Characters beyond ASCII may be used.
        can_start: The operator may start some.
    """
    vms = {vm.uuid: vm for vm in frame.vms}
    running, stopped = frame.jobs.running, stopped_vms(frame)
    busy = {each.uuid for each in running}
    asked = [action for action in actions if not action.is_over and action.command.uuid not in busy]
    ended = list(reversed(frame.jobs.finished))
    bar_cells = max(_LEAST_BAR, min(_MOST_BAR, width // 6))
    choices: dict[str, JobChoice] = {}

    def choose(key: str, choice: JobChoice) -> str:
        choices.setdefault(key, choice)
        return key

    lines: list[tuple[Line, str | None]] = []

    def add(heads: Sequence[Head], rows: Sequence[Row], row_keys: Sequence[str | None], empty: str = "") -> None:
        if not rows and not empty:
            return
        title, shown = build_sheet(heads, rows, width, has_unicode)
        if lines:
            lines.append(((), None))
        lines.append((title if rows else figure(heads[0].title, Tone.TITLE), None))
        lines.extend(zip(shown, row_keys, strict=True))
        if not rows:
            lines.extend(plain(build_note(empty, width)))

    add(
        _STOPPED,
        [(word(vm.name, Tone.NAME, has_unicode=has_unicode), figure(STOPPED, Tone.HARD)) for vm in stopped],
        [choose(f"stop {vm.uuid}", JobChoice(vm.uuid, f"{vm.name}: {STOPPED}", is_stopped=True)) for vm in stopped],
    )
    add(
        _RUNNING,
        [_running(each, vms.get(each.uuid), now_s, bar_cells, has_unicode) for each in running],
        [
            choose(
                f"job {each.uuid} {each.job.kind} {each.job.disk}",
                JobChoice(
                    each.uuid,
                    f"{each.name}: {describe_job(each)}",
                    running=each.job.kind,
                    disk=each.job.disk,
                    began_s=job_began_s(each.job, frame.sample.time_s),
                ),
            )
            for each in running
        ],
        f"{NOTHING_RUNS} {HOW_TO_START}" if can_start else NOTHING_RUNS,
    )
    add(
        _ASKED,
        [_asked(each, now_s, bar_cells, has_unicode) for each in asked],
        [choose(f"action {each.id}", JobChoice(each.command.uuid, _asked_words(each))) for each in asked],
    )
    add(
        _ENDED,
        [_ended(each, now_s, has_unicode) for each in ended],
        [
            choose(f"end {each.uuid} {each.kind} {each.disk} {each.ended_s}", JobChoice(each.uuid, _ended_words(each)))
            for each in ended
        ],
        NOTHING_ENDED,
    )
    return JobsPage(make_page(lines), MappingProxyType(choices))


def describe_job(each: JobMetrics) -> str:
    """A running job in a sentence: "backup 43%, 12.0M/s, 3 min left"; a disk in it is foreign text."""
    job = each.job
    what = job.kind.value if job.disk is None else f"{job.kind.value} of {job.disk}"
    words = [what if each.done_ratio is None else f"{what} {format_ratio(each.done_ratio)}"]
    if each.is_ready:
        words.append("complete, and follows what the guest writes until somebody ends it")
    elif each.is_stalled:
        words.append(f"stalled for {duration_words(each.still_s)}")
    elif each.rate_bytes_per_s is not None:
        words.append(format_rate(each.rate_bytes_per_s))
    words += limit_words(job)
    if each.left_s is not None:
        words.append(f"{duration_words(each.left_s)} left")
    elif job.elapsed_s is not None:
        words.append(f"runs for {duration_words(job.elapsed_s)}")
    return ", ".join(words)


def _kind(kind: JobKind, disk: str | None, has_unicode: bool) -> str:
    return kind.value if disk is None else f"{kind.value} {safe_text(disk, has_unicode)}"


def _running(each: JobMetrics, vm: VmMetrics | None, now_s: float, bar_cells: int, has_unicode: bool) -> Row:
    job = each.job
    if each.is_ready:
        rate = figure("ready", Tone.OK)
    elif each.is_stalled:
        rate = figure("stalled", Tone.WARN)
    else:
        rate = figure("" if each.rate_bytes_per_s is None else format_rate(each.rate_bytes_per_s))
    return (
        word(each.name, Tone.NAME, has_unicode=has_unicode),
        figure(_kind(job.kind, job.disk, has_unicode), Tone.NOTE),
        _progress(each, now_s, bar_cells, has_unicode),
        figure("" if each.done_ratio is None else format_ratio(each.done_ratio)),
        figure(_amount(each)),
        rate,
        figure("" if not job.limit_bytes_per_s else format_rate(job.limit_bytes_per_s)),
        figure("" if each.left_s is None else format_age(each.left_s)),
        figure(None if job.elapsed_s is None else format_age(job.elapsed_s)),
        figure(None if vm is None or vm.psi_some_avg10_ratio is None else format_ratio(vm.psi_some_avg10_ratio)),
        figure(None) if vm is None else figure(vm.condition.value, CONDITION_TONES[vm.condition]),
    )


def _progress(each: JobMetrics, now_s: float, cells: int, has_unicode: bool) -> Line:
    """How far it is, as a bar; of a pull backup, which has no progress, how full its scratch space is."""
    used, total = each.job.scratch_used_bytes, each.job.scratch_total_bytes
    if used is not None:
        return figure("scratch" if not total else f"scratch {format_ratio(used / total)}", Tone.DIM)
    if each.done_ratio is None:
        return spinner(now_s, cells, has_unicode)
    return bar(((each.done_ratio, Tone.BAR_USED), (1 - each.done_ratio, Tone.BAR_FREE)), cells, has_unicode)


def _amount(each: JobMetrics) -> str:
    job = each.job
    if job.scratch_used_bytes is not None:
        of = "" if job.scratch_total_bytes is None else f"/{format_bytes(job.scratch_total_bytes)}"
        return f"{format_bytes(job.scratch_used_bytes)}{of}"
    if job.processed_bytes is None or job.total_bytes is None:
        return ""
    return f"{format_bytes(job.processed_bytes)}/{format_bytes(job.total_bytes)}"


def _ended_words(each: FinishedJob) -> str:
    how = _why(each) or _how(each)[0]
    took = "" if each.elapsed_s is None else f" after {duration_words(each.elapsed_s)}"
    what = each.kind.value if each.disk is None else f"{each.kind.value} of {each.disk}"
    return f"{each.name}: {what}{took}: {how}"


def _why(each: FinishedJob) -> str:
    """Why it is not known to have gone well; empty when it is, and when nobody told."""
    if each.is_cancelled:
        return ""
    return "nobody told how it ended" if each.is_good is None else each.error or ""


_HOW = {True: ("done", Tone.OK), False: ("failed", Tone.HARD), None: ("unknown", Tone.UNKNOWN)}


def _how(each: FinishedJob) -> tuple[str, Tone]:
    return ("cancelled", Tone.WARN) if each.is_cancelled else _HOW[each.is_good]


def _ended(each: FinishedJob, now_s: float, has_unicode: bool) -> Row:
    how, tone = _how(each)
    return (
        word(each.name, Tone.NAME, has_unicode=has_unicode),
        figure(_kind(each.kind, each.disk, has_unicode)),
        figure(how, tone),
        figure("" if each.processed_bytes is None else format_bytes(each.processed_bytes)),
        figure(None if each.elapsed_s is None else format_age(each.elapsed_s)),
        figure(format_age(max(0.0, now_s - each.ended_s))),
        word(_why(each), has_unicode=has_unicode),
    )


def _asked_words(action: Action) -> str:
    state = action.progress if action.outcome is None else f"{action.outcome.ending}: {action.outcome.text}"
    return f"{action.sentence}: {state}"


def _asked(action: Action, now_s: float, bar_cells: int, has_unicode: bool) -> Row:
    text = action.progress if action.outcome is None else action.outcome.text
    return (
        word(action.vm, Tone.NAME, has_unicode=has_unicode),
        figure(ACTION_WORDS[action.command.action], Tone.NOTE),
        spinner(now_s, bar_cells, has_unicode) if action.outcome is None else figure("no answer", Tone.WARN),
        figure(format_age(action.elapsed_s)),
        word(text, has_unicode=has_unicode),
    )
