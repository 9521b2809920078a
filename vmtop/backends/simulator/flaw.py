"""What is wrong with one guest, or with what can be asked of it; set by `fault`, read where it shows."""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True, eq=False)
class Flaws:
    """All is well by default. They end with the run of the guest."""

    has_hung_kernel: bool = False
    """Its kernel does nothing any more, while QEMU still answers."""
    hides_usable: bool = False
    """Its driver sends neither usable memory nor page cache."""
    clock_ahead_s: int = 0
    """Its figures bear a time so much later than it is."""
    refuses_balloon: bool = False
    """Setting its balloon fails inside QEMU."""
    has_hung_agent: bool = False
    """Its agent does not answer: file systems cannot be frozen."""
    refuses_snapshots: bool = False
    """Taking a snapshot of it fails."""
