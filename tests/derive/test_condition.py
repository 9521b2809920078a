"""The condition of a VM: one word, the first that fits, with its reason."""

import pytest

from tests.builders import (
    START_S,
    derive_all,
    make_facts,
    make_guest,
    make_job,
    make_off_vm,
    make_qemu,
    make_sample,
    make_vm,
)
from vmtop.derive.condition import RULES
from vmtop.derive.frame import derive_frame
from vmtop.derive.metrics import Condition, VmMetrics
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import Answer, Sample, VmSample, VmState
from vmtop.units import GIB, MIB


def derive_one(vm: VmSample) -> VmMetrics:
    return derive_all(make_sample(vm)).vms[0]


@pytest.mark.parametrize(
    ("vm", "condition", "reason"),
    [
        (make_vm(), Condition.OK, ""),
        (make_off_vm(), Condition.OFF, "the VM is off"),
        (make_vm(state=VmState.SHUTOFF, domain_id=None, guest=None, qemu=None), Condition.OFF, "the VM is off"),
        (make_vm(state=VmState.CRASHED, state_reason="panicked"), Condition.CRASHED, "the VM crashed: panicked"),
        (make_vm(state=VmState.CRASHED, domain_id=None, qemu=None), Condition.CRASHED, "the VM crashed"),
        (make_vm(answer=Answer.HUNG, hung_s=12.4), Condition.HUNG, "QEMU has not answered for 12 s"),
        (make_vm(answer=Answer.HUNG, hung_s=600.0), Condition.HUNG, "QEMU has not answered for 10 min"),
        (make_vm(answer=Answer.HUNG, hung_s=None), Condition.HUNG, "QEMU does not answer"),
        (make_vm(state=VmState.PAUSED, state_reason="I/O error"), Condition.PAUSED, "paused: I/O error"),
        (make_vm(state=VmState.SUSPENDED), Condition.PAUSED, "suspended by its own power management"),
        (make_vm(answer=Answer.BUSY, jobs=(make_job(),)), Condition.BUSY, "a job holds the VM: backup"),
        (make_vm(answer=Answer.BUSY), Condition.BUSY, "a job holds the VM"),
        (
            make_vm(facts=make_facts(has_balloon=False, stats_period_s=None), guest=None),
            Condition.NO_BALLOON,
            "the VM has no balloon device",
        ),
        (make_vm(facts=make_facts(stats_period_s=0)), Condition.NO_STATS, "the statistics period is 0"),
        (make_vm(facts=None, guest=None), Condition.NO_STATS, "the guest sent no figures"),
        (make_vm(guest=None), Condition.NO_DRIVER, "the guest sent no figures yet"),
        (
            make_vm(guest=make_guest(last_update_s=START_S - 300)),
            Condition.STALE,
            "the guest sent its last figures 5 min ago",
        ),
        (
            make_vm(balloon_bytes=3 * GIB, guest=make_guest(usable_bytes=20 * MIB, total_bytes=200 * MIB)),
            Condition.STARVED,
            "the balloon leaves 20 MiB usable, 10 %",
        ),
        (
            make_vm(balloon_bytes=3 * GIB, guest=make_guest(usable_bytes=100 * MIB, total_bytes=3 * GIB)),
            Condition.STARVED,
            "the balloon leaves 100 MiB usable, 3.3 %",
        ),
        (
            make_vm(guest=make_guest(usable_bytes=100 * MIB, total_bytes=4 * GIB)),
            Condition.TIGHT,
            "2.4 % usable",
        ),
        (make_vm(balloon_bytes=3 * GIB), Condition.BALLOONED, "1 GiB of 4 GiB given back"),
        (
            make_vm(guest=make_guest(usable_bytes=3 * GIB + 512 * MIB, cache_bytes=256 * MIB)),
            Condition.IDLE,
            "2.2 GiB of the 2.9 GiB it holds are not wanted",
        ),
    ],
)
def test_a_vm_is_in_the_first_condition_that_fits(vm: VmSample, condition: Condition, reason: str) -> None:
    figures = derive_one(vm)
    assert figures.condition is condition
    assert figures.reason.startswith(reason)


def test_rules_stand_in_the_order_of_the_conditions_and_leave_none_out() -> None:
    assert [condition for condition, _ in RULES] == [each for each in Condition if each is not Condition.OK]


def swapping(at_s: int, *, in_per_s: float, out_per_s: float = 0.0, usable_bytes: int = 200 * MIB) -> Sample:
    """A guest that has swapped at these rates since the start."""
    updated_s = at_s // 5 * 5
    guest = make_guest(
        last_update_s=START_S + updated_s,
        usable_bytes=usable_bytes,
        swap_in_bytes=int(in_per_s * updated_s),
        swap_out_bytes=int(out_per_s * updated_s),
    )
    return make_sample(make_vm(guest=guest), at_s=at_s)


def test_a_guest_that_reads_from_its_swap_without_memory_to_spare_is_swapping() -> None:
    figures = derive_all(swapping(0, in_per_s=3 * MIB), swapping(5, in_per_s=3 * MIB)).vms[0]
    assert figures.condition is Condition.SWAPPING
    assert figures.reason == "the guest reads 3 MiB/s from its swap"


@pytest.mark.parametrize(("rate", "usable_bytes"), [(0.2 * MIB, 200 * MIB), (3 * MIB, 2 * GIB)])
def test_little_swap_in_and_swap_in_with_memory_to_spare_are_no_trouble(rate: float, usable_bytes: int) -> None:
    samples = [swapping(at_s, in_per_s=rate, usable_bytes=usable_bytes) for at_s in (0, 5)]
    assert derive_all(*samples).vms[0].condition is not Condition.SWAPPING


def test_a_guest_that_swaps_in_and_out_for_half_a_minute_is_thrashing() -> None:
    frame, seen = None, []
    for at_s in range(0, 50, 5):
        frame = derive_frame(frame, swapping(at_s, in_per_s=2 * MIB, out_per_s=2 * MIB), DEFAULT_POLICY)
        seen.append(frame.vms[0].condition)
    assert seen == [Condition.TIGHT, *[Condition.SWAPPING] * 5, *[Condition.THRASH] * 4]
    assert frame is not None
    assert frame.vms[0].reason == "the guest swaps in and out at once for 45 s"


def test_a_pause_in_the_swapping_starts_the_half_minute_anew() -> None:
    busy = [swapping(at_s, in_per_s=2 * MIB, out_per_s=2 * MIB) for at_s in range(0, 30, 5)]
    quiet = swapping(30, in_per_s=2 * MIB * 25 / 30, out_per_s=2 * MIB * 25 / 30)
    after = swapping(35, in_per_s=2 * MIB, out_per_s=2 * MIB)
    frame = derive_all(*busy, quiet, after)
    assert frame.vms[0].condition is Condition.SWAPPING


def test_a_guest_of_which_only_free_and_cache_are_known_is_judged_by_these() -> None:
    vm = make_vm(guest=make_guest(usable_bytes=None, free_bytes=40 * MIB, cache_bytes=40 * MIB))
    assert derive_one(vm).condition is Condition.TIGHT


def test_a_vm_that_only_the_host_sees_is_not_called_idle() -> None:
    vm = make_vm(guest=make_guest(usable_bytes=None, cache_bytes=None), qemu=make_qemu(rss_bytes=3 * GIB))
    assert derive_one(vm).condition is Condition.OK
