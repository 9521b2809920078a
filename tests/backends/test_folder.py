import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from vmtop.backends.folder import make_folder, read_folder, remove_files


def test_a_folder_tells_its_room_and_the_names_inside(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "one.qcow2").touch()
    seen = read_folder(str(tmp_path), "web")
    assert seen.exists
    assert seen.names == {"one.qcow2"}
    assert seen.free_bytes is not None and seen.free_bytes > 0
    assert seen.device == tmp_path.stat().st_dev
    assert read_folder(str(tmp_path), "other").names == frozenset()


def test_a_folder_that_is_not_there_or_is_none_says_so(tmp_path: Path) -> None:
    gone = read_folder(str(tmp_path / "gone"))
    assert (gone.exists, gone.free_bytes) == (False, None)
    (tmp_path / "file").touch()
    assert not read_folder(str(tmp_path / "file")).exists


def test_a_new_folder_can_be_passed_through_but_not_listed_by_others(tmp_path: Path) -> None:
    make_folder(str(tmp_path / "web"))
    make_folder(str(tmp_path / "web"))
    assert (tmp_path / "web").stat().st_mode & 0o077 == 0o011


def test_files_are_removed_and_those_that_stay_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "folder").mkdir()
    paths = [str(tmp_path / name) for name in ("a", "b", "folder")]
    assert remove_files(paths) == [str(tmp_path / "folder")]
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("number", [errno.EACCES, errno.ELOOP, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("holder, name", [(os, "statvfs"), (Path, "iterdir")])
def test_a_folder_that_cannot_be_looked_at_is_not_taken_for_empty(
    tmp_path: Path, holder: object, name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(holder, name, fail)
    where = tmp_path if name == "statvfs" else tmp_path / "web"
    assert read_folder(str(tmp_path), "web").why_unseen == f"{where} cannot be looked at: {os.strerror(number)}"


def test_a_loop_or_a_file_in_place_of_the_inner_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    assert "cannot be looked at: Too many levels" in (read_folder(str(tmp_path / "loop")).why_unseen or "")
    assert "cannot be looked at: Not a directory" in (read_folder(str(tmp_path), "file").why_unseen or "")
    assert read_folder(str(tmp_path), "new").why_unseen is None
