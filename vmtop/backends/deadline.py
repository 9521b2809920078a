"""Calls that may never return, on a thread that can be left behind.

A call into libvirt cannot be interrupted: on a hung QEMU or a hung daemon it blocks for as long as the hang lasts.
So every such call runs on a thread of its own kind; the asker waits for so long and no longer, and may then leave the
thread to itself. The threads are daemons: none of them keeps the program from ending.
"""

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class DeadlineThread:
    """Runs calls one after another on one daemon thread, until it is abandoned."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """The thread is there: it waits for calls, or is stuck in one."""
        return self._thread.is_alive()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run `call` after those before it; the result tells its answer or its exception."""
        future: Future[T] = Future()
        self._calls.put((future, call))
        return future

    def ask(self, call: Callable[[], T], deadline_s: float) -> T:
        """Run `call` and wait for its answer.

        Raises:
            TimeoutError: no answer in time. The call goes on, and calls after it wait behind it.
            Exception: whatever `call` raised.
        """
        return self.submit(call).result(deadline_s)

    def abandon(self) -> None:
        """Take leave without waiting: the thread ends by itself once the calls it already has have returned."""
        self._calls.put(None)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            _answer(*item)
            # A waiting thread must not hold on to the last call: a connection closes with its last reference.
            del item


def _answer(future: Future[T], call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except Exception as error:  # noqa: BLE001 - it belongs to whoever asked, and is raised there
        future.set_exception(error)
