"""The figures of one VM."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from vmtop.derive.condition import Evidence, find_condition, is_off
from vmtop.derive.guest import GuestFigures, GuestUpdate, follow_guest, guest_gap, no_figures, read_guest
from vmtop.derive.metrics import UsedSource, VmMetrics
from vmtop.derive.rates import is_same_process, rate_per_s
from vmtop.derive.unknown import NOT_TOLD, OFF, VM_REASONS, VmDoubt, explain
from vmtop.model.policy import Policy
from vmtop.model.sample import NOTHING_UNKNOWN, KsmSample, Sample, VmSample


class Tick(NamedTuple):
    """What all VMs of one sample have in common."""

    sample: Sample
    elapsed_s: float
    """Since the sample before; 0 when there was none."""
    ksm_saved_ratio: float | None
    """Share of merged memory that is saved. None where the host's KSM figures are unknown."""
    policy: Policy


class _HostSide(NamedTuple):
    """What the host tells about a VM; None where it does not."""

    rss_bytes: int | None
    hugetlb_bytes: int | None
    swap_bytes: int | None
    ksm_merged_bytes: int | None
    ksm_saved_bytes: int | None
    cgroup_bytes: int | None
    major_faults_per_s: float | None
    psi_some_ratio: float | None
    psi_full_ratio: float | None


def ksm_saved_ratio(ksm: KsmSample | None) -> float | None:
    """Share of merged memory that is saved: of n equal pages, n - 1 are. None where KSM's figures are unknown."""
    if ksm is None:
        return None
    merged_pages = ksm.pages_shared + ksm.pages_sharing
    return ksm.pages_sharing / merged_pages if merged_pages else 0.0


def resident_total(vm: VmSample, rss_bytes: int | None, hugetlb_bytes: int | None) -> int | None:
    """Memory of the QEMU process in RAM, huge pages included; None when a part of it is unknown."""
    if rss_bytes is None:
        return None
    if hugetlb_bytes is not None:
        return rss_bytes + hugetlb_bytes
    has_none = vm.facts is not None and not vm.facts.has_hugepages
    return rss_bytes if has_none else None


def derive_vm(
    vm: VmSample, before: VmSample | None, update: GuestUpdate | None, tick: Tick
) -> tuple[VmMetrics, GuestUpdate | None]:
    """Compute the figures of one VM.

    Args:
        vm: the VM now.
        before: the same VM in the sample before; None when it was not there.
        update: its last guest update, as of the frame before.
        tick: what all VMs of the sample have in common.

    Returns:
        The figures, and the last guest update to remember.
    """
    if is_off(vm):
        return _derive_off(vm, tick.policy), None
    policy, now_s = tick.policy, tick.sample.monotonic_s
    gap, sent = guest_gap(vm), vm.guest
    if sent is not None:
        update = follow_guest(update, vm, sent, tick.sample, policy)
    if not gap and sent is not None and update is not None:
        guest = read_guest(update, vm, sent, now_s, policy)
        rates = None if guest.is_stale else update.rates
        thrash_s = None if update.thrash_since_s is None else now_s - update.thrash_since_s
    else:
        guest, rates, thrash_s = no_figures(gap), None, None

    host = _host_side(vm, before, tick)
    maximum_bytes, balloon_bytes = vm.maximum_bytes, vm.balloon_bytes
    resident_bytes = resident_total(vm, host.rss_bytes, host.hugetlb_bytes)
    used_bytes, used_source = _used(guest, update, resident_bytes, balloon_bytes)
    if used_source is UsedSource.HOST and used_bytes is not None and guest.free_bytes is not None and balloon_bytes:
        used_bytes = min(used_bytes, max(0, balloon_bytes - guest.free_bytes))
    held_bytes = untouched_bytes = ballooned_bytes = reclaimable_bytes = None
    if maximum_bytes is not None and balloon_bytes is not None:
        ballooned_bytes = max(0, maximum_bytes - balloon_bytes)
        if resident_bytes is not None:
            own_bytes = policy.overhead_bytes + int(policy.overhead_ratio * maximum_bytes)
            held_bytes = min(balloon_bytes, max(0, resident_bytes - own_bytes))
            if host.swap_bytes is not None:
                touched_bytes = max(0, resident_bytes + host.swap_bytes - own_bytes)
                untouched_bytes = max(0, balloon_bytes - touched_bytes)
    if guest.usable_bytes is not None and guest.free_bytes is not None:
        reclaimable_bytes = max(0, guest.usable_bytes - guest.free_bytes)
    guest_used_bytes = None if used_source is UsedSource.HOST else used_bytes
    condition, reason = find_condition(Evidence(vm, guest, rates, thrash_s, guest_used_bytes, held_bytes, policy))

    is_doubtful = rates is None or None in rates or None in host or None in guest or untouched_bytes is None
    unknown: dict[str, str] = {}
    metrics = VmMetrics(
        uuid=vm.uuid,
        name=vm.name,
        state=vm.state,
        answer=vm.answer,
        hung_s=vm.hung_s,
        condition=condition,
        reason=reason,
        maximum_bytes=maximum_bytes,
        balloon_bytes=balloon_bytes,
        ballooned_bytes=ballooned_bytes,
        used_bytes=used_bytes,
        used_source=used_source,
        used_ratio=used_bytes / balloon_bytes if used_bytes is not None and balloon_bytes else None,
        cache_bytes=guest.cache_bytes,
        free_bytes=guest.free_bytes,
        reclaimable_bytes=reclaimable_bytes,
        untouched_bytes=untouched_bytes,
        rss_bytes=host.rss_bytes,
        hugetlb_bytes=host.hugetlb_bytes,
        resident_bytes=resident_bytes,
        host_swap_bytes=host.swap_bytes,
        ksm_merged_bytes=host.ksm_merged_bytes,
        ksm_saved_bytes=host.ksm_saved_bytes,
        cgroup_bytes=host.cgroup_bytes,
        guest_swap_in_bytes_per_s=None if rates is None else rates.swap_in_bytes_per_s,
        guest_swap_out_bytes_per_s=None if rates is None else rates.swap_out_bytes_per_s,
        guest_major_faults_per_s=None if rates is None else rates.major_faults_per_s,
        host_major_faults_per_s=host.major_faults_per_s,
        psi_some_avg10_ratio=host.psi_some_ratio,
        psi_full_avg10_ratio=host.psi_full_ratio,
        guest_age_s=guest.age_s,
        is_stale=guest.is_stale,
        jobs=vm.jobs,
        unknown=unknown if is_doubtful else NOTHING_UNKNOWN,
    )
    if is_doubtful:
        unknown.update(explain(metrics, VmDoubt(vm, before, guest, update)))
    return metrics, update


_OFF_FIGURES: Mapping[str, None] = MappingProxyType({name: None for name in VM_REASONS if name != "maximum_bytes"})
_OFF_UNKNOWN: Mapping[str, str] = MappingProxyType(dict.fromkeys(_OFF_FIGURES, OFF))


def _derive_off(vm: VmSample, policy: Policy) -> VmMetrics:
    """A VM that is off has a maximum, and no other figure."""
    condition, reason = find_condition(Evidence(vm, no_figures(OFF), None, None, None, None, policy))
    size_reason = vm.unknown.get("maximum_bytes") or NOT_TOLD
    return VmMetrics(
        uuid=vm.uuid,
        name=vm.name,
        state=vm.state,
        answer=vm.answer,
        hung_s=vm.hung_s,
        condition=condition,
        reason=reason,
        maximum_bytes=vm.maximum_bytes,
        is_stale=False,
        jobs=vm.jobs,
        unknown=_OFF_UNKNOWN if vm.maximum_bytes is not None else {**_OFF_UNKNOWN, "maximum_bytes": size_reason},
        **_OFF_FIGURES,
    )


def _host_side(vm: VmSample, before: VmSample | None, tick: Tick) -> _HostSide:
    """Take libvirt's RSS where the process itself cannot be read."""
    qemu = vm.qemu
    if qemu is None:
        return _HostSide(vm.rss_bytes, None, None, None, None, None, None, None, None)
    saved_bytes = faults_per_s = None
    merged_bytes, saved_ratio = qemu.ksm_merged_bytes, tick.ksm_saved_ratio
    if merged_bytes is not None and saved_ratio is not None:
        saved_bytes = int(merged_bytes * saved_ratio) + (qemu.ksm_zero_bytes or 0)
    earlier = None if before is None else before.qemu
    if earlier is not None and is_same_process(earlier, qemu):
        faults_per_s = rate_per_s(earlier.major_faults, qemu.major_faults, tick.elapsed_s)
    return _HostSide(
        vm.rss_bytes if qemu.rss_bytes is None else qemu.rss_bytes,
        qemu.hugetlb_bytes,
        qemu.swap_bytes,
        merged_bytes,
        saved_bytes,
        qemu.cgroup_bytes,
        faults_per_s,
        None if qemu.pressure is None else qemu.pressure.some_avg10_ratio,
        None if qemu.pressure is None else qemu.pressure.full_avg10_ratio,
    )


def _used(
    guest: GuestFigures, update: GuestUpdate | None, resident_bytes: int | None, balloon_bytes: int | None
) -> tuple[int | None, UsedSource | None]:
    if guest.usable_bytes is not None and update is not None and update.balloon_bytes is not None:
        source = UsedSource.USABLE if guest.is_usable_sent else UsedSource.CACHES
        return max(0, update.balloon_bytes - guest.usable_bytes), source
    if resident_bytes is None:
        return None, None
    return resident_bytes if balloon_bytes is None else min(resident_bytes, balloon_bytes), UsedSource.HOST
