"""The disks that guests, the host's swap and backups share."""

MOST_BUSY = 0.95
"""Queues are capped here, so that latency stays finite."""

GUEST_WEIGHT = 1.0
JOB_WEIGHT = 0.3
"""Share of jobs beside guests when the disks are full, as ionice would give it."""


class Pool:
    """One storage pool. Amounts are pages of 4 KiB."""

    __slots__ = ("_idle_latency_s", "bandwidth", "busy_now", "latency_s")

    def __init__(self, bandwidth: int, idle_latency_s: float) -> None:
        self.bandwidth = bandwidth
        """Pages per second, reading and writing together."""
        self._idle_latency_s = idle_latency_s
        self.busy_now = 0
        """Pages moved in this tick."""
        self.latency_s = idle_latency_s
        """How long one request took in the last tick."""

    def left_for_jobs(self) -> int:
        """Pages that jobs may move in this tick: what the others leave, but at least their weighted share."""
        share = JOB_WEIGHT / (GUEST_WEIGHT + JOB_WEIGHT)
        return max(self.bandwidth - self.busy_now, int(self.bandwidth * share))

    def end_tick(self) -> None:
        """Turn the traffic of this tick into latency: L = L0 / (1 - rho), the waiting time of an M/M/1 queue."""
        busy_share = min(MOST_BUSY, self.busy_now / self.bandwidth)
        self.latency_s = self._idle_latency_s / (1.0 - busy_share)
        self.busy_now = 0
