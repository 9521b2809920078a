"""From the card to the outcome: what is shown, asked, done, and returned."""

import os
import re
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.actions.rig import FakeSource
from tests.command_line.rig import Rig
from vmtop.actions.action import Action, Ending, Outcome
from vmtop.actions.audit import Phase
from vmtop.actions.copier import CHECKING
from vmtop.actions.runner import Runner
from vmtop.actions.size import size_text
from vmtop.backends.base import Control
from vmtop.backends.simulator.backend import SimulatorBackend
from vmtop.backends.simulator.control import SimulatorControl
from vmtop.cli import make_parser
from vmtop.command_line.act import SIMULATED
from vmtop.command_line.parser import _BEFORE
from vmtop.command_line.session import ReadOnlySource
from vmtop.errors import BackendError, RefusedError, UnknownVmError, UsageError
from vmtop.model.sample import FinishedJob
from vmtop.units import GIB, MIB

GENTLE = ("balloon", "web-01", "3584M")
"""Above the floor of this VM, which has 4 GiB and uses 2.2."""
HARSH = ("balloon", "web-01", "1G")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Nobody sits at the terminal."""
    return Rig(tmp_path)


def test_what_is_asked_for_with_yes_is_done_and_said(rig: Rig) -> None:
    assert rig.type(*GENTLE, "--yes") == 0
    lines = rig.printed().splitlines()
    assert lines[:2] == [SIMULATED, "Set the balloon of web-01 to 3.5G, from 4.0G"]
    assert lines[-1] == "web-01: balloon: reached 3.5G"
    assert rig.balloon_bytes("web-01") == 3584 * MIB
    assert [record.phase for record in rig.records()] == [Phase.STARTED, Phase.ENDED]


def test_the_json_object_tells_all_of_it_and_nothing_else_is_printed(rig: Rig) -> None:
    assert rig.type(*GENTLE, "--yes", "--json") == 0
    told = rig.told()
    assert (told["schema"], told["command"], told["action"], told["vm"]) == (1, "balloon", "balloon", "web-01")
    assert (told["simulated"], told["uri"], told["dry_run"]) == (True, rig.backend.uri, False)
    assert (told["outcome"], told["text"], told["refusals"]) == ("done", "reached 3.5G", [])
    assert (told["preview"]["from_bytes"], told["preview"]["to_bytes"]) == (4 * GIB, 3584 * MIB)
    assert told["elapsed_s"] > 0
    assert rig.said() == ""


def test_without_a_terminal_nothing_is_done_unasked(rig: Rig) -> None:
    assert rig.type(*GENTLE) == 1
    assert rig.said() == "nothing was done: nobody is there to be asked; --yes does it unasked\n"
    assert rig.type(*HARSH, "--yes") == 1
    assert "below the safe floor of 2.42G; --confirm web-01 does it unasked" in rig.said()
    assert rig.records() == ()


@pytest.mark.parametrize(
    ("answer", "is_done"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_a_person_is_asked_and_only_a_yes_is_a_yes(answer: str, is_done: bool, tmp_path: Path) -> None:
    rig = Rig(tmp_path, answers=answer)
    assert rig.type(*GENTLE) == int(not is_done)
    assert "Do it? [y/N]" in rig.said()
    assert ("nothing was done" in rig.said()) is not is_done
    assert bool(rig.records()) is is_done


@pytest.mark.parametrize(("typed", "is_done"), [("web-01\n", True), ("web-02\n", False), ("y\n", False), ("", False)])
@pytest.mark.parametrize("option", [(), ("--yes",)])
def test_below_the_floor_a_person_has_to_type_the_name(
    typed: str, is_done: bool, option: tuple[str, ...], tmp_path: Path
) -> None:
    rig = Rig(tmp_path, answers=typed)
    rig.type(*HARSH, *option)
    assert "Type the name of the VM to do it:" in rig.said()
    assert ("nothing was done: that is not its name" in rig.said()) is not is_done
    assert bool(rig.records()) is is_done


def test_a_program_gives_the_name_as_an_option(rig: Rig) -> None:
    with pytest.raises(RefusedError, match="--confirm 'web-02' is not the name of the VM, which is 'web-01'"):
        rig.type(*HARSH, "--confirm", "web-02")
    assert rig.records() == ()
    rig.type(*HARSH, "--confirm", "web-01")
    assert rig.records()[0].phase is Phase.STARTED


def test_what_the_guard_refuses_is_not_done_whatever_is_said(rig: Rig) -> None:
    assert rig.type("balloon", "web-01", "5G") == 1
    assert rig.printed().splitlines()[-1] == "refused  5.0G is above its maximum of 4.0G"
    assert rig.records() == ()
    assert rig.type("balloon", "web-01", "5G", "--yes", "--confirm", "web-01", "--force") == 1
    assert rig.said() == "web-01: balloon: refused: 5.0G is above its maximum of 4.0G\n"
    (record,) = rig.records()
    assert (record.outcome, record.refusals) == ("refused", ("5.0G is above its maximum of 4.0G",))
    assert rig.type("balloon", "web-01", "5G", "--yes", "--json") == 1
    assert rig.told()["outcome"] == "refused"


def test_a_dry_run_says_whether_it_could_be_done(rig: Rig) -> None:
    assert rig.type(*GENTLE, "--dry-run") == 0
    assert "risk           medium" in rig.printed()
    assert rig.type("balloon", "web-01", "5G", "--dry-run", "--json") == 1
    told = rig.told()
    assert (told["dry_run"], told["outcome"]) == (True, None)
    assert told["refusals"] == ["5.0G is above its maximum of 4.0G"]


class Looking(SimulatorControl):
    """Lets nobody change anything."""

    def __init__(self, control: SimulatorControl) -> None:
        self._control = control

    def close(self) -> None:
        self._control.close()

    def _run(self, begin: object) -> object:  # type: ignore[override]  # every other method comes down to it
        raise AssertionError("something would have been changed")


class LookingSource:
    """A source that notices every change."""

    def __init__(self, rig: Rig) -> None:
        self.uri, self.capability = rig.backend.uri, rig.backend.capability
        self.read_storage, self.read_folder = rig.backend.read_storage, rig.backend.read_folder
        self.began_s = rig.backend.began_s
        self._rig = rig

    def open_control(self) -> Control:
        return Looking(self._rig.backend.open_control())

    def read_last_job(self, uuid: str) -> FinishedJob | None:
        return self._rig.backend.read_last_job(uuid)


_VMS = st.sampled_from(["web-01", "dev-01", "mssql-01", "win-test-01"])
_COMMANDS = st.one_of(
    st.tuples(st.just("balloon"), _VMS, st.sampled_from(["floor", "max", "-5%", "+1G", "64M", "2G", "900G"])),
    st.tuples(st.just("backup"), _VMS, st.just("--to"), st.sampled_from(["/backup", "/nowhere", "here"])),
    st.tuples(st.just("snapshot"), _VMS, st.just("--kind"), st.sampled_from(["internal", "external", "disk-only"])),
    st.tuples(st.just("snapshot"), _VMS, st.sampled_from(["--revert", "--delete"]), st.just("old")),
    st.tuples(st.just("jobs"), _VMS, st.sampled_from(["--cancel", "--limit=1M", "--resume"])),
)
_MORE = st.sets(st.sampled_from(["--yes", "--json", "--confirm=web-01"]))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(command=_COMMANDS, more=_MORE)
def test_a_dry_run_never_changes_anything(command: tuple[str, ...], more: set[str], rig: Rig) -> None:
    rig.source = LookingSource(rig)
    with suppress(RefusedError):  # the name is of another VM
        assert rig.type(*command, *sorted(more), "--dry-run") in {0, 1}
    assert rig.records() == ()


def test_the_source_that_notices_changes_does(rig: Rig) -> None:
    rig.source = LookingSource(rig)
    assert rig.type(*GENTLE, "--yes") == 1
    assert "something would have been changed" in rig.said()


def test_where_nothing_may_be_changed_every_change_is_refused(rig: Rig) -> None:
    rig.source = ReadOnlySource(rig.backend)
    for words in (GENTLE, ("backup", "web-01", "--to", "/backup"), ("jobs", "web-01", "--cancel")):
        assert rig.type(*words, "--yes") == 1
        assert "vmtop may change nothing here: it is read-only" in rig.said()
    assert rig.balloon_bytes("web-01") == 4 * GIB
    for line in ("snapshot web-01 --yes", "backup web-01 --to /backup --dry-run"):
        assert rig.type(*line.split(), "--json") == 1
        assert rig.told()["refusals"] == ["vmtop may change nothing here: it is read-only"]


def test_where_nothing_may_be_changed_snapshots_are_listed_all_the_same(rig: Rig, tmp_path: Path) -> None:
    assert rig.type("snapshot", "web-01", "--kind", "disk-only", "--name", "before", "--yes") == 0
    other = Rig(tmp_path)
    other.backend = rig.backend
    other.source = ReadOnlySource(rig.backend)
    assert other.type("snapshot", "web-01", "--list") == 0
    assert "before" in other.printed()
    assert other.type("snapshot", "web-01", "--list", "--json") == 0
    assert [each["name"] for each in other.told()["snapshots"]] == ["before"]


def test_a_person_sees_how_far_it_is_and_nothing_of_it_stays(tmp_path: Path) -> None:
    rig = Rig(tmp_path, answers="")
    assert rig.type("balloon", "web-01", "floor", "--yes") == 0
    shown = rig.said().split("\r")
    assert any("web-01: asked 2.4" in line and ", at 3." in line for line in shown)
    assert shown[-1] == "\x1b[K"
    assert all(len(line) < 100 for line in shown)


# -- Ctrl+C


ON_THE_WAY = 80
"""Sleeps after which the balloon moves: the guest's second set of figures has been waited for."""


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_leaves_a_balloon_where_it_is_and_an_undo_goes_back_to_the_begin(rig: Rig) -> None:
    rig.clock.calls[ON_THE_WAY] = interrupt
    assert rig.type("balloon", "web-01", "floor", "--yes") == 130
    rig.clock.sleep(60)
    here_bytes = rig.balloon_bytes("web-01")
    assert here_bytes is not None
    assert 2500 * MIB < here_bytes < 4 * GIB
    stays = f"interrupted: web-01: the balloon stays at {size_text(here_bytes)}; `vmtop undo` takes that back\n"
    assert rig.said() == stays
    texts = [record.text for record in rig.records() if record.outcome == "failed"]
    assert texts == [f"stopped at {size_text(here_bytes)}, as it was asked to stay there"]
    assert rig.type("undo", "--yes") == 0
    assert rig.balloon_bytes("web-01") == 4 * GIB


def test_ctrl_c_cancels_a_backup_and_waits_for_its_end(rig: Rig) -> None:
    rig.clock.calls[30] = interrupt
    assert rig.type("backup", "web-01", "--to", "/backup", "--yes", "--json") == 130
    assert rig.told()["outcome"] == "cancelled"
    assert "web-01: cancelling the backup ..." in rig.said()
    assert rig.type("jobs", "web-01") == 0
    assert "no job runs on web-01" in rig.printed()
    assert [record.action for record in rig.records() if record.outcome == "done"] == ["cancel"]


def test_a_second_ctrl_c_ends_the_program_at_once(rig: Rig) -> None:
    rig.clock.calls[ON_THE_WAY] = rig.clock.calls[ON_THE_WAY + 1] = interrupt
    with pytest.raises(KeyboardInterrupt):
        rig.type("balloon", "web-01", "floor", "--yes")


def test_what_ended_before_the_interrupt_is_said(rig: Rig) -> None:
    assert rig.type("backup", "web-01", "--to", "/nowhere", "--yes") == 1
    assert rig.said().startswith("web-01: backup: ")


def test_a_check_that_takes_its_time_is_waited_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was called pending already."""
    assert await_backup(rig, monkeypatch, CHECKING) == 0
    assert rig.printed().endswith("web-01: backup: done: late\n")


def test_what_is_pending_and_not_known_to_go_on_is_not_waited_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await_backup(rig, monkeypatch, "copying") == 1
    assert "no answer" in rig.said()


def await_backup(rig: Rig, monkeypatch: pytest.MonkeyPatch, progress: str) -> int:
    """The exit code where a backup is pending first, and ends after 30 looks; the host shows no job of it."""

    def answer(self: Runner, action_id: str) -> Action | None:
        action = action_of(self, action_id)
        if action is None:
            return None
        late = Outcome(Ending.DONE, "done: late") if rig.clock.sleeps >= 30 else Outcome(Ending.PENDING, "no answer")
        return replace(action, progress=progress, outcome=late)

    action_of = Runner.action
    monkeypatch.setattr(Runner, "action", answer)
    monkeypatch.setattr(Runner, "_begin", lambda self, errand: None)
    return rig.type("backup", "web-01", "--to", "/backup", "--yes")


# -- names


def test_a_vm_is_found_by_its_uuid_too(rig: Rig) -> None:
    uuid = next(vm.uuid for vm in rig.backend.read_sample().vms if vm.name == "web-01")
    assert rig.type("balloon", uuid.upper(), "3584M", "--dry-run", "--json") == 0
    assert rig.told()["vm"] == "web-01"


def test_a_name_that_nobody_has_brings_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownVmError, match=r"called 'web-1'. Did you mean 'web-01'. There are: ") as unknown:
        Rig(tmp_path).type("balloon", "web-1", "2G")
    assert unknown.value.exit_code == 5
    with pytest.raises(UnknownVmError, match=r"called 'zzzzz'\. It has 40 others\."):
        Rig(tmp_path, scenario="overcommit").type("balloon", "zzzzz", "2G")


def test_a_source_that_cannot_be_read_is_said_with_its_exit_code(rig: Rig) -> None:
    rig.backend.close()
    with pytest.raises(BackendError, match="was closed") as failure:
        rig.type(*GENTLE)
    assert failure.value.exit_code == 1


def test_nothing_to_undo_is_said(rig: Rig) -> None:
    with pytest.raises(RefusedError, match=r"nothing is left to be taken back: simulator:///calm.* began anew"):
        rig.type("undo", "--yes")
    assert rig.type("undo", "--list") == 0
    assert rig.printed().startswith("nothing is left to be taken back: simulator:///calm")
    rig.source = ReadOnlySource(FakeSource())
    assert rig.type("undo", "--list") == 0
    assert rig.printed() == "nothing that vmtop changed on qemu:///system is left to be taken back\n"
    with pytest.raises(RefusedError, match="nothing that vmtop changed on qemu:///system"):
        rig.type("undo", "--yes")


def test_what_was_done_to_an_earlier_simulated_host_is_not_offered_for_undo(tmp_path: Path) -> None:
    assert Rig(tmp_path).type(*GENTLE, "--yes") == 0
    later = Rig(tmp_path)
    later.clock.sleep(1_000)
    later.source = later.backend = SimulatorBackend("calm", clock=later.clock)
    assert later.type("undo", "--list", "--json") == 0
    assert later.told()["changes"] == []


def test_a_size_that_it_has_already_is_said_and_nothing_is_done(rig: Rig) -> None:
    assert rig.type("balloon", "web-01", "max") == 0
    words = "web-01: it has 4.0G already, which is its maximum: nothing to do"
    assert rig.printed().splitlines() == [SIMULATED, words]
    assert [record.phase for record in rig.records()] == [Phase.ENDED]
    assert rig.type("balloon", "web-01", "4G", "--json") == 0
    assert rig.told()["already"] == words.removeprefix("web-01: ")
    assert rig.type("undo", "--list", "--json") == 0
    assert rig.told()["changes"] == []


def test_before_memory_is_taken_it_is_waited_for_figures_that_tell_of_swapping(tmp_path: Path) -> None:
    rig = Rig(tmp_path, answers="")
    assert rig.type("balloon", "web-01", "+1%", "--dry-run") == 1
    assert "waiting for the guest's next figures" not in rig.said()
    assert rig.type(*GENTLE, "--dry-run") == 0
    assert "web-01: waiting for the guest's next figures, to know whether it swaps already" in rig.said()


def test_a_guest_that_sends_no_figures_is_not_waited_for(tmp_path: Path) -> None:
    rig = Rig(tmp_path, scenario="overcommit")
    assert rig.type("balloon", "proxy-01", "-1%", "--dry-run") == 1
    assert rig.clock.sleeps == 0


def test_the_floor_is_explained_and_no_other_size(rig: Rig) -> None:
    words = "above the safe floor, which moves with what the guest uses"
    assert rig.type("balloon", "web-01", "floor", "--dry-run") == 0
    assert words in rig.printed()
    assert rig.type(*GENTLE, "--dry-run") == 0
    assert words not in rig.printed()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("balloon", "web-01", "2"), "'2' has no unit that is clear"),
        (("balloon", "web-01"), "the following arguments are required: SIZE; see vmtop balloon --help"),
        (("backup", "web-01"), "--to"),
        (("backup", "web-01", "--to", "/b", "--rate", "fast"), "'fast' is no rate: write 100M"),
        (("backup", "web-01", "--to", "/b", "--rate", "none"), "leave it out for no limit"),
        (("backup", "web-01", "--to", "/b", "--delete-checkpoints", "old"), "not allowed with argument --to"),
        (("backup", "web-01", "--delete-checkpoints", "new"), "invalid choice: 'new'"),
        (("backup", "web-01", "--delete-checkpoints", "old", "--incremental"), "leave them out here"),
        (("backup", "web-01", "--delete-checkpoints", "old", "--rate", "1M"), "leave them out here"),
        (("snapshot", "web-01", "--list", "--kind", "internal"), "leave them out here"),
        (("snapshot", "web-01", "--list", "--revert", "a"), "not allowed with"),
        (("jobs", "--cancel"), "which VM?"),
        (("undo", "-n", "0"), "'0': give a number from 1"),
        (
            ("restore", "web-01", "--from", "/b", "--to", "/f", "--at", "noon"),
            "'noon' is no time; write 2026-01-05T12:00",
        ),
        (("balon",), "Did you mean 'balloon'?"),
        (
            ("balloon", "web-01", "floor", "--demo"),
            "--demo stands before the command: vmtop --demo balloon web-01 floor",
        ),
        (
            ("balloon", "-c", "a:///b", "web-01", "1G"),
            "-c stands before the command: vmtop -c a:///b balloon web-01 1G",
        ),
        (("jobs", "--demo", "overcommit"), "--demo stands before the command: vmtop --demo=overcommit jobs"),
        (("balloon", "--demo", "web-01", "1G"), "--demo stands before the command: vmtop --demo balloon web-01 1G"),
        (("jobs", "--demo=calm", "--json"), "--demo stands before the command: vmtop --demo=calm jobs --json"),
        (("undo", "--seed=3", "-n", "2"), "--seed stands before the command: vmtop --seed=3 undo -n 2"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(words: tuple[str, ...], complaint: str, rig: Rig) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)) as refusal:
        rig.type(*words)
    assert refusal.value.exit_code == 2


def test_options_that_stand_before_a_command_are_those_of_the_program() -> None:
    known = {name: action.nargs for action in make_parser()._actions for name in action.option_strings}
    for option, takes_word in _BEFORE.items():
        assert option in known
        assert takes_word == (known[option] is None), option
