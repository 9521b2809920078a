import errno
import os
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from tests.actions.rig import Rig
from tests.actions.scenes import ID, make_checkpoint, make_snapshot, make_storage
from tests.builders import make_facts, make_frame, make_job, make_vm, vm_uuid
from tests.clocks import HandClock
from vmtop.actions import copier
from vmtop.actions.action import Action, Ending, Outcome
from vmtop.actions.audit import AuditRecord, Phase, find_undoable
from vmtop.actions.command import (
    CancelJob,
    Command,
    DeleteCheckpoints,
    DeleteSnapshot,
    LimitJob,
    ResumeVm,
    RevertSnapshot,
    SetBalloon,
    SetStatsPeriod,
    StartBackup,
    TakeSnapshot,
)
from vmtop.actions.desk import MOST_CALLS, MOST_KEPT
from vmtop.actions.runner import Runner
from vmtop.actions.situation import Newest
from vmtop.actions.target import TargetState, Turned
from vmtop.actions.verdict import BackupPreview
from vmtop.backends import folder as folder_module
from vmtop.backends.backup_folder import write_record
from vmtop.errors import AuditError, ControlError, OutputError
from vmtop.model.capability import Capability
from vmtop.model.kind import BackupKind, SnapshotKind
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.recovery import BackupRecord, DiskCopy
from vmtop.model.sample import Answer, JobKind, VmState
from vmtop.model.storage import BackupRequest, SnapshotRequest, StorageSample
from vmtop.units import GIB, MIB

DISKS = SnapshotRequest(name="s1", kind=SnapshotKind.DISK_ONLY)
SMALLER = SetBalloon(uuid=ID, target_bytes=3 * GIB)
A_LITTLE = SetBalloon(uuid=ID, target_bytes=4 * GIB - 64 * MIB)
FULL = StartBackup(uuid=ID, folder="/backup")
CHECKPOINT = "vmtop-20231114T221320Z"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def held(tmp_path: Path) -> Rig:
    """Calls wait in `work` until the test lets them happen."""
    return Rig(tmp_path, is_inline=False)


def only(rig: Rig) -> Action:
    """The one action there is."""
    actions = rig.runner.actions()
    assert len(actions) == 1
    return actions[0]


def ending(action: Action | None) -> tuple[Ending, str]:
    assert action is not None and action.outcome is not None
    return action.outcome.ending, action.outcome.text


def last(rig: Rig) -> tuple[Ending, str]:
    return ending(rig.runner.actions()[-1])


PAUSED = {"state": VmState.PAUSED, "state_reason": "I/O error"}
COPYING = {"jobs": (make_job(),)}


@pytest.mark.parametrize(
    ("command", "vm", "call"),
    [
        (SetStatsPeriod(uuid=ID, period_s=5), {"facts": make_facts(stats_period_s=0)}, ("set_stats_period", ID, 5)),
        (TakeSnapshot(uuid=ID, request=DISKS), {}, ("take_snapshot", ID, DISKS)),
        (RevertSnapshot(uuid=ID, name="old"), {}, ("revert_snapshot", ID, "old")),
        (DeleteSnapshot(uuid=ID, name="old"), {}, ("delete_snapshot", ID, "old")),
        (CancelJob(uuid=ID), COPYING, ("cancel_job", ID, None)),
        (LimitJob(uuid=ID, bytes_per_s=MIB), COPYING, ("limit_job", ID, MIB, None)),
        (ResumeVm(uuid=ID), PAUSED, ("resume", ID)),
    ],
)
def test_a_command_that_the_guard_allows_is_carried_out(
    tmp_path: Path, command: Command, vm: dict[str, Any], call: tuple[Any, ...]
) -> None:
    rig = Rig(tmp_path, **vm)
    rig.source.storage = make_storage(snapshots=(make_snapshot("old"),))
    rig.runner.submit(command, confirmed_name="web-1")
    assert rig.asked() == [call]
    assert last(rig) == (Ending.DONE, "done in 0 s")
    assert [record.phase for record in rig.records()] == [Phase.STARTED, Phase.ENDED]


def test_a_snapshot_tells_how_long_the_guest_stood_still(rig: Rig) -> None:
    rig.control.stood_s = 0.283
    rig.runner.submit(TakeSnapshot(uuid=ID, request=DISKS))
    assert last(rig) == (Ending.DONE, "done in 0 s; the guest stood still for 0.28 s")


def test_both_lines_of_the_audit_tell_what_happened(rig: Rig) -> None:
    rig.runner.submit(A_LITTLE)
    rig.second(10)
    started, ended = rig.records()
    assert started.id == ended.id == only(rig).id
    assert (started.phase, started.outcome, started.duration_s) == (Phase.STARTED, None, None)
    assert started.sentence == "set the balloon of web-1 to 3.94G, from 4.0G"
    assert (ended.uri, ended.uuid, ended.vm, ended.action) == ("qemu:///system", ID, "web-1", "balloon")
    assert (ended.old, ended.new) == (4 * GIB, 4 * GIB - 64 * MIB)
    assert (ended.outcome, ended.text, ended.duration_s) == ("done", "reached 3.94G", 5.0)


def test_the_start_is_written_down_before_the_hypervisor_is_asked(rig: Rig) -> None:
    seen: list[int] = []
    rig.control.before_call = lambda name: seen.append(len(rig.records()))
    rig.runner.submit(A_LITTLE)
    assert seen == [1]


def test_a_refused_command_never_reaches_the_hypervisor(rig: Rig) -> None:
    rig.runner.submit(SetBalloon(uuid=ID, target_bytes=5 * GIB))
    assert rig.asked() == []
    assert last(rig) == (Ending.REFUSED, "5.0G is above its maximum of 4.0G")
    (record,) = rig.records()
    assert (record.phase, record.outcome, record.refusals) == (
        Phase.ENDED,
        "refused",
        ("5.0G is above its maximum of 4.0G",),
    )


def test_below_the_floor_only_the_right_name_opens(rig: Rig) -> None:
    below = SetBalloon(uuid=ID, target_bytes=GIB)
    for name in ("", "web-2", "WEB-1"):
        rig.runner.submit(below, confirmed_name=name)
        ended, text = last(rig)
        assert ended is Ending.REFUSED
        assert text.endswith("below the safe floor of 1.65G: the name of the VM has to be typed for that")
    assert rig.asked() == []
    rig.runner.submit(below, confirmed_name="web-1")
    assert rig.asked() == [("set_balloon", ID, 3687 * MIB)]


def test_the_guard_looks_at_the_newest_frame_right_before_the_call(held: Rig) -> None:
    assert not held.runner.judge(SMALLER).is_refused
    held.runner.submit(SMALLER)
    held.vm["state"] = VmState.PAUSED
    held.see()
    held.work.popleft()()
    assert held.asked() == []
    assert last(held)[0] is Ending.REFUSED


def test_nothing_is_done_before_the_first_reading(rig: Rig) -> None:
    rig.frame = None
    rig.runner.submit(SMALLER)
    assert last(rig) == (Ending.REFUSED, "nothing was read yet, so nothing can be judged")
    assert rig.runner.judge(SMALLER).refusals == ("nothing was read yet, so nothing can be judged",)


def test_an_old_frame_is_not_acted_on(rig: Rig) -> None:
    rig.age_s = 31.0
    rig.runner.submit(SMALLER)
    assert "the last reading is 31 s old" in last(rig)[1]


def test_a_read_only_source_is_not_even_opened(rig: Rig) -> None:
    rig.source.capability = Capability()
    rig.runner.submit(FULL)
    assert last(rig) == (Ending.REFUSED, "vmtop may change nothing here: it is read-only")
    assert rig.source.opened == 0


def test_nothing_is_done_without_an_audit(rig: Rig) -> None:
    rig.audit.path.mkdir()
    rig.runner.submit(SMALLER)
    assert rig.asked() == []
    ended, text = last(rig)
    assert ended is Ending.REFUSED
    assert f"nothing is done without an audit, and {rig.audit.path}: Is a directory" in text


def test_an_audit_that_fails_after_the_act_is_said(rig: Rig) -> None:
    def spoil(name: str) -> None:
        rig.audit.path.unlink()
        rig.audit.path.mkdir()

    rig.control.before_call = spoil
    rig.runner.submit(TakeSnapshot(uuid=ID, request=DISKS))
    ended, text = last(rig)
    assert ended is Ending.DONE
    assert "done in 0 s; nothing is done without an audit" in text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ControlError("cannot acquire state change lock", 68), "another job held the VM for too long: cannot acquire"),
        (ControlError("something odd"), "something odd"),
        (RuntimeError("oops"), "vmtop made a mistake: RuntimeError('oops')"),
    ],
)
def test_a_failure_is_told_in_plain_words_and_in_libvirts(rig: Rig, error: Any, text: str) -> None:
    rig.control.errors["set_balloon"] = error
    rig.runner.submit(SMALLER)
    ended, told = last(rig)
    assert ended is Ending.FAILED
    assert told.startswith(text)
    assert rig.runner.undoable() == ()


def test_storage_that_cannot_be_read_is_a_failure_and_a_refusal_in_the_dialog(rig: Rig) -> None:
    rig.source.storage = ControlError("no route", 38)
    rig.runner.submit(FULL)
    assert last(rig)[0] is Ending.FAILED
    assert "no route" in rig.runner.judge(FULL).refusals[0]


# Balloons


def test_a_large_move_goes_in_steps_until_it_is_reached(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    assert only(rig).progress == "moving"
    rig.second(30)
    assert [call[2] for call in rig.asked()] == [3687 * MIB, 3319 * MIB, 3 * GIB]
    assert last(rig) == (Ending.DONE, "reached 3.0G")
    assert rig.runner.targets()[ID].state is TargetState.REACHED


def test_the_row_says_what_was_asked_while_the_balloon_is_on_its_way(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.second(2)
    target = rig.runner.targets()[ID]
    assert (target.asked_bytes, target.at_bytes, target.state) == (3 * GIB, 3687 * MIB, TargetState.MOVING)


def test_a_guest_that_swaps_gets_its_memory_back_and_the_audit_tells(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.second(4)
    rig.guest["swap_in_bytes"] = 50 * MIB
    rig.second(1)
    assert rig.asked()[-1] == ("set_balloon", ID, 4 * GIB)
    reason = "the guest reads 10 MiB/s from its swap"
    assert last(rig) == (Ending.FAILED, f"asked 3.0G, rolled back at 3.6G to 4.0G: {reason}")
    assert rig.runner.targets()[ID].turned == Turned(asked_bytes=3 * GIB, at_bytes=3687 * MIB, reason=reason)
    back = [record for record in rig.records() if record.action == "rollback"]
    assert [(record.phase, record.old, record.new) for record in back] == [
        (Phase.STARTED, 3687 * MIB, 4 * GIB),
        (Phase.ENDED, 3687 * MIB, 4 * GIB),
    ]
    assert rig.runner.undoable() == ()
    assert rig.runner.targets()[ID].asked_bytes == 4 * GIB


def test_a_balloon_that_is_to_stay_where_it_is_was_stopped_and_not_given_up_for_another_size(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.second(2)
    rig.runner.submit(SetBalloon(uuid=ID, target_bytes=3687 * MIB))
    assert ending(rig.runner.actions()[0]) == (Ending.FAILED, "stopped at 3.6G, as it was asked to stay there")
    rig.second(2)
    assert last(rig) == (Ending.DONE, "reached 3.6G")


def test_a_size_that_it_has_already_is_done_without_a_call_and_leaves_nothing_to_take_back(rig: Rig) -> None:
    rig.runner.submit(SetBalloon(uuid=ID, target_bytes=4 * GIB))
    assert last(rig) == (Ending.DONE, "it has 4.0G already, which is its maximum: nothing to do")
    assert rig.asked() == []
    assert rig.runner.undoable() == ()


def test_a_stuck_balloon_can_be_told_to_stay_where_it_is(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.second(6, follows=False)
    rig.runner.submit(SetBalloon(uuid=ID, target_bytes=4 * GIB))
    assert rig.asked()[-1] == ("set_balloon", ID, 4 * GIB)


def test_a_newer_size_is_measured_by_what_the_guest_suffered_before_the_first(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.second(4)
    rig.guest["major_faults"] = 2_000 + 1_400
    rig.second(1)
    rig.runner.submit(SetBalloon(uuid=ID, target_bytes=3 * GIB - 64 * MIB))
    rig.second(4)
    for round_ in range(1, 4):
        rig.guest["major_faults"] = 3_400 + 2_500 * round_
        rig.second(5)
    assert "keeps waiting for 500 pages per second" in last(rig)[1]


def test_changes_of_a_world_before_this_one_cannot_be_taken_back(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.second(30)
    assert len(rig.runner.undoable()) == 1
    rig.source.began_s = rig.clock.time() + 1
    assert rig.runner.undoable() == ()


def test_a_guest_in_need_gets_its_memory_back_even_without_an_audit(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.second(4)
    rig.audit.path.unlink()
    rig.audit.path.mkdir()
    rig.guest["swap_in_bytes"] = 50 * MIB
    rig.second(1)
    assert rig.asked()[-1] == ("set_balloon", ID, 4 * GIB)
    assert "rolled back at 3.6G to 4.0G" in last(rig)[1]
    assert "nothing is done without an audit" in last(rig)[1]


def test_a_move_that_vmtop_leaves_behind_can_be_taken_back_later(rig: Rig) -> None:
    rig.runner.submit(SetBalloon(uuid=ID, target_bytes=2 * GIB))
    first_step = rig.asked()[0][2]
    rig.runner.close()
    assert rig.records()[-1].new == first_step
    (change,) = find_undoable(rig.records(), rig.source.uri)
    assert (change.old, change.action) == (4 * GIB, "balloon")
    assert last(rig)[1].startswith("vmtop ended meanwhile: the balloon goes on to 3.")


def test_a_roll_back_that_fails_says_where_the_balloon_was_left(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.second(4)
    rig.control.errors["set_balloon"] = ControlError("QEMU is gone", 55)
    rig.guest["swap_in_bytes"] = 50 * MIB
    rig.second(1)
    assert "could not be set back to 4.0G: the VM is not in a state for this: QEMU is gone" in last(rig)[1]
    assert [change.old for change in rig.runner.undoable()] == [4 * GIB]


def test_a_step_that_the_guard_no_longer_allows_stops_the_move(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.second(3)
    # The next step would go to 3.24 GiB, and the floor is 3.36 GiB now.
    rig.used_bytes = 3128 * MIB
    rig.second(10)
    ended, text = last(rig)
    assert ended is Ending.FAILED
    assert text.startswith("stopped at 3.6G: 3.24G is")
    assert [call[2] for call in rig.asked()] == [3687 * MIB]


def test_a_balloon_that_does_not_get_on_is_stuck(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.second(6, follows=False)
    assert last(rig) == (Ending.FAILED, "stuck at 4.0G: the guest gives no more, and keeps trying")
    assert rig.runner.targets()[ID].state is TargetState.STUCK


def test_a_vm_that_goes_off_on_the_way_ends_the_move(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.vm.update(state=VmState.SHUTOFF, domain_id=None)
    rig.second(1)
    assert last(rig) == (Ending.FAILED, "the VM is shut off")
    assert rig.runner.targets() == {}


def test_a_new_size_takes_the_place_of_the_one_on_the_way(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.second(2)
    rig.runner.submit(SetBalloon(uuid=ID, target_bytes=3500 * MIB))
    first, second = rig.runner.actions()
    assert ending(first) == (Ending.FAILED, "given up for 3.42G, which was asked for instead")
    rig.second(10)
    assert last(rig) == (Ending.DONE, "reached 3.42G")
    # One undo goes back to where both began.
    assert [(change.id, change.old) for change in rig.runner.undoable()] == [(second.id, 4 * GIB)]


def test_no_readings_on_the_way_is_pending_until_there_are_some(rig: Rig) -> None:
    rig.runner.submit(A_LITTLE)
    rig.clock.sleep(31)
    assert ending(only(rig))[0] is Ending.PENDING
    assert "no new readings" in ending(only(rig))[1]
    assert not only(rig).is_over
    rig.second(10)
    assert last(rig) == (Ending.DONE, "reached 3.94G")


# Order, deadlines, threads


def test_the_actions_of_a_vm_go_one_after_another(held: Rig) -> None:
    held.runner.submit(TakeSnapshot(uuid=ID, request=DISKS))
    held.runner.submit(TakeSnapshot(uuid=ID, request=replace(DISKS, name="s2")))
    assert len(held.work) == 1
    held.work.popleft()()
    assert len(held.work) == 1
    held.work.popleft()()
    assert [call[2].name for call in held.asked()] == ["s1", "s2"]


def test_cancelling_does_not_wait_behind_what_it_cancels(tmp_path: Path) -> None:
    rig = Rig(tmp_path, is_inline=False)
    rig.runner.submit(TakeSnapshot(uuid=ID, request=DISKS))
    rig.vm.update(COPYING)
    rig.see()
    rig.runner.submit(CancelJob(uuid=ID))
    rig.work.pop()()
    assert rig.asked() == [("cancel_job", ID, None)]


def test_an_overdue_answer_is_pending_and_the_answer_still_counts(rig: Rig) -> None:
    seen: list[Any] = []

    def hang(name: str) -> None:
        rig.clock.sleep(599)
        seen.append(only(rig).outcome)
        rig.clock.sleep(1)
        seen.append(ending(only(rig)))

    rig.control.before_call = hang
    rig.runner.submit(TakeSnapshot(uuid=ID, request=DISKS))
    assert seen == [None, (Ending.PENDING, "no answer after 10 min; it may still be carried out")]
    assert last(rig) == (Ending.DONE, "done in 10 min")
    assert [record.outcome for record in rig.records()] == [None, "pending", "done"]


def test_what_was_given_up_before_it_began_is_not_done_later(held: Rig) -> None:
    held.runner.submit(TakeSnapshot(uuid=ID, request=DISKS))
    held.clock.sleep(600)
    assert ending(only(held))[0] is Ending.PENDING
    held.see()
    held.work.popleft()()
    assert held.asked() == []
    ended, text = last(held)
    assert ended is Ending.REFUSED
    assert text.endswith("nothing was done")


def test_a_vm_without_an_answer_gets_no_second_action(held: Rig) -> None:
    held.runner.submit(TakeSnapshot(uuid=ID, request=DISKS))
    held.clock.sleep(600)
    held.see()
    held.runner.submit(SMALLER)
    held.work.pop()()
    assert last(held) == (Ending.REFUSED, "an earlier action on web-1 got no answer yet")
    assert held.asked() == []


def test_a_vm_that_another_program_asks_just_then_is_looked_at_again(rig: Rig) -> None:
    rig.vm["answer"] = Answer.BUSY
    rig.see()
    looks: list[Newest | None] = []

    def look() -> Newest | None:
        if len(looks) == 3:
            rig.vm["answer"] = Answer.FULL
            rig.see()
        looks.append(rig.newest())
        return looks[-1]

    rig.runner = Runner(rig.source, rig.audit, look, DEFAULT_POLICY, rig.clock, spawn=lambda work: work())
    rig.runner.submit(SetStatsPeriod(uuid=ID, period_s=9, is_forced=True))
    assert last(rig)[0] is Ending.DONE


def test_a_vm_that_stays_held_is_left_alone(rig: Rig) -> None:
    rig.vm["answer"] = Answer.BUSY
    rig.see()
    began_s = rig.clock.monotonic()
    rig.runner.submit(SMALLER)
    assert last(rig) == (Ending.REFUSED, "another job holds web-1")
    assert DEFAULT_POLICY.held_patience_s <= rig.clock.monotonic() - began_s < 2 * DEFAULT_POLICY.held_patience_s
    assert rig.asked() == []


def test_a_move_waits_while_its_vm_is_held(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.vm["answer"] = Answer.BUSY
    rig.second(10, follows=False)
    assert (only(rig).outcome, len(rig.asked())) == (None, 1)
    rig.vm["answer"] = Answer.FULL
    rig.second(60)
    assert last(rig)[0] is Ending.DONE


def test_calls_that_hang_do_not_block_other_vms(held: Rig) -> None:
    for number in range(MOST_CALLS):
        held.runner.submit(TakeSnapshot(uuid=vm_uuid(100 + number), request=DISKS))
    held.runner.submit(TakeSnapshot(uuid=ID, request=DISKS))
    assert len(held.work) == MOST_CALLS
    held.clock.sleep(601)
    held.runner.actions()
    audit, call = 1, 1
    assert len(held.work) == MOST_CALLS + audit + call
    held.see()
    held.work.pop()()
    assert last(held)[0] is Ending.DONE


def test_calls_run_on_threads_of_their_own(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    runner = Runner(rig.source, rig.audit, rig.newest, DEFAULT_POLICY, HandClock())
    may_go_on, has_ended = Event(), Event()
    rig.control.before_call = lambda name: _wait(may_go_on)
    action = runner.submit(TakeSnapshot(uuid=ID, request=DISKS))
    assert action.outcome is None

    def see() -> None:
        now = runner.action(action.id)
        if now is not None and now.is_over:
            has_ended.set()

    runner.on_change(see)
    may_go_on.set()
    assert has_ended.wait(5)
    assert ending(runner.action(action.id))[0] is Ending.DONE
    runner.close()
    assert rig.control.is_closed


def _wait(event: Event) -> None:
    assert event.wait(5)


def test_old_actions_are_forgotten_but_not_those_under_way(held: Rig) -> None:
    held.runner.submit(TakeSnapshot(uuid=ID, request=DISKS))
    work = held.work.popleft()
    for _ in range(MOST_KEPT + 5):
        held.runner.submit(SetBalloon(uuid="nobody", target_bytes=GIB))
        held.work.popleft()()
    assert len(held.runner.actions()) == MOST_KEPT + 6
    work()
    held.runner.submit(SetBalloon(uuid="nobody", target_bytes=GIB))
    assert len(held.runner.actions()) == MOST_KEPT


# Undo


def test_the_last_change_is_taken_back_once(rig: Rig) -> None:
    rig.runner.submit(A_LITTLE)
    rig.second(10)
    (action,) = rig.undo()
    assert rig.asked()[-1] == ("set_balloon", ID, 4 * GIB)
    rig.second(2)
    assert ending(rig.runner.action(action.id)) == (Ending.DONE, "reached 4.0G")
    assert rig.runner.undoable() == ()


def test_undo_survives_a_restart_and_takes_several_back(rig: Rig, tmp_path: Path) -> None:
    rig.vm["facts"] = make_facts(stats_period_s=0)
    rig.see()
    rig.runner.submit(SetStatsPeriod(uuid=ID, period_s=5))
    rig.vm["facts"] = make_facts(stats_period_s=5)
    rig.see()
    rig.runner.submit(A_LITTLE)
    rig.second(10)
    again = Rig(tmp_path, balloon_bytes=4 * GIB - 64 * MIB)
    assert [change.action for change in again.runner.undoable()] == ["balloon", "period"]
    again.undo(2)
    again.second(2)
    assert again.asked() == [("set_balloon", ID, 4 * GIB), ("set_stats_period", ID, 0)]


def test_an_undo_is_judged_like_any_other_command(rig: Rig) -> None:
    rig.vm["balloon_bytes"] = 2 * GIB
    rig.see()
    rig.runner.submit(SetBalloon(uuid=ID, target_bytes=4 * GIB))
    rig.second(2)
    rig.used_bytes = 3 * GIB
    rig.second(5)
    rig.undo()
    assert "the name of the VM has to be typed" in last(rig)[1]


def test_an_audit_that_cannot_be_read_is_said(rig: Rig) -> None:
    rig.audit.path.mkdir()
    with pytest.raises(AuditError, match="Is a directory"):
        rig.runner.undoable()


# Backups


def make_record() -> BackupRecord:
    disk = DiskCopy(target="vda", file="20231114T220000Z.full.vda.qcow2", image_format="qcow2", capacity_bytes=20 * GIB)
    return BackupRecord(
        stamp="20231114T220000Z",
        time_s=1_699_999_200,
        uuid=ID,
        name="web-1",
        kind=BackupKind.FULL,
        since=None,
        checkpoint="vmtop-20231114T220000Z",
        disks=(disk,),
        is_done=True,
    )


def request_of(rig: Rig) -> BackupRequest:
    request = next(call[2] for call in rig.asked() if call[0] == "start_backup")
    assert isinstance(request, BackupRequest)
    return request


def begin_backup(rig: Rig, command: StartBackup = FULL) -> None:
    rig.runner.submit(command)
    rig.vm["jobs"] = (make_job(),)
    rig.second(1)


def test_a_backup_goes_on_until_the_hypervisor_tells_its_end(rig: Rig) -> None:
    begin_backup(rig)
    assert request_of(rig).checkpoint == CHECKPOINT
    assert (only(rig).progress, only(rig).outcome) == ("copying", None)
    rig.end_backup(is_good=True)
    rig.second(1)
    assert last(rig) == (Ending.DONE, "done: 3.0G copied")
    assert [(run.is_over, run.is_good) for run in rig.backups] == [(False, None), (True, True)]
    assert [call[0] for call in rig.asked()] == ["start_backup"]


def test_a_balloon_may_be_moved_while_a_backup_runs(rig: Rig) -> None:
    begin_backup(rig)
    rig.runner.submit(A_LITTLE)
    rig.second(10)
    assert last(rig) == (Ending.DONE, "reached 3.94G")
    assert rig.runner.actions()[0].progress == "copying"


@pytest.mark.parametrize("error", ["No space left on device", None])
def test_a_backup_that_fails_leaves_neither_checkpoint_nor_files(tmp_path: Path, error: str | None) -> None:
    rig = Rig(tmp_path)
    rig.is_local = True
    rig.see()
    folder = tmp_path / "backup"
    folder.mkdir()
    begin_backup(rig, StartBackup(uuid=ID, folder=str(folder)))
    (target,) = request_of(rig).targets.values()
    Path(target).write_text("half of it")
    other = Path(target).with_name("20200101T000000Z.full.vda.qcow2")
    other.write_text("an older one")
    rig.end_backup(is_good=False, error=error)
    rig.second(1)
    assert last(rig) == (
        Ending.FAILED,
        error or "the backup failed, and nobody said why: the VM may have ended meanwhile",
    )
    assert rig.asked()[-1] == ("delete_checkpoint", ID, CHECKPOINT)
    assert list(other.parent.iterdir()) == [other]


def test_a_backup_that_is_refused_deletes_no_checkpoint_for_it_would_be_of_another(rig: Rig) -> None:
    rig.control.errors["start_backup"] = ControlError("Bitmap already exists", 1)
    rig.runner.submit(FULL)
    assert last(rig) == (Ending.FAILED, "Bitmap already exists")
    assert [call[0] for call in rig.asked()] == ["start_backup"]


def test_a_backup_that_somebody_cancelled_is_called_cancelled_and_not_failed(rig: Rig) -> None:
    begin_backup(rig)
    rig.end_backup(is_good=False, error="Operation canceled", is_cancelled=True)
    rig.second(1)
    assert last(rig) == (Ending.CANCELLED, "nothing of it is left")
    assert rig.asked()[-1] == ("delete_checkpoint", ID, CHECKPOINT)
    (ended,) = [record for record in rig.records() if record.outcome is not None]
    assert (ended.outcome, ended.text) == ("cancelled", "nothing of it is left")
    outcome = only(rig).outcome
    assert outcome is not None
    assert outcome.exit_code == 1


@pytest.mark.parametrize("exit_code", [1, 3, 4])
def test_what_libvirt_does_not_allow_has_an_exit_code_of_its_own(tmp_path: Path, exit_code: int) -> None:
    rig = Rig(tmp_path, jobs=(make_job(),))
    rig.control.errors["cancel_job"] = ControlError("no", 55, exit_code=exit_code)
    rig.runner.submit(CancelJob(uuid=ID))
    outcome = only(rig).outcome
    assert outcome is not None
    assert (outcome.ending, outcome.exit_code) == (Ending.FAILED, exit_code)


def test_who_may_not_even_look_at_disks_learns_it_with_the_same_exit_code(rig: Rig) -> None:
    rig.source.storage = ControlError("no", 88, exit_code=4)
    verdict = rig.runner.judge(TakeSnapshot(uuid=ID, request=DISKS))
    assert (verdict.refusals, verdict.refusal_code) == (("you are not allowed to do this: no",), 4)
    rig.runner.submit(TakeSnapshot(uuid=ID, request=DISKS))
    outcome = only(rig).outcome
    assert outcome is not None
    assert outcome.exit_code == 4


def test_what_cannot_be_cleared_away_is_named(rig: Rig) -> None:
    rig.control.errors["delete_checkpoint"] = ControlError("busy", 68)
    begin_backup(rig)
    rig.end_backup(is_good=False, error="Operation canceled", is_cancelled=True)
    rig.second(1)
    assert last(rig)[1] == (
        f"its checkpoint {CHECKPOINT} is deleted as soon as the VM runs, for it cannot be now: "
        "another job held the VM for too long: busy"
    )


def test_a_checkpoint_that_could_not_be_deleted_is_deleted_when_the_vm_runs_again(rig: Rig) -> None:
    rig.control.errors["delete_checkpoint"] = ControlError("cannot delete checkpoint for inactive domain", 84)
    begin_backup(rig)
    rig.end_backup(is_good=False)
    rig.vm["state"] = VmState.SHUTOFF
    rig.second(40)
    tries = [call for call in rig.asked() if call[0] == "delete_checkpoint"]
    assert len(tries) == 1, "libvirt cannot do it while the VM is off"
    rig.vm["state"] = VmState.RUNNING
    rig.second(1)
    del rig.control.errors["delete_checkpoint"]
    rig.second(100)
    assert rig.asked()[-2:] == [("delete_checkpoint", ID, CHECKPOINT)] * 2, "once in vain, and once more"
    assert [(record.action, record.outcome) for record in rig.records()[2:]] == [
        ("clear", None),
        ("clear", "failed"),
        ("clear", None),
        ("clear", "done"),
    ]


def test_checkpoints_go_the_oldest_first_and_the_audit_knows_which(rig: Rig) -> None:
    names = ("vmtop-1", "vmtop-2")
    rig.source.storage = make_storage(checkpoints=tuple(map(make_checkpoint, (*names, "foreign"))))
    rig.runner.submit(DeleteCheckpoints(uuid=ID, names=tuple(reversed(names))))
    assert last(rig) == (Ending.DONE, "2 checkpoints deleted")
    assert rig.asked() == [("delete_checkpoint", ID, name) for name in names]
    started, ended = rig.records()
    assert started.sentence == "delete the checkpoints of web-1: vmtop-2, vmtop-1"
    assert (started.action, ended.outcome, ended.text) == ("checkpoint-delete", "done", "2 checkpoints deleted")


def test_a_checkpoint_of_another_program_never_reaches_the_hypervisor(rig: Rig) -> None:
    rig.source.storage = make_storage(checkpoints=(make_checkpoint("foreign"),))
    rig.runner.submit(DeleteCheckpoints(uuid=ID, names=("foreign",)))
    assert last(rig) == (
        Ending.REFUSED,
        "the checkpoint foreign was not made by vmtop: whoever made it may need it",
    )
    assert rig.asked() == []


def test_while_checkpoints_go_it_is_said_how_far_that_is(rig: Rig) -> None:
    rig.source.storage = make_storage(checkpoints=(make_checkpoint("vmtop-1"), make_checkpoint("vmtop-2")))
    seen: list[str] = []
    rig.control.before_call = lambda name: seen.append(only(rig).progress)
    rig.runner.submit(DeleteCheckpoints(uuid=ID, names=("vmtop-1", "vmtop-2")))
    assert seen == ["deleting 1 of 2", "deleting 2 of 2"]


class Pair(Rig):
    """Two VMs, on this machine, and a file system with as much room as a test wants."""

    OTHER = vm_uuid(2)

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        self.is_local = self.source.is_here = True
        self.see()
        self.free_bytes = 9 * GIB
        self.folder = folder
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=self.free_bytes, f_frsize=1))

    def see(self) -> None:
        frame = make_frame(
            [self.read(), make_vm(uuid=self.OTHER, name="db-1")],
            at_s=self.clock.now_s,
            previous=self.frame,
            is_local=self.is_local,
        )
        finished, self.finished = self.finished, ()
        jobs = replace(frame.jobs, finished=(*frame.jobs.finished, *finished))
        self.frame = replace(frame, sample=replace(frame.sample, finished=finished), jobs=jobs)

    def back_up(self, uuid: str) -> None:
        self.runner.submit(StartBackup(uuid=uuid, folder=str(self.folder)))

    def outcome(self, uuid: str) -> Outcome | None:
        (action,) = [each for each in self.runner.actions() if each.command.uuid == uuid]
        return action.outcome


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    return Pair(tmp_path, monkeypatch)


TOO_MUCH = "9.0G are free in {}, of which 5.0G to 20.0G are promised to other backups, and 5.5G are needed"


def test_room_that_a_running_backup_still_takes_is_not_given_to_another(pair: Pair) -> None:
    pair.back_up(ID)
    pair.vm["jobs"] = (make_job(processed_bytes=0, total_bytes=20 * GIB),)
    pair.second(1)
    pair.back_up(pair.OTHER)
    assert pair.outcome(ID) is None
    assert pair.outcome(pair.OTHER) == Outcome(Ending.REFUSED, TOO_MUCH.format(pair.folder))


def test_of_two_backups_that_begin_at_once_the_second_sees_what_the_first_claims(pair: Pair) -> None:
    def begin_another(name: str) -> None:
        pair.control.before_call = lambda name: None
        pair.back_up(pair.OTHER)

    pair.control.before_call = begin_another
    pair.back_up(ID)
    assert pair.outcome(pair.OTHER) == Outcome(Ending.REFUSED, TOO_MUCH.format(pair.folder))


def test_what_was_written_or_is_over_is_promised_no_more(pair: Pair) -> None:
    pair.back_up(ID)
    pair.vm["jobs"] = (make_job(processed_bytes=19 * GIB, total_bytes=20 * GIB),)
    pair.second(1)
    preview = pair.runner.judge(StartBackup(uuid=pair.OTHER, folder=str(pair.folder))).preview
    assert isinstance(preview, BackupPreview)
    assert (preview.promised_least_bytes, preview.promised_most_bytes) == (GIB, GIB)
    pair.end_backup(is_good=True)
    pair.second(1)
    pair.back_up(pair.OTHER)
    assert pair.outcome(pair.OTHER) is None, "it runs"


def test_another_file_system_has_its_own_room(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.back_up(ID)
    monkeypatch.setattr(folder_module, "read_device", lambda _: -1)
    assert not pair.runner.judge(StartBackup(uuid=pair.OTHER, folder=str(pair.folder))).is_refused


def test_a_backup_without_new_readings_is_called_pending_until_there_are(rig: Rig) -> None:
    begin_backup(rig)
    rig.clock.sleep(29)
    assert only(rig).outcome is None
    rig.clock.sleep(2)
    ended, text = last(rig)
    assert (ended, text) == (Ending.PENDING, "there are no new readings, so nobody knows how the backup gets on")
    rig.end_backup(is_good=True)
    rig.second(1)
    assert last(rig) == (Ending.DONE, "done: 3.0G copied")


def test_an_outcome_is_in_the_audit_before_anybody_sees_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sees it may end the program."""
    seen: list[object] = []
    write = rig.audit.write

    def look(record: AuditRecord) -> None:
        write(record)
        seen.append(only(rig).outcome)

    monkeypatch.setattr(rig.audit, "write", look)
    rig.runner.submit(SetStatsPeriod(uuid=ID, period_s=5, is_forced=True))
    assert seen == [None, None]
    assert last(rig)[0] is Ending.DONE
    assert [record.outcome for record in rig.records()] == [None, "done"]


def test_files_that_qemu_has_not_let_go_of_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [True, True, False]
    monkeypatch.setattr(copier, "is_written", lambda path: answers.pop(0))
    rig = Rig(tmp_path)
    rig.is_local = True
    rig.see()
    begin_backup(rig, StartBackup(uuid=ID, folder=str(tmp_path)))
    write_targets(rig)
    rig.end_backup(is_good=True)
    rig.second(1)
    assert (last(rig)[0], answers) == (Ending.DONE, [])


def write_targets(rig: Rig) -> None:
    """What QEMU does for the last backup that was begun."""
    for path in rig.backups[-1].request.targets.values():
        Path(path).touch()


def test_a_backup_whose_files_are_not_there_is_none_whatever_is_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.is_local = True
    rig.see()
    begin_backup(rig, StartBackup(uuid=ID, folder=str(tmp_path)))
    rig.end_backup(is_good=True)
    rig.second(1)
    assert last(rig) == (Ending.FAILED, "a backup ended well, but its files are not there")
    assert rig.asked()[-1] == ("delete_checkpoint", ID, CHECKPOINT)


def test_a_rate_that_libvirt_cannot_take_is_refused_before_anything_begins(rig: Rig) -> None:
    rig.runner.submit(replace(FULL, bytes_per_s=1 << 63))
    assert last(rig) == (Ending.REFUSED, "no disk is as fast as that limit; leave it out for no limit")
    assert rig.asked() == []


def test_a_backup_of_which_nobody_tells_the_end_is_no_good_one(rig: Rig) -> None:
    begin_backup(rig)
    rig.vm["jobs"] = ()
    rig.second(7)
    ended, text = last(rig)
    assert ended is Ending.FAILED
    assert "nobody told how it ended" in text
    # No later backup may go on from it.
    assert rig.asked()[1:] == [("delete_checkpoint", ID, CHECKPOINT)]
    assert rig.backups[-1].is_good is None


def test_the_late_end_of_an_earlier_backup_is_not_taken_for_this_ones(rig: Rig) -> None:
    rig.second(10)
    begin_backup(rig)
    rig.end_backup(is_good=False)
    rig.finished = (replace(rig.finished[0], ended_s=rig.clock.time() - 5.0),)
    rig.vm["jobs"] = (make_job(),)
    rig.second(1)
    assert only(rig).outcome is None


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(copier, "make_folder", refuse)
    rig = Rig(tmp_path)
    rig.is_local = True
    rig.see()
    rig.runner.submit(StartBackup(uuid=ID, folder=str(tmp_path)))
    inner = tmp_path / "web-1-00000000"
    assert last(rig) == (Ending.FAILED, f"the folder {inner} cannot be made: Read-only file system")
    assert rig.asked() == []


def test_an_incremental_backup_goes_on_from_the_files_in_its_folder(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.is_local = True
    rig.see()
    inner = tmp_path / "web-1-00000000"
    inner.mkdir()
    (inner / "20231114T220000Z.full.vda.qcow2").write_text("")
    write_record(str(inner), make_record())
    rig.source.storage = make_storage(checkpoints=(make_checkpoint(dirty_bytes=MIB),))
    rig.runner.submit(StartBackup(uuid=ID, folder=str(tmp_path), is_incremental=True))
    assert request_of(rig).since == "vmtop-20231114T220000Z"


def test_whoever_keeps_recovery_points_may_complain(rig: Rig) -> None:
    def complain(run: object) -> None:
        raise OutputError("the manifest cannot be written")

    runner = Runner(
        rig.source,
        rig.audit,
        rig.newest,
        DEFAULT_POLICY,
        rig.clock,
        on_backup=complain,
        spawn=lambda work: work(),
    )
    runner.submit(FULL)
    assert runner.actions()[-1].progress == "copying; the manifest cannot be written"


def test_a_refused_size_leaves_the_move_on_its_way(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.second(4)
    rig.runner.submit(SetBalloon(uuid=ID, target_bytes=100 * GIB))
    first, second = rig.runner.actions()
    assert first.outcome is None
    assert ending(second)[0] is Ending.REFUSED
    rig.second(30)
    assert ending(rig.runner.actions()[0]) == (Ending.DONE, "reached 3.0G")
    assert [(change.id, change.old) for change in rig.runner.undoable()] == [(first.id, 4 * GIB)]


def test_a_size_that_cannot_be_asked_for_leaves_the_move_on_its_way(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.second(2)
    rig.control.errors["set_balloon"] = ControlError("QEMU is busy", 68)
    rig.runner.submit(SetBalloon(uuid=ID, target_bytes=3500 * MIB))
    assert last(rig)[0] is Ending.FAILED
    rig.control.errors.clear()
    # What was asked for in vain is in the list of calls, too.
    rig.control.calls.pop()
    rig.second(30)
    assert ending(rig.runner.actions()[0]) == (Ending.DONE, "reached 3.0G")


def test_a_newer_size_without_an_answer_is_not_passed_by_another(rig: Rig) -> None:
    rig.runner.submit(SMALLER)
    rig.second(2)

    def hang(name: str) -> None:
        rig.control.before_call = lambda name: None
        rig.second(36)
        rig.runner.submit(SetBalloon(uuid=ID, target_bytes=3900 * MIB))

    rig.control.before_call = hang
    rig.runner.submit(SetBalloon(uuid=ID, target_bytes=3800 * MIB))
    assert last(rig) == (Ending.REFUSED, "an earlier action on web-1 got no answer yet")
    assert [call[2] for call in rig.asked()] == [3687 * MIB, 3800 * MIB]
    assert ending(rig.runner.actions()[0]) == (Ending.FAILED, "given up for 3.71G, which was asked for instead")


def test_a_size_that_no_audit_takes_leaves_the_move_on_its_way(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(record: AuditRecord) -> None:
        raise AuditError("the disk is full")

    rig.runner.submit(SMALLER)
    rig.second(2)
    with monkeypatch.context() as patch:
        patch.setattr(rig.audit, "write", fail)
        rig.runner.submit(SetBalloon(uuid=ID, target_bytes=3500 * MIB))
    assert last(rig)[0] is Ending.REFUSED
    rig.second(30)
    assert ending(rig.runner.actions()[0]) == (Ending.DONE, "reached 3.0G")


def test_a_step_that_waits_for_its_thread_is_not_asked_for_after_a_newer_size(held: Rig) -> None:
    held.runner.submit(SMALLER)
    held.work.popleft()()
    held.runner.submit(SetBalloon(uuid=ID, target_bytes=3500 * MIB))
    begin = held.work.popleft()
    while not held.work:
        held.second()
    step = held.work.popleft()
    # The heir takes over on its own thread while the step is due.
    heir = Thread(target=begin)
    heir.start()
    deadline_s = monotonic() + 5
    while not _is_replaced(held):
        assert monotonic() < deadline_s
    asked_before = len(held.asked())
    step()
    heir.join(5)
    assert [call[2] for call in held.asked()[asked_before:]] == [3500 * MIB]
    assert ending(held.runner.actions()[0]) == (Ending.FAILED, "given up for 3.42G, which was asked for instead")


def _is_replaced(rig: Rig) -> bool:
    return any(errand.is_replaced for errand in rig.runner._desk.errands())


def test_a_move_that_was_replaced_takes_no_step(held: Rig) -> None:
    held.runner.submit(SMALLER)
    held.work.popleft()()
    (errand,) = held.runner._desk.errands()
    errand.is_replaced = True
    held.second(20)
    held.runner._desk.call(errand, lambda each: None, 1.0)
    assert not held.work
    assert not errand.is_calling


def test_an_action_ends_once(held: Rig) -> None:
    held.runner.submit(SMALLER)
    held.work.popleft()()
    (errand,) = held.runner._desk.errands()
    held.runner.close()
    held.runner._desk.end(errand, Outcome(Ending.DONE, "reached 3.0G"))
    assert [record.phase for record in held.records()] == [Phase.STARTED, Phase.ENDED]
    assert last(held)[0] is Ending.FAILED


def test_two_new_sizes_are_judged_one_after_another_and_the_last_wins(held: Rig) -> None:
    held.runner.submit(SMALLER)
    held.work.popleft()()
    held.runner.submit(SetBalloon(uuid=ID, target_bytes=3800 * MIB))
    held.runner.submit(SetBalloon(uuid=ID, target_bytes=3900 * MIB))
    assert len(held.work) == 1
    held.work.popleft()()
    assert len(held.work) == 1
    held.work.popleft()()
    assert [call[2] for call in held.asked()] == [3687 * MIB, 3800 * MIB, 3900 * MIB]
    assert [action.outcome is None for action in held.runner.actions()] == [False, False, True]


def test_a_move_of_a_program_that_was_killed_can_be_taken_back(rig: Rig, tmp_path: Path) -> None:
    rig.runner.submit(SMALLER)
    again = Rig(tmp_path, balloon_bytes=3687 * MIB)
    assert [(change.action, change.old) for change in again.runner.undoable()] == [("balloon", 4 * GIB)]


def test_an_undo_leaves_the_period_of_another_program_alone(rig: Rig) -> None:
    rig.vm["facts"] = make_facts(stats_period_s=0)
    rig.see()
    rig.runner.submit(SetStatsPeriod(uuid=ID, period_s=5))
    rig.vm["facts"] = make_facts(stats_period_s=10)
    rig.see()
    rig.undo()
    assert last(rig) == (Ending.REFUSED, "its period is 10 s, not the 5 s of vmtop: another program set it")
    assert rig.asked() == [("set_stats_period", ID, 5)]


@pytest.mark.parametrize("vm", [{"answer": Answer.HUNG}, COPYING])
def test_what_is_refused_anyway_is_refused_before_storage_is_read(tmp_path: Path, vm: dict[str, Any]) -> None:
    rig = Rig(tmp_path, **vm)
    rig.source.storage = ControlError("it took 30 s", 68)
    rig.runner.submit(TakeSnapshot(uuid=ID, request=DISKS))
    assert last(rig)[0] is Ending.REFUSED
    assert rig.source.opened == 0


def test_what_is_judged_or_refused_opens_nothing_that_could_change_a_vm(rig: Rig) -> None:
    assert not rig.runner.judge(TakeSnapshot(uuid=ID, request=DISKS)).is_refused
    rig.source.storage = make_storage(block_job_disk="vda")
    assert rig.runner.judge(FULL).refusals == ("a block job runs on its disk vda",)
    rig.runner.submit(TakeSnapshot(uuid=ID, request=DISKS))
    assert last(rig) == (Ending.REFUSED, "a block job runs on its disk vda")
    assert rig.source.opened == 0


def test_a_target_folder_that_cannot_be_looked_at_refuses_backups_and_live_snapshots_alike(
    rig: Rig, tmp_path: Path
) -> None:
    rig.is_local = True
    (tmp_path / "loop").symlink_to("loop")
    folder = str(tmp_path / "loop")
    live = SnapshotRequest(name="s", kind=SnapshotKind.EXTERNAL, memory_path=f"{folder}/s.mem")
    for command in (StartBackup(uuid=ID, folder=folder), TakeSnapshot(uuid=ID, request=live)):
        assert f"{folder} cannot be looked at: Too many levels of symbolic links" in rig.runner.judge(command).refusals
        assert not any("there is no folder" in refusal for refusal in rig.runner.judge(command).refusals)


def test_the_guard_looks_at_the_frame_after_storage_was_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(uuid: str) -> StorageSample:
        rig.vm.update(COPYING)
        rig.see()
        return make_storage()

    monkeypatch.setattr(rig.source, "read_storage", read)
    rig.runner.submit(TakeSnapshot(uuid=ID, request=DISKS))
    assert last(rig) == (Ending.REFUSED, "a job runs on web-1 already: backup")
    assert rig.asked() == []


@pytest.mark.parametrize(
    "command",
    [
        CancelJob(uuid=ID),
        LimitJob(uuid=ID, bytes_per_s=MIB),
        ResumeVm(uuid=ID),
        SMALLER,
        SetStatsPeriod(uuid=ID, period_s=5),
    ],
)
def test_what_is_quick_does_not_wait_behind_slow_calls(held: Rig, command: Command) -> None:
    for number in range(MOST_CALLS):
        held.runner.submit(TakeSnapshot(uuid=vm_uuid(100 + number), request=DISKS))
    held.runner.submit(command)
    assert len(held.work) == MOST_CALLS + 1


def test_another_job_than_the_one_confirmed_is_not_cancelled(tmp_path: Path) -> None:
    rig = Rig(tmp_path, jobs=(make_job(),))
    rig.runner.submit(CancelJob(uuid=ID, kind=JobKind.SNAPSHOT))
    assert last(rig) == (Ending.REFUSED, "the snapshot of web-1 is over; what runs now is: backup")
    rig.runner.submit(CancelJob(uuid=ID, kind=JobKind.BACKUP))
    assert rig.asked() == [("cancel_job", ID, None)]


def test_another_job_of_a_disk_than_the_one_confirmed_is_neither_cancelled_nor_limited(tmp_path: Path) -> None:
    rig = Rig(tmp_path, jobs=(make_job(kind=JobKind.BLOCK_COPY, disk="vda"),))
    for command in (
        CancelJob(uuid=ID, kind=JobKind.BLOCK_COMMIT, disk="vda"),
        LimitJob(uuid=ID, bytes_per_s=MIB, kind=JobKind.BLOCK_COMMIT, disk="vda"),
    ):
        rig.runner.submit(command)
        assert last(rig)[0] is Ending.REFUSED
        assert "the block commit of vda of web-1 is over; what runs now is: block copy" in last(rig)[1]
    rig.runner.submit(CancelJob(uuid=ID, kind=JobKind.BLOCK_COPY, disk="vdb"))
    assert last(rig)[1] == "no job of its own runs on the disk vdb of web-1; there is: block copy of vda"
    assert rig.asked() == []
    rig.runner.submit(LimitJob(uuid=ID, bytes_per_s=MIB, kind=JobKind.BLOCK_COPY, disk="vda"))
    rig.runner.submit(CancelJob(uuid=ID, kind=JobKind.BLOCK_COPY, disk="vda"))
    assert rig.asked() == [("limit_job", ID, MIB, "vda"), ("cancel_job", ID, "vda")]
