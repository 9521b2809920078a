"""Fleets: guests sampled as they are found on real hosts, or after a template."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vmtop.backends.simulator.dice import Channel, Dice
from vmtop.backends.simulator.plan import PAGES_PER_GIB, PAGES_PER_MIB, Family, GuestPlan, Kind, linux, windows
from vmtop.units import GIB, MIB

SIZES = ((1, 0.08), (2, 0.24), (4, 0.32), (8, 0.22), (16, 0.10), (32, 0.04))
"""GiB and how often; our own choice of a common mix."""
VCPUS = {1: 1, 2: 1, 4: 2, 8: 4, 16: 4, 32: 8}

KINDS = (
    (Kind.STEADY, 0.30),
    (Kind.DIURNAL, 0.20),
    (Kind.BURSTY, 0.15),
    (Kind.LEAK, 0.03),
    (Kind.BATCH, 0.10),
    (Kind.IDLE, 0.15),
    (Kind.DB, 0.07),
)

DEBIAN = linux("debian12")
WINDOWS_2022 = windows("win2022")
WINDOWS_2016 = windows("win2016", sends_usable=False)
FAMILIES = (
    (DEBIAN, 0.30),
    (linux("ubuntu24"), 0.25),
    (linux("rocky9"), 0.20),
    (linux("alpine"), 0.05),
    (WINDOWS_2022, 0.15),
    (WINDOWS_2016, 0.05),
)

LINUX_SWAP_SHARE = 0.5
WINDOWS_SWAP_SHARE = 0.25
STATS_PERIOD_S = 5
ZERO_SHARE = (0.2, 0.5)
"""Part of a disk that is allocated and holds only zeros; our own choice. Zero blocks alone are a significant part of
what images have in common: Jin and Miller, SYSTOR'09."""
FREE_PAGE_REPORTING_SHARE = 0.3


class Habits(NamedTuple):
    """What guests of one kind have in common; pairs are ranges that a guest is drawn from."""

    linux_names: tuple[str, ...]
    windows_names: tuple[str, ...]
    utilisation: tuple[float, float]
    """Range of a triangular distribution whose mean lies in the middle."""
    hot_share: tuple[float, float]
    file_set: tuple[float, float]
    """Share of the maximum."""
    file_hot: tuple[float, float]
    """Share of the file set."""
    read_mib_per_s: tuple[float, float]
    write_mib_per_s: tuple[float, float]


_USUAL = (0.12, 0.72)
"""Median 42 %: about half of all VMs never touch half of their memory. Source: Li et al., Pond, ASPLOS'23."""
_HOT = (0.35, 0.75)

HABITS = {
    Kind.STEADY: Habits(
        ("web", "app", "api", "proxy", "mail", "k8s-node"), ("win-app", "sharepoint"),
        _USUAL, _HOT, (0.2, 0.9), (0.15, 0.35), (2, 20), (0.1, 1.0),
    ),
    Kind.DIURNAL: Habits(
        ("shop", "portal", "crm", "wiki"), ("vdi", "exchange"),
        _USUAL, _HOT, (0.2, 0.8), (0.15, 0.35), (2, 20), (0.1, 1.0),
    ),
    Kind.BURSTY: Habits(
        ("ci-runner", "build", "render"), ("win-build",),
        (0.12, 0.50), _HOT, (0.3, 1.0), (0.15, 0.35), (5, 40), (0.5, 3.0),
    ),
    Kind.LEAK: Habits(
        ("billing", "legacy-app"), ("win-legacy",),
        _USUAL, _HOT, (0.1, 0.4), (0.15, 0.35), (1, 10), (0.1, 0.5),
    ),
    Kind.BATCH: Habits(
        ("etl", "report", "spark"), ("win-batch",),
        (0.12, 0.60), _HOT, (0.4, 1.0), (0.10, 0.25), (4, 10), (0.5, 2.0),
    ),
    Kind.IDLE: Habits(
        ("dev", "test", "bastion", "staging"), ("win-test", "ad"),
        (0.08, 0.20), (0.15, 0.15), (0.1, 0.5), (0.10, 0.25), (0.2, 2), (0.02, 0.1),
    ),
    Kind.DB: Habits(
        ("db", "pg", "mysql", "mongo"), ("mssql",),
        (0.45, 0.75), (0.6, 0.75), (1.0, 1.0), (0.2, 0.4), (20, 60), (4.0, 10.0),
    ),
}  # fmt: skip
"""Nothing of this table has a measured source but the utilisation; it is what such guests are known for. Bursty and
batch guests use less between their bursts than others, so that most of these fit into the guest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """So many guests alike; what is None is drawn from the fleet's distributions."""

    count: int
    prefix: str | None = None
    kind: Kind | None = None
    family: Family | None = None
    gib: int | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of `GuestPlan` that are set after all else."""


def sample_fleet(dice: Dice, templates: Sequence[Template]) -> tuple[GuestPlan, ...]:
    """Plans of all guests of the templates, in order.

    A guest depends on its number and template only, so that a larger fleet begins with the guests of a smaller one.
    """
    names: Counter[str] = Counter()
    wanted = [template for template in templates for _ in range(template.count)]
    return tuple(_sample_guest(dice, uid, template, names) for uid, template in enumerate(wanted, start=1))


def _sample_guest(dice: Dice, uid: int, template: Template, names: Counter[str]) -> GuestPlan:
    gib = template.gib or dice.choice(SIZES, uid, Channel.SIZE)
    kind = template.kind or dice.choice(KINDS, uid, Channel.KIND)
    family = template.family or dice.choice(FAMILIES, uid, Channel.FAMILY)
    habits = HABITS[kind]
    maximum = gib * PAGES_PER_GIB

    def draw(bounds: tuple[float, float], channel: Channel) -> float:
        return dice.between(*bounds, uid, channel)

    least, most = habits.utilisation
    triangle = (dice.uniform(uid, 0, Channel.UTILISATION) + dice.uniform(uid, 1, Channel.UTILISATION)) / 2
    file_set = int(draw(habits.file_set, Channel.FILE_SET) * maximum)
    prefixes = habits.windows_names if family.is_windows else habits.linux_names
    prefix = template.prefix or prefixes[dice.bits(uid, 0, Channel.NAME) % len(prefixes)]
    names[prefix] += 1
    plan = GuestPlan(
        uid=uid,
        name=f"{prefix}-{names[prefix]:02d}",
        uuid=_uuid(dice, uid),
        kind=kind,
        family=family,
        maximum=maximum,
        vcpus=VCPUS.get(gib, max(1, gib // 4)),
        utilisation=least + (most - least) * triangle,
        hot_share=draw(habits.hot_share, Channel.HOT_SHARE),
        phase=dice.uniform(uid, 0, Channel.PHASE),
        leak_pages_per_s=draw((4, 32), Channel.LEAK_RATE) * PAGES_PER_MIB / 60 if kind is Kind.LEAK else 0.0,
        file_set=file_set,
        file_hot=int(draw(habits.file_hot, Channel.FILE_HOT) * file_set),
        read_pages_per_s=draw(habits.read_mib_per_s, Channel.READ_RATE) * PAGES_PER_MIB,
        write_bytes_per_s=draw(habits.write_mib_per_s, Channel.WRITE_RATE) * MIB,
        disk_bytes=int(draw((4, 20), Channel.DISK) * max(2, gib)) * GIB // 2,
        zero_share=draw(ZERO_SHARE, Channel.ZERO_SHARE),
        touched_share=1.0 if family.is_windows else dice.uniform(uid, 0, Channel.TOUCHED),
        swap_capacity=int((WINDOWS_SWAP_SHARE if family.is_windows else LINUX_SWAP_SHARE) * maximum),
        stats_period_s=STATS_PERIOD_S,
        has_free_page_reporting=dice.uniform(uid, 0, Channel.FREE_PAGE_REPORTING) < FREE_PAGE_REPORTING_SHARE,
    )
    return plan._replace(**template.changes)


def _uuid(dice: Dice, uid: int) -> str:
    """A random UUID (RFC 9562, version 4)."""
    high = dice.bits(uid, 0, Channel.UUID_HIGH) & ~0xF000 | 0x4000
    low = dice.bits(uid, 0, Channel.UUID_LOW) >> 2 | 1 << 63
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
