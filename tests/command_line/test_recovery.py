"""Recovery points and images from them, with the real qemu-img and no hypervisor."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.command_line.rig import Rig
from vmtop.actions.audit import Phase
from vmtop.actions.backup_plan import backup_stamp
from vmtop.backends import qemu_image
from vmtop.backends.backup_folder import read_backups, write_record
from vmtop.backends.qemu_image import restore_image
from vmtop.command_line import recovery
from vmtop.errors import ControlError, RefusedError, UnknownVmError, UsageError
from vmtop.model.kind import BackupKind
from vmtop.model.recovery import BackupRecord, DiskCopy
from vmtop.units import MIB

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-img") is None or shutil.which("qemu-io") is None,
    reason="qemu-img and qemu-io are not installed; apt install qemu-utils",
)

NOON_S = 1_767_614_400
"""The hour at which the clock of the rig begins."""
WEB, OTHER = "5f2c1a90-0000-4000-8000-000000000001", "5f2c1a90-0000-4000-8000-000000000002"


def make_record(
    hours_ago: int, since: int | None = None, disks: str = "vda", uuid: str = WEB, *, is_done: bool = True
) -> BackupRecord:
    stamp = backup_stamp(NOON_S - 3600 * hours_ago)
    kind = BackupKind.FULL if since is None else BackupKind.INCREMENTAL
    return BackupRecord(
        stamp=stamp,
        time_s=NOON_S - 3600 * hours_ago,
        uuid=uuid,
        name="web",
        kind=kind,
        since=None if since is None else backup_stamp(NOON_S - 3600 * since),
        checkpoint=None,
        disks=tuple(
            DiskCopy(target=disk, file=f"{stamp}.{disk}", image_format="qcow2", capacity_bytes=8 * MIB)
            for disk in disks.split()
        ),
        is_done=is_done,
    )


def add(folder: Path, record: BackupRecord, byte: int) -> BackupRecord:
    """A backup whose files hold this byte at the MiB of the same number."""
    write_record(str(folder), record)
    for disk in record.disks:
        path = str(folder / disk.file)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "8M"], check=True)
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -q -P {byte} {byte}M 1M", path], check=True)
    return record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A full backup of three hours ago, and one of two hours ago on top of it."""
    folder = tmp_path / "web-5f2c1a90"
    folder.mkdir()
    add(folder, make_record(3), 1)
    add(folder, make_record(2, since=3), 2)
    return folder


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def has(image: Path, *bytes_at: int) -> bool:
    """The image holds each of these bytes at the MiB of the same number, and nothing at the others."""
    raw = image.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(image), str(raw)], check=True)
    expected = b"".join((bytes([at]) if at in bytes_at else b"\0") * MIB for at in range(8))
    return raw.read_bytes() == expected


def test_recovery_points_are_listed_with_their_worth(rig: Rig, tmp_path: Path, folder: Path) -> None:
    add(folder, make_record(1, since=2, is_done=False), 3)
    assert rig.type("recovery", str(tmp_path)) == 0
    head, _, newest, *older = rig.printed().splitlines()
    assert head == f"web ({WEB}): the last good backup is 2 h old, and not verified"
    assert "broken: 20260105T110000Z never ended" in newest
    assert ["full + 1 inc" in line for line in older] == [True, False]
    assert rig.sessions == 0


def test_recovery_points_for_programs(rig: Rig, tmp_path: Path, folder: Path) -> None:
    assert rig.type("recovery", str(folder), "web", "--json") == 0
    (vm,) = rig.told()["vms"]
    assert (vm["vm"], vm["uuid"], vm["last_good_age_s"]) == ("web", WEB, 7200.0)
    assert [point["chain"] for point in vm["points"]] == [
        ["20260105T090000Z"],
        ["20260105T090000Z", "20260105T100000Z"],
    ]
    assert [(point["verified"], point["problem"]) for point in vm["points"]] == [(False, None), (False, None)]


def test_verify_keeps_what_it_found(rig: Rig, tmp_path: Path, folder: Path) -> None:
    broken = folder / "20260105T100000Z.vda"
    data = bytearray(broken.read_bytes())
    data[3 * 65536 : 3 * 65536 + 8] = b"\xff" * 8
    broken.write_bytes(data)
    assert rig.type("recovery", str(tmp_path), "--verify", "--json") == 0
    points = rig.told()["vms"][0]["points"]
    assert [point["verified"] for point in points] == [True, False]
    assert "100000Z.vda: qemu-img finds it damaged" in points[1]["problem"]
    assert rig.type("recovery", str(tmp_path)) == 0
    assert rig.printed().splitlines()[0] == f"web ({WEB}): the last good backup is 3 h old"


def test_verify_tells_how_far_it_is_and_checks_the_vm_that_was_named_only(tmp_path: Path, folder: Path) -> None:
    rig, other = Rig(tmp_path, answers=""), tmp_path / "web-other"
    other.mkdir()
    add(other, make_record(1, uuid=OTHER), 5)
    assert rig.type("recovery", str(tmp_path), WEB, "--verify") == 0
    assert "checking 1 of 2: web, 20260105T090000Z" in rig.said()
    assert "checking 2 of 2: web, 20260105T100000Z" in rig.said()
    assert read_backups(str(other))[0][0].record.checked_s is None


def test_a_result_that_cannot_be_kept_is_said_and_shown(rig: Rig, tmp_path: Path, folder: Path) -> None:
    (folder / "20260105T090000Z.json.part").mkdir()
    assert rig.type("recovery", str(tmp_path), "--verify") == 0
    assert "20260105T090000Z.json: the record of the backup cannot be written: Is a directory" in rig.said()
    assert rig.printed().count("verified 0 s ago") == 2


def test_files_that_cannot_be_checked_stay_as_they_were(
    rig: Rig, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu_image, "PROGRAM", "qemu-img-that-is-not-there")
    assert rig.type("recovery", str(tmp_path), "--verify") == 0
    assert rig.said().count("apt install qemu-utils") == 1
    assert {each.record.checked_s for each in read_backups(str(folder))[0]} == {None}


def test_a_folder_without_backups_and_one_that_is_not_there(rig: Rig, tmp_path: Path) -> None:
    assert rig.type("recovery", str(tmp_path)) == 0
    assert rig.printed() == f"there are no backups of vmtop in {tmp_path}\n"
    with pytest.raises(ControlError, match="nowhere: this backup folder cannot be read: No such file"):
        rig.type("recovery", str(tmp_path / "nowhere"))


def test_a_record_that_cannot_be_used_is_said(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "20260105T090000Z.json").write_text("{")
    assert rig.type("recovery", str(tmp_path)) == 0
    assert rig.said() == f"{tmp_path}/20260105T090000Z.json: this is no JSON\n"


def test_the_last_backup_becomes_an_image(rig: Rig, tmp_path: Path, folder: Path) -> None:
    image = tmp_path / "new.qcow2"
    assert rig.type("restore", "web", "--from", str(tmp_path), "--to", str(image), "--yes") == 0
    lines = rig.printed().splitlines()
    assert lines[0] == f"Restore vda of web as of 20260105T100000Z to {image}"
    assert lines[1] == "  as it was        2026-01-05T10:00:00.000Z, 2 h ago"
    assert lines[-1].startswith(f"{image} is complete: ")
    assert has(image, 1, 2)
    started, ended = rig.records()
    assert (started.phase, started.action, started.vm, started.uri) == (
        Phase.STARTED,
        "restore",
        "web",
        folder.as_uri(),
    )
    assert (ended.outcome, ended.text) == ("done", lines[-1])
    assert rig.sessions == 0


@pytest.mark.parametrize("moment", ["20260105T090000Z", "2026-01-05T09:59:59Z", "2026-01-05 10:30+01:00"])
def test_an_earlier_time_becomes_an_image(moment: str, rig: Rig, tmp_path: Path, folder: Path) -> None:
    image = tmp_path / "new.qcow2"
    words = ("restore", WEB, "--from", str(folder), "--at", moment, "--to", str(image), "--yes", "--json")
    assert rig.type(*words) == 0
    told = rig.told()
    assert (told["outcome"], told["point"]["stamp"]) == ("done", "20260105T090000Z")
    assert told["files"] == [str(folder / "20260105T090000Z.vda")]
    assert has(image, 1)


def test_a_dry_run_checks_everything_and_writes_nothing(rig: Rig, tmp_path: Path, folder: Path) -> None:
    image = tmp_path / "new.qcow2"
    words = ("restore", "web", "--from", str(tmp_path), "--to", str(image), "--dry-run")
    assert rig.type(*words) == 0
    assert rig.printed().splitlines()[-1] == "all its files are there, and whole"
    (folder / "20260105T090000Z.vda").write_bytes(b"no image")
    with pytest.raises(ControlError, match="this is no qcow2 image"):
        rig.type(*words)
    assert not image.exists()
    assert rig.records() == ()


@pytest.mark.parametrize(("answer", "is_done"), [("y\n", True), ("n\n", False), ("", False)])
def test_a_person_is_asked(answer: str, is_done: bool, tmp_path: Path, folder: Path) -> None:
    rig, image = Rig(tmp_path, answers=answer), tmp_path / "new.qcow2"
    words = ("restore", "web", "--from", str(tmp_path), "--to", str(image))
    if is_done:
        assert rig.type(*words) == 0
        assert "100%" in rig.said()
    else:
        with pytest.raises(RefusedError, match="nothing was done"):
            rig.type(*words)
    assert image.exists() is is_done


def test_a_name_of_another_vm_is_no_consent(rig: Rig, tmp_path: Path, folder: Path) -> None:
    image = tmp_path / "new.qcow2"
    words = ("restore", "web", "--from", str(tmp_path), "--to", str(image))
    with pytest.raises(
        RefusedError, match="nothing was done: --confirm 'db' is not the name of the VM, which is 'web'"
    ):
        rig.type(*words, "--confirm", "db")
    assert (image.exists(), rig.records()) == (False, ())
    assert rig.type(*words, "--confirm", "web") == 0
    assert image.exists()


def test_nobody_is_there_to_be_asked(rig: Rig, tmp_path: Path, folder: Path) -> None:
    with pytest.raises(RefusedError, match="nobody is there to be asked; --yes does it unasked"):
        rig.type("restore", "web", "--from", str(tmp_path), "--to", str(tmp_path / "new.qcow2"))


def test_a_file_that_exists_is_never_touched_and_the_audit_knows(rig: Rig, tmp_path: Path, folder: Path) -> None:
    image = tmp_path / "precious"
    image.write_text("precious")
    with pytest.raises(ControlError, match="precious exists; a restore never overwrites"):
        rig.type("restore", "web", "--from", str(tmp_path), "--to", str(image), "--yes")
    assert image.read_text() == "precious"
    assert [record.outcome for record in rig.records()] == [None, "failed"]


def test_what_cannot_be_restored_says_why_and_what_can(rig: Rig, tmp_path: Path, folder: Path) -> None:
    words = ("restore", "web", "--from", str(tmp_path), "--to", str(tmp_path / "new"), "--yes")
    with pytest.raises(RefusedError, match=r"the first backup of web is of 2026-01-05T09:00:00.000Z"):
        rig.type(*words, "--at", "2026-01-05T08:00Z")
    (folder / "20260105T100000Z.vda").unlink()
    with pytest.raises(RefusedError, match=r"100000Z.vda is not there; the last that can is 20260105T090000Z"):
        rig.type(*words, "--at", "2026-01-05T11:00Z")
    (folder / "20260105T090000Z.vda").unlink()
    with pytest.raises(RefusedError, match="no backup of web can be restored: 20260105T100000Z: "):
        rig.type(*words)
    with pytest.raises(UnknownVmError, match=r"no VM that is called 'wbe'. Did you mean 'web'"):
        rig.type("restore", "wbe", *words[2:])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnknownVmError, match="has no VM at all, so none is called 'web'"):
        rig.type("restore", "web", "--from", str(tmp_path / "empty"), *words[4:])


def test_several_vms_or_disks_have_to_be_told_apart(rig: Rig, tmp_path: Path, folder: Path) -> None:
    other = tmp_path / "web-other"
    other.mkdir()
    add(other, make_record(1, disks="vda vdb", uuid=OTHER), 5)
    image = tmp_path / "new.qcow2"
    where = ("--from", str(tmp_path), "--to", str(image), "--yes")
    with pytest.raises(UsageError, match=f"2 VMs in .* were called 'web'; give a UUID: {WEB}, {OTHER}"):
        rig.type("restore", "web", *where)
    with pytest.raises(UsageError, match="several disks; choose one with --disk: vda, vdb"):
        rig.type("restore", OTHER, *where)
    with pytest.raises(UsageError, match="no disk 'sda'; there are: vda, vdb"):
        rig.type("restore", OTHER, "--disk", "sda", *where)
    assert rig.type("restore", OTHER, "--disk", "vdb", *where) == 0
    assert has(image, 5)


def test_ctrl_c_leaves_nothing_of_an_image(
    rig: Rig, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(
        chain: list[tuple[str, str]], to_path: str, show: Callable[[float], None], **more: int | None
    ) -> int:
        def show_and_interrupt(ratio: float) -> None:
            if ratio < 1:
                os.kill(os.getpid(), signal.SIGINT)
            show(ratio)

        return restore_image(chain, to_path, show_and_interrupt, **more)

    monkeypatch.setattr(recovery, "restore_image", interrupted)
    before = set(tmp_path.iterdir())
    words = ("restore", "web", "--from", str(tmp_path), "--to", str(tmp_path / "new.qcow2"), "--yes")
    assert rig.type(*words) == 130
    assert rig.said() == "interrupted; nothing of it is left\n"
    assert set(tmp_path.iterdir()) - before == {rig.audit.path}
    assert rig.records()[-1].text == "interrupted; nothing of it is left"


def test_names_in_a_folder_of_strangers_are_harmless(rig: Rig, tmp_path: Path) -> None:
    hostile = replace(make_record(1), name="\x1b]52;c;eA==\x07[red]")
    add(tmp_path, hostile, 1)
    assert rig.type("recovery", str(tmp_path)) == 0
    assert "\x1b" not in rig.printed()
    assert rig.type("recovery", str(tmp_path), "--json") == 0
    assert json.loads(rig.printed())["vms"][0]["vm"] == hostile.name
    assert "\x1b" not in rig.printed()
