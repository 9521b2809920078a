"""Kernel and initramfs of the laboratory's guests, made once and kept in a cache folder outside the project.

The folder is $VMTOP_TEST_CACHE, or vmtop-tests under the user's cache folder. The kernel is Debian's, and so is QEMU's
guest agent, taken out of their packages without being installed: an agent on this host would obey whoever runs it. The
initramfs is busybox, the kernel's virtio modules and what lies in `inside/`; a larger one has the agent, too.
"""

import fcntl
import gzip
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import stat
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Final

from tests.hypervisor.errors import LabError, MissingPieceError

KERNEL_PACKAGE: Final = "linux-image-cloud-amd64"
AGENT_PACKAGE: Final = "qemu-guest-agent"

MODULES: Final = (
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "virtio_balloon",
    "virtio_mem",
    "virtio_console",
    "zsmalloc",
    "lzo",
    "lzo-rle",
    "zram",
)

COMMANDS: Final = {
    "libvirtd": "libvirt-daemon-system",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "gcc": "gcc",
    "busybox": "busybox-static",
    "mkfs.ext4": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "dumpe2fs": "e2fsprogs",
}
"""What the laboratory runs, and the Debian package that has it."""

PT_INTERP: Final = 3

GUEST_SOURCES: Final = Path(__file__).with_name("inside")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestImage:
    """What QEMU boots."""

    kernel: Path
    """A bzImage."""

    initramfs: Path
    """A gzipped cpio archive."""

    agent_initramfs: Path
    """The same with QEMU's guest agent and its libraries, which every guest would take a while to unpack."""


def missing() -> str | None:
    """Say why real guests cannot run here and what would help, or None if they can."""
    if platform.machine() != "x86_64":
        return f"real guests need an x86_64 host for busybox and the hog, not {platform.machine()}"
    if packages := dict.fromkeys(package for command, package in COMMANDS.items() if not _find(command)):
        return f"real guests need: sudo apt-get install {' '.join(packages)}"
    if importlib.util.find_spec("libvirt") is None:
        return "real guests need: sudo apt-get install libvirt-dev pkg-config gcc, then: pip install libvirt-python"
    if not (_kernel_folder().exists() and _agent_folder().exists()) and not _find("apt-get"):
        return f"real guests need apt-get, to download {KERNEL_PACKAGE} and {AGENT_PACKAGE}"
    return None


def prepare() -> GuestImage:
    """Return kernel and initramfs, made now if this is the first time or their sources have changed.

    Raises:
        MissingPieceError: a tool, or the network for the packages, is missing.
        LabError: the hog does not compile.
    """
    if reason := missing():
        raise MissingPieceError(reason)
    with locked("image"):
        kernel, agent = _kernel_folder(), _agent_folder()
        if not kernel.exists():
            _download_kernel(kernel)
        if not agent.exists():
            _download_agent(agent)
        initramfs = _make_initramfs(kernel)
        return GuestImage(
            kernel=kernel / "vmlinuz",
            initramfs=initramfs,
            agent_initramfs=_make_agent_initramfs(initramfs, agent / "qemu-ga"),
        )


def cache_folder() -> Path:
    """Return the folder for what is kept between test runs, which may not exist yet."""
    if folder := os.environ.get("VMTOP_TEST_CACHE"):
        return Path(folder).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vmtop-tests"


@contextmanager
def locked(name: str) -> Iterator[int]:
    """Keep other test runs of this user out, as long as the yielded descriptor of the lock file is open anywhere."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _find(command: str) -> str | None:
    # libvirtd lies in /usr/sbin, which is not on every user's path.
    return shutil.which(command, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def find_command(command: str) -> str:
    """Return the path of a command that `missing` vouches for."""
    if not (path := _find(command)):
        raise MissingPieceError(missing() or f"{command} is not on the path")
    return path


def _kernel_folder() -> Path:
    return cache_folder() / f"kernel-{_digest(KERNEL_PACKAGE.encode(), *(module.encode() for module in MODULES))}"


def _agent_folder() -> Path:
    return cache_folder() / f"agent-{_digest(AGENT_PACKAGE.encode())}"


def _download_kernel(folder: Path) -> None:
    depends = run("apt-cache", "depends", KERNEL_PACKAGE).split()
    packages = [word for word in depends if word.startswith("linux-image-") and word != KERNEL_PACKAGE]
    if not packages:
        raise MissingPieceError(f"apt knows no {KERNEL_PACKAGE}: sudo apt-get update")
    with _downloaded(packages[0], folder) as (tree, wanted):
        next(tree.glob("boot/vmlinuz-*")).rename(wanted / "vmlinuz")
        for module in MODULES:
            next(tree.glob(f"**/lib/modules/**/{module}.ko")).rename(wanted / f"{module}.ko")


def _download_agent(folder: Path) -> None:
    with _downloaded(AGENT_PACKAGE, folder) as (tree, wanted):
        next(tree.glob("**/sbin/qemu-ga")).rename(wanted / "qemu-ga")


@contextmanager
def _downloaded(package: str, folder: Path) -> Iterator[tuple[Path, Path]]:
    """What is in a package, and a folder for what is wanted of it, which becomes `folder` if all went well."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="download-") as scratch:
        run("apt-get", "download", package, folder=scratch)
        tree, wanted = Path(scratch, "tree"), Path(scratch, "wanted")
        run("dpkg-deb", "--extract", str(next(Path(scratch).glob("*.deb"))), str(tree))
        wanted.mkdir()
        yield tree, wanted
        wanted.rename(folder)


def _make_initramfs(kernel: Path) -> Path:
    hog_source = GUEST_SOURCES / "hog.c"
    members = {
        "init": (GUEST_SOURCES / "init").read_bytes(),
        "bin/busybox": Path(find_command("busybox")).read_bytes(),
        **{f"modules/{module}.ko": (kernel / f"{module}.ko").read_bytes() for module in MODULES},
    }
    if not _is_static(members["bin/busybox"]):
        raise MissingPieceError("busybox must be the static one: sudo apt-get install busybox-static")
    archive = cache_folder() / f"initramfs-{_digest(hog_source.read_bytes(), *members.values())}.gz"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix="build-") as scratch:
            hog, whole = Path(scratch, "hog"), Path(scratch, archive.name)
            run("gcc", "-Os", "-static", "-s", "-Wall", "-Wextra", "-Werror", "-o", str(hog), str(hog_source))
            packed = _pack(
                {**members, "bin/hog": hog.read_bytes()},
                folders=("proc", "sys", "dev", "disk"),
                links={"bin/sh": "busybox"},
            )
            whole.write_bytes(gzip.compress(packed, mtime=0))
            whole.rename(archive)
    return archive


def _make_agent_initramfs(initramfs: Path, agent: Path) -> Path:
    members = {
        "bin/qemu-ga": agent.read_bytes(),
        "bin/freeze-hook": (GUEST_SOURCES / "freeze-hook").read_bytes(),
        **{path.lstrip("/"): Path(path).read_bytes() for path in _libraries(agent)},
    }
    archive = cache_folder() / f"initramfs-{_digest(initramfs.read_bytes(), *members.values())}.gz"
    if not archive.exists():
        # The kernel unpacks one archive after the other.
        more = gzip.compress(_pack(members, folders=("run",)), mtime=0)
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix="build-") as scratch:
            whole = Path(scratch, archive.name)
            whole.write_bytes(initramfs.read_bytes() + more)
            whole.rename(archive)
    return archive


def _libraries(program: Path) -> list[str]:
    """What it needs to run, the loader included: all of it comes with QEMU."""
    listed = run("ldd", str(program))
    if "not found" in listed:
        raise MissingPieceError(f"{AGENT_PACKAGE} of this Debian does not fit its libraries: {listed}")
    return re.findall(r"(/\S+) \(0x", listed)


def _is_static(program: bytes) -> bool:
    """Tell whether a 64-bit ELF file, see elf(5), has no header that names an interpreter."""
    headers, size, count = struct.unpack_from("<32xQ14xHH", program)
    return all(struct.unpack_from("<I", program, headers + number * size)[0] != PT_INTERP for number in range(count))


def _pack(
    members: dict[str, bytes], *, folders: Iterable[str] = (), links: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    """Make the cpio archive; see Documentation/driver-api/early-userspace/buffer-format.rst in the kernel's tree."""
    needed = {str(folder) for name in (*members, *links) for folder in PurePath(name).parents} - {"."}
    entries = [
        *((folder, stat.S_IFDIR | 0o755, b"") for folder in sorted({*folders, *needed})),
        *((name, stat.S_IFREG | 0o755, content) for name, content in members.items()),
        *((name, stat.S_IFLNK | 0o777, target.encode()) for name, target in links.items()),
        ("TRAILER!!!", 0, b""),
    ]
    return b"".join(_pack_entry(number, *entry) for number, entry in enumerate(entries, start=1))


def _pack_entry(number: int, name: str, mode: int, content: bytes) -> bytes:
    # inode, mode, uid, gid, links, mtime, size, four device numbers, length of the name, checksum (unused)
    header = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    named = b"070701" + b"".join(b"%08X" % value for value in header) + name.encode() + b"\0"
    return _padded(named) + _padded(content)


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)


def _digest(*contents: bytes) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def run(*command: str, folder: str | None = None) -> str:
    """Run a command and return what it prints.

    Raises:
        MissingPieceError: apt failed, for want of a network or of package lists.
        LabError: another command failed.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        error = MissingPieceError if command[0].startswith("apt") else LabError
        raise error(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
