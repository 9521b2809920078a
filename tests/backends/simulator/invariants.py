"""What must hold after every tick of a simulated world, whatever happens in it."""

import math
from collections import defaultdict
from dataclasses import dataclass

from vmtop.backends.simulator.backup import BackupJob, Stage
from vmtop.backends.simulator.disk import GRANULE_PAGES, WRITE_BYTES
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.ksm import MOST_USERS
from vmtop.backends.simulator.world import World

COUNTERS = ("swap_in", "swap_out", "swap_released", "major_faults", "host_faults", "oom_kills")
"""Of a guest, for as long as its system runs."""


@dataclass(frozen=True)
class Snapshot:
    """What of a world is compared with a later tick."""

    guests: dict[int, tuple[tuple[int | None, int], bool, dict[str, int]]]
    """uid -> the run of its system, whether it stood still, its counters."""
    processes: dict[tuple[int, int | None], int]
    """Counters of each QEMU process, which go on when the system in it is rebooted."""
    host: tuple[float, ...]
    dirty: dict[tuple[int, str], int]
    """(uid, checkpoint) -> pages that its bitmap holds."""

    @classmethod
    def of(cls, world: World) -> "Snapshot":
        """Remember the counters of now."""
        return cls(
            guests={
                guest.plan.uid: (
                    (guest.domain_id, guest.booted_at),
                    guest.is_frozen,
                    {name: getattr(guest, name) for name in (*COUNTERS, "swapped")}
                    | {"some_us": guest.pressure.some_us, "full_us": guest.pressure.full_us},
                )
                for guest in world.active
            },
            processes={(guest.plan.uid, guest.domain_id): guest.host_faults for guest in world.active},
            host=(
                world.host.swap_in,
                world.host.swap_out,
                world.host.pressure.some_us,
                world.host.pressure.full_us,
                world.host.sharing.full_scans,
                world.host.sharing.cpu_s,
                world.host.oom_kills,
            ),
            dirty={
                (guest.plan.uid, name): guest.disk.dirty_since(mark, world.tick)
                for guest in world.guests
                for name, mark in guest.disk.checkpoints.items()
            },
        )


def check_world(world: World, before: Snapshot) -> None:
    """Check everything; `before` is from the tick before."""
    check_host(world)
    check_sharing(world)
    check_jobs(world)
    now = Snapshot.of(world)
    assert all(pages >= before.dirty.get(key, 0) for key, pages in now.dirty.items()), "J2: a dirty bit was lost"
    assert all(new >= old for new, old in zip(now.host, before.host, strict=True)), "C1: a counter of the host fell"
    both = now.processes.keys() & before.processes.keys()
    assert all(now.processes[process] >= before.processes[process] for process in both), "C1: of a process"
    for guest in world.active:
        check_guest(guest)
        earlier = before.guests.get(guest.plan.uid)
        if earlier is None or earlier[0] != (guest.domain_id, guest.booted_at):
            continue
        _, was_frozen, old = earlier
        _, is_frozen, new = now.guests[guest.plan.uid]
        moved = {name: new[name] - old[name] for name in new}
        fell = [name for name, change in moved.items() if change < 0 and name != "swapped"]
        assert not fell, f"C1: {fell} of {guest.plan.name} fell"
        assert moved["swapped"] == moved["swap_out"] - moved["swap_in"] - moved["swap_released"], "G5"
        if not was_frozen and not is_frozen:
            assert guest.anon + guest.swapped <= guest.demand.pages_at(world.tick), "G6"


def check_host(world: World) -> None:
    """H1 to H3: no page is lost or made, none is negative."""
    host = world.host
    resident = sum(guest.resident for guest in world.active if not guest.plan.has_hugepages)
    overheads = sum(guest.overhead for guest in world.active)
    held = host.system + host.slab + host.cache + host.backup_buffers + host.plan.hugepages + resident + overheads
    assert host.total == held - host.sharing.saved + host.free, "H1"
    assert host.overheads == overheads, "H1"
    assert host.swap_used == sum(guest.host_swapped for guest in world.active), "H2"
    assert 0 <= host.swap_used <= host.plan.swap_capacity, "H2"
    assert host.free >= 0, "H3"
    assert host.cache >= 0, "H3"
    in_hugepages = sum(guest.plan.maximum for guest in world.active if guest.plan.has_hugepages)
    assert host.hugepages_free == host.plan.hugepages - in_hugepages >= 0, "H1"
    assert 0 <= host.pressure.full_us <= host.pressure.some_us, "C2"


def check_guest(guest: Guest) -> None:
    """G1 to G5, C2 and J1 for one guest."""
    plan = guest.plan
    assert guest.current == guest.kernel + guest.anon + guest.cache + guest.free, "G1"
    assert min(guest.anon, guest.cache, guest.free) >= 0, "G1"
    assert 0 <= plan.maximum - guest.current <= plan.maximum - guest.kernel, "G2"
    if plan.is_pinned:
        assert guest.backed == plan.maximum, "G3"
        assert guest.host_swapped == 0, "G3"
    else:
        assert guest.used <= guest.backed <= guest.current, "G3"
    assert 0 <= guest.host_swapped <= guest.backed, "G4"
    assert min(guest.ksm_self, guest.ksm_zero, guest.ksm_common) >= 0, "G4"
    assert guest.merged <= guest.resident, "G4"
    assert 0 <= guest.swapped <= plan.swap_capacity, "G5"
    assert 0 <= guest.pressure.full_us <= guest.pressure.some_us, "C2"
    pressure = guest.pressure.read()
    assert 0 <= pressure.full_avg10_ratio <= pressure.some_avg10_ratio <= 1, "C2"
    assert 0 < guest.progress <= 1
    if guest.job is not None:
        assert 0 <= guest.job.done <= guest.job.total, "J1"


def check_jobs(world: World) -> None:
    """J1 and J2: what jobs hold is what host and store miss, and bitmaps hold what was written and no more."""
    store = world.store
    jobs = [guest.job for guest in world.active if isinstance(guest.job, BackupJob)]
    held = [job for job in jobs if job.stage is not Stage.QUEUED]
    assert world.host.backup_buffers == sum(job.buffers for job in held), "J1"
    assert store.senders == len(held), "J1"
    assert store.used == store.stored + sum(job.stored for job in jobs), "J1"
    assert store.used <= store.capacity, "J1"
    assert all(0 <= job.stored <= job.sent <= job.read <= job.data for job in jobs), "J1"
    assert all(job.read <= job.done for job in jobs), "J1"
    for guest in world.guests:
        disk = guest.disk
        marks = list(disk.checkpoints.values())
        dirty = [disk.dirty_since(mark, world.tick) for mark in marks]
        assert dirty == sorted(dirty, reverse=True), "J2: an older bitmap holds less than a newer one"
        for mark, pages in zip(marks, dirty, strict=True):
            writes = math.ceil(max(0, disk.written(world.tick) - mark.written) / WRITE_BYTES)
            assert pages <= (writes + 1) * GRANULE_PAGES, "J2: a bitmap holds more than was written"


def check_sharing(world: World) -> None:
    """K1: what KSM says it saves is what follows from each guest's merged pages.

    Within a guest, and of empty pages, no more than one is kept beyond those that are saved. Of a family more may be:
    when a guest ends, pages that it shared with one other stay merged with a single user, as in a kernel.
    """
    sharing = world.host.sharing
    own = [guest.ksm_self for guest in world.active]
    zero = sum(guest.ksm_zero for guest in world.active)
    families: dict[tuple[str, int], list[int]] = defaultdict(list)
    for guest in world.active:
        families[guest.plan.family.name, guest.patch_level].append(guest.ksm_common)
    kept = sum(pages - pages // 2 for pages in own) + -(-zero // MOST_USERS) + sum(map(max, families.values()))
    merged = sum(own) + zero + sum(map(sum, families.values()))
    assert sharing.shared == kept, "K1"
    assert sharing.sharing == sharing.saved == merged - kept >= 0, "K1"
    assert sharing.unshared >= 0, "K1"
    assert sharing.volatile >= 0, "K1"
