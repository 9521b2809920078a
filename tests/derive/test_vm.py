"""The figures of one VM: what is computed, from what, and what takes its place where something is unknown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import (
    START_S,
    derive_all,
    make_facts,
    make_guest,
    make_host,
    make_ksm,
    make_off_vm,
    make_pressure,
    make_qemu,
    make_sample,
    make_vm,
)
from vmtop.derive.frame import derive_frame
from vmtop.derive.metrics import Condition, UsedSource, VmMetrics
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import GuestSample, HostSample, QemuSample, VmSample
from vmtop.units import GIB, MIB

GARBAGE = (2**64 - 1, 2**64 - 1024, 5 * GIB, -1)
"""What Windows drivers were seen to send, more than the VM can have, and less than nothing."""


def derive_one(vm: VmSample, host: HostSample | None = None) -> VmMetrics:
    return derive_all(make_sample(vm, host=host)).vms[0]


@pytest.mark.parametrize(
    ("guest", "qemu", "used_bytes", "source"),
    [
        (make_guest(usable_bytes=1 * GIB), make_qemu(), 3 * GIB, UsedSource.USABLE),
        (make_guest(usable_bytes=0), make_qemu(), 4 * GIB, UsedSource.USABLE),
        (make_guest(usable_bytes=4 * GIB), make_qemu(), 0, UsedSource.USABLE),
        (make_guest(usable_bytes=None, free_bytes=GIB, cache_bytes=GIB), make_qemu(), 2 * GIB, UsedSource.CACHES),
        (make_guest(usable_bytes=None, cache_bytes=None), make_qemu(rss_bytes=3 * GIB), 3 * GIB, UsedSource.HOST),
        (make_guest(usable_bytes=None, free_bytes=None), make_qemu(rss_bytes=9 * GIB), 4 * GIB, UsedSource.HOST),
        (None, make_qemu(rss_bytes=1 * GIB), 1 * GIB, UsedSource.HOST),
        (None, make_qemu(rss_bytes=1 * GIB, hugetlb_bytes=2 * GIB), 3 * GIB, UsedSource.HOST),
        (None, make_qemu(rss_bytes=None), 2 * GIB, UsedSource.HOST),
        (None, None, 2 * GIB, UsedSource.HOST),
    ],
)
def test_used_comes_from_the_best_source_there_is(
    guest: GuestSample | None, qemu: QemuSample | None, used_bytes: int, source: UsedSource
) -> None:
    figures = derive_one(make_vm(guest=guest, qemu=qemu, rss_bytes=2 * GIB))
    assert (figures.used_bytes, figures.used_source) == (used_bytes, source)


def test_used_of_a_vm_on_huge_pages_is_unknown_where_these_cannot_be_read() -> None:
    figures = derive_one(make_vm(guest=None, qemu=None, rss_bytes=80 * MIB, facts=make_facts(has_hugepages=True)))
    assert figures.rss_bytes == 80 * MIB
    assert figures.used_bytes is None
    assert "huge pages" in figures.unknown["used_bytes"]


def test_used_goes_with_the_balloon_of_the_moment_when_the_guest_sent_its_figures() -> None:
    before = make_vm(guest=make_guest(usable_bytes=3 * GIB))
    shrunk = make_vm(guest=make_guest(usable_bytes=3 * GIB), balloon_bytes=2 * GIB)
    sent_anew = make_vm(guest=make_guest(usable_bytes=1 * GIB, last_update_s=START_S + 5), balloon_bytes=2 * GIB)
    frame = derive_all(make_sample(before), make_sample(shrunk, at_s=1))
    assert frame.vms[0].balloon_bytes == 2 * GIB
    assert frame.vms[0].used_bytes == 1 * GIB
    frame = derive_frame(frame, make_sample(sent_anew, at_s=5), DEFAULT_POLICY)
    assert frame.vms[0].used_bytes == 1 * GIB


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_guest_figure_that_cannot_be_is_unknown(garbage: int) -> None:
    figures = derive_one(make_vm(guest=make_guest(cache_bytes=garbage, free_bytes=garbage)))
    for name in ("cache_bytes", "free_bytes", "reclaimable_bytes"):
        assert getattr(figures, name) is None
        assert "impossible" in figures.unknown[name]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_used_does_not_rest_on_a_guest_figure_that_cannot_be(garbage: int) -> None:
    figures = derive_one(make_vm(guest=make_guest(usable_bytes=garbage, free_bytes=GIB, cache_bytes=GIB)))
    assert (figures.used_bytes, figures.used_source) == (2 * GIB, UsedSource.CACHES)


def test_free_and_cache_that_are_more_than_the_vm_do_not_make_used_zero() -> None:
    guest = make_guest(usable_bytes=None, free_bytes=3 * GIB, cache_bytes=3 * GIB)
    figures = derive_one(make_vm(guest=guest, qemu=make_qemu(rss_bytes=2 * GIB)))
    assert (figures.used_bytes, figures.used_source) == (1 * GIB, UsedSource.HOST), "no more than what is not free"


def test_used_reclaimable_and_free_make_up_the_balloon() -> None:
    figures = derive_one(make_vm())
    assert figures.used_bytes is not None
    assert figures.reclaimable_bytes is not None
    assert figures.free_bytes is not None
    assert figures.used_bytes + figures.reclaimable_bytes + figures.free_bytes == figures.balloon_bytes


def test_ballooned_is_what_was_given_back() -> None:
    assert derive_one(make_vm(balloon_bytes=3 * GIB)).ballooned_bytes == 1 * GIB


@pytest.mark.parametrize(
    ("qemu", "untouched_bytes"),
    [
        (make_qemu(rss_bytes=1 * GIB), 3 * GIB + 120 * MIB + 4 * GIB // 200),
        (make_qemu(rss_bytes=1 * GIB, swap_bytes=1 * GIB), 2 * GIB + 120 * MIB + 4 * GIB // 200),
        (make_qemu(rss_bytes=0), 4 * GIB),
        (make_qemu(rss_bytes=60 * MIB, hugetlb_bytes=4 * GIB + 100 * MIB), 0),
        (make_qemu(rss_bytes=5 * GIB), 0),
    ],
)
def test_untouched_is_what_the_host_never_had_to_give(qemu: QemuSample, untouched_bytes: int) -> None:
    assert derive_one(make_vm(qemu=qemu)).untouched_bytes == pytest.approx(untouched_bytes, abs=1)


@pytest.mark.parametrize(
    ("shared", "sharing", "zero_bytes", "saved_bytes"),
    [
        (20_000, 60_000, 0, 75 * MIB),
        (20_000, 60_000, 8 * MIB, 83 * MIB),
        (20_000, 60_000, None, 75 * MIB),
        (0, 0, 0, 0),
    ],
)
def test_saved_is_the_fair_share_of_what_is_merged_and_all_zero_pages(
    shared: int, sharing: int, zero_bytes: int | None, saved_bytes: int
) -> None:
    vm = make_vm(qemu=make_qemu(ksm_merged_bytes=100 * MIB, ksm_zero_bytes=zero_bytes))
    host = make_host(ksm=make_ksm(pages_shared=shared, pages_sharing=sharing))
    assert derive_one(vm, host).ksm_saved_bytes == saved_bytes


def test_saved_is_unknown_where_the_host_does_not_tell_of_ksm() -> None:
    figures = derive_one(make_vm(), make_host(ksm=None))
    assert figures.ksm_merged_bytes == 100 * MIB
    assert figures.ksm_saved_bytes is None
    assert "KSM" in figures.unknown["ksm_saved_bytes"]


def test_pressure_of_the_cgroup_is_passed_on() -> None:
    figures = derive_one(make_vm(qemu=make_qemu(pressure=make_pressure(some_ratio=0.25, full_ratio=0.125))))
    assert (figures.psi_some_avg10_ratio, figures.psi_full_avg10_ratio) == (0.25, 0.125)


def test_a_vm_that_is_off_has_its_maximum_and_no_other_figure() -> None:
    figures = derive_one(make_off_vm(maximum_bytes=4 * GIB))
    assert figures.condition is Condition.OFF
    assert figures.maximum_bytes == 4 * GIB
    assert set(figures.unknown.values()) == {"off"}
    for name in figures.unknown:
        assert getattr(figures, name) is None


BYTES = st.none() | st.integers(min_value=0, max_value=2**34) | st.just(2**64 - 1)


@given(
    maximum=st.none() | st.integers(min_value=0, max_value=2**34),
    balloon=st.none() | st.integers(min_value=0, max_value=2**34),
    guest=st.tuples(BYTES, BYTES, BYTES, BYTES),
    rss=BYTES,
)
def test_no_amount_is_ever_negative_or_more_than_was_ever_there(
    maximum: int | None, balloon: int | None, guest: tuple[int | None, ...], rss: int | None
) -> None:
    total, usable, free, cache = guest
    sent = make_guest(total_bytes=total, usable_bytes=usable, free_bytes=free, cache_bytes=cache)
    figures = derive_one(
        make_vm(maximum_bytes=maximum, balloon_bytes=balloon, guest=sent, qemu=make_qemu(rss_bytes=rss), rss_bytes=rss)
    )
    for name in ("used_bytes", "cache_bytes", "free_bytes", "reclaimable_bytes", "untouched_bytes", "ballooned_bytes"):
        amount = getattr(figures, name)
        assert amount is None or amount >= 0, name
    if figures.used_bytes is not None and balloon is not None:
        assert figures.used_bytes <= balloon


def test_untouched_is_unknown_where_swap_is_and_says_so() -> None:
    figures = derive_one(make_vm(qemu=make_qemu(swap_bytes=None), unknown={"swap_bytes": "nobody tells"}))
    assert figures.untouched_bytes is None
    assert figures.unknown["untouched_bytes"] == "nobody tells"
