"""What acting on a VM's disks depends on, read through libvirt at the moment when somebody is about to act."""

import os
from pathlib import Path
from typing import Any

from vmtop.backends.libvirt_job_parse import parse_block_job
from vmtop.backends.libvirt_link import NO_SUPPORT, OPERATION_INVALID, text_of
from vmtop.backends.libvirt_pool import read_pools
from vmtop.backends.libvirt_storage_parse import (
    DiskXml,
    SnapshotXml,
    parse_checkpoint,
    parse_disks,
    parse_has_agent,
    parse_snapshot,
)
from vmtop.model.kind import SnapshotKind
from vmtop.model.storage import CheckpointInfo, DiskInfo, PoolInfo, SnapshotInfo, StorageSample

REVERT_EXTERNAL_VERSION = 9_009_000
"""libvirt reverts to external snapshots from 9.9.0 on."""


def read_storage(
    binding: Any, connection: Any, uuid: str, *, elsewhere: str | None, now_s: float, is_qemu: bool
) -> StorageSample:
    """Disks, snapshots, checkpoints and agent of a VM.

    Args:
        binding: the libvirt module.
        connection: where to ask; it may be a read-only one.
        uuid: of the VM.
        elsewhere: why its files are not on this host; None when they are.
        now_s: the monotonic clock.
        is_qemu: the VM is one of QEMU's.

    Raises:
        libvirtError: the VM is gone, or does not answer.
        ValueError: libvirt's XML cannot be read.
    """
    reader = _StorageReader(binding, connection.lookupByUUIDString(uuid), elsewhere)
    xml = reader.domain.XMLDesc(0)
    disks = parse_disks(xml)
    version = connection.getLibVersion()
    has_agent = parse_has_agent(xml)
    if has_agent is None:
        reader.unknown["has_agent"] = "libvirt does not tell whether the agent is connected"
    return StorageSample(
        uuid=uuid,
        monotonic_s=now_s,
        disks=tuple(map(reader.read_disk, disks)),
        snapshots=reader.read_snapshots(),
        checkpoints=reader.read_checkpoints(),
        has_agent=has_agent,
        block_job_disk=next((disk.target for disk in disks if disk.has_block_job or reader.has_block_job(disk)), None),
        libvirt_version=version,
        can_revert_external=is_qemu and version >= REVERT_EXTERNAL_VERSION,
        pools=() if elsewhere is None else reader.read_pools(connection),
        unknown=reader.unknown,
    )


class _StorageReader:
    def __init__(self, binding: Any, domain: Any, elsewhere: str | None) -> None:
        self.domain = domain
        self.unknown: dict[str, str] = {}
        self._binding = binding
        self._elsewhere = elsewhere

    def read_disk(self, disk: DiskXml) -> DiskInfo:
        capacity = allocation = None
        try:
            capacity, allocation, _ = self.domain.blockInfo(disk.target)
        except self._binding.libvirtError as error:
            reason = f"libvirt does not tell it: {text_of(error)}"
            self.unknown |= {f"{disk.target}.{name}": reason for name in ("capacity_bytes", "allocation_bytes")}
        return DiskInfo(
            target=disk.target,
            path=disk.path,
            image_format=disk.image_format,
            capacity_bytes=capacity,
            allocation_bytes=allocation,
            folder_free_bytes=self._free_bytes(disk),
        )

    def read_snapshots(self) -> tuple[SnapshotInfo, ...]:
        binding, domain = self._binding, self.domain
        current = domain.snapshotCurrent(0).getName() if domain.hasCurrentSnapshot(0) else None
        snapshots = domain.listAllSnapshots(binding.VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL)
        found = (parse_snapshot(snapshot.getXMLDesc(0)) for snapshot in snapshots)
        return tuple(
            SnapshotInfo(
                name=each.name,
                parent=each.parent,
                kind=each.kind,
                created_s=each.created_s,
                state=each.state,
                is_current=each.name == current,
                size_bytes=self._size_bytes(each),
            )
            for each in found
        )

    def read_checkpoints(self) -> tuple[CheckpointInfo, ...]:
        binding = self._binding
        try:
            checkpoints = self.domain.listAllCheckpoints(binding.VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL)
        except binding.libvirtError as error:
            if error.get_error_code() != NO_SUPPORT:
                raise
            return ()
        # Only of the newest one: the next incremental backup goes on from there, and QEMU has to add up bitmaps for it.
        return tuple(
            self._read_checkpoint(checkpoint, is_newest=checkpoint is checkpoints[-1]) for checkpoint in checkpoints
        )

    def read_pools(self, connection: Any) -> tuple[PoolInfo, ...]:
        try:
            return read_pools(connection)
        except self._binding.libvirtError as error:
            # They are no part of the VM: whoever may not see them may act on it all the same.
            self.unknown["pools"] = f"libvirt does not tell of storage pools: {text_of(error)}"
            return ()

    def has_block_job(self, disk: DiskXml) -> bool:
        try:
            return parse_block_job(self.domain.blockJobInfo(disk.target, 0), disk.target) is not None
        except self._binding.libvirtError as error:
            if error.get_error_code() not in {NO_SUPPORT, OPERATION_INVALID}:
                raise
            return False

    def _read_checkpoint(self, checkpoint: Any, *, is_newest: bool) -> CheckpointInfo:
        binding = self._binding
        flags = binding.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN
        reason = "it is asked for the newest checkpoint only"
        found = None
        if is_newest:
            try:
                found = parse_checkpoint(checkpoint.getXMLDesc(flags | binding.VIR_DOMAIN_CHECKPOINT_XML_SIZE))
                reason = "libvirt does not tell it"
            except binding.libvirtError as error:
                reason = f"libvirt does not tell it: {text_of(error)}"
        if found is None:
            found = parse_checkpoint(checkpoint.getXMLDesc(flags))
        if found.dirty_bytes is None:
            self.unknown[f"{found.name}.dirty_bytes"] = reason
        return CheckpointInfo(name=found.name, created_s=found.created_s, dirty_bytes=found.dirty_bytes)

    def _size_bytes(self, snapshot: SnapshotXml) -> int | None:
        reason = "libvirt does not tell what it holds"
        if snapshot.kind is SnapshotKind.EXTERNAL and snapshot.memory_path is not None and self._elsewhere is None:
            try:
                return Path(snapshot.memory_path).stat().st_size
            except (OSError, ValueError) as error:
                reason = f"the file of its memory cannot be read: {error}"
        self.unknown[f"{snapshot.name}.size_bytes"] = self._elsewhere or reason
        return None

    def _free_bytes(self, disk: DiskXml) -> int | None:
        reason = self._elsewhere or "the disk is no file"
        if disk.path is not None and self._elsewhere is None:
            try:
                folder = os.statvfs(Path(disk.path).parent)
                return folder.f_bavail * folder.f_frsize
            except (OSError, ValueError) as error:
                reason = f"its folder cannot be looked at: {error}"
        self.unknown[f"{disk.target}.folder_free_bytes"] = reason
        return None
