"""Read, derive, publish: the loop under every front end.

`Pipeline.tick` is the only place that catches the errors of a backend. The last frame stays and grows old, pauses get
longer, and the next reading that works ends the failure; nothing needs to be restarted.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from vmtop.derive.frame import Frame, derive_frame
from vmtop.errors import BackendError
from vmtop.model.failure import Failure
from vmtop.model.policy import Policy

if TYPE_CHECKING:
    from vmtop.backends.base import Clock, Reader
    from vmtop.derive.series import History

LONGEST_RETRY_S = 30.0
"""A daemon that restarts is found again within this time; one that is down for the night costs two tries a minute."""

LEAST_PAUSE_S = 0.2
"""Between two readings, however many changes are announced: a host that starts 60 VMs sends hundreds of events."""


class Reading(NamedTuple):
    """What the front ends get: the newest frame, and why there is no newer one."""

    frame: Frame | None
    """None until the first reading worked."""
    failure: Failure | None
    """None when the last reading worked."""
    interval_s: float | None
    """Time between the last two readings, as it really was. None before the second."""
    clock_ahead_s: float = 0.0
    """How far the clock of `Sample.monotonic_s`, and of the failure, is ahead of the pipeline's: simulated time may run
    faster than ours, and then what is 2 s old is 2 s old on our clock."""

    def age_s(self, now_monotonic_s: float) -> float:
        """How old the frame is at this time of the pipeline's clock; 0 while there is none."""
        if self.frame is None:
            return 0.0
        return max(0.0, now_monotonic_s + self.clock_ahead_s - self.frame.sample.monotonic_s)


class Pipeline:
    """One backend, one policy, one line of frames."""

    def __init__(self, backend: "Reader", policy: Policy, clock: "Clock", history: "History | None" = None) -> None:
        self.backend = backend
        self.history = history
        self._policy = policy
        self._clock = clock
        self._began_s: float | None = None
        self._ahead_s = 0.0
        self.reading = Reading(frame=None, failure=None, interval_s=None)

    def tick(self, delay_s: float) -> Reading:
        """Take one reading and keep it as `reading`; a failed one keeps the frame and says why.

        Args:
            delay_s: the pause that the operator asked for; the pause after a failure grows from it.
        """
        began_s = self._clock.monotonic()
        interval_s = None if self._began_s is None else began_s - self._began_s
        self._began_s = began_s
        failure: Failure | None
        frame: Frame | None
        try:
            sample = self.backend.read_sample()
        except BackendError as error:
            failure = self._next_failure(error, began_s, delay_s)
            frame = self.reading.frame
        else:
            self._ahead_s = sample.monotonic_s - self._clock.monotonic()
            failure = None
            frame = derive_frame(self.reading.frame, sample, self._policy)
            if self.history is not None:
                self.history.add(frame)
        self.reading = Reading(frame=frame, failure=failure, interval_s=interval_s, clock_ahead_s=self._ahead_s)
        return self.reading

    def _next_failure(self, error: BackendError, now_s: float, delay_s: float) -> Failure:
        last = self.reading.failure
        return Failure(
            text=str(error),
            since_monotonic_s=now_s + self._ahead_s if last is None else last.since_monotonic_s,
            attempts=1 if last is None else last.attempts + 1,
            retry_s=min(delay_s if last is None else 2 * last.retry_s, LONGEST_RETRY_S),
            exit_code=error.exit_code,
        )


class Sampler:
    """Runs a pipeline on a daemon thread of its own and hands over the newest reading only.

    It is a daemon thread, not a worker of the screen's framework: a call that hangs inside the kernel or in C cannot
    be interrupted, and must not keep the program from ending.
    """

    def __init__(self, pipeline: Pipeline, clock: "Clock", delay_s: float) -> None:
        self._pipeline = pipeline
        self._clock = clock
        self._delay_s = delay_s
        self._wake_reader: Callable[[], None] | None = None
        self._observe: Callable[[Reading], None] | None = None
        self._due = threading.Event()
        self._ended = threading.Event()
        self._crash: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="vmtop-sampler")

    def start(self) -> None:
        """Begin to read. Call it before the screen is imported: the first reading overlaps with that."""
        self._pipeline.backend.on_change(self.refresh_now)
        self._thread.start()

    def latest(self) -> Reading:
        """The newest reading.

        Raises:
            BaseException: whatever ended the thread, if something other than a failed reading did.
        """
        if self._crash is not None:
            raise self._crash
        return self._pipeline.reading

    @property
    def history(self) -> "History | None":
        """The last values of every figure, for charts."""
        return self._pipeline.history

    def attach(self, wake: Callable[[], None]) -> None:
        """Have `wake` called, from the sampler's thread, after each reading; at once if there is one already."""
        self._wake_reader = wake
        if self._pipeline.reading.frame is not None or self._pipeline.reading.failure is not None:
            wake()

    def observe(self, take: Callable[[Reading], None]) -> None:
        """Have `take` called with every reading, on the sampler's thread, before anybody is woken."""
        self._observe = take

    def refresh_now(self) -> None:
        """Cut the present pause short."""
        self._due.set()

    def set_delay(self, seconds: float) -> None:
        """Change the pause between readings and read at once."""
        self._delay_s = seconds
        self._due.set()

    def stop(self) -> None:
        """Ask the thread to end; does not wait for it, since it may hang."""
        self._ended.set()
        self._due.set()
        self._pipeline.backend.close()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end, at most this long."""
        self._thread.join(timeout_s)

    @property
    def is_alive(self) -> bool:
        """The thread still runs, perhaps inside a call that hangs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._due.clear()
                began_s = self._clock.monotonic()
                reading = self._pipeline.tick(self._delay_s)
                if self._observe is not None:
                    self._observe(reading)
                if self._wake_reader is not None:
                    self._wake_reader()
                failure = reading.failure
                pause_s = self._delay_s if failure is None else failure.retry_s
                if not self._ended.wait(min(LEAST_PAUSE_S, pause_s)):
                    self._due.wait(max(0.0, began_s + pause_s - self._clock.monotonic()))
        except BaseException as error:  # noqa: BLE001 - handed to the reader in `latest`, which raises it
            self._crash = error
            if self._wake_reader is not None:
                self._wake_reader()
