"""What is read, on threads, when somebody looks for it: the audit, and disks, snapshots and backups of VMs."""

import threading
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

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

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")

NOT_CHECKED = "files of this host cannot be checked from here"
CHECKED_ALREADY = "they are being checked already"


class Answers(Generic[K, A]):
    """What is known of what was asked for; an answer never takes the place of one to a later question.

    Its methods are called on any thread.
    """

    def __init__(self) -> None:
        self._taking = threading.Lock()
        self._asked: dict[K, int] = {}
        """Number of the last question."""
        self._answered: dict[K, int] = {}
        """Number of the question whose answer is known."""
        self.known: Mapping[K, A] = {}
        """Another mapping after each answer."""

    def ask(self, key: K) -> int:
        """Number a question; it is later than all before, whenever its answer comes."""
        with self._taking:
            self._asked[key] = self._asked.get(key, 0) + 1
            return self._asked[key]

    def take(self, key: K, number: int, answer: A) -> bool:
        """Keep an answer; tells whether it was kept, as it is not when a later question was answered before."""
        with self._taking:
            if number < self._answered.get(key, 0):
                return False
            self._answered[key] = number
            self.known = {**self.known, key: answer}
            return True


class Lookups:
    """Public methods are called on the app's thread; what they find comes on others, and may change at any time.

    Answers to later questions take the place of those to earlier ones, whichever comes first.
    """

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
            say: called from any thread with what is to stand above the status line.
        """
        self._read_audit = read_audit
        self._read_storage = read_storage
        self._read_recovery = read_recovery
        self._verify_backups = verify_backups
        self._spawn = spawn
        self._say = say
        self._wake = wake
        self._audit: Answers[None, tuple[tuple[AuditRecord, ...] | AuditError, frozenset[str]]] = Answers()
        """There is but one; with ids of what went on when it was read."""
        self._storage: Answers[str, StorageSample | ControlError] = Answers()
        self._recovery: Answers[tuple[str, str], Recovery | ControlError] = Answers()
        self._showing = threading.Lock()
        self.verifying: Mapping[tuple[str, str], str] = {}
        """(folder, UUID) -> what is being checked there, in words; raw."""

    @property
    def records(self) -> "tuple[AuditRecord, ...] | AuditError | None":
        """The audit. None before it was asked for and read."""
        known = self._audit.known.get(None)
        return None if known is None else known[0]

    @property
    def running(self) -> frozenset[str]:
        """Ids of actions in the audit that went on when it was read."""
        known = self._audit.known.get(None)
        return frozenset() if known is None else known[1]

    @property
    def storage(self) -> "Mapping[str, StorageSample | ControlError]":
        """UUID -> disks, snapshots and checkpoints, as far as they were read; another mapping after each answer."""
        return self._storage.known

    @property
    def recovery(self) -> "Mapping[tuple[str, str], Recovery | ControlError]":
        """(folder, UUID) -> what lies there, as far as it was asked for and read."""
        return self._recovery.known

    def ask_records(self) -> None:
        """Read the audit."""
        read, number = self._read_audit, self._audit.ask(None)
        if read is None:
            self._audit.take(None, number, ((), frozenset()))
            return

        def work() -> None:
            from vmtop.actions.alive import read_running  # only for who looks at the audit

            answer: tuple[AuditRecord, ...] | AuditError
            running: frozenset[str] = frozenset()
            try:
                answer = read()
                running = read_running(answer)
            except AuditError as error:
                answer = error
            if self._audit.take(None, number, (answer, running)):
                self._wake()

        self._spawn(work)

    def ask_storage(self, uuid: str) -> None:
        """Read disks, snapshots and checkpoints of a VM."""
        read, number = self._read_storage, self._storage.ask(uuid)

        def work() -> None:
            try:
                if read is None:
                    raise ControlError("this source does not tell of disks and snapshots")
                answer: StorageSample | ControlError = read(uuid)
            except ControlError as error:
                answer = error
            if self._storage.take(uuid, number, answer):
                self._wake()

        self._spawn(work)

    def ask_recovery(self, folder: str, uuid: str) -> None:
        """Look for the backups of a VM."""
        number = self._recovery.ask((folder, uuid))
        self._spawn(lambda: self._look(folder, uuid, number))

    def _look(self, folder: str, uuid: str, number: int) -> None:
        """On a thread: look, and show what was found unless somebody who asked later was answered before."""
        try:
            if self._read_recovery is None:
                raise ControlError("backup folders of this source cannot be seen from here")
            answer: Recovery | ControlError = self._read_recovery(folder, uuid)
        except ControlError as error:
            answer = error
        if self._recovery.take((folder, uuid), number, answer):
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
            self._look(folder, uuid, self._recovery.ask(key))

        def work() -> None:
            from vmtop.viewmodel.backups import verification_notice

            try:
                notice = verification_notice(vm, verify_backups(folder, uuid, show))
            except ControlError as error:
                notice = Notice(f"{vm}: the backups could not be checked: {error}", Tone.HARD)
            finally:
                self._show_progress(key, None)
            self._look(folder, uuid, self._recovery.ask(key))
            self._say(notice)

        self._spawn(work)

    def _show_progress(self, key: tuple[str, str], words: str | None) -> None:
        """On any thread: say what is being checked; None for nothing any more."""
        with self._showing:
            others = {each: words for each, words in self.verifying.items() if each != key}
            self.verifying = others if words is None else {**others, key: words}
        self._wake()
