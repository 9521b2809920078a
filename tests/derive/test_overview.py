from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import make_facts, make_frame, make_job, make_off_vm, make_qemu, make_vm, vm_uuid
from vmtop.derive.metrics import Condition, UsedSource, VmMetrics
from vmtop.derive.overview import GUEST_SUMS, HOST_SUMS, LARGEST, Sum, derive_overview
from vmtop.units import GIB

VM = make_frame([make_vm()]).vms[0]


def with_figure(name: str, value: float | None, *, is_stale: bool = False) -> VmMetrics:
    changes: dict[str, Any] = {name: value, "is_stale": is_stale}
    return replace(VM, **changes)


OFF = make_frame([make_off_vm(uuid=vm_uuid(9))]).vms[0]


@pytest.mark.parametrize("figure", [*GUEST_SUMS, *HOST_SUMS])
def test_an_unknown_figure_is_left_out_of_its_sum_which_says_so(figure: str) -> None:
    vms = [with_figure(figure, 3), with_figure(figure, 4), with_figure(figure, None)]
    found = derive_overview(vms).sums[figure]
    assert (found.amount, found.is_least) == (7, True)
    assert derive_overview(vms[:2]).sums[figure].is_least is False
    assert derive_overview(vms[2:]).sums[figure].amount is None


@pytest.mark.parametrize("figure", GUEST_SUMS)
def test_stale_guest_figures_count_in_no_sum(figure: str) -> None:
    vms = [with_figure(figure, 3), with_figure(figure, 100, is_stale=True)]
    assert derive_overview(vms).sums[figure].amount == 3
    assert derive_overview(vms).not_counted == 1
    assert derive_overview(vms[1:]).sums[figure].amount is None


def test_vms_that_are_off_count_nowhere_but_in_their_condition() -> None:
    overview = derive_overview([VM, OFF])
    assert overview.running == 1
    assert overview.sums["maximum_bytes"].amount == VM.maximum_bytes
    assert list(overview.by_condition[Condition.OFF]) == [OFF]


def test_no_vms_sum_up_to_nothing_rather_than_to_unknown() -> None:
    overview = derive_overview([])
    assert all((found.amount, found.is_least) == (0, False) for found in overview.sums.values())
    assert overview.used_ratio is None


def test_jobs_are_found() -> None:
    busy = replace(VM, jobs=(make_job(), make_job()))
    overview = derive_overview([VM, busy])
    assert (overview.jobs, list(overview.busy)) == (2, [busy])


@given(st.lists(st.none() | st.integers(0, 2**40), max_size=12))
def test_the_largest_come_first_and_sums_are_those_of_what_is_known(sizes: list[int | None]) -> None:
    overview = derive_overview([replace(VM, rss_bytes=size, resident_bytes=size) for size in sizes])
    known = [size for size in sizes if size is not None]
    largest = [vm.resident_bytes for vm in overview.largest if vm.resident_bytes]
    assert largest == sorted(filter(None, known), reverse=True)[:LARGEST]
    assert overview.sums["rss_bytes"].amount == (sum(known) if known or not sizes else None)


def test_used_memory_that_only_the_host_tells_is_no_part_of_what_guests_use() -> None:
    seen_from_host = replace(VM, used_bytes=100, used_source=UsedSource.HOST)
    overview = derive_overview([replace(VM, used_bytes=3, balloon_bytes=12), seen_from_host])
    assert overview.sums["used_bytes"] == Sum(amount=3, is_least=True)
    assert overview.not_counted == 1
    assert overview.used_ratio == 0.25


def test_a_vm_on_huge_pages_is_as_large_as_what_it_holds() -> None:
    huge = make_vm(
        name="huge", facts=make_facts(has_hugepages=True), qemu=make_qemu(rss_bytes=GIB, hugetlb_bytes=32 * GIB)
    )
    frame = make_frame([huge, make_vm(uuid=vm_uuid(2), qemu=make_qemu(rss_bytes=4 * GIB, hugetlb_bytes=0))])
    assert frame.overview.largest[0].name == "huge"
    assert frame.overview.largest[0].resident_bytes == 33 * GIB
