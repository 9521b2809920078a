"""What is read, on threads, when somebody looks for it: the audit, and disks, snapshots and backups of VMs."""

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vmtop.errors import AuditError, ControlError
from vmtop.viewmodel.status import Notice
from vmtop.viewmodel.tone import Tone

if TYPE_CHECKING:
    from vmtop.actions.audit import AuditRecord
    from vmtop.actions.verification import Verification
    from vmtop.model.storage import StorageSample
    from vmtop.viewmodel.backups import Recovery

ReadAudit = Callable[[], "tuple[AuditRecord, ...]"]
"""Gives all lines of the audit, the oldest first; raises `AuditError`."""
ReadStorage = Callable[[str], "StorageSample"]
"""UUID of a VM -> its disks, snapshots and checkpoints; raises `ControlError`."""
VerifyBackups = Callable[[str, str, Callable[[str], None]], "Verification"]
"""(folder, UUID of a VM, what is told how far it is) -> what a check found; blocks; raises `ControlError`."""
ReadRecovery = Callable[[str, str], "Recovery"]
"""(folder, UUID of a VM) -> what lies there for it; raises `ControlError`."""


NOT_CHECKED = "files of this host cannot be checked from here"
CHECKED_ALREADY = "they are being checked already"


class Lookups:
    """Its methods are called on the app's thread; newer answers take the place of older ones."""

    def __init__(
        self,
        read_audit: ReadAudit | None,
        read_storage: ReadStorage | None,
        read_recovery: ReadRecovery | None,
        verify_backups: VerifyBackups | None,
        spawn: Callable[[Callable[[], None]], None],
        wake: Callable[[], None],
        say: Callable[[Notice], None],
    ) -> None:
        """Prepare.

        Args:
            read_audit: gives the audit. None where nobody keeps one.
            read_storage: gives disks, snapshots and checkpoints of a VM. None where nobody tells.
            read_recovery: gives the backups of a VM. None where they cannot be seen.
            verify_backups: has them checked. None where their files cannot be.
            spawn: runs a piece of work elsewhere.
            wake: called from any thread when there is something new to show.
            say: called from any thread with what the status line is to say.
        """
        self._read_audit = read_audit
        self._read_storage = read_storage
        self._read_recovery = read_recovery
        self._verify_backups = verify_backups
        self._spawn = spawn
        self._say = say
        self._wake = wake
        self._answering = threading.Lock()
        self._question = 0
        self._answered = 0
        """Number of the last question about the audit that was answered."""
        self.records: tuple[AuditRecord, ...] | AuditError | None = None
        """The audit. None before it was asked for and read."""
        self.running: frozenset[str] = frozenset()
        """Ids of actions in it that went on when it was read."""
        self.storage: Mapping[str, StorageSample | ControlError] = {}
        """UUID -> disks, snapshots and checkpoints, as far as they were asked for and read."""
        self.recovery: Mapping[tuple[str, str], Recovery | ControlError] = {}
        """(folder, UUID) -> what lies there, as far as it was asked for and read."""
        self._recovery_questions: dict[tuple[str, str], tuple[int, int]] = {}
        """(folder, UUID) -> numbers of the last question, and of the last one that was answered."""
        self.verifying: Mapping[tuple[str, str], str] = {}
        """(folder, UUID) -> what is being checked there, in words; raw."""

    def ask_records(self) -> None:
        """Read the audit."""
        read = self._read_audit
        if read is None:
            self.records = ()
            return
        self._question += 1
        number = self._question

        def work() -> None:
            from vmtop.actions.alive import read_running  # only for who looks at the audit

            answer: tuple[AuditRecord, ...] | AuditError
            running: frozenset[str] = frozenset()
            try:
                answer = read()
                running = read_running(answer)
            except AuditError as error:
                answer = error
            with self._answering:
                if number < self._answered:
                    return
                self._answered, self.records, self.running = number, answer, running
            self._wake()

        self._spawn(work)

    def ask_storage(self, uuid: str) -> None:
        """Read disks, snapshots and checkpoints of a VM."""
        read = self._read_storage

        def work() -> None:
            try:
                if read is None:
                    raise ControlError("this source does not tell of disks and snapshots")
                answer: StorageSample | ControlError = read(uuid)
            except ControlError as error:
                answer = error
            with self._answering:
                self.storage = {**self.storage, uuid: answer}
            self._wake()

        self._spawn(work)

    def ask_recovery(self, folder: str, uuid: str) -> None:
        """Look for the backups of a VM."""
        self._spawn(lambda: self._look(folder, uuid))

    def _look(self, folder: str, uuid: str) -> None:
        """On a thread: look, and show what was found unless somebody who looked later was quicker."""
        key = folder, uuid
        with self._answering:
            number = self._recovery_questions.get(key, (0, 0))[0] + 1
            self._recovery_questions[key] = number, self._recovery_questions.get(key, (0, 0))[1]
        try:
            if self._read_recovery is None:
                raise ControlError("backup folders of this source cannot be seen from here")
            answer: Recovery | ControlError = self._read_recovery(folder, uuid)
        except ControlError as error:
            answer = error
        with self._answering:
            last, answered = self._recovery_questions[key]
            if number < answered:
                return
            self._recovery_questions[key] = last, number
            self.recovery = {**self.recovery, key: answer}
        self._wake()

    def verify(self, folder: str, uuid: str, vm: str) -> None:
        """Have the backups of a VM checked; what is found shows file by file. `vm`: its name, raw."""
        verify_backups, key = self._verify_backups, (folder, uuid)
        if verify_backups is None:
            self._say(Notice(NOT_CHECKED, Tone.NOTE))
            return
        if key in self.verifying:
            self._say(Notice(CHECKED_ALREADY, Tone.NOTE))
            return
        self._show_progress(key, "beginning to check")

        def show(words: str) -> None:
            self._show_progress(key, words)
            self._look(folder, uuid)

        def work() -> None:
            from vmtop.viewmodel.backups import verification_notice

            try:
                notice = verification_notice(vm, verify_backups(folder, uuid, show))
            except ControlError as error:
                notice = Notice(f"{vm}: the backups could not be checked: {error}", Tone.HARD)
            finally:
                self._show_progress(key, None)
            self._look(folder, uuid)
            self._say(notice)

        self._spawn(work)

    def _show_progress(self, key: tuple[str, str], words: str | None) -> None:
        with self._answering:
            others = {each: words for each, words in self.verifying.items() if each != key}
            self.verifying = others if words is None else {**others, key: words}
        self._wake()
