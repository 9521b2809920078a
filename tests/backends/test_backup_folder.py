"""Records of backups: written whole, read with suspicion."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vmtop.backends.backup_folder import (
    LONGEST_RECORD_BYTES,
    format_record,
    parse_record,
    read_backups,
    remove_backup,
    write_record,
)
from vmtop.errors import ControlError
from vmtop.model.kind import BackupKind
from vmtop.model.recovery import BackupRecord, DiskCopy

RECORD = BackupRecord(
    stamp="20260105T120000Z",
    time_s=1_767_614_400,
    uuid="5f2c1a90-0000-4000-8000-000000000001",
    name="[red]web[/]\x1b[2J",
    kind=BackupKind.FULL,
    since=None,
    checkpoint="vmtop-20260105T120000Z",
    disks=(
        DiskCopy(target="vda", file="20260105T120000Z.full.vda.qcow2", image_format="qcow2", capacity_bytes=1 << 30),
    ),
    is_done=True,
    checked_s=1_767_614_500,
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_record(str(tmp_path), RECORD)
    (found,), problems = read_backups(str(tmp_path))
    assert found.record == RECORD
    assert found.missing == ("20260105T120000Z.full.vda.qcow2",)
    assert (found.folder, found.size_bytes, problems) == (str(tmp_path), 0, ())
    assert (tmp_path / "20260105T120000Z.json").stat().st_mode & 0o777 == 0o600


def test_a_newer_state_takes_the_place_of_the_older_at_once(tmp_path: Path) -> None:
    write_record(str(tmp_path), replace(RECORD, is_done=False))
    write_record(str(tmp_path), RECORD)
    assert [each.name for each in tmp_path.iterdir()] == ["20260105T120000Z.json"]
    assert read_backups(str(tmp_path))[0][0].record.is_done


def test_folders_of_several_vms_are_read_from_above_and_by_name_or_uuid(tmp_path: Path) -> None:
    for name, uuid in (("web", "u-1"), ("db", "u-2")):
        (tmp_path / name).mkdir()
        write_record(str(tmp_path / name), replace(RECORD, name=name, uuid=uuid))
    assert len(read_backups(str(tmp_path))[0]) == 2
    assert [each.record.name for each in read_backups(str(tmp_path), "u-2")[0]] == ["db"]
    assert [each.record.uuid for each in read_backups(str(tmp_path), "web")[0]] == ["u-1"]


def test_files_count_with_what_they_take_and_links_do_not(tmp_path: Path) -> None:
    write_record(str(tmp_path), RECORD)
    file = tmp_path / RECORD.disks[0].file
    file.write_bytes(b"x" * 100_000)
    (found,), _ = read_backups(str(tmp_path))
    assert (found.missing, found.size_bytes) == ((), file.stat().st_blocks * 512)
    file.unlink()
    file.symlink_to("/etc/passwd")
    assert read_backups(str(tmp_path))[0][0].missing == (RECORD.disks[0].file,)


def test_what_a_failed_backup_left_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    write_record(str(tmp_path), RECORD)
    (tmp_path / RECORD.disks[0].file).write_bytes(b"half")
    (tmp_path / "other").write_bytes(b"other")
    remove_backup(str(tmp_path), RECORD)
    assert [each.name for each in tmp_path.iterdir()] == ["other"]
    remove_backup(str(tmp_path), RECORD)


def changed(**changes: Any) -> str:
    values = json.loads(format_record(RECORD))
    disk = {key.removeprefix("disk_"): changes.pop(key) for key in list(changes) if key.startswith("disk_")}
    values["disks"][0] |= disk
    return json.dumps(values | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "this is no JSON"),
        ("[" * 100_000, "this is no JSON"),
        ("[]", "no record of a backup that this version"),
        (changed(schema=2), "no record of a backup that this version"),
        (changed(disk_file="../../etc/passwd"), "damaged"),
        (changed(disk_file="/etc/passwd"), "damaged"),
        (changed(disk_file=".."), "damaged"),
        (changed(disk_image_format="vmdk"), "damaged"),
        (changed(stamp="../x"), "damaged"),
        (changed(since="now"), "damaged"),
        (changed(time_s=-1), "damaged"),
        (changed(time_s=True), "damaged"),
        (changed(time_s=10**18), "a time after the year 9999"),
        (changed(time_s=10**400), "damaged"),
        (changed(disk_capacity_bytes=2**63), "damaged"),
        (changed(kind="half"), "damaged"),
        (changed(name=7), "damaged"),
        (changed(disks=7), "damaged"),
        (json.dumps({"schema": 1}), "damaged"),
    ],
)
def test_a_record_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(ControlError, match=f"^here: .*{message}"):
        parse_record(text, "here")


def test_one_bad_record_hides_no_other(tmp_path: Path) -> None:
    write_record(str(tmp_path), RECORD)
    (tmp_path / "20260105T130000Z.json").write_text("{")
    (tmp_path / "20260105T140000Z.json").write_bytes(b" " * (LONGEST_RECORD_BYTES + 1))
    os.mkfifo(tmp_path / "20260105T150000Z.json")
    (tmp_path / "20260105T160000Z.json").symlink_to(tmp_path / "20260105T120000Z.json")
    (tmp_path / "notes.json").write_text("not a record")
    found, problems = read_backups(str(tmp_path))
    assert [each.record for each in found] == [RECORD]
    assert len(problems) == 4
    assert all(str(tmp_path) in problem for problem in problems)


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="nowhere: this backup folder cannot be read: No such file"):
        read_backups(str(tmp_path / "nowhere"))


def test_a_record_that_cannot_be_written_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match=r"20260105T120000Z\.json: the record of the backup cannot be written"):
        write_record(str(tmp_path / "nowhere"), RECORD)
