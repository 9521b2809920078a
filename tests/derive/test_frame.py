"""A frame follows from a sample and the frame before, and from nothing else."""

import pytest

from tests.builders import (
    PERIOD_S,
    derive_all,
    make_frame,
    make_guest,
    make_host,
    make_off_vm,
    make_sample,
    make_vm,
    make_vms,
    vm_uuid,
)
from vmtop.derive.frame import derive_frame
from vmtop.derive.metrics import Level
from vmtop.derive.rates import FIRST_READING
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import Sample
from vmtop.units import GIB


def test_vms_stand_in_the_order_of_the_sample() -> None:
    vms = make_vms(30, at_s=PERIOD_S)
    frame = derive_all(make_sample(*make_vms(30)), make_sample(*reversed(vms), at_s=PERIOD_S))
    assert [vm.uuid for vm in frame.vms] == [vm.uuid for vm in reversed(vms)]
    in_order = make_frame(30)
    assert sorted(frame.vms, key=lambda vm: vm.uuid) == sorted(in_order.vms, key=lambda vm: vm.uuid)


def test_vms_that_appear_have_no_rates_yet_and_those_that_vanish_leave_nothing() -> None:
    first, second = make_vm(uuid=vm_uuid(1)), make_vm(uuid=vm_uuid(2))
    frame = derive_all(make_sample(first), make_sample(second, at_s=PERIOD_S))
    assert [vm.uuid for vm in frame.vms] == [vm_uuid(2)]
    assert frame.vms[0].host_major_faults_per_s is None
    assert frame.vms[0].unknown["host_major_faults_per_s"] == FIRST_READING
    assert set(frame.guests) == {vm_uuid(2)}


def test_a_vm_that_is_switched_off_is_forgotten() -> None:
    frame = derive_all(make_sample(make_vm()), make_sample(make_off_vm(uuid=vm_uuid(1)), at_s=PERIOD_S))
    assert frame.guests == {}


SHORT = make_host(available_bytes=GIB)


@pytest.mark.parametrize(
    "sample",
    [
        make_sample(make_vm(), at_s=-60),
        make_sample(make_vm(), at_s=60, uri="qemu+ssh://other/system"),
        make_sample(make_vm(), at_s=60, host=make_host(name="other")),
    ],
)
def test_a_frame_of_another_time_or_source_is_no_predecessor(sample: Sample) -> None:
    before = derive_all(make_sample(make_vm(), host=SHORT))
    assert before.host.level is Level.HARD
    frame = derive_frame(before, sample, DEFAULT_POLICY)
    assert frame == derive_frame(None, sample, DEFAULT_POLICY)
    assert frame.host.level is Level.CALM


def test_two_samples_of_the_same_moment_give_no_rates_and_no_error() -> None:
    frame = derive_all(make_sample(make_vm()), make_sample(make_vm()))
    assert frame.host.swap_in_bytes_per_s is None
    assert "forward" in frame.host.unknown["swap_in_bytes_per_s"]


def test_the_same_samples_give_the_same_frames() -> None:
    samples = [make_sample(*make_vms(12, at_s=at_s), at_s=at_s) for at_s in (0, 3, 6, 9)]
    assert derive_all(*samples) == derive_all(*samples)


def test_a_frame_is_not_changed_by_the_next_one() -> None:
    before, untouched = make_frame(12), make_frame(12)
    derive_frame(before, make_sample(*make_vms(12, at_s=30), at_s=30), DEFAULT_POLICY)
    assert before == untouched


def test_the_memory_of_frames_does_not_grow() -> None:
    frame = make_frame(5)
    for at_s in range(10, 60, 5):
        guest = make_guest(last_update_s=make_guest().last_update_s + at_s)
        frame = derive_frame(frame, make_sample(make_vm(guest=guest), at_s=at_s), DEFAULT_POLICY)
        assert len(frame.guests) == 1
        assert frame.guests[vm_uuid(1)].figures is guest
