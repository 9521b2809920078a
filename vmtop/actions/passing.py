"""Statistics periods that are to last no longer than vmtop runs.

They are in the ledger from before they are set, so that the next run puts back those of one that was killed.
"""

import uuid

from vmtop.actions.action import Ending
from vmtop.actions.command import SetStatsPeriod
from vmtop.actions.desk import Desk
from vmtop.actions.errand import Errand
from vmtop.actions.ledger import OpenPeriod
from vmtop.actions.situation import find_subject
from vmtop.derive.condition import is_off
from vmtop.derive.frame import Frame


class PassingPeriods:
    """All periods of this run that are to be put back at its end."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._kept: list[OpenPeriod] = []

    def add(self, errand: Errand, command: SetStatsPeriod) -> None:
        """Promise to put back the period that is about to be set.

        Raises:
            AuditError: the promise cannot be written down.
        """
        promise = OpenPeriod(
            id=uuid.uuid4().hex,
            uri=self._desk.source.uri,
            uuid=command.uuid,
            vm=errand.vm,
            set_by=errand.id,
            period_s=command.period_s,
            before_s=errand.old or 0,
        )
        self._desk.ledger.open(promise)
        with self._desk.changed:
            self._kept.append(promise)

    def take_due(self, frame: Frame) -> list[OpenPeriod]:
        """Those that are to be kept now; forgets all, and lets go of those that are void.

        Raises:
            AuditError: a void one cannot be removed.
        """
        with self._desk.changed:
            kept, self._kept = self._kept, []
        done = {action.id for action in self._desk.shown() if action.outcome and action.outcome.ending is Ending.DONE}
        due = [promise for promise in kept if promise.set_by in done and is_standing(promise, frame)]
        for promise in kept:
            if promise not in due:
                self._desk.ledger.close(promise.id)
        return due


def is_standing(promise: OpenPeriod, frame: Frame) -> bool:
    """The period is still the one that vmtop set: it ends with the VM, and one of somebody else is theirs."""
    subject = find_subject(frame, promise.uuid)
    if subject is None or is_off(subject.sample) or subject.sample.facts is None:
        return False
    return subject.sample.facts.stats_period_s == promise.period_s


def put_back_command(promise: OpenPeriod) -> SetStatsPeriod:
    """What keeps a promise."""
    return SetStatsPeriod(uuid=promise.uuid, period_s=promise.before_s, expected_s=promise.period_s)
