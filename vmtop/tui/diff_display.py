"""Sends a terminal only what changed since the last frame.

Textual sends every region that a widget calls dirty, whole, and spells out all colours of each piece of text. Over a
slow line that is ten times what the digits of a monitor need. `DiffDisplay` remembers what the terminal shows and sends
the rest, and it draws nothing while the terminal takes nothing.

It stands on names that Textual keeps to itself (checked with 8.2):

* `App._display(screen, renderable)`: every update of the screen goes through it.
* `textual._compositor`: `ChopsUpdate` with `chops`, `spans`, `chop_ends` (parts of the screen) and `LayoutUpdate` with
  `strips`, `region` (all of it) say what is to be drawn. `CompositorUpdate.render_segments(console)` turns it into what
  is sent: there we come in.
* `App._driver`, `LinuxDriver._writer_thread`, `WriterThread._queue`: how much still waits for the terminal.

Where one of them is gone or has another shape, Textual draws as it always does and `DiffDisplay.plain_reason` says why.
"""

import inspect
import io
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS, Console
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region, Size
from textual.screen import Screen
from textual.strip import Strip
from textual.timer import Timer

_CHANGED_SHAPE: Final = (ImportError, AttributeError, TypeError, ValueError, LookupError)
"""What Python raises where a private name of Textual is not what it was."""


def find_obstacle() -> str | None:
    """Try the private names that this module stands on.

    Returns:
        What is not as expected, or None.
    """
    try:
        compositor = import_module("textual._compositor")
        updates = {
            "": compositor.CompositorUpdate(),
            "chops spans chop_ends": compositor.ChopsUpdate(chops=[], spans=[], chop_ends=[]),
            "strips region": compositor.LayoutUpdate(strips=[], region=Region()),
        }
        for names, update in updates.items():
            for name in names.split():
                getattr(update, name)
            inspect.signature(update.render_segments).bind(Console())
        inspect.signature(App._display).bind(None, screen=None, renderable=None)
        import_module("textual.drivers._writer_thread").WriterThread(io.StringIO())._queue.qsize()
    except _CHANGED_SHAPE as error:
        return f"{type(error).__name__}: {error}"
    return None


OBSTACLE: Final = find_obstacle()
"""Why the Textual at hand cannot be made to send less; None where it can."""

if OBSTACLE is None:
    from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate

    class _Reduced(CompositorUpdate):
        """An update that is rendered by somebody else, if Textual gets to render it."""

        def __init__(
            self, update: ChopsUpdate | LayoutUpdate, render: Callable[[ChopsUpdate | LayoutUpdate, Console], str]
        ) -> None:
            self._update = update
            self._render = render

        def render_segments(self, console: Console) -> str:
            return self._render(self._update, console)


if TYPE_CHECKING:
    _AppBase = App[Any]
else:
    # Textual takes CSS from the first base that is a node of its tree: that one has to be the app we are mixed into.
    _AppBase = object


class _Pen(NamedTuple):
    """How the terminal writes text: select graphic rendition codes (ECMA-48 SGR) and the OSC 8 link."""

    attributes: str
    foreground: str
    background: str
    link: str


_DEFAULT_PEN: Final = _Pen("", "39", "49", "")


@lru_cache(maxsize=4096)
def _pen(style: Style | None, colors: ColorSystem) -> _Pen:
    if style is None:
        return _DEFAULT_PEN
    return _Pen(
        Strip.render_ansi(style.without_color, colors),
        ";".join(style.color.downgrade(colors).get_ansi_codes()) if style.color else _DEFAULT_PEN.foreground,
        ";".join(style.bgcolor.downgrade(colors).get_ansi_codes(False)) if style.bgcolor else _DEFAULT_PEN.background,
        f"id={style.link_id};{style.link}" if style.link else "",
    )


@lru_cache(maxsize=4096)
def _change_pen(old: _Pen, new: _Pen) -> str:
    """The sequence from one pen to another; to switch attributes off it resets all, which every terminal can."""
    if old.attributes != new.attributes:
        codes = ["0", *(code for code, default in zip(new[:3], _DEFAULT_PEN[:3], strict=True) if code != default)]
    else:
        codes = [code for before, code in zip(old[1:3], new[1:3], strict=True) if code != before]
    rendition = f"\x1b[{';'.join(codes)}m" if codes else ""
    if old.link == new.link:
        return rendition
    return f"{rendition}\x1b]8;{new.link or ';'}\x1b\\"


class _Width(NamedTuple):
    cells: int
    is_certain: bool
    """Every terminal agrees: each character takes exactly one cell."""
    joins_previous: bool
    """It begins with a character that is drawn into the cell before it."""


@lru_cache(maxsize=4096)
def _measure(text: str) -> _Width:
    return _Width(cell_len(text), all(cell_len(char) == 1 for char in text), cell_len(text[0]) == 0)


_Unit: TypeAlias = tuple[Segment, ...]
"""Segments that can only be written together: one, and those after it that begin with a combining character."""


def _split(x: int, strip: Strip) -> dict[int, _Unit]:
    """The units of a strip that begins in column x, by the column of each."""
    units: dict[int, _Unit] = {}
    start = end = x
    for segment in strip:
        text = segment.text
        if text.isascii():
            cells, joins_previous = len(text), False
        else:
            cells, _, joins_previous = _measure(text)
        if joins_previous and units:
            units[start] += (segment,)
        elif text:
            start = end
            units[start] = (segment,)
        end += cells
    return units


class Line(NamedTuple):
    """New content of a screen line, or of parts of it."""

    y: int
    cuts: tuple[int, ...]
    """Columns where the line is cut into pieces, also into those that are not here because they stay as they are."""
    pieces: list[tuple[int, Strip]]
    """First column and content of each piece, from left to right."""


class _Script:
    """Collects what is sent, with as few moves of the cursor and changes of the pen as possible."""

    def __init__(self, colors: ColorSystem) -> None:
        self._colors = colors
        self._parts: list[str] = []
        self._style: Style | None = None
        self._y = self._x = -1

    def write(self, y: int, x: int, unit: _Unit) -> bool:
        """Write a unit from column x of line y on.

        Returns:
            True if terminals may disagree about where it ends, and so about what they show after it.
        """
        if y != self._y:
            self._parts.append(f"\x1b[{y + 1};{x + 1}H")
        elif x != self._x:
            self._parts.append(f"\x1b[{x + 1}G")
        is_certain = True
        for text, style, _ in unit:
            if style is not self._style:
                self._take_pen(style)
            self._parts.append(text)
            if text.isascii():
                x += len(text)
            else:
                width = _measure(text)
                x += width.cells
                is_certain &= width.is_certain
        self._y, self._x = y, x if is_certain else -1
        return not is_certain

    def _take_pen(self, style: Style | None) -> None:
        self._parts.append(_change_pen(_pen(self._style, self._colors), _pen(style, self._colors)))
        self._style = style

    def finish(self) -> str:
        """Give all of it; the pen is the default one again."""
        self._take_pen(None)
        return "".join(self._parts)


class Picture:
    """What the terminal shows, as far as it is known.

    It is bounded by the screen: for each line the pieces of the last cut, and of each piece the strip shown last.
    """

    def __init__(self) -> None:
        self._lines: dict[int, tuple[tuple[int, ...], dict[int, tuple[Strip, dict[int, _Unit]]]]] = {}

    def forget(self) -> None:
        """Expect nothing of what the terminal shows."""
        self._lines.clear()

    def draw(self, lines: Iterable[Line], colors: ColorSystem) -> str:
        """Give the text that makes the terminal show these lines, and remember that it does.

        The text expects the terminal's default colours and attributes, and leaves them so.
        """
        script = _Script(colors)
        for y, cuts, pieces in lines:
            known_cuts, known = self._lines.get(y, ((), {}))
            if known_cuts != cuts:
                known = {}
                self._lines[y] = cuts, known
            is_spoilt = False
            for x, strip in pieces:
                shown_strip, shown = known.get(x, (None, {}))
                if strip is shown_strip and not is_spoilt:
                    continue
                units = _split(x, strip)
                known[x] = strip, units
                for start, unit in units.items():
                    if is_spoilt or shown.get(start) != unit:
                        is_spoilt = script.write(y, start, unit)
        return script.finish()


def _lines_of_parts(update: "ChopsUpdate") -> Iterator[Line]:
    for y, spans in groupby(update.spans, key=itemgetter(0)):
        dirty = [(first, end) for _, first, end in spans]
        pieces = [
            (x, strip)
            for (x, strip), end in zip(update.chops[y].items(), update.chop_ends[y], strict=True)
            if strip is not None and any(x < dirty_end and end > dirty_x for dirty_x, dirty_end in dirty)
        ]
        yield Line(y, tuple(update.chops[y]), pieces)


def _lines_of_whole(update: "LayoutUpdate") -> Iterator[Line]:
    for y, strips in enumerate(update.strips, update.region.y):
        x = update.region.x
        pieces = []
        for strip in strips:
            pieces.append((x, strip))
            x += strip.cell_length
        yield Line(y, tuple(x for x, _ in pieces), pieces)


_REPAIR: Final = "\x1b[0m\x0f\x1b(B\x1b[r\x1b[?7l\x1b[?25l\x1b[2J"
"""Undoes what other output may have left: colours, character sets, scroll region, line wrap, cursor, text."""

_MOST_WAITING: Final = 8
"""How many writes may wait for the terminal before frames are left out.

Textual's queue holds 30, and the event loop stands still when it is full. A frame is up to 3 writes, the end of the app
12.
"""

_STALL_CHECK_S: Final = 0.05
"""How often to look whether a terminal that took nothing has caught up: not to be felt, and next to no work."""


class DiffDisplay(_AppBase):
    """Mix into an app, before its base: it sends the terminal only what changed.

    It goes on working while the terminal takes nothing: frames that would have to wait are left out, and once the
    terminal took what waits, it gets the latest picture.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.plain_reason: str | None = OBSTACLE
        """Why output is Textual's own, which sends much more; None while only changes are sent."""
        self._picture = Picture()
        self._drawn_size: Size | None = None
        self._must_repair = False
        self._is_catching_up = False
        self._stall_check: Timer | None = None

    def repaint_all(self) -> None:
        """Draw everything anew, for a terminal that something else has written to."""
        self._picture.forget()
        self._must_repair = True
        self.screen.refresh()

    def on_resize(self, event: events.Resize) -> None:
        """Expect nothing of a terminal that may have cut off what did not fit.

        Textual draws nothing if the size is the old one: after `fg`, or in a window made small and large again at once.
        """
        self._picture.forget()
        self._is_catching_up = False
        if event.size == self._drawn_size:
            self.screen.refresh()

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        if self.plain_reason is None and not self.is_inline:
            try:
                if self._is_stalled():
                    renderable = None
                elif isinstance(renderable, ChopsUpdate | LayoutUpdate):
                    renderable = _Reduced(renderable, self._render_update)
            except _CHANGED_SHAPE as error:
                self._give_up(error)
        super()._display(screen, renderable)

    def _render_update(self, update: "ChopsUpdate | LayoutUpdate", console: Console) -> str:
        try:
            return self._render_changes(update, COLOR_SYSTEMS[console.color_system or "truecolor"])
        except _CHANGED_SHAPE as error:
            self._give_up(error)
            return update.render_segments(console)

    def _render_changes(self, update: "ChopsUpdate | LayoutUpdate", colors: ColorSystem) -> str:
        if isinstance(update, ChopsUpdate):
            return self._picture.draw(_lines_of_parts(update), colors)
        size = update.region.size
        if self._must_repair or not self._is_catching_up or size != self._drawn_size:
            self._picture.forget()
        prefix = _REPAIR if self._must_repair else ""
        text = prefix + self._picture.draw(_lines_of_whole(update), colors)
        self._drawn_size = size
        self._must_repair = self._is_catching_up = False
        return text

    def _give_up(self, error: Exception) -> None:
        self.plain_reason = f"{type(error).__name__}: {error}"
        self._picture.forget()

    def _count_waiting(self) -> int:
        """How many writes the terminal has not taken yet."""
        writer = self._driver._writer_thread if isinstance(self._driver, LinuxDriver) else None
        return writer._queue.qsize() if writer else 0

    def _is_stalled(self) -> bool:
        if self._stall_check is None and self._count_waiting() > _MOST_WAITING:
            self._stall_check = self.set_interval(_STALL_CHECK_S, self._catch_up)
        return self._stall_check is not None

    def _catch_up(self) -> None:
        """Draw the latest picture as soon as the terminal took everything that waited."""
        if self._stall_check is not None and not self._count_waiting():
            self._stall_check.stop()
            self._stall_check = None
            self._is_catching_up = True
            self.screen.refresh()
