"""What the app knows of acting: the operator, what it said of commands, and what became of them.

The operator is made when it is needed, which is never before the first picture. Whatever of it may block runs on
threads; what they bring is part of the next view.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from vmtop.errors import AuditError, ControlError
from vmtop.pipeline import Reading
from vmtop.viewmodel.status import Notice
from vmtop.viewmodel.tone import Tone

if TYPE_CHECKING:
    from vmtop.actions.action import Action, Outcome
    from vmtop.actions.audit import Undo
    from vmtop.actions.command import Command
    from vmtop.actions.target import Target
    from vmtop.actions.verdict import Verdict
    from vmtop.derive.frame import Frame
    from vmtop.tui.messages import CommandConfirmed
    from vmtop.tui.view import Operator

NOTICE_S = 10.0
"""How long it is said above the status line that something was done. What went wrong stays until a key is pressed."""
AT_END_S = 3.0
"""How long the end of the program waits for what is put back then."""

_LOOK_S = 0.02


def start_thread(work: Callable[[], None]) -> None:
    """Run something on a daemon thread: a call that hangs must not keep the program from ending."""
    threading.Thread(target=work, daemon=True, name="vmtop-acting").start()


class _Said(NamedTuple):
    notice: Notice
    until_s: float | None
    """None for until a key is pressed."""


class Acting:
    """Its methods are called on the app's thread; only `follow` is not."""

    def __init__(
        self,
        make_operator: "Callable[[], Operator] | None",
        wake: Callable[[], None],
        monotonic: Callable[[], float],
        spawn: Callable[[Callable[[], None]], None] = start_thread,
    ) -> None:
        """Prepare.

        Args:
            make_operator: gives what acts; None where nothing can be changed.
            wake: called from any thread when there is something new to show.
            monotonic: the clock of the app.
            spawn: runs a piece of work elsewhere.
        """
        self._make_operator = make_operator
        self._wake = wake
        self._monotonic = monotonic
        self._start = spawn
        self._making, self._answering = threading.Lock(), threading.Lock()
        self._operator: Operator | None = None
        self._crash: BaseException | None = None
        self.is_on = False
        """The first picture was drawn; from now on the operator gets every reading."""
        self.actions: tuple[Action, ...] = ()
        """Everything that was asked for, the oldest first, as `see` found it."""
        self.verdicts: Mapping[Command, Verdict] = {}
        self._frame: Frame | None = None
        self._asked: tuple[Command, ...] = ()
        self._judged: Frame | None = None
        """The frame on which the verdicts stand, or will."""
        self._question: object = None
        """Tells answers that are awaited from those that come too late. None while none is awaited."""
        self._said: list[_Said] = []
        self._outcomes: dict[str, Outcome] = {}
        self._undoing: dict[str, str] = {}
        """Id of an action -> id of the one that it takes back."""
        self._problems: tuple[str, ...] = ()
        """Of the operator, as they were told last."""

    # -- the operator

    def follow(self, reading: Reading) -> None:
        """Hand a reading over; on the thread of whoever reads."""
        if not self.is_on or self._make_operator is None or reading.frame is None:
            return
        from vmtop.actions.situation import Newest

        self.operator().tick(Newest(reading.frame, reading.age_s(self._monotonic())))

    def operator(self) -> "Operator":
        """The one that acts; from any thread.

        Raises:
            ControlError: nothing can be changed.
        """
        if self._make_operator is None:
            raise ControlError("vmtop is read-only here")
        with self._making:
            if self._operator is None:
                self._operator = self._make_operator()
                self._operator.on_change(self._wake)
                self._operator.take_over()
            return self._operator

    @property
    def targets(self) -> "Mapping[str, Target]":
        """UUID -> what was asked of its balloon and what became of it."""
        return {} if self._operator is None else self._operator.targets()

    def spawn(self, work: Callable[[], None]) -> None:
        """Do something that may block on another thread; what it raises ends the app."""

        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - handed to the app, which raises it
                self._crash = error
                self._wake()

        self._start(guarded)

    # -- questions

    def see(self, frame: "Frame | None") -> None:
        """Take note of the newest frame: commands in question are judged anew, outcomes are told.

        Raises:
            BaseException: whatever ended a thread of ours.
        """
        if self._crash is not None:
            raise self._crash
        self._frame = frame
        if self._operator is not None:
            self.actions = self._operator.actions()
            self._tell_problems(self._operator.problems)
        if self._asked and self._question is None and frame is not self._judged:
            self._judge()
        self._tell_outcomes()

    def ask_verdicts(self, commands: "tuple[Command, ...]") -> None:
        """Judge these commands from now on, and forget all others."""
        if commands == self._asked:
            return
        with self._answering:
            self._asked, self._question = commands, None
            self.verdicts = {command: self.verdicts[command] for command in commands if command in self.verdicts}
        self._judge()

    def _judge(self) -> None:
        commands, self._judged = self._asked, self._frame
        if not commands:
            return
        question = self._question = object()

        def work() -> None:
            operator = self.operator()
            verdicts = {command: operator.judge(command) for command in commands}
            with self._answering:
                if self._question is not question:
                    return
                self.verdicts, self._question = verdicts, None
            self._wake()

        self.spawn(work)

    def ask_undoable(self, reply: "Callable[[tuple[Undo, ...] | AuditError], None]") -> None:
        """Find what can be taken back and is not about to be; `reply` is called on another thread."""

        def work() -> None:
            try:
                operator = self.operator()
                going = {self._undoing.get(action.id) for action in operator.actions() if not action.is_over}
                answer: tuple[Undo, ...] | AuditError = tuple(
                    change for change in operator.undoable() if change.id not in going
                )
            except AuditError as error:
                answer = error
            reply(answer)

        self.spawn(work)

    # -- doing

    def do(self, confirmed: "CommandConfirmed") -> None:
        """Hand over what the operator confirmed."""
        operator = self.operator()
        for command in confirmed.commands:
            undoes = confirmed.undoes.get(command)
            action = operator.submit(
                command,
                confirmed_name=confirmed.names.get(command.uuid, ""),
                undoes=undoes,
                is_passing=command in confirmed.passing,
            )
            if undoes is not None:
                self._undoing[action.id] = undoes

    async def end(self) -> str:
        """Put back what was to be put back, and let go of the operator.

        Returns:
            What was not done within `AT_END_S`, or could not be, in words; empty when nothing is left.
        """
        operator = self._operator
        if operator is None:
            return ""
        ids: set[str] = set()
        for _ in range(round(AT_END_S / _LOOK_S)):
            try:
                ids |= {action.id for action in operator.put_back()}
            except AuditError as error:
                operator.close()
                return str(error)
            if not operator.is_to_put_back and all(action.outcome is not None for action in _those(operator, ids)):
                break
            await asyncio.sleep(_LOOK_S)
        left = [f"{action.vm}: {_why_left(action)}" for action in _those(operator, ids) if not _is_done(action)]
        operator.close()
        return "; ".join(left)

    # -- what is said

    def say(self, notice: Notice) -> None:
        """Say something above the status line."""
        self._said = [said for said in self._said if said.notice != notice]
        self._said.append(_Said(notice, None if notice.is_bad else self._monotonic() + NOTICE_S))

    def see_key(self) -> bool:
        """The operator pressed a key: what went wrong before has been read. Tells whether anything had."""
        read = [said for said in self._said if said.until_s is None]
        self._said = [said for said in self._said if said.until_s is not None]
        return bool(read)

    @property
    def notice(self) -> Notice | None:
        """What stands above the status line: the last of what went wrong, else of what was done; or what goes on."""
        now_s = self._monotonic()
        self._said = [said for said in self._said if said.until_s is None or now_s < said.until_s]
        bad = [said.notice for said in self._said if said.notice.is_bad]
        told = bad or [said.notice for said in self._said]
        if told:
            *others, last = told
            return last._replace(text=f"{last.text} (and {len(others)} more)") if others else last
        going = [action for action in self.actions if action.outcome is None]
        if not going:
            return None
        from vmtop.viewmodel.outcome import progress_notice

        return progress_notice(going)

    @property
    def going(self) -> "tuple[Action, ...]":
        """What still goes on, as `see` found it."""
        return tuple(action for action in self.actions if not action.is_over)

    def _tell_problems(self, problems: tuple[str, ...]) -> None:
        for problem in problems:
            if problem not in self._problems:
                self.say(Notice(problem, Tone.HARD))
        self._problems = problems

    def _tell_outcomes(self) -> None:
        for action in self.actions:
            if action.outcome is not None and self._outcomes.get(action.id) != action.outcome:
                from vmtop.viewmodel.outcome import outcome_notice

                self._outcomes[action.id] = action.outcome
                self.say(outcome_notice(action, action.outcome))


def _those(operator: "Operator", ids: set[str]) -> "list[Action]":
    return [action for action in operator.actions() if action.id in ids]


def _is_done(action: "Action") -> bool:
    return action.outcome is not None and action.outcome.ending == "done"


def _why_left(action: "Action") -> str:
    why = "no answer" if action.outcome is None else action.outcome.text
    return f"its statistics period was not put back: {why}"
