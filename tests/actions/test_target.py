from typing import Any

from tests.actions.scenes import ID
from tests.builders import make_facts, make_frame, make_off_vm, make_vm
from vmtop.actions.situation import find_subject
from vmtop.actions.target import Target, TargetState, Turned, ask, follow_targets
from vmtop.derive.frame import Frame
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import VmSample
from vmtop.units import GIB, MIB


class Row:
    """One VM, frame by frame, and what its row says."""

    def __init__(self, **vm: Any) -> None:
        self.frame: Frame | None = None
        self.at_s = 0.0
        self.targets: Any = {}
        self.see(make_vm(**vm))

    def see(self, vm: VmSample, after_s: float = 1.0, resting: tuple[str, ...] = ()) -> Target | None:
        self.at_s += after_s
        before, self.frame = self.frame, make_frame([vm], at_s=self.at_s, previous=self.frame)
        self.targets = follow_targets(self.targets, before, self.frame, DEFAULT_POLICY, resting)
        found: Target | None = self.targets.get(ID)
        return found

    def at(self, balloon_bytes: int, after_s: float = 1.0, **vm: Any) -> Target | None:
        return self.see(make_vm(balloon_bytes=balloon_bytes, **vm), after_s)

    def ask(self, asked_bytes: int) -> None:
        assert self.frame is not None
        subject = find_subject(self.frame, ID)
        assert subject is not None
        self.targets = ask(self.targets, subject, asked_bytes, self.frame.sample.monotonic_s)

    def state(self) -> TargetState:
        target = self.targets[ID]
        assert isinstance(target, Target)
        return target.state


def asked_row(asked_bytes: int = 2 * GIB) -> Row:
    row = Row()
    row.ask(asked_bytes)
    return row


def test_a_row_tells_what_was_asked_and_where_the_balloon_is() -> None:
    target = asked_row().at(3 * GIB)
    assert target is not None
    assert (target.asked_bytes, target.at_bytes, target.state) == (2 * GIB, 3 * GIB, TargetState.MOVING)


def test_a_balloon_that_arrives_is_reached_and_soon_forgotten() -> None:
    row = asked_row()
    row.at(2 * GIB + MIB)
    assert row.state() is TargetState.REACHED
    assert row.at(2 * GIB, after_s=60.0) is not None
    assert row.at(2 * GIB, after_s=1.0) is None


def test_a_move_that_was_rolled_back_is_remembered_for_longer() -> None:
    row = Row()
    assert row.frame is not None
    subject = find_subject(row.frame, ID)
    assert subject is not None
    turned = Turned(asked_bytes=2 * GIB, at_bytes=3 * GIB, reason="the guest swaps")
    row.targets = ask({}, subject, 4 * GIB, row.frame.sample.monotonic_s, turned)
    row.at(4 * GIB)
    assert row.state() is TargetState.REACHED
    target = row.at(4 * GIB, after_s=DEFAULT_POLICY.turned_shown_s - 1)
    assert target is not None
    assert target.turned == turned
    assert row.at(4 * GIB, after_s=2.0) is None


def test_a_balloon_without_progress_is_stuck_until_it_moves_again() -> None:
    row = asked_row()
    row.at(3 * GIB)
    row.at(3 * GIB, after_s=4.0)
    assert row.state() is TargetState.MOVING
    row.at(3 * GIB, after_s=1.0)
    assert row.state() is TargetState.STUCK
    row.at(2900 * MIB)
    assert row.state() is TargetState.MOVING


def test_a_balloon_that_rests_between_two_steps_is_not_stuck() -> None:
    row = asked_row()
    row.at(3 * GIB)
    for _ in range(10):
        row.see(make_vm(balloon_bytes=3 * GIB), 1.0, (ID,))
    assert row.state() is TargetState.MOVING


def test_a_balloon_that_turns_round_was_moved_by_somebody_else() -> None:
    row = asked_row()
    row.at(3 * GIB)
    target = row.at(3500 * MIB, after_s=2.0)
    assert target is not None
    assert (target.state, target.from_bytes, target.at_bytes) == (TargetState.MOVED, 3 * GIB, 3500 * MIB)


def test_what_libvirt_tells_late_is_nobody_elses_doing() -> None:
    row = Row(balloon_bytes=3 * GIB)
    row.ask(2 * GIB)
    row.at(3200 * MIB, after_s=1.0)
    assert row.state() is TargetState.MOVING


def test_a_balloon_that_leaves_where_it_should_be_was_moved_however_soon() -> None:
    row = asked_row()
    row.at(2 * GIB, after_s=0.5)
    row.at(4 * GIB, after_s=0.5)
    assert row.state() is TargetState.MOVED


def test_a_balloon_that_nobody_asked_to_move_is_said_to_have_been_moved() -> None:
    row = Row()
    target = row.at(3 * GIB)
    assert target is not None
    assert (target.asked_bytes, target.from_bytes, target.at_bytes) == (None, 4 * GIB, 3 * GIB)
    assert target.state is TargetState.MOVED
    assert row.at(3 * GIB, after_s=61.0) is None


def test_small_differences_and_other_causes_are_no_moves() -> None:
    assert Row().at(4 * GIB - MIB) is None
    assert Row().at(3 * GIB, domain_id=2) is None
    assert Row().at(5 * GIB, maximum_bytes=5 * GIB) is None
    assert Row().at(5 * GIB, facts=make_facts(virtio_mem_bytes=GIB)) is None
    deflating = make_facts(has_autodeflate=True)
    assert Row(facts=deflating).at(3 * GIB, facts=deflating) is None


def test_a_target_is_forgotten_when_the_vm_is_off_gone_or_started_anew() -> None:
    assert asked_row().see(make_off_vm(uuid=ID)) is None
    assert asked_row().see(make_vm(uuid="another")) is None
    assert asked_row().at(4 * GIB, domain_id=2) is None


def test_a_size_that_is_not_told_for_a_moment_keeps_the_target() -> None:
    target = asked_row().see(make_vm(balloon_bytes=None))
    assert target is not None
    assert target.asked_bytes == 2 * GIB
