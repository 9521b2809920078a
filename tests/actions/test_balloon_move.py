"""A move is played frame by frame: `Story` is a guest that follows, and what is asked of it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.actions.scenes import ID
from tests.builders import PERIOD_S, START_S, make_facts, make_frame, make_guest, make_off_vm, make_vm
from vmtop.actions.balloon_move import (
    BalloonMove,
    Decision,
    Done,
    Lost,
    RollBack,
    Step,
    Stuck,
    Wait,
    begin_move,
    next_decision,
)
from vmtop.actions.situation import Subject, find_subject
from vmtop.actions.strain import strain_limits
from vmtop.derive.frame import Frame
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import VmSample
from vmtop.units import GIB, MIB


class Story:
    """A VM of 4 GiB that uses 1.5 GiB, second by second."""

    def __init__(self, target_bytes: int, **vm: Any) -> None:
        self.at_s = 0
        self.used_bytes = 1536 * MIB
        self.vm: dict[str, Any] = {"balloon_bytes": 4 * GIB, **vm}
        self.guest: dict[str, Any] = {}
        self.is_sending = True
        self.sent_s = 0
        self.frame: Frame | None = None
        self.sight()
        self.move = begin_move(self.subject(), target_bytes, self.now_s, DEFAULT_POLICY)
        self.asked = [self.move.step_bytes]

    @property
    def now_s(self) -> float:
        assert self.frame is not None
        return self.frame.sample.monotonic_s

    def read(self) -> VmSample:
        if self.is_sending:
            self.sent_s = self.at_s // PERIOD_S * PERIOD_S
        usable_bytes = max(0, self.vm["balloon_bytes"] - self.used_bytes)
        guest = make_guest(last_update_s=START_S + self.sent_s, usable_bytes=usable_bytes, **self.guest)
        return make_vm(**{"guest": guest, **self.vm})

    def sight(self) -> None:
        self.frame = make_frame([self.read()], at_s=self.at_s, previous=self.frame)

    def subject(self) -> Subject:
        assert self.frame is not None
        subject = find_subject(self.frame, ID)
        assert subject is not None
        return subject

    def second(self, *, follows: bool = True) -> Decision:
        """One second passes; the balloon goes where it was asked to go."""
        self.at_s += 1
        if follows:
            self.vm["balloon_bytes"] = self.move.step_bytes
        self.sight()
        self.move, decision = next_decision(self.move, self.subject(), self.now_s, DEFAULT_POLICY)
        if isinstance(decision, Step):
            self.asked.append(decision.target_bytes)
        return decision

    def until_it_ends(self, *, follows: bool = True) -> Decision:
        for _ in range(200):
            decision = self.second(follows=follows)
            if not isinstance(decision, Step | Wait):
                return decision
        raise AssertionError("the move never ends")


def test_a_large_move_goes_in_steps_of_a_tenth_each_after_fresh_figures() -> None:
    story = Story(3 * GIB)
    assert story.until_it_ends() == Done()
    assert story.asked == [3687 * MIB, 3319 * MIB, 3 * GIB]
    # Three steps, and for each of them one set of figures that the guest sent after it.
    assert story.at_s >= 3 * PERIOD_S


def test_a_small_move_is_one_step_and_is_watched_too() -> None:
    story = Story(4 * GIB - 32 * MIB)
    assert story.second() == Wait()
    assert story.until_it_ends() == Done()
    assert story.asked == [4 * GIB - 32 * MIB]


def test_memory_is_given_back_at_once() -> None:
    story = Story(4 * GIB, balloon_bytes=2 * GIB)
    assert story.asked == [4 * GIB]
    assert story.second() == Done()


@pytest.mark.parametrize("period_s", [0, None])
def test_a_guest_that_sends_no_figures_is_moved_in_one_step(period_s: int | None) -> None:
    story = Story(2 * GIB, facts=make_facts(stats_period_s=period_s))
    assert not story.move.is_watched
    assert story.asked == [2 * GIB]
    assert story.second() == Done()


def test_a_balloon_that_does_not_get_on_for_5_s_is_stuck() -> None:
    story = Story(3 * GIB)
    story.vm["balloon_bytes"] = 3800 * MIB
    assert story.second(follows=False) == Wait()
    for _ in range(4):
        assert story.second(follows=False) == Wait()
    assert story.second(follows=False) == Stuck(3800 * MIB)


def test_slow_progress_is_not_stuck() -> None:
    story = Story(3 * GIB)
    for _ in range(12):
        story.vm["balloon_bytes"] -= 20 * MIB
        assert story.second(follows=False) == Wait()


def squeeze(story: Story, **figures: int) -> Decision:
    """Let the first step be reached; then the guest sends these counters with its next figures."""
    while story.at_s < PERIOD_S - 1:
        assert story.second() == Wait()
    story.guest.update(figures)
    return story.second()


def test_a_guest_that_starts_to_swap_gets_its_memory_back() -> None:
    assert squeeze(Story(3 * GIB), swap_in_bytes=50 * MIB) == RollBack("the guest reads 10 MiB/s from its swap")


def test_one_burst_into_the_swap_is_waited_out() -> None:
    story = Story(3 * GIB)
    assert squeeze(story, swap_out_bytes=50 * MIB) == Wait()
    assert [story.second() for _ in range(4)] == [Wait()] * 4
    assert isinstance(story.second(), Step)


def test_a_guest_that_keeps_writing_to_its_swap_gets_its_memory_back() -> None:
    story = Story(3 * GIB)
    assert squeeze(story, swap_out_bytes=50 * MIB) == Wait()
    story.guest["swap_out_bytes"] = 100 * MIB
    assert story.until_it_ends() == RollBack("the guest keeps writing 10 MiB/s to its swap")
    assert len(story.asked) == 1


def test_a_little_that_goes_into_the_swap_holds_nothing_up() -> None:
    assert isinstance(squeeze(Story(3 * GIB), swap_out_bytes=4 * MIB), Step)


def test_a_guest_that_faults_heavily_gets_its_memory_back() -> None:
    story = Story(3 * GIB)
    assert squeeze(story, major_faults=2_000 + 2_500) == Wait()
    story.guest["major_faults"] = 2_000 + 5_000
    decision = story.until_it_ends()
    assert isinstance(decision, RollBack)
    reads = "that it reads from its files: its page cache got too small"
    assert decision.reason == f"the guest keeps waiting for 500 pages per second {reads}"
    assert len(story.asked) == 1


def test_a_burst_of_page_cache_that_is_read_again_is_waited_out() -> None:
    story = Story(3 * GIB)
    assert squeeze(story, major_faults=2_000 + 2_500) == Wait()
    assert [story.second() for _ in range(4)] == [Wait()] * 4
    assert isinstance(story.second(), Step)


def test_faults_that_swapping_makes_are_not_blamed_on_the_page_cache() -> None:
    story = Story(3 * GIB)
    swapped = {"swap_in_bytes": MIB}
    assert squeeze(story, major_faults=2_000 + 2_500, **swapped) == Wait()
    story.guest.update(major_faults=2_000 + 5_000, swap_in_bytes=2 * MIB)
    assert story.until_it_ends() == RollBack("the guest keeps waiting for 500 pages per second")


def test_a_guest_that_faults_heavily_on_the_last_step_is_not_done_yet() -> None:
    story = Story(4 * GIB - 64 * MIB)
    assert squeeze(story, major_faults=2_000 + 2_500) == Wait()
    story.guest["major_faults"] = 2_000 + 5_000
    assert isinstance(story.until_it_ends(), RollBack)


def test_a_guest_that_swapped_before_may_go_on_but_not_get_worse() -> None:
    story = Story(4 * GIB)
    story.guest.update(swap_in_bytes=5 * MIB)
    story.at_s = PERIOD_S
    story.sight()
    assert story.subject().metrics.guest_swap_in_bytes_per_s == MIB
    story.move = begin_move(story.subject(), 3 * GIB, story.now_s, DEFAULT_POLICY)
    story.guest["swap_in_bytes"] = 10 * MIB
    assert any(isinstance(story.second(), Step) for _ in range(2 * PERIOD_S))
    assert story.subject().metrics.guest_swap_in_bytes_per_s == MIB
    story.guest["swap_in_bytes"] = 30 * MIB
    assert story.until_it_ends() == RollBack("the guest reads 4 MiB/s from its swap")


def test_a_guest_that_wrote_to_its_swap_before_may_go_on_but_not_get_worse() -> None:
    story = Story(3 * GIB)
    limits = replace(story.move.limits, swap_out_bytes_per_s=20.0 * MIB)
    story.move = replace(story.move, limits=limits)
    assert isinstance(squeeze(story, swap_out_bytes=50 * MIB), Step)


def test_a_guest_that_always_faults_a_lot_may_go_on_doing_so() -> None:
    story = Story(3 * GIB)
    busy = replace(story.subject().metrics, guest_major_faults_per_s=400.0)
    story.move = replace(story.move, limits=strain_limits(busy, DEFAULT_POLICY))
    assert isinstance(squeeze(story, major_faults=2_000 + 2_500), Step)


def test_a_guest_whose_usable_memory_falls_below_the_margin_gets_its_memory_back() -> None:
    story = Story(3 * GIB)
    story.used_bytes = 3650 * MIB
    assert squeeze(story) == RollBack("the guest has 37M left to use (1 %)")


def test_a_guest_whose_figures_stop_coming_gets_its_memory_back() -> None:
    story = Story(3 * GIB)
    story.is_sending = False
    assert story.until_it_ends() == RollBack("the guest's figures stopped coming")
    assert len(story.asked) == 1


def test_trouble_from_before_the_move_is_not_held_against_it() -> None:
    story = Story(4 * GIB)
    story.guest["swap_in_bytes"] = 50 * MIB
    story.at_s = PERIOD_S
    story.sight()
    assert story.subject().metrics.guest_swap_in_bytes_per_s == 10 * MIB
    story.move = begin_move(story.subject(), 3 * GIB, story.now_s, DEFAULT_POLICY)
    assert [story.second() for _ in range(4)] == [Wait()] * 4
    assert isinstance(story.second(), Step)


def test_below_the_floor_only_swapping_and_faults_count() -> None:
    story = Story(1600 * MIB)
    assert story.move.least_usable_bytes == 0
    assert story.until_it_ends() == Done()


def lose(move: BalloonMove, vm: VmSample) -> Decision:
    frame = make_frame([vm], at_s=2)
    return next_decision(move, find_subject(frame, ID), frame.sample.monotonic_s, DEFAULT_POLICY)[1]


def test_a_vm_that_is_gone_off_or_another_has_nothing_to_move() -> None:
    move = Story(3 * GIB).move
    assert lose(move, make_vm(uuid="another")) == Lost("the VM is gone")
    assert lose(move, make_off_vm(uuid=ID)) == Lost("the VM is shut off")
    assert lose(move, make_vm(domain_id=2)) == Lost("the VM was started anew")


def test_a_balloon_of_unknown_size_is_not_moved() -> None:
    subject = find_subject(make_frame([make_vm(balloon_bytes=None)]), ID)
    assert subject is not None
    with pytest.raises(ValueError, match="unknown size"):
        begin_move(subject, GIB, 0.0, DEFAULT_POLICY)


@given(st.integers(1700, 4096), st.integers(200, 1536))
def test_every_move_of_a_calm_guest_arrives_in_steps_that_are_small_enough(target_mib: int, used_mib: int) -> None:
    story = Story(target_mib * MIB)
    story.used_bytes = used_mib * MIB
    assert story.until_it_ends() == Done()
    assert story.asked[-1] == target_mib * MIB
    for before, after in zip([4 * GIB, *story.asked], story.asked, strict=False):
        assert target_mib * MIB <= after <= before
        assert before - after <= max(64 * MIB, before // 10)
