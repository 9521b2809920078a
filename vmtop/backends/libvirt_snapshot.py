"""Snapshots through libvirt: what is asked for as XML and flags, and for how long the guest stands still."""

import time
from threading import Condition
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from vmtop.model.kind import SnapshotKind
from vmtop.model.storage import SnapshotRequest

_SUSPENDED, _RESUMED = 3, 4
"""VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_RESUMED."""

_LATE_EVENT_S = 1.0
"""An event that has not come so long after the call has returned will not come any more."""

AGENT_ANSWER_S = 5
"""For so long a guest agent may think about a question that takes it no time; libvirt's own limit for its first one."""
_BLOCK = -2
"""VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK: wait for ever."""
_NO_ANSWER = frozenset({86, 97, 112})
"""VIR_ERR_AGENT_UNRESPONSIVE, VIR_ERR_AGENT_UNSYNCED, and from libvirt 11.2 on VIR_ERR_AGENT_COMMAND_TIMEOUT."""


def build_snapshot_xml(request: SnapshotRequest) -> str:
    """What virDomainSnapshotCreateXML takes; libvirt finds the disks, and names for their overlays, by itself."""
    snapshot = Element("domainsnapshot")
    SubElement(snapshot, "name").text = request.name
    if request.kind is SnapshotKind.EXTERNAL:
        SubElement(snapshot, "memory", snapshot="external", file=request.memory_path or "")
    return tostring(snapshot, encoding="unicode")


def snapshot_flags(binding: Any, request: SnapshotRequest) -> int:
    """How virDomainSnapshotCreateXML is to take it."""
    if request.kind is SnapshotKind.EXTERNAL:
        return int(binding.VIR_DOMAIN_SNAPSHOT_CREATE_LIVE)
    if request.kind is SnapshotKind.INTERNAL:
        return 0
    flags = binding.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | binding.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
    return int(flags | (binding.VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE if request.is_quiesced else 0))


def take_snapshot(binding: Any, connection: Any, uuid: str, request: SnapshotRequest) -> float | None:
    """Take a snapshot and return when it is complete.

    Returns:
        Seconds for which the guest stood still, as libvirt's events tell. None where it announces none: it never does
        for the disks alone.

    Raises:
        libvirtError: it could not be taken.
    """
    domain = connection.lookupByUUIDString(uuid)
    if request.is_quiesced:
        _ask_agent(binding, domain)
    watch = _PauseWatch()
    try:
        number = connection.domainEventRegisterAny(
            domain, binding.VIR_DOMAIN_EVENT_ID_LIFECYCLE, watch.lifecycle_changed, None
        )
    except binding.libvirtError:
        # Then the snapshot is taken all the same, and nobody knows how long it took the guest.
        domain.snapshotCreateXML(build_snapshot_xml(request), snapshot_flags(binding, request))
        return None
    try:
        domain.snapshotCreateXML(build_snapshot_xml(request), snapshot_flags(binding, request))
        return watch.paused_s(is_announced=request.kind is not SnapshotKind.DISK_ONLY)
    finally:
        connection.domainEventDeregisterAny(number)


def _ask_agent(binding: Any, domain: Any) -> None:
    """Make sure that the guest agent answers: for one that hangs libvirt waits for ever, and holds the VM meanwhile.

    The limit is for this question only. Freezing itself may take as long as it takes: after a limit libvirt would not
    thaw what the agent froze too late.

    Raises:
        libvirtError: it does not answer.
    """
    domain.agentSetResponseTimeout(AGENT_ANSWER_S)
    try:
        domain.getTime()
    except binding.libvirtError as error:
        # Any other answer is one, too: agents may be told not to give the time.
        if error.get_error_code() in _NO_ANSWER:
            raise
    finally:
        domain.agentSetResponseTimeout(_BLOCK)


class _PauseWatch:
    """Adds up how long a guest is suspended."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._since_s: float | None = None
        self._paused_s: float | None = None

    def lifecycle_changed(self, _connection: Any, _domain: Any, event: int, _detail: int, _opaque: Any) -> None:
        now_s = time.monotonic()
        with self._changed:
            if event == _SUSPENDED and self._since_s is None:
                self._since_s = now_s
            elif event == _RESUMED and self._since_s is not None:
                self._paused_s, self._since_s = (self._paused_s or 0.0) + now_s - self._since_s, None
            self._changed.notify_all()

    def paused_s(self, *, is_announced: bool) -> float | None:
        """None when nothing was heard of a pause, or not of its end."""
        with self._changed:
            if is_announced or self._since_s is not None:
                self._changed.wait_for(self._is_over, _LATE_EVENT_S)
            return self._paused_s if self._is_over() else None

    def _is_over(self) -> bool:
        return self._paused_s is not None and self._since_s is None
