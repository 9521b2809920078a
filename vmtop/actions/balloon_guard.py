"""May this balloon be moved, and what would it mean?"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from vmtop.actions.command import SetBalloon, SetStatsPeriod
from vmtop.actions.situation import Situation, Subject
from vmtop.actions.size import floor_bytes, size_text
from vmtop.actions.strain import strain_limits, strain_now
from vmtop.actions.verdict import BalloonPreview, Risk, Verdict
from vmtop.derive.metrics import Level, UsedSource, VmMetrics
from vmtop.derive.words import duration_words
from vmtop.model.policy import Policy
from vmtop.model.sample import JobKind, VmFacts

_HARMLESS_JOBS = {JobKind.BACKUP, JobKind.BLOCK_COMMIT, JobKind.BLOCK_COPY, JobKind.BLOCK_PULL}
"""A balloon can be moved while these run; with any other libvirt waits for 30 s and gives up."""


class _Case(NamedTuple):
    command: SetBalloon
    subject: Subject
    now: Situation
    facts: VmFacts
    present_bytes: int


def check_balloon(command: SetBalloon, subject: Subject, now: Situation) -> Verdict:
    """Judge a new balloon size."""
    vm, facts = subject.metrics, subject.sample.facts
    if facts is None:
        reason = subject.sample.unknown.get("facts", "it could not be read yet")
        return Verdict(refusals=(f"the definition of {vm.name} is not known: {reason}",))
    if vm.balloon_bytes is None or vm.maximum_bytes is None:
        reason = vm.unknown.get("balloon_bytes") or vm.unknown.get("maximum_bytes") or "libvirt does not tell it"
        return Verdict(refusals=(f"the size of {vm.name} is not known: {reason}",))
    case = _Case(command, subject, now, facts, vm.balloon_bytes)
    impossible = _reasons(_IMPOSSIBLE, case)
    if impossible:
        return Verdict(refusals=(*impossible, *_reasons(_AT_PRESENT, case)))
    already = _already(case)
    if already:
        return Verdict(already=already)
    preview = preview_balloon(vm, command.target_bytes, now.policy)
    return Verdict(
        refusals=_reasons(_AT_PRESENT, case),
        warnings=tuple(_warnings(case)),
        needs_name=_below_floor(vm, command.target_bytes, preview),
        preview=preview,
    )


def _reasons(rules: Iterable[Callable[[_Case], str | None]], case: _Case) -> tuple[str, ...]:
    return tuple(text for rule in rules if (text := rule(case)) is not None)


def _already(case: _Case) -> str:
    """Why the balloon need not move; empty when it has to, or is on its way, or somebody insists."""
    vm, target_bytes = case.subject.metrics, case.command.target_bytes
    is_there = abs(target_bytes - case.present_bytes) <= case.now.policy.balloon_same_bytes
    if not is_there or case.now.is_balloon_due or case.command.is_forced:
        return ""
    whole = ", which is its maximum" if case.present_bytes == vm.maximum_bytes else ""
    return f"it has {size_text(case.present_bytes)} already{whole}: nothing to do"


def check_period(command: SetStatsPeriod, subject: Subject, _now: Situation) -> Verdict:
    """Judge a new statistics period; all programs share the one that is set."""
    vm, facts = subject.metrics, subject.sample.facts
    refusals = []
    if command.period_s < 0:
        refusals.append(f"a period of {command.period_s} s makes no sense; 0 is never")
    if facts is None:
        refusals.append(f"the definition of {vm.name} is not known")
    elif not facts.has_balloon:
        refusals.append(f"{vm.name} has no balloon device, which would send the figures")
    elif command.expected_s is not None:
        # What it is put back to already does no harm: a reading may lag behind.
        if facts.stats_period_s not in {command.expected_s, command.period_s}:
            present = "not known" if facts.stats_period_s is None else f"{facts.stats_period_s} s"
            refusals.append(f"its period is {present}, not the {command.expected_s} s of vmtop: another program set it")
    elif facts.stats_period_s and facts.stats_period_s != command.period_s and not command.is_forced:
        refusals.append(f"its period is {facts.stats_period_s} s, and another program may rely on it; it can be forced")
    return Verdict(refusals=tuple(refusals))


def preview_balloon(vm: VmMetrics, target_bytes: int, policy: Policy) -> BalloonPreview | None:
    """Foresee what a balloon size would mean; None when the present size is not known."""
    present_bytes = vm.balloon_bytes
    if present_bytes is None:
        return None
    usable_bytes = None
    if vm.used_bytes is not None and vm.used_source is not UsedSource.HOST:
        usable_bytes = max(0, present_bytes - vm.used_bytes)
    floor = floor_bytes(vm, policy)
    least_bytes, most_bytes = _win(vm, present_bytes, target_bytes, policy)
    risk, reason = _risk(vm, present_bytes, target_bytes, floor, policy)
    return BalloonPreview(
        from_bytes=present_bytes,
        to_bytes=target_bytes,
        usable_before_bytes=usable_bytes,
        usable_after_bytes=None if usable_bytes is None else max(0, usable_bytes + target_bytes - present_bytes),
        floor_bytes=floor,
        is_host_view=vm.used_source is UsedSource.HOST,
        win_least_bytes=least_bytes,
        win_most_bytes=most_bytes,
        risk=risk,
        risk_reason=reason,
    )


def _win(vm: VmMetrics, present_bytes: int, target_bytes: int, policy: Policy) -> tuple[int | None, int | None]:
    nominal_bytes = present_bytes - target_bytes
    if nominal_bytes <= 0:
        return 0, 0
    if vm.resident_bytes is None:
        return None, None
    own_bytes = policy.overhead_bytes + int(policy.overhead_ratio * (vm.maximum_bytes or present_bytes))
    # A page that is shared stays where it is when one of its users gives it up.
    shared_bytes = vm.ksm_saved_bytes or 0
    held_bytes = min(present_bytes, max(0, vm.resident_bytes - own_bytes - shared_bytes))
    least_bytes = min(nominal_bytes, max(0, held_bytes - target_bytes))
    return least_bytes, min(nominal_bytes, held_bytes)


def _risk(vm: VmMetrics, present_bytes: int, target_bytes: int, floor: int | None, policy: Policy) -> tuple[Risk, str]:
    if target_bytes >= present_bytes:
        return Risk.NONE, "the guest gets memory back"
    if vm.used_bytes is None or floor is None:
        return Risk.UNKNOWN, "it is not known what the guest uses"
    used = size_text(vm.used_bytes)
    if vm.used_source is UsedSource.HOST:
        return Risk.UNKNOWN, f"the host holds {used} for it, and the guest does not tell how much of that it uses"
    uses = f"{used} that the guest {'used when it told last' if vm.is_stale else 'uses'}"
    if target_bytes < vm.used_bytes:
        return Risk.SEVERE, f"less than the {uses}: it swaps, or its kernel kills programs"
    left = size_text(target_bytes - vm.used_bytes)
    if target_bytes < floor:
        return Risk.HIGH, f"no more than {left} would be left above the {uses}"
    return _risk_above_floor(vm, present_bytes - target_bytes, f"{left} more than the {uses}", policy)


def _risk_above_floor(vm: VmMetrics, given_bytes: int, left: str, policy: Policy) -> tuple[Risk, str]:
    if vm.is_stale:
        return Risk.UNKNOWN, "the guest does not tell at present what it uses"
    loss = _cache_words(vm, given_bytes, policy)
    return (Risk.MEDIUM, loss) if loss else (Risk.LOW, left)


def _cache_words(vm: VmMetrics, given_bytes: int, policy: Policy) -> str:
    """What a guest loses of its page cache that it may read again; empty when that is little."""
    most = strain_limits(vm, policy).faults_per_s
    again = f"the guest waits for what it reads again; the move is rolled back above {most:.0f} pages per second"
    if vm.cache_bytes is None or vm.free_bytes is None:
        return f"the guest does not tell how much of it is page cache; {again}"
    taken_bytes = min(vm.cache_bytes, max(0, given_bytes - vm.free_bytes))
    if taken_bytes <= policy.balloon_cache_ratio * vm.cache_bytes:
        return ""
    return f"{size_text(taken_bytes)} of its {size_text(vm.cache_bytes)} of page cache go: {again}"


def _below_floor(vm: VmMetrics, target_bytes: int, preview: BalloonPreview | None) -> str:
    """Giving back to a guest that is below its floor needs no name: it only gets better."""
    if preview is None or target_bytes >= preview.from_bytes:
        return ""
    if preview.floor_bytes is None:
        return f"it is not known what {vm.name} uses, so there is no safe floor"
    if target_bytes < preview.floor_bytes:
        below = size_text(preview.floor_bytes - target_bytes)
        whose = " (from what the host holds for it: the guest does not tell)" if preview.is_host_view else ""
        return f"{size_text(target_bytes)} is {below} below the safe floor of {size_text(preview.floor_bytes)}{whose}"
    return ""


def _no_device(case: _Case) -> str | None:
    return None if case.facts.has_balloon else f"{case.subject.metrics.name} has no balloon device"


def _out_of_reach(case: _Case) -> str | None:
    facts, name = case.facts, case.subject.metrics.name
    if facts.has_vfio:
        return f"a host device is passed through to {name}: all of its memory is pinned, the balloon does nothing"
    if facts.has_hugepages:
        return f"the memory of {name} comes from huge pages: its balloon gives the host nothing"
    if facts.is_locked:
        return f"the memory of {name} is locked: its balloon gives the host nothing"
    return None


def _no_driver(case: _Case) -> str | None:
    if not case.facts.has_balloon or case.subject.sample.guest is not None:
        return None
    return "no balloon driver was seen in the guest: it never sent figures, and would not follow"


def _old_figures(case: _Case) -> str | None:
    vm = case.subject.metrics
    is_more = case.command.target_bytes > case.present_bytes
    if is_more or case.command.is_forced or case.subject.sample.guest is None:
        return None  # more memory hurts no guest, whatever it uses
    if vm.is_stale:
        age = "their age is unknown" if vm.guest_age_s is None else f"the last are {duration_words(vm.guest_age_s)} old"
        return f"the guest's figures stopped coming ({age}), so nobody knows what it uses now; it can be forced"
    if vm.used_bytes is None or vm.used_source is UsedSource.HOST:
        reason = vm.unknown.get("cache_bytes") or "it sends no figures of it"
        return f"the guest does not tell what it uses: {reason}; it can be forced"
    return None


def _too_large(case: _Case) -> str | None:
    maximum_bytes = case.subject.metrics.maximum_bytes or 0
    if case.command.target_bytes <= maximum_bytes:
        return None
    return f"{size_text(case.command.target_bytes)} is above its maximum of {size_text(maximum_bytes)}"


def _nothing_left(case: _Case) -> str | None:
    if case.command.target_bytes <= 0:
        return "a VM cannot be left without memory"
    if case.command.target_bytes <= case.facts.virtio_mem_bytes:
        plugged = size_text(case.facts.virtio_mem_bytes)
        return f"{plugged} of its memory is virtio-mem, which the balloon cannot take"
    return None


def _busy(case: _Case) -> str | None:
    jobs = sorted({job.kind for job in case.subject.sample.jobs if job.kind not in _HARMLESS_JOBS})
    return f"a job runs ({', '.join(jobs)}), during which libvirt does not move balloons" if jobs else None


_IMPOSSIBLE: tuple[Callable[[_Case], str | None], ...] = (
    *(_no_device, _out_of_reach, _no_driver),
    *(_too_large, _nothing_left),
)
"""Each gives its reason, or None when it has nothing against it. Of what these refuse nothing can be foreseen."""
_AT_PRESENT: tuple[Callable[[_Case], str | None], ...] = (_old_figures, _busy)
"""The same of what may work at another time, or by force."""


def _warnings(case: _Case) -> Iterator[str]:
    vm, facts, host, target_bytes = case.subject.metrics, case.facts, case.now.frame.host, case.command.target_bytes
    if target_bytes > case.present_bytes:
        missing_bytes = target_bytes - case.present_bytes
        if host.level is not None and host.level >= Level.HARD:
            yield f"the host is at {host.level.word}: {host.cause}"
        if host.available_bytes is not None and missing_bytes > host.available_bytes:
            yield f"the host has no more than {size_text(host.available_bytes)} available"
        return
    if facts.min_guarantee_bytes is not None and target_bytes < facts.min_guarantee_bytes:
        yield f"its definition guarantees it {size_text(facts.min_guarantee_bytes)}"
    if facts.has_autodeflate:
        yield "the guest takes memory back by itself when it runs short (autodeflate): the size may not hold"
    if not facts.stats_period_s:
        yield "its statistics period is 0 or unknown: it goes in one step, and nobody sees how the guest takes it"
    yield from strain_now(vm, case.now.policy)
