"""What lies in files and is shown when somebody looks for it: the audit and the backups of VMs. Read on threads."""

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vmtop.errors import AuditError, ControlError

if TYPE_CHECKING:
    from vmtop.actions.audit import AuditRecord
    from vmtop.viewmodel.backups import Recovery

ReadAudit = Callable[[], "tuple[AuditRecord, ...]"]
"""Gives all lines of the audit, the oldest first; raises `AuditError`."""
ReadRecovery = Callable[[str, str], "Recovery"]
"""(folder, UUID of a VM) -> what lies there for it; raises `ControlError`."""


class Files:
    """Its methods are called on the app's thread; newer answers take the place of older ones."""

    def __init__(
        self,
        read_audit: ReadAudit | None,
        read_recovery: ReadRecovery | None,
        spawn: Callable[[Callable[[], None]], None],
        wake: Callable[[], None],
    ) -> None:
        """Prepare.

        Args:
            read_audit: gives the audit. None where nobody keeps one.
            read_recovery: gives the backups of a VM. None where they cannot be seen.
            spawn: runs a piece of work elsewhere.
            wake: called from any thread when there is something new to show.
        """
        self._read_audit = read_audit
        self._read_recovery = read_recovery
        self._spawn = spawn
        self._wake = wake
        self._answering = threading.Lock()
        self._question = 0
        self._answered = 0
        """Number of the last question about the audit that was answered."""
        self.records: tuple[AuditRecord, ...] | AuditError | None = None
        """The audit. None before it was asked for and read."""
        self.running: frozenset[str] = frozenset()
        """Ids of actions in it that went on when it was read."""
        self.recovery: Mapping[tuple[str, str], Recovery | ControlError] = {}
        """(folder, UUID) -> what lies there, as far as it was asked for and read."""

    def ask_records(self) -> None:
        """Read the audit."""
        read = self._read_audit
        if read is None:
            self.records = ()
            return
        self._question += 1
        number = self._question

        def work() -> None:
            from vmtop.actions.alive import find_running  # only for who looks at the audit

            answer: tuple[AuditRecord, ...] | AuditError
            running: frozenset[str] = frozenset()
            try:
                answer = read()
                running = find_running(answer)
            except AuditError as error:
                answer = error
            with self._answering:
                if number < self._answered:
                    return
                self._answered, self.records, self.running = number, answer, running
            self._wake()

        self._spawn(work)

    def ask_recovery(self, folder: str, uuid: str) -> None:
        """Look for the backups of a VM."""
        read, key = self._read_recovery, (folder, uuid)

        def work() -> None:
            try:
                if read is None:
                    raise ControlError("backup folders of this source cannot be seen from here")
                answer: Recovery | ControlError = read(folder, uuid)
            except ControlError as error:
                answer = error
            with self._answering:
                self.recovery = {**self.recovery, key: answer}
            self._wake()

        self._spawn(work)
