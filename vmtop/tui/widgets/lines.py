"""Drawing rows of segments without what Textual's general widgets cost."""

from collections.abc import Sequence

from textual import events
from textual.geometry import Region, clamp
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from vmtop.tui.theme import Ground, Palette
from vmtop.viewmodel.tone import Line

WHEEL_ROWS = 3
"""Rows that one notch of the wheel scrolls."""


class LineWidget(Widget):
    """A widget without border and padding that makes one strip for each of its rows.

    Textual's cache of styled lines and its filters are left out: a palette knows what the terminal can show, and
    subclasses know which rows changed. A row that did not change should be the identical strip again; then nothing of
    it is sent.
    """

    ALLOW_SELECT = False

    def render_line(self, y: int) -> Strip:
        """Row `y` of the widget, exactly as wide as the widget."""
        raise NotImplementedError

    def render_lines(self, crop: Region) -> list[Strip]:
        """The rows that Textual wants to draw."""
        strips = [self.render_line(y) for y in crop.line_range]
        if crop.column_span == (0, self.size.width):
            return strips
        return [strip.crop(*crop.column_span) for strip in strips]


class TextLines(LineWidget):
    """Lines of spans, as many as fit from the one at the top; they can be scrolled."""

    class Scrolled(Message):
        """Other lines are in sight now."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - the name that all widgets of Textual have
        super().__init__(id=id)
        self._lines: tuple[Line, ...] = ()
        self._palette: Palette | None = None
        self._is_stale = False
        self._cursor: int | None = None
        self._top = 0
        self._strips: dict[tuple[Line, Ground, bool, int], Strip] = {}

    def show_lines(
        self, lines: Sequence[Line], palette: Palette, *, is_stale: bool = False, cursor: int | None = None
    ) -> None:
        """Draw these lines, if they are others than before.

        Args:
            lines: safe text, see `vmtop.viewmodel.formats.safe_text`.
            palette: how tones look.
            is_stale: take the colours away.
            cursor: index of the line that has the cursor, if it is here.
        """
        shown = self._lines, self._palette, self._is_stale, self._cursor
        self._lines, self._palette, self._is_stale, self._cursor = tuple(lines), palette, is_stale, cursor
        if shown != (self._lines, palette, is_stale, cursor):
            self.scroll_lines(0)
            self.refresh()

    @property
    def seen(self) -> tuple[int, int, int]:
        """Numbers of the first and last line in sight, and of all lines."""
        last = min(len(self._lines), self._top + self.size.height)
        return min(self._top + 1, last), last, len(self._lines)

    @property
    def top(self) -> int:
        """Index of the first line in sight."""
        return self._top

    def set_cursor(self, index: int | None) -> None:
        """Put the cursor on another line, and scroll so that it is seen."""
        if index != self._cursor:
            self._cursor = index
            self.refresh()
        if index is not None:
            last = self._top + self.size.height - 1
            self.scroll_lines(min(0, index - self._top) or max(0, index - last))

    def scroll_lines(self, step: int) -> None:
        """Scroll so many lines down, or up if below zero."""
        top = clamp(self._top + step, 0, max(0, len(self._lines) - self.size.height))
        if top != self._top:
            self._top = top
            self.refresh()
            self.post_message(self.Scrolled())

    def scroll_pages(self, step: int) -> None:
        """Scroll so many pages down; one line stays in sight."""
        self.scroll_lines(step * max(1, self.size.height - 1))

    def scroll_to_end(self, direction: int) -> None:
        """Scroll to the last line, or to the first if below zero."""
        self.scroll_lines(direction * len(self._lines))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll down."""
        event.stop()
        self.scroll_lines(WHEEL_ROWS)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll up."""
        event.stop()
        self.scroll_lines(-WHEEL_ROWS)

    def on_resize(self) -> None:
        """Forget rows of another width, and fill the new height."""
        self._strips.clear()
        self.scroll_lines(0)
        self.post_message(self.Scrolled())

    def render_line(self, y: int) -> Strip:
        """One of the lines, cut or filled up to the width of the widget."""
        if self._palette is None:
            return Strip.blank(self.size.width)
        index = self._top + y
        line = self._lines[index] if index < len(self._lines) else ()
        ground = Ground.CURSOR if index == self._cursor else Ground.PLAIN
        key = line, ground, self._is_stale, self.size.width
        strip = self._strips.get(key)
        if strip is None:
            if len(self._strips) > 4 * self.size.height:
                self._strips.clear()
            segments = self._palette.segments(line, ground, is_stale=self._is_stale)
            strip = Strip(segments).adjust_cell_length(self.size.width, self._palette.blank(ground))
            self._strips[key] = strip
        return strip
