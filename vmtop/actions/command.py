"""What an operator can ask for: frozen values that describe themselves.

A sentence holds names as they are, hostile ones, too: whoever shows it makes it safe.
"""

from dataclasses import dataclass
from typing import ClassVar

from vmtop.actions.size import size_text
from vmtop.derive.metrics import VmMetrics
from vmtop.derive.words import span_words
from vmtop.model.kind import SnapshotKind
from vmtop.model.sample import JobKind
from vmtop.model.storage import SnapshotRequest

_KIND_WORDS = {
    SnapshotKind.INTERNAL: "with memory, inside its disks",
    SnapshotKind.EXTERNAL: "with memory, while it runs",
    SnapshotKind.DISK_ONLY: "of its disks alone",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBalloon:
    """Change how much memory a VM has."""

    action: ClassVar[str] = "balloon"
    uuid: str
    target_bytes: int
    """As `balloon_bytes` counts: virtio-mem included."""
    is_forced: bool = False
    """The operator accepts figures that are old or do not come."""

    def sentence(self, vm: VmMetrics) -> str:
        """Say what is asked for: "set the balloon of web-1 to 2.0G, from 4.0G"."""
        before = "" if vm.balloon_bytes is None else f", from {size_text(vm.balloon_bytes)}"
        return f"set the balloon of {vm.name} to {size_text(self.target_bytes)}{before}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetStatsPeriod:
    """Change how often a guest sends its figures."""

    action: ClassVar[str] = "period"
    uuid: str
    period_s: int
    """0 for never."""
    is_forced: bool = False
    """Change it although another program may rely on the present one."""
    expected_s: int | None = None
    """Only if this is the present one: vmtop set it, and takes it back. None for any."""

    def sentence(self, vm: VmMetrics) -> str:
        """Say what is asked for."""
        how_often = f"every {self.period_s} s" if self.period_s else "no more"
        return f"have {vm.name} send its memory figures {how_often}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSnapshot:
    """Take a snapshot."""

    action: ClassVar[str] = "snapshot"
    uuid: str
    request: SnapshotRequest

    def sentence(self, vm: VmMetrics) -> str:
        """Say what is asked for."""
        frozen = ", file systems frozen" if self.request.is_quiesced else ""
        return f"take snapshot {self.request.name} of {vm.name}, {_KIND_WORDS[self.request.kind]}{frozen}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertSnapshot:
    """Put a VM back to a snapshot; its present state is lost."""

    action: ClassVar[str] = "revert"
    uuid: str
    name: str
    """Of the snapshot."""

    def sentence(self, vm: VmMetrics) -> str:
        """Say what is asked for."""
        return f"throw away the present state of {vm.name} for that of its snapshot {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSnapshot:
    """Delete one snapshot; the VM goes on as it is."""

    action: ClassVar[str] = "snapshot-delete"
    uuid: str
    name: str
    """Of the snapshot."""

    def sentence(self, vm: VmMetrics) -> str:
        """Say what is asked for."""
        return f"delete the snapshot {self.name} of {vm.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartBackup:
    """Copy all disks of a VM, or what changed on them, into files below a folder."""

    action: ClassVar[str] = "backup"
    uuid: str
    folder: str
    """Absolute path of a folder that exists, on the VM's host."""
    is_incremental: bool = False
    bytes_per_s: int | None = None
    """Most that each disk may move. None for no limit."""
    is_forced: bool = False
    """Start it although the host is short of memory."""

    def sentence(self, vm: VmMetrics) -> str:
        """Say what is asked for."""
        what = "what changed since the last backup" if self.is_incremental else "all disks"
        limit = "" if self.bytes_per_s is None else f", at most {size_text(self.bytes_per_s)}/s for each disk"
        return f"back up {what} of {vm.name} to {self.folder}{limit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteCheckpoints:
    """Delete checkpoints that good backups left; the backups themselves stay as they are."""

    action: ClassVar[str] = "checkpoint-delete"
    uuid: str
    names: tuple[str, ...]
    """The oldest first; none where none was found that may go."""

    def sentence(self, vm: VmMetrics) -> str:
        """Say what is asked for."""
        if not self.names:
            return f"delete checkpoints of {vm.name}"
        what = "the checkpoint" if len(self.names) == 1 else "the checkpoints"
        return f"delete {what} of {vm.name}: {span_words(self.names)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelJob:
    """Cancel the job that runs on a VM, or on one of its disks."""

    action: ClassVar[str] = "cancel"
    uuid: str
    kind: JobKind | None = None
    """Only if this is the job that runs. None for any."""
    disk: str | None = None
    """The disk whose job is meant. None for the job of the whole VM."""
    began_s: float | None = None
    """Only if the job began then, on the clock of the samples. None for any."""

    def sentence(self, vm: VmMetrics) -> str:
        """Say what is asked for."""
        return f"cancel the {_job_words(self, vm)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitJob:
    """Limit the rate of a running backup, or of the job of a disk."""

    action: ClassVar[str] = "limit"
    uuid: str
    bytes_per_s: int
    """For each disk; 0 for no limit."""
    kind: JobKind | None = None
    """Only if this is the job that runs. None for any."""
    disk: str | None = None
    """The disk whose job is meant. None for the backup of the whole VM."""
    began_s: float | None = None
    """Only if the job began then, on the clock of the samples. None for any."""

    def sentence(self, vm: VmMetrics) -> str:
        """Say what is asked for."""
        job = f"backup of {vm.name}" if self.disk is None else _job_words(self, vm)
        if not self.bytes_per_s:
            return f"let the {job} run as fast as it can"
        each = " for each disk" if self.disk is None else ""
        return f"limit the {job} to {size_text(self.bytes_per_s)}/s{each}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeVm:
    """Let a VM go on that an I/O error stopped."""

    action: ClassVar[str] = "resume"
    uuid: str

    def sentence(self, vm: VmMetrics) -> str:
        """Say what is asked for."""
        return f"let {vm.name} go on"


def _job_words(command: CancelJob | LimitJob, vm: VmMetrics) -> str:
    """Which job is meant: "block copy of vda of web-1"."""
    running = " and ".join(job.kind for job in vm.jobs if job.disk == command.disk)
    of_disk = "" if command.disk is None else f" of {command.disk}"
    return f"{command.kind or running or 'job'}{of_disk} of {vm.name}"


Command = (
    SetBalloon
    | SetStatsPeriod
    | TakeSnapshot
    | RevertSnapshot
    | DeleteSnapshot
    | StartBackup
    | DeleteCheckpoints
    | CancelJob
    | LimitJob
    | ResumeVm
)
