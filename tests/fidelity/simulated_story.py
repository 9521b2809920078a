"""The simulator tells a story."""

from typing import Final

from tests.fidelity.curves import Curves, Recorder
from tests.fidelity.story import HOT_MIB, Action, Backup, Balloon, Hold, Merge, Story, Write
from vmtop.backends.simulator.backup import BackupJob, BackupSpec, start_backup
from vmtop.backends.simulator.dice import Dice
from vmtop.backends.simulator.fleet import Template, sample_fleet
from vmtop.backends.simulator.ksm import Run
from vmtop.backends.simulator.plan import PAGES_PER_GIB, PAGES_PER_MIB, GuestPlan, HostPlan, Kind, linux
from vmtop.backends.simulator.publish import Publisher
from vmtop.backends.simulator.workload import Demand
from vmtop.backends.simulator.world import World
from vmtop.units import MIB

PAGES_TO_SCAN: Final = 5000
SLEEP_S: Final = 0.02
"""How the real stories set KSM."""

ZRAM_S: Final = 10e-6
"""One read from zram, the only thing that these guests wait for."""

TMPFS_PAGES: Final = 3 * PAGES_PER_MIB
"""The root file system of the real guests, which is their only page cache."""
COMMON_PAGES: Final = 110 * PAGES_PER_MIB
"""What the two real guests with the same hog of 80 MiB have in common at most: the hog, kernel and root file system."""
FILE_SYSTEM_MIB: Final = 6
"""What an empty file system takes of the real guests' disk."""
OVERHEAD_PAGES: Final = 88 * PAGES_PER_MIB
"""What QEMU needs besides the guest's memory under software emulation: RSS less that of the mapping with the guest's
memory in /proc/<pid>/smaps. 32 MiB of it are translated code."""
TOUCHED_SHARE: Final = 0.36
"""Share of their free memory that real guests have touched after boot: 49 of 135 MiB."""


class StoryDemand(Demand):
    """The demand of a program that does what a story says."""

    __slots__ = ("pages",)

    def __init__(self, dice: Dice, plan: GuestPlan) -> None:
        super().__init__(dice, plan)
        self.pages = 0

    def pages_at(self, tick: int) -> int:
        """What the story said last."""
        return self.pages


class Stage:
    """A world in which a story happens, watched like the real one."""

    def __init__(self, story: Story) -> None:
        dice = Dice(1)
        host_plan = HostPlan(
            total=24 * PAGES_PER_GIB, cpus=2, swap_capacity=0, latency_s=ZRAM_S, has_ksm=False, has_ksmtuned=False
        )
        self.recorder: Final = Recorder()
        self.world: Final = World(host_plan, _plans(story, dice), dice, epoch_s=1_767_614_400)
        self._publisher = Publisher(self.world, "simulator:///story")
        self._first = self.world.guests[0]
        self._is_writing = False
        self._backups: list[BackupJob] = []
        for guest in self.world.guests:
            guest.demand = StoryDemand(dice, guest.plan)

    def act(self, action: Action) -> None:
        """Do what a step says."""
        match action:
            case Hold(mib=mib, is_touched=is_touched):
                for guest in self.world.guests:
                    assert isinstance(guest.demand, StoryDemand)
                    guest.demand.pages = mib * PAGES_PER_MIB
                    guest.plan = guest.plan._replace(hot_share=1.0 if is_touched else 0.0)
            case Balloon(mib=mib):
                for guest in self.world.guests:
                    guest.target = mib * PAGES_PER_MIB
            case Merge():
                sharing = self.world.host.sharing
                sharing.run, sharing.pages_to_scan, sharing.sleep_s = Run.MERGE, PAGES_TO_SCAN, SLEEP_S
            case Write():
                self._is_writing = True
            case Backup(is_full=is_full):
                known = [*self._first.disk.checkpoints]
                spec = BackupSpec(checkpoint=str(len(known)), since=None if is_full else known[-1])
                self._backups.append(start_backup(self.world, self._first, spec))

    def pass_second(self) -> None:
        """Live on, and take a sample."""
        if not self._is_writing:
            self._first.disk.lose(self.world.tick + 1, 1.0)
        self._is_writing = False
        self.world.advance()
        time_s = float(self.world.tick)
        sample = self._publisher.read(time_s=time_s, monotonic_s=time_s, read_s=0.0, passed=1.0)
        more = {
            "balloon": self._first.current / PAGES_PER_MIB,
            "to read": sum(job.total for job in self._backups) / PAGES_PER_MIB,
            "read": sum(job.done for job in self._backups) / PAGES_PER_MIB,
            "written": sum(job.stored for job in self._backups) / PAGES_PER_MIB,
        }
        self.recorder.add(time_s, sample, self._first.plan.uuid, more)


def tell(story: Story) -> Curves:
    """Have guests as small as the real ones live through it."""
    stage = Stage(story)
    steps = []
    stage.pass_second()
    for step in story.steps:
        start_s = float(stage.world.tick)
        stage.act(step.action)
        while stage.world.tick < start_s + step.lasts_s:
            stage.pass_second()
        steps.append((start_s, float(stage.world.tick)))
    return stage.recorder.curves(story.name, story.shown, "the simulator", steps)


def _plans(story: Story, dice: Dice) -> tuple[GuestPlan, ...]:
    """Guests that are alike, without anything that the dice decide."""
    lab = linux("lab")._replace(common_pages=COMMON_PAGES)
    writes = [step.action.mib for step in story.steps if isinstance(step.action, Write)]
    allocated = max(writes, default=0) + FILE_SYSTEM_MIB
    changes = {
        "maximum": story.memory_mib * PAGES_PER_MIB,
        "vcpus": 1,
        "utilisation": 0.0,
        "file_set": TMPFS_PAGES,
        "file_hot": TMPFS_PAGES,
        "read_pages_per_s": 0.0,
        "write_bytes_per_s": HOT_MIB * MIB,
        "disk_bytes": allocated * MIB,
        "disk_capacity_bytes": max(story.disk_mib, allocated) * MIB,
        "zero_share": max(0.0, 1.0 - HOT_MIB / allocated),
        "touched_share": TOUCHED_SHARE,
        "swap_readahead": 1,
        "overhead": OVERHEAD_PAGES,
        "swap_capacity": story.swap_mib * PAGES_PER_MIB,
        "stats_period_s": 1,
        "has_free_page_reporting": False,
    }
    return sample_fleet(dice, [Template(count=story.guests, kind=Kind.STEADY, family=lab, gib=1, changes=changes)])
