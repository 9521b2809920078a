"""What a command is judged by."""

from dataclasses import dataclass
from typing import NamedTuple

from vmtop.actions.promise import NOTHING, Promise
from vmtop.derive.frame import Frame
from vmtop.derive.guest import GuestUpdate
from vmtop.derive.metrics import VmMetrics
from vmtop.model.capability import Capability
from vmtop.model.policy import Policy
from vmtop.model.sample import VmSample
from vmtop.model.storage import StorageSample


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
class FolderSample:
    """A folder into which something is to be written, as read at one moment."""

    path: str
    exists: bool
    free_bytes: int | None
    """None where it does not exist or does not tell."""
    inner: str
    """Name of a folder inside it, whose files `names` are; empty for its own files."""
    names: frozenset[str]
    """Files that are there already."""
    worthless: frozenset[str] = frozenset()
    """Those that are not of a backup that can be restored."""
    device: int | None = None
    """Its file system, as a number. None where that is not known."""
    why_unseen: str | None = None
    """Why it, or the folder inside it, cannot be looked at, as a sentence. None when it was."""

    @property
    def usable(self) -> frozenset[str]:
        """Files from which a later backup can go on."""
        return self.names - self.worthless


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


def find_subject(frame: Frame, uuid: str) -> Subject | None:
    """The VM with this UUID. None when the source does not know it (any more)."""
    if uuid not in frame.roster.uuids:
        return None
    index = frame.roster.uuids.index(uuid)
    return Subject(frame.vms[index], frame.sample.vms[index], frame.guests.get(uuid))
