"""Carries out commands: guard on the newest frame -> audit "started" -> control -> audit outcome.

Calls of a control run on daemon threads. What blocks the caller is `judge`, and, for as long as a disk takes, what
reads or crosses out files: `take_over_of`, `undoable`, `put_back`. The actions of one VM go one after another; those
that cancel or limit a job pass the others. Whoever reads samples hands each new frame to `tick`: that moves balloons
step by step, sees backups end, and notices that an answer is overdue.
"""

import threading
import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType

from vmtop.actions.action import Action, BackupRun, Ending, Outcome
from vmtop.actions.audit import Audit, Phase, Undo, find_undoable
from vmtop.actions.checkpoint import delete_checkpoints
from vmtop.actions.command import (
    CancelJob,
    Command,
    DeleteCheckpoints,
    DeleteSnapshot,
    LimitJob,
    ResumeVm,
    RevertSnapshot,
    SetBalloon,
    SetStatsPeriod,
    StartBackup,
    TakeSnapshot,
)
from vmtop.actions.copier import CLEAR_S, Copier
from vmtop.actions.desk import Desk, Source, start_thread
from vmtop.actions.errand import Errand
from vmtop.actions.explain import explain
from vmtop.actions.heir import Heir
from vmtop.actions.judge import Judge
from vmtop.actions.ledger import Entry, Ledger, OpenBackup, OpenCheckpoint, OpenPeriod
from vmtop.actions.mover import ANSWER_S, Mover
from vmtop.actions.passing import PassingPeriods, is_standing, put_back_command
from vmtop.actions.situation import Newest, Situation, Subject, find_subject
from vmtop.actions.target import Target
from vmtop.actions.verdict import Verdict
from vmtop.backends.base import Clock, Control
from vmtop.derive.frame import Frame
from vmtop.derive.words import duration_words
from vmtop.errors import ControlError
from vmtop.model.policy import Policy

DEADLINES_S: Mapping[type[Command], float] = MappingProxyType(
    {
        SetBalloon: ANSWER_S,
        SetStatsPeriod: ANSWER_S,
        TakeSnapshot: 600.0,
        RevertSnapshot: 300.0,
        DeleteSnapshot: 3_600.0,
        StartBackup: CLEAR_S,
        DeleteCheckpoints: 600.0,
        CancelJob: ANSWER_S,
        LimitJob: ANSWER_S,
        ResumeVm: ANSWER_S,
    }
)
"""After this time an action counts as pending; snapshots with memory and merges take as long as their data."""

NO_LEDGER = Ledger(None)

NOT_READ = "nothing was read yet, so nothing can be judged"


def _ignore_backup(_run: BackupRun) -> None:
    """Nobody keeps recovery points."""


class Runner:
    """The only caller of a control. All its methods may be called from any thread."""

    def __init__(
        self,
        source: Source,
        audit: Audit,
        read_newest: Callable[[], Newest | None],
        policy: Policy,
        clock: Clock,
        *,
        ledger: Ledger = NO_LEDGER,
        on_backup: Callable[[BackupRun], None] = _ignore_backup,
        spawn: Callable[[Callable[[], None]], None] = start_thread,
    ) -> None:
        """Prepare to act; nothing is opened before the first action.

        Args:
            source: The backend: gives the control, and tells what it can do.
            audit: Where all actions are written down.
            read_newest: Gives the newest frame with its age; None before the first one.
            policy: For the guard and for moves.
            clock: For deadlines and the audit.
            ledger: What outlives this program and has to be seen to. Nothing does without it.
            on_backup: Called when a backup began, and when it ended; it may raise `VmtopError`.
            spawn: Runs a piece of work elsewhere.
        """
        self._read_newest = read_newest
        self._desk = Desk(source, audit, ledger, clock, spawn)
        self._judge = Judge(self._desk, policy, read_newest, self.targets)
        self._mover = Mover(self._desk, policy, self._judge.situation)
        self._copier = Copier(self._desk, policy, on_backup)
        self._passing = PassingPeriods(self._desk)
        self._heir = Heir(self._desk, self._take_over)
        self._ticking = threading.Lock()
        self._frame: Frame | None = None

    def on_change(self, notify: Callable[[], None]) -> None:
        """Have `notify` called, from any thread, whenever an action got on."""
        self._desk.notify = notify

    def take_over(self) -> None:
        """From now on see to what other runs of vmtop left: backups, checkpoints, periods."""
        self._heir.begin()

    def take_over_of(self, vm_uuid: str) -> tuple[Action, ...]:
        """See to what other runs of vmtop left of one VM; tells which of its actions go on now. Reads files."""
        self._heir.look(vm_uuid)
        return tuple(each for each in self.actions() if each.command.uuid == vm_uuid and not each.is_over)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why not all that was left can be seen to; foreign text."""
        return self._heir.problems

    def put_back(self) -> tuple[Action, ...]:
        """Take back what was to last no longer than this program.

        Raises:
            AuditError: something that need not be taken back any more cannot be crossed out.
        """
        newest = self._read_newest()
        due = [] if newest is None else self._passing.take_due(newest.frame)
        return tuple(map(self._put_back, due))

    @property
    def is_to_put_back(self) -> bool:
        """Something is to be put back of which too little is known yet; `put_back` is to be asked again."""
        return self._passing.is_waiting

    def close(self) -> None:
        """End what moves, and let go of the control; calls that hang are left to themselves."""
        self._mover.leave()
        self._desk.close()

    def actions(self) -> tuple[Action, ...]:
        """All actions of this run of the program, the oldest first."""
        self._desk.see_deadlines()
        return self._desk.shown()

    def action(self, action_id: str) -> Action | None:
        """One action as it stands. None when it is not known (any more)."""
        return next((action for action in self.actions() if action.id == action_id), None)

    def targets(self) -> Mapping[str, Target]:
        """UUID -> what became of the size that its balloon was asked for, as of the last `tick`."""
        return self._mover.targets

    def judge(self, command: Command) -> Verdict:
        """Say what the guard says at present; for snapshots and backups it asks the hypervisor, and may block."""
        newest = self._read_newest()
        if newest is None:
            return Verdict(refusals=(NOT_READ,))
        try:
            return self._judge.judge(command, newest, None)[1]
        except ControlError as error:
            return Verdict(refusals=(explain(error),), refusal_code=error.exit_code)

    def submit(
        self, command: Command, *, confirmed_name: str = "", undoes: str | None = None, is_passing: bool = False
    ) -> Action:
        """Hand over a command; it goes its way by itself.

        A new balloon size takes the place of one on whose way the balloon still is.

        Args:
            command: What is asked for.
            confirmed_name: The VM's name as the operator typed it, where a verdict asks for it.
            undoes: Id of the action that this one takes back.
            is_passing: A statistics period that is put back when this program ends.
        """
        return self._submit(command, confirmed_name, undoes, is_passing=is_passing)

    def _submit(
        self,
        command: Command,
        confirmed_name: str,
        undoes: str | None,
        *,
        is_passing: bool = False,
        entry_id: str = "",
    ) -> Action:
        newest, clock = self._read_newest(), self._desk.clock
        subject = None if newest is None else find_subject(newest.frame, command.uuid)
        errand = Errand(
            id=uuid.uuid4().hex,
            entry_id=entry_id,
            command=command,
            vm=command.uuid if subject is None else subject.metrics.name,
            sentence=f"{command.action} of {command.uuid}" if subject is None else command.sentence(subject.metrics),
            confirmed_name=confirmed_name,
            undoes=undoes,
            is_passing=is_passing,
            time_s=clock.time(),
            begun_s=clock.monotonic(),
        )
        self._desk.add(errand, self._begin, DEADLINES_S[type(command)])
        self._desk.see_deadlines()
        self._desk.pump()
        return errand.shown(clock.monotonic())

    def undoable(self) -> tuple[Undo, ...]:
        """Changes of this source that can be taken back, the newest first; those of earlier runs, too, if it was there.

        Raises:
            AuditError: the audit cannot be read.
        """
        source = self._desk.source
        return find_undoable(self._desk.audit.read(), source.uri, source.began_s)

    def tick(self, newest: Newest) -> None:
        """Take note of a new frame; the same one again changes nothing but deadlines."""
        with self._ticking:
            if newest.frame is not self._frame:
                before, self._frame = self._frame, newest.frame
                self._mover.follow(before, newest)
                self._copier.follow(newest.frame)
                self._heir.follow(newest.frame)
        self._desk.see_deadlines()
        self._desk.pump()

    def _begin(self, errand: Errand) -> Outcome | None:
        """Judge, write down, and do; on a thread."""
        command, newest = errand.command, self._read_newest()
        if newest is None:
            return Outcome(Ending.REFUSED, NOT_READ)
        now, verdict = self._judge.judge(command, newest, errand)
        errand.verdict = verdict
        subject = find_subject(now.frame, command.uuid)
        if subject is None or (reason := _why_not(errand, verdict, subject)):
            return Outcome(Ending.REFUSED, "; ".join(verdict.refusals) if subject is None else reason)
        if verdict.already:
            return Outcome(Ending.DONE, verdict.already)
        errand.old, errand.new = _values(command, subject)
        if isinstance(command, SetBalloon):
            return self._mover.begin(errand, command, now, subject)
        self._desk.write(errand, Phase.STARTED)
        if isinstance(command, StartBackup) and now.storage is not None:
            return self._copier.begin(errand, command, now, subject, now.storage)
        return self._call(errand, command, now)

    def _call(self, errand: Errand, command: Command, now: Situation) -> Outcome:
        """Ask the hypervisor for what is done when its answer is there."""
        if errand.is_passing and isinstance(command, SetStatsPeriod):
            self._passing.add(errand, command)
        if isinstance(command, DeleteCheckpoints) and now.storage is not None:
            names = [each.name for each in now.storage.checkpoints if each.name in command.names]
            return delete_checkpoints(
                self._desk.control(), command.uuid, names, lambda text: self._desk.show(errand, text)
            )
        began_s = self._desk.clock.monotonic()
        stood_s = _do(command, self._desk.control())
        took = f"done in {duration_words(self._desk.clock.monotonic() - began_s)}"
        return Outcome(Ending.DONE, took if stood_s is None else f"{took}; the guest stood still for {stood_s:.2f} s")

    def _take_over(self, entry: Entry) -> None:
        if isinstance(entry, OpenBackup):
            self._copier.take_over(entry)
        elif isinstance(entry, OpenCheckpoint):
            self._copier.leftovers.take_over(entry)
        else:
            self._put_back_left(entry)

    def _put_back_left(self, period: OpenPeriod) -> None:
        newest = self._read_newest()
        is_so = None if newest is None else is_standing(period, newest.frame)
        if is_so:
            self._put_back(period)
        elif is_so is None and newest is not None and _is_read(period, newest.frame):
            # What was to be set never was, or somebody has put it back.
            self._desk.ledger.close(period.id)
        elif is_so is None:
            self._heir.leave(period)
        else:
            self._desk.ledger.close(period.id)

    def _put_back(self, period: OpenPeriod) -> Action:
        return self._submit(put_back_command(period), "", period.set_by, entry_id=period.id)


def _is_read(period: OpenPeriod, frame: Frame) -> bool:
    """The VM's definition was read since this program began, so that it tells of what an earlier one set."""
    subject = find_subject(frame, period.uuid)
    return subject is not None and subject.sample.facts is not None


def undo_command(change: Undo, *, is_forced: bool = False) -> SetBalloon | SetStatsPeriod:
    """The command that takes a change back; of a period only while it is the one that was set then."""
    if change.action == SetBalloon.action:
        return SetBalloon(uuid=change.uuid, target_bytes=change.old, is_forced=is_forced)
    return SetStatsPeriod(uuid=change.uuid, period_s=change.old, is_forced=is_forced, expected_s=change.new)


def _why_not(errand: Errand, verdict: Verdict, subject: Subject) -> str:
    """Why an errand must not go on after its verdict; empty when it may."""
    if verdict.is_refused:
        return "; ".join(verdict.refusals)
    if verdict.needs_name and errand.confirmed_name != subject.metrics.name:
        return f"{verdict.needs_name}: the name of the VM has to be typed for that"
    if errand.outcome is not None:
        return "it took too long to find out whether this may be done; nothing was done"
    return ""


def _do(command: Command, control: Control) -> float | None:
    """Make the one call that most commands are; tells for how long the guest stood still, where that is known."""
    match command:
        case SetStatsPeriod():
            control.set_stats_period(command.uuid, command.period_s)
        case TakeSnapshot():
            return control.take_snapshot(command.uuid, command.request)
        case RevertSnapshot():
            control.revert_snapshot(command.uuid, command.name)
        case DeleteSnapshot():
            control.delete_snapshot(command.uuid, command.name)
        case CancelJob():
            control.cancel_job(command.uuid, command.disk)
        case LimitJob():
            control.limit_job(command.uuid, command.bytes_per_s, command.disk)
        case ResumeVm():
            control.resume(command.uuid)
        case _:
            raise TypeError(f"{type(command).__name__} is more than one call")
    return None


def _values(command: Command, subject: Subject) -> tuple[int | None, int | None]:
    """The value before and the one that is asked for."""
    if isinstance(command, SetBalloon):
        return subject.metrics.balloon_bytes, command.target_bytes
    if isinstance(command, SetStatsPeriod):
        facts = subject.sample.facts
        return None if facts is None else facts.stats_period_s, command.period_s
    return None, None
