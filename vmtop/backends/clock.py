"""The real clock; everything else is given a clock as an argument."""

import time


class SystemClock:
    """Time as the operating system tells it."""

    def time(self) -> float:
        """Wall clock, seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
