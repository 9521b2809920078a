"""Checkpoints of failed backups that could not be deleted at once: libvirt deletes them only while their VM runs.

They are in the ledger meanwhile, for that may take longer than this run of vmtop.
"""

import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from vmtop.actions.action import Ending
from vmtop.actions.audit import AuditRecord, Phase
from vmtop.actions.desk import Desk
from vmtop.actions.explain import explain
from vmtop.actions.ledger import OpenCheckpoint
from vmtop.actions.situation import find_subject
from vmtop.backends.base import NO_CHECKPOINT, NO_DOMAIN
from vmtop.derive.condition import is_off
from vmtop.derive.frame import Frame
from vmtop.errors import AuditError, ControlError

AGAIN_S = 30.0
"""Between two tries, of which the first few seconds of a VM may make the first one vain."""

LONGEST_PAUSE_S = 3600.0

GONE = {NO_DOMAIN, NO_CHECKPOINT}
"""There is none to delete."""


@dataclass(slots=True)
class _Tries:
    """How often one was tried already."""

    due_s: float = 0.0
    """Monotonic clock of the samples: not before."""
    pause_s: float = AGAIN_S
    """After the next try; each is longer than the one before, as libvirt's answer stays the same for long."""
    is_running: bool = False


class Leftovers:
    """What is still to be deleted."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._left: dict[OpenCheckpoint, _Tries] = {}

    def add(self, vm_uuid: str, vm: str, name: str) -> None:
        """See to a checkpoint that vmtop made.

        Raises:
            AuditError: this run of vmtop will, but no other, as it cannot be written down.
        """
        uri = self._desk.source.uri
        checkpoint = OpenCheckpoint(id=uuid.uuid4().hex, uri=uri, uuid=vm_uuid, vm=vm, name=name)
        self.take_over(checkpoint)
        self._desk.ledger.open(checkpoint)

    def take_over(self, checkpoint: OpenCheckpoint) -> None:
        """See to a checkpoint that is in the ledger."""
        with self._desk.changed:
            self._left[checkpoint] = _Tries()

    def follow(self, frame: Frame) -> None:
        """Delete what can be deleted, on another thread."""
        now_s = frame.sample.monotonic_s
        for checkpoint, tries in tuple(self._left.items()):
            subject = find_subject(frame, checkpoint.uuid)
            if subject is None or is_off(subject.sample) or tries.is_running or now_s < tries.due_s:
                continue
            with self._desk.changed:
                tries.is_running, tries.due_s = True, now_s + tries.pause_s
                tries.pause_s = min(2 * tries.pause_s, LONGEST_PAUSE_S)
            self._desk.spawn(partial(self._try, checkpoint, tries))

    def _try(self, checkpoint: OpenCheckpoint, tries: "_Tries") -> None:
        try:
            self._delete(checkpoint)
        finally:
            with self._desk.changed:
                tries.is_running = False

    def _delete(self, checkpoint: OpenCheckpoint) -> None:
        record = AuditRecord(
            id=uuid.uuid4().hex,
            phase=Phase.STARTED,
            time_s=self._desk.clock.time(),
            uri=self._desk.source.uri,
            uuid=checkpoint.uuid,
            vm=checkpoint.vm,
            action="clear",
            sentence=f"delete the checkpoint {checkpoint.name} of {checkpoint.vm}, whose backup failed",
        )
        try:
            self._desk.audit.write(record)
        except AuditError:
            # Nothing is done without an audit; the next try may find one.
            return
        ending, text = Ending.DONE, ""
        try:
            self._desk.control().delete_checkpoint(checkpoint.uuid, checkpoint.name)
        except ControlError as error:
            if error.code not in GONE:
                ending, text = Ending.FAILED, explain(error)
        if ending is Ending.DONE:
            with self._desk.changed:
                self._left.pop(checkpoint, None)
            with suppress(AuditError):
                # Whoever comes next finds that it is gone.
                self._desk.ledger.close(checkpoint.id)
        ended = replace(record, phase=Phase.ENDED, time_s=self._desk.clock.time(), outcome=ending.value, text=text)
        with suppress(AuditError):
            # It was done, or not; its begin is written down.
            self._desk.audit.write(ended)
