"""Tones to colours; nothing else in vmtop knows a colour.

Colour is never the only sign: what is wrong is bold or reversed, too, and said in a word or a mark. The hues are blue
and orange with teal and violet, which people who cannot tell red from green keep apart.

A terminal does not tell which background it has. So the hues that are used when nobody chose a theme are as far from
black as from white (relative luminance 0.18: a contrast of 4.5 with both, WCAG 2 level AA), and text that means nothing
special has the terminal's own colour.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.theme import Theme

from vmtop.viewmodel.tone import Span, Tone

OWN_COLORS = "ansi-dark"
"""The theme of Textual that leaves colours and background to the terminal, which need not be dark."""


class Ground(StrEnum):
    """What a text stands on."""

    PLAIN = "plain"
    HEAD = "head"
    """Heads of columns."""
    TOTAL = "total"
    """The row of totals."""
    CURSOR = "cursor"
    """The row or line with the cursor."""


class Hue(StrEnum):
    """A colour by name; each scheme says which one it is."""

    PLAIN = "plain"
    GREY = "grey"
    BLUE = "blue"
    TEAL = "teal"
    ORANGE = "orange"
    RED = "red"
    VIOLET = "violet"


class Scheme(NamedTuple):
    """Colours and attributes as Rich writes them."""

    hues: Mapping[Hue, str]
    cursor_hues: Mapping[Hue, str]
    """On the cursor's ground, which is a colour of ours."""
    grounds: Mapping[Ground, str]


LOOKS: Mapping[Tone, tuple[Hue, str]] = {
    Tone.NORMAL: (Hue.PLAIN, ""),
    Tone.DIM: (Hue.GREY, ""),
    Tone.NAME: (Hue.PLAIN, ""),
    Tone.TITLE: (Hue.GREY, "bold"),
    Tone.SORTED: (Hue.BLUE, "bold"),
    Tone.KEY: (Hue.BLUE, "bold"),
    Tone.OK: (Hue.BLUE, "bold"),
    Tone.NOTE: (Hue.TEAL, "bold"),
    Tone.WARN: (Hue.ORANGE, "bold"),
    Tone.HARD: (Hue.RED, "bold"),
    Tone.CRITICAL: (Hue.RED, "bold reverse"),
    Tone.STALE: (Hue.GREY, "italic"),
    Tone.UNKNOWN: (Hue.GREY, ""),
    Tone.SIMULATED: (Hue.VIOLET, "bold reverse"),
    Tone.BAR_USED: (Hue.BLUE, ""),
    Tone.BAR_CACHE: (Hue.TEAL, ""),
    Tone.BAR_FREE: (Hue.GREY, ""),
    Tone.BAR_GIVEN: (Hue.GREY, ""),
    Tone.BAR_SHARED: (Hue.VIOLET, ""),
    Tone.BAR_OTHER: (Hue.ORANGE, ""),
}

_ON_BLUE = {
    Hue.PLAIN: "",
    Hue.GREY: "#d0d0d0",
    Hue.BLUE: "#afd7ff",
    Hue.TEAL: "#afffff",
    Hue.ORANGE: "#ffd7af",
    Hue.RED: "#ffd7d7",
    Hue.VIOLET: "#ffd7ff",
}
_GROUNDS = {
    Ground.PLAIN: "",
    Ground.HEAD: "underline",
    Ground.TOTAL: "bold",
    Ground.CURSOR: "#ffffff on #005f87",
}
_REVERSED = _GROUNDS | {Ground.CURSOR: "reverse"}
_NO_HUES = dict.fromkeys(Hue, "")

NEUTRAL = Scheme(
    hues={
        Hue.PLAIN: "",
        Hue.GREY: "#757575",
        Hue.BLUE: "#1778cc",
        Hue.TEAL: "#00847f",
        Hue.ORANGE: "#c55200",
        Hue.RED: "#e12b2b",
        Hue.VIOLET: "#a354be",
    },
    cursor_hues=_ON_BLUE,
    grounds=_GROUNDS,
)
"""For any background."""

DARK = Scheme(
    hues={
        Hue.PLAIN: "",
        Hue.GREY: "#949494",
        Hue.BLUE: "#5fafff",
        Hue.TEAL: "#5fd7d7",
        Hue.ORANGE: "#ffaf5f",
        Hue.RED: "#ff875f",
        Hue.VIOLET: "#d7afff",
    },
    cursor_hues=_ON_BLUE,
    grounds=_GROUNDS,
)

_DEEP = {
    Hue.PLAIN: "",
    Hue.GREY: "#585858",
    Hue.BLUE: "#005faf",
    Hue.TEAL: "#005f5f",
    Hue.ORANGE: "#875f00",
    Hue.RED: "#af0000",
    Hue.VIOLET: "#8700af",
}
LIGHT = Scheme(hues=_DEEP, cursor_hues=_DEEP, grounds=_GROUNDS | {Ground.CURSOR: "#000000 on #afd7ff"})

SIXTEEN = Scheme(
    hues={
        Hue.PLAIN: "",
        Hue.GREY: "dim",
        Hue.BLUE: "bright_blue",
        Hue.TEAL: "cyan",
        Hue.ORANGE: "magenta",
        Hue.RED: "red",
        Hue.VIOLET: "magenta",
    },
    cursor_hues=_NO_HUES,
    grounds=_REVERSED,
)
"""For terminals with 16 colours, whatever these look like: names that are legible on black and on white."""

MONOCHROME = Scheme(hues=_NO_HUES | {Hue.GREY: "dim"}, cursor_hues=_NO_HUES, grounds=_REVERSED)
"""For NO_COLOR."""


NO_STYLE = Style()


class Palette:
    """The styles of one scheme; the same tone on the same ground is the identical object, so comparing is cheap."""

    def __init__(self, scheme: Scheme, base: Style = NO_STYLE) -> None:
        """`base`: colours of plain text, of a theme that does not leave them to the terminal."""
        self._scheme = scheme
        self._base = base
        self._brushes: dict[tuple[Ground, bool], dict[Tone, Style]] = {}

    def style(self, tone: Tone, ground: Ground = Ground.PLAIN, *, is_stale: bool = False) -> Style:
        """How this tone looks on this ground; what is stale has lost its colours."""
        return self._brush(ground, is_stale)[tone]

    def blank(self, ground: Ground = Ground.PLAIN) -> Style:
        """How empty cells look on this ground."""
        return self.style(Tone.NORMAL, ground)

    def segments(
        self, spans: Iterable[Span], ground: Ground = Ground.PLAIN, *, is_stale: bool = False
    ) -> list[Segment]:
        """Spans as what Textual draws, one segment each."""
        brush = self._brush(ground, is_stale)
        return [Segment(text, brush[tone]) for text, tone in spans if text]

    def _brush(self, ground: Ground, is_stale: bool) -> dict[Tone, Style]:
        brush = self._brushes.get((ground, is_stale))
        if brush is None:
            brush = {tone: self._make_style(tone, ground, is_stale) for tone in Tone}
            self._brushes[ground, is_stale] = brush
        return brush

    def _make_style(self, tone: Tone, ground: Ground, is_stale: bool) -> Style:
        hue, attributes = LOOKS[Tone.STALE if is_stale else tone]
        hues = self._scheme.cursor_hues if ground is Ground.CURSOR else self._scheme.hues
        if self._scheme.grounds[ground] == "reverse":
            attributes = attributes.replace("reverse", "not reverse")
        words = self._scheme.grounds[ground], hues[hue], attributes
        return Style.combine((self._base, *map(Style.parse, words)))


def make_palette(
    theme: Theme | None, variables: Mapping[str, str], *, has_many_colors: bool, has_color: bool
) -> Palette:
    """The palette for a terminal and a theme.

    Args:
        theme: what somebody chose; None where nobody did.
        variables: the colours of that theme by name, in CSS.
        has_many_colors: the terminal has 256 or more.
        has_color: False where NO_COLOR is set.
    """
    scheme = choose_scheme(
        is_chosen=theme is not None,
        is_dark=theme is not None and theme.dark,
        has_many_colors=has_many_colors,
        has_color=has_color,
    )
    if theme is None or theme.ansi or not has_color:
        return Palette(scheme)
    ink, paper = (Color.parse(variables[name]).rich_color for name in ("foreground", "background"))
    return Palette(scheme, Style.from_color(ink, paper))


def choose_scheme(*, is_chosen: bool, is_dark: bool, has_many_colors: bool, has_color: bool) -> Scheme:
    """The scheme for a terminal and a theme.

    Args:
        is_chosen: somebody chose a theme, so that `is_dark` tells the background.
        is_dark: the theme is for a dark background.
        has_many_colors: 256 colours or more.
        has_color: False where NO_COLOR is set.
    """
    if not has_color:
        return MONOCHROME
    if not has_many_colors:
        return SIXTEEN
    if not is_chosen:
        return NEUTRAL
    return DARK if is_dark else LIGHT
