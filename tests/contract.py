"""What every source of samples promises, as checks that take any backend."""

import dataclasses
import json
from typing import Any, NoReturn

import pytest

from vmtop.backends.base import Backend
from vmtop.derive.frame import derive_frame
from vmtop.errors import ControlError
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import Answer, GuestSample, QemuSample, Sample, VmSample, VmState
from vmtop.model.storage import StorageSample
from vmtop.viewmodel.plain import format_json
from vmtop.viewmodel.ui_state import UiState

NEEDS_NO_REASON = {"hung_s", "state_reason", "domain_id"}
"""For these None is an answer: not hung, no reason given, not running."""

SAME_RUN = ("uuid", "domain_id")
COUNTERS = {
    GuestSample: ("swap_in_bytes", "swap_out_bytes", "major_faults", "minor_faults", "last_update_s"),
    QemuSample: ("major_faults",),
}


def check_sample(sample: Sample, backend: Backend) -> None:
    """A single sample is complete, honest and consistent in itself."""
    assert sample.backend == backend.name
    assert sample.uri == backend.uri
    assert sample.is_simulated == backend.is_simulated
    assert sample.read_s >= 0
    assert len({vm.uuid for vm in sample.vms}) == len(sample.vms)
    check_reasons(sample.host, "host")
    for vm in sample.vms:
        check_reasons(vm, vm.name, vm.qemu)
        check_sizes(vm)


def check_reasons(value: Any, owner: str, *parts: Any) -> None:
    """Every field that is None has its reason, and every reason is about a field that is None."""
    missing = {
        field.name
        for part in (value, *parts)
        if part is not None
        for field in dataclasses.fields(part)
        if getattr(part, field.name) is None
    }
    unexplained = missing - NEEDS_NO_REASON - set(value.unknown)
    assert not unexplained, f"{owner}: no reason for {sorted(unexplained)}"
    for name, reason in value.unknown.items():
        assert reason.strip(), f"{owner}: the reason for {name} is empty"
        holders = [part for part in (value, *parts) if part is not None and hasattr(part, name)]
        assert all(getattr(part, name) is None for part in holders), f"{owner}: {name} is known and unknown at once"


def check_sizes(vm: VmSample) -> None:
    """Amounts are whole bytes, not below zero, and nothing is larger than it can be."""
    for part in (vm, vm.guest, vm.qemu):
        for field in dataclasses.fields(part) if part is not None else ():
            amount = getattr(part, field.name)
            if field.name.endswith("_bytes") and amount is not None and field.name != "ksm_profit_bytes":
                assert isinstance(amount, int), f"{vm.name}: {field.name}"
                assert 0 <= amount < 2**60, f"{vm.name}: {field.name} is {amount}"
    if vm.maximum_bytes is not None and vm.balloon_bytes is not None:
        assert vm.balloon_bytes <= vm.maximum_bytes
    if vm.state is VmState.SHUTOFF:
        assert vm.guest is None
        assert vm.qemu is None
    assert (vm.hung_s is not None) == (vm.answer is Answer.HUNG)


def check_order(earlier: Sample, later: Sample) -> None:
    """Time goes forward, and so do the counters of whoever did not restart in between."""
    assert later.monotonic_s > earlier.monotonic_s
    before = {(vm.uuid, vm.domain_id): vm for vm in earlier.vms}
    for vm in later.vms:
        old = before.get((vm.uuid, vm.domain_id))
        if old is None:
            continue
        for old_part, new_part in ((old.guest, vm.guest), (old.qemu, vm.qemu)):
            if old_part is None or new_part is None:
                continue
            if isinstance(new_part, QemuSample) and old_part.pid != new_part.pid:  # type: ignore[union-attr]
                continue
            for name in COUNTERS[type(new_part)]:
                was, now = getattr(old_part, name), getattr(new_part, name)
                assert was is None or now is None or now >= was, f"{vm.name}: {name} fell from {was} to {now}"


def check_front_ends(earlier: Sample, later: Sample) -> None:
    """Whatever a backend says can be computed with and written down."""
    frame = derive_frame(derive_frame(None, earlier, DEFAULT_POLICY), later, DEFAULT_POLICY)
    document = json.loads(format_json(frame, UiState()))
    assert document["schema"] == 1
    assert sorted(vm["uuid"] for vm in document["vms"]) == sorted(vm.uuid for vm in later.vms)
    for part in (document["host"], *document["vms"]):
        nulls = {name for name, value in part.items() if value is None}
        assert nulls == set(part["unknown"]), part.get("name")


class LookingOnly:
    """libvirt for somebody who may open no connection that could change anything."""

    def __init__(self, binding: Any) -> None:
        self._binding = binding

    def __getattr__(self, name: str) -> Any:
        return getattr(self._binding, name)

    def open(self, uri: str) -> NoReturn:
        raise AssertionError(f"{uri} was opened for writing")


def check_storage(backend: Backend) -> list[StorageSample]:
    """What a source tells to somebody who looks at one VM of each state.

    Returns:
        What was read, for what only some backends promise.
    """
    found = []
    by_state = {vm.state: vm for vm in backend.read_sample().vms}
    assert by_state, "there is no VM to look at"
    for vm in by_state.values():
        storage = backend.read_storage(vm.uuid)
        found.append(storage)
        assert storage.uuid == vm.uuid
        assert storage.libvirt_version > 0
        assert isinstance(storage.can_revert_external, bool)
        assert (storage.has_agent is None) == ("has_agent" in storage.unknown)
        names = [snapshot.name for snapshot in storage.snapshots]
        assert len(set(names)) == len(names)
        for place, snapshot in enumerate(storage.snapshots):
            assert snapshot.parent is None or snapshot.parent in names[:place], "parents come before children"
        for disk in storage.disks:
            for field in ("capacity_bytes", "allocation_bytes", "folder_free_bytes"):
                is_known = getattr(disk, field) is not None
                assert is_known != (f"{disk.target}.{field}" in storage.unknown), f"{vm.name}: {disk.target}.{field}"
    with pytest.raises(ControlError):
        backend.read_storage("00000000-0000-4000-8000-0000000000ff")
    return found


def check_contract(backend: Backend, *, least_vms: int) -> tuple[Sample, Sample]:
    """Read twice and check everything.

    Args:
        backend: open, or to be opened by its first reading.
        least_vms: how many VMs must be there, so that the checks cannot pass on nothing.

    Returns:
        The two samples, for what only some backends promise.
    """
    earlier = backend.read_sample()
    later = backend.read_sample()
    assert len(earlier.vms) >= least_vms
    for sample in (earlier, later):
        check_sample(sample, backend)
    check_order(earlier, later)
    check_front_ends(earlier, later)
    return earlier, later
