"""Disks, snapshots and checkpoints of one VM, folders to write into, as read on demand, and what can be asked for.

Unlike a sample, which is read all the time, these are read when somebody looks, or is about to act.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vmtop.model.kind import SnapshotKind
from vmtop.model.sample import NOTHING_UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotInfo:
    """A snapshot that exists."""

    name: str
    """Foreign text."""
    parent: str | None
    """Name of the snapshot that it stands on. None for a root."""
    kind: SnapshotKind
    created_s: int
    """Seconds since 1970 on the clock of the VM's host."""
    state: str
    """State of the VM at that moment, in libvirt's words: running, shutoff, disk-snapshot."""
    is_current: bool
    size_bytes: int | None
    """Memory and disk data that it holds. None where nobody tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointInfo:
    """A point from which an incremental backup can go on: a dirty bitmap in each disk."""

    name: str
    created_s: int
    dirty_bytes: int | None
    """What was written since: the size of the next incremental backup. Source: `virsh checkpoint-dumpxml --size`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskInfo:
    """A disk of a VM that can be written to. Source: its XML, virDomainGetBlockInfo (`virsh domblkinfo VM vda`)."""

    target: str
    """Name in the VM's definition: vda."""
    path: str | None
    """Image on the host. None for a disk that is no file or block device (network)."""
    image_format: str
    """qcow2, raw, ..."""
    capacity_bytes: int | None
    """What the guest sees."""
    allocation_bytes: int | None
    """What it takes on the host."""
    folder_free_bytes: int | None
    """Free in the folder of the image. None for a remote host or a disk that is no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolInfo:
    """A storage pool that is a folder. Source: `virsh pool-info --bytes POOL`, `virsh pool-dumpxml POOL`."""

    name: str
    path: str
    """Of the folder."""
    available_bytes: int
    """Free on its file system when libvirt last refreshed the pool, what is kept for root included: so more than QEMU
    may get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSample:
    """All that snapshots and backups of one VM depend on, read at one moment."""

    uuid: str
    monotonic_s: float
    disks: tuple[DiskInfo, ...]
    snapshots: tuple[SnapshotInfo, ...]
    """Parents before children."""
    checkpoints: tuple[CheckpointInfo, ...]
    """The oldest first."""
    has_agent: bool | None
    """The guest agent is connected, so file systems can be frozen. None where that is not known."""
    block_job_disk: str | None
    """A disk with a block job (commit, copy, pull). None when there is none."""
    libvirt_version: int
    """major * 1,000,000 + minor * 1,000 + release, of the daemon (`virsh version --daemon`)."""
    can_revert_external: bool
    """Reverting to external snapshots works (libvirt 9.9)."""
    pools: tuple[PoolInfo, ...] = ()
    """Of a host whose folders cannot be seen from here. Empty where they can, which tells more."""
    unknown: Mapping[str, str] = field(default_factory=lambda: NOTHING_UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSample:
    """A folder into which something is to be written, as read at one moment."""

    path: str
    exists: bool
    free_bytes: int | None
    """None where it does not exist or does not tell."""
    inner: str
    """Name of a folder inside it, whose files `names` are; empty for its own files."""
    names: frozenset[str]
    """Files that are there already."""
    worthless: frozenset[str] = frozenset()
    """Those that are not of a backup that can be restored."""
    device: int | None = None
    """Its file system, as a number. None where that is not known."""
    why_unseen: str | None = None
    """Why it, or the folder inside it, cannot be looked at, as a sentence. None when it was."""

    @property
    def usable(self) -> frozenset[str]:
        """Files from which a later backup can go on."""
        return self.names - self.worthless


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRequest:
    """A snapshot to take."""

    name: str
    kind: SnapshotKind
    memory_path: str | None = None
    """Absolute path of a new file for the memory. Only, and always, for EXTERNAL."""
    is_quiesced: bool = False
    """Have the guest agent freeze file systems meanwhile. Only for DISK_ONLY."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRequest:
    """A push backup to start."""

    targets: Mapping[str, str]
    """Disk (vda) -> absolute path of a new file; disks that are not named are left out."""
    formats: Mapping[str, str]
    """Disk -> format of that file: qcow2 or raw."""
    checkpoint: str | None
    """Name of the checkpoint to create, from which the next incremental backup goes on. None for none."""
    since: str | None = None
    """Checkpoint from which on changes are copied. None for all data."""
    bytes_per_s: int | None = None
    """Most that each disk may move. None for no limit."""
