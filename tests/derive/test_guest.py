"""Which figures of a guest count, how old they are, and when they are stale."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import START_S, derive_all, make_facts, make_guest, make_sample, make_vm
from vmtop.derive.frame import derive_frame
from vmtop.derive.guest import (
    NO_DEFINITION,
    NO_DEVICE,
    NO_FIGURES,
    NO_PERIOD,
    NOT_TOLD_BUSY,
    NOT_TOLD_HUNG,
    NOT_TOLD_UNASKED,
)
from vmtop.derive.metrics import VmMetrics
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import Answer, Sample, VmFacts, VmSample
from vmtop.units import GIB, MIB

GUEST_FIGURES = (
    "cache_bytes",
    "free_bytes",
    "reclaimable_bytes",
    "guest_swap_in_bytes_per_s",
    "guest_swap_out_bytes_per_s",
    "guest_major_faults_per_s",
    "guest_age_s",
)


def read(
    at_s: float, updated_s: int, *, is_local: bool = True, skew_s: float = 0.0, period_s: int | None = 5
) -> Sample:
    """A sample of a guest that last sent figures at `updated_s`, on a wall clock that is off by `skew_s`."""
    facts = None if period_s is None else make_facts(stats_period_s=period_s)
    vm = make_vm(guest=make_guest(last_update_s=START_S + updated_s), facts=facts)
    return make_sample(vm, at_s=at_s, time_s=START_S + at_s + skew_s, is_local=is_local)


def last_vm(*samples: Sample) -> VmMetrics:
    return derive_all(*samples).vms[0]


@pytest.mark.parametrize(
    ("period_s", "age_s", "is_stale"),
    [
        (1, 5.0, False),
        (1, 5.5, True),
        (5, 15.0, False),
        (5, 15.5, True),
        (10, 30.0, False),
        (10, 31.0, True),
        (None, 5.0, False),
        (None, 5.5, True),
    ],
)
def test_figures_are_stale_after_three_periods_but_not_before_five_seconds(
    period_s: int | None, age_s: float, is_stale: bool
) -> None:
    vm = last_vm(read(0, 0, period_s=period_s), read(age_s, 0, period_s=period_s))
    assert vm.guest_age_s == age_s
    assert vm.is_stale is is_stale


@pytest.mark.parametrize("is_local", [True, False])
def test_figures_that_go_on_are_fresh_whatever_their_clock_says(is_local: bool) -> None:
    skew_s = 0.0 if is_local else 7 * 3600.0
    samples = [read(at_s, at_s // 5 * 5, is_local=is_local, skew_s=skew_s) for at_s in range(1, 12)]
    vm = last_vm(*samples)
    assert vm.is_stale is False
    assert vm.guest_age_s == 1.0


def test_first_figures_from_a_host_with_another_clock_are_stale_until_they_go_on() -> None:
    first = derive_all(read(0, 0, is_local=False, skew_s=3600.0))
    assert first.vms[0].is_stale
    assert first.vms[0].guest_age_s is None
    assert "advance" in first.vms[0].unknown["guest_age_s"]
    later = derive_frame(first, read(5, 5, is_local=False, skew_s=3600.0), DEFAULT_POLICY)
    assert later.vms[0].is_stale is False
    assert later.vms[0].guest_age_s == 0.0


def test_first_figures_from_a_remote_host_with_a_plausible_age_are_fresh() -> None:
    vm = last_vm(read(7, 4, is_local=False))
    assert vm.is_stale is False
    assert vm.guest_age_s == 3.0


def test_figures_frozen_at_boot_are_stale_from_the_first_sample_on() -> None:
    vm = last_vm(read(86_400, 0))
    assert vm.is_stale
    assert vm.guest_age_s == 86_400


@pytest.mark.parametrize("jump_s", [-7200.0, 7200.0])
def test_a_jump_of_the_wall_clock_does_not_change_the_age(jump_s: float) -> None:
    vm = last_vm(read(6, 5), read(8, 5, skew_s=jump_s))
    assert vm.guest_age_s == 3.0
    assert vm.is_stale is False


def test_figures_from_the_future_of_our_own_clock_have_no_age_until_they_go_on() -> None:
    first = derive_all(read(0, 0, skew_s=-3600.0))
    assert first.vms[0].guest_age_s is None
    assert first.vms[0].is_stale
    later = derive_frame(first, read(5, 5, skew_s=-3600.0), DEFAULT_POLICY)
    assert later.vms[0].guest_age_s == 0.0


def test_stale_figures_stay_and_their_rates_go() -> None:
    vm = last_vm(read(0, 0), read(5, 5), read(60, 5))
    assert vm.is_stale
    assert vm.used_bytes == 1 * GIB + 512 * MIB
    assert vm.cache_bytes is not None
    assert vm.guest_swap_in_bytes_per_s is None
    assert "stale" in vm.unknown["guest_swap_in_bytes_per_s"]


def test_the_age_never_falls_while_nothing_new_comes() -> None:
    frame, ages = None, []
    for at_s in range(3, 60, 7):
        frame = derive_frame(frame, read(at_s, 0), DEFAULT_POLICY)
        ages.append(frame.vms[0].guest_age_s)
    assert ages == [float(at_s) for at_s in range(3, 60, 7)]


@pytest.mark.parametrize(
    ("vm", "gap"),
    [
        (make_vm(facts=make_facts(has_balloon=False, stats_period_s=None), guest=None), NO_DEVICE),
        (make_vm(facts=make_facts(stats_period_s=0)), NO_PERIOD),
        (make_vm(facts=make_facts(stats_period_s=0), guest=None), NO_FIGURES),
        (make_vm(guest=None), NO_FIGURES),
        (make_vm(guest=None, facts=None), NO_DEFINITION),
        (make_vm(guest=None, answer=Answer.BUSY), NOT_TOLD_BUSY),
        (make_vm(guest=None, answer=Answer.NOT_ASKED), NOT_TOLD_UNASKED),
        (make_vm(guest=None, answer=Answer.HUNG, hung_s=3.0), NOT_TOLD_HUNG),
    ],
)
def test_a_guest_whose_figures_do_not_count_has_none_and_says_why(vm: VmSample, gap: str) -> None:
    figures = derive_all(make_sample(vm), make_sample(vm, at_s=5)).vms[0]
    assert {name: getattr(figures, name) for name in GUEST_FIGURES} == dict.fromkeys(GUEST_FIGURES)
    assert {figures.unknown[name] for name in GUEST_FIGURES} == {gap}
    assert figures.is_stale is False


def test_figures_that_a_hung_vm_sent_before_it_hung_grow_old() -> None:
    hung = make_vm(answer=Answer.HUNG, hung_s=20.0)
    vm = last_vm(make_sample(make_vm(), at_s=0), make_sample(hung, at_s=20))
    assert vm.is_stale
    assert vm.guest_age_s == 20.0
    assert vm.used_bytes == 1 * GIB + 512 * MIB


@given(updates=st.lists(st.integers(min_value=0, max_value=30), min_size=1, max_size=20), is_local=st.booleans())
def test_an_age_is_never_negative_and_fresh_figures_always_have_one(updates: list[int], is_local: bool) -> None:
    frame = None
    for at_s, updated_s in enumerate(updates):
        frame = derive_frame(frame, read(at_s, updated_s, is_local=is_local), DEFAULT_POLICY)
        vm = frame.vms[0]
        assert vm.guest_age_s is None or vm.guest_age_s >= 0
        assert vm.is_stale or vm.guest_age_s is not None


FACTS: tuple[VmFacts | None, ...] = (None, make_facts())


@pytest.mark.parametrize("facts", FACTS)
def test_a_set_of_figures_with_the_date_of_a_past_decade_is_stale_for_ever(facts: VmFacts | None) -> None:
    vm = make_vm(guest=make_guest(last_update_s=627_319_920), facts=facts)
    frame = derive_all(*(make_sample(vm, at_s=at_s) for at_s in range(5)))
    assert frame.vms[0].is_stale
