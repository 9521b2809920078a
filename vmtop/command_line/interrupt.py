"""Ctrl+C while something goes on: it is noted, not thrown, so that what was begun can be ended in good order."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The last one comes when the connection of the operator's terminal is lost."""


class Interrupt:
    """Whether somebody wants an end."""

    def __init__(self) -> None:
        self.number = 0
        """Of the signal. 0 for none."""

    @property
    def exit_code(self) -> int:
        """What a program returns that a signal ended: 130 for Ctrl+C."""
        return 128 + self.number


@contextmanager
def noted_interrupts() -> Iterator[Interrupt]:
    """Note the first signal that asks for an end; the next one does what it always does.

    Only for the main thread.
    """
    interrupt = Interrupt()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    # Who started vmtop with `nohup` wants it to go on.
    before = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        interrupt.number = number
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield interrupt
    finally:
        restore()
