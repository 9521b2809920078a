"""The last values of every figure that is drawn over time.

One point holds a figure of all VMs side by side in one flat array of 4-byte floats, so that 10,000 VMs stay small;
seven digits are plenty for a chart. A VM that vanishes leaves no trace once its last point has gone.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from math import isnan, nan
from operator import attrgetter
from sys import getsizeof
from typing import NamedTuple

from vmtop.derive.frame import Frame
from vmtop.derive.metrics import VmMetrics
from vmtop.units import MIB

VM_SERIES = (
    "maximum_bytes",
    "balloon_bytes",
    "used_bytes",
    "reclaimable_bytes",
    "cache_bytes",
    "free_bytes",
    "rss_bytes",
    "host_swap_bytes",
    "guest_swap_in_bytes_per_s",
    "guest_swap_out_bytes_per_s",
    "host_major_faults_per_s",
    "psi_some_avg10_ratio",
    "psi_full_avg10_ratio",
)
"""Figures of a VM that are kept."""

HOST_SERIES = (
    "total_bytes",
    "available_bytes",
    "free_bytes",
    "cache_bytes",
    "vms_bytes",
    "other_bytes",
    "swap_used_bytes",
    "swap_in_bytes_per_s",
    "swap_out_bytes_per_s",
    "psi_some_avg10_ratio",
    "psi_full_avg10_ratio",
    "ksm_saved_bytes",
    "level",
)
"""Figures of the host that are kept."""

GUEST_SERIES = frozenset({"used_bytes", "reclaimable_bytes", "cache_bytes", "free_bytes"})
"""Figures that a guest tells itself: while they are stale, the line has a gap."""

_vm_values = attrgetter(*VM_SERIES)
_host_values = attrgetter(*HOST_SERIES)
_IS_FROM_GUEST = tuple(name in GUEST_SERIES for name in VM_SERIES)


class Series(NamedTuple):
    """The last values of one VM or of the host on one time axis, oldest first."""

    times_s: tuple[float, ...]
    """Monotonic time of each point."""
    values: Mapping[str, tuple[float | None, ...]]
    """Name of each figure -> one value for each time; None where it was unknown, stale, or the VM was not there."""


class _Point(NamedTuple):
    time_s: float
    host: "array[float]"
    places: dict[str, int]
    """UUID -> place of the VM in `vms`; the same object as that of the point before where the VMs are the same."""
    vms: "array[float]"
    size_bytes: int


class History:
    """The last points of one line of frames.

    One thread may add while others read: a reader works on the points that were there when it began.
    """

    def __init__(self, capacity: int = 300, *, most_bytes: int = 64 * MIB) -> None:
        """Keep up to `capacity` points (1 at least), and fewer where these would take more memory than `most_bytes`."""
        self._capacity = capacity
        self._most_bytes = most_bytes
        self._points: tuple[_Point, ...] = ()

    def add(self, frame: Frame) -> None:
        """Append the figures of a frame in place of those of its time and later: recordings can be wound back."""
        now_s = frame.sample.monotonic_s
        points = [point for point in self._points if point.time_s < now_s]
        points.append(_make_point(frame, points[-1].places if points else {}))
        size_bytes, kept = 0, 0
        for point in reversed(points[-self._capacity :]):
            size_bytes += point.size_bytes
            if kept > 0 and size_bytes > self._most_bytes:
                break
            kept += 1
        self._points = tuple(points[-kept:])

    def host(self) -> Series:
        """Give the series of the host, under the names in `HOST_SERIES`."""
        points = self._points
        return _series(points, HOST_SERIES, [point.host for point in points])

    def vm(self, uuid: str) -> Series:
        """Give the series of a VM, under the names in `VM_SERIES`."""
        points, width = self._points, len(VM_SERIES)
        nothing = array("f", [nan] * width)
        places = [point.places.get(uuid) for point in points]
        rows = [
            nothing if place is None else point.vms[place * width : (place + 1) * width]
            for point, place in zip(points, places, strict=True)
        ]
        return _series(points, VM_SERIES, rows)


def _make_point(frame: Frame, places_before: dict[str, int]) -> _Point:
    vms = {vm.uuid: vm for vm in frame.vms}
    is_same_fleet = places_before.keys() == vms.keys()
    places = places_before if is_same_fleet else {uuid: place for place, uuid in enumerate(vms)}
    figures: list[float | None] = []
    for uuid in places:
        figures.extend(_vm_values(vms[uuid]) if not vms[uuid].is_stale else _values_of_stale(vms[uuid]))
    column = _pack(figures)
    size_bytes = len(column) * column.itemsize + (0 if is_same_fleet else getsizeof(places))
    return _Point(frame.sample.monotonic_s, _pack(_host_values(frame.host)), places, column, size_bytes)


def _values_of_stale(vm: VmMetrics) -> list[float | None]:
    return [None if is_old else value for value, is_old in zip(_vm_values(vm), _IS_FROM_GUEST, strict=True)]


def _pack(figures: Iterable[float | None]) -> "array[float]":
    return array("f", [nan if figure is None else figure for figure in figures])


def _series(points: Sequence[_Point], names: Sequence[str], rows: Sequence["array[float]"]) -> Series:
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    return Series(
        times_s=tuple(point.time_s for point in points),
        values={
            name: tuple(None if isnan(value) else value for value in column)
            for name, column in zip(names, columns, strict=True)
        },
    )
