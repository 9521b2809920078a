"""The memory state of a VM in a word, and why."""

from collections.abc import Callable
from typing import NamedTuple

from vmtop.derive.guest import NO_DEVICE, NO_FIGURES, GuestFigures, GuestRates
from vmtop.derive.metrics import Condition
from vmtop.derive.words import duration_words, percent_words, rate_words, size_words
from vmtop.model.policy import Policy
from vmtop.model.sample import Answer, VmSample, VmState

_PAUSED_STATES = {VmState.PAUSED: "paused", VmState.SUSPENDED: "suspended by its own power management"}


class Evidence(NamedTuple):
    """What a condition is judged by."""

    vm: VmSample
    guest: GuestFigures
    rates: GuestRates | None
    thrash_s: float | None
    """For how long the guest has swapped in and out fast. None while it does not."""
    used_bytes: int | None
    """Used, as the guest tells. None when only the host tells."""
    held_bytes: int | None
    """Memory of the guest that the host holds."""
    policy: Policy


MOVED = "the VM is off here: it was migrated to another host"
"""The reason of a VM that is still defined where it came from."""


def is_off(vm: VmSample) -> bool:
    """A VM without a QEMU process."""
    return vm.domain_id is None or vm.state is VmState.SHUTOFF


def _off(seen: Evidence) -> str | None:
    if not is_off(seen.vm) or seen.vm.state is VmState.CRASHED:
        return None
    return MOVED if seen.vm.state_reason == "migrated" else "the VM is off"


def _crashed(seen: Evidence) -> str | None:
    return f"the VM crashed{_because(seen.vm)}" if seen.vm.state is VmState.CRASHED else None


def _hung(seen: Evidence) -> str | None:
    if seen.vm.answer is not Answer.HUNG:
        return None
    hung_s = seen.vm.hung_s
    return "QEMU does not answer" if hung_s is None else f"QEMU has not answered for {duration_words(hung_s)}"


def _paused(seen: Evidence) -> str | None:
    words = _PAUSED_STATES.get(seen.vm.state)
    return None if words is None else f"{words}{_because(seen.vm)}"


def _busy(seen: Evidence) -> str | None:
    if seen.vm.answer is not Answer.BUSY:
        return None
    jobs = ", ".join(job.kind for job in seen.vm.jobs)
    return f"a job holds the VM: {jobs}" if jobs else "a job holds the VM"


def _no_balloon(seen: Evidence) -> str | None:
    return NO_DEVICE if seen.guest.gap == NO_DEVICE else None


def _no_stats(seen: Evidence) -> str | None:
    return seen.guest.gap or None if seen.guest.gap != NO_FIGURES else None


def _no_driver(seen: Evidence) -> str | None:
    return seen.guest.gap or None


def _stale(seen: Evidence) -> str | None:
    if not seen.guest.is_stale:
        return None
    age_s = seen.guest.age_s
    if age_s is None:
        return "the guest's figures have not been seen to advance yet"
    return f"the guest sent its last figures {duration_words(age_s)} ago"


def _thrash(seen: Evidence) -> str | None:
    if seen.thrash_s is None or seen.thrash_s < seen.policy.thrash_s:
        return None
    return f"the guest swaps in and out at once for {duration_words(seen.thrash_s)}"


def _swapping(seen: Evidence) -> str | None:
    swap_in = seen.rates.swap_in_bytes_per_s if seen.rates is not None else None
    if swap_in is None or swap_in <= seen.policy.guest_swapping_bytes_per_s:
        return None
    share = _usable_ratio(seen)
    # Swapping in with memory to spare is a guest that recovers.
    if share is not None and share >= seen.policy.guest_tight_ratio:
        return None
    return f"the guest reads {rate_words(swap_in)} from its swap"


def _starved(seen: Evidence) -> str | None:
    if not _is_ballooned(seen.vm):
        return None
    usable_bytes, share = seen.guest.usable_bytes, _usable_ratio(seen)
    if usable_bytes is None or share is None:
        return None
    if share >= seen.policy.guest_starved_ratio and usable_bytes >= seen.policy.guest_starved_bytes:
        return None
    return f"the balloon leaves {size_words(usable_bytes)} usable, {percent_words(share)}"


def _waiting(seen: Evidence) -> str | None:
    pressure = seen.vm.qemu.pressure if seen.vm.qemu is not None else None
    if pressure is None or pressure.some_avg10_ratio < seen.policy.psi_soft_some_ratio:
        return None
    return f"some of its tasks waited for host memory {percent_words(pressure.some_avg10_ratio)} of the last 10 s"


def _tight(seen: Evidence) -> str | None:
    share = _usable_ratio(seen)
    return f"{percent_words(share)} usable" if share is not None and share < seen.policy.guest_tight_ratio else None


def _ballooned(seen: Evidence) -> str | None:
    maximum_bytes, balloon_bytes = seen.vm.maximum_bytes, seen.vm.balloon_bytes
    if maximum_bytes is None or balloon_bytes is None or balloon_bytes >= maximum_bytes:
        return None
    return f"{size_words(maximum_bytes - balloon_bytes)} of {size_words(maximum_bytes)} given back"


def _idle(seen: Evidence) -> str | None:
    held_bytes, used_bytes, cache_bytes, policy = seen.held_bytes, seen.used_bytes, seen.guest.cache_bytes, seen.policy
    if held_bytes is None or used_bytes is None or cache_bytes is None:
        return None
    wanted_bytes = max(policy.wanted_used_times * used_bytes, used_bytes + policy.wanted_spare_bytes)
    wanted_bytes += policy.wanted_cache_ratio * cache_bytes
    if held_bytes - wanted_bytes <= policy.idle_ratio * held_bytes:
        return None
    return f"{size_words(held_bytes - wanted_bytes)} of the {size_words(held_bytes)} it holds are not wanted"


RULES: tuple[tuple[Condition, Callable[[Evidence], str | None]], ...] = (
    (Condition.OFF, _off),
    (Condition.CRASHED, _crashed),
    (Condition.HUNG, _hung),
    (Condition.PAUSED, _paused),
    (Condition.BUSY, _busy),
    (Condition.NO_BALLOON, _no_balloon),
    (Condition.NO_STATS, _no_stats),
    (Condition.NO_DRIVER, _no_driver),
    (Condition.STALE, _stale),
    (Condition.THRASH, _thrash),
    (Condition.SWAPPING, _swapping),
    (Condition.STARVED, _starved),
    (Condition.WAITING, _waiting),
    (Condition.TIGHT, _tight),
    (Condition.BALLOONED, _ballooned),
    (Condition.IDLE, _idle),
)
"""In the order of `Condition`; each rule gives its reason as a short sentence, or None when it does not apply."""

_TELLING_RULES = RULES[[condition for condition, _ in RULES].index(Condition.THRASH) :]


def find_condition(seen: Evidence) -> tuple[Condition, str]:
    """Name the first condition that applies, and the reason; the reason of ok is empty."""
    vm = seen.vm
    is_telling = vm.state is VmState.RUNNING and vm.answer is Answer.FULL and vm.domain_id is not None
    # Nearly all VMs: spare them the rules about those that tell nothing.
    rules = _TELLING_RULES if is_telling and not seen.guest.gap and not seen.guest.is_stale else RULES
    for condition, rule in rules:
        reason = rule(seen)
        if reason is not None:
            return condition, reason
    return Condition.OK, ""


def _because(vm: VmSample) -> str:
    return f": {vm.state_reason}" if vm.state_reason else ""


def _is_ballooned(vm: VmSample) -> bool:
    return vm.maximum_bytes is not None and vm.balloon_bytes is not None and vm.balloon_bytes < vm.maximum_bytes


def _usable_ratio(seen: Evidence) -> float | None:
    total_bytes = seen.guest.total_bytes or seen.vm.balloon_bytes
    usable_bytes = seen.guest.usable_bytes
    return usable_bytes / total_bytes if usable_bytes is not None and total_bytes else None
