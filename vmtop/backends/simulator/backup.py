"""Backups: what they read, send and keep, and what they cost the guest and the host meanwhile."""

import math
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar, NamedTuple

from vmtop.backends.simulator.dice import Channel
from vmtop.backends.simulator.disk import TARGET, Mark
from vmtop.backends.simulator.error import Code, refusal
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.job import DONE, Ending, Job
from vmtop.backends.simulator.plan import PAGES_PER_MIB
from vmtop.backends.simulator.reclaim import make_room
from vmtop.backends.simulator.store import EVERYTHING, PLAIN, Format, RecoveryPoint, Shares, expect_shares
from vmtop.backends.simulator.world import World
from vmtop.model.kind import BackupKind
from vmtop.model.sample import JobKind
from vmtop.units import PAGE_BYTES

BUFFER_MIB = (64, 256)
"""Memory that a running backup holds on the host; our own choice."""
CACHED_SHARE = 0.2
"""Share of what a backup reads that stays in the host's page cache; with O_DIRECT it would be none. Our own choice."""
READ_RATE = 200 * PAGES_PER_MIB
"""Most that one backup reads in a second. Real ones ran at 44 to 387 MiB/s (logs of Proxmox VE's vzdump)."""
MOST_AT_ONCE = 16
"""The store serves so many; further ones wait their turn."""

FREEZE_S = (0.1, 3.0)
"""The agent takes between these to freeze the file systems and thaw them again; our own choice."""
AGENT_PATIENCE_S = 5
"""An agent that does not answer is given up after this time. Source: a real one with libvirt 9.0."""
NETWORK_PATIENCE_S = 30
"""A store that does not answer is given up after this time; our own choice."""
MOST_STALL = 20.0
"""Seconds that a guest waits at most for copies for each second that it runs: it still does something."""

NO_SPACE = Ending(is_good=False, error="No space left on device")
NETWORK_LOST = Ending(is_good=False, error="Input/output error")
AGENT_LOST = Ending(is_good=False, error="Guest agent is not responding: Guest agent not available for now")
"""How backups fail. Source: `virsh domjobinfo --completed` after a real target was full; the others are the words that
libvirt has for them."""


class Stage(Enum):
    """What a backup is about."""

    QUEUED = auto()
    """It waits for memory on the host, and for its turn at the store."""
    FREEZING = auto()
    """The agent freezes the guest's file systems."""
    COPYING = auto()
    PAUSED = auto()
    """The store does not answer."""


class BackupSpec(NamedTuple):
    """What a backup is to be like; by default a full one into a plain file."""

    name: str = ""
    """Path of the file, or name in the store. Empty to have one made up."""
    checkpoint: str | None = None
    """Name of the checkpoint to create. None for none."""
    since: str | None = None
    """Checkpoint from which on changes are copied. None for all data."""
    is_pull: bool = False
    """A reader fetches the data; libvirt knows nothing of how far it is."""
    is_quiesced: bool = False
    """The agent freezes file systems before it begins."""
    has_fleecing: bool = False
    """What the guest overwrites goes to a file on the host first, so that the guest does not wait for the store."""
    bytes_per_s: int = 0
    """Most that it reads; 0 for no limit."""
    form: Format = PLAIN


@dataclass(slots=True, kw_only=True, eq=False)
class BackupJob(Job):
    """A backup that runs. Amounts are pages.

    A full one counts the whole disk, of which it reads what is allocated; the rest costs nothing and counts all the
    same. measured: the full push backup of a disk of 128 MiB told a total of 128 MiB from the start, with 106 MiB
    allocated (tests/recordings). An incremental one counts what it reads.

    Its bitmap is frozen: it reads what was dirty when it began. `mark` is the successor that collects what is written
    meanwhile. On success the next backup goes on from `mark`, after a failure from where this one did, which holds the
    writes of both times.
    """

    world: World
    guest: Guest
    spec: BackupSpec
    name: str
    since: Mark | None
    """The bitmap that tells what has changed. None for a full backup."""
    buffers: int
    """Memory of the host that it needs."""
    freeze_s: float
    """How long file systems are going to be frozen."""
    stage: Stage = Stage.QUEUED
    mark: Mark | None = None
    """When the copy began. None before."""
    data: int = 0
    """What it has to read in all ..."""
    read: int = 0
    """... and has read so far."""
    hot_left: int = 0
    """Granules that are not copied yet, of the part of the disk that is rewritten all the time."""
    shares: Shares = EVERYTHING
    stored: int = 0
    waited_s: int = 0
    """For how long the agent or the store has not answered."""
    fails_at: float | None = None
    """Share of its data at which it fails. None for one that will succeed."""
    fails_with: Ending = NO_SPACE

    @property
    def sent(self) -> int:
        """What went over the network so far."""
        return int(self.shares.sent * self.read)

    @property
    def is_fleecing(self) -> bool:
        """Writes of the guest wait for the host's own storage only."""
        return self.spec.is_pull or self.spec.has_fleecing

    def fail_at(self, share: float, ending: Ending = NO_SPACE) -> None:
        """Let it go wrong as soon as this share of it is done; 0 for now."""
        self.fails_at, self.fails_with = share, ending

    def step(self, share: int) -> int:
        """One second, whatever it is about."""
        if self.stage is Stage.QUEUED:
            self.enter()
        elif self.stage is Stage.FREEZING:
            self._freeze()
        elif self.world.store.is_reachable:
            return self._copy(share)
        else:
            self._wait()
        return 0

    def close(self) -> None:
        """Give the buffers back, and keep a recovery point of what is complete.

        A full store stops the guest: the guest's next write that needs old data copied first meets the error, and QEMU
        stops a guest whose disk has no space left. Source: a real guest; werror=enospc in QEMU's manual.
        """
        host, store, guest = self.world.host, self.world.store, self.guest
        if self.stage is not Stage.QUEUED:
            host.backup_buffers -= self.buffers
            host.free += self.buffers
            store.senders -= 1
        if self.mark is not None and self.ending == DONE and self.done == self.total:
            store.add(guest.plan, self._point(self.mark))
        else:
            store.used -= self.stored
        if self.ending == NO_SPACE:
            guest.pause("I/O error")

    def enter(self) -> None:
        """Leave the queue, if the store has a place and the host has memory."""
        host, store = self.world.host, self.world.store
        if store.senders >= MOST_AT_ONCE:
            return
        missing = self.buffers - (host.free - host.least)
        if missing > 0 and make_room(host, self.world.active, missing) < missing:
            return
        host.free -= self.buffers
        host.backup_buffers += self.buffers
        store.senders += 1
        if self.spec.is_quiesced:
            self.stage = Stage.FREEZING
        else:
            self._begin()

    def _freeze(self) -> None:
        if self.guest.flaws.has_hung_agent:
            self.waited_s += 1
            if self.waited_s >= AGENT_PATIENCE_S:
                self.ending = AGENT_LOST
            return
        self.guest.disk.lose(self.world.tick, min(1.0, self.freeze_s))
        self.freeze_s -= 1.0
        if self.freeze_s <= 0.0:
            self._begin()

    def _begin(self) -> None:
        """From now on it is known what has to be copied."""
        disk, tick, spec = self.guest.disk, self.world.tick, self.spec
        granule = spec.form.granule
        self.stage, self.waited_s = Stage.COPYING, 0
        self.mark = disk.mark(tick, spec.checkpoint or "")
        if self.since is None:
            self.total, self.data, self.hot_left = disk.capacity, disk.allocated, disk.hot_granules(granule)
        else:
            self.total = self.data = disk.dirty_since(self.since, tick, granule)
            self.hot_left = disk.dirty_parts(self.since, tick, granule)[0] // granule
        if spec.checkpoint is not None:
            disk.checkpoints[spec.checkpoint] = self.mark
        points = self.world.store.points(self.guest.plan)
        changed = disk.dirty_since(points[-1].mark, tick, granule) / disk.allocated if points else 1.0
        self.shares = expect_shares(self.world.store, self.guest.plan, spec.form, kind=self._kind, changed=changed)

    def _copy(self, share: int) -> int:
        """Read on; what the guest is about to overwrite goes first."""
        host, store = self.world.host, self.world.store
        self.stage, self.waited_s = Stage.COPYING, 0
        left = self.data - self.read
        share = min(share, READ_RATE)
        if self.shares.sent:
            share = min(share, int(store.bandwidth / store.senders / self.shares.sent))
        saved = self._save_old(share)
        # A limit slows down what the backup reads by itself, not what the guest waits for.
        read = min(self.capped(share), left)
        if self.is_fleecing:
            self.scratch_used += saved
        else:
            read = max(read, saved)
        if self.fails_at is not None:
            read = max(0, min(read, math.ceil(self.fails_at * self.data) - self.read))
        self.hot_left -= self.hot_left * read // max(1, left)
        self.read += read
        self.done = self.total * self.read // self.data if self.data else self.total
        cached = max(0, min(int(CACHED_SHARE * read), host.free - host.low))
        host.cache += cached
        host.free -= cached
        self._keep()
        if self.fails_at is not None and self.read >= math.ceil(self.fails_at * self.data):
            self.ending = self.fails_with
        elif self.ending is None and self.read == self.data:
            self.ending = DONE
        return read

    def _save_old(self, share: int) -> int:
        """Copy what the guest overwrites before it does, which lets the guest wait; tells how many pages.

        Each granule has to be copied once. Source: the copy-before-write filter of QEMU's backup job
        (docs/interop/live-block-operations.rst).
        """
        granules = self._overwritten()
        if not granules:
            return 0
        granule, store = self.spec.form.granule, self.world.store
        wait_s = self.world.host.pool.latency_s + granule / READ_RATE
        if not self.is_fleecing:
            wait_s += store.latency_s + granule * self.shares.sent * store.senders / store.bandwidth
        self.guest.job_stall_now = min(MOST_STALL, granules * wait_s / self.guest.plan.vcpus)
        saved = min(granules, share // granule)
        self.hot_left -= min(self.hot_left, saved)
        return min(saved * granule, self.data - self.read)

    def _overwritten(self) -> int:
        """Granules still to be copied that the guest writes to in this second."""
        guest = self.guest
        if guest.is_frozen:
            return 0
        disk, granule = guest.disk, self.spec.form.granule
        hot, cold = disk.touched(int(disk.write_rate * guest.progress), granule)
        left = self.data - self.read
        return hot * self.hot_left // disk.hot_granules(granule) + cold * left // disk.allocated

    def _wait(self) -> None:
        """The store does not answer, and neither can writes of the guest go on that have to wait for it."""
        self.stage = Stage.PAUSED
        self.waited_s += 1
        if not self.is_fleecing and self._overwritten():
            self.guest.job_stall_now = MOST_STALL
        if self.waited_s >= NETWORK_PATIENCE_S:
            self.ending = NETWORK_LOST

    def _keep(self) -> None:
        """Write what was sent; the store may be full."""
        store = self.world.store
        wanted = int(self.shares.stored * self.read) - self.stored
        kept = min(wanted, store.free)
        self.stored += kept
        store.used += kept
        if kept < wanted:
            self.ending = NO_SPACE

    @property
    def _kind(self) -> BackupKind:
        return BackupKind.FULL if self.since is None else BackupKind.INCREMENTAL

    def _point(self, mark: Mark) -> RecoveryPoint:
        since = self.spec.since
        earlier = [point for point in self.world.store.points(self.guest.plan) if point.mark.name == since]
        return RecoveryPoint(
            name=self.name,
            kind=self._kind,
            mark=mark,
            read=self.read,
            sent=self.sent,
            stored=self.stored,
            parent=earlier[-1].name if earlier else None,
            is_deduplicated=self.spec.form.is_deduplicated,
        )


class PullBackupJob(BackupJob):
    """A backup whose data a reader fetches; libvirt sees no progress, and to cancel it is how it normally ends."""

    __slots__ = ()

    has_progress: ClassVar[bool] = False
    can_limit: ClassVar[bool] = False

    def cancelled(self) -> Ending:
        """For libvirt this is good, whether or not the reader has everything."""
        return DONE


def start_backup(world: World, guest: Guest, spec: BackupSpec | None = None) -> BackupJob:
    """Begin a backup.

    Raises:
        ControlError: it cannot be, for the reasons and with the codes of libvirt.
    """
    spec = spec or BackupSpec()
    _check(world, guest, spec)
    plan, tick = guest.plan, world.tick
    make = PullBackupJob if spec.is_pull else BackupJob
    job = make(
        kind=JobKind.BACKUP,
        started_at=tick,
        total=0,
        scratch_total=guest.disk.capacity if spec.is_pull else None,
        world=world,
        guest=guest,
        spec=spec,
        name=spec.name or f"{plan.name}.{world.epoch_s + tick}",
        since=None if spec.since is None else guest.disk.checkpoints[spec.since],
        buffers=int(world.dice.between(*BUFFER_MIB, plan.uid, Channel.BUFFER, tick)) * PAGES_PER_MIB,
        freeze_s=world.dice.between(*FREEZE_S, plan.uid, Channel.FREEZE, tick),
        limit=spec.bytes_per_s // PAGE_BYTES or None,
    )
    world.begin_job(guest, job)
    job.enter()
    return job


def _check(world: World, guest: Guest, spec: BackupSpec) -> None:
    checkpoints = guest.disk.checkpoints
    if not guest.is_running:
        raise refusal(Code.OPERATION_UNSUPPORTED, "cannot perform disk backup for inactive domain")
    if guest.job is not None and guest.job.disk is not None:
        raise refusal(Code.INTERNAL_ERROR, f"disk '{guest.job.disk}' has a blockjob assigned")
    if spec.since is not None and spec.since not in checkpoints:
        raise refusal(
            Code.NO_DOMAIN_CHECKPOINT,
            f"Checkpoint '{spec.since}' for incremental backup of disk '{TARGET}' not found",
        )
    if spec.checkpoint is not None and spec.checkpoint in checkpoints:
        raise refusal(Code.OPERATION_FAILED, f"domain moment {spec.checkpoint} already exists")
    if spec.name and world.store.has(spec.name):
        raise refusal(Code.INVALID_ARG, f"store '{spec.name}' for backup of '{TARGET}' exists")
    if spec.is_quiesced and not guest.plan.has_agent:
        raise refusal(Code.AGENT_UNRESPONSIVE, "QEMU guest agent is not connected")
