"""Begins backups, sees them end, and clears away what failed ones leave behind."""

from collections.abc import Callable
from pathlib import Path

from vmtop.actions.action import BackupRun, Ending, Outcome
from vmtop.actions.backup_plan import plan_backup
from vmtop.actions.command import StartBackup
from vmtop.actions.desk import Desk
from vmtop.actions.errand import Errand, RunningBackup
from vmtop.actions.explain import explain
from vmtop.actions.folder import make_folder, remove_files
from vmtop.actions.leftover import GONE, Leftovers
from vmtop.actions.situation import Situation, Subject, find_subject
from vmtop.actions.size import size_text
from vmtop.backends.image_lock import is_written
from vmtop.backends.qemu_image import CHECK_LIMIT_S
from vmtop.derive.frame import Frame
from vmtop.errors import ControlError, VmtopError
from vmtop.model.policy import Policy
from vmtop.model.sample import FinishedJob, JobKind
from vmtop.model.storage import StorageSample

CLEAR_S = 60.0
"""For deleting a checkpoint and what a manifest takes."""

RELEASE_S = 10.0
"""libvirt tells the end of a backup a moment before QEMU lets go of its files."""
_LOOK_S = 0.05

CLOCK_DRIFT_RATIO = 1e-3
"""The host tells how long a job took, our clock when it ended, and no two clocks go alike."""

SIMULATED_SECOND_S = 2.0
"""A simulated host has a clock of its own, of whole seconds, of which it tells the one before."""

CHECKING = "checking its files"
"""What an action is said to do while the files of its backup are checked, which may take an hour."""


class Copier:
    """All backups that vmtop began in this run of the program."""

    def __init__(self, desk: Desk, policy: Policy, on_backup: Callable[[BackupRun], None]) -> None:
        self._desk = desk
        self._policy = policy
        self._on_backup = on_backup
        self._leftovers = Leftovers(desk)

    def begin(
        self, errand: Errand, command: StartBackup, now: Situation, subject: Subject, storage: StorageSample
    ) -> Outcome | None:
        """Have the copying begin; on a thread."""
        folder, sample = now.folder, now.frame.sample
        existing = None if folder is None else folder.usable
        request = plan_backup(command, subject.metrics, storage, sample.time_s, existing)
        if folder is not None:
            inner = f"{folder.path.rstrip('/')}/{folder.inner}"
            try:
                make_folder(inner)
            except OSError as error:
                return Outcome(Ending.FAILED, f"the folder {inner} cannot be made: {error.strerror}")
        control = self._desk.control()
        backup = RunningBackup(
            request=request,
            disks=storage.disks,
            began_s=sample.time_s,
            began_monotonic_s=sample.monotonic_s,
            has_folder=folder is not None,
        )
        # Two vmtops give the same names in the same second: whose record is there first may go on.
        note = self._tell(errand, backup, None)
        if note and backup.has_folder:
            return Outcome(Ending.FAILED, note.removeprefix("; "))
        backup.asked_s = self._desk.clock.time()
        if sample.is_simulated:
            backup.asked_s = sample.time_s - SIMULATED_SECOND_S
        try:
            control.start_backup(command.uuid, request)
        except ControlError as error:
            if error.code is not None:
                # What libvirt refuses leaves nothing, so that a checkpoint of this name is another's.
                backup.is_ending = True
                why = explain(error) + self._tell(errand, backup, None, is_good=False)
                return Outcome(Ending.FAILED, why, error.exit_code)
            backup.doubt = f"; {error}"
            note += backup.doubt
        with self._desk.changed:
            errand.backup, errand.progress = backup, f"copying{note}"
            errand.deadline_s = self._desk.clock.monotonic() + self._policy.action_frame_s
        # It goes on as a job, which the guard sees; a balloon may be moved meanwhile.
        self._desk.leave_lane(errand)
        return None

    def follow(self, frame: Frame) -> None:
        """Take note of a new frame."""
        self._leftovers.follow(frame)
        for errand in self._desk.errands():
            backup = errand.backup
            if backup is not None and not backup.is_ending:
                self._follow(errand, backup, frame)

    def _follow(self, errand: Errand, backup: RunningBackup, frame: Frame) -> None:
        now_s, vm_uuid = frame.sample.monotonic_s, errand.command.uuid
        with self._desk.changed:
            errand.deadline_s = self._desk.clock.monotonic() + self._policy.action_frame_s
        subject = find_subject(frame, vm_uuid)
        if subject is not None and any(job.kind is JobKind.BACKUP for job in subject.metrics.jobs):
            backup.was_seen, backup.gone_s = True, None
            return
        # Not only those of this sample: a small backup may end before its call returns.
        end = next((job for job in frame.jobs.finished if job.uuid == vm_uuid and _is_end(job, backup)), None)
        if end is not None:
            self._finish(errand, backup, end)
            return
        backup.gone_s = now_s if backup.gone_s is None else backup.gone_s
        patience_s = self._policy.job_end_wait_s if backup.was_seen else self._policy.job_unseen_s
        if now_s - max(backup.gone_s, backup.began_monotonic_s) >= patience_s:
            self._finish(errand, backup, None)

    def _finish(self, errand: Errand, backup: RunningBackup, job: FinishedJob | None) -> None:
        backup.is_ending = True
        is_checked = backup.has_folder and job is not None and job.is_good
        limit_s = CHECK_LIMIT_S + CLEAR_S if is_checked else CLEAR_S
        self._desk.call(errand, lambda each: self._end(each, backup, job), limit_s)

    def _end(self, errand: Errand, backup: RunningBackup, job: FinishedJob | None) -> Outcome:
        """Keep a good backup; of one that failed leave neither files nor checkpoint."""
        if job is not None and job.is_good is False:
            left = self._drop_checkpoint(errand, backup) + self._remove(backup)
            if job.is_cancelled and not backup.doubt:
                rest = left + self._tell(errand, backup, job)
                return Outcome(Ending.CANCELLED, rest.removeprefix("; ") or "nothing of it is left")
            why = job.error or "the backup failed, and nobody said why: the VM may have ended meanwhile"
            return Outcome(Ending.FAILED, f"{why}{backup.doubt}{left}{self._tell(errand, backup, job)}")
        if job is None or job.is_good is None:
            # No later backup may go on from this one; its files may still be whole, and are the operator's.
            left = self._drop_checkpoint(errand, backup)
            why = "the backup is gone, and nobody told how it ended: its files may be incomplete"
            return Outcome(Ending.FAILED, f"{why}{backup.doubt}{left}{self._tell(errand, backup, job)}")
        self._wait_for_files(backup)
        with self._desk.changed:
            errand.progress = CHECKING
        note = self._tell(errand, backup, job)
        copied = "" if job.processed_bytes is None else f": {size_text(job.processed_bytes)} copied"
        # What nobody can put back, or is not whole, is no backup.
        if note:
            return Outcome(Ending.FAILED, f"ended{copied}{note}")
        return Outcome(Ending.DONE, f"done{copied}{backup.doubt}")

    def _wait_for_files(self, backup: RunningBackup) -> None:
        """What QEMU still holds cannot be checked; it is not held for long."""
        paths = [Path(path) for path in backup.request.targets.values()] if backup.has_folder else []
        give_up_s = self._desk.clock.monotonic() + RELEASE_S
        while any(map(is_written, paths)) and self._desk.clock.monotonic() < give_up_s:
            self._desk.clock.sleep(_LOOK_S)

    def _drop_checkpoint(self, errand: Errand, backup: RunningBackup) -> str:
        """Delete the checkpoint that a backup made; the guard saw that it was not there before. Tells what failed."""
        checkpoint = backup.request.checkpoint
        if checkpoint is None:
            return ""
        try:
            self._desk.control().delete_checkpoint(errand.command.uuid, checkpoint)
        except ControlError as error:
            if error.code not in GONE:
                self._leftovers.add(errand.command.uuid, errand.vm, checkpoint)
                why = explain(error)
                return f"; its checkpoint {checkpoint} is deleted as soon as the VM runs, for it cannot be now: {why}"
        return ""

    def _remove(self, backup: RunningBackup) -> str:
        """Remove the files of a backup; the guard saw that they were not there before. Tells what failed."""
        left = remove_files(backup.request.targets.values()) if backup.has_folder else []
        return "".join(f"; {path} could not be removed" for path in left)

    def _tell(
        self, errand: Errand, backup: RunningBackup, job: FinishedJob | None, *, is_good: bool | None = None
    ) -> str:
        """Tell whoever keeps recovery points; a complaint of theirs goes into the outcome."""
        run = BackupRun(
            action_id=errand.id,
            uuid=errand.command.uuid,
            vm=errand.vm,
            uri=self._desk.source.uri,
            request=backup.request,
            is_here=backup.has_folder,
            disks=backup.disks,
            began_s=backup.began_s,
            is_over=backup.is_ending,
            is_good=is_good if job is None else job.is_good,
            error=None if job is None else job.error,
            processed_bytes=None if job is None else job.processed_bytes,
        )
        try:
            self._on_backup(run)
        except VmtopError as error:
            return f"; {error}"
        return ""


def _is_end(job: FinishedJob, backup: RunningBackup) -> bool:
    """A job that has ended may be this backup; only asked while no backup runs on its VM."""
    if job.kind is not JobKind.BACKUP or job.is_good is None:
        # One whose end nobody told is waited for, and given up, by `_follow`.
        return False
    return job.ended_s - (job.elapsed_s or 0.0) * (1 - CLOCK_DRIFT_RATIO) >= backup.asked_s
