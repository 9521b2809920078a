"""Acting on VMs with keys: the card, what it hands over, and what is said of what came of it."""

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
from textual import events

from tests.builders import START_MONOTONIC_S, make_facts, make_frame, make_guest, make_off_vm, make_vm, vm_uuid
from tests.tui.fake_operator import FakeOperator
from tests.tui.screen import Stage
from vmtop.actions.action import Ending
from vmtop.actions.audit import Undo
from vmtop.actions.command import Command, SetBalloon, SetStatsPeriod
from vmtop.actions.target import Target, TargetState
from vmtop.actions.verdict import Verdict
from vmtop.derive.frame import Frame
from vmtop.errors import AuditError
from vmtop.model.sample import VmSample
from vmtop.tui.screens.confirm import ConfirmScreen
from vmtop.tui.widgets.prompt import Prompt
from vmtop.units import GIB, MIB
from vmtop.viewmodel.ui_state import UiState

STEP = 384 * MIB
"""A tenth of 4 GiB in whole multiples of 64 MiB."""


def web(number: int = 1, **changes: object) -> VmSample:
    return make_vm(uuid=vm_uuid(number), name=f"web-{number}", domain_id=number, **changes)  # type: ignore[arg-type]


def silent(number: int = 1) -> VmSample:
    """A VM whose guest sends no figures since nobody asked it to."""
    return web(number, facts=make_facts(stats_period_s=0))


def stage_of(
    vms: Sequence[VmSample], size: tuple[int, int] = (120, 40), *, is_reversed: bool = False
) -> tuple[Stage, FakeOperator]:
    frame = make_frame(vms)
    operator = FakeOperator(frame)
    state = UiState(sort_column="name", is_reversed=is_reversed)
    return Stage(frame, size=size, state=state, operator=operator), operator


def seen(stage: Stage) -> str:
    return "\n".join(stage.lines)


def has_card(stage: Stage) -> bool:
    return isinstance(stage.app.screen, ConfirmScreen)


def target(state: TargetState = TargetState.MOVING, **changes: object) -> Target:
    values: dict[str, object] = {
        "asked_bytes": 2 * GIB,
        "at_bytes": 2560 * MIB,
        "from_bytes": 4 * GIB,
        "state": state,
        "since_s": START_MONOTONIC_S,
        "asked_s": START_MONOTONIC_S,
        "domain_id": 1,
    }
    return Target(**{**values, **changes})  # type: ignore[arg-type]


# -- balloons, step by step


def test_a_key_opens_a_card_and_nothing_is_done_before_enter() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("minus")
        await stage.wait_for_text("safe floor")
        assert "Set the balloon of web-1 to 3.62G, from 4.0G" in seen(stage)
        assert "2.5G now, 2.12G after" in stage.line_with("guest can use")
        assert "low: 2.12G more than the 1.5G that the guest uses" in stage.line_with("risk")
        assert operator.submitted == []
        await stage.press("enter")
        assert operator.submitted == [(SetBalloon(uuid=vm_uuid(1), target_bytes=4 * GIB - STEP), "", None)]
        assert not has_card(stage)

    stage, operator = stage_of([web()])
    stage.play(scene)


def test_escape_leaves_the_card_and_nothing_is_done_or_judged_any_more() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("minus")
        await stage.wait_for_text("safe floor")
        await stage.press("escape")
        assert not has_card(stage)
        judged = len(operator.judged)
        await stage.publish(make_frame([web()], at_s=7))
        assert (operator.submitted, len(operator.judged)) == ([], judged)

    stage, operator = stage_of([web()])
    stage.play(scene)


def test_the_keys_go_on_in_the_card_and_stop_at_the_ends() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("minus", "minus", "minus", "plus")
        await stage.wait_for_text("Set the balloon of web-1 to 3.25G")
        await stage.press(*["plus"] * 5)
        await stage.wait_for_text("web-1: it has 4.0G already, which is its maximum: nothing to do")
        assert "That is the maximum: there is no larger size" in seen(stage)
        await stage.press("enter")
        assert operator.submitted == []
        await stage.press("minus", "enter")
        await stage.wait_for_text("low")
        assert "That is the maximum" not in seen(stage)
        await stage.press("enter")
        assert operator.submitted[0][0] == SetBalloon(uuid=vm_uuid(1), target_bytes=4 * GIB - STEP)

    stage, operator = stage_of([web()])
    stage.play(scene)


def test_steps_count_from_where_a_balloon_is_on_its_way_to() -> None:
    async def scene(stage: Stage) -> None:
        operator.asked = {vm_uuid(1): target()}
        await stage.press("plus")
        operator.notify()
        await stage.wait_for_text("nothing to do")
        await stage.press("escape", "plus")
        await stage.wait_for_text("to 2.38G")

    stage, operator = stage_of([web()])
    stage.play(scene)


def test_a_new_frame_is_judged_anew() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("minus")
        await stage.wait_for_text("low")
        busy = make_frame([web(guest=make_guest(usable_bytes=128 * MIB, last_update_s=1_700_000_007))], at_s=7)
        operator.frame = busy
        await stage.publish(busy)
        await stage.wait_for_text("severe")

    stage, operator = stage_of([web()])
    stage.play(scene)


def test_what_is_refused_cannot_be_entered_and_says_why() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("minus")
        await stage.wait_for_text("web-1 has no balloon device")
        assert "do it" not in stage.lines[-1]
        await stage.press("enter")
        assert has_card(stage)
        assert operator.submitted == []

    stage, operator = stage_of([web(facts=make_facts(has_balloon=False), guest=None)])
    stage.play(scene)


def test_below_the_floor_the_name_has_to_be_typed() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press(*["minus"] * 7)
        await stage.wait_for_text("its name has to be typed")
        await stage.press("enter", *"web-2", "enter")
        assert "that is not its name" in stage.line_with("Type web-1 to go on")
        assert operator.submitted == []
        await stage.press("backspace", "1", "enter")
        assert operator.submitted == [
            (SetBalloon(uuid=vm_uuid(1), target_bytes=4 * GIB - 7 * STEP), "web-1", None),
        ]

    stage, operator = stage_of([web()])
    stage.play(scene)


def test_at_the_other_end_it_is_said_that_steps_go_no_further() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press(*["minus"] * 12)
        await stage.wait_for_text("That is the least that a step leads to; b asks for any size")

    stage, _ = stage_of([web()])
    stage.play(scene)


def test_the_name_is_asked_for_no_longer_than_it_is_needed() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press(*["minus"] * 7)
        await stage.wait_for_text("its name has to be typed")
        await stage.press("enter")
        await stage.wait_for_text("Type web-1 to go on")
        calmer = web(guest=make_guest(usable_bytes=3584 * MIB, cache_bytes=256 * MIB, free_bytes=3328 * MIB))
        operator.frame = make_frame([calmer])
        await stage.publish(operator.frame)
        await stage.wait_for_text("Enter do it")
        assert "Type web-1" not in seen(stage)
        await stage.press("enter")
        assert operator.submitted == [(SetBalloon(uuid=vm_uuid(1), target_bytes=4 * GIB - 7 * STEP), "", None)]

    stage, operator = stage_of([web()])
    stage.play(scene)


def test_floor_is_explained_while_it_is_typed() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("b", *"floor")
        await stage.wait_for_text('"floor" is 38M above the safe floor, which moves with what the guest uses')

    stage, _ = stage_of([web()])
    stage.play(scene)


def test_a_name_that_was_typed_for_one_size_does_not_serve_for_another() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press(*["minus"] * 7)
        await stage.wait_for_text("its name has to be typed")
        card = stage.app.screen
        assert isinstance(card, ConfirmScreen)
        await stage.press("enter")
        card._names[SetBalloon(uuid=vm_uuid(1), target_bytes=4 * GIB - 6 * STEP)] = "web-1"
        card.action_confirm()
        await stage.wait_for_text("Type web-1 to go on")
        assert operator.submitted == []

    stage, operator = stage_of([web()])
    stage.play(scene)


def test_escape_while_the_name_is_typed_goes_back_to_the_card() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press(*["minus"] * 7)
        await stage.wait_for_text("its name has to be typed")
        await stage.press("enter", "w", "escape")
        assert has_card(stage)
        assert "Type web-1" not in seen(stage)
        await stage.press("escape")
        assert not has_card(stage)
        assert operator.submitted == []

    stage, operator = stage_of([web()])
    stage.play(scene)


def test_old_figures_are_refused_until_the_operator_insists() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("minus")
        await stage.wait_for_text("it can be forced")
        assert "insist" in stage.lines[-1]
        await stage.press("ctrl+f")
        await stage.wait_for_text("insisting: it is done although figures are old or do not come (Ctrl+F)")
        await stage.press("enter")
        command, _, _ = operator.submitted[0]
        assert isinstance(command, SetBalloon)
        assert command.is_forced

    old = make_guest(last_update_s=1_700_000_000)
    first = make_frame([web(guest=old)], at_s=1)
    frame = make_frame([web(guest=old)], at_s=120, previous=first)
    operator = FakeOperator(frame)
    Stage(frame, operator=operator).play(scene)


# -- balloons, typed


@pytest.mark.parametrize(
    ("typed", "size_bytes"),
    [("3G", 3 * GIB), ("-512M", 4 * GIB - 512 * MIB), ("-10%", int(3.6 * GIB) // 1024 * 1024), ("max", 6 * GIB)],
)
def test_a_size_can_be_typed_and_the_card_follows(typed: str, size_bytes: int) -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("b")
        assert "Write a size (4G, 512M)" in seen(stage)
        await stage.press(*[{"-": "minus", "%": "percent_sign"}.get(key, key) for key in typed])
        await stage.wait_for_text("safe floor")
        await stage.press("enter")
        assert [command for command, _, _ in operator.submitted] == [
            SetBalloon(uuid=vm_uuid(1), target_bytes=size_bytes),
        ]

    stage, operator = stage_of([web(maximum_bytes=6 * GIB)])
    stage.play(scene)


def test_a_size_that_makes_no_sense_is_said_while_it_is_typed_and_nothing_is_done() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("b", *"10")
        assert "has no unit that is clear" in seen(stage)
        await stage.press("enter")
        assert has_card(stage)
        assert operator.submitted == []

    stage, operator = stage_of([web()])
    stage.play(scene)


# -- several VMs


def test_marked_vms_are_changed_together_with_the_sum_shown() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("home", "space", "space")
        assert stage.lines[-1].startswith("2 marked")
        assert [line.split()[0] for line in stage.lines if line[1:].startswith("web-")] == ["*web-1", "*web-2", "web-3"]
        await stage.press("minus")
        await stage.wait_for_text("together")
        assert stage.line_with("together").split()[1:3] == ["8.0G", "7.25G"]
        await stage.press("enter")
        assert {command.uuid for command, _, _ in operator.submitted} == {vm_uuid(1), vm_uuid(2)}

    stage, operator = stage_of([web(1), web(2), web(3, maximum_bytes=1 * GIB, balloon_bytes=1 * GIB)])
    stage.play(scene)


def test_of_several_vms_those_that_are_refused_stay_as_they_are() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("space", "space", "minus")
        await stage.wait_for_text("Enter does 1 of 2")
        assert "web-2 has no balloon device" in stage.line_with("refused")
        await stage.press("enter")
        assert [command.uuid for command, _, _ in operator.submitted] == [vm_uuid(1)]

    stage, operator = stage_of([web(1), web(2, facts=make_facts(has_balloon=False), guest=None)])
    stage.play(scene)


def test_a_vm_that_is_off_has_no_size_to_change() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("minus")
        assert "the size of web-2 is not known: off" in seen(stage)
        await stage.press("enter")
        assert operator.submitted == []

    stage, operator = stage_of([make_off_vm(uuid=vm_uuid(2), name="web-2")])
    stage.play(scene)


def test_several_names_are_asked_for_one_after_another() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("home", "space", "space", "b", *"1G")
        await stage.wait_for_text("together")
        await stage.press("enter", *"web-1", "enter", *"web-2", "enter")
        assert [name for _, name, _ in operator.submitted] == ["web-1", "web-2"]

    stage, operator = stage_of([web(1), web(2)])
    stage.play(scene)


def test_a_second_mark_takes_the_first_away_and_one_key_takes_all() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("home", "space", "up", "space")
        assert "marked" not in stage.lines[-1]
        await stage.press("home", "space", "space")
        assert "2 marked" in stage.lines[-1]
        await stage.press("U")
        assert "marked" not in stage.lines[-1]

    stage, _ = stage_of([web(1), web(2)])
    stage.play(scene)


def test_a_marked_vm_that_the_filter_hides_is_left_alone() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("home", "space", "slash", *"web-2", "enter", "minus")
        await stage.wait_for_text("Set the balloon of web-2")
        assert "web-1" not in "\n".join(stage.lines)

    stage, _ = stage_of([web(1), web(2)])
    stage.play(scene)


def test_on_the_host_there_is_no_vm_to_act_on() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("up", "minus")
        assert "choose a VM first" in stage.lines[-2]
        assert not has_card(stage)

    stage, _ = stage_of([web()])
    stage.play(scene)


def test_the_page_of_a_vm_acts_on_that_vm_only() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("space", "enter", "minus")
        await stage.wait_for_text("Set the balloon of web-1")

    stage, _ = stage_of([web(1), make_off_vm(uuid=vm_uuid(2), name="web-2")], is_reversed=True)
    stage.play(scene)


# -- read-only


@pytest.mark.parametrize("key", ["minus", "plus", "b", "p", "u"])
def test_without_an_operator_the_keys_say_why_nothing_happens(key: str) -> None:
    async def scene(stage: Stage) -> None:
        assert " RO " in seen(stage)
        await stage.press(key)
        assert "the connection is read-only" in stage.lines[-2]
        assert not has_card(stage)
        await stage.press("down")
        assert "the connection is read-only" not in stage.lines[-2]

    Stage(make_frame([web()]), why_readonly="the connection is read-only").play(scene)


def test_where_vms_can_be_changed_the_title_says_so() -> None:
    async def scene(stage: Stage) -> None:
        assert " RW " in seen(stage)

    stage, _ = stage_of([web()])
    stage.play(scene)


# -- what came of it


def test_what_was_done_is_said_for_a_while() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("minus")
        await stage.wait_for_text("low")
        await stage.press("enter")
        assert "web-1: balloon: moving for 3 s" in stage.lines[-2]
        operator.end(Ending.DONE, "reached 3.62G")
        await stage.wait_for_text("web-1: balloon: reached 3.62G")
        await stage.press("down")
        assert "reached 3.62G" in stage.lines[-2]
        await stage.pass_time(11)
        assert "reached 3.62G" not in stage.lines[-2]

    stage, operator = stage_of([web()])
    stage.play(scene)


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (Ending.FAILED, "web-1: balloon: rolled back to 4.0G"),
        (Ending.REFUSED, "web-1: balloon: refused: rolled back to 4.0G"),
        (Ending.PENDING, "web-1: balloon: pending: rolled back to 4.0G"),
    ],
)
def test_what_went_wrong_is_said_until_a_key_is_pressed(ending: Ending, said: str) -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("minus")
        await stage.wait_for_text("low")
        await stage.press("enter")
        operator.end(ending, "rolled back to 4.0G")
        await stage.wait_for_text(said)
        await stage.pass_time(3_600)
        assert said in stage.lines[-2]
        await stage.press("down")
        assert said not in stage.lines[-2]

    stage, operator = stage_of([web()])
    stage.play(scene)


def test_of_several_outcomes_the_worst_is_said_with_their_number() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("space", "space", "minus")
        await stage.wait_for_text("together")
        await stage.press("enter")
        operator.end(Ending.FAILED, "stuck at 3.9G", 0)
        operator.end(Ending.FAILED, "stuck at 3.8G", 1)
        await stage.wait_for_text("stuck at 3.8G (and 1 more)")

    stage, operator = stage_of([web(1), web(2)])
    stage.play(scene)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (target(), "asked 2.0G, at 2.5G"),
        (target(TargetState.STUCK), "asked 2.0G, stuck at 2.5G"),
        (target(TargetState.REACHED, at_bytes=2 * GIB), "reached 2.0G"),
        (target(TargetState.MOVED, asked_bytes=None), "moved to 2.5G by another"),
    ],
)
def test_the_row_and_the_page_say_what_was_asked_of_a_balloon(state: Target, words: str) -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("minus")
        await stage.wait_for_text("low")
        operator.asked = {vm_uuid(1): state}
        await stage.press("escape")
        operator.notify()
        await stage.wait_for_text(words)
        assert words in stage.line_with("web-1")
        await stage.press("enter")
        asked = stage.line_with("  asked ")
        assert "2.0G" in asked or "2.5G" in asked

    stage, operator = stage_of([web()], (260, 50))
    stage.play(scene)


def test_a_narrow_row_says_it_in_fewer_words() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("minus")
        await stage.wait_for_text("low")
        operator.asked = {vm_uuid(1): target()}
        await stage.press("escape")
        operator.notify()
        await stage.wait_for_text("2.5G to 2.0G")

    stage, operator = stage_of([web()], (80, 24))
    stage.play(scene)


# -- undo


def undo(number: int, action: str = "balloon", old: int = 4 * GIB, new: int = 3 * GIB) -> Undo:
    return Undo(
        id=f"change-{number}",
        uuid=vm_uuid(number),
        vm=f"web-{number}",
        action=action,
        old=old,
        new=new,
        time_s=1_700_000_000.0,
    )


def test_undo_shows_what_is_put_back_and_says_whose_change_it_takes_back() -> None:
    async def scene(stage: Stage) -> None:
        operator.found = (undo(1),)
        await stage.press("u")
        await stage.wait_for_text("the guest gets memory back")
        assert "2023-11-14 22:13 UTC  web-1: balloon 4.0G to 3.0G" in seen(stage)
        await stage.press("enter")
        assert operator.submitted == [(SetBalloon(uuid=vm_uuid(1), target_bytes=4 * GIB), "", "change-1")]

    stage, operator = stage_of([web(balloon_bytes=3 * GIB)])
    stage.play(scene)


def test_the_key_takes_one_more_change_back_and_of_each_vm_only_the_last() -> None:
    async def scene(stage: Stage) -> None:
        operator.found = (undo(1), replace(undo(1), id="older"), undo(2))
        await stage.press("u")
        await stage.wait_for(lambda: has_card(stage))
        await stage.press("u", "u", "u")
        await stage.wait_for_text("Take the last 2 changes back")
        await stage.wait_for_text("together")
        await stage.press("enter")
        assert [undoes for _, _, undoes in operator.submitted] == ["change-1", "change-2"]

    stage, operator = stage_of([web(1, balloon_bytes=3 * GIB), web(2, balloon_bytes=3 * GIB)])
    stage.play(scene)


def test_what_is_being_taken_back_is_not_offered_again() -> None:
    async def scene(stage: Stage) -> None:
        operator.found = (undo(1),)
        await stage.press("u")
        await stage.wait_for_text("memory back")
        await stage.press("enter", "u")
        await stage.wait_for_text("there is nothing to take back")

    stage, operator = stage_of([web(balloon_bytes=3 * GIB)])
    stage.play(scene)


def test_an_audit_that_cannot_be_read_is_said() -> None:
    async def scene(stage: Stage) -> None:
        operator.error = AuditError("/audit.jsonl: Permission denied")
        await stage.press("u")
        await stage.wait_for_text("/audit.jsonl: Permission denied")
        assert not has_card(stage)

    stage, operator = stage_of([web()])
    stage.play(scene)


# -- statistics period


def test_a_guest_without_a_period_is_offered_one_which_stays() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("p")
        await stage.wait_for_text("Have web-1 send its memory figures every 5 s")
        assert "leaves it as it is" in seen(stage)
        await stage.wait_for_text("do it")
        await stage.press("enter")
        assert operator.submitted == [(SetStatsPeriod(uuid=vm_uuid(1), period_s=5), "", None)]

    stage, operator = stage_of([silent()])
    stage.play(scene)
    assert len(operator.submitted) == 1
    assert operator.is_closed


BACK = SetStatsPeriod(uuid=vm_uuid(1), period_s=0, expected_s=5)


def test_a_period_is_put_back_at_the_end_if_that_was_chosen() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("p", "tab")
        await stage.wait_for_text("puts back what was before")
        await stage.wait_for_text("do it")
        await stage.press("enter")

    stage, operator = stage_of([silent()])
    operator.ending = Ending.DONE
    operator.to_put_back = (BACK,)
    stage.play(scene)
    assert stage.app.left_undone == ""
    asked = SetStatsPeriod(uuid=vm_uuid(1), period_s=5)
    assert operator.submitted == [(asked, "", None), (BACK, "", None)]
    assert operator.passing == [asked]


def test_a_period_that_cannot_be_put_back_is_said_after_the_end() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("p", "tab")
        await stage.wait_for_text("do it")
        await stage.press("enter")
        operator.ending = Ending.FAILED

    stage, operator = stage_of([silent()])
    operator.ending = Ending.DONE
    operator.to_put_back = (BACK,)
    stage.play(scene)
    assert stage.app.left_undone == "web-1: its statistics period was not put back: that is how it ended"


def test_why_a_period_may_not_be_put_back_is_said_after_the_end() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("p", "tab")
        await stage.wait_for_text("do it")
        await stage.press("enter")
        operator.error = AuditError("/state: cannot be removed: Read-only file system")

    stage, operator = stage_of([silent()])
    operator.ending = Ending.DONE
    stage.play(scene)
    assert stage.app.left_undone == "/state: cannot be removed: Read-only file system"
    assert operator.is_closed


def test_a_period_of_others_is_never_changed() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("p")
        await stage.wait_for_text("web-1 sends its figures every 5 s already")
        assert "Others may rely on a period that is set, so vmtop leaves it alone" in seen(stage)
        assert "Tab" not in seen(stage)
        await stage.press("enter")
        assert operator.submitted == []

    stage, operator = stage_of([web()])
    stage.play(scene)


# -- the card itself


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (200, 50), (20, 5), (1, 1)])
def test_the_card_fits_any_terminal(size: tuple[int, int]) -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("minus")
        await stage.wait_for(lambda: bool(operator.judged))
        await stage.press("enter")
        assert len(stage.lines) == size[1]

    stage, operator = stage_of([web()], size)
    stage.play(scene)


def test_on_a_short_terminal_the_whole_card_is_seen_and_the_table_gives_way() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("minus")
        await stage.wait_for_text("risk")
        for text in ("Set the balloon of web-1", "guest can use", "safe floor", "host wins", "Enter"):
            assert stage.line_with(text)

    stage, _ = stage_of([web()], (60, 15))
    stage.play(scene)


def test_a_hostile_name_is_harmless_on_the_card_and_can_be_typed_as_it_is_shown() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("b", *"1G")
        await stage.wait_for_text("its name has to be typed")
        assert "\x1b" not in seen(stage)
        await stage.press("enter")
        shown = stage.line_with("Type ").split()[1]
        stage.app.screen.query_one(Prompt).post_message(events.Paste(shown))
        await stage.press("enter")
        assert [name for _, name, _ in operator.submitted] == [hostile]

    hostile = "a\x1b[31mb"
    stage, operator = stage_of([make_vm(name=hostile)])
    stage.play(scene)


def test_a_crash_of_what_judges_is_not_swallowed() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("minus")
        await stage.wait_for(lambda: not stage.app.is_running)

    frame = make_frame([web()])

    class Broken(FakeOperator):
        def judge(self, command: object) -> object:  # type: ignore[override]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Stage(frame, operator=Broken(frame)).play(scene)  # type: ignore[arg-type]


def test_every_reading_goes_to_the_operator_once_the_first_picture_is_drawn() -> None:
    async def scene(stage: Stage) -> None:
        newer = make_frame([web()], at_s=9)
        stage.source.publish(newer)
        stage.app.follow(stage.source.reading)
        assert operator.frame is newer

    frame: Frame = make_frame([web()])
    operator = FakeOperator(frame)
    stage = Stage(frame, operator=operator)
    stage.app.follow(stage.source.reading)
    assert stage.app._acting._operator is None
    stage.play(scene)


def test_a_guard_that_takes_its_time_is_waited_for_without_a_word_at_first() -> None:
    held = threading.Event()

    class Slow(FakeOperator):
        def judge(self, command: Command) -> Verdict:
            if self.judged:
                assert held.wait(20)
            return super().judge(command)

    async def scene(stage: Stage) -> None:
        await stage.press("minus")
        await stage.wait_for_text("to 3.62G")
        await stage.press("minus")
        await stage.wait_for_text("asking ...")
        await stage.press("enter")
        assert operator.submitted == []
        held.set()
        await stage.wait_for_text("1.75G after")

    frame = make_frame([web()])
    operator = Slow(frame)
    Stage(frame, operator=operator).play(scene)
