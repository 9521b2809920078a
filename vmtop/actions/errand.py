"""A command under way, as the runner keeps it."""

from dataclasses import dataclass
from math import inf

from vmtop.actions.action import Action, Outcome
from vmtop.actions.balloon_move import BalloonMove
from vmtop.actions.command import CancelJob, Command, LimitJob, ResumeVm
from vmtop.actions.promise import Claim
from vmtop.actions.verdict import Verdict
from vmtop.model.storage import BackupRequest, DiskInfo

URGENT = (CancelJob, LimitJob, ResumeVm)
"""These help with what blocks others, so they do not wait behind it."""


@dataclass(slots=True, kw_only=True)
class RunningBackup:
    """A backup that was begun and whose end was not seen."""

    request: BackupRequest
    disks: tuple[DiskInfo, ...]
    began_s: float
    """Clock of the samples."""
    began_monotonic_s: float
    asked_s: float = inf
    """Wall clock right before libvirt was asked, on a simulated host its clock: what began before is another's."""
    doubt: str = ""
    """Why nobody knows whether it began, for its outcome; empty when it did."""
    was_seen: bool = False
    gone_s: float | None = None
    """Monotonic clock of the samples, since it is not seen any more. None while it is."""
    is_ending: bool = False
    is_inherited: bool = False
    """An earlier run of vmtop began it, so that its end may have been told when nobody listened."""
    look_s: float = 0.0
    """Monotonic clock of the samples: when to ask, again, how it ended."""
    has_folder: bool
    """Its files are on this machine."""


@dataclass(slots=True, kw_only=True, eq=False)
class Errand:
    """One command from the moment it was handed over; changed under the runner's lock only."""

    id: str
    command: Command
    vm: str
    sentence: str
    confirmed_name: str
    undoes: str | None
    is_passing: bool = False
    """What it changes is put back when this program ends."""
    entry_id: str = ""
    """Of the ledger's entry that it crosses out when it is done. Empty for none but its own."""
    time_s: float
    """Wall clock, when it was handed over."""
    begun_s: float
    """Monotonic clock at the same moment."""
    ended_s: float | None = None
    deadline_s: float | None = None
    """Monotonic clock. None while nobody waits for an answer."""
    progress: str = "waiting"
    verdict: Verdict | None = None
    outcome: Outcome | None = None
    old: int | None = None
    new: int | None = None
    is_calling: bool = False
    is_replaced: bool = False
    """A newer size is about to be asked of the same balloon."""
    is_ended: bool = False
    move: BalloonMove | None = None
    backup: RunningBackup | None = None
    claim: Claim | None = None
    """Room that its backup takes, from the moment at which it may begin. None where that is not known."""

    @property
    def is_over(self) -> bool:
        """Nothing more is to be asked of the hypervisor."""
        return self.is_ended or self.is_replaced

    @property
    def is_forced(self) -> bool:
        """The command insists where it can."""
        return bool(getattr(self.command, "is_forced", False))

    @property
    def lane(self) -> tuple[str, bool]:
        """Errands with the same lane go one after another."""
        return self.command.uuid, isinstance(self.command, URGENT)

    def shown(self, now_s: float) -> Action:
        """The errand as others may see it, at this time of the monotonic clock."""
        until_s = now_s if self.ended_s is None else self.ended_s
        return Action(
            id=self.id,
            command=self.command,
            vm=self.vm,
            sentence=self.sentence,
            submitted_s=self.time_s,
            elapsed_s=max(0.0, until_s - self.begun_s),
            progress="" if self.is_ended and self.outcome is not None else self.progress,
            verdict=self.verdict,
            outcome=self.outcome,
        )
