"""Files of /proc and /sys, which are read again and again, and may be missing, forbidden, empty or odd."""

import os
import resource
from collections.abc import Callable
from mmap import PAGESIZE
from pathlib import Path
from typing import ClassVar, TypeVar

from vmtop.units import KIB

T = TypeVar("T")

_PIECE_BYTES = 16 * KIB
_LAST_PIECE_BYTES = PAGESIZE // 2
"""A piece that is shorter than this is the last: no line is so long that it would not have fitted behind it."""
_MOST_KEPT = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
"""Half of the descriptors that this process may have."""

_ODD = (ValueError, LookupError)
"""What a parser raises at text that it does not understand."""


class KernelFile:
    """A file that is read again and again; one that is not there, or not for us, is tried once only.

    It stays open where the limit of the process allows, since to open a file of /proc takes as long as to read it.
    """

    __slots__ = ("_descriptor", "_path", "_reason")
    _kept: ClassVar[int] = 0

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._reason: str | None = None
        self._descriptor: int | None = None

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            KernelFile._kept -= 1

    def read(self, parse: Callable[[bytes], T], unknown: dict[str, str], *fields: str) -> T | None:
        """What `parse` makes of what it says now.

        None when it cannot be read, or not be understood: then `unknown` gets the reason for each of the fields.
        """
        reason = self._reason
        if reason is None:
            try:
                if text := self._read():
                    return parse(text)
                reason = f"{self._path} is empty: what it tells of is ending"
            except FileNotFoundError:
                reason = self._reason = f"there is no {self._path}"
            except PermissionError:
                reason = self._reason = f"{self._path} is readable by root only"
            except OSError as error:
                reason = f"{self._path}: {error.strerror}"
            except _ODD:
                reason = f"{self._path} says something else than expected"
        for field in fields:
            unknown[field] = reason
        return None

    def _read(self) -> bytes:
        if self._descriptor is not None:
            return _read_all(self._descriptor)
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        if KernelFile._kept < _MOST_KEPT:
            self._descriptor = descriptor
            KernelFile._kept += 1
            return _read_all(descriptor)
        try:
            return _read_all(descriptor)
        finally:
            os.close(descriptor)


def _read_all(descriptor: int) -> bytes:
    text = piece = os.pread(descriptor, _PIECE_BYTES, 0)
    # The kernel hands out some files in pieces shorter than what was asked for, and ends a piece where the next line
    # would not fit into a page.
    while len(piece) >= _LAST_PIECE_BYTES:
        piece = os.pread(descriptor, _PIECE_BYTES, len(text))
        text += piece
    return text


def read_once(path: Path, parse: Callable[[bytes], T]) -> T | None:
    """What `parse` makes of a file; None when it cannot be read or understood."""
    try:
        return parse(path.read_bytes())
    except (OSError, *_ODD):
        # A process that ended meanwhile, or one of another user: for whoever looks for one, it is not there.
        return None


def list_pids(proc: Path) -> list[int]:
    """All processes that are visible, the oldest numbers first."""
    return sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdigit())
