"""Host and guests, second by second."""

from collections.abc import Callable, Sequence
from typing import Protocol

from vmtop.backends.simulator.backing import report_free_pages, request, serve
from vmtop.backends.simulator.backup import end_job, run_jobs
from vmtop.backends.simulator.balloon import move_balloon
from vmtop.backends.simulator.dice import Channel, Dice
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.history import settle
from vmtop.backends.simulator.host import Host
from vmtop.backends.simulator.ksm import TUNE_S
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
)
from vmtop.backends.simulator.report import take_report
from vmtop.backends.simulator.stall import count_stalls
from vmtop.backends.simulator.workload import Demand

PROGRAM_RESTART_S = (30, 60)
"""A killed program starts again after a time between these."""
VM_RESTART_S = 60
"""A VM whose process was killed is started again after this time."""
START_RETRY_S = 10
"""A VM for which the host has no memory is tried again after this time."""
NOTICE_S = 60
"""How long something that happened is told."""


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
        "_waiting",
        "active",
        "dice",
        "directors",
        "epoch_s",
        "guests",
        "host",
        "is_reachable",
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
        self.directors = tuple(directors)
        self.is_reachable = True
        """The connection to libvirt works."""
        self._notices: dict[str, int] = {}
        self._last_domain_id = 0
        if operate is not None:
            operate(self.host, self.guests)
        self.active = [guest for guest in self.guests if guest.plan.starts_at is None]
        """Guests with a process."""
        self._waiting = [guest for guest in self.guests if guest.starts_at != NEVER]
        settle(self.host, self.active, dice, self.tick, swapped_before)
        for guest in self.active:
            guest.domain_id = self._new_domain_id()
            if guest.driver_from != NEVER:
                self._report_before(guest)
        while self.tick < 0:
            self.advance()

    def advance(self) -> None:
        """Let one second pass."""
        self.tick = tick = self.tick + 1
        host, active = self.host, self.active
        for director in self.directors:
            director.direct(self)
        if self._waiting:
            self._start_due()
        host.begin_tick()
        requests = []
        for guest in active:
            guest.reported_current = guest.current
            guest.host_faults_before = guest.host_faults
            if guest.is_frozen:
                continue
            if tick >= guest.next_report:
                self._report(guest)
            self._live(guest)
            pages = request(guest)
            if pages > 0:
                requests.append((guest, pages))
            host.pool.busy_now += guest.io_now
        host.free += host.sharing.settle()
        served_share = serve(host, active, requests)
        restore_host_watermark(host, active)
        swap_in_guests(host, active)
        if is_out_of_memory(host, served_share):
            self._kill_biggest_vm()
        if tick % TUNE_S == 0:
            host.tune_sharing(active)
        host.free += host.sharing.scan(active, tick, host.free - host.least // 2)
        for guest in run_jobs(host, [guest for guest in active if guest.job is not None], tick):
            self.tell(f"backup of {guest.plan.name} failed: no space left on the target; its dirty bitmap is kept")
        count_stalls(host, active, tick)

    def _live(self, guest: Guest) -> None:
        """One second inside a guest."""
        tick = self.tick
        missing = guest.demand.pages_at(tick) - guest.anon - guest.swapped
        if missing > 0:
            if not grow(guest, missing):
                self._kill_program(guest)
        elif missing < 0:
            shrink(guest, -missing)
        if guest.free < guest.low:
            restore_watermark(guest)
        if guest.cache < guest.plan.file_set:
            read_files(guest, tick)
        if guest.swapped:
            swap_in(guest)
        if guest.target != guest.current and tick >= guest.driver_from:
            move_balloon(guest, self.host)
        if guest.plan.has_free_page_reporting:
            report_free_pages(guest, self.host)

    def start(self, guest: Guest, at: int | None = None) -> None:
        """Boot a guest that is off, now or at a later tick."""
        guest.starts_at = self.tick if at is None else at
        self._waiting.append(guest)

    def stop(self, guest: Guest) -> None:
        """End the process of a guest at once, as `virsh destroy` does."""
        end_job(guest, self.host, is_good=False)
        self.host.dismiss(guest)
        self.active.remove(guest)
        guest.power_off()

    def crash(self, guest: Guest) -> None:
        """The process of a guest is killed; the VM is started again a minute later."""
        self.stop(guest)
        guest.is_crashed = True
        self.start(guest, self.tick + VM_RESTART_S)

    def tell(self, text: str, lasts_s: int = NOTICE_S) -> None:
        """Let the operator know that something happened, for a while."""
        self._notices[text] = self.tick + lasts_s

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
            if not self._has_memory_for(guest):
                guest.starts_at = self.tick + START_RETRY_S
                continue
            self._waiting.remove(guest)
            guest.boot(self.tick)
            guest.domain_id = self._new_domain_id()
            self.host.admit(guest)
            self.active.append(guest)

    def _has_memory_for(self, guest: Guest) -> bool:
        """Whether a start would succeed; makes room for it."""
        host, plan = self.host, guest.plan
        if plan.has_hugepages and host.hugepages_free < plan.maximum:
            return False
        pages = guest.overhead + (plan.maximum if plan.has_vfio else guest.kernel)
        missing = pages - (host.free - host.least)
        return missing <= 0 or make_room(host, self.active, missing) >= missing

    def _report_before(self, guest: Guest) -> None:
        """Send what a guest had sent last when the world began."""
        if guest.plan.stats_period_s == 0:
            fresh = Guest(guest.plan, guest.demand)
            guest.report = take_report(fresh, 0, self.epoch_s + guest.booted_at)
            guest.next_report = NEVER
            return
        at = min(self.tick, guest.plan.reports_until)
        guest.report = take_report(guest, self.tick, self.epoch_s + at)

    def _report(self, guest: Guest) -> None:
        """Send figures; they are those of the end of the second before, and so is their time stamp."""
        if self.tick > guest.plan.reports_until:
            guest.next_report = NEVER
            return
        # With a period of 0 a guest reports once, when its driver loads, and that stays for ever.
        guest.next_report = self.tick + guest.plan.stats_period_s if guest.plan.stats_period_s else NEVER
        guest.report = take_report(guest, self.tick, self.epoch_s + self.tick - 1)

    def _kill_program(self, guest: Guest) -> None:
        kill_biggest_program(guest)
        wait_s = int(self.dice.between(*PROGRAM_RESTART_S, guest.plan.uid, Channel.RESTART, self.tick))
        guest.demand.restart(self.tick + wait_s, KILLED_KEEPS)

    def _kill_biggest_vm(self) -> None:
        """What the host's OOM killer does. Source: `oom_badness` in mm/oom_kill.c (huge pages do not count)."""
        victim = max(self.active, key=_badness, default=None)
        if victim is not None:
            self.host.oom_kills += 1
            self.tell(f"the host's OOM killer ended {victim.plan.name}")
            self.crash(victim)


def _badness(guest: Guest) -> tuple[int, int]:
    return guest.overhead + (0 if guest.plan.has_hugepages else guest.backed), guest.plan.uid
