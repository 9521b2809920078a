"""A call that never returns must cost its asker no more than the deadline."""

import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from vmtop.backends.deadline import DeadlineThread


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Something to be stuck behind; opened at the end, so that no thread outlives its test."""
    event = threading.Event()
    yield event
    event.set()


def becomes_true(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.001)
    return condition()


def test_the_answer_of_a_call_comes_back() -> None:
    thread = DeadlineThread("answers")
    assert thread.ask(lambda: 6 * 7, 5) == 42
    thread.abandon()


def test_calls_run_in_order_on_one_thread_that_is_not_ours() -> None:
    thread = DeadlineThread("in order")
    seen: list[tuple[int, str]] = []

    def note(number: int) -> None:
        seen.append((number, threading.current_thread().name))

    for number in range(3):
        thread.submit(partial(note, number))
    thread.ask(lambda: None, 5)
    assert seen == [(0, "in order"), (1, "in order"), (2, "in order")]
    thread.abandon()


def test_an_exception_reaches_whoever_asked_and_the_thread_goes_on() -> None:
    thread = DeadlineThread("raises")
    with pytest.raises(ZeroDivisionError):
        thread.ask(lambda: 1 // 0, 5)
    assert thread.ask(lambda: "still here", 5) == "still here"
    thread.abandon()


def test_a_stuck_call_costs_the_deadline_and_no_more(gate: threading.Event) -> None:
    thread = DeadlineThread("stuck")
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        thread.ask(gate.wait, 0.05)
    assert time.monotonic() - began < 2
    assert thread.is_running


def test_a_late_answer_is_not_lost(gate: threading.Event) -> None:
    thread = DeadlineThread("late")
    late = thread.submit(gate.wait)
    with pytest.raises(TimeoutError):
        late.result(0.01)
    gate.set()
    assert late.result(5) is True
    thread.abandon()


def test_an_abandoned_thread_ends_when_its_call_returns(gate: threading.Event) -> None:
    thread = DeadlineThread("abandoned")
    stuck = thread.submit(gate.wait)
    thread.abandon()
    assert thread.is_running
    gate.set()
    stuck.result(5)
    assert becomes_true(lambda: not thread.is_running)


def test_a_waiting_thread_holds_nothing_that_it_worked_with() -> None:
    class Connection:
        def read(self) -> str:
            return "figures"

    thread = DeadlineThread("holds nothing")
    connection = Connection()
    alive = weakref.ref(connection)
    assert thread.ask(connection.read, 5) == "figures"
    del connection
    assert becomes_true(lambda: alive() is None)
    thread.abandon()


def test_a_stuck_thread_does_not_keep_the_program_from_ending() -> None:
    program = (
        "import threading\n"
        "from vmtop.backends.deadline import DeadlineThread\n"
        "DeadlineThread('stuck').submit(threading.Event().wait)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=20, check=True).returncode == 0
