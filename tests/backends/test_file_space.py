import os
from pathlib import Path

from vmtop.backends.file_space import read_device, read_written_bytes


def test_what_lies_in_one_file_system_has_one_number(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert read_device(str(tmp_path / "a")) == read_device(str(tmp_path)) == tmp_path.stat().st_dev
    assert read_device("/proc") != read_device(str(tmp_path))
    assert read_device(str(tmp_path / "gone")) is None


def test_files_count_what_they_take_and_those_that_are_not_there_nothing(tmp_path: Path) -> None:
    full, sparse = tmp_path / "full", tmp_path / "sparse"
    full.write_bytes(b"x" * 65536)
    sparse.touch()
    os.truncate(sparse, 1 << 30)
    taken = read_written_bytes([str(full), str(sparse), str(tmp_path / "gone")])
    assert taken == (full.stat().st_blocks + sparse.stat().st_blocks) * 512
    assert taken < 1 << 20
