"""When things go wrong, and for how long: scripts of faults."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vmtop.backends.simulator.dice import HOST_UID, Channel
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.plan import NEVER
from vmtop.backends.simulator.world import NOTICE_S, World

if TYPE_CHECKING:  # the first picture does not wait for the table of all faults
    from vmtop.backends.simulator.fault import GuestFault, HostFault

HOUR_S = 3600


class Event(NamedTuple):
    """A fault at its time."""

    fault: str
    """Key of `GUEST_FAULTS` or `HOST_FAULTS`."""
    at_s: int
    lasts_s: int | None = None
    """When it is undone. None for the fault's own time."""
    every_s: int = 0
    """It comes again after this time; 0 for once."""


class Hazard(NamedTuple):
    """A fault that comes by chance."""

    fault: str
    """Key of `GUEST_FAULTS` or `HOST_FAULTS`."""
    per_hour: float
    """How often on average; of a fault of guests, to each of them."""
    lasts_s: int | None = None


class _Ongoing(NamedTuple):
    text: str
    until: int
    end: Callable[[World], None]
    is_gone: Callable[[], bool]
    """What it befell is no more, and the fault with it."""


class Course:
    """Faults that are going on: begun here, told of, and undone at their time."""

    __slots__ = ("_mark", "_ongoing")

    def __init__(self, mark: str = "") -> None:
        """`mark` goes before what is told."""
        self._mark = mark
        self._ongoing: list[_Ongoing] = []

    def begin_on_host(self, world: World, fault: "HostFault", lasts_s: int | None = None) -> None:
        """Let a fault of the host begin."""
        fault.begin(world)
        self._follow(world, fault.sentence, fault.lasts_s if lasts_s is None else lasts_s, fault.end, lambda: False)

    def begin_on_guest(self, world: World, fault: "GuestFault", guest: Guest, lasts_s: int | None = None) -> None:
        """Let a fault of a guest begin."""
        fault.begin(world, guest)
        run = (guest.domain_id, guest.booted_at)
        undo = fault.end
        self._follow(
            world,
            f"{guest.plan.name}: {fault.sentence}",
            fault.lasts_s if lasts_s is None else lasts_s,
            None if undo is None else lambda world: undo(world, guest),
            # A guest that ended or was started anew has left its fault behind.
            lambda: run != (guest.domain_id, guest.booted_at),
        )

    def _follow(
        self,
        world: World,
        sentence: str,
        lasts_s: int,
        end: Callable[[World], None] | None,
        is_gone: Callable[[], bool],
    ) -> None:
        text = self._mark + sentence
        world.tell(text, lasts_s or NOTICE_S)
        if end is not None:
            self._ongoing.append(_Ongoing(text, world.tick + lasts_s, end, is_gone))

    def end_due(self, world: World) -> None:
        """Undo what is over."""
        if self._ongoing:
            self._end(world, [ongoing for ongoing in self._ongoing if ongoing.until <= world.tick or ongoing.is_gone()])

    def end_all(self, world: World) -> None:
        """Undo everything now."""
        self._end(world, list(self._ongoing))

    def _end(self, world: World, over: Sequence[_Ongoing]) -> None:
        for ongoing in over:
            if not ongoing.is_gone():
                ongoing.end(world)
            world.withdraw(ongoing.text)
            self._ongoing.remove(ongoing)


class FaultScript:
    """Makes faults happen, and undoes them. Nothing happens before tick 0."""

    __slots__ = ("_course", "events", "hazards")

    def __init__(self, events: Sequence[Event] = (), hazards: Sequence[Hazard] = ()) -> None:
        self.events = tuple(events)
        self.hazards = tuple(hazards)
        self._course = Course()

    def direct(self, world: World) -> None:
        """Undo what is over, begin what is due."""
        if world.tick < 0:
            return
        self._course.end_due(world)
        for event in self.events:
            since_s = world.tick - event.at_s
            if since_s == 0 or (event.every_s and since_s > 0 and since_s % event.every_s == 0):
                self._begin(world, event.fault, event.lasts_s)
        if self.hazards:
            self._roll(world)

    def _roll(self, world: World) -> None:
        from vmtop.backends.simulator.fault import GUEST_FAULTS

        for place, hazard in enumerate(self.hazards):
            befallen = len(world.active) if hazard.fault in GUEST_FAULTS else 1
            if world.dice.uniform(HOST_UID - place, world.tick, Channel.FAULT) < hazard.per_hour * befallen / HOUR_S:
                self._begin(world, hazard.fault, hazard.lasts_s)

    def _begin(self, world: World, name: str, lasts_s: int | None) -> None:
        from vmtop.backends.simulator.fault import GUEST_FAULTS, HOST_FAULTS

        if name in HOST_FAULTS:
            if HOST_FAULTS[name].obstacle(world) is None:
                self._course.begin_on_host(world, HOST_FAULTS[name], lasts_s)
            return
        fault = GUEST_FAULTS[name]
        guest = _victim(world, fault)
        if guest is not None:
            self._course.begin_on_guest(world, fault, guest, lasts_s)


def _victim(world: World, fault: "GuestFault") -> Guest | None:
    """Choose a guest that is well but for this, so that faults seldom pile up on one."""
    well = [
        guest
        for guest in world.active
        if not guest.is_frozen
        and guest.driver_from != NEVER
        and (guest.job is None or fault.is_of_job)
        and fault.obstacle(guest) is None
    ]
    return well[world.dice.bits(HOST_UID, world.tick, Channel.VICTIM) % len(well)] if well else None
