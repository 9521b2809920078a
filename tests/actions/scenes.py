"""Situations to judge commands in: a VM of 4 GiB that uses 1.5 GiB, its disks, and a source that can do everything."""

from dataclasses import replace
from typing import Any

from tests.builders import START_S, make_frame, make_vm, vm_uuid
from vmtop.actions.command import Command, SetBalloon
from vmtop.actions.guard import check
from vmtop.actions.situation import Situation
from vmtop.actions.verdict import Verdict
from vmtop.derive.frame import Frame
from vmtop.derive.metrics import Level
from vmtop.model.capability import EVERYTHING, Capability
from vmtop.model.kind import SnapshotKind
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import VmSample
from vmtop.model.storage import CheckpointInfo, DiskInfo, FolderSample, SnapshotInfo, StorageSample
from vmtop.units import GIB

ABLE = EVERYTHING
NAMES_ONLY = Capability(
    is_readonly=False,
    can_balloon=True,
    can_snapshot=True,
    snapshot_kinds=frozenset({SnapshotKind.INTERNAL}),
    has_real_disks=False,
)
"""As of libvirt's test driver."""
ID = vm_uuid(1)


def make_disk(**changes: Any) -> DiskInfo:
    """A qcow2 disk of 20 GiB, of which 5 GiB are written, in a folder with 100 GiB free."""
    values: dict[str, Any] = {
        "target": "vda",
        "path": "/images/web.qcow2",
        "image_format": "qcow2",
        "capacity_bytes": 20 * GIB,
        "allocation_bytes": 5 * GIB,
        "folder_free_bytes": 100 * GIB,
    }
    return DiskInfo(**{**values, **changes})


def make_storage(*disks: DiskInfo, **changes: Any) -> StorageSample:
    """One healthy disk, no snapshots, an agent, and a libvirt of today."""
    values: dict[str, Any] = {
        "uuid": ID,
        "monotonic_s": 5_000.0,
        "disks": disks or (make_disk(),),
        "snapshots": (),
        "checkpoints": (),
        "has_agent": True,
        "block_job_disk": None,
        "libvirt_version": 11_003_000,
        "can_revert_external": True,
    }
    return StorageSample(**{**values, **changes})


def make_snapshot(
    name: str, kind: SnapshotKind = SnapshotKind.INTERNAL, parent: str | None = None, state: str = "running"
) -> SnapshotInfo:
    """A snapshot of a running VM."""
    return SnapshotInfo(
        name=name, parent=parent, kind=kind, created_s=START_S, state=state, is_current=False, size_bytes=None
    )


def make_checkpoint(name: str = "vmtop-20231114T220000Z", dirty_bytes: int | None = 1 * GIB) -> CheckpointInfo:
    """A checkpoint since which 1 GiB was written."""
    return CheckpointInfo(name=name, created_s=START_S, dirty_bytes=dirty_bytes)


def make_folder(*names: str, free_bytes: int | None = 100 * GIB, exists: bool = True) -> FolderSample:
    """The folder /backup with 100 GiB free."""
    return FolderSample(path="/backup", exists=exists, free_bytes=free_bytes, inner="", names=frozenset(names))


def situate(vm: VmSample | None = None, **changes: Any) -> Situation:
    """Everything is known, and nothing stands against an action on the VM."""
    values: dict[str, Any] = {
        "frame": make_frame([make_vm() if vm is None else vm]),
        "policy": DEFAULT_POLICY,
        "capability": ABLE,
        "storage": make_storage(),
        "folder": make_folder(),
    }
    return Situation(**{**values, **changes})


def at_level(frame: Frame, level: Level) -> Frame:
    """The same frame of a host on this rung."""
    return replace(frame, host=replace(frame.host, level=level, cause="1.2 GiB available"))


def judge_balloon(target_bytes: int, vm: VmSample | None = None, *, is_forced: bool = False, **changes: Any) -> Verdict:
    """What the guard says of a balloon size."""
    command = SetBalloon(uuid=ID, target_bytes=target_bytes, is_forced=is_forced)
    return check(command, situate(vm, **changes))


def refusal(command: Command, now: Situation) -> str:
    """The one refusal of a command."""
    verdict = check(command, now)
    assert len(verdict.refusals) == 1, verdict.refusals
    return verdict.refusals[0]
