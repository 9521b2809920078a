"""Jobs: what runs on a guest for a while, such as a backup; at most one at a time.

Each kind of job is a class of its own, next to the phenomenon that it is about (`backup`, `migration`, snapshots). It
begins with `World.begin_job`, gets its turn each second from `run_jobs`, says in `ending` that it is over, and lets go
of what it held in `close`, however it ended. `World.end_job` ends it early; `World.cancel_job` does so for an operator.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from vmtop.backends.simulator.error import Code, refusal
from vmtop.backends.simulator.storage import Pool
from vmtop.model.sample import JobKind
from vmtop.units import PAGE_BYTES


class Ending(NamedTuple):
    """How a job ended."""

    is_good: bool
    error: str | None = None
    """In the words of libvirt. None when nobody says."""
    is_cancelled: bool = False


DONE = Ending(is_good=True)
CANCELLED = Ending(is_good=False, error="Operation canceled", is_cancelled=True)
BLOCK_CANCELLED = Ending(is_good=False, is_cancelled=True)
"""libvirt tells it of jobs of disks with a number."""
VM_GONE = Ending(is_good=False)
"""libvirt gives no reason then."""


@dataclass(slots=True, kw_only=True, eq=False)
class Job(ABC):
    """Something that runs on a guest. Amounts are pages.

    0 <= done <= total always holds; total may grow while the guest writes.
    """

    kind: JobKind
    started_at: int
    total: int
    done: int = 0
    disk: str | None = None
    """The disk of a block job. None for a job of the whole VM."""
    limit: int | None = None
    """Most that it may move in a second. None for no limit."""
    ending: Ending | None = None
    """How it ended, set by the job itself or by who ends it. None while it runs."""

    scratch_used: int = 0
    """Old data of the disk that lies on the host until it is read."""
    scratch_total: int | None = None
    """Room for it, where libvirt tells of it. None for jobs of which it does not."""

    has_progress: ClassVar[bool] = True
    """libvirt shows how far it is."""
    holds_monitor: ClassVar[bool] = False
    """QEMU answers nobody else while it runs, so libvirt shows only the sizes of the VM."""
    can_cancel: ClassVar[bool] = True
    can_limit: ClassVar[bool] = True
    is_internal: ClassVar[bool] = False
    """The job of a disk is a part of a command that holds the VM, so that it can be neither cancelled nor limited."""

    @abstractmethod
    def step(self, share: int, /) -> int:
        """Work for one second, moving at most `share` pages from or to the storage pool; tells how many it did."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything; called once, with `ending` set, however it ended."""

    def cancelled(self) -> Ending:
        """How it ends when an operator cancels it."""
        return CANCELLED if self.disk is None else BLOCK_CANCELLED

    def capped(self, rate: int) -> int:
        """A rate as far as the limit allows it."""
        return rate if self.limit is None else min(rate, self.limit)

    def set_limit(self, bytes_per_s: int) -> None:
        """Move no more than this from now on; 0 for no limit.

        Raises:
            ControlError: this kind of job has no limit.
        """
        if not self.can_limit:
            raise refusal(Code.OPERATION_INVALID, f"the {self.kind} has no limit")
        self.limit = max(1, bytes_per_s // PAGE_BYTES) if bytes_per_s else None


def run_jobs(jobs: Sequence[Job], pool: Pool, tick: int) -> None:
    """One second of all jobs; what one leaves of its share of the storage goes to those after it.

    The first second of each goes into setting it up.
    """
    left = pool.left_for_jobs()
    for place, job in enumerate(jobs):
        if job.started_at < tick:
            moved = job.step(left // (len(jobs) - place))
            left -= moved
            pool.busy_now += moved
