"""What must hold after every tick of a simulated world, whatever happens in it."""

from collections import defaultdict
from dataclasses import dataclass

from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.ksm import MOST_USERS
from vmtop.backends.simulator.world import World

COUNTERS = ("swap_in", "swap_out", "swap_released", "major_faults", "host_faults", "oom_kills")


@dataclass(frozen=True)
class Snapshot:
    """What of a world is compared with a later tick."""

    guests: dict[int, tuple[int | None, bool, dict[str, int]]]
    host: tuple[int, ...]

    @classmethod
    def of(cls, world: World) -> "Snapshot":
        """Remember the counters of now."""
        return cls(
            guests={
                guest.plan.uid: (
                    guest.domain_id,
                    guest.is_frozen,
                    {name: getattr(guest, name) for name in (*COUNTERS, "swapped")}
                    | {"some_us": guest.pressure.some_us, "full_us": guest.pressure.full_us},
                )
                for guest in world.active
            },
            host=(
                world.host.swap_in,
                world.host.swap_out,
                world.host.pressure.some_us,
                world.host.pressure.full_us,
                world.host.sharing.full_scans,
            ),
        )


def check_world(world: World, before: Snapshot) -> None:
    """Check everything; `before` is from the tick before."""
    check_host(world)
    check_sharing(world)
    now = Snapshot.of(world)
    assert all(new >= old for new, old in zip(now.host, before.host, strict=True)), "C1: a counter of the host fell"
    for guest in world.active:
        check_guest(guest)
        earlier = before.guests.get(guest.plan.uid)
        if earlier is None or earlier[0] != guest.domain_id:
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


def check_sharing(world: World) -> None:
    """K1: what KSM says it saves is what follows from each guest's merged pages."""
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
