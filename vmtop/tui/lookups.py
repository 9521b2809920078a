"""What is read, on threads, when somebody looks for it: the audit, and disks, snapshots and backups of VMs."""

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vmtop.errors import AuditError, ControlError

if TYPE_CHECKING:
    from vmtop.actions.audit import AuditRecord
    from vmtop.model.storage import StorageSample
    from vmtop.viewmodel.backups import Recovery

ReadAudit = Callable[[], "tuple[AuditRecord, ...]"]
"""Gives all lines of the audit, the oldest first; raises `AuditError`."""
ReadStorage = Callable[[str], "StorageSample"]
"""UUID of a VM -> its disks, snapshots and checkpoints; raises `ControlError`."""
ReadRecovery = Callable[[str, str], "Recovery"]
"""(folder, UUID of a VM) -> what lies there for it; raises `ControlError`."""


class Lookups:
    """Its methods are called on the app's thread; newer answers take the place of older ones."""

    def __init__(
        self,
        read_audit: ReadAudit | None,
        read_storage: ReadStorage | None,
        read_recovery: ReadRecovery | None,
        spawn: Callable[[Callable[[], None]], None],
        wake: Callable[[], None],
    ) -> None:
        """Prepare.

        Args:
            read_audit: gives the audit. None where nobody keeps one.
            read_storage: gives disks, snapshots and checkpoints of a VM. None where nobody tells.
            read_recovery: gives the backups of a VM. None where they cannot be seen.
            spawn: runs a piece of work elsewhere.
            wake: called from any thread when there is something new to show.
        """
        self._read_audit = read_audit
        self._read_storage = read_storage
        self._read_recovery = read_recovery
        self._spawn = spawn
        self._wake = wake
        self._answering = threading.Lock()
        self._question = 0
        self._answered = 0
        """Number of the last question about the audit that was answered."""
        self.records: tuple[AuditRecord, ...] | AuditError | None = None
        """The audit. None before it was asked for and read."""
        self.storage: Mapping[str, StorageSample | ControlError] = {}
        """UUID -> disks, snapshots and checkpoints, as far as they were asked for and read."""
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
            try:
                answer: tuple[AuditRecord, ...] | AuditError = read()
            except AuditError as error:
                answer = error
            with self._answering:
                if number < self._answered:
                    return
                self._answered, self.records = number, answer
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
