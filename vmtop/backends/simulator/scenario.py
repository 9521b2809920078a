"""The named worlds of the demo: one row each."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from vmtop.backends.simulator.admin import leave_available
from vmtop.backends.simulator.dice import Channel, Dice
from vmtop.backends.simulator.fleet import DEBIAN, WINDOWS_2022, Template, sample_fleet
from vmtop.backends.simulator.plan import (
    NEVER,
    PAGES_PER_GIB,
    PAGES_PER_MIB,
    WARM_UP_S,
    GuestPlan,
    HostPlan,
    Kind,
    linux,
)
from vmtop.backends.simulator.schedule import BackupWindow, Snapshots
from vmtop.backends.simulator.script import Event, FaultScript, Hazard
from vmtop.backends.simulator.world import Director, World
from vmtop.errors import UsageError
from vmtop.wording import nearest

DEFAULT_SCENARIO = "overcommit"

WARM_UP_GUEST_S = 12_000
"""Seconds of single guests that a world lives before its first picture. Up to 300 guests get all of `WARM_UP_S`, 1,000
get 12 s and 10,000 just one, so that nobody waits for a large fleet."""

VCPUS_PER_CPU = 3
LEAST_PAGES_PER_VM = 256 * PAGES_PER_MIB
LEAST_SHARE = 0.05
"""A host holds at least the kernel and the QEMU process of each guest, however much it is overcommitted."""

GUESTS_PER_CAST = 40
"""In each so many guests every role is given once ..."""
GUESTS_PER_ROLE = 4
"""... and in a small fleet to no more than each fourth guest."""

Changes = Mapping[str, Any]
"""Fields of `GuestPlan` or `HostPlan`."""
NO_CHANGES: Changes = MappingProxyType({})


class Role(NamedTuple):
    """Something special about one guest of a fleet."""

    fits: Callable[[GuestPlan], bool]
    changes: Callable[[GuestPlan], Changes]


def _is_large_linux(plan: GuestPlan) -> bool:
    return not plan.family.is_windows and plan.maximum >= 8 * PAGES_PER_GIB


def _is_constant(plan: GuestPlan) -> bool:
    return plan.kind in {Kind.STEADY, Kind.DB} and _is_large_linux(plan) and plan.utilisation > 0.3


def _is_small(plan: GuestPlan) -> bool:
    return plan.maximum <= 4 * PAGES_PER_GIB


def _squeeze(plan: GuestPlan) -> Changes:
    """A balloon that went too far: what the programs touch all the time fits, the rest of it does not."""
    wanted = int(plan.utilisation * plan.maximum)
    return {"target": 64 * PAGES_PER_MIB + plan.maximum // 20 + int(0.8 * wanted)}


CAST = (
    Role(_is_constant, _squeeze),
    Role(_is_large_linux, lambda _: {"has_driver": False}),
    Role(_is_large_linux, lambda _: {"reports_until": -45}),
    Role(_is_small, lambda _: {"is_paused": True}),
    Role(_is_small, lambda _: {"starts_at": NEVER}),
    Role(_is_small, lambda _: {"stats_period_s": 0}),
    Role(_is_small, lambda _: {"has_vfio": True}),
    Role(_is_small, lambda _: {"has_balloon": False}),
    Role(_is_small, lambda _: {"has_hugepages": True}),
    Role(_is_small, lambda _: {"has_autodeflate": True}),
)
"""What an operator of a real host meets, the most telling first: a guest that swaps under its balloon, one without
driver, one whose figures went stale, a paused one, one that is off, one without statistics period, a passed-through
device, no balloon device, huge pages, autodeflate."""


def _by_chance(share: float, channel: Channel, changes: Changes) -> Callable[[Dice, GuestPlan], Changes]:
    """Change a share of the guests."""
    return lambda dice, plan: changes if dice.uniform(plan.uid, 0, channel) < share else {}


def _sampled(count: int) -> Sequence[Template]:
    return (Template(count=count),)


def _peaceful(count: int) -> Sequence[Template]:
    kinds = (Kind.STEADY, Kind.DIURNAL, Kind.IDLE, Kind.STEADY, Kind.DB)
    return [Template(count=1, kind=kinds[place % len(kinds)]) for place in range(count)]


def _boot_storm(count: int) -> Sequence[Template]:
    return [
        Template(
            count=1,
            gib=4,
            family=WINDOWS_2022 if place % 3 == 0 else DEBIAN,
            changes={
                "starts_at": 1 + 60 * place // count,
                "has_free_page_reporting": place % 2 == 0,
                "file_set": PAGES_PER_GIB // 2,
                "file_hot": PAGES_PER_GIB // 4,
            },
        )
        for place in range(count)
    ]


def _one_leaks(count: int) -> Sequence[Template]:
    leak = {"leak_pages_per_s": 20 * PAGES_PER_MIB / 60, "utilisation": 0.6, "phase": 0.9, "swap_capacity": 0}
    leaker = Template(count=1, prefix="billing", kind=Kind.LEAK, family=DEBIAN, gib=4, changes=leak)
    return (leaker, Template(count=count - 1, kind=Kind.STEADY))


def _clones(count: int) -> Sequence[Template]:
    changes = {"utilisation": 0.35, "file_set": PAGES_PER_GIB // 4, "touched_share": 0.3}
    return (Template(count=count, prefix="clone", kind=Kind.STEADY, family=DEBIAN, gib=2, changes=changes),)


def _no_two_alike(count: int) -> Sequence[Template]:
    return [Template(count=1, family=linux(f"appliance-{place}")) for place in range(count)]


def _hostile_names(count: int) -> Sequence[Template]:
    named = [Template(count=1, changes={"name": name}) for name in HOSTILE_NAMES[:count]]
    return (*named, Template(count=count - len(named)))


def _everything() -> Sequence[Director]:
    from vmtop.backends.simulator.fault import GUEST_FAULTS, HOST_FAULTS

    hazards = [
        *(Hazard(fault=name, per_hour=0.01) for name in GUEST_FAULTS),
        *(Hazard(fault=name, per_hour=0.2) for name in HOST_FAULTS),
    ]
    return BackupWindow(parallel=8, pull_every=4), FaultScript(hazards=hazards)


def _proxmox() -> Sequence[Director]:
    from vmtop.backends.simulator.foreign import ProxmoxBalancer

    return (ProxmoxBalancer(),)


HOSTILE_NAMES = (
    "[red]x[/]",
    "[@click=app.quit]press me[/]",
    "\x1b[2J\x1b[31mcleared and red\x1b[0m",
    "\x1b]0;another title\x07",
    "\x9b31mred by a single byte",
    "two\nlines",
    "carriage\rreturn",
    "a\ttab",
    "bell\x07 and backspace\x08\x08",
    "\u202edrawkcab",
    "\u2066isolated\u2069 and \u200fright to left",
    "\u05e2\u05d1\u05e8\u05d9\u05ea-01",
    "\u6570\u636e\u5e93-\u4e3b\u8282\u70b9",
    "wide \uff21\uff22\uff23",
    "e\u0301 is two characters, n\u0303 too",
    "zero\u200bwidth\u200dand\ufeffmore",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 family",
    "\U0001f600" * 40,
    "a" * 255,
    " spaces around ",
    "%s {name} $(reboot) `id`",
    "=cmd|' /C calc'!A0",
    "\"quoted\", 'too', and; separated",
    "-rf",
    "../../etc/passwd",
)
"""All that a definition, or a daemon that lies, can put into a name."""


class Scenario(NamedTuple):
    """One world, at any size."""

    name: str
    sentence: str
    vms: int
    """How many, when nobody says."""
    overcommit: float
    """Sum of the guests' maxima / memory of the host."""
    fleet: Callable[[int], Sequence[Template]] = _sampled
    """From the number of guests to what they are."""
    cast: Sequence[Role] = ()
    vary: Callable[[Dice, GuestPlan], Changes] | None = None
    """What some of the guests have by chance."""
    leaves: float | None = None
    """An operator ballooned guests until so many times `min_free_bytes` should stay available. None: nobody did."""
    swap_share: float = 1 / 8
    """Swap of the host as a share of its memory."""
    swapped_share: float = 0.0
    """Share of the host's swap that holds cold pages from before the operator did it."""
    host: Changes = NO_CHANGES
    directors: Callable[[], Sequence[Director]] = tuple


_SCENARIOS = (
    Scenario(
        name="overcommit",
        sentence="40 mixed VMs with half as much again as the host has; an operator set balloons by hand.",
        vms=40,
        overcommit=1.5,
        cast=CAST,
        leaves=3.0,
        swapped_share=0.03,
        directors=lambda: (
            BackupWindow(parallel=2),
            FaultScript([Event(fault="qemu-hung", at_s=90, lasts_s=25, every_s=900)]),
        ),
    ),
    Scenario(
        name="calm",
        sentence="12 VMs on a host with plenty of memory; nothing happens.",
        vms=12,
        overcommit=0.7,
        fleet=_peaceful,
        vary=lambda _, plan: {"utilisation": min(plan.utilisation, 0.5)},
    ),
    Scenario(
        name="boot-storm",
        sentence="30 VMs boot within a minute; Windows writes zeros to all of its memory, and KSM finds them again.",
        vms=30,
        overcommit=1.5,
        fleet=_boot_storm,
    ),
    Scenario(
        name="memory-leak",
        sentence="One of 16 VMs grows by 20 MiB a minute until its own OOM killer ends it.",
        vms=16,
        overcommit=0.9,
        fleet=_one_leaks,
    ),
    Scenario(
        name="backup-window",
        sentence="20 VMs are backed up from minute 5 on, most by push, some by pull; one fails, and one VM moves away.",
        vms=20,
        overcommit=1.1,
        leaves=4.0,
        directors=lambda: (
            BackupWindow(parallel=4, starts_at=300, failures=1, pull_every=4),
            FaultScript([Event(fault="migration", at_s=420)]),
        ),
    ),
    Scenario(
        name="ksm-gold",
        sentence="40 small VMs from one image; after 10 minutes every second one installs an update.",
        vms=40,
        overcommit=1.4,
        fleet=_clones,
        directors=lambda: (FaultScript([Event(fault="update", at_s=600)]),),
    ),
    Scenario(
        name="ksm-diverse",
        sentence="40 VMs of which no two have the same system; sharing saves little.",
        vms=40,
        overcommit=1.2,
        fleet=_no_two_alike,
        leaves=4.0,
    ),
    Scenario(
        name="swap-thrash",
        sentence="40 VMs with more than twice what the host has, slow disks and nobody who balances: the host swaps.",
        vms=40,
        overcommit=2.2,
        swap_share=0.35,
        host={"swap_bandwidth": 120 * PAGES_PER_MIB, "latency_s": 2e-3},
    ),
    Scenario(
        name="mixed-fleet-1000",
        sentence="1,000 VMs on a host with terabytes; backups by push and pull, migrations, and every kind of fault.",
        vms=1000,
        overcommit=1.5,
        cast=CAST,
        leaves=3.0,
        directors=_everything,
    ),
    Scenario(
        name="diurnal-peak",
        sentence="40 VMs whose users all come at the same hours; try it with --speed 300.",
        vms=40,
        overcommit=1.3,
        fleet=lambda count: (
            Template(count=count, kind=Kind.DIURNAL, changes={"phase": 0.1, "has_free_page_reporting": True}),
        ),
        vary=lambda _, plan: {
            # All alike, so that the peak presses a host of any size as much.
            "utilisation": 0.3 + plan.utilisation / 4,
            "file_set": plan.file_set // 4,
            "file_hot": plan.file_hot // 4,
        },
    ),
    Scenario(
        name="no-driver-30",
        sentence="The overcommitted host, where 30 % of the VMs have no balloon driver.",
        vms=40,
        overcommit=1.5,
        vary=_by_chance(0.3, Channel.DRIVER, {"has_driver": False}),
        leaves=3.0,
    ),
    Scenario(
        name="flaky-libvirt",
        sentence="The connection breaks for 20 s every five minutes, and a tenth of the VMs stopped to report.",
        vms=40,
        overcommit=1.3,
        vary=_by_chance(0.1, Channel.STALE, {"reports_until": -60}),
        leaves=4.0,
        directors=lambda: (FaultScript([Event(fault="disconnect", at_s=300, lasts_s=20, every_s=300)]),),
    ),
    Scenario(
        name="snapshot-stun",
        sentence="A snapshot with memory each minute; its VM stands still meanwhile.",
        vms=20,
        overcommit=1.0,
        directors=lambda: (Snapshots(every_s=60, count=10),),
    ),
    Scenario(
        name="foreign-balancer",
        sentence="30 VMs on a host where the balancer of Proxmox VE moves balloons that nobody asked to move.",
        vms=30,
        overcommit=1.3,
        vary=lambda _, plan: {"min_guarantee": plan.maximum // 2},
        leaves=4.0,
        directors=_proxmox,
    ),
    Scenario(
        name="hostile-names",
        sentence="VMs with names made to harm the screen: markup, escape sequences, newlines, bidi, 255 characters.",
        vms=len(HOSTILE_NAMES),
        overcommit=1.0,
        fleet=_hostile_names,
    ),
)

SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _SCENARIOS}


def find_scenario(name: str) -> Scenario:
    """The scenario with this name.

    Raises:
        UsageError: there is none; the text names the nearest and all.
    """
    if name in SCENARIOS:
        return SCENARIOS[name]
    raise UsageError(f"no scenario is called {name!r}. {nearest(name, SCENARIOS)}")


def scenario_names() -> tuple[str, ...]:
    """All names, the default first."""
    return tuple(SCENARIOS)


def describe_scenarios() -> str:
    """A line for each scenario, as `vmtop --demo list` prints them."""
    width = max(map(len, SCENARIOS))
    return "".join(f"{scenario.name:{width}}  {scenario.sentence}\n" for scenario in _SCENARIOS)


def make_world(name: str, *, seed: int = 1, vms: int | None = None, epoch_s: int = 0) -> World:
    """The world of a scenario at the moment of the first picture.

    Args:
        name: Of the scenario.
        seed: Another fleet and another course of things; the same each time.
        vms: How many guests, for which the host is made to measure. None for the scenario's own number.
        epoch_s: Wall clock at that moment.

    Raises:
        UsageError: no such scenario, or less than one VM.
    """
    scenario = find_scenario(name)
    count = scenario.vms if vms is None else vms
    if count < 1:
        raise UsageError(f"{count} VMs make no host: give a number from 1")
    dice = Dice(seed)
    plans = sample_plans(scenario, dice, count)
    host_plan = size_host(scenario, plans)
    return World(
        host_plan,
        plans,
        dice,
        epoch_s=epoch_s,
        warm_up_s=min(WARM_UP_S, max(1, WARM_UP_GUEST_S // count)),
        swapped_before=int(scenario.swapped_share * host_plan.swap_capacity),
        operate=None if scenario.leaves is None else partial(leave_available, scenario.leaves),
        directors=scenario.directors(),
    )


def sample_plans(scenario: Scenario, dice: Dice, count: int) -> list[GuestPlan]:
    """The guests of a scenario, with their roles."""
    plans = list(sample_fleet(dice, scenario.fleet(count)))
    if scenario.vary is not None:
        plans = [plan._replace(**scenario.vary(dice, plan)) for plan in plans]
    for first in range(0, count, GUESTS_PER_CAST):
        block = range(first, min(first + GUESTS_PER_CAST, count))
        free = list(block)
        for role in scenario.cast[: len(block) // GUESTS_PER_ROLE]:
            place = next((place for place in free if role.fits(plans[place])), None)
            if place is not None:
                free.remove(place)
                plans[place] = plans[place]._replace(**role.changes(plans[place]))
    return plans


def size_host(scenario: Scenario, plans: Sequence[GuestPlan]) -> HostPlan:
    """A host made to measure, in whole GiB."""
    maxima = sum(plan.maximum for plan in plans)
    least = PAGES_PER_GIB + int(LEAST_SHARE * maxima) + LEAST_PAGES_PER_VM * len(plans)
    hugepages = sum(plan.maximum for plan in plans if plan.has_hugepages)
    total = -(-max(int(maxima / scenario.overcommit), least + hugepages) // PAGES_PER_GIB) * PAGES_PER_GIB
    cpus = max(4, -(-sum(plan.vcpus for plan in plans) // VCPUS_PER_CPU // 4) * 4)
    sizes = {
        "total": total,
        "cpus": cpus,
        "swap_capacity": max(PAGES_PER_GIB, int(scenario.swap_share * total)),
        "hugepages": hugepages,
    }
    return HostPlan(**(sizes | dict(scenario.host)))
