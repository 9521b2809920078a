"""One line in which to type, and below it why that makes no sense, where there is no room beside."""

from collections.abc import Callable, Mapping

from textual import events
from textual.message import Message
from textual.strip import Strip

from vmtop.tui.theme import Ground, Palette
from vmtop.tui.widgets.lines import LineWidget
from vmtop.viewmodel.formats import cell_width, safe_text, wrap_text
from vmtop.viewmodel.tone import Span, Tone

LONGEST_TEXT = 255
MOST_COMPLAINT_ROWS = 3

_EDITS: Mapping[str, Callable[[str, str], tuple[str, str]]] = {
    "left": lambda before, after: (before[:-1], before[-1:] + after),
    "right": lambda before, after: (before + after[:1], after[1:]),
    "home": lambda before, after: ("", before + after),
    "ctrl+a": lambda before, after: ("", before + after),
    "end": lambda before, after: (before + after, ""),
    "ctrl+e": lambda before, after: (before + after, ""),
    "backspace": lambda before, after: (before[:-1], after),
    "delete": lambda before, after: (before, after[1:]),
    "ctrl+w": lambda before, after: (before.rstrip().rpartition(" ")[0], after),
    "ctrl+u": lambda _before, after: ("", after),
    "ctrl+k": lambda before, _after: (before, ""),
}
"""What keys make of the texts before and after the cursor."""


class Prompt(LineWidget, can_focus=True):
    """Asks for a short text in the place of the status line."""

    class Edited(Message):
        """The text is another one now."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Submitted(Edited):
        """The text is complete."""

    class Cancelled(Message):
        """The operator does not want to answer."""

    def __init__(self) -> None:
        super().__init__()
        self._label = ""
        self._before, self._after = "", ""
        self._complaint = ""
        self._palette: Palette | None = None

    def ask(self, label: str, text: str, palette: Palette) -> None:
        """Begin to ask, with `text` as the answer so far."""
        self._label, self._complaint, self._palette = label, "", palette
        self._before, self._after = text, ""
        self.focus()
        self._fit()

    def complain(self, complaint: str) -> None:
        """Say what is wrong with the text, which stays; an empty complaint takes that back."""
        if complaint != self._complaint:
            self._complaint = complaint
            self._fit()

    @property
    def rows(self) -> int:
        """Lines that it takes."""
        return 1 + len(self._below())

    def _fit(self) -> None:
        """Draw it anew, as high as it has to be."""
        self.styles.height = self.rows
        self.refresh()

    def _below(self) -> list[str]:
        """The complaint in lines; none where there is room beside the text."""
        width = self.app.size.width
        beside = cell_width(self._label) + cell_width(safe_text(self._before + self._after)) + 3
        if not self._complaint or beside + cell_width(self._complaint) <= width:
            return []
        return wrap_text(self._complaint, width)[:MOST_COMPLAINT_ROWS]

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Keys that are text or edit it are no bindings here."""
        return key in _EDITS or key in {"enter", "escape"} or (character is not None and character.isprintable())

    def on_key(self, event: events.Key) -> None:
        """Type."""
        if not self.check_consume_key(event.key, event.character):
            return
        event.stop()
        if event.key == "enter":
            self.post_message(self.Submitted(self._before + self._after))
        elif event.key == "escape":
            self.post_message(self.Cancelled())
        elif event.key in _EDITS:
            self._edit(*_EDITS[event.key](self._before, self._after))
        elif event.character is not None:
            self._edit(self._before + event.character, self._after)

    def on_paste(self, event: events.Paste) -> None:
        """Take the first line of what is pasted."""
        event.stop()
        self._edit(self._before + event.text.partition("\n")[0].strip(), self._after)

    def _edit(self, before: str, after: str) -> None:
        is_changed = before + after != self._before + self._after
        self._before, self._after = before[:LONGEST_TEXT], after[: LONGEST_TEXT - len(before)]
        if is_changed:
            self._complaint = ""
        self._fit()
        if is_changed:
            self.post_message(self.Edited(self._before + self._after))

    def render_line(self, y: int) -> Strip:
        """Label, text with the cursor, and the complaint; of a long text the part around the cursor."""
        width = self.size.width
        below = self._below()
        if self._palette is None or y > len(below):
            return Strip.blank(width)
        if y > 0:
            line = self._palette.segments((Span(below[y - 1], Tone.WARN),))
            return Strip(line).adjust_cell_length(width, self._palette.blank())
        complaint = "" if below else self._complaint
        before, after = safe_text(self._before), safe_text(self._after) or " "
        room = max(1, width - cell_width(self._label) - 1)
        while before and cell_width(before) > room - 1:
            before = before[1:]
        segments = [
            *self._palette.segments((Span(self._label, Tone.KEY), Span(before, Tone.NORMAL))),
            *self._palette.segments((Span(after[0], Tone.NORMAL),), Ground.CURSOR),
            *self._palette.segments((Span(after[1:], Tone.NORMAL), Span(f"  {complaint}", Tone.WARN))),
        ]
        return Strip(segments).adjust_cell_length(width, self._palette.blank())
