"""Who did what: one line of JSON for the begin and one for the end of every action, and nothing is done without.

    ~/.local/state/vmtop/audit.jsonl     (or below $XDG_STATE_HOME); `jq . audit.jsonl` shows it

libvirt's own audit names the daemon, not the person. The same lines go to syslog (authpriv), where the journal finds
them: `journalctl -t vmtop`. Lines are ASCII, so that no name of a VM can act on a terminal.
"""

import errno
import fcntl
import json
import os
import pwd
import syslog
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from types import NoneType
from typing import Any

from vmtop.errors import AuditError

UNDOABLE = {"balloon", "period"}
"""Actions that have an old value to go back to."""

_CHANGED = {None, "done", "failed", "pending"}
"""Outcomes after which a value may be another than before; None while there is none, or there never will be."""

_EMPTY = (None, "", ())

LOCK_WAIT_S = 2.0
"""How long another program may hold the file; a line takes milliseconds."""
_LOCK_LOOK_S = 0.02

_NO_LOGIN = 0xFFFF_FFFF
"""What the kernel tells of processes that no login started."""
_LONGEST_READ = 64 * 1024 * 1024
"""More is not read, only the end of the file."""


class Phase(StrEnum):
    """Which of the lines of an action."""

    STARTED = "started"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The person behind this process, as far as the system tells."""

    uid: int
    user: str
    """Name of that user; the number as text where it has none."""
    login_uid: int | None
    """Who logged in, whatever became of it since (sudo, su). Source: /proc/self/loginuid. None for services."""
    sudo_user: str | None
    """Source: SUDO_USER; None without sudo. The environment can be made up."""
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One line. All names in it are raw."""

    id: str
    """The same for the begin and the end of one action."""
    phase: Phase
    time_s: float
    """Wall clock, seconds since 1970."""
    uri: str
    uuid: str
    vm: str
    """Name of the VM."""
    action: str
    """Which command: balloon, period, snapshot, revert, snapshot-delete, backup, cancel, limit, resume; or
    rollback, restore, or clear for what a failed backup left."""
    sentence: str
    """What was asked for, in words."""
    old: int | None = None
    """Bytes of a balloon or seconds of a period before. None for other actions, or when it was not known."""
    new: int | None = None
    """The same as asked for; in the last line of an action that failed, where it was left."""
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    is_forced: bool = False
    outcome: str | None = None
    """done, failed, cancelled, refused or pending. None in the first line."""
    text: str = ""
    """How it ended, in words."""
    duration_s: float | None = None
    undoes: str | None = None
    """Id of the action that this one takes back. None for others."""
    who: Identity | None = None
    """Filled in by `Audit`. None in a line that does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """A change that can be taken back."""

    id: str
    """Of its record."""
    uuid: str
    vm: str
    action: str
    """balloon or period."""
    old: int
    new: int | None
    time_s: float
    """When it was done."""


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where all that this person's vmtop keeps across runs is."""
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME") or "/") / ".local" / "state")
    return Path(base) / "vmtop"


def audit_file(environ: Mapping[str, str]) -> Path:
    """Where the audit of this person is."""
    return state_folder(environ) / "audit.jsonl"


def read_identity(environ: Mapping[str, str], proc: Path = Path("/proc")) -> Identity:
    """Find out on whose behalf this process acts."""
    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    try:
        login_uid: int | None = int((proc / "self" / "loginuid").read_text())
    except (OSError, ValueError):
        # A kernel without audit, or another system: who logged in is unknown.
        login_uid = None
    return Identity(
        uid=uid,
        user=user,
        login_uid=None if login_uid == _NO_LOGIN else login_uid,
        sudo_user=environ.get("SUDO_USER"),
        pid=os.getpid(),
    )


def tell_syslog(line: str) -> None:
    """Say a line to syslog and the journal; nothing happens where there is neither."""
    syslog.openlog("vmtop", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    syslog.syslog(syslog.LOG_NOTICE, line)


class Audit:
    """The file, and the person whose actions go into it."""

    def __init__(self, path: Path, identity: Identity, tell: Callable[[str], None] = tell_syslog) -> None:
        self.path = path
        self._identity = identity
        self._tell = tell

    def write(self, record: AuditRecord) -> None:
        """Append one line and wait until the disk has it.

        Raises:
            AuditError: it cannot be written; names the file.
        """
        # Not `in`: 0 is a value, and equals False.
        values = asdict(replace(record, who=self._identity))
        known = {name: value for name, value in values.items() if value is not False and value not in _EMPTY}
        line = json.dumps(known, ensure_ascii=True)
        try:
            self._append(line)
        except OSError as error:
            raise AuditError(f"nothing is done without an audit, and {self.path}: {error.strerror}") from None
        self._tell(line)

    def read(self) -> tuple[AuditRecord, ...]:
        """All lines, the oldest first; torn and foreign ones are left out. Empty when there is no file.

        Raises:
            AuditError: it cannot be read; names the file.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_READ))
                content = file.read()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise AuditError(f"{self.path}: {error.strerror}") from None
        records = (parse_record(line) for line in content.decode(errors="replace").splitlines())
        return tuple(record for record in records if record is not None)

    def _lock(self, descriptor: int) -> None:
        """Have the file for oneself; whoever stops while it holds it must not hold up this program."""
        give_up_s = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= give_up_s:
                    raise OSError(errno.EWOULDBLOCK, "another program keeps it locked") from None
                time.sleep(_LOCK_LOOK_S)
            else:
                return

    def _append(self, line: str) -> None:
        folder = self.path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            self._lock(descriptor)
            size = os.fstat(descriptor).st_size
            # A line that a crash or a full disk cut short must not swallow this one.
            is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            content = (b"\n" if is_torn else b"") + line.encode() + b"\n"
            if os.write(descriptor, content) != len(content):
                raise OSError(0, "the disk took only a part of the line")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_FIELDS = {item.name for item in fields(AuditRecord)}
_NUMBERS = {"time_s": (int, float), "duration_s": (int, float), "old": (int,), "new": (int,)}


def parse_record(line: str) -> AuditRecord | None:
    """Turn a line into a record; None when it is none of ours, or not whole."""
    try:
        values = json.loads(line)
        if not isinstance(values, dict):
            return None
        known: dict[str, Any] = {name: value for name, value in values.items() if name in _FIELDS}
        known["phase"] = Phase(known["phase"])
        for name in ("refusals", "warnings"):
            known[name] = tuple(str(text) for text in known.get(name, ()))
        for name, kinds in _NUMBERS.items():
            if name in known and not isinstance(known[name], kinds):
                return None
        texts = ("id", "uri", "uuid", "vm", "action", "sentence")
        if not all(isinstance(known[name], str) for name in texts):
            return None
        known["who"] = _parse_identity(known.get("who"))
        return AuditRecord(**known)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _parse_identity(value: object) -> Identity | None:
    """Who it was; None when that is not told, or damaged."""
    if not isinstance(value, dict):
        return None
    kinds = {"uid": (int,), "user": (str,), "login_uid": (int, NoneType), "sudo_user": (str, NoneType), "pid": (int,)}
    if not all(isinstance(value.get(name), kind) for name, kind in kinds.items()):
        return None
    return Identity(**{name: value[name] for name in kinds})


def find_undoable(records: Iterable[AuditRecord], uri: str, since_s: float | None = None) -> tuple[Undo, ...]:
    """Changes of VMs of this source that were not taken back, the newest first.

    The last line of each action counts: moves that stopped halfway are changes, too, and those whose end nobody saw.

    Args:
        records: All lines, the oldest first.
        uri: The source.
        since_s: Wall clock when its world began; what was changed before is gone with the world before. None for a
            source that is always the same.
    """
    undone: set[str] = set()
    changes: dict[str, Undo] = {}
    for record in records:
        if record.uri != uri or (since_s is not None and record.time_s < since_s):
            continue
        if record.undoes is not None:
            if record.outcome == "done":
                undone.add(record.undoes)
            continue
        changes.pop(record.id, None)
        is_changed = record.outcome in _CHANGED and record.old is not None and record.old != record.new
        if record.action in UNDOABLE and is_changed and record.old is not None:
            changes[record.id] = Undo(
                id=record.id,
                uuid=record.uuid,
                vm=record.vm,
                action=record.action,
                old=record.old,
                new=record.new,
                time_s=record.time_s,
            )
    return tuple(change for change in reversed(changes.values()) if change.id not in undone)
