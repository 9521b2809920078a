"""Why there is no newer frame."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The source cannot be read at present; the last frame stays and grows old."""

    text: str
    """What, where and what now, in words; may hold foreign text."""
    since_monotonic_s: float
    """When the first of the failed readings began."""
    attempts: int
    """Failed readings in a row."""
    retry_s: float
    """Pause before the next reading."""
    exit_code: int
    """What a program that ends because of this returns. Source: `vmtop.errors`."""
