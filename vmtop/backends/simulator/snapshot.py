"""Snapshots: taking one, deleting it, going back to it, and what that costs the guest."""

import math
from dataclasses import dataclass
from typing import ClassVar

from vmtop.backends.simulator.dice import Channel
from vmtop.backends.simulator.disk import TARGET
from vmtop.backends.simulator.error import Code, refusal
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.job import DONE, Job
from vmtop.backends.simulator.plan import NEVER, PAGES_PER_MIB
from vmtop.backends.simulator.snapshot_tree import DISKS, PAUSED, RUNNING, SHUT_OFF, Snapshot, SnapshotTree
from vmtop.backends.simulator.world import World
from vmtop.model.kind import SnapshotKind
from vmtop.model.sample import JobKind
from vmtop.model.storage import SnapshotRequest
from vmtop.units import PAGE_BYTES

FOLDER = "/var/lib/libvirt/images"
"""Where the images of all guests are."""
SUFFIX = ".qcow2"
ROOM_TIMES = 2
"""It has room for so many times what the guests' disks hold; our own choice."""

MEMORY_RATE = 250 * PAGES_PER_MIB
"""Guest memory that is written or read in a second. Source: a real snapshot with memory took 1 s for 230 MiB."""
COMMIT_RATE = 400 * PAGES_PER_MIB
"""Disk that a commit moves in a second; our own choice for NVMe."""

LIVE_PAUSE_S = 0.3
"""A live copy of memory stops the guest once the rest takes no longer than this. Source: downtime-limit of QEMU."""
SWITCH_S = 0.25
"""... and for this time to put its overlays in place. measured: a small real guest, with next to nothing left to copy,
stood still for 0.27 to 0.29 s, on a busy machine for 0.6 s."""
REWRITTEN_SHARE = 0.02
"""Share of its hot memory that a steady guest writes in a second; our own choice."""

STUN_MEDIAN_S = 0.2
STUN_DEVIATION = 0.5
"""Switching the disks to overlays holds a guest up for a moment, which is lognormal; our own choice."""
PIVOT_S = (0.2, 4.0)
"""Switching back after a commit takes longer, since the last writes have to be moved; our own choice."""

SAVING = "creating snapshot"
LOADING = "starting up"
"""Reasons of a pause, in the words of `virsh domstate --reason`."""

_REGISTERS = (
    *("current", "target", "anon", "cache", "free", "swapped", "patch_level", "stats_period_s"),
    *("swap_in", "swap_out", "swap_released", "major_faults", "booted_at", "driver_from"),
)
"""What a guest goes on from: its memory, with the balloon and the counters of its kernel."""


def snapshots_of(world: World, guest: Guest) -> SnapshotTree:
    """The snapshots of a guest; may be none."""
    if guest.snapshots is None:
        guest.snapshots = SnapshotTree(f"{FOLDER}/{guest.plan.name}{SUFFIX}", guest.disk.mark(world.tick))
    return guest.snapshots


def written_pages(world: World, guest: Guest) -> int:
    """Disk that the guest wrote since its last snapshot, which nobody has moved anywhere yet."""
    return guest.disk.dirty_since(snapshots_of(world, guest).mark, world.tick)


def size_pages(world: World, guest: Guest, snapshot: Snapshot) -> int:
    """What a snapshot takes; grows while the guest writes on top of it."""
    return snapshots_of(world, guest).size(snapshot, written_pages(world, guest))


def image_pages(world: World, guest: Guest) -> int:
    """What the file takes to which the guest writes: its whole disk, or an overlay, with the snapshots inside."""
    tree, written = snapshots_of(world, guest), written_pages(world, guest)
    pages = sum(tree.size(taken, written) for taken in tree if taken.image == tree.image and not taken.is_external)
    standing_on = tree.current
    while standing_on is not None and not standing_on.is_external:
        standing_on = tree.find(standing_on.parent) if standing_on.parent else None
    return pages + (guest.disk.allocated if standing_on is None else tree.delta(standing_on, written))


def free_pages(world: World) -> int:
    """Room that is left in the folder of the images."""
    held = sum(guest.disk.allocated for guest in world.guests)
    taken = sum(
        size_pages(world, guest, taken)
        for guest in world.guests
        if guest.snapshots is not None
        for taken in guest.snapshots
    )
    return max(0, (ROOM_TIMES - 1) * held - taken)


def rewritten_pages(guest: Guest) -> int:
    """Memory that the guest writes again in a second."""
    return int(REWRITTEN_SHARE * guest.activity * guest.plan.hot_share * guest.anon)


def begin_snapshot(world: World, guest: Guest, request: SnapshotRequest) -> "Taking | None":
    """Begin a snapshot; None when it is complete at once, otherwise the job that makes it.

    Raises:
        ControlError: another job holds the VM, or a fault is in the way.
    """
    if guest.flaws.refuses_snapshots:
        raise refusal(Code.INTERNAL_ERROR, "unable to execute QEMU command 'transaction': Input/output error")
    kind = request.kind
    if not guest.is_running:
        state = SHUT_OFF
    elif kind is SnapshotKind.DISK_ONLY:
        state = DISKS
    else:
        state = RUNNING if guest.pause_reason is None else PAUSED
    image = snapshots_of(world, guest).image
    snapshot = Snapshot(name=request.name, kind=kind, taken_at=world.tick, state=state, image=image)
    if not snapshot.has_memory:
        _keep(world, guest, snapshot)
        if guest.is_running:
            world.stun(guest, _overlay_stun_s(world, guest))
        return None
    make = MemorySnapshot if kind is SnapshotKind.INTERNAL else LiveSnapshot
    job = make(
        kind=JobKind.SNAPSHOT, started_at=world.tick, total=guest.used, world=world, guest=guest, snapshot=snapshot
    )
    world.begin_job(guest, job)
    job.begin()
    return job


def begin_delete(world: World, guest: Guest, snapshot: Snapshot) -> Job | None:
    """Begin to delete a snapshot; None when it is gone at once, otherwise the job that merges what it holds.

    Only overlays have to be merged, and only by a process; those of a VM that is off are merged at once, since nothing
    shows how long that takes.

    Raises:
        ControlError: another job holds the VM.
    """
    tree = snapshots_of(world, guest)
    is_active = snapshot is tree.current
    if not guest.is_running or not snapshot.is_external or not (is_active or tree.children(snapshot)):
        tree.remove(snapshot, written_pages(world, guest), guest.disk.mark(world.tick))
        return None
    job = Commit(
        kind=JobKind.BLOCK_COMMIT,
        started_at=world.tick,
        total=tree.delta(snapshot, written_pages(world, guest)),
        disk=TARGET,
        world=world,
        guest=guest,
        snapshot=snapshot,
        is_active=is_active,
    )
    world.begin_job(guest, job)
    return job


def begin_revert(world: World, guest: Guest, snapshot: Snapshot) -> Job | None:
    """Go back to a snapshot: the process ends; a new one reads the memory, or boots where there is none.

    Returns:
        The job that reads the memory. None without memory: then a VM that was running boots.

    Raises:
        ControlError: the host has no memory for the guest, which is off now.
    """
    was_running = guest.is_running
    if was_running:
        world.stop(guest)
        guest.disk.lose_checkpoints()
    overlay = f"{_stem(guest)}.{world.epoch_s + world.tick}" if snapshot.is_external else None
    snapshots_of(world, guest).go_back(snapshot, guest.disk.mark(world.tick), overlay)
    if snapshot.registers is None:
        if was_running:
            world.start(guest)
        return None
    if not world.has_memory_for(guest, snapshot.memory):
        raise refusal(
            Code.INTERNAL_ERROR,
            "qemu unexpectedly closed the monitor: cannot set up guest memory 'pc.ram': Cannot allocate memory",
        )
    _load(world, guest, snapshot)
    job = Revert(
        kind=JobKind.REVERT,
        started_at=world.tick,
        total=snapshot.memory,
        guest=guest,
        is_paused=snapshot.state == PAUSED,
    )
    world.begin_job(guest, job)
    guest.hold(LOADING)
    return job


@dataclass(slots=True, kw_only=True, eq=False)
class Taking(Job):
    """A snapshot with memory that is being taken."""

    world: World
    guest: Guest
    snapshot: Snapshot
    stood_s: float = 0.0
    """For how long the guest stood still for it."""

    can_limit: ClassVar[bool] = False

    def begin(self) -> None:
        """Do what the guest feels at once."""

    def close(self) -> None:
        """Keep what was taken."""
        if self.ending == DONE:
            _keep(self.world, self.guest, self.snapshot)


@dataclass(slots=True, kw_only=True, eq=False)
class MemorySnapshot(Taking):
    """An internal one: the guest stands still until all of its memory is in its image, and libvirt tells nothing."""

    has_progress: ClassVar[bool] = False
    holds_monitor: ClassVar[bool] = True
    can_cancel: ClassVar[bool] = False

    def begin(self) -> None:
        """Stop the guest."""
        self.guest.hold(SAVING)

    def step(self, share: int) -> int:
        """Write memory."""
        rate = max(1, min(MEMORY_RATE, share))
        moved = min(rate, self.total - self.done)
        self.done += moved
        self.stood_s += moved / rate
        if self.done == self.total:
            self.ending = DONE
        return moved

    def close(self) -> None:
        """Let the guest go on, unless something else paused it."""
        # `super()` alone does not know the class that `slots=True` makes.
        super(MemorySnapshot, self).close()
        self.guest.release()


@dataclass(slots=True, kw_only=True, eq=False)
class LiveSnapshot(Taking):
    """An external one: memory is copied while the guest runs, what it writes meanwhile again and again.

    Pre-copy converges like a geometric series with the ratio (rewritten per second) / (copied per second); from 1 on it
    never ends.
    """

    def step(self, share: int) -> int:
        """Copy memory; the rest of it in a moment in which the guest stands still."""
        rate = min(MEMORY_RATE, share)
        moved = min(rate, self.total - self.done)
        self.done += moved
        left = self.total - self.done
        if left <= LIVE_PAUSE_S * rate:
            self.stood_s = SWITCH_S + (left / rate if left else 0.0)
            self.world.stun(self.guest, self.stood_s)
            self.done = self.total
            self.ending = DONE
        elif not self.guest.is_frozen:
            self.total += int(rewritten_pages(self.guest) * self.done / self.total)
        return moved


@dataclass(slots=True, kw_only=True, eq=False)
class Commit(Job):
    """An overlay that is merged into the file below it, because its snapshot is being deleted."""

    world: World
    guest: Guest
    snapshot: Snapshot
    is_active: bool
    """The guest writes to that overlay, so the end moves away."""

    is_internal: ClassVar[bool] = True

    def step(self, share: int) -> int:
        """Move data, and in the end let the guest write to the file below."""
        moved = min(self.capped(COMMIT_RATE), share, self.total - self.done)
        self.done += moved
        if self.done == self.total:
            self.ending = DONE
            if self.is_active:
                world, uid = self.world, self.guest.plan.uid
                world.stun(self.guest, world.dice.between(*PIVOT_S, uid, Channel.STUN, world.tick))
        elif self.is_active and not self.guest.is_frozen:
            self.total += int(self.guest.disk.write_rate * self.guest.progress) // PAGE_BYTES
        return moved

    def close(self) -> None:
        """The snapshot is gone, unless it failed."""
        if self.ending == DONE:
            tree = snapshots_of(self.world, self.guest)
            tree.remove(self.snapshot, written_pages(self.world, self.guest), self.guest.disk.mark(self.world.tick))


@dataclass(slots=True, kw_only=True, eq=False)
class Revert(Job):
    """A new process that reads the memory of a snapshot."""

    guest: Guest
    is_paused: bool

    has_progress: ClassVar[bool] = False
    holds_monitor: ClassVar[bool] = True
    can_cancel: ClassVar[bool] = False
    can_limit: ClassVar[bool] = False

    def step(self, share: int) -> int:
        """Read memory."""
        moved = min(MEMORY_RATE, share, self.total - self.done)
        self.done += moved
        if self.done == self.total:
            self.ending = DONE
        return moved

    def close(self) -> None:
        """Let the guest go on from there."""
        self.guest.release()
        if self.is_paused:
            self.guest.pause("from snapshot")


def _keep(world: World, guest: Guest, snapshot: Snapshot) -> None:
    """A snapshot is complete, as of now."""
    if snapshot.has_memory:
        snapshot.memory = guest.used
        snapshot.registers = {name: getattr(guest, name) for name in _REGISTERS}
    snapshot.taken_at = world.tick
    overlay = f"{_stem(guest)}.{snapshot.name}" if snapshot.is_external else None
    snapshots_of(world, guest).add(snapshot, written_pages(world, guest), guest.disk.mark(world.tick), overlay)


def _load(world: World, guest: Guest, snapshot: Snapshot) -> None:
    """Be the guest of that moment in a new process; what its programs want is that of now."""
    tick = world.tick
    guest.begin_process(tick)
    for name, value in (snapshot.registers or {}).items():
        setattr(guest, name, value)
    later = tick - snapshot.taken_at
    guest.booted_at += later
    guest.reported_current = guest.current
    if not guest.plan.is_pinned:
        guest.backed = guest.used
    if guest.driver_from != NEVER:
        guest.driver_from += later
        guest.next_report = max(tick + 1, guest.driver_from) if guest.stats_period_s else NEVER
    world.launch(guest)


def _overlay_stun_s(world: World, guest: Guest) -> float:
    deviation = STUN_DEVIATION * world.dice.normal(guest.plan.uid, world.tick, Channel.STUN)
    # Rounded, so that every C library gives the same world.
    return round(STUN_MEDIAN_S * math.exp(deviation), 9)


def _stem(guest: Guest) -> str:
    return f"{FOLDER}/{guest.plan.name}"
