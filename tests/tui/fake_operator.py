"""An operator that judges as the real one does, writes down what it is given, and ends nothing by itself."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.actions.scenes import ABLE, make_storage
from vmtop.actions.action import Action, Ending, Outcome
from vmtop.actions.audit import Undo
from vmtop.actions.command import Command
from vmtop.actions.guard import check
from vmtop.actions.situation import Newest, Situation
from vmtop.actions.target import Target
from vmtop.actions.verdict import Verdict
from vmtop.derive.frame import Frame
from vmtop.errors import AuditError
from vmtop.model.policy import DEFAULT_POLICY


class FakeOperator:
    """Knows one frame; a test gives it another one, outcomes, targets and what can be undone."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.submitted: list[tuple[Command, str, str | None]] = []
        self.judged: list[Command] = []
        self.found: tuple[Undo, ...] = ()
        self.error: AuditError | None = None
        self.asked: Mapping[str, Target] = {}
        self.ending: Ending | None = None
        """How actions end at once. None for those that a test ends itself."""
        self.is_closed = False
        self.has_taken_over = False
        self.problems: tuple[str, ...] = ()
        self.passing: list[Command] = []
        self.to_put_back: tuple[Command, ...] = ()
        self.is_to_put_back = False
        self.notify: Callable[[], None] = lambda: None
        self._actions: list[Action] = []

    def on_change(self, notify: Callable[[], None]) -> None:
        self.notify = notify

    def tick(self, newest: Newest) -> None:
        self.frame = newest.frame

    def judge(self, command: Command) -> Verdict:
        self.judged.append(command)
        now = Situation(frame=self.frame, policy=DEFAULT_POLICY, capability=ABLE, storage=make_storage())
        return check(command, now)

    def take_over(self) -> None:
        self.has_taken_over = True

    def put_back(self) -> tuple[Action, ...]:
        if self.error is not None:
            raise self.error
        commands, self.to_put_back = self.to_put_back, ()
        return tuple(self.submit(command) for command in commands)

    def submit(
        self, command: Command, *, confirmed_name: str = "", undoes: str | None = None, is_passing: bool = False
    ) -> Action:
        self.submitted.append((command, confirmed_name, undoes))
        if is_passing:
            self.passing.append(command)
        vm = next((vm for vm in self.frame.vms if vm.uuid == command.uuid), None)
        action = Action(
            id=f"action-{len(self._actions)}",
            command=command,
            vm=command.uuid if vm is None else vm.name,
            sentence="",
            submitted_s=0.0,
            elapsed_s=3.0,
            progress="moving",
            verdict=None,
            outcome=None,
        )
        self._actions.append(action)
        if self.ending is not None:
            self.end(self.ending, "that is how it ended")
        return action

    def end(self, ending: Ending, text: str, place: int = -1) -> None:
        """One of the actions ends; the last without a `place`."""
        self._actions[place] = replace(self._actions[place], progress="", outcome=Outcome(ending, text))
        self.notify()

    def actions(self) -> tuple[Action, ...]:
        return tuple(self._actions)

    def targets(self) -> Mapping[str, Target]:
        return self.asked

    def undoable(self) -> tuple[Undo, ...]:
        if self.error is not None:
            raise self.error
        return self.found

    def close(self) -> None:
        self.is_closed = True
