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
    assert point["stamp"] not in newest["chain"]


def test_an_undo_by_another_run_of_the_program_gives_the_guest_its_memory_back(guest: Guest, program: Program) -> None:
    before = guest.wait_for_truth()
    assert program.run("balloon", guest.name, "-8M", "--confirm", guest.name)["text"] == "reached 88M"
    guest.wait_for_truth(lambda truth: truth.total_bytes == before.total_bytes - 8 * MIB)
    (done,) = program.run("undo", "--yes")["actions"]
    assert (done["outcome"], done["text"]) == ("done", "reached 96M")
    guest.wait_for_truth(lambda truth: truth.total_bytes == before.total_bytes)
    assert program.run("undo", "--list")["changes"] == []
