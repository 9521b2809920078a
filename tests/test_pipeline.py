import threading
from collections.abc import Callable, Iterator

import pytest

from tests.builders import make_frame, make_sample, make_vm
from tests.clocks import HandClock
from vmtop.backends.clock import SystemClock
from vmtop.derive.series import History
from vmtop.errors import AccessError, BackendError, ConnectError
from vmtop.model.capability import Capability
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import Sample
from vmtop.pipeline import LEAST_PAUSE_S, LONGEST_RETRY_S, Pipeline, Reading, Sampler

PATIENCE_S = 10.0
"""Far above what anything here takes; only a broken program waits so long."""


class ScriptedBackend:
    """Answers with what the script says: a sample, or an error to raise."""

    name, uri, is_simulated, capability = "scripted", "scripted:///", True, Capability()

    def __init__(self, script: Iterator[Sample | Exception]) -> None:
        self._script = script
        self.notify: Callable[[], None] | None = None
        self.is_closed = False

    def read_sample(self) -> Sample:
        answer = next(self._script)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def on_change(self, notify: Callable[[], None]) -> None:
        self.notify = notify

    def close(self) -> None:
        self.is_closed = True


def samples(*, start_s: float = 1000.0) -> Iterator[Sample]:
    while True:
        yield make_sample(monotonic_s=start_s)
        start_s += 1.0


def test_a_failed_reading_keeps_the_last_frame_and_says_why_and_since_when() -> None:
    good = next(samples())
    clock = HandClock(1000.0)
    pipeline = Pipeline(
        ScriptedBackend(iter([good, ConnectError("no socket"), BackendError("still not")])), DEFAULT_POLICY, clock
    )
    first = pipeline.tick(2.0)
    clock.now_s += 2
    second = pipeline.tick(2.0)
    clock.now_s += 4
    third = pipeline.tick(2.0)
    assert first.frame is not None
    assert first.failure is None
    assert second.frame is first.frame
    assert third.frame is first.frame
    assert second.failure is not None
    assert third.failure is not None
    assert (second.failure.text, second.failure.attempts, second.failure.exit_code) == ("no socket", 1, 3)
    assert (third.failure.text, third.failure.attempts, third.failure.exit_code) == ("still not", 2, 1)
    assert second.failure.since_monotonic_s == third.failure.since_monotonic_s == 1002.0
    assert third.interval_s == 4.0


def test_pauses_after_failures_double_up_to_a_limit_and_a_good_reading_ends_them() -> None:
    script: Iterator[Sample | Exception] = iter([*[AccessError("refused")] * 8, next(samples())])
    pipeline = Pipeline(ScriptedBackend(script), DEFAULT_POLICY, HandClock(1000.0))
    failures = [pipeline.tick(1.0).failure for _ in range(8)]
    assert [failure.retry_s for failure in failures if failure] == [
        1,
        2,
        4,
        8,
        16,
        LONGEST_RETRY_S,
        LONGEST_RETRY_S,
        LONGEST_RETRY_S,
    ]
    assert pipeline.tick(1.0).failure is None


def test_ages_are_told_on_the_clock_of_the_samples_however_fast_that_runs() -> None:
    script: Iterator[Sample | Exception] = iter([make_sample(monotonic_s=90_000.0), ConnectError("gone")])
    clock = HandClock(1000.0)
    pipeline = Pipeline(ScriptedBackend(script), DEFAULT_POLICY, clock)
    assert pipeline.tick(2.0).clock_ahead_s == 89_000.0
    clock.now_s += 2
    reading = pipeline.tick(2.0)
    assert reading.failure is not None
    assert reading.frame is not None
    assert reading.failure.since_monotonic_s - reading.frame.sample.monotonic_s == 2.0


def test_every_frame_goes_into_the_history() -> None:
    history = History(capacity=10)
    pipeline = Pipeline(ScriptedBackend(samples()), DEFAULT_POLICY, HandClock(1000.0), history)
    for _ in range(3):
        pipeline.tick(1.0)
    assert len(history.host().times_s) == 3


def test_the_sampler_hands_over_readings_until_it_is_stopped() -> None:
    backend = ScriptedBackend(samples())
    sampler = Sampler(Pipeline(backend, DEFAULT_POLICY, SystemClock()), SystemClock(), delay_s=3600)
    woken = threading.Semaphore(0)
    sampler.attach(woken.release)
    sampler.start()
    assert woken.acquire(timeout=PATIENCE_S)
    first = sampler.latest().frame
    assert first is not None
    assert backend.notify is not None
    backend.notify()
    assert woken.acquire(timeout=PATIENCE_S), "a change that the source announces ends the pause"
    assert sampler.latest().frame is not first
    sampler.set_delay(1800)
    assert woken.acquire(timeout=PATIENCE_S), "a new delay takes effect at once"
    sampler.stop()
    assert backend.is_closed
    sampler.join(PATIENCE_S)
    assert not sampler.is_alive


def test_a_flood_of_announced_changes_does_not_become_a_flood_of_readings() -> None:
    backend = ScriptedBackend(samples())
    clock = SystemClock()
    sampler = Sampler(Pipeline(backend, DEFAULT_POLICY, clock), clock, delay_s=3600)
    moments: list[float] = []
    enough = threading.Event()

    def wake() -> None:
        moments.append(clock.monotonic())
        if len(moments) == 3:
            enough.set()
        assert backend.notify is not None
        backend.notify()

    sampler.attach(wake)
    sampler.start()
    assert enough.wait(PATIENCE_S)
    sampler.stop()
    assert moments[2] - moments[0] >= 2 * LEAST_PAUSE_S


def test_a_bug_in_the_sampler_reaches_whoever_asks_for_the_reading() -> None:
    sampler = Sampler(
        Pipeline(ScriptedBackend(iter([ZeroDivisionError("bug")])), DEFAULT_POLICY, SystemClock()),
        SystemClock(),
        delay_s=1,
    )
    woken = threading.Event()
    sampler.attach(woken.set)
    sampler.start()
    assert woken.wait(PATIENCE_S)
    with pytest.raises(ZeroDivisionError, match="bug"):
        sampler.latest()


def test_an_observer_gets_every_reading_before_anybody_is_woken() -> None:
    seen: list[str] = []
    ended = threading.Event()
    backend = ScriptedBackend(samples())
    sampler = Sampler(Pipeline(backend, DEFAULT_POLICY, SystemClock()), SystemClock(), delay_s=3600)
    sampler.observe(lambda reading: seen.append("observed" if reading.frame else "nothing"))

    def wake() -> None:
        seen.append("woken")
        ended.set()

    sampler.attach(wake)
    sampler.start()
    assert ended.wait(PATIENCE_S)
    sampler.stop()
    sampler.join(PATIENCE_S)
    assert seen[:2] == ["observed", "woken"]


def test_a_reading_tells_how_old_its_frame_is_on_the_clock_of_its_source() -> None:
    frame = make_frame([make_vm()], at_s=5)
    reading = Reading(frame=frame, failure=None, interval_s=None, clock_ahead_s=100.0)
    assert reading.age_s(frame.sample.monotonic_s - 97.0) == 3.0
    assert reading.age_s(0.0) == 0.0
    assert Reading(frame=None, failure=None, interval_s=None).age_s(5.0) == 0.0
