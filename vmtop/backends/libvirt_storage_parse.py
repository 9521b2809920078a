"""From libvirt's XML about disks, snapshots and checkpoints to ours. Pure, and tested with captured XML.

What is missing is None; what is broken is a ValueError, as everywhere with XML.
"""

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from vmtop.backends.libvirt_xml import parse_xml, whole_number
from vmtop.model.kind import SnapshotKind

AGENT_CHANNEL = "org.qemu.guest_agent.0"

_KINDS_BY_MEMORY = {"internal": SnapshotKind.INTERNAL, "external": SnapshotKind.EXTERNAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskXml:
    """A disk that can be written to, as the definition has it."""

    target: str
    path: str | None
    """File or block device on the host. None for any other source."""
    image_format: str
    has_block_job: bool
    """Its data is being copied or committed. Source: <mirror>."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotXml:
    """A snapshot, as `virsh snapshot-dumpxml VM NAME` prints it."""

    name: str
    parent: str | None
    kind: SnapshotKind
    created_s: int
    state: str
    memory_path: str | None
    """File of the memory. None unless the kind is EXTERNAL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointXml:
    """A checkpoint, as `virsh checkpoint-dumpxml VM NAME --size` prints it."""

    name: str
    created_s: int
    dirty_bytes: int | None
    """In all of its disks. None where the sizes were not asked for, or one of them is not told."""


def parse_disks(xml: str) -> tuple[DiskXml, ...]:
    """Disks in a definition, in its order; drives without a medium are left out."""
    return parse_disks_in(parse_xml(xml))


def parse_disks_in(domain: Element) -> tuple[DiskXml, ...]:
    """The same from a tree."""
    disks = []
    for disk in domain.findall("devices/disk"):
        target = disk.find("target")
        name = None if target is None else target.get("dev")
        can_be_written = disk.get("device") != "cdrom" and disk.find("readonly") is None
        if name and can_be_written and disk.find("source") is not None:
            disks.append(
                DiskXml(
                    target=name,
                    path=_source_path(disk),
                    image_format=_attribute(disk, "driver", "type") or "raw",
                    has_block_job=disk.find("mirror") is not None,
                )
            )
    return tuple(disks)


def parse_has_agent(xml: str) -> bool | None:
    """Whether the guest agent is connected; None where a live definition does not tell."""
    domain = parse_xml(xml)
    for channel in domain.findall("devices/channel/target"):
        if channel.get("name") == AGENT_CHANNEL:
            state = channel.get("state")
            is_off = domain.get("id") is None
            return None if state is None and not is_off else state == "connected"
    return False


def parse_snapshot(xml: str) -> SnapshotXml:
    """One snapshot."""
    snapshot = parse_xml(xml)
    kind = _snapshot_kind(snapshot)
    return SnapshotXml(
        name=_text(snapshot, "name") or "",
        parent=_text(snapshot, "parent/name"),
        kind=kind,
        created_s=whole_number(_text(snapshot, "creationTime") or "0"),
        state=_text(snapshot, "state") or "",
        memory_path=_attribute(snapshot, "memory", "file") if kind is SnapshotKind.EXTERNAL else None,
    )


def parse_checkpoint(xml: str) -> CheckpointXml:
    """One checkpoint."""
    checkpoint = parse_xml(xml)
    disks = [disk for disk in checkpoint.findall("disks/disk") if disk.get("checkpoint") != "no"]
    sizes = [disk.get("size") for disk in disks]
    known = [whole_number(size) for size in sizes if size is not None]
    return CheckpointXml(
        name=_text(checkpoint, "name") or "",
        created_s=whole_number(_text(checkpoint, "creationTime") or "0"),
        dirty_bytes=sum(known) if known and len(known) == len(sizes) else None,
    )


def parse_pool_path(xml: str) -> str | None:
    """The folder of a storage pool. None where it has none."""
    return _text(parse_xml(xml), "target/path")


def parse_backup_disks(xml: str) -> tuple[str, ...]:
    """Names of the disks in a backup that runs (`virsh backup-dumpxml VM`)."""
    disks = parse_xml(xml).findall("disks/disk")
    return tuple(name for disk in disks if disk.get("backup", "yes") == "yes" and (name := disk.get("name")))


def _snapshot_kind(snapshot: Element) -> SnapshotKind:
    memory = _attribute(snapshot, "memory", "snapshot")
    if memory in _KINDS_BY_MEMORY:
        return _KINDS_BY_MEMORY[memory]
    # Without memory: of a VM that was off, or of its disks only.
    how = {disk.get("snapshot") for disk in snapshot.findall("disks/disk")}
    return SnapshotKind.DISK_ONLY if "external" in how else SnapshotKind.INTERNAL


def _source_path(disk: Element) -> str | None:
    return _attribute(disk, "source", "file") or _attribute(disk, "source", "dev")


def _attribute(element: Element, path: str, name: str) -> str | None:
    found = element.find(path)
    return None if found is None else found.get(name)


def _text(element: Element, path: str) -> str | None:
    found = element.find(path)
    return None if found is None else found.text
