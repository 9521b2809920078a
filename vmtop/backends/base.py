"""What every source of samples promises; `tests/backends/test_contract.py` checks it for each of them."""

from collections.abc import Callable
from typing import Protocol

from vmtop.model.capability import Capability
from vmtop.model.sample import Sample


class Clock(Protocol):
    """Time from outside, so that a test or a demo can hold it in its hand."""

    def time(self) -> float:
        """Wall clock, seconds since 1970."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class Backend(Protocol):
    """A source of samples.

    One thread calls `read_sample` again and again; `close` may come from another thread and must not wait for it.
    """

    name: str
    """Short name of the kind of source: libvirt, simulator."""
    uri: str
    """What is being read, in full; shown in the header."""
    is_simulated: bool
    capability: Capability

    def read_sample(self) -> Sample:
        """Read everything once.

        Returns within a bounded time even when a guest or the daemon hangs, connects by itself where needed, and
        takes VMs that come and go between two calls for normal.

        Raises:
            BackendError: nothing could be read; the text says what, where and what now.
        """

    def on_change(self, notify: Callable[[], None]) -> None:
        """Have `notify` called, from any thread, whenever the source announces that something changed."""

    def close(self) -> None:
        """Let go of connections without waiting for calls that hang; from then on every reading is a `BackendError`."""
