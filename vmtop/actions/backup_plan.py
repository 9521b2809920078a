"""From "back up this VM to that folder" to the files and the checkpoint of one backup. Pure.

    FOLDER/web-1-5f2c1a90/20260105T120000Z.full.vda.qcow2
    FOLDER/web-1-5f2c1a90/20260105T130000Z.inc.vda.qcow2

On a host whose folders we cannot see nobody makes the inner one, so that the files lie in the given folder itself:

    FOLDER/web-1-5f2c1a90.20260105T120000Z.full.vda.qcow2

The name of a checkpoint is `CHECKPOINT_PREFIX` and the time of its backup, so files and checkpoints find each other.
Checkpoints without the prefix belong to other programs and are neither used nor deleted.
"""

import re
from collections.abc import Collection
from datetime import UTC, datetime

from vmtop.actions.command import StartBackup
from vmtop.derive.metrics import VmMetrics
from vmtop.model.storage import BackupRequest, CheckpointInfo, StorageSample

CHECKPOINT_PREFIX = "vmtop-"

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 64
_STAMP = "%Y%m%dT%H%M%SZ"


def vm_folder(name: str, uuid: str) -> str:
    """Name of the folder of a VM's backups: harmless whatever the VM is called, and its own even for equal names."""
    safe = _UNSAFE.sub("_", name)[:_LONGEST_NAME].lstrip(".-") or "vm"
    return f"{safe}-{_UNSAFE.sub('_', uuid)[:8]}"


def backup_stamp(time_s: float) -> str:
    """The time of a backup as it stands in its names, in UTC: 20260105T120000Z."""
    return datetime.fromtimestamp(time_s, UTC).strftime(_STAMP)


def is_ours(checkpoint: str) -> bool:
    """This checkpoint was made by vmtop."""
    return checkpoint.startswith(CHECKPOINT_PREFIX)


def find_base(storage: StorageSample, existing: Collection[str] | None) -> CheckpointInfo | None:
    """The newest checkpoint of ours from which an incremental backup into a folder can go on.

    Args:
        storage: Disks and checkpoints of the VM.
        existing: Files in the folder: a checkpoint counts only when the backup that made it is there, for every disk.
            None when the folder cannot be seen.

    Returns:
        None when there is no such checkpoint.
    """
    for checkpoint in reversed(storage.checkpoints):
        if not is_ours(checkpoint.name):
            continue
        stamp = checkpoint.name.removeprefix(CHECKPOINT_PREFIX)
        if existing is None or all(_is_kept(stamp, disk.target, existing) for disk in storage.disks):
            return checkpoint
    return None


def _is_kept(stamp: str, target: str, existing: Collection[str]) -> bool:
    return any(f"{stamp}.{kind}.{target}.qcow2" in existing for kind in ("full", "inc"))


def plan_backup(
    command: StartBackup, vm: VmMetrics, storage: StorageSample, now_s: float, existing: Collection[str] | None
) -> BackupRequest:
    """Name the files and the checkpoint of a backup.

    Full backups of VMs whose disks are all qcow2 make a checkpoint, so that incremental ones can follow.

    Args:
        command: What is asked for.
        vm: Gives the folder its name.
        storage: Its disks and checkpoints.
        now_s: Wall clock, seconds since 1970: the name of the backup.
        existing: Files in the VM's folder, as in `find_base`; None also when that folder cannot be made.
    """
    stamp = backup_stamp(now_s)
    begin = f"{command.folder.rstrip('/')}/{vm_folder(vm.name, vm.uuid)}{'.' if existing is None else '/'}{stamp}"
    kind = "inc" if command.is_incremental else "full"
    formats = {disk.target: "qcow2" if disk.image_format == "qcow2" else "raw" for disk in storage.disks}
    base = find_base(storage, existing) if command.is_incremental else None
    return BackupRequest(
        targets={disk: f"{begin}.{kind}.{_UNSAFE.sub('_', disk)}.{form}" for disk, form in formats.items()},
        formats=formats,
        checkpoint=CHECKPOINT_PREFIX + stamp if set(formats.values()) == {"qcow2"} else None,
        since=None if base is None else base.name,
        bytes_per_s=command.bytes_per_s,
    )
