"""Folders on this machine into which backups and memories of VMs are written."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from vmtop.actions.situation import FolderSample


def read_folder(path: str, inner: str = "") -> FolderSample:
    """Look at a folder, and at the names in a folder inside it.

    A folder that cannot be looked at counts as one that does not exist: nothing could be written there either.
    """
    folder = Path(path)
    try:
        space = os.statvfs(folder)
        exists = folder.is_dir()
    except OSError:
        return FolderSample(path=path, exists=False, free_bytes=None, inner=inner, names=frozenset())
    names: frozenset[str] = frozenset()
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        names = frozenset(item.name for item in (folder / inner).iterdir())
    # f_bavail: hypervisors are not root where it matters, and root's reserve is not for backups.
    return FolderSample(path=path, exists=exists, free_bytes=space.f_bavail * space.f_frsize, inner=inner, names=names)


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
