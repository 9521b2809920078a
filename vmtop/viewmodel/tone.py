"""The meaning of a piece of text. Only `vmtop.tui.theme` knows which colour a meaning has."""

from enum import StrEnum
from typing import NamedTuple


class Tone(StrEnum):
    """What a piece of text means to the operator."""

    NORMAL = "normal"
    DIM = "dim"
    """Beside the point: an idle rate, a label."""
    NAME = "name"
    TITLE = "title"
    """Head of a column or section."""
    SORTED = "sorted"
    """Head of the column that sorts."""
    KEY = "key"
    """A key to press."""
    OK = "ok"
    NOTE = "note"
    """Worth knowing; the level watch."""
    WARN = "warn"
    """The level soft."""
    HARD = "hard"
    CRITICAL = "critical"
    STALE = "stale"
    """Old figures."""
    UNKNOWN = "unknown"
    """A figure that is not known."""
    SIMULATED = "simulated"
    """The badge that says: none of this is real."""
    BAR_USED = "bar-used"
    BAR_CACHE = "bar-cache"
    BAR_FREE = "bar-free"
    BAR_GIVEN = "bar-given"
    """Given back by the balloon."""
    BAR_SHARED = "bar-shared"
    """Saved by page sharing."""
    BAR_OTHER = "bar-other"


class Span(NamedTuple):
    """A run of text with one meaning. The text is safe: see `vmtop.viewmodel.formats.safe_text`."""

    text: str
    tone: Tone


Line = tuple[Span, ...]
"""One line of the screen, left to right."""
