"""Wait for what another process does, never longer than a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

from tests.hypervisor.errors import LabError

Answer = TypeVar("Answer")

POLL_INTERVAL_S = 0.02


def wait_until(condition: Callable[[], Answer | None], what: str, deadline_s: float = 30.0) -> Answer:
    """Return the first true answer of a condition.

    Args:
        condition: asked again and again; may raise to end the wait at once.
        what: names the awaited thing in the error.
        deadline_s: how long to wait at most.

    Raises:
        LabError: there was no true answer in time.
    """
    end = time.monotonic() + deadline_s
    while not (answer := condition()):
        if time.monotonic() > end:
            raise LabError(f"waited {deadline_s:g} s in vain for {what}")
        time.sleep(POLL_INTERVAL_S)
    return answer
