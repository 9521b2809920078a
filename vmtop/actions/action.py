"""What became of a command, as front ends see it."""

from dataclasses import dataclass
from enum import StrEnum

from vmtop.actions.command import Command
from vmtop.actions.verdict import Verdict
from vmtop.model.storage import BackupRequest, DiskInfo


class Ending(StrEnum):
    """How an action ended."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    """By the guard, or for want of an audit: nothing was done."""
    PENDING = "pending"
    """No answer within the deadline; it may still be carried out, and then the ending changes."""
    CANCELLED = "cancelled"
    """Somebody ended it before it was complete."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended, and why, in words that may hold foreign text."""

    ending: Ending
    text: str
    failure_code: int = 1
    """What a program returns when it did not end well; 4 when libvirt does not allow it."""

    @property
    def exit_code(self) -> int:
        """What a program returns whose action ended like this."""
        return 0 if self.ending is Ending.DONE else self.failure_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A command that was handed to the runner."""

    id: str
    command: Command
    vm: str
    """Name of the VM, raw; its UUID where no VM has that."""
    sentence: str
    submitted_s: float
    """Wall clock, seconds since 1970."""
    elapsed_s: float
    """Since it was submitted, until it ended or now."""
    progress: str
    """What it does at present, in words: waiting, asking, moving, copying. Empty when it has ended."""
    verdict: Verdict | None
    """What the guard said right before the call. None before."""
    outcome: Outcome | None
    """None while it goes on."""

    @property
    def is_over(self) -> bool:
        """It ended, and how is known for good."""
        return self.outcome is not None and self.outcome.ending is not Ending.PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRun:
    """A backup that began, or ended; what recovery points are made of."""

    uuid: str
    vm: str
    uri: str
    request: BackupRequest
    is_here: bool
    """Its files are on this machine, and real."""
    disks: tuple[DiskInfo, ...]
    """The VM's disks when it began."""
    began_s: float
    """Clock of the samples, seconds since 1970; `backup_plan.backup_stamp` makes the stamp of its files from it."""
    is_over: bool
    is_good: bool | None
    """None while it runs, and when nobody told how it ended; then its files may be incomplete."""
    error: str | None
    """Why it failed; foreign text."""
    processed_bytes: int | None
