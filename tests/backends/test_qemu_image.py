"""Images from chains of backups, with the real qemu-img."""

import errno
import json
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from vmtop.backends import qemu_image
from vmtop.backends.qemu_image import check_header, check_image, restore_image
from vmtop.errors import ControlError, DamagedImageError
from vmtop.units import MIB

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-img") is None or shutil.which("qemu-io") is None,
    reason="qemu-img and qemu-io are not installed; apt install qemu-utils",
)

DISK = 16 * MIB
CLUSTER = 65536


def write(path: Path, byte: int, at_mib: int, mib: int = 1) -> None:
    command = f"write -P {byte} {at_mib}M {mib}M"
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", command, str(path)], check=True, capture_output=True)


@pytest.fixture
def chain(tmp_path: Path) -> list[tuple[str, str]]:
    """A full backup with ones, two changed places on top; the disk that the files name as theirs is gone."""
    live, full = tmp_path / "live.qcow2", tmp_path / "full.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(live), str(DISK)], check=True)
    write(live, 1, 0, 8)
    shutil.copy(live, full)
    changes = []
    for place, byte in ((2, 2), (9, 3)):
        change = tmp_path / f"inc{byte}.qcow2"
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(live), "-F", "qcow2", str(change)]
        subprocess.run(create, check=True)
        write(change, byte, place)
        changes.append((str(change), "qcow2"))
    live.unlink()
    return [(str(full), "qcow2"), *changes]


def contents(path: Path) -> bytes:
    raw = path.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(path), str(raw)], check=True)
    return raw.read_bytes()


def test_a_chain_becomes_one_image_that_stands_alone(chain: list[tuple[str, str]], tmp_path: Path) -> None:
    told: list[float] = []
    restored = tmp_path / "restored.qcow2"
    size = restore_image(chain, str(restored), told.append)
    expected = bytearray(b"\x01" * 8 * MIB + bytes(8 * MIB))
    expected[2 * MIB : 3 * MIB] = b"\x02" * MIB
    expected[9 * MIB : 10 * MIB] = b"\x03" * MIB
    assert contents(restored) == bytes(expected)
    assert size == restored.stat().st_blocks * 512
    assert told[-1] == 1.0
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", str(restored)]))
    assert "backing-filename" not in info


def test_a_shorter_chain_is_an_earlier_time(chain: list[tuple[str, str]], tmp_path: Path) -> None:
    restored = tmp_path / "restored.qcow2"
    restore_image(chain[:1], str(restored))
    assert contents(restored) == b"\x01" * 8 * MIB + bytes(8 * MIB)


def test_a_file_that_exists_is_never_touched(chain: list[tuple[str, str]], tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    with pytest.raises(ControlError, match="precious exists; a restore never overwrites"):
        restore_image(chain, str(target))
    assert target.read_text() == "precious"


def test_a_link_that_leads_nowhere_is_not_followed(chain: list[tuple[str, str]], tmp_path: Path) -> None:
    target = tmp_path / "link"
    target.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ControlError, match="link exists"):
        restore_image(chain, str(target))
    assert not (tmp_path / "elsewhere").exists()


def test_a_damaged_file_leaves_nothing_behind(chain: list[tuple[str, str]], tmp_path: Path) -> None:
    full = Path(chain[0][0])
    data = bytearray(full.read_bytes())
    data[40:48] = (1 << 62).to_bytes(8, "big")  # where the table of clusters is
    full.write_bytes(data)
    before = set(tmp_path.iterdir())
    with pytest.raises(ControlError, match=r"full\.qcow2: qemu-img finds it damaged"):
        restore_image(chain, str(tmp_path / "new.qcow2"))
    assert set(tmp_path.iterdir()) == before


def test_a_conversion_that_fails_says_why_and_leaves_nothing(
    chain: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path(chain[0][0])
    full.write_bytes(full.read_bytes()[:72] + b"\xff" * 8 + full.read_bytes()[80:])  # features nobody knows
    monkeypatch.setattr(qemu_image, "_HAS_DATA_FILE", 0)
    monkeypatch.setattr(qemu_image, "check_image", lambda *_: None)
    before = set(tmp_path.iterdir())
    with pytest.raises(ControlError, match="qemu-img could not build it: Could not open"):
        restore_image(chain, str(tmp_path / "new.qcow2"))
    assert set(tmp_path.iterdir()) == before


def test_too_little_space_is_said_before_anything_is_written(
    chain: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu_image, "SPARE_BYTES", 1 << 60)
    with pytest.raises(ControlError, match="MiB are free, and the image may take"):
        restore_image(chain, str(tmp_path / "new.qcow2"))


def test_a_folder_that_is_missing_is_named(chain: list[tuple[str, str]], tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="nowhere: No such file or directory"):
        restore_image(chain, str(tmp_path / "nowhere" / "new.qcow2"))


def test_a_whole_image_passes_although_its_backing_file_is_gone(chain: list[tuple[str, str]]) -> None:
    for path, image_format in chain:
        check_image(path, image_format)


def test_leaking_and_broken_images_are_told(chain: list[tuple[str, str]]) -> None:
    path = Path(chain[1][0])
    data = bytearray(path.read_bytes())
    data[3 * 65536 : 3 * 65536 + 8] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(ControlError, match="qemu-img finds it damaged"):
        check_image(str(path), "qcow2")


def test_an_image_that_keeps_its_data_elsewhere_is_refused(tmp_path: Path) -> None:
    secret, image = tmp_path / "secret", tmp_path / "trap.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={secret},data_file_raw=on"]
    subprocess.run([*create, str(image), str(DISK)], check=True)
    with pytest.raises(ControlError, match="keeps its data in another file"):
        restore_image([(str(image), "qcow2")], str(tmp_path / "new.qcow2"))


WRITES = {
    "data at its end": ("16M", "", ["write -P 1 0 3M", "write -P 2 9M 1000k"]),
    "several tables": ("2G", "", ["write -P 1 0 256k", "write -P 1 600M 64k", "write -P 1 1500M 64k"]),
    "a table of clusters at its end": ("600G", "", []),
    "small clusters": ("16M", "cluster_size=4k", ["write -P 1 0 256k"]),
    "an old version": ("16M", "compat=0.10", ["write -P 1 0 256k"]),
    "zeros only": ("16M", "", ["write -z 0 1M"]),
    "nothing": ("16M", "", []),
    "compressed data": ("16M", "", ["write -c -P 1 0 1M"]),
    "subclusters": ("33000K", "extended_l2=on", ["write -P 1 32990k 10k"]),
}


def make_image(path: Path, what: str) -> int:
    """An image with this in it; its length."""
    size, options, writes = WRITES[what]
    more = ["-o", options] if options else []
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *more, str(path), size], check=True)
    for command in writes:
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", command, str(path)], check=True, capture_output=True)
    return path.stat().st_size


@pytest.mark.parametrize("what", WRITES)
def test_an_image_of_any_length_is_whole_as_qemu_wrote_it(what: str, tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    make_image(image, what)
    check_image(str(image), "qcow2")


@pytest.mark.parametrize("what", [what for what in WRITES if what not in {"compressed data", "subclusters"}])
def test_an_image_that_was_cut_anywhere_is_damaged(what: str, tmp_path: Path) -> None:
    """`qemu-img check` finds no fault with some of these lengths."""
    image = tmp_path / "image.qcow2"
    length = make_image(image, what)
    missing = {1, 8, 512, 4096, CLUSTER - 1, CLUSTER}
    lengths = {104, length // 3, length // 2, *(CLUSTER * n for n in range(1, 5)), *(length - each for each in missing)}
    for left in sorted(each for each in lengths if 0 < each < length):
        cut = tmp_path / "cut.qcow2"
        shutil.copy(image, cut)
        os.truncate(cut, left)
        with pytest.raises(DamagedImageError, match=r"cut\.qcow2: (its end is missing: |qemu-img finds it)"):
            check_image(str(cut), "qcow2")


@pytest.mark.parametrize("what", ["compressed data", "subclusters"])
def test_what_need_not_fill_its_last_cluster_is_found_cut_where_a_whole_one_is_missing(
    what: str, tmp_path: Path
) -> None:
    image = tmp_path / "image.qcow2"
    length = make_image(image, what)
    os.truncate(image, length - CLUSTER)
    with pytest.raises(DamagedImageError):
        check_image(str(image), "qcow2")


def test_a_raw_image_that_is_shorter_than_its_disk_is_damaged(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(MIB))
    check_image(str(image), "raw", MIB)
    check_image(str(image), "raw")
    with pytest.raises(DamagedImageError, match=r"disk\.raw: it has 1048576 bytes, and the disk had 1048577"):
        check_image(str(image), "raw", MIB + 1)
    with pytest.raises(DamagedImageError, match="the disk had 1048577"):
        restore_image([(str(image), "raw")], str(tmp_path / "new.qcow2"), capacity_bytes=MIB + 1)


@pytest.mark.parametrize("data", [b"", b"QFI", b"raw bytes" * 20])
def test_what_is_no_image_is_said(data: bytes) -> None:
    with pytest.raises(ControlError, match="disk: this is no qcow2 image"):
        check_header(data, "disk")


def test_without_qemu_img_the_message_says_what_to_install(
    chain: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu_image, "PROGRAM", "qemu-img-that-is-not-there")
    with pytest.raises(ControlError, match="apt install qemu-utils"):
        restore_image(chain, str(tmp_path / "new.qcow2"))
    with pytest.raises(ControlError, match="apt install qemu-utils"):
        check_image(*chain[0])
    assert not list(tmp_path.glob(".*"))


def test_an_image_that_only_leaks_space_is_whole(chain: list[tuple[str, str]]) -> None:
    path = Path(chain[0][0])
    data = bytearray(path.read_bytes())
    (table,) = struct.unpack_from(">Q", data, 48)
    (counts,) = struct.unpack_from(">Q", data, table)
    data += bytes(-len(data) % CLUSTER) + bytes(CLUSTER)
    struct.pack_into(">H", data, counts + 2 * (len(data) // CLUSTER - 1), 1)  # the new last one is of nobody
    path.write_bytes(data)
    checked = subprocess.run(["qemu-img", "check", "-q", str(path)], check=False, capture_output=True)
    assert checked.returncode == 3
    check_image(str(path), "qcow2")


@pytest.mark.parametrize(
    ("at", "value"),
    [(20, (99).to_bytes(4, "big")), (36, b"\x7f\xff\xff\xff"), (24, b"\x7f" * 8), (CLUSTER, b"\xff" * 8)],
)
def test_an_image_whose_header_or_tables_make_no_sense_is_damaged(
    at: int, value: bytes, chain: list[tuple[str, str]]
) -> None:
    path = Path(chain[0][0])
    data = bytearray(path.read_bytes())
    data[at : at + len(value)] = value
    path.write_bytes(data)
    with pytest.raises(DamagedImageError, match="qemu-img finds it damaged"):
        check_image(str(path), "qcow2")


@pytest.mark.parametrize(
    ("code", "complaint", "expected"),
    [
        (-9, b"", "could not be checked: qemu-img was ended by signal 9"),
        (1, b"qemu-img: Could not open 'header table': Cannot allocate memory", "could not be checked: Could not open"),
        (1, b"qemu-img: Could not open 'x': Could not read L1 table: Input/output error", "could not be checked"),
        (1, b"qemu-img: Could not open 'x': Unsupported qcow2 version 9", "could not be checked"),
        (1, b"qemu-img: Check failed", "could not be checked: Check failed"),
        (63, b"qemu-img: This image format does not support checks", "could not be checked"),
    ],
)
def test_a_check_that_did_not_take_place_is_no_damage(
    code: int, complaint: bytes, expected: str, chain: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.CompletedProcess[bytes]([], code, b"", complaint)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(ControlError, match=expected) as caught:
        check_image(*chain[0])
    assert not isinstance(caught.value, DamagedImageError)


def test_a_program_that_cannot_be_started_is_no_damage(
    chain: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ControlError, match="qemu-img could not be started: Cannot allocate memory") as caught:
        check_image(*chain[0])
    assert not isinstance(caught.value, DamagedImageError)


def test_an_image_is_restored_where_there_are_no_hard_links(
    chain: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    restored = tmp_path / "restored.qcow2"
    restore_image(chain[:1], str(restored))
    assert contents(restored) == b"\x01" * 8 * MIB + bytes(8 * MIB)
    assert not list(tmp_path.glob(".*"))


def test_what_somebody_puts_in_the_place_meanwhile_is_kept(chain: list[tuple[str, str]], tmp_path: Path) -> None:
    target = tmp_path / "new.qcow2"

    def put(_ratio: float) -> None:
        target.write_text("precious")

    with pytest.raises(ControlError, match=r"new\.qcow2 appeared meanwhile"):
        restore_image(chain, str(target), put)
    assert target.read_text() == "precious"
    assert not list(tmp_path.glob(".*"))


def test_a_restore_that_is_interrupted_leaves_nothing(chain: list[tuple[str, str]], tmp_path: Path) -> None:
    def interrupt(_ratio: float) -> None:
        raise KeyboardInterrupt

    before = set(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        restore_image(chain, str(tmp_path / "new.qcow2"), interrupt)
    assert set(tmp_path.iterdir()) == before
