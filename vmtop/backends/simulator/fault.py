"""What goes wrong: a table of faults."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from vmtop.backends.simulator.backup import NETWORK_LOST, NO_SPACE, BackupJob
from vmtop.backends.simulator.fleet import Template, sample_fleet
from vmtop.backends.simulator.foreign import ProxmoxBalancer, is_managed
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.job import Ending
from vmtop.backends.simulator.ksm import Run
from vmtop.backends.simulator.plan import NEVER, PAGES_PER_MIB
from vmtop.backends.simulator.world import World
from vmtop.model.sample import JobKind

SLOW_SWAP = 20
"""How many times slower a failing swap device is."""
CLOCK_JUMP_S = 3600
FOREIGN_SHARE = 0.9
"""Somebody else leaves a guest so much of what it has ..."""
FOREIGN_STEP = 64 * PAGES_PER_MIB
"""... in round numbers."""
PAUSED_BY_USER = "user"
"""In the words of `virsh domstate --reason`."""
NEW_VM_GIB = 2
NETWORK_BREAKS_AT = 0.6
"""Share of a backup after which its connection breaks."""


class GuestFault(NamedTuple):
    """Something that happens to one guest. `end` undoes it; without it the fault is an event that passes."""

    sentence: str
    """What is wrong; the name of the VM goes before it."""
    begin: Callable[[World, Guest], None]
    end: Callable[[World, Guest], None] | None = None
    lasts_s: int = 0
    """When it is undone, unless somebody says otherwise; 0 for an event."""
    obstacle: Callable[[Guest], str | None] = lambda _: None
    """Why it cannot happen to this running guest now. None when it can."""
    is_of_job: bool = False
    """It happens to the job that runs on the guest."""


class HostFault(NamedTuple):
    """Something that happens to the host as a whole."""

    sentence: str
    begin: Callable[[World], None]
    end: Callable[[World], None] | None = None
    lasts_s: int = 0
    obstacle: Callable[[World], str | None] = lambda _: None


def _no_driver(guest: Guest) -> str | None:
    if guest.driver_from == NEVER:
        return "no balloon driver works in it"
    is_silent = guest.next_report == NEVER and guest.stats_period_s != 0
    return "its figures do not come anyway" if is_silent else None


def _no_figures(guest: Guest) -> str | None:
    return "its figures do not come anyway" if guest.next_report == NEVER else None


def _no_usable(guest: Guest) -> str | None:
    is_told = guest.plan.family.sends_usable and not guest.flaws.hides_usable
    return _no_figures(guest) if is_told else "it does not tell them anyway"


def _frozen(guest: Guest) -> str | None:
    return "it stands still already" if guest.is_frozen else None


def _no_balloon(guest: Guest) -> str | None:
    return None if guest.plan.has_balloon else "it has no memory balloon"


def _not_to_squeeze(guest: Guest) -> str | None:
    if guest.driver_from == NEVER:
        return "no balloon driver works in it"
    return None if _squeezed(guest) > 2 * guest.kernel + guest.high else "it has nothing left to give"


def _no_backup(guest: Guest) -> str | None:
    return None if isinstance(guest.job, BackupJob) else "no backup of it runs"


def _already(has_flaw: Callable[[Guest], bool]) -> Callable[[Guest], str | None]:
    return lambda guest: "it is so already" if has_flaw(guest) else None


def _lose_driver(_: World, guest: Guest) -> None:
    guest.driver_from = guest.next_report = NEVER


def _unload_driver(world: World, guest: Guest) -> None:
    """A driver that is unloaded gives the whole balloon back. Source: remove_common in virtio_balloon.c."""
    _lose_driver(world, guest)
    guest.free += guest.plan.maximum - guest.current
    guest.current = guest.plan.maximum


def _stop_reports(_: World, guest: Guest) -> None:
    guest.next_report = NEVER


def _load_driver(world: World, guest: Guest) -> None:
    guest.load_driver(world.tick + 1)


def _set_flaw(name: str, value: int) -> Callable[[World, Guest], None]:
    """Set a field of `Flaws`."""

    def change(_: World, guest: Guest) -> None:
        setattr(guest.flaws, name, value)

    return change


def _squeezed(guest: Guest) -> int:
    return int(FOREIGN_SHARE * guest.current) // FOREIGN_STEP * FOREIGN_STEP


def _squeeze(_: World, guest: Guest) -> None:
    guest.target = _squeezed(guest)


def _resume(_: World, guest: Guest) -> None:
    # Somebody else may have paused it meanwhile.
    if guest.paused_for == PAUSED_BY_USER:
        guest.resume()


def _migrate(world: World, guest: Guest) -> None:
    # Hardly any world migrates, and the first picture waits for all that is imported before it.
    from vmtop.backends.simulator.migration import start_migration

    start_migration(world, guest)


def _copy_disk(world: World, guest: Guest) -> None:
    from vmtop.backends.simulator.copy import start_copy

    start_copy(world, guest)


def _end_copy(world: World, guest: Guest) -> None:
    from vmtop.backends.simulator.copy import end_copy

    end_copy(world, guest)


def _has_job(guest: Guest) -> str | None:
    return None if guest.job is None else "a job runs on it"


def _bound_to_host(guest: Guest) -> str | None:
    if guest.plan.has_vfio:
        return "a device of this host is passed through to it"
    return _has_job(guest)


def _vanish(world: World, guest: Guest) -> None:
    world.stop(guest)
    guest.is_defined = False


def _appear(world: World, guest: Guest) -> None:
    guest.is_defined = True
    world.start(guest)


def _restart(world: World, guest: Guest) -> None:
    world.stop(guest)
    world.start(guest)


def _fill_target(world: World, guest: Guest) -> None:
    world.end_job(guest, NO_SPACE)


def _break_network(_: World, guest: Guest) -> None:
    if isinstance(guest.job, BackupJob):
        guest.job.fail_at(NETWORK_BREAKS_AT, NETWORK_LOST)


def _fail_snapshot(world: World, guest: Guest) -> None:
    guest.flaws.refuses_snapshots = True
    if guest.job is not None and guest.job.kind is JobKind.SNAPSHOT:
        world.end_job(guest, Ending(is_good=False, error="Input/output error"))


GUEST_FAULTS: Mapping[str, GuestFault] = {
    "driver-hung": GuestFault(
        "balloon driver hangs: its size stays, its figures age", _lose_driver, _load_driver, 300, _no_driver
    ),
    "no-driver": GuestFault(
        "balloon driver unloaded: it takes all of its memory back", _unload_driver, _load_driver, 300, _no_driver
    ),
    "stats-stale": GuestFault("figures stop coming", _stop_reports, _load_driver, 120, _no_figures),
    "stats-partial": GuestFault(
        "figures come without usable memory and page cache",
        _set_flaw("hides_usable", True),
        _set_flaw("hides_usable", False),
        300,
        _no_usable,
    ),
    "stats-ahead": GuestFault(
        "figures bear a time one hour ahead",
        _set_flaw("clock_ahead_s", CLOCK_JUMP_S),
        _set_flaw("clock_ahead_s", 0),
        120,
        lambda guest: _no_figures(guest) or _already(lambda guest: guest.flaws.clock_ahead_s != 0)(guest),
    ),
    "guest-hung": GuestFault(
        "its kernel hangs, QEMU does not",
        lambda _, guest: guest.hang_kernel(),
        lambda _, guest: guest.recover_kernel(),
        120,
        _frozen,
    ),
    "qemu-hung": GuestFault(
        "QEMU does not answer",
        lambda world, guest: guest.hang(world.tick),
        lambda _, guest: guest.recover(),
        30,
        _frozen,
    ),
    "paused": GuestFault("paused by an operator", lambda _, guest: guest.pause(PAUSED_BY_USER), _resume, 60, _frozen),
    "balloon-error": GuestFault(
        "setting its balloon fails",
        _set_flaw("refuses_balloon", True),
        _set_flaw("refuses_balloon", False),
        120,
        lambda guest: _no_balloon(guest) or _already(lambda guest: guest.flaws.refuses_balloon)(guest),
    ),
    "foreign-balloon": GuestFault(
        "somebody else took a tenth of its memory",
        _squeeze,
        obstacle=lambda guest: _frozen(guest) or _not_to_squeeze(guest),
    ),
    "agent-hung": GuestFault(
        "its agent does not answer: freezing times out",
        _set_flaw("has_hung_agent", True),
        _set_flaw("has_hung_agent", False),
        300,
        _already(lambda guest: guest.flaws.has_hung_agent),
    ),
    "snapshot-error": GuestFault(
        "snapshots of it fail",
        _fail_snapshot,
        _set_flaw("refuses_snapshots", False),
        120,
        _already(lambda guest: guest.flaws.refuses_snapshots),
        is_of_job=True,
    ),
    "backup-full": GuestFault(
        "backup target full: the guest is stopped, too", _fill_target, obstacle=_no_backup, is_of_job=True
    ),
    "backup-network": GuestFault(
        f"backup loses its connection at {NETWORK_BREAKS_AT:.0%}", _break_network, obstacle=_no_backup, is_of_job=True
    ),
    "guest-oom": GuestFault("its own OOM killer ended its biggest program", World.kill_program, obstacle=_frozen),
    "reboot": GuestFault(
        "rebooted: its counters begin at 0", lambda world, guest: guest.reboot(world.tick), obstacle=_frozen
    ),
    "restart": GuestFault("stopped and started anew", _restart),
    "crash": GuestFault("process killed", World.crash),
    "migration": GuestFault("is moved to another host while it runs", _migrate, obstacle=_bound_to_host),
    "vanish": GuestFault("undefined, and defined again later", _vanish, _appear, 60),
    "disk-copy": GuestFault("somebody copies its disk while it runs", _copy_disk, _end_copy, 300, _has_job),
}


def _set_reachable(*, is_reachable: bool) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.is_reachable = is_reachable

    return change


def _set_clock(ahead_s: int) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.clock_ahead_s = ahead_s

    return change


def _set_store_reachable(*, is_reachable: bool) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.store.is_reachable = is_reachable

    return change


def _set_swap_slowdown(times: int) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.host.swap_slowdown = times

    return change


def _unmerge(world: World) -> None:
    world.host.sharing.run = Run.UNMERGE


def _merge(world: World) -> None:
    world.host.sharing.run = Run.MERGE


def _nothing_to_unmerge(world: World) -> str | None:
    sharing = world.host.sharing
    return None if sharing.is_running and sharing.shared else "KSM does not run or has merged nothing"


def _update_half(world: World) -> None:
    """Install an update in every second guest: the pages that they shared with the others are replaced."""
    for guest in world.active[::2]:
        guest.is_patching = True


def _add_balancer(world: World) -> None:
    world.directors = (*world.directors, ProxmoxBalancer())


def _remove_balancer(world: World) -> None:
    world.directors = tuple(director for director in world.directors if not isinstance(director, ProxmoxBalancer))


def _no_use_for_balancer(world: World) -> str | None:
    if any(isinstance(director, ProxmoxBalancer) for director in world.directors):
        return "one is at work already"
    return None if any(map(is_managed, world.active)) else "no VM tells its figures"


def _add_vm(world: World) -> None:
    uid = max(guest.plan.uid for guest in world.guests) + 1
    (*_, plan) = sample_fleet(world.dice, (Template(count=uid, gib=NEW_VM_GIB),))
    world.add(plan._replace(name=f"new-{uid:02d}"))


HOST_FAULTS: Mapping[str, HostFault] = {
    "disconnect": HostFault(
        "the connection to libvirt is gone",
        _set_reachable(is_reachable=False),
        _set_reachable(is_reachable=True),
        20,
        lambda world: None if world.is_reachable else "it is gone already",
    ),
    "clock-jump": HostFault(
        "the host's clock was set an hour ahead",
        _set_clock(CLOCK_JUMP_S),
        _set_clock(0),
        120,
        lambda world: "it is ahead already" if world.clock_ahead_s else None,
    ),
    "slow-swap": HostFault(
        f"the host's swap device is {SLOW_SWAP} times slower",
        _set_swap_slowdown(SLOW_SWAP),
        _set_swap_slowdown(1),
        120,
        lambda world: "it is slow already" if world.host.swap_slowdown != 1 else None,
    ),
    "store-gone": HostFault(
        "the store of the backups does not answer",
        _set_store_reachable(is_reachable=False),
        _set_store_reachable(is_reachable=True),
        60,
        lambda world: None if world.store.is_reachable else "it does not answer already",
    ),
    "ksm-unmerge": HostFault("KSM was told to part all that it merged", _unmerge, _merge, 120, _nothing_to_unmerge),
    "update": HostFault("every second guest installs an update", _update_half),
    "foreign-balancer": HostFault(
        "a balancer of somebody else moves balloons", _add_balancer, _remove_balancer, 600, _no_use_for_balancer
    ),
    "new-vm": HostFault("somebody defined a VM and started it", _add_vm),
    "host-oom": HostFault(
        "the host's OOM killer is called",
        World.kill_biggest_vm,
        obstacle=lambda world: None if world.active else "no VM runs",
    ),
}
