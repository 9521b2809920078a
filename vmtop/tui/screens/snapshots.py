"""The page of a VM's snapshots, and the kinds that can be taken."""

from collections.abc import Sequence
from dataclasses import replace

from vmtop.actions.checkpoint import Clearing
from vmtop.actions.command import DeleteSnapshot, RevertSnapshot, TakeSnapshot
from vmtop.actions.explain import explain
from vmtop.actions.situation import Situation, Subject, find_subject
from vmtop.errors import ControlError
from vmtop.model.sample import JobKind
from vmtop.model.storage import SnapshotRequest, StorageSample
from vmtop.tui.keymap import Scope, bindings
from vmtop.tui.messages import ClearingAsked, CommandAsked, KindsOpened, Noticed, StorageAsked
from vmtop.tui.screens.list import ListScreen
from vmtop.tui.view import View
from vmtop.viewmodel.sheet import Page, build_note, build_title, make_page, plain
from vmtop.viewmodel.snapshots import (
    ASKING,
    KindChoice,
    build_choice_words,
    build_choices,
    build_consequences,
    build_snapshots,
    build_storage_facts,
    snapshot_choices,
)
from vmtop.viewmodel.status import Notice
from vmtop.viewmodel.tone import Line, Span, Tone

REREAD_S = 10.0
"""Snapshots are read anew this often, as somebody else may take some; and whenever something is done with the VM."""

GONE = "The VM is not there any more."


class StorageScreen(ListScreen):
    """A page that shows what was read of the disks of one VM, and reads it again from time to time."""

    CLEARING = Clearing.OLD
    """Which checkpoints it is about when some are to go."""

    def __init__(self, uuid: str) -> None:
        """`uuid`: of the VM."""
        super().__init__()
        self.uuid = uuid
        self._asked_s: float | None = None
        self._asked_for: object = None
        """What was done with the VM when its storage was last asked for."""
        self._answers_before: object = None
        """The answers that were known then; while there is no other one, nobody asks again."""

    def follow(self, view: View) -> None:
        """Ask for disks and snapshots when they may be others than those that are known."""
        now_s = view.now_monotonic_s
        doings = (
            tuple((action.id, action.outcome) for action in view.actions if action.command.uuid == self.uuid),
            self._jobs(view),
        )
        is_awaited = self._asked_s is not None and view.storage is self._answers_before
        is_due = self._asked_s is None or now_s - self._asked_s >= REREAD_S or doings != self._asked_for
        if is_due and not is_awaited:
            self._asked_s, self._asked_for, self._answers_before = now_s, doings, view.storage
            self.post_message(StorageAsked(self.uuid))

    def _jobs(self, view: View) -> Sequence[JobKind]:
        subject = self.subject(view)
        return () if subject is None else [job.kind for job in subject.metrics.jobs]

    def subject(self, view: View) -> Subject | None:
        """The VM. None when it is gone, or nothing was read yet."""
        return None if view.frame is None else find_subject(view.frame, self.uuid)

    def vm_name(self, view: View) -> str:
        """Of the VM; its UUID when it is gone."""
        subject = self.subject(view)
        return self.uuid if subject is None else subject.metrics.name

    def storage(self, view: View) -> StorageSample | None:
        """What was read. None before, and when it cannot be read."""
        answer = view.storage.get(self.uuid)
        return None if isinstance(answer, ControlError) else answer

    def situation(self, view: View) -> Situation | None:
        """By what a command is judged. None while too little is known."""
        storage = self.storage(view)
        if view.frame is None or storage is None or self.subject(view) is None:
            return None
        return Situation(frame=view.frame, policy=view.policy, capability=view.capability, storage=storage)

    def action_clear_checkpoints(self) -> None:
        """Ask which checkpoints are to go."""
        view = self.view
        storage = None if view is None else self.storage(view)
        if view is None or storage is None:
            self.post_message(Noticed(Notice("its checkpoints were not read yet", Tone.NOTE)))
        else:
            self.post_message(ClearingAsked(storage, self.CLEARING))

    def make_excuse(self, view: View, width: int) -> Page:
        """Why there is nothing to show yet, or at all."""
        answer = view.storage.get(self.uuid)
        text, tone = ASKING, Tone.DIM
        if view.frame is not None and self.subject(view) is None:
            text, tone = GONE, Tone.WARN
        elif isinstance(answer, ControlError):
            text, tone = f"Snapshots cannot be read: {explain(answer)}.", Tone.WARN
        return make_page(plain(build_note(text, width, tone, has_unicode=view.state.has_unicode)))


class SnapshotsScreen(StorageScreen):
    """The snapshots of a VM as a tree."""

    BINDINGS = bindings(Scope.SNAPSHOTS, Scope.CHECKPOINTS)
    SCOPES = (Scope.SNAPSHOTS, Scope.CHECKPOINTS)
    CLEARING = Clearing.ALL
    """Any one stands against a revert."""

    def make_head(self, view: View, width: int) -> Sequence[Line]:
        """Whose snapshots, and on what they depend."""
        has_unicode = view.state.has_unicode
        title = build_title("Snapshots of", self.vm_name(view), width, has_unicode=has_unicode)
        storage = self.storage(view)
        facts = [] if storage is None else build_storage_facts(storage, width=width, has_unicode=has_unicode)
        return title, *facts, ()

    def make_page(self, view: View, width: int) -> Page:
        """The tree."""
        storage = self.storage(view)
        if storage is None or self.subject(view) is None:
            return self.make_excuse(view, width)
        return build_snapshots(storage, now_s=self.now_s(view), width=width, has_unicode=view.state.has_unicode)

    def make_more(self, view: View, width: int) -> Sequence[Line]:
        """What can be done with the snapshot under the cursor."""
        situation = self.situation(view)
        if situation is None or self.key is None:
            return ()
        return build_consequences(self.key, self.uuid, situation, width=width, has_unicode=view.state.has_unicode)

    def action_take_snapshot(self) -> None:
        """Let the operator choose a kind."""
        if self.view is not None and self.situation(self.view) is not None:
            self.post_message(KindsOpened(self.uuid))

    def action_revert_snapshot(self) -> None:
        """Ask whether to revert to the snapshot."""
        if self.key is not None:
            self.post_message(CommandAsked((RevertSnapshot(uuid=self.uuid, name=self.key),)))

    def action_delete_snapshot(self) -> None:
        """Ask whether to delete the snapshot."""
        if self.key is not None:
            self.post_message(CommandAsked((DeleteSnapshot(uuid=self.uuid, name=self.key),)))


class KindsScreen(StorageScreen):
    """The kinds of snapshot that this VM and its hypervisor support, and why others are not possible."""

    BINDINGS = bindings(Scope.PICK)
    SCOPES = (Scope.PICK,)

    def __init__(self, uuid: str) -> None:
        """`uuid`: of the VM."""
        super().__init__(uuid)
        self._choices: tuple[KindChoice, ...] = ()

    def make_head(self, view: View, width: int) -> Sequence[Line]:
        """Of whom, and which kind is recommended."""
        title = build_title("Take a snapshot of", self.vm_name(view), width, has_unicode=view.state.has_unicode)
        return title, (Span("The first kind is the one to be recommended here.", Tone.DIM),), ()

    def make_page(self, view: View, width: int) -> Page:
        """The kinds, those that are not possible last."""
        situation, subject = self.situation(view), self.subject(view)
        if situation is None or subject is None:
            return self.make_excuse(view, width)
        self._choices = snapshot_choices(subject.metrics, situation)
        return build_choices(self._choices, width=width, has_unicode=view.state.has_unicode)

    def make_more(self, view: View, width: int) -> Sequence[Line]:
        """What the kind under the cursor means."""
        choice = self._choice
        return () if choice is None else build_choice_words(choice, width=width, has_unicode=view.state.has_unicode)

    @property
    def _choice(self) -> KindChoice | None:
        return next((choice for choice in self._choices if choice.id == self.key), None)

    def action_choose(self) -> None:
        """Ask for the name of the snapshot, then for the file of its memory where it has one."""
        choice = self._choice
        if choice is not None:
            request = choice.request
            self.ask("Name of the snapshot: ", request.name, lambda text: self._take_name(request, text))

    def _take_name(self, request: SnapshotRequest, name: str) -> str:
        if not name:
            return "it needs a name"
        if name.startswith(".") or "/" in name:
            return "it may not begin with a dot or hold a slash"
        path = request.memory_path
        if path is None:
            self._propose(replace(request, name=name))
            return ""
        named = replace(request, name=name, memory_path=path.replace(f".{request.name}.", f".{name}."))
        self.ask("New file for the memory: ", named.memory_path or "", lambda text: self._take_path(named, text))
        return ""

    def _take_path(self, request: SnapshotRequest, path: str) -> str:
        if not path.startswith("/") or path.endswith("/"):
            return "it needs its whole path, beginning with /"
        self._propose(replace(request, memory_path=path))
        return ""

    def _propose(self, request: SnapshotRequest) -> None:
        """Lay the card above the list of snapshots, in the place of this page."""
        self.post_message(CommandAsked((TakeSnapshot(uuid=self.uuid, request=request),)))
        self.dismiss()
