"""Folders on this machine into which backups and memories of VMs are written."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from vmtop.backends.file_space import read_device
from vmtop.errors import ControlError
from vmtop.model.storage import FolderSample


def read_folder(path: str, inner: str = "") -> FolderSample:
    """Look at a folder, and at the names in a folder inside it.

    One that cannot be looked at is not one that is empty: `why_unseen` tells why.
    """
    folder = Path(path)
    seen = FolderSample(path=path, exists=False, free_bytes=None, inner=inner, names=frozenset())
    try:
        space = os.statvfs(folder)
        if not folder.is_dir():
            return seen
        # f_bavail: hypervisors are not root where it matters, and root's reserve is not for backups.
        seen = replace(seen, exists=True, free_bytes=space.f_bavail * space.f_frsize, device=read_device(path))
        return replace(seen, names=frozenset(item.name for item in (folder / inner).iterdir()))
    except FileNotFoundError:
        # No inner folder yet is an empty one.
        return seen
    except OSError as error:
        where = folder / inner if seen.exists else folder
        return replace(seen, why_unseen=f"{where} cannot be looked at: {error.strerror}")


def make_folder(path: str) -> None:
    """Make one folder unless it is there: QEMU, another user, may go through it but not list it.

    Raises:
        OSError: it cannot be made.
    """
    with suppress(FileExistsError):
        Path(path).mkdir(mode=0o711)


def remove_files(paths: Iterable[str]) -> list[str]:
    """Remove files that are there; tells those that could not be removed."""
    left = []
    for path in paths:
        try:
            Path(path).unlink(missing_ok=True)
        except OSError:
            left.append(path)
    return left


class WriteTimes(NamedTuple):
    """When a file was last changed, wall clock; `stat FILE` prints both."""

    written_s: float
    """Its content."""
    changed_s: float
    """Its content, or whom it belongs to: libvirt gives it back when a backup ended."""


def read_times(paths: Iterable[str]) -> tuple[WriteTimes, ...]:
    """Of the files that are there.

    Raises:
        ControlError: a folder of theirs is not there, as one that is not mounted, or cannot be looked into.
    """
    found = []
    for path in paths:
        try:
            Path(path).parent.stat()
            with suppress(FileNotFoundError):
                seen = Path(path).lstat()
                found.append(WriteTimes(seen.st_mtime, seen.st_ctime))
        except OSError as error:
            raise ControlError(f"{Path(path).parent} cannot be looked into: {error.strerror}") from None
    return tuple(found)
