"""The simulated host as a source of samples."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from vmtop.backends.base import Clock
from vmtop.backends.simulator.publish import Publisher
from vmtop.backends.simulator.scenario import DEFAULT_SCENARIO, find_scenario, make_world
from vmtop.backends.simulator.shared import SharedWorld
from vmtop.errors import BackendError, ConnectError
from vmtop.model.capability import EVERYTHING
from vmtop.model.sample import FinishedJob, Sample

if TYPE_CHECKING:  # the first picture does not wait for what acts
    from vmtop.backends.simulator.control import SimulatorControl
    from vmtop.backends.simulator.inject import SimulatorFaults
    from vmtop.model.recovery import BackupFolder
    from vmtop.model.storage import StorageSample

GUEST_SECONDS_PER_READ = 20_000
"""Most work of one reading, a fifth of a second or so: after a long pause the world catches up over several readings,
and the program does not freeze."""


class SimulatorBackend:
    """A simulated host that lives by the clock it is given; the same clock and seed give the same samples."""

    name = "simulator"
    is_simulated = True
    capability = EVERYTHING

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
        self._speed = speed
        self._started_s = clock.time()
        self.began_s: float | None = self._started_s
        self._shared = SharedWorld(self.uri)
        self._world = make_world(scenario, seed=seed, vms=count, epoch_s=math.floor(self._started_s))
        self._shared.world = self._world
        self._publisher = Publisher(self._world, self.uri)
        self._most_ticks = max(1, GUEST_SECONDS_PER_READ // count)
        self._started_monotonic_s = clock.monotonic()

    def read_sample(self) -> Sample:
        """Let the world live until now, at most `GUEST_SECONDS_PER_READ` of it, and show it.

        Raises:
            ConnectError: a fault has cut the connection.
            BackendError: it was closed.
        """
        if self._shared.is_closed:
            raise BackendError(f"{self.uri} was closed")
        began_s = self._clock.monotonic()
        with self._shared.lock:
            elapsed_s = self._live(max(0.0, began_s - self._started_monotonic_s) * self._speed)
            sample = self._publish(elapsed_s, began_s) if self._world.is_reachable else None
        self._shared.announce(self._started_monotonic_s + elapsed_s)
        if sample is None:
            raise ConnectError(f"{self.uri}: the simulated connection to libvirt is down; it comes back by itself")
        return sample

    def _live(self, until_s: float) -> float:
        """Let the world live; tells how far it came."""
        world = self._world
        last_tick = world.tick + self._most_ticks
        while world.tick < min(last_tick, math.ceil(until_s)):
            world.advance()
        return min(until_s, float(world.tick))

    def _publish(self, elapsed_s: float, began_s: float) -> Sample:
        return self._publisher.read(
            time_s=self._started_s + elapsed_s,
            monotonic_s=self._started_monotonic_s + elapsed_s,
            read_s=self._clock.monotonic() - began_s,
            passed=elapsed_s - self._world.tick + 1.0,
        )

    def on_change(self, notify: Callable[[], None]) -> None:
        """Do nothing: a simulated host announces nothing, as `capability` says."""

    @cached_property
    def fault_control(self) -> "SimulatorFaults":
        """What makes things go wrong here."""
        from vmtop.backends.simulator.inject import SimulatorFaults

        return SimulatorFaults(self._shared)

    def read_storage(self, uuid: str) -> "StorageSample":
        """Disks, snapshots, checkpoints and agent of a VM as they are now; one that is locked needs readings to go on.

        Raises:
            ControlError: they cannot be read.
        """
        from vmtop.backends.simulator.command import read_storage
        from vmtop.backends.simulator.conduct import carry_out

        return carry_out(self._shared, lambda world: read_storage(world, uuid, self._shared.read_at_s))

    def read_folder(self, path: str, inner: str) -> None:
        """Nothing: folders of a simulated host cannot be looked into."""

    def read_backups(self, folder: str, uuid: str) -> "BackupFolder":
        """The backups of a VM that vmtop made below a folder of this host."""
        from vmtop.backends.simulator.recovery import read_backups

        return read_backups(self._shared, folder, uuid)

    def read_last_job(self, uuid: str) -> "FinishedJob | None":
        """How the last job of a VM of this host ended."""
        with self._shared.lock:
            return self._world.last_jobs.get(uuid)

    def open_control(self) -> "SimulatorControl":
        """What changes VMs of this host; commands that take their time need readings to go on."""
        from vmtop.backends.simulator.control import SimulatorControl

        return SimulatorControl(self._shared)

    def close(self) -> None:
        """Let the world stand still: nothing can be read any more, and commands that wait end."""
        self._shared.close()
