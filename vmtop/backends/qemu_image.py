"""Disk images through `qemu-img`: are they whole, and a new image from a chain of backups.

The backing file that an incremental backup names is the live disk of the VM, so what is written in an image is never
followed: each file of a chain is opened by the description that we give. Source: qemu-img(1), QEMU
docs/interop/qcow2.rst and the `BlockdevOptions` of its QAPI schema.
"""

import errno
import json
import os
import re
import stat
import struct
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from io import RawIOBase
from pathlib import Path
from typing import Any, NamedTuple

from vmtop.errors import ControlError, DamagedImageError
from vmtop.units import MIB

PROGRAM = "qemu-img"
CHECK_LIMIT_S = 3600.0
"""A check reads the tables of an image, not its data; an hour is enough for any."""
SPARE_BYTES = 16 * MIB
"""Free space that must remain beside a new image."""

_MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sI12xIQ4xIQQIIQQ8xQ")
"""Magic, version, bits of a cluster at 20, size of the disk, number (at 36) and place of the entries of the table of
clusters, place and clusters of the table of reference counts, number of snapshots at 60, their place, features that
must be understood at 72, and features that say what else is true at 88."""
_FIRST_WITH_FEATURES = 3
_HAS_DATA_FILE, _HAS_SUBCLUSTERS = 4, 16
_HAS_BITMAPS = 1
_CLUSTER_BITS = range(9, 22)
_ENTRY_BYTES = 8
_IN_USE = b"Is another process using the image"
"""How `qemu-img` ends its complaint about a lock that QEMU holds."""
_CORRUPT, _LEAKS = 2, 3
"""How `qemu-img check` ends: data is lost; space is lost, and no data. With 1 it could not do its work."""
_NOT_OPENED = b"Could not open "
_NOT_KNOWN = re.compile(r"feature|version|allocate")
"""Why a sound image is not opened: it is of a newer QEMU, or memory is short."""
_OF_THE_HOST = {os.strerror(number) for number in errno.errorcode if number not in {errno.EINVAL, errno.EFBIG}}
"""How a complaint ends that is not about what stands in the image."""
_PROGRESS = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")


def check_header(data: bytes, where: str) -> int:
    """Size of the disk in a qcow2 image whose first bytes these are.

    Raises:
        DamagedImageError: it is no such image, or one that keeps its data in another file; begins with `where`.
    """
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise DamagedImageError(f"{where}: this is no qcow2 image")
    header = _Header(*_HEADER.unpack_from(data))
    if header.version >= _FIRST_WITH_FEATURES and header.features & _HAS_DATA_FILE:
        raise DamagedImageError(f"{where}: this image keeps its data in another file; a backup never does")
    return header.capacity_bytes


def is_cut(data: bytes, length_bytes: int, told: Mapping[str, Any]) -> bool:
    """The end of a qcow2 image is missing, which `qemu-img check` takes for zeros or space that was never used.

    QEMU gives files whole clusters. Part of the last one may only be missing where something lies in it that need not
    fill it: the end of a table, compressed data, subclusters (extended_l2) of which the last were never written.

    Args:
        data: Its first bytes, as `check_header` takes them.
        length_bytes: Of the file.
        told: What `qemu-img check --output=json` printed.
    """
    header = _Header(*_HEADER.unpack_from(data))
    if header.cluster_bits not in _CLUSTER_BITS:
        return False  # of which qemu-img says enough
    cluster_bytes = 1 << header.cluster_bits
    clusters_end = header.clusters_at + _ENTRY_BYTES * header.clusters
    counts_end = header.counts_at + cluster_bytes * header.counts
    end = told.get("image-end-offset")
    if length_bytes < max(clusters_end, counts_end):
        return True
    if not isinstance(end, int) or length_bytes >= end:
        return False
    has_bitmaps = header.version >= _FIRST_WITH_FEATURES and header.more_features & _HAS_BITMAPS
    has_subclusters = header.version >= _FIRST_WITH_FEATURES and header.features & _HAS_SUBCLUSTERS
    may_end_early = told.get("compressed-clusters") or header.snapshots or has_bitmaps or has_subclusters
    return end - length_bytes >= cluster_bytes or not (may_end_early or clusters_end > end - cluster_bytes)


class _Header(NamedTuple):
    magic: bytes
    version: int
    cluster_bits: int
    capacity_bytes: int
    clusters: int
    clusters_at: int
    counts_at: int
    counts: int
    snapshots: int
    snapshots_at: int
    features: int
    more_features: int


def check_image(path: str, image_format: str, capacity_bytes: int | None = None) -> None:
    """Have an image checked; `qemu-img check FILE`. One that leaks space is whole.

    Args:
        path: Of the file.
        image_format: qcow2 or raw.
        capacity_bytes: Of the disk, which is the length of a raw file; of that nothing else can be checked. None where
            it is not known.

    Raises:
        DamagedImageError: it is damaged.
        ControlError: it cannot be checked: it cannot be read, or `qemu-img` is missing, or was ended.
    """
    node = _node(path, image_format)
    if image_format == "raw":
        length_bytes = _look(path)[1]
        if capacity_bytes is not None and length_bytes < capacity_bytes:
            raise DamagedImageError(f"{path}: it has {length_bytes} bytes, and the disk had {capacity_bytes}")
        return
    ended = _run([PROGRAM, "check", "--output=json", "json:" + json.dumps(node | {"backing": None})], CHECK_LIMIT_S)
    if ended.returncode in {0, _LEAKS}:
        data, length_bytes = _look(path)
        if is_cut(data, length_bytes, _told(ended.stdout)):
            raise DamagedImageError(f"{path}: its end is missing: it has only {length_bytes} bytes")
        return
    if _IN_USE in ended.stderr:
        raise ControlError(f"{path}: still being written, so it cannot be checked yet")
    if ended.returncode < 0:
        raise ControlError(f"{path}: could not be checked: qemu-img was ended by signal {-ended.returncode}")
    told = _told(ended.stdout)
    why = _counts(told) or _last_line(ended.stderr) or "it does not say why"
    if ended.returncode == _CORRUPT or told.get("corruptions") or _is_broken(ended.stderr):
        raise DamagedImageError(f"{path}: qemu-img finds it damaged: {why}")
    raise ControlError(f"{path}: could not be checked: {why}")


def restore_image(
    chain: Sequence[tuple[str, str]],
    to_path: str,
    on_progress: Callable[[float], None] = lambda _ratio: None,
    *,
    capacity_bytes: int | None = None,
) -> int:
    """Write a qcow2 image, complete in itself, from a chain of backups; `qemu-img convert`.

    Args:
        chain: (path, format) of each file, the full backup first.
        to_path: A file that does not exist yet; it stays empty until it is complete.
        on_progress: Called now and then with the share that is done, 0 to 1.
        capacity_bytes: Of the disk. None where it is not known.

    Returns:
        The size of the file in bytes.

    Raises:
        ControlError: the target exists, space is short, a file is damaged; nothing is left behind.
    """
    check_restore(chain, to_path, capacity_bytes)
    target = Path(to_path).absolute()
    node: dict[str, Any] | None = None
    for path, image_format in chain:
        node = _node(path, image_format) | ({} if image_format == "raw" else {"backing": node})
    source = "json:" + json.dumps(node)
    _reserve(target)
    try:
        return _fill(target, source, on_progress)
    except BaseException:  # Ctrl+C, too
        if _is_reserved(target):
            target.unlink()
        raise


def check_restore(chain: Sequence[tuple[str, str]], to_path: str, capacity_bytes: int | None = None) -> None:
    """Look whether `restore_image` can do what it is asked; `qemu-img check` of each file.

    Raises:
        ControlError: the target exists, space is short, a file is damaged.
    """
    target = Path(to_path).absolute()
    if os.path.lexists(target):
        raise ControlError(f"{target} exists; a restore never overwrites: name a new file")
    _check_space(chain, target)
    for path, image_format in chain:  # a damaged table reads as zeros, and nobody would notice
        check_image(path, image_format, capacity_bytes)


def _reserve(target: Path) -> None:
    """Take the name with an empty file: not every file system has links, and a rename alone would overwrite."""
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise _taken(target) from None
    except OSError as error:
        raise ControlError(f"{target}: cannot be written: {error.strerror}") from None


def _is_reserved(target: Path) -> bool:
    """The name still stands for nothing but our empty file."""
    try:
        found = target.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == 0


def _fill(target: Path, source: str, on_progress: Callable[[float], None]) -> int:
    """Build the image beside its reserved name, and give it that name; tells how large it is."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:200]}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise ControlError(f"{target.parent}: no file can be written there: {error.strerror}") from None
    os.close(descriptor)
    part = Path(name)
    try:
        _convert([PROGRAM, "convert", "-p", "-O", "qcow2", source, name], str(target), on_progress)
        size_bytes = part.stat().st_blocks * 512
        if os.path.lexists(target) and not _is_reserved(target):
            raise _taken(target)
        part.replace(target)
    except OSError as error:
        raise ControlError(f"{target}: cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    return size_bytes


def _taken(target: Path) -> ControlError:
    return ControlError(f"{target} appeared meanwhile; a restore never overwrites: name a new file")


def _node(path: str, image_format: str) -> dict[str, Any]:
    if image_format == "qcow2":
        check_header(_look(path)[0], path)
    elif not os.access(path, os.R_OK):
        raise ControlError(f"{path}: cannot be read")
    return {"driver": image_format, "file": {"driver": "file", "filename": path}}


def _look(path: str) -> tuple[bytes, int]:
    """The header of an image, and the length of its file."""
    try:
        with Path(path).open("rb") as file:
            return file.read(_HEADER.size), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise ControlError(f"{path}: cannot be read: {error.strerror}") from None


def _check_space(chain: Sequence[tuple[str, str]], target: Path) -> None:
    """What the files of the chain take is the most that the new image can take."""
    try:
        needed = sum(Path(path).stat().st_blocks * 512 for path, _ in chain)
        room = os.statvfs(target.parent)
    except OSError as error:
        raise ControlError(f"{error.filename}: {error.strerror}") from None
    free = room.f_bavail * room.f_frsize
    if free < needed + SPARE_BYTES:
        raise ControlError(
            f"{target.parent}: {free // MIB} MiB are free, and the image may take {needed // MIB} MiB; "
            "choose another folder"
        )


def _run(arguments: Sequence[str], limit_s: float) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(arguments, capture_output=True, timeout=limit_s, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        raise _no_program() from None
    except OSError as error:
        raise _not_started(error) from None
    except subprocess.TimeoutExpired:
        raise ControlError(f"{PROGRAM} did not end within {limit_s:g} s") from None


def _convert(arguments: Sequence[str], what: str, on_progress: Callable[[float], None]) -> None:
    with tempfile.TemporaryFile() as errors:
        reader, writer = os.pipe()
        try:
            process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=writer, stderr=errors)
        except OSError as error:
            os.close(reader)
            raise (_no_program() if isinstance(error, FileNotFoundError) else _not_started(error)) from None
        finally:
            os.close(writer)
        with process, os.fdopen(reader, "rb", buffering=0) as output:
            try:
                _tell_progress(output, on_progress)
            except BaseException:  # Ctrl+C or a display that failed: nobody waits for the image any more
                process.kill()
                raise
        if process.returncode != 0:
            errors.seek(0)
            raise ControlError(f"{what}: qemu-img could not build it: {_last_line(errors.read())}")


def _tell_progress(output: RawIOBase, on_progress: Callable[[float], None]) -> None:
    while part := output.read(4096):
        found = _PROGRESS.findall(part)
        if found:
            on_progress(min(1.0, float(found[-1]) / 100))


def _no_program() -> ControlError:
    return ControlError(
        f"{PROGRAM} is not installed, and images cannot be read without it; "
        "install it: `apt install qemu-utils`, `dnf install qemu-img` or `pacman -S qemu-img`"
    )


def _not_started(error: OSError) -> ControlError:
    return ControlError(f"{PROGRAM} could not be started: {error.strerror}")


def _is_broken(complaint: bytes) -> bool:
    """An image is not opened for what stands in it: its header or its tables make no sense."""
    if _NOT_OPENED not in complaint:
        return False
    reason = _last_line(complaint).rpartition("': ")[2]  # what comes before it is a path, and may be any words
    return reason.rpartition(": ")[2] not in _OF_THE_HOST and not _NOT_KNOWN.search(reason)


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix(f"{PROGRAM}: ") if lines else ""


def _counts(told: Mapping[str, Any]) -> str:
    """What `qemu-img check --output=json` counted."""
    return ", ".join(f"{told[name]} {name}" for name in ("corruptions", "leaks", "check-errors") if told.get(name))


def _told(output: bytes) -> Mapping[str, Any]:
    try:
        told = json.loads(output)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
