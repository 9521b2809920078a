"""Figures as they stand inside a sentence, such as the cause of a level; tables have formats of their own."""

from collections.abc import Sequence

from vmtop.units import GIB, KIB, MIB, TIB

_SIZES = ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"))
_TIMES = ((86_400, "d"), (3_600, "h"), (60, "min"))
_FEW = 3


def _short(number: float) -> str:
    """One decimal below ten, none above and none where it would be a zero."""
    return f"{number:.1f}".removesuffix(".0") if abs(number) < 9.95 else f"{number:.0f}"


def size_words(size_bytes: float) -> str:
    """Say an amount of memory: 1.9 GiB."""
    for factor, unit in _SIZES:
        if size_bytes >= factor:
            return f"{_short(size_bytes / factor)} {unit}"
    return f"{size_bytes:.0f} B"


def rate_words(bytes_per_s: float) -> str:
    """Say how fast memory moves: 18 MiB/s."""
    return f"{size_words(bytes_per_s)}/s"


def percent_words(ratio: float) -> str:
    """Say a share: 0.031 is 3.1 %."""
    return f"{_short(100 * ratio)} %"


def duration_words(seconds: float) -> str:
    """Say how long: 12 s, 3 min, 1.5 h."""
    for factor, unit in _TIMES:
        if seconds >= 2 * factor:
            return f"{_short(seconds / factor)} {unit}"
    return f"{seconds:.0f} s"


def span_words(names: Sequence[str]) -> str:
    """A few names, or how many there are with the first and the last: "12, a to l"; for what has an order."""
    return ", ".join(names) if len(names) <= _FEW else f"{len(names)}, {names[0]} to {names[-1]}"
