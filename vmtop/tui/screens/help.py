"""The help: every key, and every column with what it means and where it comes from."""

from collections.abc import Container

from textual import events
from textual.app import ComposeResult

from vmtop.tui.keymap import Scope, bindings, hints
from vmtop.tui.view import View, ViewScreen
from vmtop.tui.widgets.lines import TextLines
from vmtop.viewmodel.help import KeyHelp, build_help
from vmtop.viewmodel.status import build_page_status


class HelpScreen(ViewScreen):
    """Lies above the screen from which it was opened."""

    BINDINGS = bindings(Scope.MOVE, Scope.PAGE)

    def __init__(self, here: Container[str] = ()) -> None:
        """`here`: ids of the keys that work on the screen below."""
        super().__init__()
        self._here = here
        self._head = TextLines(id="head")
        self._text = TextLines(id="help")
        self._status = TextLines(id="status")
        self._view: View | None = None

    def compose(self) -> ComposeResult:
        """The badge of a host that is none, the text, and the keys to leave it."""
        yield self._head
        yield self._text
        yield self._status

    def show(self, view: View) -> None:
        """Only the size, the keys and the badge matter here."""
        self._view = view
        self._draw(view)

    def on_resize(self, _event: events.Resize) -> None:
        """Break the lines anew."""
        if self._view is not None:
            self._draw(self._view)

    def _draw(self, view: View) -> None:
        self._head.display = view.is_simulated
        self._head.show_lines((view.badge,), view.palette)
        hidden = () if view.faults is not None else ("faults", "faults-end")
        # Whoever asks for help knows the arrow keys: what the status line has hints of comes first.
        keys = sorted((key for key in view.keys if key.id not in hidden), key=lambda key: not key.hint)
        shown_keys = [KeyHelp(key.label, key.tooltip, key.id in self._here) for key in keys]
        lines = build_help(shown_keys, width=self.size.width, has_unicode=view.state.has_unicode)
        self._text.show_lines(lines, view.palette)
        shown = hints(view.keys, Scope.PAGE, Scope.MOVE, Scope.EVERYWHERE)
        self._status.show_lines((build_page_status(shown, width=self.size.width),), view.palette)

    def action_move_rows(self, step: int) -> None:
        """Scroll by lines."""
        self._text.scroll_lines(step)

    def action_move_pages(self, step: int) -> None:
        """Scroll by pages."""
        self._text.scroll_pages(step)

    def action_move_to_end(self, direction: int) -> None:
        """Scroll to the first or last line."""
        self._text.scroll_to_end(direction)

    def action_go_back(self) -> None:
        """Close the help."""
        self.dismiss()
