"""A host as it was captured, where cgroup v1 counts memory and v2 measures pressure, with a VM of a system daemon.

What this host does not show (swap, other cgroups, other kernels) tests write down over a copy of it.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

CAPTURED = Path(__file__).parent / "captured/hybrid-host"


def copy_host(folder: Path) -> Path:
    """A copy of the captured tree, to change at will."""
    return shutil.copytree(CAPTURED, folder / "root")


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files below a root folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
