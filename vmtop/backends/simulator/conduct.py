"""What takes its time on a simulated host, step by step, while somebody else reads it."""

from collections.abc import Callable, Generator

from vmtop.backends.simulator.command import Result, Steps
from vmtop.backends.simulator.shared import SharedWorld
from vmtop.backends.simulator.world import World
from vmtop.errors import ControlError

PATIENCE_S = 120.0
"""Who waits gives up when nobody read the world for this long: without readings it stands still."""


def carry_out(
    shared: SharedWorld,
    begin: Callable[[World], Steps[Result]],
    *,
    patience_s: float = PATIENCE_S,
    is_closed: Callable[[], bool] = lambda: False,
) -> Result:
    """Take the steps of a command or a question, each after a reading, and return what it comes to.

    Args:
        shared: The world.
        begin: Gives the steps.
        patience_s: How long a step waits for the next reading.
        is_closed: Whether to give up, apart from the end of the world.

    Raises:
        ControlError: it was refused or given up.
    """
    steps = _steps(shared, begin)
    while True:
        with shared.lock:
            if is_closed() or shared.is_closed:
                raise ControlError(f"{shared.uri} was closed")
            readings = shared.readings
            try:
                next(steps)
            except StopIteration as end:
                result: Result = end.value
                return result
        if not shared.wait(readings, patience_s):
            raise ControlError(
                f"{shared.uri}: no answer: the simulated host stood still for {patience_s:g} s; what was"
                " asked for may still happen"
            )


def _steps(shared: SharedWorld, begin: Callable[[World], Steps[Result]]) -> Generator[None, None, Result]:
    while shared.world is None:
        yield
    return (yield from begin(shared.world))
