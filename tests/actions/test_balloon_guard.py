from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.actions.scenes import ABLE, ID, at_level, judge_balloon, refusal, situate
from tests.builders import (
    START_S,
    make_facts,
    make_frame,
    make_guest,
    make_host,
    make_job,
    make_off_vm,
    make_qemu,
    make_vm,
)
from vmtop.actions.command import SetBalloon, SetStatsPeriod, StartBackup
from vmtop.actions.guard import check
from vmtop.actions.verdict import BalloonPreview, Risk, Verdict
from vmtop.derive.metrics import Level
from vmtop.model.capability import Capability
from vmtop.model.sample import Answer, GuestSample, JobKind, VmFacts, VmSample, VmState
from vmtop.units import GIB, MIB

FLOOR = 1690 * MIB
"""1.5 GiB in use and a tenth of it."""
HALF = 2 * GIB


def preview_of(verdict: Verdict) -> BalloonPreview:
    assert isinstance(verdict.preview, BalloonPreview)
    return verdict.preview


def test_more_memory_needs_no_figures_of_the_guest() -> None:
    vm = make_vm(balloon_bytes=2 * GIB, maximum_bytes=4 * GIB)
    early = make_frame([vm])
    late = make_frame([vm], at_s=600.0, previous=early)
    assert late.vms[0].is_stale
    assert judge_balloon(1 * GIB, vm, frame=late).is_refused
    assert not judge_balloon(3 * GIB, vm, frame=late).is_refused


def test_a_healthy_vm_may_be_taken_memory_down_to_its_floor() -> None:
    assert judge_balloon(FLOOR) == replace(judge_balloon(FLOOR), refusals=(), warnings=(), needs_name="")


def test_the_preview_tells_what_guest_and_host_get() -> None:
    preview = preview_of(judge_balloon(HALF))
    assert (preview.from_bytes, preview.to_bytes, preview.floor_bytes) == (4 * GIB, HALF, FLOOR)
    assert preview.usable_before_bytes == 2560 * MIB
    assert preview.usable_after_bytes == 512 * MIB
    # The host holds 3 GiB: QEMU's own 140.5 MiB and what KSM saves (80 MiB) are not won.
    held = 3 * GIB - 120 * MIB - int(0.005 * 4 * GIB) - 80 * MIB
    assert preview.win_least_bytes == held - HALF
    assert preview.win_most_bytes == HALF
    assert not preview.is_host_view


def test_memory_that_was_never_touched_is_not_won() -> None:
    small = make_qemu(rss_bytes=GIB, ksm_merged_bytes=0)
    preview = preview_of(judge_balloon(3 * GIB, make_vm(qemu=small, rss_bytes=GIB)))
    assert preview.win_least_bytes == 0
    assert preview.win_most_bytes == GIB - 120 * MIB - int(0.005 * 4 * GIB)


def test_what_the_host_wins_is_unknown_when_its_own_figures_are() -> None:
    preview = preview_of(judge_balloon(HALF, make_vm(qemu=None, rss_bytes=None)))
    assert preview.win_least_bytes is None
    assert preview.win_most_bytes is None


@pytest.mark.parametrize(
    ("target_bytes", "risk", "reason"),
    [
        (4 * GIB - 640 * MIB, Risk.LOW, "1.88G more than the 1.5G that the guest uses"),
        (
            FLOOR,
            Risk.MEDIUM,
            "1.6G of its 1.88G of page cache go: the guest waits for what it reads again; "
            "the move is rolled back above 300 pages per second",
        ),
        (1600 * MIB, Risk.HIGH, "no more than 64M would be left above the 1.5G that the guest uses"),
        (GIB, Risk.SEVERE, "less than the 1.5G that the guest uses: it swaps, or its kernel kills programs"),
        (5 * GIB - GIB // 2, Risk.NONE, "the guest gets memory back"),
    ],
)
def test_the_risk_comes_in_a_word_with_its_reason(target_bytes: int, risk: Risk, reason: str) -> None:
    vm = make_vm(maximum_bytes=5 * GIB)
    preview = preview_of(judge_balloon(target_bytes, vm))
    assert (preview.risk, preview.risk_reason) == (risk, reason)


@pytest.mark.parametrize("guest", [make_guest(cache_bytes=None), make_guest(free_bytes=None)])
def test_where_the_guest_does_not_tell_of_its_page_cache_the_risk_is_not_low(guest: GuestSample) -> None:
    preview = preview_of(judge_balloon(3 * GIB, make_vm(guest=guest)))
    assert preview.risk is Risk.MEDIUM
    assert preview.risk_reason.startswith("the guest does not tell how much of it is page cache")


def test_what_the_host_holds_is_not_said_to_be_what_the_guest_uses() -> None:
    verdict = judge_balloon(2 * GIB, make_vm(guest=make_guest(usable_bytes=None, cache_bytes=None)), is_forced=True)
    preview = preview_of(verdict)
    assert preview.is_host_view
    assert preview.risk is Risk.UNKNOWN
    assert "and the guest does not tell how much of that it uses" in preview.risk_reason
    assert preview.risk_reason.startswith("the host holds 3.0G for it")
    assert verdict.needs_name.endswith("(from what the host holds for it: the guest does not tell)")


def test_what_a_guest_used_when_it_told_last_is_said_to_be_old() -> None:
    early = make_frame([make_vm()])
    late = make_frame([make_vm()], at_s=600.0, previous=early)
    preview = preview_of(judge_balloon(GIB, make_vm(), frame=late, is_forced=True))
    assert preview.risk_reason.startswith("less than the 1.5G that the guest used when it told last")


@pytest.mark.parametrize(
    ("target_bytes", "words"),
    [
        (4 * GIB, "it has 4.0G already, which is its maximum: nothing to do"),
        (4 * GIB - MIB, "it has 4.0G already, which is its maximum: nothing to do"),
        (4 * GIB - 2 * MIB, ""),
    ],
)
def test_a_size_that_it_has_already_is_nothing_to_do(target_bytes: int, words: str) -> None:
    verdict = judge_balloon(target_bytes)
    assert verdict.already == words
    assert (verdict.preview is None) is bool(words)


def test_to_stay_where_it_is_is_a_change_for_a_balloon_on_its_way_and_for_who_insists() -> None:
    assert judge_balloon(4 * GIB, is_balloon_due=True).already == ""
    assert judge_balloon(4 * GIB, is_forced=True).already == ""


@pytest.mark.parametrize(
    ("target_bytes", "facts"),
    [(1024 * GIB, make_facts()), (0, make_facts()), (GIB, make_facts(has_balloon=False, stats_period_s=0))],
)
def test_of_what_cannot_work_nothing_is_foreseen_and_nothing_is_warned_of(target_bytes: int, facts: VmFacts) -> None:
    verdict = judge_balloon(target_bytes, make_vm(facts=facts))
    assert verdict.is_refused
    assert (verdict.preview, verdict.warnings, verdict.needs_name) == (None, (), "")


@pytest.mark.parametrize(
    ("figures", "warning"),
    [
        (
            {"swap_in_bytes": 50 * MIB},
            "reads 10 MiB/s from its swap already; the move is rolled back above 20 MiB/s",
        ),
        (
            {"swap_out_bytes": 50 * MIB},
            "writes 10 MiB/s to its swap already; the move is rolled back above 20 MiB/s",
        ),
        ({"major_faults": 4_000}, "waits for 400 pages per second already; the move is rolled back above 1200"),
    ],
)
def test_what_the_guest_suffers_already_is_warned_of_with_what_it_may_come_to(
    figures: dict[str, int], warning: str
) -> None:
    early = make_frame([make_vm()])
    strained = make_vm(guest=make_guest(last_update_s=START_S + 5, **figures))
    frame = make_frame([strained], at_s=5.0, previous=early)
    assert judge_balloon(3 * GIB, strained, frame=frame).warnings == (f"the guest {warning}",)


def test_below_the_floor_the_name_has_to_be_typed() -> None:
    verdict = judge_balloon(FLOOR - MIB)
    assert not verdict.is_refused
    assert verdict.needs_name == "1.65G is 1.0M below the safe floor of 1.65G"
    assert judge_balloon(GIB).needs_name == "1.0G is 666M below the safe floor of 1.65G"


def test_giving_back_to_a_guest_below_its_floor_needs_no_name() -> None:
    squeezed = make_vm(balloon_bytes=GIB, guest=make_guest(usable_bytes=16 * MIB))
    assert judge_balloon(GIB + 32 * MIB, squeezed).needs_name == ""


LOCKED = make_facts(is_locked=True)


@pytest.mark.parametrize(
    ("vm", "reason"),
    [
        (make_vm(facts=make_facts(has_balloon=False)), "vm-0001 has no balloon device"),
        (make_vm(facts=make_facts(has_vfio=True)), "a host device is passed through to vm-0001"),
        (make_vm(facts=make_facts(has_hugepages=True)), "comes from huge pages"),
        (make_vm(facts=LOCKED), "is locked: its balloon gives the host nothing"),
        (make_vm(guest=None), "no balloon driver was seen in the guest"),
        (make_vm(facts=None, unknown={"facts": "not read yet"}), "definition of vm-0001 is not known: not read yet"),
        (make_vm(balloon_bytes=None), "the size of vm-0001 is not known"),
        (make_off_vm(uuid=ID), "vm-0009 is shut off"),
        (make_vm(state=VmState.CRASHED), "vm-0001 is crashed"),
        (make_vm(state=VmState.PAUSED), "vm-0001 is paused: its guest would not answer until it goes on"),
        (make_vm(answer=Answer.HUNG, hung_s=9.0), "QEMU of vm-0001 does not answer"),
        (make_vm(answer=Answer.BUSY), "another job holds vm-0001"),
        (make_vm(jobs=(make_job(kind=JobKind.MIGRATION_OUT),)), "a job runs (migration out)"),
        (make_vm(jobs=(make_job(kind=JobKind.SNAPSHOT),)), "a job runs (snapshot)"),
        (make_vm(facts=make_facts(virtio_mem_bytes=3 * GIB)), "3.0G of its memory is virtio-mem"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason_even_by_force(vm: VmSample, reason: str) -> None:
    verdict = judge_balloon(HALF, vm, is_forced=True)
    assert any(reason in text for text in verdict.refusals), verdict.refusals


@pytest.mark.parametrize(
    ("target_bytes", "reason"),
    [
        (4 * GIB + 1024, "4.0G is above its maximum of 4.0G"),
        (0, "a VM cannot be left without memory"),
        (-GIB, "a VM cannot be left without memory"),
    ],
)
def test_sizes_that_no_vm_can_have_are_refused(target_bytes: int, reason: str) -> None:
    assert reason in judge_balloon(target_bytes, is_forced=True).refusals


@pytest.mark.parametrize(
    ("vm", "at_s", "reason"),
    [
        (make_vm(), 60, "figures stopped coming (the last are 60 s old)"),
        (make_vm(facts=make_facts(stats_period_s=0)), 5, "does not tell what it uses: the statistics period is 0"),
        (make_vm(guest=make_guest(usable_bytes=None, cache_bytes=None)), 5, "the guest does not tell what it uses"),
    ],
)
def test_figures_that_are_old_or_missing_need_force(vm: VmSample, at_s: float, reason: str) -> None:
    frame = make_frame([vm], at_s=at_s)
    verdict = judge_balloon(3 * GIB, vm, frame=frame)
    assert any(reason in text and text.endswith("it can be forced") for text in verdict.refusals), verdict.refusals
    assert not judge_balloon(3 * GIB, vm, is_forced=True, frame=frame).is_refused


def test_a_period_of_0_is_warned_of_as_nobody_sees_how_the_guest_takes_it() -> None:
    vm = make_vm(facts=make_facts(stats_period_s=0))
    assert any("in one step" in text for text in judge_balloon(3 * GIB, vm, is_forced=True).warnings)


def test_a_backup_that_runs_is_no_reason_against_a_balloon() -> None:
    assert not judge_balloon(HALF, make_vm(jobs=(make_job(),))).is_refused


def test_an_old_reading_needs_force() -> None:
    verdict = judge_balloon(HALF, age_s=31.0)
    assert verdict.refusals == ("the last reading is 31 s old: vm-0001 may be another by now",)
    assert not judge_balloon(HALF, is_forced=True, age_s=31.0).is_refused


def test_a_source_that_is_read_only_or_unable_changes_nothing() -> None:
    assert judge_balloon(HALF, capability=Capability()).refusals == ("vmtop may change nothing here: it is read-only",)
    unable = replace(ABLE, can_balloon=False)
    assert judge_balloon(HALF, capability=unable).refusals == ("qemu:///system has no balloons",)


def test_a_vm_that_is_gone_is_said_to_be_gone() -> None:
    assert refusal(SetBalloon(uuid="nobody", target_bytes=GIB), situate()) == "the VM is not there any more"


def test_an_action_that_got_no_answer_holds_up_the_next() -> None:
    verdict = judge_balloon(HALF, is_unanswered=True)
    assert verdict.refusals == ("an earlier action on vm-0001 got no answer yet",)


def test_taking_memory_warns_of_what_speaks_against_it() -> None:
    facts = make_facts(has_autodeflate=True, min_guarantee_bytes=3 * GIB)
    warnings = " / ".join(judge_balloon(HALF, make_vm(facts=facts)).warnings)
    assert "its definition guarantees it 3.0G" in warnings
    assert "autodeflate" in warnings


def test_giving_memory_warns_when_the_host_has_none() -> None:
    frame = make_frame([make_vm(balloon_bytes=GIB)], host=make_host(available_bytes=GIB))
    warnings = judge_balloon(4 * GIB, frame=at_level(frame, Level.HARD)).warnings
    assert warnings == ("the host is at hard: 1.2 GiB available", "the host has no more than 1.0G available")


@pytest.mark.parametrize(
    ("period_s", "facts", "reason"),
    [
        (-1, make_facts(stats_period_s=0), "a period of -1 s makes no sense"),
        (5, make_facts(has_balloon=False, stats_period_s=None), "has no balloon device"),
        (10, make_facts(stats_period_s=5), "its period is 5 s, and another program may rely on it"),
        (0, make_facts(stats_period_s=5), "its period is 5 s, and another program may rely on it"),
        (5, None, "the definition of vm-0001 is not known"),
    ],
)
def test_a_statistics_period_is_not_taken_from_others(period_s: int, facts: VmFacts | None, reason: str) -> None:
    assert reason in refusal(SetStatsPeriod(uuid=ID, period_s=period_s), situate(make_vm(facts=facts)))


def test_a_period_may_be_set_where_there_is_none_and_forced_where_there_is() -> None:
    none_set = situate(make_vm(facts=make_facts(stats_period_s=0)))
    assert check(SetStatsPeriod(uuid=ID, period_s=5), none_set) == Verdict()
    assert check(SetStatsPeriod(uuid=ID, period_s=0, is_forced=True), situate()) == Verdict()


odd_facts = st.builds(
    make_facts,
    has_balloon=st.booleans(),
    stats_period_s=st.sampled_from([None, 0, 5]),
    virtio_mem_bytes=st.sampled_from([0, GIB]),
    has_hugepages=st.booleans(),
    is_locked=st.booleans(),
    has_vfio=st.booleans(),
)
odd_guests = st.builds(
    make_guest,
    usable_bytes=st.none() | st.integers(0, 4 * GIB),
    cache_bytes=st.none() | st.integers(0, GIB),
    free_bytes=st.none() | st.integers(0, GIB),
)
odd_vms = st.builds(
    make_vm,
    state=st.sampled_from([VmState.RUNNING, VmState.PAUSED, VmState.SHUTOFF, VmState.CRASHED]),
    answer=st.sampled_from(list(Answer)),
    maximum_bytes=st.none() | st.integers(GIB, 8 * GIB),
    balloon_bytes=st.none() | st.integers(GIB, 4 * GIB),
    guest=st.none() | odd_guests,
    facts=st.none() | odd_facts,
    jobs=st.sampled_from([(), (make_job(),), (make_job(kind=JobKind.SAVE),)]),
)


@settings(max_examples=400)
@given(odd_vms, st.integers(-GIB, 9 * GIB), st.sampled_from([1.0, 5.0, 120.0]), st.booleans(), st.booleans())
def test_what_the_guard_lets_through_is_never_harmful(
    vm: VmSample, target_bytes: int, at_s: float, is_forced: bool, is_healthy: bool
) -> None:
    if is_healthy:
        vm = replace(vm, state=VmState.RUNNING, answer=Answer.FULL, jobs=(), facts=make_facts())
    frame = make_frame([vm], at_s=at_s)
    verdict = judge_balloon(target_bytes, vm, is_forced=is_forced, frame=frame)
    if verdict.is_refused:
        return
    seen, facts = frame.vms[0], vm.facts
    assert facts is not None and facts.has_balloon
    assert not (facts.has_vfio or facts.has_hugepages or facts.is_locked)
    assert seen.maximum_bytes is not None and facts.virtio_mem_bytes < target_bytes <= seen.maximum_bytes
    assert vm.state is VmState.RUNNING and vm.answer is not Answer.HUNG
    assert all(job.kind is JobKind.BACKUP for job in vm.jobs)
    is_less = seen.balloon_bytes is not None and target_bytes < seen.balloon_bytes
    assert is_forced or not is_less or not seen.is_stale
    assert is_forced or not is_less or seen.used_bytes is not None
    if is_less and not verdict.needs_name:
        assert seen.used_bytes is not None
        least = seen.used_bytes + max(64 * MIB, int(0.1 * seen.used_bytes))
        assert target_bytes >= min(least, seen.maximum_bytes)


@pytest.mark.parametrize(("present_s", "is_refused"), [(5, False), (0, False), (10, True), (None, True)])
@pytest.mark.parametrize("is_forced", [False, True])
def test_a_period_is_taken_back_only_while_it_is_that_of_vmtop(
    present_s: int | None, is_refused: bool, is_forced: bool
) -> None:
    command = SetStatsPeriod(uuid=ID, period_s=0, expected_s=5, is_forced=is_forced)
    verdict = check(command, situate(make_vm(facts=make_facts(stats_period_s=present_s))))
    assert verdict.is_refused is is_refused
    assert not is_refused or "another program set it" in verdict.refusals[0]


def test_only_a_forced_balloon_may_follow_an_old_reading() -> None:
    old = "the last reading is 31 s old: vm-0001 may be another by now"
    period = SetStatsPeriod(uuid=ID, period_s=0, is_forced=True)
    assert check(period, situate(age_s=31.0)).refusals == (old,)
    backup = StartBackup(uuid=ID, folder="/backup", is_forced=True)
    assert old in check(backup, situate(age_s=31.0)).refusals
