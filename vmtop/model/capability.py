"""What a backend can do. Keys are shown by ability, never by the name of a backend."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """Abilities of one backend on one connection."""

    is_readonly: bool = True
    """Nothing can be changed at all."""
    can_balloon: bool = False
    can_snapshot: bool = False
    can_backup: bool = False
    """What its `Control` can do."""
    has_events: bool = False
    """The source announces changes; without it they are seen at the next sample."""
