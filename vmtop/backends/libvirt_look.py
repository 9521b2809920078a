"""Questions to libvirt that somebody asks who looks at a VM, apart from the readings that go on meanwhile.

An answer may take as long as the VM, or the daemon, lets it take. So each question has a read-only connection and a
thread of its own: whatever one of them waits for, the others and the readings go on. A connection is kept for the next
question when its answer is there.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from vmtop.backends.libvirt_events import start_event_loop
from vmtop.backends.libvirt_link import (
    FROM_RPC,
    MOST_LEFT,
    Link,
    Links,
    Target,
    check_test_file,
    explain,
    is_alive,
    refuse_act,
    text_of,
    unopened,
)
from vmtop.errors import BackendError, ControlError

T = TypeVar("T")

ANSWER_S = 60.0
"""An answer is not waited for any longer; libvirt itself waits half a minute for a VM that is busy."""


class Looks:
    """Read-only connections to one target, opened when they are needed, and when one is dead."""

    def __init__(self, binding: Any, target: Target, answer_s: float = ANSWER_S) -> None:
        self._binding = binding
        self._target = target
        self._answer_s = answer_s
        self._links = Links(binding, target)
        self._lock = Lock()
        self._idle: list[Link] = []
        self._is_closed = False

    def ask(self, question: Callable[[Any], T]) -> T:
        """Have `question` answered with a connection that nobody else uses meanwhile; from any thread.

        Raises:
            ControlError: there is no connection, libvirt refused to tell, or there was no answer in time.
        """
        link = self._take()
        answer = link.submit(question)
        try:
            answer.exception(self._answer_s)
        except TimeoutError:
            self._links.abandon(link)
            raise ControlError(f"{self._target.uri} has not answered for {self._answer_s:g} s") from None
        self._keep(link)
        try:
            return answer.result()
        except self._binding.libvirtError as error:
            raise self._explained(error, is_opening=link.opened.exception() is not None) from error
        except ValueError as error:
            raise ControlError(f"what libvirt tells of the VM cannot be read: {error}") from error

    def close(self) -> None:
        """Let go of all connections, of those in use when their answers are there; waits for nothing."""
        with self._lock:
            self._is_closed = True
            self._idle = []
        self._links.close()

    def _take(self) -> Link:
        while (link := self._take_idle()) is not None:
            if self._is_alive(link):
                return link
            self._links.abandon(link)
        if self._links.stuck >= MOST_LEFT:
            raise ControlError(
                f"{self._target.uri}: {self._links.stuck} questions hang; no more are asked until some of them end"
            )
        try:
            check_test_file(self._target)
            start_event_loop(self._binding)
            return self._links.open("vmtop-look")
        except BackendError as error:
            raise unopened(error) from error

    def _is_alive(self, link: Link) -> bool:
        try:
            return link.ask(lambda connection: is_alive(self._binding, connection), self._answer_s)
        except TimeoutError:
            return False

    def _take_idle(self) -> Link | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _keep(self, link: Link) -> None:
        if link.opened.exception() is not None:
            self._links.abandon(link)
            return
        with self._lock:
            if not self._is_closed:
                self._idle.append(link)

    def _explained(self, error: Any, *, is_opening: bool) -> ControlError:
        """Why there is no answer; with libvirt's number where it is about the VM, and not about the way to libvirt."""
        if is_opening or error.get_error_domain() == FROM_RPC:
            return unopened(explain(error, self._target, is_opening=is_opening))
        return refuse_act(text_of(error), error.get_error_code())
