"""What vmtop began and has yet to see to, on disk: a later vmtop goes on where one was ended, killed or switched off.

    ~/.local/state/vmtop/open/ID.json     (or below $XDG_STATE_HOME); a file for each, gone when it is seen to

Whoever sees to one holds a lock on its file. The kernel lets go of that when the program ends, however it ends, so two
programs never see to the same. What these files say is done, up to the removal of files, so only those count that
nobody but this user can write.
"""

import fcntl
import json
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from vmtop.actions.audit import state_folder
from vmtop.errors import AuditError
from vmtop.model.storage import BackupRequest, DiskInfo

SCHEMA = 1
_LONGEST_BYTES = 1024 * 1024
"""A backup of 1,000 disks takes less."""
_SUFFIX = ".json"
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBackup:
    """A backup that was begun, or was about to be, and whose end was not seen."""

    id: str
    """Of its action, as in the audit: 32 hexadecimal digits."""
    uri: str
    uuid: str
    vm: str
    """Name of the VM; foreign text."""
    sentence: str
    """What was asked for; foreign text."""
    folder: str
    is_incremental: bool
    request: BackupRequest
    disks: tuple[DiskInfo, ...]
    has_folder: bool
    """Its files are on this machine."""
    submitted_s: float
    """Wall clock."""
    began_s: float
    """Clock of the samples, which names its files."""
    asked_s: float
    """Wall clock right before libvirt was asked to begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCheckpoint:
    """A checkpoint of a failed backup that could not be deleted yet."""

    id: str
    uri: str
    uuid: str
    vm: str
    name: str
    """Of the checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPeriod:
    """A statistics period that is to be put back when vmtop ends."""

    id: str
    """Of the action that is to put it back."""
    uri: str
    uuid: str
    vm: str
    set_by: str
    """Id of the action that set it."""
    period_s: int
    """As vmtop set it; another one is not touched."""
    before_s: int
    """What it is put back to."""


Entry = OpenBackup | OpenCheckpoint | OpenPeriod
_KINDS: Mapping[str, type[Entry]] = MappingProxyType(
    {"backup": OpenBackup, "checkpoint": OpenCheckpoint, "period": OpenPeriod}
)


class Found(NamedTuple):
    """What nobody saw to any more."""

    entries: tuple[Entry, ...]
    problems: tuple[str, ...]
    """A sentence for each file that cannot be used; foreign text."""


class Ledger:
    """The entries of all programs of this user; its methods may be called from any thread."""

    def __init__(self, folder: Path | None) -> None:
        """`folder`: where they lie. None where nothing outlives this program, and nothing need be kept."""
        self._folder = folder
        self._lock = threading.Lock()
        self._held: dict[str, int] = {}
        """Id -> descriptor of the file, with our lock on it."""

    def open(self, entry: Entry) -> None:
        """Keep in mind what has to be seen to; the same id again takes the place of what was kept.

        Raises:
            AuditError: it cannot be written; names the file.
        """
        if self._folder is None:
            return
        path = self._path(self._folder, entry.id)
        part = path.with_suffix(".part")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                # Under another name first, and locked before it has its own: nobody takes it for one that was left.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.fchmod(descriptor, 0o600)
                _write_all(descriptor, format_entry(entry).encode())
                os.fsync(descriptor)
                part.replace(path)
            except OSError:
                os.close(descriptor)
                raise
        except OSError as error:
            text = f"{path}: what vmtop has to see to later cannot be written down: {error.strerror}"
            raise AuditError(text) from None
        with self._lock:
            before = self._held.pop(entry.id, None)
            self._held[entry.id] = descriptor
        if before is not None:
            os.close(before)

    def close(self, entry_id: str) -> None:
        """It was seen to.

        Raises:
            AuditError: its file cannot be removed; names it.
        """
        with self._lock:
            descriptor = self._held.pop(entry_id, None)
        if self._folder is None or descriptor is None:
            return
        path = self._path(self._folder, entry_id)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise AuditError(f"{path}: cannot be removed: {error.strerror}") from None
        finally:
            os.close(descriptor)

    def release(self, entry_id: str) -> None:
        """It could not be seen to: leave it to a later run."""
        with self._lock:
            descriptor = self._held.pop(entry_id, None)
        if descriptor is not None:
            os.close(descriptor)

    def leave(self) -> None:
        """Leave everything to whoever comes next."""
        with self._lock:
            held, self._held = self._held, {}
        for descriptor in held.values():
            os.close(descriptor)

    def adopt(self, is_wanted: Callable[[Entry], bool]) -> Found:
        """Take over what nobody sees to any more, as far as it is wanted.

        Raises:
            AuditError: the folder cannot be read; names it.
        """
        entries, problems = [], []
        for path in self._paths():
            try:
                entry = self._take(path, is_wanted)
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else str(error)
                problems.append(f"{path}: what an earlier vmtop left to be seen to cannot be used: {why}")
            else:
                entries += [] if entry is None else [entry]
        return Found(tuple(entries), tuple(problems))

    def _paths(self) -> Iterator[Path]:
        if self._folder is None:
            return
        try:
            paths = sorted(self._folder.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise AuditError(f"{self._folder}: {error.strerror}") from None
        yield from (path for path in paths if path.suffix == _SUFFIX and _ID.fullmatch(path.stem))

    def _take(self, path: Path, is_wanted: Callable[[Entry], bool]) -> Entry | None:
        """None when somebody has it, it is seen to meanwhile, or is not wanted."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        is_taken = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(descriptor).st_nlink:
                return None
            _check_owner(os.fstat(descriptor))
            entry = parse_entry(os.pread(descriptor, _LONGEST_BYTES, 0).decode(), path.stem)
            if is_wanted(entry):
                with self._lock:
                    self._held[entry.id] = descriptor
                is_taken = True
                return entry
        except BlockingIOError:  # whoever began it, or took it over, is alive
            return None
        finally:
            if not is_taken:
                os.close(descriptor)
        return None

    @staticmethod
    def _path(folder: Path, entry_id: str) -> Path:
        if not _ID.fullmatch(entry_id):
            raise ValueError(f"{entry_id!r} is no id of an action")
        return folder / f"{entry_id}{_SUFFIX}"


def ledger_folder(environ: Mapping[str, str]) -> Path:
    """Where the ledger of this person is."""
    return state_folder(environ) / "open"


def _check_owner(found: os.stat_result) -> None:
    is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
    if not is_ours or stat.S_IMODE(found.st_mode) & 0o022:
        raise ValueError("somebody else may have written it")


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def format_entry(entry: Entry) -> str:
    """The JSON of an entry."""
    kind = next(name for name, each in _KINDS.items() if isinstance(entry, each))
    return json.dumps({"schema": SCHEMA, "kind": kind, **asdict(entry)}, indent=1) + "\n"


def parse_entry(text: str, entry_id: str) -> Entry:
    """An entry from its JSON.

    Raises:
        ValueError: it is none, or has another id; says why.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(values, dict) or values.pop("schema", None) != SCHEMA:
        raise ValueError("this version of vmtop does not know its form")
    try:
        kind = _KINDS[values.pop("kind")]
        if kind is OpenBackup:
            values["request"] = _parse_request(values["request"])
            values["disks"] = tuple(DiskInfo(**disk) for disk in values["disks"])
        entry = kind(**values)
        _check_types(entry)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is damaged ({error})") from None
    if entry.id != entry_id:
        raise ValueError("it has the name of another")
    return entry


def _parse_request(values: Mapping[str, Any]) -> BackupRequest:
    request = BackupRequest(**values)
    if not isinstance(request.targets, dict) or not isinstance(request.formats, dict):
        raise TypeError("files or formats are no table")
    if not request.targets or request.targets.keys() != request.formats.keys():
        raise TypeError("files and formats do not belong together")
    for path in request.targets.values():
        # They may be removed when it turns out that the backup failed.
        if not isinstance(path, str) or not path.startswith("/"):
            raise TypeError(f"{path!r} is no path")
    return request


_LAST_MOMENT_S = 253_402_300_799
"""The end of the year 9999; no period is that long either."""
_TEXTS = ("id", "uri", "uuid", "vm", "sentence", "folder", "name", "set_by")
_NUMBERS = ("submitted_s", "began_s", "asked_s", "period_s", "before_s")


def _check_types(entry: Entry) -> None:
    checks: tuple[tuple[tuple[str, ...], Callable[[Any], bool]], ...] = (
        (_TEXTS, lambda value: isinstance(value, str)),
        (_NUMBERS, lambda value: isinstance(value, int | float) and 0 <= value <= _LAST_MOMENT_S),
    )
    for names, is_right in checks:
        for name in names:
            with suppress(AttributeError):  # kinds of entries differ in what they have
                if not is_right(getattr(entry, name)):
                    raise TypeError(f"{name} cannot be {str(getattr(entry, name))[:40]!r}")
