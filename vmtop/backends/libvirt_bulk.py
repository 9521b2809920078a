"""One bulk call for all VMs, and how to live with one that hangs.

A hung QEMU blocks the first bulk call that reaches it for as long as it hangs, whatever flags the call has. So that
call is left behind on its thread, where it goes on holding the hung VM's lock; the flag NOWAIT then makes every later
bulk call pass this VM by at once. The VM's row comes with its sizes only, and the daemon can tell how long QEMU has
owed it an answer. When QEMU goes on, the old call ends, and the next one has everything again.

The daemon does not know that a VM hangs before somebody waits for it, so each hung VM costs a call that is left behind.
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from vmtop.backends.libvirt_link import (
    MOST_LEFT,
    NO_DOMAIN,
    NO_SUPPORT,
    OPERATION_INVALID,
    Link,
    Links,
    Told,
    ask_if_told,
)
from vmtop.backends.libvirt_parse import Stats, balloon_stats
from vmtop.model.sample import Answer

HUNG_MS = 750
"""QEMU hangs when it has owed an answer for so long; a healthy one answers within a few milliseconds."""

LOOK_S = (HUNG_MS + 50) / 1000
"""After its deadline a bulk call is looked after so often: a VM that holds it up is known by then."""

MOST_LOOKS = 10
"""So often a bulk call is looked after: on a host that swaps, libvirt answers slowly, but answers."""

TOO_MANY_HANG = (
    f"more VMs hang than calls to libvirt may be left waiting for them ({MOST_LEFT + 1}): libvirt is asked for no "
    "figures until one of them goes on, and all other VMs show their last ones"
)
IS_SLOW = "libvirt has not answered yet, though no further VM hangs: all VMs show their last figures until it does"

_OCCUPIED = 2
"""VIR_DOMAIN_CONTROL_OCCUPIED: a command was sent to QEMU, and it has not answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What libvirt told about one VM."""

    uuid: str
    name: str
    domain_id: int | None
    """None while the VM is off."""
    stats: Stats
    answer: Answer
    owed_ms: int | None
    """For how long QEMU has owed an answer. None when it owes none, or is not known to."""

    @property
    def is_full(self) -> bool:
        """Nothing is missing."""
        return self.answer is Answer.FULL


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one reading brought."""

    running: Sequence[Row]
    off: Sequence[Row] | None
    """None when they were not asked for."""
    node_memory: Told
    """virNodeGetMemoryStats; empty when it was not asked for, or this driver has none."""
    node_ksm: Told
    """virNodeGetMemoryParameters, likewise."""
    hindrance: str | None
    """Why no VM was asked, in words. None when all were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to read besides the VMs that run."""

    wants_off: bool
    """VMs that are off, too."""
    wants_node: bool
    """The host's memory as libvirt sees it."""


class BulkReader:
    """Reads all VMs of one daemon, whichever of them hang."""

    def __init__(self, reader: "RowReader", links: Links, sampler: Link, side: Link, deadline_s: float) -> None:
        """Take two connections.

        Args:
            reader: what to do with a connection.
            links: opens a replacement for a sampler that is left behind.
            sampler: where the bulk calls run.
            side: where nothing runs that waits for a VM.
            deadline_s: how long a call may take before somebody looks what holds it up.
        """
        self._reader = reader
        self._links = links
        self._sampler = sampler
        self._side = side
        self._deadline_s = deadline_s
        self._request: Request
        self._asked: Future[Reply]
        self._hindrance: str | None = None
        """What the last reply said; then `_asked` was not answered in time."""
        self._debts: Mapping[str, int] = {}
        """UUIDs of VMs that bulk calls pass by -> for how many milliseconds QEMU owed an answer at the last look."""

    def begin(self, request: Request) -> None:
        """Send the call off; it runs while the caller does something else."""
        self._request = request
        if self._hindrance is None:
            self._ask()

    def finish(self) -> Reply:
        """Wait for the answer, for as long as is reasonable, and get one in spite of VMs that hang.

        Raises:
            TimeoutError: the daemon itself does not answer.
            libvirtError: the call failed.
        """
        # An answer that was slow is good; one that comes when a VM goes on is as old as that VM's hang.
        is_outdated = self._hindrance is TOO_MANY_HANG
        wait_s = self._deadline_s
        looks = 2 if self._hindrance is IS_SLOW else MOST_LOOKS
        self._hindrance = None
        for _ in range(looks):
            reply = None if is_outdated else self._wait(wait_s)
            if reply is not None:
                self._debts = {row.uuid: row.owed_ms for row in reply.running if row.owed_ms is not None}
                return reply
            wait_s = min(self._deadline_s, LOOK_S)
            debts = self._side.ask(self._reader.read_debts, self._deadline_s)
            if self._sampler.opened.done() and self._is_held_up(debts):
                if self._links.stuck >= MOST_LEFT:
                    self._hindrance = TOO_MANY_HANG
                    break
                self._debts = debts
                self._links.abandon(self._sampler)
                self._sampler = self._links.open("vmtop-bulk")
            elif not is_outdated:
                continue
            self._ask()
            is_outdated = False
        self._hindrance = hindrance = self._hindrance or IS_SLOW
        request = self._request
        return self._side.ask(
            lambda connection: self._reader.read_states(connection, request, hindrance), self._deadline_s
        )

    def read_off(self) -> Sequence[Row]:
        """VMs that are off, anew. Raises what `finish` raises."""
        return self._side.ask(self._reader.read_off, self._deadline_s)

    def _ask(self) -> None:
        request = self._request
        self._asked = self._sampler.submit(lambda connection: self._reader.read(connection, request))

    def _wait(self, wait_s: float) -> Reply | None:
        try:
            return self._asked.result(wait_s)
        except TimeoutError:
            return None

    def _is_held_up(self, debts: Mapping[str, int]) -> bool:
        """Whether a VM hangs that the call does not pass by: its debt is new, for old ones only grow."""
        return any(owed_ms >= HUNG_MS and owed_ms < self._debts.get(uuid, math.inf) for uuid, owed_ms in debts.items())


class RowReader:
    """What is asked of libvirt, on whichever connection."""

    def __init__(self, binding: Any, *, is_qemu: bool) -> None:
        """Take the libvirt module, and whether the VMs are QEMU's: only there a missing figure means a hold-up."""
        self._binding = binding
        self._is_qemu = is_qemu
        self._state = binding.VIR_DOMAIN_STATS_STATE
        self._balloon = binding.VIR_DOMAIN_STATS_BALLOON
        self._running = binding.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
        self._off = binding.VIR_CONNECT_GET_ALL_DOMAINS_STATS_INACTIVE
        self._nowait = binding.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT

    def read(self, connection: Any, request: Request) -> Reply:
        """Everything about VMs that run, and what else the request names."""
        return Reply(
            running=self._read_rows(connection, self._running),
            off=self.read_off(connection) if request.wants_off else None,
            node_memory=self._read_node_memory(connection, request),
            node_ksm=self._read_node_ksm(connection, request),
            hindrance=None,
        )

    def read_off(self, connection: Any) -> Sequence[Row]:
        """VMs that are off."""
        return self._read_rows(connection, self._off)

    def read_states(self, connection: Any, request: Request, hindrance: str) -> Reply:
        """What the daemon knows without asking VMs."""
        domains = connection.getAllDomainStats(self._state, self._running | self._nowait)
        rows = [self._make_row(domain, stats, Answer.NOT_ASKED) for domain, stats in domains]
        return Reply(
            running=rows,
            off=self.read_off(connection) if request.wants_off else None,
            node_memory=self._read_node_memory(connection, request),
            node_ksm=self._read_node_ksm(connection, request),
            hindrance=hindrance,
        )

    def read_debts(self, connection: Any) -> dict[str, int]:
        """UUIDs of VMs whose QEMU owes an answer -> for how many milliseconds."""
        domains = connection.listAllDomains(self._binding.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        debts = ((domain.UUIDString(), self._owed_ms(domain)) for domain in domains)
        return {uuid: owed_ms for uuid, owed_ms in debts if owed_ms is not None}

    def _read_node_memory(self, connection: Any, request: Request) -> Told:
        return ask_if_told(self._binding, connection.getMemoryStats, -1) if request.wants_node else Told()

    def _read_node_ksm(self, connection: Any, request: Request) -> Told:
        return ask_if_told(self._binding, connection.getMemoryParameters) if request.wants_node else Told()

    def _read_rows(self, connection: Any, which: int) -> Sequence[Row]:
        rows = []
        for domain, stats in connection.getAllDomainStats(self._state | self._balloon, which | self._nowait):
            try:
                full_stats = stats if "balloon.current" in stats else self._ask_one_by_one(domain) | stats
                is_full = not self._is_qemu or which == self._off or "balloon.rss" in stats
                rows.append(self._make_row(domain, full_stats, Answer.FULL if is_full else Answer.BUSY))
            except self._binding.libvirtError as error:
                # It ended after the bulk call: a VM that is gone has no row.
                if error.get_error_code() not in {NO_DOMAIN, OPERATION_INVALID}:
                    raise
        return rows

    def _make_row(self, domain: Any, stats: Stats, answer: Answer) -> Row:
        domain_id = domain.ID()
        owed_ms = None if answer is Answer.FULL else self._owed_ms(domain)
        return Row(
            uuid=domain.UUIDString(),
            name=domain.name(),
            domain_id=domain_id if domain_id >= 0 else None,
            stats=stats,
            answer=Answer.HUNG if owed_ms is not None and owed_ms >= HUNG_MS else answer,
            owed_ms=owed_ms,
        )

    def _ask_one_by_one(self, domain: Any) -> dict[str, int]:
        memory_stats: Mapping[str, int] = {}
        if domain.ID() >= 0:
            memory_stats = ask_if_told(self._binding, domain.memoryStats).figures
        return balloon_stats(domain.info(), memory_stats)

    def _owed_ms(self, domain: Any) -> int | None:
        try:
            state, _, milliseconds = domain.controlInfo()
        except self._binding.libvirtError as error:
            if error.get_error_code() not in {NO_DOMAIN, OPERATION_INVALID, NO_SUPPORT}:
                raise
            return None
        return int(milliseconds) if state == _OCCUPIED else None
