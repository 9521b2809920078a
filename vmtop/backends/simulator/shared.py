"""One world for several threads."""

from threading import Condition, Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmtop.backends.simulator.world import World


class SharedWorld:
    """A world for several threads: they act on it one at a time, and can wait for it to live on."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        """Named in errors."""
        self.lock = Lock()
        """Held by whoever reads or changes the world."""
        self.world: World | None = None
        """None until the first reading."""
        self.read_at_s = 0.0
        """The moment of the last reading, on the clock of the samples."""
        self.is_closed = False
        self.readings = 0
        # Another lock, which is held for moments only, so that `close` never waits for a reading.
        self._news = Condition()

    def announce(self, read_at_s: float) -> None:
        """Tell that the world was read, so may have lived on."""
        with self._news:
            self.read_at_s = read_at_s
            self.readings += 1
            self._news.notify_all()

    def close(self) -> None:
        """Tell that there will be no more readings."""
        with self._news:
            self.is_closed = True
            self._news.notify_all()

    def wait(self, readings: int, patience_s: float) -> bool:
        """Wait until there were more readings than that, or will be none; False when that takes too long."""
        with self._news:
            return self._news.wait_for(lambda: self.is_closed or self.readings > readings, patience_s)
