"""What the guard says of a command."""

from dataclasses import dataclass
from enum import StrEnum


class Risk(StrEnum):
    """What a new balloon size means for the guest, in a word."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    SEVERE = "severe"
    UNKNOWN = "unknown"


class Consistency(StrEnum):
    """What a snapshot is worth after a revert, in a word."""

    COMPLETE = "complete"
    """Memory and disks of one moment."""
    FILE_SYSTEMS = "file systems"
    """Disks with file systems that were frozen: programs start anew from clean files."""
    CRASH = "crash"
    """Disks as a power failure would leave them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BalloonPreview:
    """What a new balloon size would mean."""

    from_bytes: int
    to_bytes: int
    usable_before_bytes: int | None
    """What guest programs can get without swapping. None when the guest does not tell."""
    usable_after_bytes: int | None
    """The same after the change, never below 0, if the guest goes on as it does."""
    floor_bytes: int | None
    """Least that should be left. None when it is not known what the VM uses."""
    is_host_view: bool
    """The floor comes from what the host holds for the VM, since the guest does not tell what it uses."""
    win_least_bytes: int | None
    """What the host wins for sure: what it holds for the guest beyond the new size, but no more than the change. Below
    it the guest may give memory that it never touched, which costs the host nothing and gives it nothing. 0 for a
    larger balloon; None when the VM's resident memory is unknown."""
    win_most_bytes: int | None
    """What the host wins if the guest gives nothing but memory that the host holds."""
    risk: Risk
    risk_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPreview:
    """What taking a snapshot would mean."""

    write_bytes: int | None
    """Memory that is written, at most. None when it is not known."""
    pause_s: float | None
    """For how long the guest stands still, expected. None when it is not known."""
    free_bytes: int | None
    """Free where it is written. None when that cannot be seen."""
    pool: str = ""
    """The storage pool that tells `free_bytes`, as of when it was last refreshed; empty where it was looked at."""
    consistency: Consistency
    is_revertible: bool
    """This libvirt can revert to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupPreview:
    """What a backup would mean."""

    write_bytes: int | None
    """What is copied, at most. None when a disk does not tell its size."""
    least_bytes: int | None
    """What is copied for sure. None when it is not known."""
    free_bytes: int | None
    """Free in the folder. None when that cannot be seen."""
    pool: str = ""
    """The storage pool that tells `free_bytes`, as of when it was last refreshed; empty where it was looked at."""
    promised_least_bytes: int
    """What other backups of this vmtop will still write into the same file system for sure ..."""
    promised_most_bytes: int | None
    """... and at most. None when it is not known."""
    files: tuple[str, ...]
    """Absolute paths of the files that it would make; the time in their names is that of the present reading."""
    since: str | None
    """Checkpoint from which on changes are copied. None for a full backup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPreview:
    """What deleting checkpoints would leave; the oldest come first."""

    deleted: tuple[str, ...]
    kept: tuple[str, ...]
    """Those of vmtop that stay. Incremental backups go on from the last of them; where there is none, the next backup
    has to be a full one."""
    foreign: tuple[str, ...]
    """Those of other programs, which stay, too."""


Preview = BalloonPreview | SnapshotPreview | BackupPreview | CheckpointPreview


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a command may be carried out; sentences hold raw names."""

    refusals: tuple[str, ...] = ()
    """Why not. Empty when it may."""
    already: str = ""
    """Why nothing is to be done: it is so already. Empty when there is something to do."""
    warnings: tuple[str, ...] = ()
    """What the operator should know."""
    needs_name: str = ""
    """Why the operator has to type the VM's name first. Empty when that is not needed."""
    preview: Preview | None = None
    """What it would mean, even of a refused command. None where there is nothing to foresee, as of what cannot work, or
    nothing is known."""
    refusal_code: int = 1
    """What a program returns that was refused; 4 where libvirt does not even let us look."""

    @property
    def is_refused(self) -> bool:
        """The command must not be carried out."""
        return bool(self.refusals)
