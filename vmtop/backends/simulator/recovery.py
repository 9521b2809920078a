"""The backups in a folder of a simulated host, as they would be found there by their records."""

import re
from datetime import UTC, datetime

from vmtop.backends.simulator.disk import TARGET
from vmtop.backends.simulator.shared import SharedWorld
from vmtop.backends.simulator.store import RecoveryPoint
from vmtop.model.recovery import BackupFolder, BackupRecord, DiskCopy, StoredBackup
from vmtop.units import PAGE_BYTES

_STAMP = re.compile(r"\d{8}T\d{6}Z")
_STAMP_FORMAT = "%Y%m%dT%H%M%S%z"


def read_backups(shared: SharedWorld, folder: str, uuid: str) -> BackupFolder:
    """The complete backups of a VM below a folder, the oldest first; those that other programs keep are not there."""
    top = f"{folder.rstrip('/')}/"
    with shared.lock:
        guests = () if shared.world is None else shared.world.guests
        return BackupFolder(
            tuple(
                _stored(point, uuid, guest.plan.name)
                for guest in guests
                if guest.plan.uuid == uuid and shared.world is not None
                for point in shared.world.store.points(guest.plan)
                if point.name.startswith(top) and _STAMP.search(point.name)
            )
        )


def _stored(point: RecoveryPoint, uuid: str, name: str) -> StoredBackup:
    folder, _, file = point.name.rpartition("/")
    stamp = _stamp(point.name)
    record = BackupRecord(
        stamp=stamp,
        time_s=int(datetime.strptime(stamp.replace("Z", "+0000"), _STAMP_FORMAT).astimezone(UTC).timestamp()),
        uuid=uuid,
        name=name,
        kind=point.kind,
        since=None if point.parent is None else _stamp(point.parent),
        checkpoint=point.mark.name,
        disks=(DiskCopy(target=TARGET, file=file, image_format=file.rpartition(".")[2], capacity_bytes=None),),
        is_done=True,
    )
    return StoredBackup(folder=folder, record=record, missing=(), size_bytes=point.stored * PAGE_BYTES)


def _stamp(path: str) -> str:
    """The time in the name of a file; the name itself where it has none."""
    found = _STAMP.search(path.rpartition("/")[2])
    return path if found is None else found[0]
