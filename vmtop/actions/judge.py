"""Gathers what a command is judged by, and has it judged: what speaks against it at once, then disks and folders."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from vmtop.actions.backup_plan import vm_folder
from vmtop.actions.command import (
    Command,
    StartBackup,
    TakeSnapshot,
)
from vmtop.actions.desk import Desk, Source
from vmtop.actions.errand import URGENT, Errand
from vmtop.actions.guard import check, needs_storage, refuse
from vmtop.actions.promise import NOTHING, Promise, add_promises, make_claim, still_to_write
from vmtop.actions.recorder import files_without_worth
from vmtop.actions.situation import Newest, Situation, Subject, find_subject, is_held
from vmtop.actions.target import Target, TargetState
from vmtop.actions.verdict import BackupPreview, Verdict
from vmtop.backends.file_space import read_written_bytes
from vmtop.derive.frame import Frame
from vmtop.model.policy import Policy
from vmtop.model.sample import JobKind
from vmtop.model.storage import FolderSample

LOOK_S = 0.1
"""Between two looks whether a newer frame is there."""


class Judge:
    """Knows where to ask; the guard alone decides."""

    def __init__(
        self,
        desk: Desk,
        policy: Policy,
        read_newest: Callable[[], Newest | None],
        read_targets: Callable[[], Mapping[str, Target]],
    ) -> None:
        self._desk = desk
        self._policy = policy
        self._read_newest = read_newest
        self._read_targets = read_targets

    def judge(self, command: Command, newest: Newest, errand: Errand | None) -> tuple[Situation, Verdict]:
        """Refuse at once what is refused whatever its details; storage may take long, and is read after that.

        Raises:
            ControlError: storage cannot be read.
        """
        newest = self._wait_while_held(command, newest)
        now = self.situation(command, newest, errand)
        if not needs_storage(command):
            return now, check(command, now)
        refusals = refuse(command, now)
        if refusals:
            return now, Verdict(refusals=refusals)
        storage = self._desk.source.read_storage(command.uuid)
        newest = self._read_newest() or newest
        subject = find_subject(newest.frame, command.uuid)
        folder = None if subject is None else _read_folder(self._desk.source, command, subject)
        now = replace(self.situation(command, newest, errand), storage=storage, folder=folder)
        if not isinstance(command, StartBackup) or folder is None:
            return now, check(command, now)
        return self._judge_room(command, now, folder, errand)

    def _wait_while_held(self, command: Command, newest: Newest) -> Newest:
        """Look again before it counts that something holds the VM: another vmtop that asks it does, for milliseconds.

        Commands that help with what blocks others do not wait.
        """
        clock = self._desk.clock
        give_up_s = clock.monotonic() + self._policy.held_patience_s
        while not isinstance(command, URGENT) and clock.monotonic() < give_up_s:
            subject = find_subject(newest.frame, command.uuid)
            if subject is None or not is_held(subject.sample):
                break
            clock.sleep(LOOK_S)
            newest = self._read_newest() or newest
        return newest

    def _judge_room(
        self, command: StartBackup, now: Situation, folder: FolderSample, errand: Errand | None
    ) -> tuple[Situation, Verdict]:
        """Judge a backup beside those that began; of two that begin at once the second sees what the first claims."""
        # Whatever may block is done without the lock; what begins meanwhile has written nothing yet.
        running = [each for each in self._desk.errands() if each.backup is not None and each.claim is not None]
        written = {
            each.id: read_written_bytes(each.backup.request.targets.values())
            for each in running
            if each.backup is not None
        }
        with self._desk.changed:
            others = [each for each in self._desk.errands() if each is not errand]
            promises = (_promise(each, folder, now.frame, written.get(each.id, 0)) for each in others)
            now = replace(now, promised=add_promises(promises))
            verdict = check(command, now)
            if errand is not None and not verdict.is_refused and isinstance(verdict.preview, BackupPreview):
                errand.claim = make_claim(folder.device, verdict.preview)
        return now, verdict

    def situation(self, command: Command, newest: Newest, errand: Errand | None) -> Situation:
        """What is known without asking anybody."""
        holder = self._desk.holder((command.uuid, False))
        is_unanswered = holder is not None and holder is not errand and holder.outcome is not None
        target = self._read_targets().get(command.uuid)
        return Situation(
            frame=newest.frame,
            policy=self._policy,
            capability=self._desk.source.capability,
            age_s=newest.age_s,
            is_unanswered=is_unanswered and not isinstance(command, URGENT),
            is_balloon_due=target is not None and target.state in (TargetState.MOVING, TargetState.STUCK),
        )


def _promise(errand: Errand, folder: FolderSample, frame: Frame, written: int) -> Promise:
    """What the backup of an errand will still write into the file system of a folder."""
    claim, backup = errand.claim, errand.backup
    if claim is None or claim.device != folder.device:
        return NOTHING
    subject = find_subject(frame, errand.command.uuid)
    jobs = () if subject is None else [job for job in subject.metrics.jobs if job.kind is JobKind.BACKUP]
    if backup is not None and (backup.is_ending or (backup.was_seen and not jobs)):
        return NOTHING
    left = [job.total_bytes - (job.processed_bytes or 0) for job in jobs if job.total_bytes is not None]
    return still_to_write(claim, written, left[0] if left and backup is not None else None)


def _read_folder(source: Source, command: Command, subject: Subject) -> FolderSample | None:
    """Look where something is to be written. None where that cannot be seen from here, or nothing is."""
    if isinstance(command, StartBackup):
        inner = vm_folder(subject.metrics.name, subject.metrics.uuid)
        folder = source.read_folder(command.folder, inner)
        if folder is None:
            return None
        return replace(folder, worthless=files_without_worth(f"{command.folder.rstrip('/')}/{inner}"))
    if isinstance(command, TakeSnapshot) and command.request.memory_path is not None:
        return source.read_folder(command.request.memory_path.rpartition("/")[0] or "/", "")
    return None
