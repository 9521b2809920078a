"""What widgets and screens tell the app: what the operator asked for. The app alone changes the `UiState`."""

from textual.message import Message


class ViewAsked(Message):
    """A screen came to the front and has nothing to show yet."""


class ReadingTaken(Message):
    """The source has something new. Sent by the app to itself, from the source's thread."""


class SortChosen(Message):
    """Sort by this column, in its own direction."""

    def __init__(self, column_id: str, *, can_reverse: bool = False) -> None:
        """`can_reverse`: the other way round if it is the one that sorts already."""
        super().__init__()
        self.column_id = column_id
        self.can_reverse = can_reverse


class SortMoved(Message):
    """Sort by the column so many places further right, or left if below zero."""

    def __init__(self, step: int, column_ids: tuple[str, ...]) -> None:
        """`column_ids`: all columns as they stand on the screen."""
        super().__init__()
        self.step = step
        self.column_ids = column_ids


class SortReversed(Message):
    """Sort the other way round."""


class CursorMoved(Message):
    """The cursor is on this VM now."""

    def __init__(self, uuid: str) -> None:
        super().__init__()
        self.uuid = uuid


class FilterChanged(Message):
    """Show only VMs that match; an empty text shows all."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class DelayChosen(Message):
    """Read every so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class PageOpened(Message):
    """Show the page of this VM, or of the host where there is no UUID."""

    def __init__(self, uuid: str | None) -> None:
        super().__init__()
        self.uuid = uuid
