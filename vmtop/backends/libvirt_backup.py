"""Push backups through libvirt: what is asked for as XML, and limits, which libvirt sets disk by disk."""

from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from vmtop.backends.libvirt_storage_parse import parse_backup_disks
from vmtop.model.storage import BackupRequest


def build_backup_xml(request: BackupRequest, disks: Iterable[str]) -> str:
    """What virDomainBackupBegin takes.

    Args:
        request: what is asked for.
        disks: all disks of the VM; libvirt would back up those that are not named, to files of its own choice.
    """
    backup = Element("domainbackup", mode="push")
    if request.since is not None:
        SubElement(backup, "incremental").text = request.since
    element = SubElement(backup, "disks")
    for disk in sorted({*disks, *request.targets}):
        if disk not in request.targets:
            SubElement(element, "disk", name=disk, backup="no")
            continue
        each = SubElement(element, "disk", name=disk, backup="yes", type="file")
        SubElement(each, "driver", type=request.formats[disk])
        SubElement(each, "target", file=request.targets[disk])
    return tostring(backup, encoding="unicode")


def build_checkpoint_xml(request: BackupRequest, disks: Iterable[str]) -> str | None:
    """The checkpoint to create with a backup, of the same disks; None for none."""
    if request.checkpoint is None:
        return None
    checkpoint = Element("domaincheckpoint")
    SubElement(checkpoint, "name").text = request.checkpoint
    element = SubElement(checkpoint, "disks")
    for disk in sorted({*disks, *request.targets}):
        SubElement(element, "disk", name=disk, checkpoint="bitmap" if disk in request.targets else "no")
    return tostring(checkpoint, encoding="unicode")


def limit_backup(binding: Any, domain: Any, bytes_per_s: int) -> None:
    """Limit each disk of the backup that runs; a disk that is done already needs no limit.

    Raises:
        libvirtError: no backup runs, or libvirt refuses.
    """
    for disk in parse_backup_disks(domain.backupGetXMLDesc(0)):
        try:
            domain.blockJobSetSpeed(disk, bytes_per_s, binding.VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES)
        except binding.libvirtError:
            if not _is_copied(domain.blockJobInfo(disk, 0)):
                raise


def _is_copied(info: Mapping[str, int]) -> bool:
    """The job of a disk is gone, or about to go: QEMU refuses limits from its last byte on."""
    return not info or 0 < info["end"] <= info["cur"]
