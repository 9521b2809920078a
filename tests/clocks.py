"""A clock for tests and pictures."""


class HandClock:
    """Moves only when it is told to, or when somebody sleeps; begins at noon of a Monday."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def time(self) -> float:
        """Wall clock, seconds since 1970."""
        return 1_767_614_400.0 + self.now_s

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Move on at once."""
        self.now_s += seconds
