from pathlib import Path

from vmtop.actions.folder import make_folder, read_folder, remove_files


def test_a_folder_tells_its_room_and_the_names_inside(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "one.qcow2").touch()
    seen = read_folder(str(tmp_path), "web")
    assert seen.exists
    assert seen.names == {"one.qcow2"}
    assert seen.free_bytes is not None and seen.free_bytes > 0
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
