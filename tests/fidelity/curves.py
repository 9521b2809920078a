"""What one telling of a story looked like: figures over time, and when each of its steps began and ended."""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from vmtop.model.sample import Sample
from vmtop.units import MIB, PAGE_BYTES

COUNTERS: Final = frozenset({"swap in", "swap out", "major faults", "ksmd"})
"""Figures that count from somebody's start, so that only their growth can be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Figures of one telling. Sizes are MiB, which keeps recordings short and legible."""

    story: str
    teller: str
    """Who told it, such as the versions of QEMU and of the kernel."""
    starts_s: tuple[float, ...]
    """When each step began, on the clock of `times_s`."""
    ends_s: tuple[float, ...]
    """When each step had settled, which is when the next one begins."""
    times_s: tuple[float, ...]
    values: Mapping[str, tuple[float | None, ...]]
    """Name of the figure -> its values at `times_s`. None where it was unknown."""

    def at(self, name: str, time_s: float) -> float:
        """The figure at some time, on a straight line between its neighbours; before and after all, the nearest.

        Raises:
            ValueError: it was never known.
        """
        points = self.points(name)
        if not points:
            raise ValueError(f"{self.teller} does not tell {name}")
        place = bisect_left(points, (time_s,))
        if place == 0:
            return points[0][1]
        if place == len(points):
            return points[-1][1]
        (before_s, before), (after_s, after) = points[place - 1 : place + 1]
        return before + (after - before) * (time_s - before_s) / (after_s - before_s)

    def points(self, name: str) -> list[tuple[float, float]]:
        """Times and values of a figure, where it is known."""
        values = self.values.get(name, ())
        return [(time_s, value) for time_s, value in zip(self.times_s, values, strict=False) if value is not None]

    def save(self, path: Path) -> None:
        """Write it as JSON, one figure a line."""
        fields = asdict(self)
        values = fields.pop("values")
        lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items()]
        inner = ",\n  ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in values.items())
        path.write_text("{" + ",\n ".join([*lines, f'"values": {{\n  {inner}}}']) + "}\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        fields = json.loads(path.read_text())
        return cls(
            story=fields["story"],
            teller=fields["teller"],
            **{name: tuple(fields[name]) for name in ("starts_s", "ends_s", "times_s")},
            values={name: tuple(values) for name, values in fields["values"].items()},
        )


class Recorder:
    """Collects samples while a story is told."""

    def __init__(self) -> None:
        self._times_s: list[float] = []
        self._rows: list[dict[str, float | None]] = []

    def add(self, time_s: float, sample: Sample, uuid: str, more: Mapping[str, float | None]) -> None:
        """Take the figures of one VM and of its host.

        Args:
            time_s: When, on the story's clock.
            sample: What was read.
            uuid: The VM.
            more: Further figures, which a sample does not have.
        """
        self._times_s.append(round(time_s, 2))
        self._rows.append({**_figures(sample, uuid), **more})

    def curves(self, story: str, names: Sequence[str], teller: str, steps: Sequence[tuple[float, float]]) -> Curves:
        """What was collected.

        Args:
            story: Name of the story.
            names: The figures that matter to it.
            teller: Who told it.
            steps: When each step began and ended.
        """
        return Curves(
            story=story,
            teller=teller,
            starts_s=tuple(round(start_s, 2) for start_s, _ in steps),
            ends_s=tuple(round(end_s, 2) for _, end_s in steps),
            times_s=tuple(self._times_s),
            values={name: tuple(_short(row.get(name)) for row in self._rows) for name in names},
        )


def _figures(sample: Sample, uuid: str) -> dict[str, float | None]:
    """What the sample tells; libvirt does not tell everything while a job holds the VM."""
    vm = next(vm for vm in sample.vms if vm.uuid == uuid)
    found: dict[str, float | None] = {}
    if vm.guest is not None:
        found |= {
            "total": _mib(vm.guest.total_bytes),
            "usable": _mib(vm.guest.usable_bytes),
            "free": _mib(vm.guest.free_bytes),
            "cache": _mib(vm.guest.cache_bytes),
            "swap in": _mib(vm.guest.swap_in_bytes),
            "swap out": _mib(vm.guest.swap_out_bytes),
            "major faults": vm.guest.major_faults,
        }
    if vm.qemu is not None:
        found |= {"rss": _mib(vm.qemu.rss_bytes), "merged": _mib(vm.qemu.ksm_merged_bytes)}
    if sample.host.ksm is not None:
        found |= {"KSM saved": _mib(sample.host.ksm.pages_sharing * PAGE_BYTES), "ksmd": sample.host.ksm.cpu_s}
    return found


def _mib(amount: int | None) -> float | None:
    return None if amount is None else amount / MIB


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
