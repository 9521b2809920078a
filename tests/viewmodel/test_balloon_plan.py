"""What keys and typed sizes ask of balloons."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import START_MONOTONIC_S, make_frame, make_off_vm, make_vm, vm_uuid
from vmtop.actions.target import Target, TargetState
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.units import GIB, MIB
from vmtop.viewmodel.balloon_plan import plan_steps, plan_typed, read_bases, step_bytes

ID = vm_uuid(1)


def make_target(state: TargetState, asked_bytes: int | None = 2 * GIB) -> Target:
    return Target(
        asked_bytes=asked_bytes,
        at_bytes=3 * GIB,
        from_bytes=4 * GIB,
        state=state,
        since_s=START_MONOTONIC_S,
        asked_s=START_MONOTONIC_S,
        domain_id=1,
    )


@pytest.mark.parametrize(
    ("maximum_bytes", "step"),
    [(256 * MIB, 64 * MIB), (1 * GIB, 128 * MIB), (4 * GIB, 384 * MIB), (16 * GIB, 1664 * MIB)],
)
def test_a_step_is_a_tenth_of_the_maximum_in_whole_multiples_of_64_mib(maximum_bytes: int, step: int) -> None:
    assert step_bytes(maximum_bytes, DEFAULT_POLICY) == step


@pytest.mark.parametrize(
    ("state", "base_bytes"), [(TargetState.MOVING, 2 * GIB), (TargetState.STUCK, 4 * GIB), (TargetState.MOVED, 4 * GIB)]
)
def test_steps_count_from_where_a_balloon_goes_or_else_from_where_it_is(state: TargetState, base_bytes: int) -> None:
    assert read_bases(make_frame([make_vm()]), [ID], {ID: make_target(state)}) == {ID: base_bytes}


def test_vms_that_are_gone_or_have_no_size_have_no_base() -> None:
    frame = make_frame([make_vm(), make_off_vm()])
    assert read_bases(frame, [ID, vm_uuid(9), vm_uuid(7)], {}) == {ID: 4 * GIB}


def test_what_has_no_size_is_left_out_and_named() -> None:
    plan = plan_steps(make_frame([make_vm(), make_off_vm()]), [ID, vm_uuid(9)], {ID: 4 * GIB}, -1, DEFAULT_POLICY)
    assert [command.target_bytes for command in plan.commands] == [4 * GIB - 384 * MIB]
    assert plan.complaint == "the size of vm-0009 is not known: off"


@given(steps=st.integers(min_value=-100, max_value=100), base_mib=st.integers(min_value=1, max_value=4096))
def test_steps_stay_between_a_step_of_memory_and_the_maximum(steps: int, base_mib: int) -> None:
    base_bytes = base_mib * MIB
    plan = plan_steps(make_frame([make_vm()]), [ID], {ID: base_bytes}, steps, DEFAULT_POLICY)
    assert min(384 * MIB, base_bytes) <= plan.commands[0].target_bytes <= 4 * GIB


def test_what_is_typed_counts_from_each_balloon() -> None:
    frame = make_frame([make_vm(), make_vm(uuid=vm_uuid(2), name="small", maximum_bytes=2 * GIB, balloon_bytes=GIB)])
    plan = plan_typed(frame, [ID, vm_uuid(2), vm_uuid(7)], "-512M", DEFAULT_POLICY)
    assert [command.target_bytes for command in plan.commands] == [4 * GIB - 512 * MIB, 512 * MIB]
    assert plan.complaint == ""


def test_a_typed_size_that_one_vm_cannot_have_is_said_with_its_name() -> None:
    plan = plan_typed(make_frame([make_vm(), make_off_vm()]), [ID, vm_uuid(9)], "floor", DEFAULT_POLICY)
    assert len(plan.commands) == 1
    assert plan.complaint.startswith("vm-0009: floor is not known: off")
