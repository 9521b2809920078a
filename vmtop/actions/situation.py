"""What a command is judged by."""

from dataclasses import dataclass
from typing import NamedTuple

from vmtop.actions.promise import NOTHING, Promise
from vmtop.derive.frame import Frame
from vmtop.derive.guest import GuestUpdate
from vmtop.derive.metrics import VmMetrics
from vmtop.model.capability import Capability
from vmtop.model.policy import Policy
from vmtop.model.sample import Answer, VmSample
from vmtop.model.storage import FolderSample, StorageSample


class Newest(NamedTuple):
    """The newest frame and how old it is, in seconds."""

    frame: Frame
    age_s: float


class Subject(NamedTuple):
    """The VM that a command is about."""

    metrics: VmMetrics
    sample: VmSample
    update: GuestUpdate | None
    """The last figures that the guest sent. None when there were none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that counts when a command is judged."""

    frame: Frame
    policy: Policy
    capability: Capability
    age_s: float = 0.0
    """How old the frame is."""
    storage: StorageSample | None = None
    """Of the VM. None when it was not read; snapshots and backups are refused then."""
    folder: FolderSample | None = None
    """Where a backup or the memory of a snapshot goes. None for a host whose folders we cannot see."""
    promised: Promise = NOTHING
    """What other backups of this vmtop will still write into the file system of the folder."""
    is_unanswered: bool = False
    """An earlier action of vmtop on this VM got no answer yet."""
    is_balloon_due: bool = False
    """Its balloon was asked for a size at which it is not yet: to stay where it is, is a change then."""


def is_held(vm: VmSample) -> bool:
    """Something else held the VM when it was asked: a job that nobody tells of, or the question of another program."""
    return vm.answer is Answer.BUSY and not vm.jobs


def find_subject(frame: Frame, uuid: str) -> Subject | None:
    """The VM with this UUID. None when the source does not know it (any more)."""
    if uuid not in frame.roster.uuids:
        return None
    index = frame.roster.uuids.index(uuid)
    return Subject(frame.vms[index], frame.sample.vms[index], frame.guests.get(uuid))
