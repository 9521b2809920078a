"""What libvirt announces by itself: VMs that start and stop, jobs that end, devices that come and go.

Events arrive on a thread of their own. A callback notes what changed and wakes the reader; it never asks the daemon (a
domain knows its UUID by itself).
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any

_DEFINITION_EVENTS = (
    "VIR_DOMAIN_EVENT_ID_LIFECYCLE",
    "VIR_DOMAIN_EVENT_ID_DEVICE_ADDED",
    "VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED",
    "VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE",
)
_JOB_EVENTS = ("VIR_DOMAIN_EVENT_ID_JOB_COMPLETED", "VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What changed since the last look."""

    definitions: frozenset[str] = frozenset()
    """UUIDs of VMs that came, went, or have other devices."""
    jobs: frozenset[str] = frozenset()
    """UUIDs of VMs of which a job ended."""


class Bulletin:
    """Collects changes from the thread of the events for the thread of the reader."""

    def __init__(self) -> None:
        self.has_events = False
        """Changes are announced."""
        self._lock = Lock()
        self._definitions: set[str] = set()
        self._jobs: set[str] = set()
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

    def subscribe(self, binding: Any, connection: Any) -> Callable[[], None]:
        """Listen to everything that this driver of libvirt announces; the result ends that."""
        callbacks = [
            *((name, self._definition_changed) for name in _DEFINITION_EVENTS),
            *((name, self._job_changed) for name in _JOB_EVENTS),
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

    def _job_changed(self, _connection: Any, domain: Any, *_details: Any) -> None:
        self._note(self._jobs, domain.UUIDString())

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
