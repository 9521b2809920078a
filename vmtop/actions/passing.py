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
        """See to it that the period which is about to be set is put back.

        Raises:
            AuditError: that cannot be written down.
        """
        period = OpenPeriod(
            id=uuid.uuid4().hex,
            uri=self._desk.source.uri,
            uuid=command.uuid,
            vm=errand.vm,
            set_by=errand.id,
            period_s=command.period_s,
            before_s=errand.old or 0,
        )
        self._desk.ledger.open(period)
        with self._desk.changed:
            self._kept.append(period)

    def take_due(self, frame: Frame) -> list[OpenPeriod]:
        """Those that are to be put back now; forgets them, and crosses out those that are void.

        Those of which nothing is known yet stay: whoever has time asks again, and else the next run sees to them.

        Raises:
            AuditError: a void one cannot be removed.
        """
        refused = {
            action.id for action in self._desk.shown() if action.outcome and action.outcome.ending is Ending.REFUSED
        }
        with self._desk.changed:
            kept = self._kept
            standing = {each: False if each.set_by in refused else is_standing(each, frame) for each in kept}
            self._kept = [each for each in kept if standing[each] is None]
        for period, is_so in standing.items():
            if is_so is False:
                self._desk.ledger.close(period.id)
        return [period for period, is_so in standing.items() if is_so]

    @property
    def is_waiting(self) -> bool:
        """Of some it is not known yet whether they are to be put back."""
        return bool(self._kept)


def is_standing(period: OpenPeriod, frame: Frame) -> bool | None:
    """The period is still the one that vmtop set: it ends with the VM, and one of somebody else is theirs.

    None while the VM's definition was not read, or tells of the one before, which may be from before it was set.
    """
    subject = find_subject(frame, period.uuid)
    if subject is None or is_off(subject.sample):
        return False
    present_s = None if subject.sample.facts is None else subject.sample.facts.stats_period_s
    if present_s in {None, period.before_s}:
        return None
    return present_s == period.period_s


def put_back_command(period: OpenPeriod) -> SetStatsPeriod:
    """What puts it back."""
    return SetStatsPeriod(uuid=period.uuid, period_s=period.before_s, expected_s=period.period_s)
