"""What a backend can do. Keys are shown by ability, never by the name of a backend."""

from dataclasses import dataclass

from vmtop.model.kind import SnapshotKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """Abilities of one backend on one connection."""

    is_readonly: bool = True
    """Nothing can be changed at all."""
    can_balloon: bool = False
    can_snapshot: bool = False
    can_backup: bool = False
    """What its `Control` can do."""
    snapshot_kinds: frozenset[SnapshotKind] = frozenset(SnapshotKind)
    """Those that the driver knows, where `can_snapshot`; whether a VM has what they need is another question."""
    has_real_disks: bool = True
    """Snapshots hold data. False for VMs of names only: nothing is written, and no image has to be able to hold it."""
    has_events: bool = False
    """The source announces changes; without it they are seen at the next sample."""


EVERYTHING = Capability(is_readonly=False, can_balloon=True, can_snapshot=True, can_backup=True)
"""All that vmtop knows to do."""
