"""What lies in a backup folder: the record that each backup leaves beside its files."""

from dataclasses import dataclass
from typing import NamedTuple

from vmtop.model.kind import BackupKind

RECORD_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCopy:
    """The file that holds one disk, or what changed on it."""

    target: str
    """The disk's name in the VM's definition: vda."""
    file: str
    """Name of the file, in the folder of its record."""
    image_format: str
    """qcow2 or raw."""
    capacity_bytes: int | None
    """What the guest sees. None where it was not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRecord:
    """One backup, as vmtop wrote it down. Names are foreign text: the file may come from anywhere."""

    stamp: str
    """Its time in UTC, which also names its files: 20260105T120000Z."""
    time_s: int
    """The same, seconds since 1970: disks are as they were then."""
    uuid: str
    name: str
    """Of the VM."""
    kind: BackupKind
    since: str | None
    """Stamp of the backup on which this one stands. None for a full one."""
    checkpoint: str | None
    """The checkpoint that it made in the VM. None for none."""
    disks: tuple[DiskCopy, ...]
    is_done: bool
    """It ended well; until then its files are worth nothing."""
    checked_s: int | None = None
    """When `qemu-img check` last found all its files whole. None for never."""
    damage: str | None = None
    """What the last check found wrong. None when nothing, or it was never checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBackup:
    """A record and what is really there."""

    folder: str
    """Absolute path."""
    record: BackupRecord
    missing: tuple[str, ...]
    """Files that should be there and are not."""
    size_bytes: int
    """Of the files that are there."""
    is_written: bool | None = False
    """A program has one of the files open to write: the backup goes on. None when that cannot be seen."""


class BackupFolder(NamedTuple):
    """What was found in a backup folder."""

    backups: tuple[StoredBackup, ...]
    """In no order that matters."""
    problems: tuple[str, ...] = ()
    """A sentence for each record that cannot be used; foreign text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPoint:
    """A time to which a VM can be put back, or could if nothing were missing."""

    backup: StoredBackup
    chain: tuple[StoredBackup, ...]
    """What it takes, the full backup first, this one last; as far as it was found."""
    problem: str | None
    """Why it cannot be restored. None when all is there."""

    @property
    def is_verified(self) -> bool:
        """Everything it takes is there and was found whole."""
        return self.problem is None and all(each.record.checked_s is not None for each in self.chain)
