"""The laboratory: a libvirt daemon of one's own, with real QEMU guests that tell the truth about themselves.

    with host_lab() as lab, lab.running(GuestSpec(name="busy", hog=Hog(mib=30))) as (busy,):
        connection = libvirt.open(lab.uri)
        print(busy.pid, busy.wait_for_truth().available_bytes)
        busy.order("hog 60 same 500")

It needs neither root nor KVM. Two labs do not meet, and nothing of a lab is left when it ends, however it ends: its
processes are descendants of its keeper, and all its files lie in one folder. To look at real guests while developing,

    python -m tests.hypervisor.lab --guests 6

in the project's folder prints the URI for `vmtop -c URI`, and runs until Ctrl+C or SIGTERM. It reads orders for guests
from its standard input, such as `swapping-3 hog 90 same 500`; see `inside/init`.
"""

import argparse
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import psutil

from tests.hypervisor import process
from tests.hypervisor.daemon import Daemon
from tests.hypervisor.errors import LabError
from tests.hypervisor.guest import Guest
from tests.hypervisor.guest_image import GuestImage, find_command, prepare, run
from tests.hypervisor.guest_spec import GuestFiles, GuestSpec, Hog
from tests.hypervisor.keeper import Keeper
from tests.hypervisor.waiting import wait_until
from vmtop.units import MIB

AT_ONCE: Final = 4
"""How many guests are started or stopped at the same time."""


class HostLab:
    """A daemon, and guests by name; `host_lab` makes one."""

    def __init__(self, keeper: Keeper, image: GuestImage) -> None:
        """Lay out its folder; the daemon is not started yet."""
        self.folder: Final = keeper.make_folder()
        self.daemon: Final = Daemon(keeper, self.folder)
        # Copies, for the cache may be closed to the daemon's user.
        self._kernel: Final = Path(shutil.copy(image.kernel, self.folder / "kernel"))
        self._initramfs: Final = Path(shutil.copy(image.initramfs, self.folder / "initramfs"))
        self._agent_initramfs: Final = Path(shutil.copy(image.agent_initramfs, self.folder / "agent-initramfs"))
        self._guests: Final[dict[str, Guest]] = {}
        self._numbers: Final = itertools.count(1)

    @property
    def uri(self) -> str:
        """What to connect to."""
        return self.daemon.uri

    @property
    def guests(self) -> MappingProxyType[str, Guest]:
        """All guests by name."""
        return MappingProxyType(self._guests)

    def connect(self) -> Any:
        """Open a libvirt connection with write access; it closes when the last object made from it is gone."""
        return self.daemon.connect()

    def define(self, spec: GuestSpec) -> Guest:
        """Make a guest that is shut off."""
        folder = self.folder / f"guest-{next(self._numbers)}"  # names may not be fit for paths
        files = GuestFiles(
            kernel=self._kernel,
            initramfs=self._agent_initramfs if spec.has_agent else self._initramfs,
            pid=self.folder / f"run/libvirt/qemu/run/{spec.name}.pid",
            folder=folder,
        )
        folder.mkdir()
        self.daemon.give(folder)
        if spec.needed_disk_mib:
            run(find_command("qemu-img"), "create", "-q", "-f", "qcow2", str(files.disk), f"{spec.needed_disk_mib}M")
            if spec.disk_content_mib:
                # Compressed, it takes next to no space, and whoever copies it some time.
                run(find_command("qemu-io"), "-c", f"write -q -c -P 0x55 0 {spec.disk_content_mib}M", str(files.disk))
            if spec.has_agent:
                _format_disk(files.disk, spec.needed_disk_mib)
            self.daemon.give(files.disk)
        guest = self._guests[spec.name] = Guest(self.daemon, spec, files)
        return guest

    def start(self, *specs: GuestSpec) -> list[Guest]:
        """Make and start guests, and return at once; see `Guest.wait_until_ready`."""
        guests = [self.define(spec) for spec in specs]
        _for_each(guests, Guest.start)
        return guests

    @contextmanager
    def running(self, *specs: GuestSpec) -> Iterator[list[Guest]]:
        """Make and start guests, wait for those that are not to be paused, and remove them afterwards."""
        known = set(self._guests)
        try:
            guests = self.start(*specs)
            for guest in guests:
                if guest.spec.boots and not guest.spec.paused:
                    guest.wait_until_ready()
            yield guests
        finally:
            self.remove(*(guest for name, guest in self.guests.items() if name not in known))

    @contextmanager
    def paused_fleet(self, count: int, memory_mib: int = 32) -> Iterator[list[Guest]]:
        """Start many of the cheapest guests, which stay paused, for load."""
        specs = (
            GuestSpec(name=f"fleet-{number:03}", memory_mib=memory_mib, boots=False, paused=True)
            for number in range(1, count + 1)
        )
        with self.running(*specs) as guests:
            yield guests

    @contextmanager
    def small_folder(self, mib: int) -> Iterator[Path]:
        """A folder on a file system of its own that holds so much, for files of QEMU; it needs no root.

        The file system is mounted where only one process and its own kind see it, and ends with that process.

        Raises:
            LabError: this kernel lets no user mount anything.
        """
        mount = f"mount -t tmpfs -o size={mib}m none /mnt && exec sleep infinity"
        pid = self.daemon.start_beside("unshare", "--map-root-user", "--mount", "sh", "-c", mount)
        folder = Path(f"/proc/{pid}/root/mnt")
        try:
            wait_until(lambda: _has_size(folder, pid, mib * MIB), "the small file system")
            yield folder
        finally:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()

    def remove(self, *guests: Guest) -> None:
        """Shut guests off and have libvirt forget them, whatever a test has done to them or to the daemon."""
        self.daemon.recover()
        _for_each(guests, Guest.undefine)
        for guest in guests:
            del self._guests[guest.name]

    def qemu_pids(self) -> dict[str, int]:
        """Return the process of every guest that runs."""
        return {name: pid for name, guest in self._guests.items() if (pid := guest.pid) is not None}


@contextmanager
def host_lab() -> Iterator[HostLab]:
    """Run a laboratory; see the module's description.

    Raises:
        MissingPieceError: see `prepare`.
    """
    image = prepare()
    with Keeper() as keeper:
        lab = HostLab(keeper, image)
        lab.daemon.start()
        yield lab


def _format_disk(disk: Path, mib: int) -> None:
    """Put a file system with a journal on a disk; the guests' own tools make none."""
    raw = disk.with_suffix(".raw")
    run(find_command("mkfs.ext4"), "-q", str(raw), f"{mib}M")
    run(find_command("qemu-img"), "convert", "-O", "qcow2", str(raw), str(disk))
    raw.unlink()


def _has_size(folder: Path, pid: int, size_bytes: int) -> bool:
    if not process.is_alive(pid):
        raise LabError("this kernel lets no user mount a file system of his own")
    system = os.statvfs(folder)
    return system.f_blocks * system.f_frsize == size_bytes


def _for_each(guests: Iterable[Guest], action: Callable[[Guest], None]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(action, guest) for guest in guests]:
            done.result()


MIX: Final = (
    GuestSpec(name="busy", hog=Hog(mib=40, touch_every_s=1.0), cache_mib=20),
    GuestSpec(name="idle"),
    GuestSpec(name="swapping", hog=Hog(mib=90, touch_every_s=0.5), swap_mib=64),
    GuestSpec(name="no-driver", has_balloon_driver=False),
    GuestSpec(name="no-balloon", balloon="none"),
    GuestSpec(name="period-0", stats_period_s=None, hog=Hog(mib=20)),
)
"""The guests of the command line."""


def _mixed_specs(count: int) -> list[GuestSpec]:
    specs = itertools.islice(itertools.cycle(MIX), count)
    return [replace(spec, name=f"{spec.name}-{number}") for number, spec in enumerate(specs, start=1)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a lab with a mixed set of guests until Ctrl+C."""
    parser = argparse.ArgumentParser(prog="python -m tests.hypervisor.lab", description="Real guests to look at.")
    parser.add_argument("--guests", type=int, default=len(MIX), metavar="N", help="how many (default: one of a kind)")
    parser.add_argument("--paused", type=int, default=0, metavar="N", help="and how many paused ones of 32 MiB")
    parser.add_argument("--prepare", action="store_true", help="only fetch the kernel and build the initramfs")
    wanted = parser.parse_args(arguments)
    try:
        if wanted.prepare:
            sys.stdout.write(f"{prepare()}\n")
            return 0
        with host_lab() as lab, lab.paused_fleet(wanted.paused), lab.running(*_mixed_specs(wanted.guests)):
            sys.stdout.write(f"{lab.uri}\nGuests: {', '.join(lab.guests)}\nCtrl+C removes all of it.\n")
            sys.stdout.flush()
            for line in sys.stdin:
                _pass_on(lab, line)
            signal.pause()
    except KeyboardInterrupt:
        return 130
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _pass_on(lab: HostLab, line: str) -> None:
    name, _, order = line.strip().partition(" ")
    if name not in lab.guests:
        sys.stderr.write(f"no guest {name!r}; there are {', '.join(lab.guests)}\n")
        return
    try:
        lab.guests[name].order(order)
        sys.stdout.write("done\n")
    except LabError as error:
        sys.stderr.write(f"{error}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
