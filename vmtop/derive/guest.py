"""What the figures that a guest sends are worth: do they come, are they fresh and possible, how fast do they move.

Guests send their figures once per statistics period, so one set is seen in several samples. Fresh are figures whose
`last-update` goes on; with a period of 0 a guest sends one set when its balloon driver loads, and that stays for ever.
"""

from typing import NamedTuple

from vmtop.derive.rates import BEGAN_ANEW, CLOCK_STOOD, FIRST_READING, rate_per_s
from vmtop.model.policy import Policy
from vmtop.model.sample import Answer, GuestSample, Sample, VmSample

NO_DEVICE = "the VM has no balloon device"
NO_PERIOD = "the statistics period is 0, so the guest's figures do not move"
NO_FIGURES = "the guest sent no figures yet: it still boots or has no balloon driver"
NO_DEFINITION = "the guest sent no figures, and its definition could not be read yet"
NOT_TOLD_BUSY = "another job holds the VM, so libvirt told only its sizes"
NOT_TOLD_UNASKED = "libvirt was not asked for its figures yet, since other VMs hang"
NOT_TOLD_HUNG = "QEMU does not answer"

_MOST_BYTES = 1 << 60
_MOST_COUNT = 1 << 63
"""Some Windows drivers send 2**64 - 1 for what they do not know."""


class GuestRates(NamedTuple):
    """Counters of a guest, per second, between its last two sets of figures; None with the reason in `why_none`."""

    swap_in_bytes_per_s: float | None
    swap_out_bytes_per_s: float | None
    major_faults_per_s: float | None
    why_none: str


class GuestUpdate(NamedTuple):
    """The last set of figures that a guest sent, and what followed from it; held until the next one."""

    domain_id: int | None
    """The run of the VM that sent it."""
    figures: GuestSample
    balloon_bytes: int | None
    """Size of the balloon when the figures came: later sizes do not go with them."""
    seen_s: float
    """Monotonic time of the first sample with this set."""
    age_when_seen_s: float | None
    """How old it was then. None where that cannot be told: first sight through a clock that is not ours."""
    rates: GuestRates
    thrash_since_s: float | None
    """Monotonic time since which the guest swaps in and out fast. None while it does not."""


class GuestFigures(NamedTuple):
    """What counts of the figures of one guest in one sample; impossible ones are None."""

    gap: str
    """Why there are no figures that count, in words; then all others are None. Empty where there are some."""
    age_s: float | None
    is_stale: bool
    total_bytes: int | None
    usable_bytes: int | None
    """What guest programs can get without swapping; free plus cache where the guest does not send it."""
    free_bytes: int | None
    cache_bytes: int | None
    is_usable_sent: bool
    """False where `usable_bytes` is free plus cache."""


def no_figures(gap: str) -> GuestFigures:
    """Say that a guest has no figures that count, and why."""
    return GuestFigures(gap, None, False, None, None, None, None, False)


_NOT_TOLD = {Answer.HUNG: NOT_TOLD_HUNG, Answer.BUSY: NOT_TOLD_BUSY, Answer.NOT_ASKED: NOT_TOLD_UNASKED}


def guest_gap(vm: VmSample) -> str:
    """Reason why a VM has no guest figures that count; empty when it has some, fresh or stale."""
    facts = vm.facts
    if facts is not None and not facts.has_balloon:
        return NO_DEVICE
    if vm.guest is None:
        if vm.answer is not Answer.FULL:
            return _NOT_TOLD[vm.answer]
        return NO_DEFINITION if facts is None else NO_FIGURES
    return NO_PERIOD if facts is not None and facts.stats_period_s == 0 else ""


def stale_after_s(vm: VmSample, policy: Policy) -> float:
    """Age from which the figures of this guest are stale, in seconds.

    Where the period is unknown, only figures that go on within the least time count as fresh.
    """
    period_s = vm.facts.stats_period_s if vm.facts is not None else None
    return max(policy.stale_periods * period_s, policy.stale_least_s) if period_s else policy.stale_least_s


def follow_guest(
    before: GuestUpdate | None, vm: VmSample, guest: GuestSample, sample: Sample, policy: Policy
) -> GuestUpdate:
    """Give the last update of a guest: the one from before while nothing new came."""
    if before is not None and before.domain_id != vm.domain_id:
        before = None
    if before is not None and before.figures.last_update_s == guest.last_update_s:
        return before
    rates = _rates(before, guest)
    return GuestUpdate(
        domain_id=vm.domain_id,
        figures=guest,
        balloon_bytes=vm.balloon_bytes,
        seen_s=sample.monotonic_s,
        age_when_seen_s=_age_when_seen_s(before is not None, guest, sample, stale_after_s(vm, policy)),
        rates=rates,
        thrash_since_s=_thrash_since_s(before, rates, policy),
    )


def read_guest(update: GuestUpdate, vm: VmSample, guest: GuestSample, now_s: float, policy: Policy) -> GuestFigures:
    """Judge the figures of a guest at the monotonic time `now_s`."""
    age_s = None if update.age_when_seen_s is None else update.age_when_seen_s + now_s - update.seen_s
    most_bytes = vm.maximum_bytes or _MOST_BYTES
    total_bytes, usable_bytes = guest.total_bytes, guest.usable_bytes
    free_bytes, cache_bytes = guest.free_bytes, guest.cache_bytes
    if total_bytes is not None and not 0 <= total_bytes <= most_bytes:
        total_bytes = None
    if usable_bytes is not None and not 0 <= usable_bytes <= most_bytes:
        usable_bytes = None
    if free_bytes is not None and not 0 <= free_bytes <= most_bytes:
        free_bytes = None
    if cache_bytes is not None and not 0 <= cache_bytes <= most_bytes:
        cache_bytes = None
    is_usable_sent = usable_bytes is not None
    if not is_usable_sent and free_bytes is not None and cache_bytes is not None:
        usable_bytes = free_bytes + cache_bytes if free_bytes + cache_bytes <= most_bytes else None
    is_stale = age_s is None or age_s > stale_after_s(vm, policy)
    return GuestFigures("", age_s, is_stale, total_bytes, usable_bytes, free_bytes, cache_bytes, is_usable_sent)


def _age_when_seen_s(has_advanced: bool, guest: GuestSample, sample: Sample, limit_s: float) -> float | None:
    """Age of figures at first sight.

    The wall clock tells where it is the guest host's own. Through another clock, figures that just advanced are new;
    at first sight a plausible age is taken for true.
    """
    wall_s = sample.time_s - guest.last_update_s
    is_own_clock = sample.is_local or sample.is_simulated
    is_trusted = wall_s >= -limit_s and (is_own_clock or (not has_advanced and wall_s <= limit_s))
    if is_trusted:
        return max(0.0, wall_s)
    return 0.0 if has_advanced else None


def _rates(before: GuestUpdate | None, guest: GuestSample) -> GuestRates:
    if before is None:
        return GuestRates(None, None, None, FIRST_READING)
    old = before.figures
    # All count from the guest's boot: one that got smaller tells that the others began anew as well.
    if (
        _got_smaller(old.minor_faults, guest.minor_faults)
        or _got_smaller(old.major_faults, guest.major_faults)
        or _got_smaller(old.swap_in_bytes, guest.swap_in_bytes)
        or _got_smaller(old.swap_out_bytes, guest.swap_out_bytes)
    ):
        return GuestRates(None, None, None, BEGAN_ANEW)
    elapsed_s = guest.last_update_s - old.last_update_s
    return GuestRates(
        rate_per_s(possible_counter(old.swap_in_bytes), possible_counter(guest.swap_in_bytes), elapsed_s),
        rate_per_s(possible_counter(old.swap_out_bytes), possible_counter(guest.swap_out_bytes), elapsed_s),
        rate_per_s(possible_counter(old.major_faults), possible_counter(guest.major_faults), elapsed_s),
        FIRST_READING if elapsed_s > 0 else CLOCK_STOOD,
    )


def _got_smaller(old: int | None, new: int | None) -> bool:
    return old is not None and new is not None and new < old


def possible_counter(counter: int | None) -> int | None:
    """Pass on a counter unless it is one that no guest can have."""
    return counter if counter is not None and 0 <= counter < _MOST_COUNT else None


def _thrash_since_s(before: GuestUpdate | None, rates: GuestRates, policy: Policy) -> float | None:
    limit = policy.guest_thrash_bytes_per_s
    swap_in, swap_out = rates.swap_in_bytes_per_s, rates.swap_out_bytes_per_s
    if before is None or swap_in is None or swap_out is None or swap_in <= limit or swap_out <= limit:
        return None
    # The rates are those since the update before this one.
    return before.seen_s if before.thrash_since_s is None else before.thrash_since_s
