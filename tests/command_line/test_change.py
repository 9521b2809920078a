"""What was typed becomes the right command; on a simulated host that goes on while it is asked."""

import json
import os
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from tests.command_line.rig import Rig
from tests.hypervisor.waiting import wait_until
from vmtop.actions.audit import Phase
from vmtop.actions.backup_plan import is_ours, vm_folder
from vmtop.actions.command import Command, TakeSnapshot
from vmtop.actions.runner import Runner
from vmtop.cli import main
from vmtop.command_line import change
from vmtop.command_line.place import Place
from vmtop.command_line.session import Session
from vmtop.errors import RefusedError
from vmtop.model.storage import BackupRequest
from vmtop.units import GIB, MIB


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        ("2G", "to 2.0G"),
        ("-512M", "to 3.5G"),
        ("-10%", "to 3.6G"),
        ("floor", "to 2.47G"),
        ("max", "to 4.0G"),
    ],
)
def test_sizes_are_typed_as_in_the_dialog(size: str, sentence: str, rig: Rig) -> None:
    assert rig.type("balloon", "web-01", size, "--dry-run", "--json") == 0
    assert rig.told()["sentence"] == f"Set the balloon of web-01 {sentence}, from 4.0G"


@pytest.mark.parametrize(
    "words", [("balloon", "web-01", "3900M"), ("backup", "web-01", "--to", "/b"), ("snapshot", "web-01"), ("undo",)]
)
def test_the_name_of_another_vm_confirms_nothing_also_where_none_is_needed(words: tuple[str, ...], rig: Rig) -> None:
    assert rig.type("balloon", "web-01", "3950M", "--yes") == 0
    before = rig.records()
    with pytest.raises(RefusedError, match="nothing was done: --confirm 'web-02' is not the name of the VM"):
        rig.type(*words, "--confirm", "web-02")
    assert rig.records() == before


def test_undo_takes_back_the_newest_change_first_and_as_many_as_wanted(rig: Rig) -> None:
    for size in ("3900M", "3800M"):
        assert rig.type("balloon", "web-01", size, "--yes") == 0
    assert rig.type("undo", "--list") == 0
    assert [line.split("  ")[1] for line in rig.printed().splitlines()] == [
        "web-01: balloon from 3.81G to 3.71G",
        "web-01: balloon from 4.0G to 3.81G",
    ]
    assert rig.type("undo", "--list", "--json") == 0
    assert [change["old"] for change in rig.told()["changes"]] == [3900 * MIB, 4 * GIB]
    assert rig.type("undo", "--dry-run") == 0
    assert rig.balloon_bytes("web-01") == 3800 * MIB
    assert rig.type("undo", "-n", "5", "--yes", "--json") == 0
    assert [done["text"] for done in rig.told()["actions"]] == ["reached 3.81G", "reached 4.0G"]
    assert rig.balloon_bytes("web-01") == 4 * GIB


def test_backups_are_full_or_incremental_with_a_limit_and_the_new_files_are_told(rig: Rig) -> None:
    assert rig.type("backup", "web-01", "--to", "/backup", "--dry-run", "--rate", "100M/s", "--json") == 0
    told = rig.told()
    assert told["sentence"] == "Back up all disks of web-01 to /backup, at most 100M/s for each disk"
    (path,) = told["preview"]["files"]
    assert path == f"/backup/{vm_folder('web-01', told['uuid'])}.20260105T120000Z.full.vda.qcow2"
    assert any("the folder cannot be seen from here" in warning for warning in told["warnings"])
    assert rig.said() == ""

    assert rig.type("backup", "web-01", "--to", "/backup", "--incremental", "--yes") == 1
    assert "make a full one first" in rig.said()
    assert rig.type("backup", "web-01", "--to", "/backup", "--yes") == 0
    assert rig.printed().splitlines()[-1].startswith("web-01: backup: done: ")
    assert rig.type("backup", "web-01", "--to", "/backup", "--incremental", "--yes", "--json") == 0
    assert rig.told()["preview"]["since"] == "vmtop-20260105T120000Z"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "Take snapshot snap-20260105T120000Z of web-01, with memory, while it runs"),
        (("--kind", "internal", "--name", "a b"), "Take snapshot a b of web-01, with memory, inside its disks"),
        (("--kind", "disk-only", "--name", "a"), "Take snapshot a of web-01, of its disks alone"),
        (("--quiesce", "--name", "a"), "Take snapshot a of web-01, of its disks alone, file systems frozen"),
    ],
)
def test_the_kind_of_a_snapshot_is_chosen_or_the_most_useful_one(
    options: tuple[str, ...], sentence: str, rig: Rig
) -> None:
    assert rig.type("snapshot", "web-01", *options, "--dry-run", "--json") == 0
    assert rig.told()["sentence"] == sentence


def test_a_snapshot_that_cannot_be_says_why(rig: Rig) -> None:
    assert rig.type("snapshot", "web-01", "--kind", "internal", "--quiesce", "--dry-run", "--json") == 1
    assert rig.told()["refusals"] == ["file systems are frozen only for a snapshot of the disks alone"]
    assert rig.type("snapshot", "web-01", "--kind", "external", "--memory-file", "memory", "--dry-run", "--json") == 1
    assert rig.told()["refusals"] == ["the file for the memory needs its whole path, and 'memory' is none"]
    assert rig.type("snapshot", "web-01", "--revert", "old", "--dry-run") == 1
    assert "refused  web-01 has no snapshot old" in rig.printed()
    assert rig.type("snapshot", "web-01", "--list") == 0
    assert rig.printed().splitlines()[-1] == "web-01 has no snapshots"


def test_a_name_goes_into_the_file_of_the_memory_and_cannot_lead_elsewhere(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def note(_place: Place, _session: Session, command: Command, _wanted: Namespace) -> int:
        asked.append(command)
        return 0

    monkeypatch.setattr(change, "act", note)
    rig.type("snapshot", "web-01", "--name", "../../etc/x")
    (command,) = asked
    assert isinstance(command, TakeSnapshot)
    assert command.request.memory_path is not None
    assert command.request.memory_path.endswith(".._.._etc_x.mem")
    assert "/../" not in command.request.memory_path


# -- the whole program, with its threads


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = main(["--demo", "calm", "--speed", "20", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_snapshot_is_taken_while_the_host_goes_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, told = run(capsys, "snapshot", "web-01", "--kind", "disk-only", "--yes")
    assert (code, told["outcome"]) == (0, "done")
    assert (tmp_path / "vmtop" / "audit.jsonl").stat().st_mode & 0o777 == 0o600
    assert main(["audit", "--json"]) == 0
    (action,) = json.loads(capsys.readouterr().out)["actions"]
    assert (action["action"], action["vm"], action["outcome"]) == ("snapshot", "web-01", "done")
    assert main(["audit", "web-02"]) == 0
    assert capsys.readouterr().out == "No action of vmtop is written down here.\n"


def test_readonly_refuses_and_a_table_option_is_out_of_place(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = run(capsys, "--readonly", "balloon", "web-01", "3G", "--yes")
    assert (code, told["refusals"]) == (1, ["vmtop may change nothing here: it is read-only"])
    assert main(["--demo", "--once", "balloon", "web-01", "3G"]) == 2
    assert capsys.readouterr().err == "vmtop: --once belongs to the table, and not to balloon\n"
    assert main(["--demo", "calm", "balloon", "web-1", "3G"]) == 5
    assert "Did you mean 'web-01'" in capsys.readouterr().err
    assert main(["-c", "test:///nowhere.xml", "jobs"]) == 3


@pytest.mark.parametrize("place", ["option", "configuration"])
def test_readonly_lists_snapshots_all_the_same(place: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = ["--readonly"] if place == "option" else []
    if place == "configuration":
        (tmp_path / "vmtop").mkdir()
        (tmp_path / "vmtop" / "config.toml").write_text("readonly = true\n")
    code, told = run(capsys, *options, "snapshot", "web-01", "--list")
    assert (code, told["vm"], told["snapshots"]) == (0, "web-01", [])
    code, told = run(capsys, *options, "backup", "web-01", "--to", str(tmp_path), "--dry-run")
    assert (code, told["refusals"]) == (1, ["vmtop may change nothing here: it is read-only"])


def test_after_demo_a_command_is_no_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--demo", "jobs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["uri"].startswith("simulator:///overcommit")


def test_sigterm_ends_a_backup_in_good_order(tmp_path: Path) -> None:
    words = ["backup", "web-01", "--to", "/backup", "--rate", "1M", "--yes", "--json"]
    command = [sys.executable, "-m", "vmtop", "--demo", "calm", *words]
    audit = tmp_path / "vmtop" / "audit.jsonl"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        wait_until(lambda: audit.exists() or program.poll() is not None, "the backup to begin")
        program.send_signal(signal.SIGTERM)
        output, errors = program.communicate(timeout=60)
    assert program.returncode == 128 + signal.SIGTERM
    assert "web-01: cancelling the backup ..." in errors
    assert json.loads(output)["outcome"] == "cancelled"


def test_nothing_of_commands_is_imported_without_one() -> None:
    program = (
        "import sys; from vmtop.cli import main; main(['--demo', '-n', '1', '--json']);"
        "print(sorted(name for name in sys.modules if name.startswith(('vmtop.command_line.', 'vmtop.actions.r'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def add_checkpoints(rig: Rig, count: int) -> str:
    """The VM gets as many checkpoints as backups of vmtop would leave; tells the UUID."""
    sample = rig.backend.read_sample()
    (uuid,) = [vm.uuid for vm in sample.vms if vm.name == "web-01"]
    control = rig.backend.open_control()
    for number in range(count):
        path = f"/backup/{number}.qcow2"
        request = BackupRequest(targets={"vda": path}, formats={"vda": "qcow2"}, checkpoint=f"vmtop-{number}")
        control.start_backup(uuid, request)
        while any(vm.uuid == uuid and vm.jobs for vm in rig.backend.read_sample().vms):
            rig.clock.sleep(5.0)
    return uuid


def checkpoints(rig: Rig, uuid: str) -> list[str]:
    """Those of vmtop; the simulated host has others, of its nightly backups."""
    found = rig.backend.read_storage(uuid).checkpoints
    assert any(not is_ours(each.name) for each in found)
    return [each.name for each in found if is_ours(each.name)]


def test_old_checkpoints_are_deleted_and_then_all(rig: Rig) -> None:
    uuid = add_checkpoints(rig, 3)
    old = ("backup", "web-01", "--delete-checkpoints", "old")
    assert rig.type(*old, "--dry-run") == 0
    assert "Delete the checkpoints of web-01: vmtop-0, vmtop-1" in rig.printed()
    assert (checkpoints(rig, uuid), rig.records()) == (["vmtop-0", "vmtop-1", "vmtop-2"], ())

    assert rig.type(*old, "--confirm", "web-01", "--json") == 0
    told = rig.told()
    assert (told["action"], told["outcome"], told["text"]) == ("checkpoint-delete", "done", "2 checkpoints deleted")
    preview = told["preview"]
    assert (preview["deleted"], preview["kept"]) == (["vmtop-0", "vmtop-1"], ["vmtop-2"])
    assert preview["foreign"][0].startswith("nightly-")
    assert checkpoints(rig, uuid) == ["vmtop-2"]

    assert rig.type("backup", "web-01", "--delete-checkpoints", "all", "--yes") == 0
    assert "! none of vmtop is left then, so that the next backup has to be a full one" in rig.printed()
    assert rig.printed().endswith("web-01: delete checkpoints: 1 checkpoint deleted\n")
    assert checkpoints(rig, uuid) == []


def test_where_no_checkpoint_is_to_spare_all_is_well(rig: Rig) -> None:
    add_checkpoints(rig, 1)
    old = ("backup", "web-01", "--delete-checkpoints", "old", "--yes")
    assert rig.type(*old) == 0
    assert rig.printed().endswith("\nweb-01: it has no checkpoint of vmtop to delete\n")
    assert rig.type(*old[:-1]) == 0  # nobody needs to agree to nothing
    assert rig.type(*old, "--json") == 0
    told = rig.told()
    assert (told["vm"], told["sentence"]) == ("web-01", "Delete checkpoints of web-01")
    assert (told["outcome"], told["text"]) == ("done", "it has no checkpoint of vmtop to delete")
    assert told["already"] == told["text"]
    assert {(record.phase, record.text) for record in rig.records()} == {(Phase.ENDED, told["text"])}


def test_ctrl_c_says_that_checkpoints_may_stay(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    add_checkpoints(rig, 2)
    monkeypatch.setattr(Runner, "_begin", lambda self, errand: None)
    rig.clock.calls[rig.clock.sleeps + 5] = lambda: os.kill(os.getpid(), signal.SIGINT)
    assert rig.type("backup", "web-01", "--delete-checkpoints", "all", "--yes") == 130
    assert rig.said() == "interrupted: web-01: checkpoints that were not deleted yet may stay\n"
