"""Backups of real guests that go on writing, taken and restored by the program itself, against their disks."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hypervisor.guest import Guest
from tests.hypervisor.guest_image import find_command, run
from tests.hypervisor.guest_spec import GuestSpec
from tests.hypervisor.lab import HostLab
from tests.hypervisor.waiting import wait_until
from vmtop.actions.backup_plan import vm_folder
from vmtop.units import MIB

DISK_MIB = 224
FULL_MIB = 192
"""So much takes QEMU longer to copy than vmtop to set a limit."""
DATA = "/disk/data"
TOPOLOGICAL = 1 << 1
"""VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL: the oldest first."""


class Program:
    """`vmtop` on one guest, with an audit and a backup folder of its own."""

    def __init__(self, lab: HostLab, guest: Guest, folder: Path) -> None:
        self.guest = guest
        self.folder = folder / "backups"
        self.inner = self.folder / vm_folder(guest.name, guest.uuid)
        self.inner.mkdir(parents=True)
        # The daemon of the lab is no root, which could write anywhere.
        lab.daemon.give(self.inner)
        self._uri = lab.uri
        self._libvirt_error: type[Exception] = lab.daemon.libvirt.libvirtError
        self._started: list[subprocess.Popen[str]] = []
        self._environ = {**os.environ, "XDG_STATE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "vmtop", "-c", self._uri, *words, "--json"]
        self._started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self._environ)
        )
        return self._started[-1]

    def close(self) -> None:
        """Leave none running that a failed test did not wait for."""
        for program in self._started:
            program.kill()
            program.communicate()

    def run(self, *words: str, exit_code: int = 0) -> Any:
        return ended(self.start(*words), exit_code)

    def start_backup(self, *words: str) -> subprocess.Popen[str]:
        """Begin one, and return when libvirt has begun it."""
        program = self.start("backup", self.guest.name, "--to", str(self.folder), "--yes", *words)
        wait_until(lambda: self.is_copying() or program.poll() is not None, "the backup to begin")
        return program

    def is_copying(self) -> bool:
        try:
            return bool(self.guest.domain.backupGetXMLDesc(0))
        except self._libvirt_error:
            return False

    def files(self) -> set[str]:
        return {path.name for path in self.inner.iterdir()}


def ended(program: subprocess.Popen[str], exit_code: int = 0) -> Any:
    output, errors = program.communicate(timeout=60)
    assert program.returncode == exit_code, f"{output}\n{errors}"
    return json.loads(output)


def keep(disk: Path, copy: Path) -> Path:
    """A copy of the disk of a guest that is paused, which has flushed what it wrote."""
    run(find_command("qemu-img"), "convert", "-U", "-f", "qcow2", "-O", "qcow2", str(disk), str(copy))
    return copy


def assert_identical(one: Path, other: Path) -> None:
    """A guest would read the same bytes from both."""
    run(find_command("qemu-img"), "compare", "-f", "qcow2", "-F", "qcow2", str(one), str(other))


@pytest.fixture(scope="module")
def guest(own_lab: HostLab) -> Iterator[Guest]:
    """It writes to its disk all the time."""
    with own_lab.running(GuestSpec(name="kept safe", memory_mib=96, disk_mib=DISK_MIB, disk_content_mib=FULL_MIB)) as (
        guest,
    ):
        guest.order("dirty 1")
        yield guest


@pytest.fixture(scope="module")
def program(own_lab: HostLab, guest: Guest) -> Iterator[Program]:
    program = Program(own_lab, guest, own_lab.folder)
    yield program
    program.close()


def test_full_and_incremental_backups_under_writes_give_back_the_disk_of_each_moment(
    own_lab: HostLab, guest: Guest, program: Program, tmp_path: Path
) -> None:
    moments = []
    for number, more in enumerate(((), ("--incremental",), ("--incremental",))):
        guest.order(f"dd if=/dev/urandom of={DATA} bs=1M count=3 conv=notrunc && md5sum {DATA} > /disk/sums && sync")
        guest.domain.suspend()
        moments.append(keep(guest.files.disk, tmp_path / f"moment-{number}"))
        backup = program.start_backup("--rate", "96M", *more)
        guest.domain.resume()
        assert more or program.is_copying(), "the guest writes while it is copied"
        told = ended(backup)
        assert (told["outcome"], told["simulated"]) == ("done", False)

    (vm,) = program.run("recovery", str(program.folder))["vms"]
    assert (vm["vm"], vm["uuid"], len(vm["points"])) == (guest.name, guest.uuid, 3)
    assert [len(point["chain"]) for point in vm["points"]] == [1, 2, 3]
    assert [(point["verified"], point["problem"]) for point in vm["points"]] == [(True, None)] * 3
    for moment, point in zip(moments, vm["points"], strict=True):
        restored = tmp_path / f"{point['stamp']}.qcow2"
        where = ("--from", str(program.folder), "--at", point["stamp"], "--to", str(restored), "--yes")
        assert program.run("restore", guest.name, *where)["outcome"] == "done"
        assert_identical(restored, moment)

    spec = GuestSpec(name="restored", memory_mib=96, disk_mib=DISK_MIB)
    twin = own_lab.define(spec)
    restored.rename(twin.files.disk)
    own_lab.daemon.give(twin.files.disk)
    twin.start()
    twin.wait_until_ready()
    twin.order("mkdir -p /disk && mount -t ext2 /dev/vda /disk && md5sum -c /disk/sums")
    own_lab.remove(twin)


def test_ctrl_c_cancels_a_backup_and_leaves_nothing_of_it(guest: Guest, program: Program) -> None:
    files, checkpoints = program.files(), guest.domain.listAllCheckpoints()
    backup = program.start_backup("--rate", "1M")
    wait_until(program.is_copying, "its job")
    (point, *_) = reversed(program.run("recovery", str(program.folder))["vms"][0]["points"])
    assert point["problem"].endswith("is still being written")
    backup.send_signal(signal.SIGINT)
    told = ended(backup, exit_code=130)
    assert told["outcome"] == "cancelled"
    assert program.files() == files
    assert len(guest.domain.listAllCheckpoints()) == len(checkpoints)
    assert not program.is_copying()


def test_a_backup_whose_program_was_killed_never_ended_and_nothing_is_built_on_it(
    guest: Guest, program: Program
) -> None:
    (good, *_) = reversed(program.run("recovery", str(program.folder))["vms"][0]["points"])
    backup = program.start_backup("--rate", "2M")
    wait_until(program.is_copying, "its job")
    backup.kill()
    backup.communicate()
    guest.domain.abortJob()
    wait_until(lambda: not program.is_copying(), "the job to be gone")
    (point, *_) = reversed(program.run("recovery", str(program.folder))["vms"][0]["points"])
    assert point["problem"] == f"{point['stamp']} never ended"

    done = program.run("backup", guest.name, "--to", str(program.folder), "--incremental", "--yes")
    assert done["outcome"] == "done"
    (newest, *_) = reversed(program.run("recovery", str(program.folder))["vms"][0]["points"])
    assert newest["problem"] is None
    assert newest["chain"] == [*good["chain"], newest["stamp"]]


def checkpoints(guest: Guest) -> list[str]:
    return [each.getName() for each in guest.domain.listAllCheckpoints(TOPOLOGICAL)]


def back_up_at_rest(guest: Guest, program: Program, moment: Path, *more: str) -> dict[str, Any]:
    """Change the disk, keep a copy of it, and back it up; the newest recovery point."""
    guest.order(f"dd if=/dev/urandom of={DATA} bs=1M count=2 conv=notrunc && sync")
    guest.domain.suspend()
    keep(guest.files.disk, moment)
    done = program.run("backup", guest.name, "--to", str(program.folder), "--yes", *more)
    guest.domain.resume()
    assert done["outcome"] == "done", done
    (*_, newest) = program.run("recovery", str(program.folder))["vms"][0]["points"]
    assert isinstance(newest, dict)
    return newest


def assert_restores(guest: Guest, program: Program, point: dict[str, Any], moment: Path) -> None:
    restored = moment.with_name(f"{point['stamp']}.qcow2")
    where = ("--from", str(program.folder), "--at", point["stamp"], "--to", str(restored), "--yes")
    assert program.run("restore", guest.name, *where)["outcome"] == "done"
    assert_identical(restored, moment)


def test_incremental_backups_go_on_whichever_checkpoints_were_deleted(
    guest: Guest, program: Program, tmp_path: Path
) -> None:
    back_up_at_rest(guest, program, tmp_path / "full")
    for number in range(3):
        back_up_at_rest(guest, program, tmp_path / f"step-{number}", "--incremental")
    before = checkpoints(guest)
    assert len(before) >= 4

    dry = program.run("backup", guest.name, "--delete-checkpoints", "old", "--dry-run")
    assert (dry["outcome"], dry["preview"]["deleted"], checkpoints(guest)) == (None, before[:-1], before)
    told = program.run("backup", guest.name, "--delete-checkpoints", "old", "--yes")
    assert (told["outcome"], told["text"]) == ("done", f"{len(before) - 1} checkpoints deleted")
    assert told["warnings"] == []
    assert checkpoints(guest) == before[-1:]
    point = back_up_at_rest(guest, program, tmp_path / "after-old", "--incremental")
    assert point["chain"][-2] == before[-1].removeprefix("vmtop-")
    assert_restores(guest, program, point, tmp_path / "after-old")

    (older, newest) = checkpoints(guest)
    guest.domain.checkpointLookupByName(newest).delete()
    point = back_up_at_rest(guest, program, tmp_path / "after-newest", "--incremental")
    assert point["chain"][-2] == older.removeprefix("vmtop-")
    assert_restores(guest, program, point, tmp_path / "after-newest")


def test_without_checkpoints_a_snapshot_can_be_reverted_to_and_the_next_backup_is_full(
    guest: Guest, program: Program, tmp_path: Path
) -> None:
    back_up_at_rest(guest, program, tmp_path / "full")
    guest.order("echo before > /disk/note; sync")
    snapshot = ("snapshot", guest.name)
    program.run(*snapshot, "--kind", "internal", "--name", "kept", "--yes")
    guest.order("echo after > /disk/note; sync")
    refused = program.run(*snapshot, "--revert", "kept", "--confirm", guest.name, exit_code=1)
    assert "libvirt would kill the VM" in refused["text"]

    count = len(checkpoints(guest))
    told = program.run("backup", guest.name, "--delete-checkpoints", "all", "--yes")
    assert (told["outcome"], told["text"][:2]) == ("done", f"{count} ")
    assert told["warnings"] == ["none of vmtop is left then, so that the next backup has to be a full one"]
    assert checkpoints(guest) == []
    again = program.run("backup", guest.name, "--delete-checkpoints", "all", "--yes")
    assert (again["outcome"], again["text"]) == ("done", "it has no checkpoint of vmtop to delete")

    assert program.run(*snapshot, "--revert", "kept", "--confirm", guest.name)["outcome"] == "done"
    guest.wait_for_truth()
    guest.order("grep -q before /disk/note")
    changes = ("backup", guest.name, "--to", str(program.folder), "--incremental", "--yes")
    assert "make a full one first" in program.run(*changes, exit_code=1)["text"]
    assert_restores(guest, program, back_up_at_rest(guest, program, tmp_path / "anew"), tmp_path / "anew")


def test_an_undo_by_another_run_of_the_program_gives_the_guest_its_memory_back(guest: Guest, program: Program) -> None:
    before = guest.wait_for_truth()
    assert program.run("balloon", guest.name, "-8M", "--confirm", guest.name)["text"] == "reached 88M"
    guest.wait_for_truth(lambda truth: truth.total_bytes == before.total_bytes - 8 * MIB)
    (done,) = program.run("undo", "--yes")["actions"]
    assert (done["outcome"], done["text"]) == ("done", "reached 96M")
    guest.wait_for_truth(lambda truth: truth.total_bytes == before.total_bytes)
    assert program.run("undo", "--list")["changes"] == []
