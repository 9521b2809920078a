"""Host and guests, second by second."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from vmtop.backends.simulator.backing import report_free_pages, request, serve
from vmtop.backends.simulator.balloon import move_balloon
from vmtop.backends.simulator.dice import Channel, Dice
from vmtop.backends.simulator.error import Code, refusal
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.history import fill_store, settle
from vmtop.backends.simulator.host import Host
from vmtop.backends.simulator.job import VM_GONE, Ending, Job, run_jobs
from vmtop.backends.simulator.ksm import TUNE_S, Run
from vmtop.backends.simulator.plan import NEVER, GuestPlan, HostPlan
from vmtop.backends.simulator.reclaim import (
    KILLED_KEEPS,
    grow,
    is_out_of_memory,
    kill_biggest_program,
    make_room,
    read_files,
    restore_host_watermark,
    restore_watermark,
    shrink,
    swap_in,
    swap_in_guests,
    wanted_back,
)
from vmtop.backends.simulator.report import take_report
from vmtop.backends.simulator.stall import count_stalls
from vmtop.backends.simulator.store import ROOM_TIMES, Store
from vmtop.backends.simulator.workload import Demand
from vmtop.model.sample import FinishedJob
from vmtop.units import PAGE_BYTES

PROGRAM_RESTART_S = (30, 60)
"""A killed program starts again after a time between these."""
VM_RESTART_S = 60
"""A VM whose process was killed is started again after this time."""
START_RETRY_S = 10
"""A VM for which the host has no memory is tried again after this time."""
NOTICE_S = 60
"""How long something that happened is told."""
LEAST_PROGRESS = 0.01
"""What a stunned guest still does."""
MOST_FINISHED = 1000
"""Finished jobs that wait to be read; of more the oldest are forgotten."""


class Director(Protocol):
    """Something that acts on the world from outside: a schedule, a fault, an operator."""

    def direct(self, world: "World") -> None:
        """Act at the beginning of a tick."""


class World:
    """A host and its guests.

    The order within a second: directors, boots; each guest in turn (report, demand, its own reclaim, file reads, its
    own swap-in, balloon, free page reporting); the gate, where the host backs what guests touched; the host's reclaim,
    swap-in and OOM killer; KSM; jobs; waiting and pressure.
    """

    __slots__ = (
        "_last_domain_id",
        "_notices",
        "_stuns",
        "_waiting",
        "active",
        "clock_ahead_s",
        "dice",
        "directors",
        "epoch_s",
        "finished",
        "guests",
        "host",
        "is_reachable",
        "last_jobs",
        "store",
        "tick",
    )

    def __init__(
        self,
        host_plan: HostPlan,
        guest_plans: Sequence[GuestPlan],
        dice: Dice,
        *,
        epoch_s: int = 0,
        warm_up_s: int = 0,
        operate: Callable[[Host, Sequence[Guest]], None] | None = None,
        swapped_before: int = 0,
        directors: Sequence[Director] = (),
    ) -> None:
        """Build the world as it is `warm_up_s` before the first picture.

        Args:
            host_plan: The host.
            guest_plans: The guests; their uids differ.
            dice: All randomness.
            epoch_s: Wall clock at tick 0, for the time stamps of the guests' figures.
            warm_up_s: Seconds to live before tick 0; at most `WARM_UP_S`.
            operate: Sets the balloon targets that an operator chose before.
            swapped_before: Cold pages of guests that lie in the host's swap from some shortage of the past.
            directors: What acts from outside, in this order.

        Raises:
            ValueError: the guests do not fit on the host by any means.
        """
        self.tick = -warm_up_s
        """The second that was computed last; 0 is the moment of the first picture."""
        self.dice = dice
        self.epoch_s = epoch_s
        self.host = Host(host_plan)
        self.guests = [Guest(plan, Demand(dice, plan)) for plan in guest_plans]
        self.store = Store(ROOM_TIMES * sum(guest.disk.allocated for guest in self.guests))
        self.directors = tuple(directors)
        self.is_reachable = True
        """The connection to libvirt works."""
        self.clock_ahead_s = 0
        """The host's wall clock was set forward by so much."""
        self.finished: deque[FinishedJob] = deque(maxlen=MOST_FINISHED)
        """Jobs that ended and that nobody has read yet, the oldest first."""
        self.last_jobs: dict[str, FinishedJob] = {}
        """UUID -> the last job of that VM that ended."""
        self._notices: dict[str, int] = {}
        self._stuns: dict[Guest, float] = {}
        self._last_domain_id = 0
        if operate is not None:
            operate(self.host, self.guests)
        self.active = [guest for guest in self.guests if guest.plan.starts_at is None]
        """Guests with a process."""
        self._waiting = [guest for guest in self.guests if guest.starts_at != NEVER]
        settle(self.host, self.active, dice, self.tick, swapped_before)
        fill_store(self.store, self.active, dice, epoch_s)
        for guest in self.active:
            guest.domain_id = self._new_domain_id()
            if guest.driver_from != NEVER:
                self._report_before(guest)
        while self.tick < 0:
            self.advance()
        # Nobody was there to be told.
        self.finished.clear()

    @property
    def clock_s(self) -> int:
        """The host's wall clock, seconds since 1970.

        What happens in a second bears the time of its beginning, so that nothing is ever from the future.
        """
        return self.epoch_s + self.tick - 1 + self.clock_ahead_s

    def advance(self) -> None:
        """Let one second pass."""
        self.tick = tick = self.tick + 1
        host, active = self.host, self.active
        for director in self.directors:
            director.direct(self)
        if self._waiting:
            self._start_due()
        host.begin_tick()
        moved = 0
        requests, returns = [], []
        for guest in active:
            guest.reported_current = guest.current
            guest.host_faults_before = guest.host_faults
            if guest.is_frozen:
                guest.disk.lose(tick, 1.0)
                continue
            if tick >= guest.next_report:
                self._report(guest)
            self._live(guest)
            pages = request(guest)
            if pages > 0:
                requests.append((guest, pages))
            if guest.host_swapped:
                returns.append((guest, wanted_back(guest)))
            moved += guest.io_now
        host.pool.busy_now += moved
        host.free += host.sharing.settle()
        rivals = min(host.swap_bandwidth, sum(pages for _, pages in returns))
        served_share = serve(host, active, requests, rivals)
        restore_host_watermark(host, active)
        swap_in_guests(host, active, returns)
        if is_out_of_memory(host, served_share):
            self.kill_biggest_vm()
        if tick % TUNE_S == 0:
            host.tune_sharing(active)
        if host.sharing.run is Run.UNMERGE:
            self._unmerge()
        else:
            host.free += host.sharing.scan(active, tick, host.free - host.least // 2)
        self._run_jobs()
        count_stalls(host, active, tick)
        if self._stuns:
            self._stun_guests()

    def _live(self, guest: Guest) -> None:
        """One second inside a guest."""
        tick = self.tick
        missing = guest.demand.pages_at(tick) - guest.anon - guest.swapped
        if missing > 0:
            if not grow(guest, missing):
                self.kill_program(guest)
        elif missing < 0:
            shrink(guest, -missing)
        if guest.free < guest.low:
            restore_watermark(guest)
        plan, cache = guest.plan, guest.cache
        if cache < plan.file_set and (guest.free > guest.high or cache < plan.file_hot):
            read_files(guest, tick)
        if guest.swapped:
            swap_in(guest)
        if guest.target != guest.current and tick >= guest.driver_from:
            move_balloon(guest, self.host)
        if plan.has_free_page_reporting:
            report_free_pages(guest, self.host)

    def _unmerge(self) -> None:
        """One second of `run` 2: pages part, and others leave memory for them."""
        host = self.host
        room = host.free - host.least
        missing = host.sharing.next_unmerged - room
        if missing > 0:
            room += make_room(host, self.active, missing)
        host.free += host.sharing.unmerge(self.active, room)
        if host.sharing.run is Run.STOP:
            self.tell("unmerging gave up: the host has no memory for more pages; ksmd is stopped")

    def _run_jobs(self) -> None:
        """One second of all jobs but those of VMs that hang."""
        jobs = [(guest, guest.job) for guest in self.active if guest.job is not None and guest.hung_since > self.tick]
        if not jobs:
            return
        run_jobs([job for _, job in jobs], self.host.pool, self.tick)
        for guest, job in jobs:
            if job.ending is not None:
                self.end_job(guest, job.ending)

    def _stun_guests(self) -> None:
        """Take what stuns leave of the next second; what a guest could not write then it writes afterwards."""
        left = {guest: seconds for guest, seconds in self._stuns.items() if guest.is_running}
        for guest, seconds in left.items():
            guest.progress *= max(LEAST_PROGRESS, 1.0 - seconds)
        self._stuns = {guest: seconds - 1.0 for guest, seconds in left.items() if seconds > 1.0}

    def begin_job(self, guest: Guest, job: Job) -> None:
        """Let a job begin on a guest.

        Raises:
            ControlError: the VM is off, or another job holds it.
        """
        if not guest.is_running:
            raise refusal(Code.OPERATION_INVALID, "domain is not running")
        if guest.job is not None:
            raise refusal(Code.OPERATION_TIMEOUT, f"cannot acquire state change lock (held by the {guest.job.kind})")
        guest.job = job

    def end_job(self, guest: Guest, ending: Ending) -> None:
        """End the job of a guest, if there is one; the next sample tells of it."""
        job, guest.job = guest.job, None
        if job is None:
            return
        job.ending = ending
        job.close()
        finished = self.last_jobs[guest.plan.uuid] = FinishedJob(
            uuid=guest.plan.uuid,
            name=guest.plan.name,
            kind=job.kind,
            is_good=ending.is_good,
            error=ending.error,
            ended_s=float(self.clock_s),
            elapsed_s=float(self.tick - job.started_at),
            processed_bytes=job.done * PAGE_BYTES if job.has_progress else None,
            disk=job.disk,
            is_cancelled=ending.is_cancelled,
        )
        self.finished.append(finished)
        if not ending.is_good and ending.error is not None:
            how = "was cancelled" if ending.is_cancelled else f"failed: {ending.error}"
            self.tell(f"{job.kind} of {guest.plan.name} {how}")

    def cancel_job(self, guest: Guest) -> None:
        """End the job of a guest as `virsh domjobabort` does.

        Raises:
            ControlError: there is none, or it cannot be cancelled.
        """
        # libvirt counts jobs of disks not among those of the VM.
        if guest.job is None or guest.job.disk is not None:
            raise refusal(Code.OPERATION_INVALID, "no job is active on the domain")
        if not guest.job.can_cancel:
            raise refusal(Code.OPERATION_TIMEOUT, f"cannot acquire state change lock (held by the {guest.job.kind})")
        self.end_job(guest, guest.job.cancelled())

    def add(self, plan: GuestPlan) -> Guest:
        """Define a VM that was not there before, and start it."""
        guest = Guest(plan, Demand(self.dice, plan))
        self.guests.append(guest)
        self.start(guest)
        return guest

    def start(self, guest: Guest, at: int | None = None) -> None:
        """Boot a guest that is off, now or at a later tick; of several such orders the last one counts.

        Raises:
            ControlError: it runs.
        """
        if guest.is_running:
            raise refusal(Code.OPERATION_INVALID, "domain is already running")
        guest.starts_at = self.tick if at is None else at
        if guest not in self._waiting:
            self._waiting.append(guest)

    def stop(self, guest: Guest) -> None:
        """End the process of a guest at once, as `virsh destroy` does."""
        self.end_job(guest, VM_GONE)
        self.host.dismiss(guest)
        self.active.remove(guest)
        guest.power_off()
        guest.disk.stop(self.tick)

    def crash(self, guest: Guest) -> None:
        """The process of a guest is killed; the VM is started again a minute later."""
        self.stop(guest)
        guest.is_crashed = True
        guest.disk.lose_checkpoints()
        self.start(guest, self.tick + VM_RESTART_S)

    def stun(self, guest: Guest, seconds: float) -> None:
        """Stop the vCPUs of a guest for a moment that nobody sees, from the next second on."""
        self._stuns[guest] = self._stuns.get(guest, 0.0) + seconds

    def tell(self, text: str, lasts_s: int = NOTICE_S) -> None:
        """Let the operator know that something happened, for a while."""
        self._notices[text] = self.tick + lasts_s

    def withdraw(self, text: str) -> None:
        """Stop telling it."""
        self._notices.pop(text, None)

    def notices(self) -> tuple[str, ...]:
        """What happened lately, oldest first."""
        self._notices = {text: until for text, until in self._notices.items() if until > self.tick}
        return tuple(self._notices)

    def _new_domain_id(self) -> int:
        self._last_domain_id += 1
        return self._last_domain_id

    def _start_due(self) -> None:
        due = [guest for guest in self._waiting if guest.starts_at <= self.tick]
        for guest in due:
            if self.has_memory_for(guest, guest.kernel):
                guest.boot(self.tick)
                self.launch(guest)
            else:
                guest.starts_at = self.tick + START_RETRY_S

    def launch(self, guest: Guest) -> None:
        """Count a process that started, with the memory that it holds."""
        if guest in self._waiting:
            self._waiting.remove(guest)
        guest.domain_id = self._new_domain_id()
        guest.disk.go(self.tick)
        self.host.admit(guest)
        self.active.append(guest)

    def has_memory_for(self, guest: Guest, held: int) -> bool:
        """Whether a process would start whose guest holds so much at first; makes room for it."""
        host, plan = self.host, guest.plan
        if plan.has_hugepages:
            if host.hugepages_free < plan.maximum:
                return False
            held = 0
        pages = guest.overhead + (plan.maximum if plan.has_vfio else held)
        missing = pages - (host.free - host.least)
        return missing <= 0 or make_room(host, self.active, missing) >= missing

    def _report_before(self, guest: Guest) -> None:
        """Send what a guest had sent last when the world began."""
        if guest.stats_period_s == 0:
            fresh = Guest(guest.plan, guest.demand)
            guest.report = take_report(fresh, 0, self.epoch_s + guest.booted_at)
            guest.next_report = NEVER
            return
        at = min(self.tick, guest.plan.reports_until)
        guest.report = take_report(guest, self.tick, self.epoch_s + at)

    def _report(self, guest: Guest) -> None:
        """Send figures; they are those of the end of the second before."""
        if self.tick > guest.plan.reports_until:
            guest.next_report = NEVER
            return
        # With a period of 0 a guest reports once, when its driver loads, and that stays for ever.
        guest.next_report = self.tick + guest.stats_period_s if guest.stats_period_s else NEVER
        guest.report = take_report(guest, self.tick, self.clock_s + guest.flaws.clock_ahead_s)

    def kill_program(self, guest: Guest) -> None:
        """Let the guest's own OOM killer act; what it ended starts anew after a while."""
        kill_biggest_program(guest)
        wait_s = int(self.dice.between(*PROGRAM_RESTART_S, guest.plan.uid, Channel.RESTART, self.tick))
        guest.demand.restart(self.tick + wait_s, KILLED_KEEPS)

    def kill_biggest_vm(self) -> None:
        """What the host's OOM killer does. Source: `oom_badness` in mm/oom_kill.c (huge pages do not count)."""
        victim = max(self.active, key=_badness, default=None)
        if victim is not None:
            self.host.oom_kills += 1
            self.tell(f"the host's OOM killer ended {victim.plan.name}")
            self.crash(victim)


def _badness(guest: Guest) -> tuple[int, int]:
    return guest.overhead + (0 if guest.plan.has_hugepages else guest.backed), guest.plan.uid
