"""The figures of the host."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from vmtop.derive.condition import is_off
from vmtop.derive.levels import HostReading, LevelState, next_level
from vmtop.derive.metrics import HostMetrics, VmMetrics
from vmtop.derive.rates import rate_per_s, why_no_rate
from vmtop.derive.unknown import NO_KSM, NOT_TOLD
from vmtop.derive.vm import resident_total
from vmtop.model.policy import Policy, min_free_bytes
from vmtop.model.sample import HostSample, KsmSample, VmSample

_KSM_ITEM_BYTES = 64
"""Bookkeeping for each page that ksmd knows. Source: kernel Documentation/admin-guide/mm/ksm.rst, general_profit."""

_TOLD = (
    "total_bytes",
    "available_bytes",
    "free_bytes",
    "cache_bytes",
    "swap_total_bytes",
    "swap_used_bytes",
    "hugepages_total_bytes",
    "hugepages_free_bytes",
)
"""Figures that are shown as the source tells them."""


class VmSums(NamedTuple):
    """Sums over the VMs that are not off.

    Each is None when the figure of one of them is unknown: a sum of the others would look right and be too small.
    """

    vms: int
    """All VMs, those that are off included."""
    running: int
    """VMs that are not off, which are those that count below."""
    maximum_bytes: int | None
    balloon_bytes: int | None
    resident_bytes: int | None
    """Host RSS and huge pages; pages that KSM shares are counted once for each VM."""
    unknown: dict[str, str]
    """Name of each sum that is None -> the reason in words."""


def sum_vms(vms: Sequence[VmSample], metrics: Sequence[VmMetrics]) -> VmSums:
    """Add up what VMs may take and do take; `metrics` is in the order of `vms`."""
    running = [(vm, figures) for vm, figures in zip(vms, metrics, strict=True) if not is_off(vm)]
    unknown: dict[str, str] = {}

    def add_up(name: str, amounts: list[int | None]) -> int | None:
        known = [amount for amount in amounts if amount is not None]
        if len(known) == len(amounts):
            return sum(known)
        unknown[name] = f"unknown for {len(amounts) - len(known)} of {len(amounts)} running VMs"
        return None

    return VmSums(
        vms=len(vms),
        running=len(running),
        maximum_bytes=add_up("maximum_bytes", [figures.maximum_bytes for _, figures in running]),
        balloon_bytes=add_up("balloon_bytes", [figures.balloon_bytes for _, figures in running]),
        resident_bytes=add_up(
            "resident_bytes",
            [resident_total(vm, figures.rss_bytes, figures.hugetlb_bytes) for vm, figures in running],
        ),
        unknown=unknown,
    )


def derive_host(
    host: HostSample, before: HostSample | None, elapsed_s: float, sums: VmSums, level: LevelState, policy: Policy
) -> tuple[HostMetrics, LevelState]:
    """Compute the figures of the host.

    Args:
        host: the host now.
        before: the same host in the sample before. None when there was none.
        elapsed_s: time since then.
        sums: what the VMs hold.
        level: the state of the ladder as of the frame before.
        policy: where the rungs are.

    Returns:
        The figures, and the state of the ladder to remember.
    """
    total_bytes, available_bytes, ksm, pressure = host.total_bytes, host.available_bytes, host.ksm, host.pressure
    swap_in = rate_per_s(None if before is None else before.swap_in_bytes, host.swap_in_bytes, elapsed_s)
    swap_out = rate_per_s(None if before is None else before.swap_out_bytes, host.swap_out_bytes, elapsed_s)
    state = next_level(
        level,
        HostReading(
            total_bytes=total_bytes,
            available_bytes=available_bytes,
            psi_some_ratio=None if pressure is None else pressure.some_avg10_ratio,
            psi_full_ratio=None if pressure is None else pressure.full_avg10_ratio,
            swap_in_bytes_per_s=swap_in,
            swap_free_ratio=_swap_free_ratio(host),
        ),
        policy,
    )
    vms_bytes = sums.resident_bytes
    if vms_bytes is not None and ksm is not None:
        vms_bytes = max(0, vms_bytes - ksm.pages_sharing * ksm.page_bytes)
    other_bytes = None
    if total_bytes is not None and available_bytes is not None and vms_bytes is not None:
        other_bytes = max(0, total_bytes - available_bytes - vms_bytes)
    droppable_bytes = None
    if available_bytes is not None and host.free_bytes is not None:
        droppable_bytes = max(0, available_bytes - host.free_bytes)
    unknown: dict[str, str] = {}
    metrics = HostMetrics(
        name=host.name,
        level=state.level,
        cause=state.cause,
        total_bytes=total_bytes,
        available_bytes=available_bytes,
        free_bytes=host.free_bytes,
        cache_bytes=host.cache_bytes,
        droppable_bytes=droppable_bytes,
        vms_bytes=vms_bytes,
        other_bytes=other_bytes,
        min_free_bytes=None if total_bytes is None else min_free_bytes(total_bytes),
        swap_total_bytes=host.swap_total_bytes,
        swap_used_bytes=host.swap_used_bytes,
        swap_in_bytes_per_s=swap_in,
        swap_out_bytes_per_s=swap_out,
        pressure=pressure,
        psi_some_avg10_ratio=None if pressure is None else pressure.some_avg10_ratio,
        psi_full_avg10_ratio=None if pressure is None else pressure.full_avg10_ratio,
        ksm_is_running=None if ksm is None else ksm.is_running,
        ksm_saved_bytes=None if ksm is None else (ksm.pages_sharing + (ksm.zero_pages or 0)) * ksm.page_bytes,
        ksm_profit_bytes=None if ksm is None else _ksm_profit_bytes(ksm),
        ksm_cpu_ratio=rate_per_s(_ksm_cpu_s(before), _ksm_cpu_s(host), elapsed_s),
        hugepages_total_bytes=host.hugepages_total_bytes,
        hugepages_free_bytes=host.hugepages_free_bytes,
        overcommit_configured_ratio=_ratio(sums.maximum_bytes, total_bytes),
        overcommit_current_ratio=_ratio(sums.balloon_bytes, total_bytes),
        overcommit_resident_ratio=_ratio(vms_bytes, total_bytes),
        vms_running=sums.running,
        vms_total=sums.vms,
        unknown=unknown,
    )
    reasons = _reasons(metrics, host, before, sums)
    unknown.update((name, reason) for name, reason in reasons.items() if getattr(metrics, name) is None)
    return metrics, state


def _reasons(metrics: HostMetrics, host: HostSample, before: HostSample | None, sums: VmSums) -> dict[str, str]:
    """Name of each figure that can be None -> the reason if it is."""
    given = host.unknown
    total_reason = given.get("total_bytes") or NOT_TOLD
    vms_reason = sums.unknown.get("resident_bytes", "")
    available_reason = given.get("available_bytes") or NOT_TOLD
    pressure_reason = given.get("pressure") or NOT_TOLD
    ksm_reason = given.get("ksm") or NO_KSM

    def ratio_reason(sum_reason: str) -> str:
        return sum_reason if metrics.total_bytes else total_reason

    def rate_reason(field: str, counter: Callable[[HostSample], float | None], otherwise: str) -> str:
        now = counter(host)
        if now is None:
            return given.get(field) or otherwise
        return why_no_rate(None if before is None else counter(before), now)

    return {
        "level": metrics.cause,
        **{name: given.get(name) or NOT_TOLD for name in _TOLD},
        "droppable_bytes": available_reason if host.available_bytes is None else given.get("free_bytes") or NOT_TOLD,
        "vms_bytes": vms_reason,
        "other_bytes": ratio_reason(available_reason if host.available_bytes is None else vms_reason),
        "min_free_bytes": total_reason,
        "swap_in_bytes_per_s": rate_reason("swap_in_bytes", lambda each: each.swap_in_bytes, NOT_TOLD),
        "swap_out_bytes_per_s": rate_reason("swap_out_bytes", lambda each: each.swap_out_bytes, NOT_TOLD),
        "psi_some_avg10_ratio": pressure_reason,
        "psi_full_avg10_ratio": pressure_reason,
        "ksm_is_running": given.get("is_running") or ksm_reason,
        "ksm_saved_bytes": ksm_reason,
        "ksm_profit_bytes": given.get("profit_bytes") or ksm_reason,
        "ksm_cpu_ratio": rate_reason("cpu_s", _ksm_cpu_s, ksm_reason),
        "overcommit_configured_ratio": ratio_reason(sums.unknown.get("maximum_bytes", "")),
        "overcommit_current_ratio": ratio_reason(sums.unknown.get("balloon_bytes", "")),
        "overcommit_resident_ratio": ratio_reason(vms_reason),
    }


def _swap_free_ratio(host: HostSample) -> float | None:
    if not host.swap_total_bytes or host.swap_used_bytes is None:
        return None
    return 1 - host.swap_used_bytes / host.swap_total_bytes


def _ksm_profit_bytes(ksm: KsmSample) -> int | None:
    """The kernel's own figure, or its formula where the kernel does not have it."""
    if ksm.profit_bytes is not None or ksm.pages_unshared is None or ksm.pages_volatile is None:
        return ksm.profit_bytes
    known_pages = ksm.pages_shared + ksm.pages_sharing + ksm.pages_unshared + ksm.pages_volatile
    return ksm.pages_sharing * ksm.page_bytes - known_pages * _KSM_ITEM_BYTES


def _ksm_cpu_s(host: HostSample | None) -> float | None:
    return None if host is None or host.ksm is None else host.ksm.cpu_s


def _ratio(part: int | None, whole: int | None) -> float | None:
    return part / whole if part is not None and whole else None
