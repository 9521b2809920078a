"""Real guests tell a story."""

import platform
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Any, Final
from xml.sax.saxutils import quoteattr

from tests.fidelity.curves import Curves, Recorder
from tests.fidelity.story import Action, Backup, Balloon, Hold, Merge, Story, Write
from tests.hypervisor.errors import LabError
from tests.hypervisor.guest import Guest
from tests.hypervisor.guest_spec import GuestSpec, Hog
from tests.hypervisor.ksm import host_ksm
from tests.hypervisor.lab import HostLab
from tests.hypervisor.waiting import wait_until
from vmtop.backends.libvirt_read import LibvirtBackend
from vmtop.units import KIB, MIB

SAMPLE_S: Final = 0.2
"""Time between two samples."""
TOUCH_S: Final = 0.5
BLOCK_BYTES: Final = 512
"""Unit of st_blocks. Source: stat(2)."""
BACKUP_OPERATION: Final = 9
"""Source: VIR_DOMAIN_JOB_OPERATION_BACKUP in libvirt's domain.h; older bindings lack the name."""
DEADLINE_S: Final = 60.0


def tell(stories: Sequence[Story], lab: HostLab) -> list[Curves]:
    """Have guests live through stories, all at the same time, while they are watched."""
    casts = [_cast(story) for story in stories]
    with ExitStack() as stack:
        ksm = stack.enter_context(_idle_ksm()) if any(story.needs_ksm for story in stories) else None
        guests = {guest.name: guest for guest in stack.enter_context(lab.running(*(chain(*casts))))}
        pool = stack.enter_context(ThreadPoolExecutor(len(stories)))
        return list(
            pool.map(lambda story, cast: _tell(story, [guests[spec.name] for spec in cast], lab, ksm), stories, casts)
        )


def _cast(story: Story) -> list[GuestSpec]:
    return [
        GuestSpec(
            name=f"{story.name}-{number}",
            memory_mib=story.memory_mib,
            swap_mib=story.swap_mib,
            disk_mib=story.disk_mib,
        )
        for number in range(1, story.guests + 1)
    ]


def _tell(story: Story, guests: list[Guest], lab: HostLab, ksm: Path | None) -> Curves:
    steps = []
    with _watched(lab, guests[0]) as watch:
        for step in story.steps:
            start_s = watch.last_s
            _act(guests, step.action, ksm, watch)
            watch.wait_until(watch.now_s() + step.lasts_s)
            steps.append((start_s, watch.last_s))
    return watch.recorder.curves(story.name, story.shown, _teller(lab), steps)


class Watch:
    """Samples one guest again and again until it is told to stop."""

    def __init__(self, lab: HostLab, backend: LibvirtBackend, guest: Guest) -> None:
        self.recorder: Final = Recorder()
        self.is_over: Final = Event()
        self._backend = backend
        self._domain = guest.domain
        self._folder = guest.files.folder
        self._error = lab.daemon.libvirt.libvirtError
        self.backups = 0
        """How many have ended."""
        self._processed = self._total = 0
        """Of those."""
        self._uuid = guest.uuid
        self._began_s = time.monotonic()
        self.last_s = 0.0

    def now_s(self) -> float:
        """The story's clock."""
        return time.monotonic() - self._began_s

    def run(self) -> None:
        """Sample; meant for a thread of its own."""
        while not self.is_over.wait(SAMPLE_S):
            sample = self._backend.read_sample()
            more = {
                "balloon": self._domain.memoryStats()["actual"]
                * KIB
                / MIB,  # by now; the sample's may be a second late
                **self._read_backups(),
            }
            self.last_s = self.now_s()
            self.recorder.add(self.last_s, sample, self._uuid, more)

    def _read_backups(self) -> dict[str, float | None]:
        """What all backups together had to read, have read and have written."""
        try:
            running = self._domain.jobStats()
        except self._error:
            # libvirt's "backup job data missing": it ends at this very moment.
            return {"to read": None, "read": None, "written": None}
        ended = {} if running.get("operation") else self._domain.jobStats(1)  # tells of each once
        if ended.get("operation") == BACKUP_OPERATION:
            if not ended["success"]:
                raise LabError(f"the backup failed: {ended}")
            # One with nothing to do has no disk_* keys.
            self._processed += ended.get("disk_processed", 0)
            self._total += ended.get("disk_total", 0)
            self.backups += 1
        return {
            "to read": (self._total + running.get("disk_total", 0)) / MIB,
            "read": (self._processed + running.get("disk_processed", 0)) / MIB,
            "written": sum(file.stat().st_blocks for file in self._folder.glob("backup-*")) * BLOCK_BYTES / MIB,
        }

    def wait_until(self, time_s: float) -> None:
        """Wait until there is a sample of that time or later."""
        wait_until(lambda: self.last_s >= time_s or self.is_over.is_set(), "the next sample", DEADLINE_S)


@contextmanager
def _watched(lab: HostLab, guest: Guest) -> Iterator[Watch]:
    backend = LibvirtBackend(lab.uri)
    watch = Watch(lab, backend, guest)
    try:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(watch.run)
            running.add_done_callback(lambda _: watch.is_over.set())
            watch.wait_until(2.0)  # the guest's first figures are from its boot
            try:
                yield watch
            finally:
                watch.is_over.set()
            running.result(DEADLINE_S)
    finally:
        backend.close()


@contextmanager
def _idle_ksm() -> Iterator[Path]:
    """KSM that merges nothing until the story says so; it has to be put back after the guests are gone."""
    with host_ksm() as folder:
        (folder / "run").write_text("0")
        yield folder


def _act(guests: list[Guest], action: Action, ksm: Path | None, watch: Watch) -> None:
    match action:
        case Hold(mib=mib, is_touched=is_touched):
            hog = Hog(mib=mib, content="same", touch_every_s=TOUCH_S if is_touched else None)
            for guest in guests:
                guest.order(hog.order)
        case Balloon(mib=mib):
            for guest in guests:
                guest.domain.setMemoryFlags(mib * MIB // KIB, 1)
        case Merge():
            assert ksm is not None
            (ksm / "run").write_text("1")
        case Write(mib=mib, is_zero=is_zero):
            source = "/dev/zero" if is_zero else "/dev/urandom"
            guests[0].order(f"disk && dd if={source} of=/disk/file bs=1M count={mib} conv=notrunc && sync")
        case Backup(is_full=is_full):
            before = watch.backups
            _begin_backup(guests[0], None if is_full else str(before), str(before + 1))
            wait_until(lambda: watch.backups > before or watch.is_over.is_set(), "the end of the backup", DEADLINE_S)


def _begin_backup(guest: Guest, since: str | None, checkpoint: str) -> None:
    target = guest.files.folder / f"backup-{checkpoint}.qcow2"
    incremental = "" if since is None else f"<incremental>{since}</incremental>"
    guest.domain.backupBegin(
        f"""<domainbackup>{incremental}<disks><disk name="vda" type="file"><driver type="qcow2"/>
        <target file={quoteattr(str(target))}/></disk></disks></domainbackup>""",
        f"<domaincheckpoint><name>{checkpoint}</name></domaincheckpoint>",
    )


def _teller(lab: HostLab) -> str:
    connection: Any = lab.connect()
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    versions = (("QEMU", connection.getVersion()), ("libvirt", connection.getLibVersion()))
    said = ", ".join(
        f"{name} {number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}" for name, number in versions
    )
    return f"{day}, {said} (software emulation), Linux {platform.release()}, {platform.machine()}"
