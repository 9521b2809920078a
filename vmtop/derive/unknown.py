"""Why a figure of a VM is None, in words: one entry for each figure that can be.

The source's own reason comes first, under the name of the sample's field; what vmtop refused or could not compute has
its reason here. Only asked for figures that are None.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import NamedTuple

from vmtop.derive.guest import GuestFigures, GuestUpdate, possible_counter
from vmtop.derive.metrics import VmMetrics
from vmtop.derive.rates import BEGAN_ANEW, FIRST_READING, is_same_process, why_no_rate
from vmtop.model.sample import GuestSample, VmSample

OFF = "off"
NOT_TOLD = "the source did not tell"
NOT_SENT = "the guest does not send it"
IMPOSSIBLE = "the guest sent an impossible figure"
NO_ADVANCE = "the guest's figures have not been seen to advance yet"
STALE = "the guest's figures are stale"
NO_PROCESS = "the QEMU process cannot be read from here"
NO_KSM = "the KSM figures of the host are unknown"
NO_PAGE_SIZE = "it is unknown whether huge pages back the VM, which host RSS leaves out"


class VmDoubt(NamedTuple):
    """What is known about a VM of which figures are unknown."""

    vm: VmSample
    before: VmSample | None
    """The VM in the sample before."""
    guest: GuestFigures
    update: GuestUpdate | None


_Reason = Callable[[VmDoubt], str]


def _told(field: str) -> _Reason:
    return lambda doubt: doubt.vm.unknown.get(field) or NOT_TOLD


def _process(field: str) -> _Reason:
    def why(doubt: VmDoubt) -> str:
        given = doubt.vm.unknown
        return given.get(field) or given.get("qemu") or (NO_PROCESS if doubt.vm.qemu is None else NOT_TOLD)

    return why


def _sent(figure: Callable[[GuestSample], int | None]) -> _Reason:
    def why(doubt: VmDoubt) -> str:
        if doubt.guest.gap or doubt.vm.guest is None:
            return doubt.guest.gap or NOT_SENT
        return NOT_SENT if figure(doubt.vm.guest) is None else IMPOSSIBLE

    return why


def _guest_rate(counter: Callable[[GuestSample], int | None]) -> _Reason:
    def why(doubt: VmDoubt) -> str:
        if doubt.guest.gap or doubt.update is None:
            return doubt.guest.gap or FIRST_READING
        if doubt.guest.is_stale:
            return STALE
        sent = counter(doubt.update.figures)
        return doubt.update.rates.why_none if possible_counter(sent) is not None else _sent(counter)(doubt)

    return why


_why_no_usable = _sent(lambda guest: guest.usable_bytes)
_why_no_free = _sent(lambda guest: guest.free_bytes)
_why_no_balloon = _told("balloon_bytes")
_why_no_maximum = _told("maximum_bytes")
_why_no_rss = _process("rss_bytes")
_why_no_swap = _process("swap_bytes")
_why_not_merged = _process("ksm_merged_bytes")


def _why_no_sizes(doubt: VmDoubt) -> str:
    return _why_no_maximum(doubt) if doubt.vm.maximum_bytes is None else _why_no_balloon(doubt)


def _why_not_resident(doubt: VmDoubt) -> str:
    qemu = doubt.vm.qemu
    is_rss_known = doubt.vm.rss_bytes is not None or (qemu is not None and qemu.rss_bytes is not None)
    return NO_PAGE_SIZE if is_rss_known else _why_no_rss(doubt)


def _why_not_used(doubt: VmDoubt) -> str:
    guest_reason = _why_no_usable(doubt) if doubt.guest.usable_bytes is None else _why_no_balloon(doubt)
    return f"{guest_reason}; {_why_not_resident(doubt)}"


def _why_not_reclaimable(doubt: VmDoubt) -> str:
    return _why_no_free(doubt) if doubt.guest.free_bytes is None else _why_no_usable(doubt)


def _why_not_untouched(doubt: VmDoubt) -> str:
    if doubt.vm.maximum_bytes is None or doubt.vm.balloon_bytes is None:
        return _why_no_sizes(doubt)
    is_swap_unknown = doubt.vm.qemu is None or doubt.vm.qemu.swap_bytes is None
    return _why_no_swap(doubt) if is_swap_unknown else _why_not_resident(doubt)


def _why_not_ratio(doubt: VmDoubt) -> str:
    return _why_no_balloon(doubt) if not doubt.vm.balloon_bytes else _why_not_used(doubt)


def _why_not_saved(doubt: VmDoubt) -> str:
    qemu = doubt.vm.qemu
    return NO_KSM if qemu is not None and qemu.ksm_merged_bytes is not None else _why_not_merged(doubt)


def _why_no_host_faults(doubt: VmDoubt) -> str:
    qemu, before = doubt.vm.qemu, doubt.before.qemu if doubt.before is not None else None
    if qemu is None or qemu.major_faults is None:
        return _process("major_faults")(doubt)
    if before is None:
        return FIRST_READING
    if not is_same_process(before, qemu):
        return BEGAN_ANEW
    return why_no_rate(before.major_faults, qemu.major_faults)


def _why_no_age(doubt: VmDoubt) -> str:
    return doubt.guest.gap or NO_ADVANCE


VM_REASONS: dict[str, _Reason] = {
    "maximum_bytes": _why_no_maximum,
    "balloon_bytes": _why_no_balloon,
    "ballooned_bytes": _why_no_sizes,
    "used_bytes": _why_not_used,
    "used_source": _why_not_used,
    "used_ratio": _why_not_ratio,
    "cache_bytes": _sent(lambda guest: guest.cache_bytes),
    "free_bytes": _why_no_free,
    "reclaimable_bytes": _why_not_reclaimable,
    "untouched_bytes": _why_not_untouched,
    "rss_bytes": _why_no_rss,
    "hugetlb_bytes": _process("hugetlb_bytes"),
    "resident_bytes": _why_not_resident,
    "host_swap_bytes": _why_no_swap,
    "ksm_merged_bytes": _why_not_merged,
    "ksm_saved_bytes": _why_not_saved,
    "cgroup_bytes": _process("cgroup_bytes"),
    "guest_swap_in_bytes_per_s": _guest_rate(lambda guest: guest.swap_in_bytes),
    "guest_swap_out_bytes_per_s": _guest_rate(lambda guest: guest.swap_out_bytes),
    "guest_major_faults_per_s": _guest_rate(lambda guest: guest.major_faults),
    "host_major_faults_per_s": _why_no_host_faults,
    "psi_some_avg10_ratio": _process("pressure"),
    "psi_full_avg10_ratio": _process("pressure"),
    "guest_age_s": _why_no_age,
}
"""Name of each figure of a VM that can be None -> how to tell why."""

_VM_NAMES = tuple(VM_REASONS)
_vm_values = attrgetter(*_VM_NAMES)


def explain(metrics: VmMetrics, doubt: VmDoubt) -> dict[str, str]:
    """Name of each figure of a VM that is None -> the reason."""
    values = zip(_VM_NAMES, _vm_values(metrics), strict=True)
    return {name: VM_REASONS[name](doubt) for name, value in values if value is None}
