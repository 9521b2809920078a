"""Begins backups, sees them end, and clears away what failed ones leave behind."""

from collections.abc import Callable
from pathlib import Path

from vmtop.actions.action import BackupRun, Ending, Outcome
from vmtop.actions.backup_plan import plan_backup
from vmtop.actions.command import StartBackup
from vmtop.actions.desk import Desk
from vmtop.actions.errand import Errand, RunningBackup
from vmtop.actions.explain import explain
from vmtop.actions.ledger import OpenBackup
from vmtop.actions.leftover import GONE, Leftovers
from vmtop.actions.situation import Situation, Subject, find_subject
from vmtop.actions.size import size_text
from vmtop.backends.base import NO_DOMAIN
from vmtop.backends.folder import make_folder, read_times, remove_files
from vmtop.backends.image_lock import is_any_written, is_written
from vmtop.backends.qemu_image import CHECK_LIMIT_S
from vmtop.derive.condition import is_off
from vmtop.derive.frame import Frame
from vmtop.errors import AuditError, ControlError, VmtopError
from vmtop.model.policy import Policy
from vmtop.model.sample import FinishedJob, JobKind, JobSample
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

BEGIN_S = 60.0
"""libvirt may take this long from being asked for a backup until it runs."""

NEAR_S = 5.0
"""The last write to its files, or their return to whom they belong, is this near to the end of a backup."""

LOOK_AGAIN_S = 30.0
"""Between two questions how a backup of an earlier run ended, when the first found no answer."""

COPYING = "copying"
ANOTHER_RUNS = "waiting for another backup of this VM to end"
INHERITED = "; an earlier vmtop began it"

CHECKING = "checking its files"
"""What an action is said to do while the files of its backup are checked, which may take an hour."""


class Copier:
    """All backups that vmtop began in this run of the program, or before, and whose end it has to see."""

    def __init__(self, desk: Desk, policy: Policy, on_backup: Callable[[BackupRun], None]) -> None:
        self._desk = desk
        self._policy = policy
        self._on_backup = on_backup
        self.leftovers = Leftovers(desk)

    def take_over(self, entry: OpenBackup) -> None:
        """See to a backup that an earlier run of vmtop began."""
        clock = self._desk.clock
        began_before_s = max(0.0, clock.time() - entry.submitted_s)
        errand = Errand(
            id=entry.id,
            command=StartBackup(
                uuid=entry.uuid,
                folder=entry.folder,
                is_incremental=entry.is_incremental,
                bytes_per_s=entry.request.bytes_per_s,
            ),
            vm=entry.vm,
            sentence=entry.sentence,
            confirmed_name="",
            undoes=None,
            time_s=entry.submitted_s,
            begun_s=clock.monotonic() - began_before_s,
            progress=f"looking how it stands{INHERITED}",
            backup=RunningBackup(
                request=entry.request,
                disks=entry.disks,
                began_s=entry.began_s,
                began_monotonic_s=0.0,
                asked_s=entry.asked_s,
                doubt=INHERITED,
                is_inherited=True,
                has_folder=entry.has_folder,
            ),
        )
        self._desk.take_over(errand)

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
            asked_s=self._desk.clock.time(),
            has_folder=folder is not None,
        )
        self._desk.ledger.open(_entry(errand, command, backup, self._desk.source.uri))
        # Two vmtops give the same names in the same second: whose record is there first may go on.
        note = self._tell(errand, backup, None)
        if note and backup.has_folder:
            return Outcome(Ending.FAILED, note.removeprefix("; "))
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
            errand.backup, errand.progress = backup, f"{COPYING}{note}"
            errand.deadline_s = self._desk.clock.monotonic() + self._policy.action_frame_s
        # It goes on as a job, which the guard sees; a balloon may be moved meanwhile.
        self._desk.leave_lane(errand)
        return None

    def follow(self, frame: Frame) -> None:
        """Take note of a new frame."""
        self.leftovers.follow(frame)
        for errand in self._desk.errands():
            backup = errand.backup
            if backup is not None and not backup.is_ending and not errand.is_calling:
                self._follow(errand, backup, frame)

    def _follow(self, errand: Errand, backup: RunningBackup, frame: Frame) -> None:
        now_s, vm_uuid = frame.sample.monotonic_s, errand.command.uuid
        with self._desk.changed:
            errand.deadline_s = self._desk.clock.monotonic() + self._policy.action_frame_s
        subject = find_subject(frame, vm_uuid)
        running = next((job for job in subject.metrics.jobs if job.kind is JobKind.BACKUP), None) if subject else None
        if backup.is_inherited and not backup.was_seen:
            self._find(errand, backup, running, subject, now_s)
            return
        if running is not None:
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

    def _find(
        self, errand: Errand, backup: RunningBackup, running: JobSample | None, subject: Subject | None, now_s: float
    ) -> None:
        """See whether a backup of an earlier run still goes on, or else have it found out how it ended."""
        if running is not None:
            # One that is not known again is another's, or a clock was set: as long as it runs nothing is sure.
            backup.was_seen = _is_same(running, backup, self._desk.clock.time())
            with self._desk.changed:
                errand.progress = (COPYING if backup.was_seen else ANOTHER_RUNS) + backup.doubt
        elif (subject is None or _is_known(subject)) and now_s >= backup.look_s:
            backup.look_s = now_s + LOOK_AGAIN_S
            self._desk.call(errand, lambda each: self._look_back(each, backup), CHECK_LIMIT_S + CLEAR_S)

    def _finish(self, errand: Errand, backup: RunningBackup, job: FinishedJob | None) -> None:
        backup.is_ending = True
        is_checked = backup.has_folder and job is not None and job.is_good
        limit_s = CHECK_LIMIT_S + CLEAR_S if is_checked else CLEAR_S
        self._desk.call(errand, lambda each: self._end(each, backup, job), limit_s)

    def _look_back(self, errand: Errand, backup: RunningBackup) -> Outcome | None:
        """Find out how a backup ended of which nobody was told; the end of another's counts for nothing."""
        if backup.has_folder and is_any_written(map(Path, _paths(backup))):
            return None
        try:
            job = self._read_last_job(errand.command.uuid)
            is_ours = job is not None and _is_last(job, backup)
        except ControlError as error:
            with self._desk.changed:
                errand.progress = f"nobody tells how it ended: {error}{backup.doubt}"
            return None
        backup.is_ending = True
        return self._end(errand, backup, job if is_ours else None)

    def _read_last_job(self, vm_uuid: str) -> FinishedJob | None:
        try:
            return self._desk.source.read_last_job(vm_uuid)
        except ControlError as error:
            if error.code != NO_DOMAIN:
                raise
            return None

    def _end(self, errand: Errand, backup: RunningBackup, job: FinishedJob | None) -> Outcome:
        """Keep a good backup; of one that failed leave neither files nor checkpoint."""
        if job is None or job.is_good is None:
            return self._end_untold(errand, backup, job)
        if not job.is_good:
            left = self._drop_checkpoint(errand, backup) + self._remove(backup)
            if job.is_cancelled and (backup.is_inherited or not backup.doubt):
                rest = left + self._tell(errand, backup, job)
                return Outcome(Ending.CANCELLED, (rest.removeprefix("; ") or "nothing of it is left") + backup.doubt)
            why = job.error or "the backup failed, and nobody said why: the VM may have ended meanwhile"
            return Outcome(Ending.FAILED, f"{why}{backup.doubt}{left}{self._tell(errand, backup, job)}")
        count = _count_files(backup)
        if count is not None and count < len(backup.request.targets):
            why = "a backup ended well, but its files are not there"
            return Outcome(Ending.FAILED, f"{why}{backup.doubt}{self._drop_checkpoint(errand, backup)}")
        self._wait_for_files(backup)
        with self._desk.changed:
            errand.progress = CHECKING
        note = self._tell(errand, backup, job)
        copied = "" if job.processed_bytes is None else f": {size_text(job.processed_bytes)} copied"
        # What nobody can put back, or is not whole, is no backup.
        if note:
            return Outcome(Ending.FAILED, f"ended{copied}{note}")
        return Outcome(Ending.DONE, f"done{copied}{backup.doubt}")

    def _end_untold(self, errand: Errand, backup: RunningBackup, job: FinishedJob | None) -> Outcome:
        """Conclude what became of a backup of whose end nobody told."""
        left = self._drop_checkpoint(errand, backup)
        # No later backup may go on from this one; its files may still be whole, and are the operator's.
        why, is_good = "the backup is gone, and nobody told how it ended: its files may be incomplete", None
        if _count_files(backup) == 0:
            # libvirt removes the files of those that fail.
            why, is_good = "the backup failed, or never began, for none of its files is there", False
        return Outcome(Ending.FAILED, f"{why}{backup.doubt}{left}{self._tell(errand, backup, job, is_good=is_good)}")

    def _wait_for_files(self, backup: RunningBackup) -> None:
        """What QEMU still holds cannot be checked; it is not held for long."""
        paths = [Path(path) for path in _paths(backup)] if backup.has_folder else []
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
                why = explain(error)
                text = f"; its checkpoint {checkpoint} is deleted as soon as the VM runs, for it cannot be now: {why}"
                try:
                    self.leftovers.add(errand.command.uuid, errand.vm, checkpoint)
                except AuditError as failure:
                    return f"{text}; {failure}"
                return text
        return ""

    def _remove(self, backup: RunningBackup) -> str:
        """Remove the files of a backup; the guard saw that they were not there before. Tells what failed."""
        left = remove_files(_paths(backup)) if backup.has_folder else []
        return "".join(f"; {path} could not be removed" for path in left)

    def _tell(
        self, errand: Errand, backup: RunningBackup, job: FinishedJob | None, *, is_good: bool | None = None
    ) -> str:
        """Tell whoever keeps recovery points; a complaint of theirs goes into the outcome."""
        run = BackupRun(
            uuid=errand.command.uuid,
            vm=errand.vm,
            uri=self._desk.source.uri,
            request=backup.request,
            is_here=backup.has_folder,
            disks=backup.disks,
            began_s=backup.began_s,
            is_over=backup.is_ending,
            is_good=is_good if job is None or job.is_good is None else job.is_good,
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


def _paths(backup: RunningBackup) -> list[str]:
    return list(backup.request.targets.values())


def _count_files(backup: RunningBackup) -> int | None:
    """How many of its files are there. None where that cannot be seen."""
    if not backup.has_folder:
        return None
    try:
        return len(read_times(_paths(backup)))
    except ControlError:  # what cannot be seen may be there
        return None


def _entry(errand: Errand, command: StartBackup, backup: RunningBackup, uri: str) -> OpenBackup:
    return OpenBackup(
        id=errand.id,
        uri=uri,
        uuid=command.uuid,
        vm=errand.vm,
        sentence=errand.sentence,
        folder=command.folder,
        is_incremental=command.is_incremental,
        request=backup.request,
        disks=backup.disks,
        has_folder=backup.has_folder,
        submitted_s=errand.time_s,
        began_s=backup.began_s,
        asked_s=backup.asked_s,
    )


def _is_known(subject: Subject) -> bool:
    """Whether a job runs on it was asked already; that comes with the first look at its definition."""
    return is_off(subject.sample) or subject.sample.facts is not None


def _is_same(job: JobSample, backup: RunningBackup, now_s: float) -> bool:
    """A job that runs now may be one that was begun then: it is as old."""
    if job.elapsed_s is None:
        return False
    near_s = NEAR_S + job.elapsed_s * CLOCK_DRIFT_RATIO
    return -near_s <= now_s - job.elapsed_s - backup.asked_s <= BEGIN_S + near_s


def _is_last(job: FinishedJob, backup: RunningBackup) -> bool:
    """The last job that ended may be this backup: it lasted until its files were written for the last time."""
    if job.kind is not JobKind.BACKUP or not job.is_good:
        # What failed leaves no files, whatever libvirt said of it.
        return False
    times = read_times(_paths(backup)) if backup.has_folder else ()
    if len(times) != len(backup.request.targets) or job.elapsed_s is None:
        return False
    lasted_s = job.elapsed_s
    near_s = NEAR_S + lasted_s * CLOCK_DRIFT_RATIO
    written_s = max(each.written_s for each in times), max(each.changed_s for each in times)
    return any(-near_s <= end_s - lasted_s - backup.asked_s <= BEGIN_S + near_s for end_s in written_s)
