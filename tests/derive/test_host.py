"""The figures of the host: sums over VMs, sharing, overcommit, rates and the level."""

import pytest

from tests.builders import (
    derive_all,
    make_facts,
    make_host,
    make_ksm,
    make_off_vm,
    make_pressure,
    make_qemu,
    make_sample,
    make_vm,
    vm_uuid,
)
from vmtop.derive.metrics import HostMetrics, Level
from vmtop.model.sample import HostSample, KsmSample, VmSample, VmState
from vmtop.units import GIB, MIB, PAGE_BYTES

NO_SHARING = make_ksm(pages_shared=0, pages_sharing=0)


def derive_one(*vms: VmSample, host: HostSample | None = None) -> HostMetrics:
    return derive_all(make_sample(*vms, host=host)).host


def sized(number: int, *, rss_bytes: int | None = 3 * GIB, hugetlb_bytes: int | None = 0) -> VmSample:
    qemu = make_qemu(rss_bytes=rss_bytes, hugetlb_bytes=hugetlb_bytes)
    return make_vm(uuid=vm_uuid(number), qemu=qemu, rss_bytes=rss_bytes)


def test_vms_hold_their_rss_and_huge_pages_less_what_sharing_saves() -> None:
    host = make_host(ksm=make_ksm(pages_sharing=GIB // PAGE_BYTES, zero_pages=GIB // PAGE_BYTES))
    figures = derive_one(sized(1), sized(2, hugetlb_bytes=4 * GIB), host=host)
    assert figures.vms_bytes == 9 * GIB
    assert figures.ksm_saved_bytes == 2 * GIB


def test_other_is_what_neither_vms_nor_droppable_memory_explain() -> None:
    host = make_host(total_bytes=64 * GIB, available_bytes=50 * GIB, ksm=NO_SHARING)
    figures = derive_one(sized(1), sized(2), host=host)
    assert figures.other_bytes == 8 * GIB
    assert figures.overcommit_resident_ratio == 6 / 64
    crowded = derive_one(*(sized(number) for number in range(1, 9)), host=host)
    assert crowded.other_bytes == 0


def test_a_sum_lacks_no_vm_or_is_unknown() -> None:
    figures = derive_one(sized(1), sized(2, rss_bytes=None), make_off_vm())
    for name in ("vms_bytes", "other_bytes", "overcommit_resident_ratio"):
        assert getattr(figures, name) is None
        assert figures.unknown[name] == "unknown for 1 of 2 running VMs"


def test_huge_pages_that_cannot_be_read_count_as_none_only_where_the_vm_has_none() -> None:
    host = make_host(ksm=NO_SHARING)
    remote = make_vm(qemu=None, rss_bytes=3 * GIB)
    assert derive_one(remote, host=host).vms_bytes == 3 * GIB
    on_huge_pages = make_vm(qemu=None, rss_bytes=3 * GIB, facts=make_facts(has_hugepages=True))
    assert derive_one(on_huge_pages, host=host).vms_bytes is None
    assert derive_one(make_vm(qemu=None, facts=None), host=host).vms_bytes is None


def test_without_figures_of_ksm_nothing_is_subtracted() -> None:
    figures = derive_one(sized(1), host=make_host(ksm=None))
    assert figures.vms_bytes == 3 * GIB
    assert figures.ksm_saved_bytes is None


def test_overcommit_counts_vms_that_hold_memory_and_no_others() -> None:
    paused = make_vm(uuid=vm_uuid(2), state=VmState.PAUSED, maximum_bytes=8 * GIB, balloon_bytes=2 * GIB)
    figures = derive_one(make_vm(), paused, make_off_vm(), host=make_host(total_bytes=8 * GIB))
    assert figures.overcommit_configured_ratio == 1.5
    assert figures.overcommit_current_ratio == 0.75
    assert (figures.vms_running, figures.vms_total) == (2, 3)


def test_a_host_without_vms_is_not_overcommitted() -> None:
    figures = derive_one()
    assert figures.vms_bytes == 0
    assert figures.overcommit_configured_ratio == 0.0


@pytest.mark.parametrize(
    ("ksm", "profit_bytes"),
    [
        (make_ksm(profit_bytes=-5 * MIB), -5 * MIB),
        (
            make_ksm(pages_shared=10, pages_sharing=100, pages_unshared=1000, pages_volatile=0, profit_bytes=None),
            100 * 4096 - 1110 * 64,
        ),
        (make_ksm(pages_unshared=None, profit_bytes=None), None),
    ],
)
def test_profit_is_the_kernels_own_figure_or_its_formula(ksm: KsmSample, profit_bytes: int | None) -> None:
    assert derive_one(host=make_host(ksm=ksm)).ksm_profit_bytes == profit_bytes


def test_rates_of_the_host_are_over_the_time_between_samples() -> None:
    figures = derive_all(
        make_sample(host=make_host(swap_in_bytes=0, swap_out_bytes=MIB, ksm=make_ksm(cpu_s=10.0))),
        make_sample(host=make_host(swap_in_bytes=8 * MIB, swap_out_bytes=MIB, ksm=make_ksm(cpu_s=11.0)), at_s=4),
    ).host
    assert figures.swap_in_bytes_per_s == 2 * MIB
    assert figures.swap_out_bytes_per_s == 0.0
    assert figures.ksm_cpu_ratio == 0.25


def test_the_level_remembers_from_frame_to_frame() -> None:
    short, plenty = make_host(available_bytes=GIB), make_host(available_bytes=40 * GIB)
    seen = derive_all(make_sample(host=short), make_sample(host=plenty, at_s=1), make_sample(host=plenty, at_s=2))
    assert seen.host.level is Level.HARD
    eased = derive_all(make_sample(host=short), *(make_sample(host=plenty, at_s=at_s) for at_s in (1, 2, 3)))
    assert eased.host.level is Level.SOFT


def test_swap_in_of_the_host_raises_the_level() -> None:
    watched = 4 * GIB
    figures = derive_all(
        make_sample(host=make_host(available_bytes=watched, swap_in_bytes=0)),
        make_sample(host=make_host(available_bytes=watched, swap_in_bytes=36 * MIB), at_s=2),
    ).host
    assert figures.level is Level.HARD
    assert figures.cause == "swap-in 18 MiB/s"


def test_a_host_of_which_nothing_is_known_has_no_level_and_says_why() -> None:
    host = make_host(available_bytes=None, pressure=None, swap_in_bytes=None)
    figures = derive_one(host=host)
    assert figures.level is None
    assert figures.unknown["level"] == figures.cause


def test_pressure_is_passed_on() -> None:
    figures = derive_one(host=make_host(pressure=make_pressure(some_ratio=0.5, full_ratio=0.25)))
    assert (figures.psi_some_avg10_ratio, figures.psi_full_avg10_ratio) == (0.5, 0.25)
