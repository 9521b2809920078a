"""Where errands lie: which may begin, which thread does what, how they end and what the audit gets of it.

The errands of one lane go one after another. A call that gets no answer is called pending, and left to itself; the
answer is still taken note of when it comes.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from vmtop.actions.action import Action, Ending, Outcome
from vmtop.actions.audit import Audit, AuditRecord, Phase
from vmtop.actions.command import SetBalloon, SetStatsPeriod
from vmtop.actions.errand import URGENT, Errand
from vmtop.actions.explain import explain
from vmtop.actions.ledger import Ledger
from vmtop.actions.verdict import Verdict
from vmtop.backends.base import Clock, Control
from vmtop.derive.words import duration_words
from vmtop.errors import AuditError, ControlError
from vmtop.model.capability import Capability
from vmtop.model.sample import FinishedJob
from vmtop.model.storage import FolderSample, StorageSample

MOST_CALLS = 4
"""Slow calls at once, so that disks are not swamped with snapshots and backups. Overdue ones do not count."""
_QUICK = (*URGENT, SetBalloon, SetStatsPeriod)
"""These neither count nor wait: each call has a connection of its own."""
MOST_KEPT = 500
"""Actions that are remembered when they are over; the audit has them all."""

Call = Callable[[Errand], Outcome | None]
"""Work for a thread. Its outcome ends the errand; None when that goes on."""


def start_thread(work: Callable[[], None]) -> None:
    """Run something on a daemon thread: a call that hangs must not keep the program from ending."""
    threading.Thread(target=work, daemon=True, name="vmtop-action").start()


def _ignore_change() -> None:
    """Nobody asked to be told."""


class Source(Protocol):
    """The part of a backend that actions need."""

    uri: str
    capability: Capability
    began_s: float | None
    """Wall clock when its world began. None where that is always the same: a real host."""

    def open_control(self) -> Control:
        """What changes VMs of this source; a `ControlError` where nothing can be changed."""

    def read_last_job(self, uuid: str) -> FinishedJob | None:
        """How the last job of a VM ended; see `Backend.read_last_job`."""

    def read_storage(self, uuid: str) -> StorageSample:
        """Disks, snapshots and checkpoints of a VM; see `Backend.read_storage`."""

    def read_folder(self, path: str, inner: str) -> FolderSample | None:
        """A folder into which something is to be written; see `Backend.read_folder`."""


class Desk:
    """All errands of this run of the program."""

    def __init__(
        self,
        source: Source,
        audit: Audit,
        ledger: Ledger,
        clock: Clock,
        spawn: Callable[[Callable[[], None]], None],
    ) -> None:
        self.source = source
        self.audit = audit
        self.ledger = ledger
        self.clock = clock
        self.spawn = spawn
        self.notify: Callable[[], None] = _ignore_change
        self.changed = threading.Condition(threading.RLock())
        """Guards all errands, and tells whoever waits that one got on."""
        self._control: Control | None = None
        self._errands: deque[Errand] = deque()
        self._waiting: deque[tuple[Errand, Call, float]] = deque()
        self._lanes: dict[tuple[str, bool], Errand] = {}
        self._calls: set[str] = set()

    def close(self) -> None:
        """Let go of the control; calls that hang, and what has yet to be seen to, are left to themselves."""
        with self.changed:
            control, self._control = self._control, None
        if control is not None:
            control.close()
        self.ledger.leave()

    def control(self) -> Control:
        """The one control of this program; its methods may be called from several threads.

        Raises:
            ControlError: this source cannot be changed.
        """
        with self.changed:
            if self._control is None:
                self._control = self.source.open_control()
            return self._control

    def shown(self) -> tuple[Action, ...]:
        """All errands as others may see them, the oldest first."""
        now_s = self.clock.monotonic()
        with self.changed:
            return tuple(errand.shown(now_s) for errand in self._errands)

    def errands(self) -> list[Errand]:
        """Those that did not end."""
        with self.changed:
            return [errand for errand in self._errands if not errand.is_ended]

    def holder(self, lane: tuple[str, bool]) -> Errand | None:
        """The errand that others of its lane wait for."""
        with self.changed:
            return self._lanes.get(lane)

    def add(self, errand: Errand, begin: Call, deadline_s: float) -> None:
        """Take an errand; `begin` runs when its turn comes, and should answer in time."""
        with self.changed:
            self._errands.append(errand)
            self._waiting.append((errand, begin, deadline_s))
            self._forget()

    def take_over(self, errand: Errand) -> None:
        """Take an errand that was begun by another run of vmtop, and goes on."""
        with self.changed:
            self._errands.append(errand)
            self._forget()
        self.tell()

    def _forget(self) -> None:
        while len(self._errands) > MOST_KEPT and self._errands[0].is_ended:
            self._errands.popleft()

    def pump(self) -> None:
        """Begin what can begin; an errand behind one that is overdue begins, too, so that the guard can refuse it."""
        while True:
            with self.changed:
                found = next((item for item in self._waiting if self._may_begin(item[0])), None)
                if found is None:
                    return
                self._waiting.remove(found)
                errand, begin, deadline_s = found
                self._lanes.setdefault(errand.lane, errand)
                errand.is_calling = True
            self.call(errand, begin, deadline_s)

    def call(self, errand: Errand, call: Call, deadline_s: float) -> None:
        """Do a part of an errand on another thread; of one that is over nothing more."""
        with self.changed:
            if errand.is_over:
                return
            if not isinstance(errand.command, _QUICK):
                self._calls.add(errand.id)
            errand.is_calling, errand.progress = True, "asking"
            errand.deadline_s = self.clock.monotonic() + deadline_s
        self.spawn(lambda: self._work(errand, call))

    def hold_lane(self, errand: Errand) -> None:
        """Have others of its lane wait for this errand instead of the one before."""
        with self.changed:
            if not errand.is_ended:
                self._lanes[errand.lane] = errand

    def leave_lane(self, errand: Errand) -> None:
        """Let others of its lane begin, although the errand goes on."""
        with self.changed:
            if self._lanes.get(errand.lane) is errand:
                del self._lanes[errand.lane]

    def end(self, errand: Errand, outcome: Outcome, *, is_waited: bool = False) -> None:
        """Write an outcome down and keep it for good; whoever sees it finds it in the audit, too, and may go.

        The first outcome counts: an errand that ended already stays as it is. The disk may take its time, so only who
        has it waits.
        """
        if not self._claim(errand):
            return
        if is_waited:
            self._conclude(errand, outcome)
        else:
            self.spawn(lambda: self._conclude_later(errand, outcome))

    def _claim(self, errand: Errand) -> bool:
        """Take it on oneself to end an errand; False when somebody else did."""
        with self.changed:
            if errand.is_ended:
                return False
            errand.is_ended = True
            errand.ended_s, errand.deadline_s = self.clock.monotonic(), None
            return True

    def _conclude_later(self, errand: Errand, outcome: Outcome) -> None:
        self._conclude(errand, outcome)
        self.pump()

    def _conclude(self, errand: Errand, outcome: Outcome) -> None:
        outcome = self._written(errand, outcome)
        try:
            self.ledger.close(errand.id)
            if outcome.ending is Ending.DONE:
                self.ledger.close(errand.entry_id)
            else:
                self.ledger.release(errand.entry_id)
        except AuditError as error:
            outcome = replace(outcome, text=f"{outcome.text}; {error}")
        with self.changed:
            errand.outcome = outcome
        self.leave_lane(errand)
        self.tell()

    def write(self, errand: Errand, phase: Phase, outcome: Outcome | None = None) -> None:
        """Append a line to the audit.

        Raises:
            AuditError: that does not work.
        """
        verdict = errand.verdict or Verdict()
        waited_s = self.clock.monotonic() - errand.begun_s
        self.audit.write(
            AuditRecord(
                id=errand.id,
                phase=phase,
                time_s=self.clock.time(),
                uri=self.source.uri,
                uuid=errand.command.uuid,
                vm=errand.vm,
                action=errand.command.action,
                sentence=errand.sentence,
                old=errand.old,
                new=errand.new,
                refusals=verdict.refusals,
                warnings=verdict.warnings,
                is_forced=errand.is_forced,
                outcome=None if outcome is None else outcome.ending.value,
                text="" if outcome is None else outcome.text,
                duration_s=None if phase is Phase.STARTED else round(waited_s, 3),
                undoes=errand.undoes,
            )
        )

    def see_deadlines(self) -> None:
        """Call pending what got no answer in time."""
        now_s = self.clock.monotonic()
        with self.changed:
            overdue = [
                errand
                for errand in self._errands
                if errand.outcome is None and errand.deadline_s is not None and now_s >= errand.deadline_s
            ]
            for errand in overdue:
                waited = duration_words(now_s - errand.begun_s)
                text = f"no answer after {waited}; it may still be carried out"
                if not errand.is_calling:
                    stays = "the balloon stays where it is until there are"
                    unseen = "nobody knows how the backup gets on"
                    text = f"there are no new readings, so {stays if errand.backup is None else unseen}"
                errand.outcome = Outcome(Ending.PENDING, text)
                self._calls.discard(errand.id)
        if overdue:
            self.spawn(lambda: self._write_pending(overdue))
            self.pump()
            self.tell()

    def show(self, errand: Errand, progress: str) -> None:
        """Have everybody see what an errand does at present."""
        with self.changed:
            errand.progress = progress
        self.tell()

    def tell(self) -> None:
        """Tell everybody who waits that something got on."""
        with self.changed:
            self.changed.notify_all()
        self.notify()

    def _may_begin(self, errand: Errand) -> bool:
        if len(self._calls) >= MOST_CALLS and not isinstance(errand.command, _QUICK):
            return False
        holder = self._lanes.get(errand.lane)
        return holder is None or holder.outcome is not None or self._may_replace(errand, holder)

    def _may_replace(self, errand: Errand, holder: Errand) -> bool:
        """A new size is judged while the balloon still moves, and one after another."""
        if not isinstance(errand.command, SetBalloon) or holder.move is None:
            return False
        same = (each for each in self._errands if each.lane == errand.lane and isinstance(each.command, SetBalloon))
        return not any(each.is_calling and each.outcome is None for each in same)

    def _work(self, errand: Errand, call: Call) -> None:
        try:
            outcome = call(errand)
        except ControlError as error:
            outcome = Outcome(Ending.FAILED, explain(error), error.exit_code)
        except AuditError as error:
            outcome = Outcome(Ending.REFUSED, str(error))
        except Exception as error:  # noqa: BLE001 - a mistake of ours must end as an outcome, not as a lost thread
            outcome = Outcome(Ending.FAILED, f"vmtop made a mistake: {error!r}")
        with self.changed:
            self._calls.discard(errand.id)
            errand.is_calling = False
            is_ending = outcome is not None and self._claim(errand)
            if is_ending and outcome is not None and outcome.ending is not Ending.DONE and errand.move is None:
                errand.new = errand.old
        if is_ending and outcome is not None:
            self._conclude(errand, outcome)
        self.pump()
        self.tell()

    def _write_pending(self, overdue: list[Errand]) -> None:
        for errand in overdue:
            pending = errand.outcome
            if pending is None or pending.ending is not Ending.PENDING:
                continue
            written = self._written(errand, pending)
            with self.changed:
                if errand.outcome is pending:
                    errand.outcome = written

    def _written(self, errand: Errand, outcome: Outcome) -> Outcome:
        """The action was done, or not: an audit that cannot take that is said, but changes nothing any more."""
        try:
            self.write(errand, Phase.ENDED, outcome)
        except AuditError as error:
            return replace(outcome, text=f"{outcome.text}; {error}")
        return outcome
