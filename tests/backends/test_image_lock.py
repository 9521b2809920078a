"""Whether somebody writes an image: QEMU's own locks."""

import shutil
import subprocess
from pathlib import Path

import pytest

from vmtop.backends.image_lock import is_any_written, is_written

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-img") is None or shutil.which("qemu-io") is None,
    reason="qemu-img and qemu-io are not installed; apt install qemu-utils",
)


@pytest.mark.parametrize(("options", "is_one"), [((), True), (("-r",), False)])
def test_who_writes_is_told_from_who_reads(options: tuple[str, ...], is_one: bool, tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "1M"], check=True)
    command = ["qemu-io", *options, "-f", "qcow2", str(image)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        # It answers when it has opened the image.
        program.stdin.write(b"length\n")
        program.stdin.flush()
        program.stdout.readline()
        assert is_written(image) is is_one
        program.communicate()
    assert not is_written(image)


def test_what_is_not_there_is_not_written_and_what_may_not_be_looked_at_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert is_written(tmp_path / "gone") is False
    assert is_written(tmp_path / "link") is None


def test_one_that_is_unknown_leaves_all_unknown(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert is_any_written([tmp_path / "gone"]) is False
    assert is_any_written([tmp_path / "gone", tmp_path / "link"]) is None
