"""Chains of backups: which points in time a VM can be put back to."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from vmtop.model.kind import BackupKind
from vmtop.model.recovery import RecoveryPoint, StoredBackup

_UNFINISHED: Mapping[bool | None, str] = MappingProxyType(
    {
        True: "is still being written",
        False: "never ended",
        None: "was not finished when it was last written down; whether it still runs cannot be seen",
    }
)
"""Whether its files are written -> what is said of a backup that is not done."""


def derive_points(backups: Sequence[StoredBackup]) -> tuple[RecoveryPoint, ...]:
    """The recovery points of one VM, the oldest first, good and bad ones."""
    by_stamp = {each.record.stamp: each for each in backups}
    return tuple(_point(each, by_stamp) for each in sorted(backups, key=lambda each: each.record.time_s))


def last_good(points: Sequence[RecoveryPoint]) -> RecoveryPoint | None:
    """The newest point that can be restored. None when there is none."""
    return next((each for each in reversed(points) if each.problem is None), None)


def point_at(points: Sequence[RecoveryPoint], at_s: float) -> RecoveryPoint | None:
    """The newest point that is not later than a time. None when all are later."""
    return next((each for each in reversed(points) if each.backup.record.time_s <= at_s), None)


def _point(backup: StoredBackup, by_stamp: dict[str, StoredBackup]) -> RecoveryPoint:
    chain: list[StoredBackup] = []
    problem = None
    each = backup
    while True:
        chain.append(each)
        problem = problem or _own_problem(each)
        since = each.record.since
        if each.record.kind is BackupKind.FULL:
            break
        before = None if since is None else by_stamp.get(since)
        if before is None:
            problem = problem or f"the backup {since} on which {each.record.stamp} stands is not there"
            break
        if before in chain:
            problem = problem or f"{each.record.stamp} and {since} stand on each other"
            break
        problem = problem or _gap(each, before)
        each = before
    return RecoveryPoint(backup=backup, chain=tuple(reversed(chain)), problem=problem)


def _own_problem(backup: StoredBackup) -> str | None:
    record = backup.record
    if not record.is_done:
        return f"{record.stamp} {_UNFINISHED[backup.is_written]}"
    if backup.missing:
        return f"{record.stamp}: {', '.join(backup.missing)} is not there"
    return None if record.damage is None else f"{record.stamp}: {record.damage}"


def _gap(backup: StoredBackup, before: StoredBackup) -> str | None:
    """A disk that the backup below does not have."""
    below = {disk.target for disk in before.record.disks}
    lost = [disk.target for disk in backup.record.disks if disk.target not in below]
    return f"{before.record.stamp} does not have {', '.join(lost)}" if lost else None
