"""Every figure that is None has its reason in words, whatever is missing."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import (
    START_S,
    derive_all,
    make_facts,
    make_guest,
    make_host,
    make_ksm,
    make_off_vm,
    make_qemu,
    make_sample,
    make_vm,
    vm_uuid,
)
from vmtop.derive.metrics import HostMetrics, VmMetrics
from vmtop.model.sample import (
    Answer,
    GuestSample,
    HostSample,
    KsmSample,
    QemuSample,
    Sample,
    VmFacts,
    VmSample,
    VmState,
)

NO_FIGURES = {"hung_s", "pressure"}
"""A VM that answers is not hung for any time; of the host's pressure two figures are shown."""


def check_reasons(figures: VmMetrics | HostMetrics) -> None:
    missing = {each.name for each in dataclasses.fields(figures) if getattr(figures, each.name) is None}
    assert set(figures.unknown) == missing - NO_FIGURES
    assert all(reason.strip() for reason in figures.unknown.values())


def test_nothing_is_unknown_of_a_healthy_host_that_was_read_twice() -> None:
    def read(at_s: int) -> Sample:
        return make_sample(make_vm(guest=make_guest(last_update_s=START_S + at_s)), at_s=at_s)

    frame = derive_all(read(0), read(5))
    assert dict(frame.vms[0].unknown) == {}
    assert dict(frame.host.unknown) == {}
    check_reasons(frame.vms[0])
    check_reasons(frame.host)


def optional_fields(kind: type) -> list[str]:
    return [each.name for each in dataclasses.fields(kind) if "None" in str(each.type)]


QEMU_FIELDS = optional_fields(QemuSample)
GUEST_FIELDS = optional_fields(GuestSample)
VM_FIELDS = [name for name in optional_fields(VmSample) if name not in {"domain_id", "hung_s", "state_reason"}]
HOST_FIELDS = optional_fields(HostSample)
KSM_FIELDS = optional_fields(KsmSample)


def without_vm_figures(names: set[str], *, at_s: int = 0) -> VmSample:
    """A VM that sends figures at `at_s`; those with these names, "guest." and so on in front, are missing."""

    def some(prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): None for name in names if name.startswith(prefix)}

    vm = make_vm(
        guest=dataclasses.replace(make_guest(last_update_s=START_S + at_s), **some("guest.")),
        qemu=dataclasses.replace(make_qemu(), **some("qemu.")),
    )
    return dataclasses.replace(vm, **some("vm."))


def without_host_figures(names: set[str]) -> HostSample:
    """A host of which the figures with these names, "ksm." in front of those of KSM, are missing."""
    of_ksm: dict[str, Any] = {name.removeprefix("ksm."): None for name in names if name.startswith("ksm.")}
    of_host: dict[str, Any] = {name: None for name in names if "." not in name}
    return dataclasses.replace(make_host(ksm=dataclasses.replace(make_ksm(), **of_ksm)), **of_host)


ALL_VM_FIELDS = [
    *(f"guest.{name}" for name in GUEST_FIELDS),
    *(f"qemu.{name}" for name in QEMU_FIELDS),
    *(f"vm.{name}" for name in VM_FIELDS),
]
ALL_HOST_FIELDS = [*HOST_FIELDS, *(f"ksm.{name}" for name in KSM_FIELDS)]


@pytest.mark.parametrize("name", ALL_VM_FIELDS)
def test_each_figure_of_a_vm_may_be_missing(name: str) -> None:
    samples = [make_sample(without_vm_figures({name}, at_s=at_s), at_s=at_s) for at_s in (0, 5)]
    check_reasons(derive_all(samples[0]).vms[0])
    check_reasons(derive_all(*samples).vms[0])


@pytest.mark.parametrize("name", ALL_HOST_FIELDS)
def test_each_figure_of_the_host_may_be_missing(name: str) -> None:
    host = without_host_figures({name})
    check_reasons(derive_all(make_sample(make_vm(), host=host)).host)
    check_reasons(derive_all(make_sample(make_vm(), host=host), make_sample(make_vm(), host=host, at_s=5)).host)


SOME_VM_FIELDS = st.sets(st.sampled_from(ALL_VM_FIELDS))
SOME_HOST_FIELDS = st.sets(st.sampled_from(ALL_HOST_FIELDS))


@settings(max_examples=200)
@given(
    missing=st.lists(st.tuples(SOME_VM_FIELDS, SOME_HOST_FIELDS), min_size=1, max_size=4),
    state=st.sampled_from(VmState),
    answer=st.sampled_from(Answer),
    facts=st.sampled_from([None, make_facts(), make_facts(stats_period_s=0), make_facts(has_balloon=False)]),
    is_local=st.booleans(),
)
def test_any_figures_may_be_missing_at_any_time(
    missing: list[tuple[set[str], set[str]]], state: VmState, answer: Answer, facts: VmFacts | None, is_local: bool
) -> None:
    samples = []
    for tick, (vm_names, host_names) in enumerate(missing):
        sent = without_vm_figures(vm_names, at_s=2 * tick)
        vm = dataclasses.replace(sent, state=state, answer=answer, facts=facts)
        host = without_host_figures(host_names)
        off = make_off_vm(uuid=vm_uuid(2))
        samples.append(make_sample(vm, off, host=host, at_s=2 * tick, is_local=is_local))
    frame = derive_all(*samples)
    check_reasons(frame.host)
    for figures in frame.vms:
        check_reasons(figures)


def test_the_reason_that_the_source_gave_is_passed_on() -> None:
    vm = make_vm(
        qemu=make_qemu(ksm_merged_bytes=None, swap_bytes=None, pressure=None),
        unknown={
            "ksm_merged_bytes": "only root may read it",
            "swap_bytes": "no such line",
            "pressure": "the kernel has no PSI",
        },
    )
    figures = derive_all(make_sample(vm)).vms[0]
    assert figures.unknown["ksm_merged_bytes"] == "only root may read it"
    assert figures.unknown["ksm_saved_bytes"] == "only root may read it"
    assert figures.unknown["host_swap_bytes"] == "no such line"
    assert figures.unknown["psi_some_avg10_ratio"] == "the kernel has no PSI"


def test_the_reason_why_the_process_is_missing_goes_for_all_its_figures() -> None:
    figures = derive_all(make_sample(make_vm(qemu=None, unknown={"qemu": "the host is remote"}))).vms[0]
    for name in ("hugetlb_bytes", "host_swap_bytes", "ksm_saved_bytes", "cgroup_bytes", "host_major_faults_per_s"):
        assert figures.unknown[name] == "the host is remote"


def test_the_reasons_of_the_host_are_passed_on() -> None:
    host = make_host(
        available_bytes=None,
        pressure=None,
        ksm=None,
        unknown={"available_bytes": "libvirt is too old", "pressure": "remote", "ksm": "no KSM in this kernel"},
    )
    unknown = derive_all(make_sample(make_vm(), host=host)).host.unknown
    assert unknown["available_bytes"] == "libvirt is too old"
    assert unknown["other_bytes"] == "libvirt is too old"
    assert unknown["psi_full_avg10_ratio"] == "remote"
    assert unknown["ksm_profit_bytes"] == "no KSM in this kernel"
