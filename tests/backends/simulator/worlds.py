"""Small worlds for tests: every builder gives a healthy one of which a test changes what it is about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vmtop.backends.simulator.dice import Dice
from vmtop.backends.simulator.fleet import DEBIAN, Template, sample_fleet
from vmtop.backends.simulator.plan import PAGES_PER_GIB, GuestPlan, HostPlan, Kind
from vmtop.backends.simulator.world import Director, World

EPOCH_S = 1_700_000_000


def make_plan(uid: int = 1, **changes: Any) -> GuestPlan:
    """A steady Linux guest of 4 GiB that wants half of it and reads few files."""
    (plan,) = sample_fleet(
        Dice(1),
        (
            Template(
                count=1,
                kind=Kind.STEADY,
                family=DEBIAN,
                gib=4,
                changes={
                    "utilisation": 0.5,
                    "file_set": PAGES_PER_GIB // 2,
                    "file_hot": PAGES_PER_GIB // 8,
                    "has_free_page_reporting": False,
                    "touched_share": 0.0,
                    "hot_share": 0.5,
                    "uid": uid,
                    "name": f"web-{uid:02d}",
                    "uuid": f"00000000-0000-4000-8000-{uid:012x}",
                }
                | changes,
            ),
        ),
    )
    return plan


def make_host_plan(**changes: Any) -> HostPlan:
    """A host of 64 GiB, with 8 GiB of swap and without KSM."""
    sizes: dict[str, Any] = {
        "total": 64 * PAGES_PER_GIB,
        "cpus": 16,
        "swap_capacity": 8 * PAGES_PER_GIB,
        "has_ksm": False,
        "has_ksmtuned": False,
    }
    return HostPlan(**(sizes | changes))


def make_world(
    *plans: GuestPlan, host: HostPlan | None = None, directors: Sequence[Director] = (), seed: int = 1
) -> World:
    """A world at tick 0 with these guests."""
    return World(host or make_host_plan(), plans, Dice(seed), epoch_s=EPOCH_S, directors=directors)


def run(world: World, ticks: int) -> World:
    """Let time pass."""
    for _ in range(ticks):
        world.advance()
    return world


@dataclass
class HeldClock:
    """Time that stands still unless a test moves it."""

    now_s: float = 0.0

    def time(self) -> float:
        """Wall clock."""
        return EPOCH_S + self.now_s

    def monotonic(self) -> float:
        """The same without jumps."""
        return 1_000.0 + self.now_s

    def sleep(self, seconds: float) -> None:
        """Move on at once."""
        self.now_s += seconds
