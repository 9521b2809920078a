"""What is said of many VMs at once: sums, who is in which condition, who is the largest."""

from collections.abc import Mapping, Sequence
from heapq import nsmallest
from operator import attrgetter
from typing import NamedTuple

from vmtop.derive.metrics import Condition, UsedSource, VmMetrics

GUEST_SUMS = (
    "used_bytes",
    "cache_bytes",
    "free_bytes",
    "guest_swap_in_bytes_per_s",
    "guest_swap_out_bytes_per_s",
    "guest_major_faults_per_s",
)
"""Figures that guests tell; stale ones do not count, and neither does used where only the host tells it."""

HOST_SUMS = (
    "balloon_bytes",
    "maximum_bytes",
    "ballooned_bytes",
    "rss_bytes",
    "hugetlb_bytes",
    "host_swap_bytes",
    "host_major_faults_per_s",
    "ksm_merged_bytes",
    "ksm_saved_bytes",
    "untouched_bytes",
)
"""Figures that the host tells."""

LARGEST = 5
"""So many of the largest VMs are named."""


class Sum(NamedTuple):
    """A sum over VMs."""

    amount: float | None
    """None when there are VMs, and the figure of none of them counts."""
    is_least: bool
    """Some VMs are left out, since their figure is unknown or stale: the true sum is larger."""


class Overview(NamedTuple):
    """Several VMs together; those that are off count in no sum."""

    running: int
    not_counted: int
    """Running VMs whose used memory is stale, unknown, or not told by the guest."""
    jobs: int
    """Jobs that run on them."""
    sums: Mapping[str, Sum]
    """Name of a figure in `GUEST_SUMS` or `HOST_SUMS` -> its sum."""
    used_ratio: float | None
    """Used part of the balloons of all VMs that count. None when none counts."""
    by_condition: Mapping[Condition, Sequence[VmMetrics]]
    """Conditions that occur -> the VMs."""
    largest: Sequence[VmMetrics]
    """Those with most host memory, largest first, at most `LARGEST`."""
    busy: Sequence[VmMetrics]
    """Those on which jobs run."""


_guest_figures = attrgetter(*GUEST_SUMS)
_host_figures = attrgetter(*HOST_SUMS)


def derive_overview(vms: Sequence[VmMetrics]) -> Overview:
    """Look at each VM once: with 10,000 of them, fetching them from memory is what takes time."""
    by_condition: dict[Condition, list[VmMetrics]] = {}
    told_by_guests: list[tuple[float | None, ...]] = []
    told_by_host: list[tuple[float | None, ...]] = []
    used_bytes = of_bytes = 0
    busy: list[VmMetrics] = []
    for vm in vms:
        condition = vm.condition
        group = by_condition.get(condition)
        if group is None:
            group = by_condition[condition] = []
        group.append(vm)
        if condition is Condition.OFF:
            continue
        told_by_host.append(_host_figures(vm))
        if not vm.is_stale:
            figures = _guest_figures(vm)
            if vm.used_source is UsedSource.HOST:
                figures = (None, *figures[1:])
            told_by_guests.append(figures)
            if figures[0] is not None and vm.balloon_bytes:
                used_bytes += figures[0]
                of_bytes += vm.balloon_bytes
        if vm.jobs:
            busy.append(vm)
    running = len(told_by_host)
    guests = _add_up(GUEST_SUMS, told_by_guests, running)
    return Overview(
        running=running,
        not_counted=running - sum(figures[0] is not None for figures in told_by_guests),
        jobs=sum(len(vm.jobs) for vm in busy),
        sums=guests | _add_up(HOST_SUMS, told_by_host, running),
        used_ratio=used_bytes / of_bytes if of_bytes else None,
        by_condition=by_condition,
        largest=nsmallest(LARGEST, vms, key=lambda vm: (-(vm.resident_bytes or 0), vm.name)),
        busy=busy,
    )


def _add_up(names: Sequence[str], told: Sequence[tuple[float | None, ...]], running: int) -> dict[str, Sum]:
    columns = zip(*told, strict=True) if told else ((),) * len(names)
    return {name: _sum(column, running) for name, column in zip(names, columns, strict=True)}


def _sum(column: Sequence[float | None], running: int) -> Sum:
    known = [value for value in column if value is not None]
    is_least = len(known) < running
    return Sum(amount=None if is_least and not known else sum(known), is_least=is_least)
