"""What goes wrong: a table of faults, and the script that makes them happen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vmtop.backends.simulator.dice import HOST_UID, Channel
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.plan import NEVER
from vmtop.backends.simulator.world import NOTICE_S, World

SLOW_SWAP = 20
"""How many times slower a failing swap device is."""
HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class GuestFault:
    """Something that happens to one guest. `end` undoes it; without it the fault is an event that passes."""

    sentence: str
    """What is wrong; the name of the VM goes before it."""
    begin: Callable[[World, Guest], None]
    end: Callable[[World, Guest], None] | None = None


@dataclass(frozen=True, slots=True)
class HostFault:
    """Something that happens to the host as a whole."""

    sentence: str
    begin: Callable[[World], None]
    end: Callable[[World], None] | None = None


def _lose_driver(_: World, guest: Guest) -> None:
    guest.driver_from = guest.next_report = NEVER


def _stop_reports(_: World, guest: Guest) -> None:
    guest.next_report = NEVER


def _load_driver(world: World, guest: Guest) -> None:
    guest.load_driver(world.tick + 1)


def _vanish(world: World, guest: Guest) -> None:
    world.stop(guest)
    guest.is_defined = False


def _appear(world: World, guest: Guest) -> None:
    guest.is_defined = True
    world.start(guest)


def _reboot(world: World, guest: Guest) -> None:
    world.stop(guest)
    world.start(guest)


def _fail_backup(_: World, guest: Guest) -> None:
    if guest.job is not None:
        guest.job.fails_after = guest.job.done


def _set_swap_slowdown(times: int) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.host.swap_slowdown = times

    return change


def _set_reachable(*, is_reachable: bool) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.is_reachable = is_reachable

    return change


def _update_half(world: World) -> None:
    """Install an update in every second guest: the pages that they shared with the others are replaced."""
    for guest in world.active[::2]:
        guest.is_patching = True


GUEST_FAULTS: Mapping[str, GuestFault] = {
    "driver-hung": GuestFault("balloon driver hangs: its size stays, its figures age", _lose_driver, _load_driver),
    "stats-stale": GuestFault("figures stop coming", _stop_reports, _load_driver),
    "qemu-hung": GuestFault(
        "QEMU does not answer", lambda world, guest: guest.hang(world.tick), lambda _, guest: guest.recover()
    ),
    "paused": GuestFault(
        "paused by an operator", lambda _, guest: guest.pause("user"), lambda _, guest: guest.resume()
    ),
    "reboot": GuestFault("started anew: its counters begin at 0", _reboot),
    "crash": GuestFault("process killed", World.crash),
    "vanish": GuestFault("undefined, and defined again later", _vanish, _appear),
    "backup-full": GuestFault("backup target full", _fail_backup),
}
HOST_FAULTS: Mapping[str, HostFault] = {
    "disconnect": HostFault(
        "the connection to libvirt is gone", _set_reachable(is_reachable=False), _set_reachable(is_reachable=True)
    ),
    "slow-swap": HostFault(
        f"the host's swap device is {SLOW_SWAP} times slower", _set_swap_slowdown(SLOW_SWAP), _set_swap_slowdown(1)
    ),
    "update": HostFault("every second guest installs an update", _update_half),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fault at its time."""

    fault: str
    """Key of `GUEST_FAULTS` or `HOST_FAULTS`."""
    at_s: int
    lasts_s: int = 0
    """When it is undone; 0 for what passes by itself."""
    every_s: int = 0
    """It comes again after this time; 0 for once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazard:
    """A fault of guests that comes by chance."""

    fault: str
    """Key of `GUEST_FAULTS`."""
    per_vm_hour: float
    lasts_s: int = 0


@dataclass(frozen=True, slots=True)
class _Ongoing:
    until: int
    end: Callable[[World], None]


class FaultScript:
    """Makes faults happen, and undoes them. Nothing happens before tick 0."""

    __slots__ = ("_events", "_hazards", "_ongoing")

    def __init__(self, events: Sequence[Event] = (), hazards: Sequence[Hazard] = ()) -> None:
        self._events = tuple(events)
        self._hazards = tuple(hazards)
        self._ongoing: list[_Ongoing] = []

    def direct(self, world: World) -> None:
        """Undo what is over, begin what is due."""
        if world.tick < 0:
            return
        over = [ongoing for ongoing in self._ongoing if ongoing.until <= world.tick]
        for ongoing in over:
            ongoing.end(world)
            self._ongoing.remove(ongoing)
        for event in self._events:
            since_s = world.tick - event.at_s
            if since_s == 0 or (event.every_s and since_s > 0 and since_s % event.every_s == 0):
                self._begin(world, event.fault, event.lasts_s)
        for place, hazard in enumerate(self._hazards):
            chance = hazard.per_vm_hour * len(world.active) / HOUR_S
            if world.dice.uniform(HOST_UID - place, world.tick, Channel.FAULT) < chance:
                self._begin(world, hazard.fault, hazard.lasts_s)

    def _begin(self, world: World, name: str, lasts_s: int) -> None:
        if name in HOST_FAULTS:
            fault = HOST_FAULTS[name]
            fault.begin(world)
            self._finish_later(world, fault.sentence, lasts_s, fault.end)
            return
        guest = _victim(world, name)
        if guest is None:
            return
        guest_fault = GUEST_FAULTS[name]
        guest_fault.begin(world, guest)
        run, undo = guest.domain_id, guest_fault.end

        def end(world: World) -> None:
            # A guest that ended or was started anew meanwhile has left its fault behind.
            if undo is not None and guest.domain_id == run:
                undo(world, guest)

        self._finish_later(world, f"{guest.plan.name}: {guest_fault.sentence}", lasts_s, end if undo else None)

    def _finish_later(self, world: World, text: str, lasts_s: int, end: Callable[[World], None] | None) -> None:
        world.tell(text, lasts_s or NOTICE_S)
        if end is not None:
            self._ongoing.append(_Ongoing(world.tick + lasts_s, end))


def _victim(world: World, name: str) -> Guest | None:
    """Choose a guest that is well, so that faults do not undo each other; a backup can fail only where one runs."""
    needs_job = name == "backup-full"
    well = [
        guest
        for guest in world.active
        if not guest.is_frozen and (guest.job is not None) is needs_job and guest.driver_from != NEVER
    ]
    return well[world.dice.bits(HOST_UID, world.tick, Channel.VICTIM) % len(well)] if well else None
