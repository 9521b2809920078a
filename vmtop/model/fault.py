"""What can be made to go wrong in a source that simulates."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultInfo:
    """A line of the menu of faults."""

    fault_id: str
    sentence: str
    """What happens; of a VM without its name: "figures stop coming"."""
    is_for_vm: bool
    """It happens to one VM; otherwise to the host."""
    lasts_s: int
    """How long it lasts when it is injected by hand; 0 for an event that passes by itself."""
