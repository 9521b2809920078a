"""The simulated host as a source of samples."""

import math
from collections.abc import Callable

from vmtop.backends.base import Clock
from vmtop.backends.simulator.publish import Publisher
from vmtop.backends.simulator.scenario import DEFAULT_SCENARIO, find_scenario, make_world
from vmtop.errors import BackendError, ConnectError
from vmtop.model.capability import Capability
from vmtop.model.sample import Sample

GUEST_SECONDS_PER_READ = 20_000
"""Most work of one reading, a fifth of a second or so: after a long pause the world catches up over several readings,
and the program does not freeze."""


class SimulatorBackend:
    """A simulated host that lives by the clock it is given; the same clock and seed give the same samples."""

    name = "simulator"
    is_simulated = True
    capability = Capability()

    def __init__(
        self,
        scenario: str = DEFAULT_SCENARIO,
        *,
        clock: Clock,
        seed: int = 1,
        vms: int | None = None,
        speed: float = 1.0,
    ) -> None:
        """Build the world and let it warm up, so that the first sample has life.

        Args:
            scenario: Name of a world; see `scenario.scenario_names`.
            clock: Drives the world.
            seed: Another fleet and another course of things.
            vms: How many VMs. None for the scenario's own number.
            speed: Simulated seconds per second of the clock. Samples carry simulated time, so that rates are those of
                the simulated world; a speed that the machine cannot keep makes that time fall behind.

        Raises:
            UsageError: no such scenario, or less than one VM.
        """
        count = find_scenario(scenario).vms if vms is None else vms
        self.uri = f"simulator:///{scenario}?seed={seed}&vms={count}"
        self._clock = clock
        self._is_closed = False
        self._speed = speed
        self._started_s = clock.time()
        self._world = make_world(scenario, seed=seed, vms=count, epoch_s=math.floor(self._started_s))
        self._publisher = Publisher(self._world, self.uri)
        self._most_ticks = max(1, GUEST_SECONDS_PER_READ // count)
        self._started_monotonic_s = clock.monotonic()

    def read_sample(self) -> Sample:
        """Let the world live until now, at most `GUEST_SECONDS_PER_READ` of it, and show it.

        Raises:
            ConnectError: a fault has cut the connection.
            BackendError: it was closed.
        """
        if self._is_closed:
            raise BackendError(f"{self.uri} was closed")
        began_s = self._clock.monotonic()
        world = self._world
        elapsed_s = max(0.0, began_s - self._started_monotonic_s) * self._speed
        last_tick = world.tick + self._most_ticks
        while world.tick < min(last_tick, math.ceil(elapsed_s)):
            world.advance()
        if not world.is_reachable:
            raise ConnectError(f"{self.uri}: the simulated connection to libvirt is down; it comes back by itself")
        elapsed_s = min(elapsed_s, float(world.tick))
        return self._publisher.read(
            time_s=self._started_s + elapsed_s,
            monotonic_s=self._started_monotonic_s + elapsed_s,
            read_s=self._clock.monotonic() - began_s,
            passed=elapsed_s - world.tick + 1.0,
        )

    def on_change(self, notify: Callable[[], None]) -> None:
        """Do nothing: a simulated host announces nothing, as `capability` says."""

    def close(self) -> None:
        """Let the world stand still: nothing can be read any more."""
        self._is_closed = True
