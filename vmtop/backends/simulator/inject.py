"""Faults that an operator injects by hand, to train on."""

from vmtop.backends.simulator.fault import GUEST_FAULTS, HOST_FAULTS
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.script import Course
from vmtop.backends.simulator.shared import SharedWorld
from vmtop.backends.simulator.world import World
from vmtop.errors import ControlError
from vmtop.model.fault import FaultInfo
from vmtop.wording import nearest

MARK = "injected: "
"""Begins what is told of such a fault, so that nobody takes it for something that happened by itself."""

FAULTS: tuple[FaultInfo, ...] = (
    *(
        FaultInfo(fault_id=name, sentence=fault.sentence, is_for_vm=True, lasts_s=fault.lasts_s)
        for name, fault in GUEST_FAULTS.items()
    ),
    *(
        FaultInfo(fault_id=name, sentence=fault.sentence, is_for_vm=False, lasts_s=fault.lasts_s)
        for name, fault in HOST_FAULTS.items()
    ),
)
"""The menu: faults of VMs, then those of the host."""


class Injector:
    """A director that does what an operator asks for; its methods are called between ticks."""

    __slots__ = ("_course",)

    def __init__(self) -> None:
        self._course = Course(MARK)

    def direct(self, world: World) -> None:
        """Undo what is over."""
        self._course.end_due(world)

    def inject(self, world: World, fault_id: str, uuid: str | None) -> None:
        """Make a fault happen now, to a VM or, with None, to the host; it is told as long as it lasts.

        Raises:
            ControlError: there is no such fault or VM, or it cannot happen now; the text says why.
        """
        if fault_id in GUEST_FAULTS:
            guest = _find(world, fault_id, uuid)
            reason = GUEST_FAULTS[fault_id].obstacle(guest) if guest.is_running else "it is not running"
            if reason is not None:
                raise ControlError(f"{guest.plan.name}: no {fault_id} now: {reason}")
            self._course.begin_on_guest(world, GUEST_FAULTS[fault_id], guest)
            return
        if fault_id not in HOST_FAULTS:
            raise ControlError(f"no fault is called {fault_id!r}. {nearest(fault_id, [*GUEST_FAULTS, *HOST_FAULTS])}")
        if uuid is not None:
            raise ControlError(f"{fault_id} happens to the host, not to a VM")
        reason = HOST_FAULTS[fault_id].obstacle(world)
        if reason is not None:
            raise ControlError(f"no {fault_id} now: {reason}")
        self._course.begin_on_host(world, HOST_FAULTS[fault_id])

    def end_faults(self, world: World) -> None:
        """Undo all that was injected and can be undone."""
        self._course.end_all(world)


class SimulatorFaults:
    """Makes things go wrong on a simulated host, between two readings."""

    def __init__(self, shared: SharedWorld) -> None:
        """Share a world with its backend."""
        self._shared = shared
        self._injector = Injector()

    def faults(self) -> tuple[FaultInfo, ...]:
        """What can be injected: faults of VMs, then those of the host."""
        return FAULTS

    def inject_fault(self, fault_id: str, uuid: str | None) -> None:
        """Make it happen now, to a VM or, with None, to the host.

        Raises:
            ControlError: it cannot happen now, or nothing was read yet.
        """
        with self._shared.lock:
            world = self._shared.world
            if world is None:
                raise ControlError(f"{self._shared.uri}: the host was not read yet; try again")
            if self._injector not in world.directors:
                world.directors = (*world.directors, self._injector)
            self._injector.inject(world, fault_id, uuid)

    def end_faults(self) -> None:
        """Undo all that was injected and can be undone."""
        with self._shared.lock:
            if self._shared.world is not None:
                self._injector.end_faults(self._shared.world)


def _find(world: World, fault_id: str, uuid: str | None) -> Guest:
    if uuid is None:
        raise ControlError(f"{fault_id} happens to a VM: choose one")
    for guest in world.guests:
        if guest.plan.uuid == uuid and guest.is_defined:
            return guest
    raise ControlError(f"no VM has the UUID {uuid}")
