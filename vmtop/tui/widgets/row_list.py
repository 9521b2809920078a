"""Lines of which some can be chosen: a menu, the jobs that run, the snapshots of a VM."""

from collections.abc import Sequence

from textual import events
from textual.geometry import clamp
from textual.message import Message

from vmtop.tui.theme import Palette
from vmtop.tui.widgets.lines import TextLines
from vmtop.viewmodel.tone import Line


class RowList(TextLines, can_focus=True):
    """Keeps its cursor on the same thing while lines come and go."""

    class Moved(Message):
        """The cursor is on another line now."""

    class Chosen(Message):
        """A line was clicked twice: what Enter would do."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - the name that all widgets of Textual have
        super().__init__(id=id)
        self._keys: tuple[str | None, ...] = ()
        self._key: str | None = None

    @property
    def key(self) -> str | None:
        """What the cursor is on. None when nothing can be chosen."""
        return self._key

    def show_rows(
        self, lines: Sequence[Line], keys: Sequence[str | None], palette: Palette, *, is_stale: bool = False
    ) -> None:
        """Draw lines.

        Args:
            lines: safe text.
            keys: for each line what it stands for; None for one that cannot be chosen.
            palette: how tones look.
            is_stale: take the colours away.
        """
        place = self._place()
        self._keys = tuple(keys)
        if self._key not in self._keys or self._key is None:
            there = [index for index, key in enumerate(keys) if key is not None]
            nearest = min(there, key=lambda index: abs(index - (place or 0)), default=None)
            self._key = None if nearest is None else keys[nearest]
        self.show_lines(lines, palette, is_stale=is_stale, cursor=self._place())

    def move_rows(self, step: int) -> None:
        """Move to the next line that can be chosen, so many times; without one, scroll."""
        there = [key for key in self._keys if key is not None]
        if self._key is None or not there:
            self.scroll_lines(step)
            return
        self._select(there[clamp(there.index(self._key) + step, 0, len(there) - 1)])

    def move_pages(self, step: int) -> None:
        """Move by a screenful."""
        self.move_rows(step * max(1, self.size.height - 1))

    def move_to_end(self, direction: int) -> None:
        """Move to the first or last line that can be chosen; what lies beyond it is scrolled into sight."""
        self.move_rows(direction * len(self._keys))
        self.scroll_to_end(direction)

    def on_click(self, event: events.Click) -> None:
        """Move to the line; a second click chooses it."""
        index = self.top + event.y
        if index < len(self._keys) and (key := self._keys[index]) is not None:
            self._select(key)
            if event.chain > 1:
                self.post_message(self.Chosen())

    def _place(self) -> int | None:
        return self._keys.index(self._key) if self._key is not None and self._key in self._keys else None

    def _select(self, key: str) -> None:
        is_moved = key != self._key
        self._key = key
        self.set_cursor(self._place())
        if is_moved:
            self.post_message(self.Moved())
