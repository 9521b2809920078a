"""Keeps the records of backups, of which recovery points are made.

A record is written right before a backup begins, so that its names are claimed and one whose end nobody saw is not
taken for good, and again when it ended well and its files were checked. Of a backup that failed neither files nor
record stay.
"""

from dataclasses import replace
from pathlib import Path

from vmtop.actions.action import BackupRun
from vmtop.actions.backup_plan import CHECKPOINT_PREFIX, backup_stamp
from vmtop.backends.backup_folder import read_backups, remove_backup, reserve, write_record
from vmtop.backends.base import Clock
from vmtop.backends.qemu_image import check_image
from vmtop.derive.recovery import derive_points
from vmtop.errors import ControlError, DamagedImageError
from vmtop.model.kind import BackupKind
from vmtop.model.recovery import BackupRecord, DiskCopy


class Recorder:
    """What a runner tells of its backups, kept beside their files; nothing where those are not on this machine."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, run: BackupRun) -> None:
        """Take note that a backup is about to begin, or ended.

        Raises:
            ControlError: the record cannot be written or is another's, what failed cannot be removed, or a file is
                damaged.
        """
        if not run.is_here:
            return
        folder, record = build_record(run)
        if run.is_over and run.is_good is False:
            remove_backup(folder, record)
        elif run.is_over and run.is_good:
            record = replace(record, is_done=True)
            # First without: a check takes time, and may be interrupted.
            write_record(folder, record)
            try:
                checked = check_backup_files(folder, record, self._clock.time())
            except ControlError:
                # It stays unverified, as its record says; the backup itself ended well.
                return
            write_record(folder, checked)
            if checked.damage is not None:
                raise DamagedImageError(checked.damage)
        elif not run.is_over:
            reserve(folder, record)


def build_record(run: BackupRun) -> tuple[str, BackupRecord]:
    """The folder of a backup, and its record as of the begin."""
    request = run.request
    capacities = {disk.target: disk.capacity_bytes for disk in run.disks}
    disks = tuple(
        DiskCopy(
            target=disk,
            file=Path(path).name,
            image_format=request.formats[disk],
            capacity_bytes=capacities.get(disk),
        )
        for disk, path in request.targets.items()
    )
    folder = str(Path(next(iter(request.targets.values()))).parent)
    return folder, BackupRecord(
        stamp=backup_stamp(run.began_s),
        time_s=int(run.began_s),
        uuid=run.uuid,
        name=run.vm,
        kind=BackupKind.FULL if request.since is None else BackupKind.INCREMENTAL,
        since=None if request.since is None else request.since.removeprefix(CHECKPOINT_PREFIX),
        checkpoint=request.checkpoint,
        disks=disks,
        is_done=False,
    )


def check_backup_files(folder: str, record: BackupRecord, now_s: float) -> BackupRecord:
    """The record of a backup with what `qemu-img check` says of its files now; damage is part of that.

    Raises:
        ControlError: they cannot be checked: they may not be read by us, or `qemu-img` is missing.
    """
    try:
        for disk in record.disks:
            check_image(str(Path(folder, disk.file)), disk.image_format, disk.capacity_bytes)
    except DamagedImageError as error:
        return replace(record, checked_s=None, damage=str(error))
    return replace(record, checked_s=int(now_s), damage=None)


def files_without_worth(folder: str) -> frozenset[str]:
    """Names in a folder from which no later backup may go on: no record of a backup without a problem has them."""
    try:
        backups, _ = read_backups(folder)
        names = frozenset(item.name for item in Path(folder).iterdir())
    except (ControlError, OSError):  # no folder, no files; why it cannot be seen is told by whoever looks at it
        return frozenset()
    good = [point.backup for point in derive_points(backups) if point.problem is None]
    here = str(Path(folder).absolute())
    return names.difference(disk.file for each in good if each.folder == here for disk in each.record.disks)
