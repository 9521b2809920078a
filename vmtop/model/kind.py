"""Kinds of snapshots and backups."""

from enum import StrEnum


class SnapshotKind(StrEnum):
    """What a snapshot holds and where. Source: `virsh snapshot-dumpxml VM NAME`."""

    INTERNAL = "internal"
    """Disks and memory inside the qcow2 images; the guest stands still until all of its memory is written."""
    EXTERNAL = "external"
    """New overlays for the disks, memory in a file of its own, copied while the guest runs."""
    DISK_ONLY = "disk-only"
    """New overlays for the disks, nothing of the memory: what a power failure would leave."""


class BackupKind(StrEnum):
    """What a backup holds."""

    FULL = "full"
    """All data of the disks."""
    INCREMENTAL = "inc"
    """What changed since the backup before."""
