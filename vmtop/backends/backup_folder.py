"""Backup folders: the records beside the files.

A folder may come from anywhere, so a record is foreign text: it is small, it names files of its own folder only, and
nothing in it is run or followed.
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vmtop.backends.image_lock import is_any_written
from vmtop.errors import ControlError
from vmtop.model.kind import BackupKind
from vmtop.model.recovery import RECORD_SCHEMA, BackupFolder, BackupRecord, DiskCopy, StoredBackup

RECORD_SUFFIX = ".json"
LONGEST_RECORD_BYTES = 256 * 1024
"""A record of a VM with 1,000 disks is shorter."""
_MOST = 2**63 - 1
"""Bytes that a file can have."""
_LAST_MOMENT_S = 253_402_300_799
_STAMP = re.compile(r"\d{8}T\d{6}Z")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
_FORMATS = ("qcow2", "raw")


def parse_record(text: str, where: str) -> BackupRecord:
    """A record from its JSON.

    Raises:
        ControlError: it is none; the text begins with `where`.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise ControlError(f"{where}: this is no JSON") from None
    if not isinstance(values, dict) or values.get("schema") != RECORD_SCHEMA:
        raise ControlError(f"{where}: this is no record of a backup that this version of vmtop knows")
    try:
        return BackupRecord(
            stamp=_matching(values["stamp"], _STAMP),
            time_s=_moment(values["time_s"]),
            uuid=_text(values["uuid"]),
            name=_text(values["name"]),
            kind=BackupKind(values["kind"]),
            since=None if values["since"] is None else _matching(values["since"], _STAMP),
            checkpoint=None if values["checkpoint"] is None else _text(values["checkpoint"]),
            disks=tuple(map(_disk, values["disks"])),
            is_done=values["is_done"] is True,
            checked_s=None if values["checked_s"] is None else _moment(values["checked_s"]),
            damage=None if values.get("damage") is None else _text(values["damage"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ControlError(f"{where}: the record of this backup is damaged ({error})") from None


def _disk(values: Mapping[str, Any]) -> DiskCopy:
    if values["image_format"] not in _FORMATS:
        raise ValueError(f"format {values['image_format']!r}")
    return DiskCopy(
        target=_text(values["target"]),
        file=_matching(values["file"], _FILE_NAME),
        image_format=values["image_format"],
        capacity_bytes=None if values["capacity_bytes"] is None else _whole(values["capacity_bytes"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _matching(value: object, pattern: re.Pattern[str]) -> str:
    text = _text(value)
    if not pattern.fullmatch(text):
        raise ValueError(f"{text!r} cannot be")
    return text


def _moment(value: object) -> int:
    number = _whole(value)
    if number > _LAST_MOMENT_S:
        raise ValueError("a time after the year 9999")
    return number


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise ValueError(f"{value!r} is no whole number")
    return value


def format_record(record: BackupRecord) -> str:
    """The JSON of a record."""
    return json.dumps({"schema": RECORD_SCHEMA, **asdict(record)}, indent=1) + "\n"


def reserve(folder: str, record: BackupRecord) -> None:
    """Write the first record of a backup, and with it claim its stamp: only one of several programs gets it.

    Raises:
        ControlError: another has it already, or nothing can be written; the text says why. Nothing is left then.
    """
    path = Path(folder, record.stamp + RECORD_SUFFIX)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise ControlError(f"{path}: there is a backup of this second already; try again") from None
    except OSError as error:
        raise _unwritable(path, error) from None
    os.close(descriptor)
    try:
        write_record(folder, record)
    except ControlError:
        with suppress(OSError):  # it is empty, and the one that is told matters more
            path.unlink()
        raise


def write_record(folder: str, record: BackupRecord) -> None:
    """Write a record, or a newer state of it, so that a reader never sees half of it.

    Raises:
        ControlError: it cannot be written; the text says why.
    """
    path = Path(folder, record.stamp + RECORD_SUFFIX)
    part = path.with_suffix(".json.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(format_record(record))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> ControlError:
    return ControlError(f"{path}: the record of the backup cannot be written: {error.strerror}")


def remove_backup(folder: str, record: BackupRecord) -> None:
    """Delete what a failed backup left: its files, then its record.

    Raises:
        ControlError: something cannot be deleted.
    """
    for name in (*(disk.file for disk in record.disks), record.stamp + RECORD_SUFFIX):
        try:
            Path(folder, name).unlink(missing_ok=True)
        except OSError as error:
            raise ControlError(f"{Path(folder, name)}: cannot be deleted: {error.strerror}") from None


def read_backups(folder: str, vm: str | None = None) -> BackupFolder:
    """All backups in a folder and the folders directly below it.

    Args:
        folder: The one that backups were sent to, or that of one VM in it.
        vm: Name or UUID: only the backups of this VM. None for all.

    Raises:
        ControlError: the folder cannot be read.
    """
    top = Path(folder).absolute()
    try:
        folders = [top, *(each for each in sorted(top.iterdir()) if each.is_dir() and not each.is_symlink())]
    except OSError as error:
        raise ControlError(f"{folder}: this backup folder cannot be read: {error.strerror}") from None
    backups: list[StoredBackup] = []
    problems: list[str] = []
    for each in folders:
        try:
            paths = _records(each)
        except OSError as error:
            problems.append(f"{each}: cannot be read: {error.strerror}")
            continue
        for path in paths:
            try:
                record = parse_record(_read_small(path), str(path))
            except ControlError as error:
                problems.append(str(error))
                continue
            if vm is None or vm in {record.name, record.uuid}:
                backups.append(_look(each, record))
    return BackupFolder(tuple(backups), tuple(problems))


def _records(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix == RECORD_SUFFIX and _STAMP.fullmatch(path.stem)]


def _read_small(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(LONGEST_RECORD_BYTES + 1)
    except OSError as error:
        raise ControlError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > LONGEST_RECORD_BYTES:
        raise ControlError(f"{path}: too long for the record of a backup")
    return data.decode(errors="replace")


def _look(folder: Path, record: BackupRecord) -> StoredBackup:
    sizes = {disk.file: _size(folder / disk.file) for disk in record.disks}
    return StoredBackup(
        folder=str(folder),
        record=record,
        missing=tuple(name for name, size in sizes.items() if size is None),
        size_bytes=sum(size for size in sizes.values() if size is not None),
        is_written=False if record.is_done else is_any_written(folder / name for name in sizes),
    )


def _size(path: Path) -> int | None:
    """Bytes that a plain file takes on its disk. None when there is none."""
    try:
        found = path.lstat()
    except OSError:  # not there or not to be seen is the same for whoever wants to restore from it
        return None
    return found.st_blocks * 512 if path.is_file() and not path.is_symlink() else None
