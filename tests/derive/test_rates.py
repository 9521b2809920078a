"""Counters become rates, and never spikes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import (
    PERIOD_S,
    START_S,
    derive_all,
    make_guest,
    make_host,
    make_ksm,
    make_qemu,
    make_sample,
    make_vm,
)
from vmtop.derive.frame import derive_frame
from vmtop.derive.rates import BEGAN_ANEW, CLOCK_STOOD, FIRST_READING, rate_per_s, why_no_rate
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import Sample
from vmtop.units import MIB

COUNTERS = st.none() | st.integers(min_value=0, max_value=2**63 - 1)


@pytest.mark.parametrize(
    ("before", "now", "elapsed_s", "rate", "reason"),
    [
        (100, 150, 5.0, 10.0, None),
        (100, 100, 5.0, 0.0, None),
        (0, 1, 0.5, 2.0, None),
        (None, 150, 5.0, None, FIRST_READING),
        (150, 100, 5.0, None, BEGAN_ANEW),
        (100, 150, 0.0, None, CLOCK_STOOD),
        (100, 150, -3.0, None, CLOCK_STOOD),
    ],
)
def test_a_rate_is_growth_over_time_or_has_a_reason(
    before: int | None, now: int, elapsed_s: float, rate: float | None, reason: str | None
) -> None:
    assert rate_per_s(before, now, elapsed_s) == rate
    if reason is not None:
        assert why_no_rate(before, now) == reason


@given(before=COUNTERS, now=COUNTERS, elapsed_s=st.floats(min_value=-10, max_value=1e6))
def test_a_rate_is_never_negative_and_never_more_than_the_counter_itself(
    before: int | None, now: int | None, elapsed_s: float
) -> None:
    rate = rate_per_s(before, now, elapsed_s)
    if before is None or now is None or now < before or elapsed_s <= 0:
        assert rate is None
    else:
        assert rate is not None
        assert 0 <= rate <= now / elapsed_s


GROWTHS = st.lists(st.tuples(st.booleans(), st.integers(min_value=0, max_value=2**40)), min_size=1, max_size=12)


@given(growths=GROWTHS)
def test_no_sequence_of_counters_gives_more_than_really_happened(growths: list[tuple[bool, int]]) -> None:
    counter, frame = 1000, None
    for tick, (does_restart, growth) in enumerate(growths):
        counter = growth if does_restart else counter + growth
        at_s = tick * PERIOD_S
        vm = make_vm(
            guest=make_guest(
                last_update_s=START_S + at_s,
                swap_in_bytes=counter,
                swap_out_bytes=counter,
                major_faults=counter,
                minor_faults=counter,
            ),
            qemu=make_qemu(major_faults=counter),
        )
        host = make_host(swap_in_bytes=counter, swap_out_bytes=counter, ksm=make_ksm(cpu_s=float(counter)))
        frame = derive_frame(frame, make_sample(vm, at_s=at_s, host=host), DEFAULT_POLICY)
        figures = frame.vms[0]
        for rate in (
            figures.guest_swap_in_bytes_per_s,
            figures.guest_swap_out_bytes_per_s,
            figures.guest_major_faults_per_s,
            figures.host_major_faults_per_s,
            frame.host.swap_in_bytes_per_s,
            frame.host.swap_out_bytes_per_s,
            frame.host.ksm_cpu_ratio,
        ):
            assert rate is None or 0 <= rate <= growth / PERIOD_S
            assert rate is not None or tick == 0 or does_restart


def test_a_guest_that_rebooted_has_no_rates_until_its_next_figures() -> None:
    def sample(at_s: int, minor_faults: int, major_faults: int) -> Sample:
        guest = make_guest(last_update_s=START_S + at_s, minor_faults=minor_faults, major_faults=major_faults)
        return make_sample(make_vm(guest=guest), at_s=at_s)

    rebooted = derive_all(sample(0, 900_000, 10), sample(5, 1_000, 500))
    assert rebooted.vms[0].guest_major_faults_per_s is None
    assert rebooted.vms[0].unknown["guest_major_faults_per_s"] == BEGAN_ANEW
    later = derive_frame(rebooted, sample(10, 2_000, 600), DEFAULT_POLICY)
    assert later.vms[0].guest_major_faults_per_s == 20.0


def test_guest_rates_are_over_the_time_between_updates_and_held_in_between() -> None:
    def sample(at_s: int, updated_s: int, swapped: int) -> Sample:
        guest = make_guest(last_update_s=START_S + updated_s, swap_in_bytes=swapped)
        return make_sample(make_vm(guest=guest), at_s=at_s)

    frame = derive_all(sample(1, 0, 0), sample(2, 0, 0))
    assert frame.vms[0].guest_swap_in_bytes_per_s is None
    assert frame.vms[0].unknown["guest_swap_in_bytes_per_s"] == FIRST_READING
    for at_s in (6, 7, 8, 9):
        frame = derive_frame(frame, sample(at_s, 5, 10 * MIB), DEFAULT_POLICY)
        assert frame.vms[0].guest_swap_in_bytes_per_s == 2 * MIB


@pytest.mark.parametrize(("pid", "start_ticks"), [(7, 200), (8, 100)])
def test_counters_of_another_process_are_not_subtracted(pid: int, start_ticks: int) -> None:
    frame = derive_all(
        make_sample(make_vm(qemu=make_qemu(pid=7, start_ticks=100, major_faults=10)), at_s=0),
        make_sample(make_vm(qemu=make_qemu(pid=pid, start_ticks=start_ticks, major_faults=10_000)), at_s=1),
    )
    assert frame.vms[0].host_major_faults_per_s is None
    assert frame.vms[0].unknown["host_major_faults_per_s"] == BEGAN_ANEW


def test_counters_of_another_run_of_the_vm_are_not_subtracted() -> None:
    frame = derive_all(
        make_sample(make_vm(domain_id=1), at_s=0),
        make_sample(
            make_vm(domain_id=2, guest=make_guest(last_update_s=START_S + 5, swap_in_bytes=2**40)), at_s=PERIOD_S
        ),
    )
    assert frame.vms[0].guest_swap_in_bytes_per_s is None
    assert frame.vms[0].unknown["guest_swap_in_bytes_per_s"] == FIRST_READING


@pytest.mark.parametrize("nonsense", [2**64 - 1, 2**64 - 1024, -1])
def test_a_counter_that_no_guest_can_have_gives_no_rate_even_while_it_stands_still(nonsense: int) -> None:
    frame = derive_all(
        *(
            make_sample(make_vm(guest=make_guest(last_update_s=START_S + at_s, swap_in_bytes=nonsense)), at_s=at_s)
            for at_s in (0, 5, 10)
        )
    )
    assert frame.vms[0].guest_swap_in_bytes_per_s is None
    assert "impossible" in frame.vms[0].unknown["guest_swap_in_bytes_per_s"]
