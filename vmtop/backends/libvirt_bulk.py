"""One bulk call for all VMs, and how to live with one that hangs.

A hung QEMU blocks the first bulk call that reaches it for as long as it hangs, whatever flags the call has. So that
call is left behind on its thread, where it goes on holding the hung VM's lock; the flag NOWAIT then makes every later
bulk call pass this VM by at once. The VM's row comes with its sizes only, and the daemon can tell how long QEMU has
owed it an answer. When QEMU goes on, the old call ends, and the next one has everything again.
"""

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
    ask_if_told,
)
from vmtop.backends.libvirt_parse import Stats, balloon_stats

HUNG_MS = 750
"""QEMU hangs when it has owed an answer for so long; a healthy one answers within a few milliseconds."""

PATIENT_ROUNDS = 6
"""So many deadlines a bulk call gets while no VM hangs: on a host that swaps, libvirt answers slowly, but answers."""

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
    is_full: bool
    """libvirt told everything; otherwise the VM hangs, or something else holds it."""
    owed_ms: int | None
    """For how long QEMU has owed an answer. None when it owes none."""

    @property
    def is_hung(self) -> bool:
        """QEMU owes an answer for too long."""
        return self.owed_ms is not None and self.owed_ms >= HUNG_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one reading brought."""

    running: Sequence[Row]
    off: Sequence[Row] | None
    """None when they were not asked for."""
    node_memory: Mapping[str, int]
    """virNodeGetMemoryStats; empty when it was not asked for, or this driver has none."""
    node_ksm: Mapping[str, int]
    """virNodeGetMemoryParameters, likewise."""
    is_partial: bool
    """No VM was asked, since as many calls hang on VMs as may be left to that."""


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
        self._is_stuck = False

    def begin(self, request: Request) -> None:
        """Send the call off; it runs while the caller does something else."""
        self._request = request
        if not self._is_stuck or self._asked.done():
            self._is_stuck = False
            self._ask()

    def finish(self) -> Reply:
        """Wait for the answer, for as long as is reasonable, and get one in spite of VMs that hang.

        Raises:
            TimeoutError: the daemon itself does not answer.
            libvirtError: the call failed.
        """
        reply = None if self._is_stuck else self._wait()
        if reply is None and self._sampler.opened.done() and self._links.stuck < MOST_LEFT:
            self._links.abandon(self._sampler)
            self._sampler = self._links.open("vmtop-bulk")
            self._ask()
            reply = self._wait_once()
        self._is_stuck = reply is None
        # Another VM hangs, or no more calls may be left behind: what the daemon knows without asking VMs must do.
        return self._side.ask(self._reader.read_states, self._deadline_s) if reply is None else reply

    def read_off(self) -> Sequence[Row]:
        """VMs that are off, anew. Raises what `finish` raises."""
        return self._side.ask(self._reader.read_off, self._deadline_s)

    def _ask(self) -> None:
        request = self._request
        self._asked = self._sampler.submit(lambda connection: self._reader.read(connection, request))

    def _wait(self) -> Reply | None:
        for _ in range(PATIENT_ROUNDS):
            reply = self._wait_once()
            if reply is not None or self._side.ask(self._reader.is_held_up, self._deadline_s):
                return reply
        return None

    def _wait_once(self) -> Reply | None:
        try:
            return self._asked.result(self._deadline_s)
        except TimeoutError:
            return None


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
            node_memory=ask_if_told(self._binding, connection.getMemoryStats, -1) if request.wants_node else {},
            node_ksm=ask_if_told(self._binding, connection.getMemoryParameters) if request.wants_node else {},
            is_partial=False,
        )

    def read_off(self, connection: Any) -> Sequence[Row]:
        """VMs that are off."""
        return self._read_rows(connection, self._off)

    def read_states(self, connection: Any) -> Reply:
        """What the daemon knows about VMs that run without asking them."""
        domains = connection.getAllDomainStats(self._state, self._running | self._nowait)
        rows = [self._make_row(domain, stats, is_full=False) for domain, stats in domains]
        return Reply(running=rows, off=None, node_memory={}, node_ksm={}, is_partial=True)

    def is_held_up(self, connection: Any) -> bool:
        """Whether some VM hangs."""
        domains = connection.listAllDomains(self._binding.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        return any((self._owed_ms(domain) or 0) >= HUNG_MS for domain in domains)

    def _read_rows(self, connection: Any, which: int) -> Sequence[Row]:
        rows = []
        for domain, stats in connection.getAllDomainStats(self._state | self._balloon, which | self._nowait):
            try:
                full_stats = stats if "balloon.current" in stats else self._ask_one_by_one(domain) | stats
                is_full = not self._is_qemu or which == self._off or "balloon.rss" in stats
                rows.append(self._make_row(domain, full_stats, is_full=is_full))
            except self._binding.libvirtError as error:
                # It ended after the bulk call: a VM that is gone has no row.
                if error.get_error_code() not in {NO_DOMAIN, OPERATION_INVALID}:
                    raise
        return rows

    def _make_row(self, domain: Any, stats: Stats, *, is_full: bool) -> Row:
        domain_id = domain.ID()
        return Row(
            uuid=domain.UUIDString(),
            name=domain.name(),
            domain_id=domain_id if domain_id >= 0 else None,
            stats=stats,
            is_full=is_full,
            owed_ms=None if is_full else self._owed_ms(domain),
        )

    def _ask_one_by_one(self, domain: Any) -> dict[str, int]:
        memory_stats: Mapping[str, int] = {}
        if domain.ID() >= 0:
            memory_stats = ask_if_told(self._binding, domain.memoryStats)
        return balloon_stats(domain.info(), memory_stats)

    def _owed_ms(self, domain: Any) -> int | None:
        try:
            state, _, milliseconds = domain.controlInfo()
        except self._binding.libvirtError as error:
            if error.get_error_code() not in {NO_DOMAIN, OPERATION_INVALID, NO_SUPPORT}:
                raise
            return None
        return int(milliseconds) if state == _OCCUPIED else None
