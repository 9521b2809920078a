"""One tick of the program: a sample and all that follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from vmtop.derive.guest import GuestUpdate
from vmtop.derive.host import derive_host, sum_vms
from vmtop.derive.job import NO_JOBS, JobBook, follow_jobs
from vmtop.derive.levels import LevelState
from vmtop.derive.metrics import HostMetrics, VmMetrics
from vmtop.derive.overview import Overview, derive_overview
from vmtop.derive.vm import Tick, derive_vm, ksm_saved_ratio
from vmtop.model.policy import Policy
from vmtop.model.sample import Sample


class Roster(NamedTuple):
    """Who is there. The same object as long as nobody comes, goes or changes name."""

    uuids: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Everything on the screen comes from one of these."""

    sample: Sample
    host: HostMetrics
    vms: tuple[VmMetrics, ...]
    """In the order of `sample.vms`."""
    roster: Roster
    """Who `vms` are, in the same order."""
    overview: Overview
    """All of `vms` together."""
    level: LevelState
    """What the ladder remembers for the next frame."""
    jobs: JobBook
    """Jobs that run and ended."""
    guests: Mapping[str, GuestUpdate]
    """UUID -> the last set of figures that the guest sent, for the next frame."""


def derive_frame(previous: Frame | None, sample: Sample, policy: Policy) -> Frame:
    """Compute all figures of `sample`; `previous` gives the differences and the memory of the levels.

    A previous frame of another source, or of a later time (a recording that is wound back), does not count.
    """
    if previous is not None and not _is_successor(sample, previous.sample):
        previous = None
    before = {} if previous is None else {vm.uuid: vm for vm in previous.sample.vms}
    held = {} if previous is None else previous.guests
    elapsed_s = 0.0 if previous is None else sample.monotonic_s - previous.sample.monotonic_s
    tick = Tick(sample, elapsed_s, ksm_saved_ratio(sample.host.ksm), policy)

    metrics: list[VmMetrics] = []
    guests: dict[str, GuestUpdate] = {}
    for vm in sample.vms:
        uuid = vm.uuid
        figures, update = derive_vm(vm, before.get(uuid), held.get(uuid), tick)
        metrics.append(figures)
        if update is not None:
            guests[uuid] = update

    host, level = derive_host(
        sample.host,
        None if previous is None else previous.sample.host,
        elapsed_s,
        sum_vms(sample.vms, metrics),
        LevelState() if previous is None else previous.level,
        policy,
    )
    return Frame(
        sample=sample,
        host=host,
        vms=tuple(metrics),
        roster=_keep(Roster(tuple([vm.uuid for vm in metrics]), tuple([vm.name for vm in metrics])), previous),
        overview=derive_overview(metrics),
        level=level,
        jobs=follow_jobs(NO_JOBS if previous is None else previous.jobs, sample, elapsed_s, policy),
        guests=guests,
    )


def _keep(roster: Roster, previous: Frame | None) -> Roster:
    return previous.roster if previous is not None and previous.roster == roster else roster


def _is_successor(sample: Sample, before: Sample) -> bool:
    is_same_source = sample.uri == before.uri and sample.host.name == before.host.name
    return is_same_source and sample.monotonic_s >= before.monotonic_s
