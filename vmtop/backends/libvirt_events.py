"""What libvirt announces by itself: VMs that start and stop, jobs that end, devices that come and go.

Events arrive on a thread of their own. A callback notes what changed and wakes the reader; it never asks the daemon (a
domain knows its UUID and name by itself).
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any

from vmtop.backends.libvirt_job_parse import JobStats, parse_finished_block_job, parse_finished_job
from vmtop.model.sample import FinishedJob

_DEFINITION_EVENTS = (
    "VIR_DOMAIN_EVENT_ID_LIFECYCLE",
    "VIR_DOMAIN_EVENT_ID_DEVICE_ADDED",
    "VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED",
    "VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE",
)

_REMEMBERED_ENDS = 64
"""So many ends of jobs are known again when they are told a second time, a moment later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What changed since the last look."""

    definitions: frozenset[str] = frozenset()
    """UUIDs of VMs that came, went, or have other devices."""
    jobs: frozenset[str] = frozenset()
    """UUIDs of VMs of which a job ended, or may have begun."""


class Bulletin:
    """Collects changes from the thread of the events, and from whoever makes them, for the thread of the reader."""

    def __init__(self, time: Callable[[], float]) -> None:
        """Take the wall clock, for events say what but not when."""
        self.has_events = False
        """Changes are announced."""
        self._time = time
        self._lock = Lock()
        self._definitions: set[str] = set()
        self._jobs: set[str] = set()
        self._finished: list[FinishedJob] = []
        self._announced: deque[tuple[object, ...]] = deque(maxlen=_REMEMBERED_ENDS)
        self._found: deque[tuple[object, ...]] = deque(maxlen=_REMEMBERED_ENDS)
        self._notify: list[Callable[[], None]] = []

    def on_change(self, notify: Callable[[], None]) -> None:
        """Have `notify` called, from the thread of the events, at each change."""
        self._notify.append(notify)

    def take(self) -> Change:
        """All that changed since the last call."""
        with self._lock:
            change = Change(definitions=frozenset(self._definitions), jobs=frozenset(self._jobs))
            self._definitions.clear()
            self._jobs.clear()
        return change

    def take_finished(self) -> tuple[FinishedJob, ...]:
        """Jobs that ended since the last call, the oldest first."""
        with self._lock:
            finished = tuple(self._finished)
            self._finished.clear()
        return finished

    def note_act(self, uuid: str) -> None:
        """Take note that vmtop itself did something with a VM, of which no event may tell."""
        with self._lock:
            self._definitions.add(uuid)
            self._jobs.add(uuid)
        self._wake()

    def note_found_end(self, uuid: str, name: str, stats: JobStats) -> None:
        """Take note of a job that was found to have ended, unless an event tells of it, too; it wakes nobody."""
        self._note_end(parse_finished_job(uuid, name, stats, self._time()), self._found, self._announced)

    def subscribe(self, binding: Any, connection: Any) -> Callable[[], None]:
        """Listen to everything that this driver of libvirt announces; the result ends that."""
        callbacks = [
            *((name, self._definition_changed) for name in _DEFINITION_EVENTS),
            ("VIR_DOMAIN_EVENT_ID_JOB_COMPLETED", self._job_ended),
            ("VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2", self._block_job_changed),
        ]
        numbers: list[int] = []
        for name, callback in callbacks:
            # Drivers differ in what they announce, and old bindings lack some names: what is missing shows at the
            # next sample all the same.
            with suppress(binding.libvirtError, AttributeError):
                numbers.append(connection.domainEventRegisterAny(None, getattr(binding, name), callback, None))
        self.has_events = bool(numbers)
        with suppress(binding.libvirtError):
            connection.registerCloseCallback(self._closed, None)

        def unsubscribe() -> None:
            for number in numbers:
                connection.domainEventDeregisterAny(number)
            connection.unregisterCloseCallback()

        return unsubscribe

    def _definition_changed(self, _connection: Any, domain: Any, *_details: Any) -> None:
        self._note(self._definitions, domain.UUIDString())

    def _job_ended(self, _connection: Any, domain: Any, stats: JobStats, _opaque: Any) -> None:
        uuid = domain.UUIDString()
        finished = parse_finished_job(uuid, domain.name(), stats, self._time())
        self._note_end(finished, self._announced, self._found)
        self._note(self._jobs, uuid)

    def _block_job_changed(
        self, _connection: Any, domain: Any, disk: str, kind: int, status: int, _opaque: Any
    ) -> None:
        uuid = domain.UUIDString()
        finished = parse_finished_block_job(uuid, domain.name(), disk, kind, status, self._time())
        if finished is not None:
            with self._lock:
                self._finished.append(finished)
        self._note(self._jobs, uuid)

    def _note_end(
        self, finished: FinishedJob | None, told: deque[tuple[object, ...]], otherwise_told: deque[tuple[object, ...]]
    ) -> None:
        if finished is None:
            return
        # Its statistics are the same whoever tells of them; two jobs that look alike are told twice by the same.
        key = (finished.uuid, finished.kind, finished.elapsed_s, finished.processed_bytes)
        with self._lock:
            if key in otherwise_told:
                otherwise_told.remove(key)
            else:
                told.append(key)
                self._finished.append(finished)

    def _closed(self, _connection: Any, _reason: int, _opaque: Any) -> None:
        self._wake()

    def _note(self, uuids: set[str], uuid: str) -> None:
        with self._lock:
            uuids.add(uuid)
        self._wake()

    def _wake(self) -> None:
        for notify in self._notify:
            notify()


_loop_lock = Lock()
_loops: list[Any] = []


def start_event_loop(binding: Any) -> None:
    """Run libvirt's events on a thread of their own, once for the whole process; comes before the first connection."""
    with _loop_lock:
        if binding not in _loops:
            binding.virEventRegisterDefaultImpl()
            Thread(target=_run_events, args=(binding,), name="vmtop-libvirt-events", daemon=True).start()
            _loops.append(binding)


def _run_events(binding: Any) -> None:
    # Without this loop a daemon drops us after a while; the next sample reconnects, and goes on without events.
    with suppress(binding.libvirtError):
        while binding.virEventRunDefaultImpl() == 0:
            pass
