"""The head of the main screen: the host in a few lines."""

from textual import events
from textual.message import Message

from vmtop.tui.messages import PageOpened
from vmtop.tui.widgets.lines import TextLines


class SummaryHeader(TextLines):
    """Draws the lines of `vmtop.viewmodel.summary`."""

    class Selected(Message):
        """The operator pointed at the host."""

    def on_click(self, event: events.Click) -> None:
        """Select the host; the second click opens its page."""
        event.stop()
        self.post_message(PageOpened(None) if event.chain == 2 else self.Selected())
