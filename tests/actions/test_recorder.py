"""What is kept beside the files of a backup, from its begin to its end."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.actions.rig import Rig
from tests.actions.scenes import ID, make_checkpoint, make_disk, make_storage
from tests.clocks import HandClock
from vmtop.actions.action import BackupRun, Ending
from vmtop.actions.command import StartBackup
from vmtop.actions.recorder import Recorder, build_record, check_backup_files, files_without_worth
from vmtop.actions.runner import Runner
from vmtop.backends import qemu_image
from vmtop.backends.backup_folder import read_backups, write_record
from vmtop.errors import ControlError, DamagedImageError
from vmtop.model.kind import BackupKind
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.recovery import StoredBackup
from vmtop.model.storage import BackupRequest
from vmtop.units import GIB, MIB

needs_images = pytest.mark.skipif(
    shutil.which("qemu-img") is None, reason="qemu-img is not installed; apt install qemu-utils"
)
NOON_S = 1_767_614_400.0
STAMP = "20260105T120000Z"


def make_run(folder: Path, **changes: Any) -> BackupRun:
    values: dict[str, Any] = {
        "uuid": ID,
        "vm": "web-1",
        "uri": "qemu:///system",
        "is_here": True,
        "request": BackupRequest(
            targets={"vda": str(folder / f"{STAMP}.full.vda.qcow2")},
            formats={"vda": "qcow2"},
            checkpoint=f"vmtop-{STAMP}",
        ),
        "disks": (make_disk(),),
        "began_s": NOON_S + 0.9,
        "is_over": False,
        "is_good": None,
        "error": None,
        "processed_bytes": None,
    }
    return BackupRun(**{**values, **changes})


def make_image(run: BackupRun) -> Path:
    path = Path(run.request.targets["vda"])
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], check=True)
    return path


def only(folder: Path) -> StoredBackup:
    (backup,), problems = read_backups(str(folder))
    assert problems == ()
    return backup


@pytest.fixture
def keep() -> Recorder:
    return Recorder(HandClock(60.0))


def test_a_record_tells_what_is_known_at_the_begin(tmp_path: Path) -> None:
    folder, record = build_record(make_run(tmp_path))
    assert folder == str(tmp_path)
    assert (record.stamp, record.time_s, record.uuid, record.name) == (STAMP, NOON_S, ID, "web-1")
    assert (record.kind, record.since, record.checkpoint) == (BackupKind.FULL, None, f"vmtop-{STAMP}")
    (disk,) = record.disks
    assert (disk.target, disk.file, disk.image_format) == ("vda", f"{STAMP}.full.vda.qcow2", "qcow2")
    assert disk.capacity_bytes == 20 * GIB
    assert (record.is_done, record.checked_s) == (False, None)


def test_an_incremental_backup_names_the_one_that_it_stands_on(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    request = replace(run.request, since="vmtop-20260104T120000Z")
    _, record = build_record(replace(run, request=request, disks=()))
    assert (record.kind, record.since) == (BackupKind.INCREMENTAL, "20260104T120000Z")
    assert record.disks[0].capacity_bytes is None


def test_only_one_of_two_programs_gets_the_same_second(tmp_path: Path, keep: Recorder) -> None:
    keep(make_run(tmp_path))
    (record,) = tmp_path.iterdir()
    with pytest.raises(ControlError, match="there is a backup of this second already; try again"):
        keep(make_run(tmp_path, vm="another"))
    assert list(tmp_path.iterdir()) == [record]
    assert only(tmp_path).record.name == "web-1"


@needs_images
def test_a_good_backup_is_recorded_checked_and_done(tmp_path: Path, keep: Recorder) -> None:
    run = make_run(tmp_path)
    keep(run)
    make_image(run)
    assert not only(tmp_path).record.is_done
    keep(replace(run, is_over=True, is_good=True))
    record = only(tmp_path).record
    assert (record.is_done, record.checked_s, record.damage) == (True, NOON_S + 60, None)


def test_of_a_backup_that_failed_nothing_stays(tmp_path: Path, keep: Recorder) -> None:
    run = make_run(tmp_path)
    keep(run)
    Path(run.request.targets["vda"]).write_bytes(b"half")
    (tmp_path / "other").touch()
    keep(replace(run, is_over=True, is_good=False))
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_backup_whose_end_nobody_told_stays_as_one_that_never_ended(tmp_path: Path, keep: Recorder) -> None:
    run = make_run(tmp_path)
    keep(run)
    keep(replace(run, is_over=True, is_good=None))
    assert not only(tmp_path).record.is_done


def test_of_files_that_are_elsewhere_there_is_no_record(tmp_path: Path, keep: Recorder) -> None:
    run = make_run(tmp_path, is_here=False)
    keep(run)
    keep(replace(run, is_over=True, is_good=True))
    assert list(tmp_path.iterdir()) == []


@needs_images
def test_a_damaged_backup_is_recorded_as_such_and_said(tmp_path: Path, keep: Recorder) -> None:
    run = make_run(tmp_path, is_over=True, is_good=True)
    Path(run.request.targets["vda"]).write_bytes(b"no image")
    with pytest.raises(DamagedImageError, match="this is no qcow2 image"):
        keep(run)
    backup = only(tmp_path)
    assert backup.record.damage is not None
    assert "this is no qcow2 image" in backup.record.damage


def test_files_that_cannot_be_checked_are_not_called_damaged(
    tmp_path: Path, keep: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, record = build_record(make_run(tmp_path))
    with pytest.raises(ControlError):
        check_backup_files(str(tmp_path), record, 1.0)  # there is no such file
    make_image(make_run(tmp_path))
    monkeypatch.setattr(qemu_image, "PROGRAM", "qemu-img-that-is-not-there")
    keep(make_run(tmp_path, is_over=True, is_good=True))
    assert (only(tmp_path).record.is_done, only(tmp_path).record.checked_s) == (True, None)


def test_a_record_that_cannot_be_written_is_said(tmp_path: Path, keep: Recorder) -> None:
    with pytest.raises(ControlError, match="the record of the backup cannot be written: No such file"):
        keep(make_run(tmp_path / "gone"))


def test_no_backup_goes_on_from_one_that_never_ended_or_is_broken_below(tmp_path: Path) -> None:
    assert files_without_worth(str(tmp_path / "gone")) == frozenset()
    folder, record = build_record(make_run(tmp_path))
    file = Path(make_run(tmp_path).request.targets["vda"])
    file.touch()
    assert file.name in files_without_worth(folder), "no record"
    write_record(folder, record)
    assert file.name in files_without_worth(folder), "never ended"
    write_record(folder, replace(record, is_done=True))
    assert file.name not in files_without_worth(folder)
    later = replace(record, stamp="20260105T130000Z", kind=BackupKind.INCREMENTAL, since=STAMP, is_done=True)
    write_record(folder, replace(later, disks=(replace(record.disks[0], file="later.qcow2"),)))
    (tmp_path / "later.qcow2").touch()
    assert "later.qcow2" not in files_without_worth(folder)
    file.unlink()
    assert "later.qcow2" in files_without_worth(folder), "broken below"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Its runner keeps records, and its hypervisor writes no files."""
    rig = Rig(tmp_path)
    rig.is_local = True
    rig.see()
    rig.runner = Runner(
        rig.source,
        rig.audit,
        rig.newest,
        DEFAULT_POLICY,
        rig.clock,
        on_backup=Recorder(rig.clock),
        spawn=lambda work: work(),
    )
    return rig


def test_the_runner_builds_on_good_backups_only(rig: Rig, tmp_path: Path) -> None:
    def refusals(command: StartBackup) -> tuple[str, ...]:
        return rig.runner.judge(command).refusals

    inner = tmp_path / "web-1-00000000"
    full = StartBackup(uuid=ID, folder=str(tmp_path))
    rig.runner.submit(full)
    record = only(inner).record
    (inner / record.disks[0].file).touch()
    rig.source.storage = make_storage(checkpoints=(make_checkpoint(f"vmtop-{record.stamp}", dirty_bytes=MIB),))
    rig.clock.sleep(1)
    rig.see()
    changes = replace(full, is_incremental=True)
    assert "no backup of vmtop that this one could go on from is there; make a full one first" in refusals(changes)
    write_record(str(inner), replace(record, is_done=True))
    assert refusals(changes) == ()


@needs_images
@pytest.mark.parametrize(("is_whole", "ending"), [(True, Ending.DONE), (False, Ending.FAILED)])
def test_a_backup_that_is_not_whole_is_no_success(is_whole: bool, ending: Ending, rig: Rig, tmp_path: Path) -> None:
    action = rig.runner.submit(StartBackup(uuid=ID, folder=str(tmp_path)))
    inner = tmp_path / "web-1-00000000"
    path = inner / only(inner).record.disks[0].file
    make_image(make_run(inner, request=replace(make_run(inner).request, targets={"vda": str(path)})))
    if not is_whole:
        path.write_bytes(b"no image")
    rig.end_backup(is_good=True)
    rig.second()
    outcome = next(each.outcome for each in rig.runner.actions() if each.id == action.id)
    assert outcome is not None
    assert outcome.ending is ending
    assert outcome.text == ("done: 3.0G copied" if is_whole else f"ended: 3.0G copied; {path}: this is no qcow2 image")
