"""For how long the guest stood still, and how libvirt is asked to go back, on a stand-in connection."""

from collections.abc import Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import vm_uuid
from vmtop.backends import libvirt_snapshot
from vmtop.backends.libvirt_control import LibvirtControl
from vmtop.backends.libvirt_snapshot import take_snapshot
from vmtop.model.kind import SnapshotKind
from vmtop.model.storage import SnapshotRequest

SUSPENDED, RESUMED = 3, 4


class LibvirtError(RuntimeError):
    """libvirt's, of one number."""

    def __init__(self, code: int) -> None:
        super().__init__("the agent")
        self._code = code

    def get_error_code(self) -> int:
        return self._code


BINDING = SimpleNamespace(
    libvirtError=LibvirtError,
    VIR_DOMAIN_EVENT_ID_LIFECYCLE=0,
    VIR_DOMAIN_SNAPSHOT_CREATE_LIVE=256,
    VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY=16,
    VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC=128,
    VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE=64,
    VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING=1,
    VIR_DOMAIN_RUNNING=1,
)
DISK_ONLY = (
    "<domainsnapshot><memory snapshot='no'/><disks><disk name='vda' snapshot='external'/></disks></domainsnapshot>"
)
INTERNAL = "<domainsnapshot><memory snapshot='internal'/></domainsnapshot>"
QUIESCED = SnapshotRequest(name="then", kind=SnapshotKind.DISK_ONLY, is_quiesced=True)


class StandIn:
    """A connection, its only VM and a snapshot of it in one."""

    def __init__(
        self, events: Sequence[int] = (), *, state: int = 1, snapshot_xml: str = "", agent_error: int | None = None
    ) -> None:
        self._events = events
        self._agent_error = agent_error
        self.limits: list[int] = []
        self.created: list[int] = []
        self._state = state
        self._snapshot_xml = snapshot_xml
        self.flags: list[int] = []

    def lookupByUUIDString(self, _uuid: str) -> "StandIn":  # noqa: N802 - the names are libvirt's
        return self

    def domainEventRegisterAny(self, _domain: Any, _event: int, told: Any, _opaque: Any) -> int:  # noqa: N802 - same
        self._told = told
        return 1

    def domainEventDeregisterAny(self, _number: int) -> None:  # noqa: N802 - same
        del self._told

    def agentSetResponseTimeout(self, timeout_s: int) -> None:  # noqa: N802 - same
        self.limits.append(timeout_s)

    def getTime(self) -> dict[str, int]:  # noqa: N802 - same
        if self._agent_error is not None:
            raise LibvirtError(self._agent_error)
        return {"seconds": 1, "nseconds": 0}

    def snapshotCreateXML(self, _xml: str, flags: int) -> None:  # noqa: N802 - same
        self.created.append(flags)
        for event in self._events:
            self._told(self, self, event, 0, None)

    def snapshotLookupByName(self, _name: str) -> "StandIn":  # noqa: N802 - same
        return self

    def getXMLDesc(self) -> str:  # noqa: N802 - same
        return self._snapshot_xml

    def state(self) -> list[int]:
        return [self._state, 1]

    def revertToSnapshot(self, _snapshot: Any, flags: int) -> None:  # noqa: N802 - same
        self.flags.append(flags)


@pytest.mark.parametrize(
    ("kind", "events", "is_measured"),
    [
        (SnapshotKind.DISK_ONLY, (), False),
        (SnapshotKind.DISK_ONLY, (SUSPENDED, RESUMED), True),
        (SnapshotKind.INTERNAL, (), False),
        (SnapshotKind.INTERNAL, (SUSPENDED,), False),
        (SnapshotKind.INTERNAL, (RESUMED,), False),
        (SnapshotKind.EXTERNAL, (SUSPENDED, RESUMED), True),
    ],
)
def test_a_pause_that_nobody_announced_is_not_known(
    kind: SnapshotKind, events: Sequence[int], is_measured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libvirt_snapshot, "_LATE_EVENT_S", 0.01)
    request = SnapshotRequest(name="then", kind=kind, memory_path="/m" if kind is SnapshotKind.EXTERNAL else None)
    paused_s = take_snapshot(BINDING, StandIn(events), vm_uuid(1), request)
    assert (paused_s is not None) is is_measured
    assert paused_s is None or 0 < paused_s < 1


@pytest.mark.parametrize("code", [86, 97, 112])
def test_a_guest_agent_that_does_not_answer_a_question_is_not_told_to_freeze(code: int) -> None:
    vm = StandIn(agent_error=code)
    with pytest.raises(LibvirtError):
        take_snapshot(BINDING, vm, vm_uuid(1), QUIESCED)
    assert vm.created == []
    assert vm.limits == [5, -2], "whoever asks it next waits as long as before"


@pytest.mark.parametrize("code", [None, 1, 113])
def test_a_guest_agent_that_answers_whatever_it_says_freezes_for_as_long_as_it_takes(code: int | None) -> None:
    vm = StandIn(agent_error=code)
    take_snapshot(BINDING, vm, vm_uuid(1), QUIESCED)
    assert vm.created == [16 | 128 | 64]
    assert vm.limits == [5, -2]


def test_without_freezing_no_agent_is_asked() -> None:
    vm = StandIn(agent_error=86)
    take_snapshot(BINDING, vm, vm_uuid(1), SnapshotRequest(name="then", kind=SnapshotKind.DISK_ONLY))
    assert (vm.created, vm.limits) == ([16 | 128], [])


@pytest.mark.parametrize(
    ("snapshot_xml", "state", "flags"), [(DISK_ONLY, 1, 1), (DISK_ONLY, 5, 0), (INTERNAL, 1, 0), (INTERNAL, 5, 0)]
)
def test_a_vm_that_runs_runs_again_from_disks_alone(
    snapshot_xml: str, state: int, flags: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = StandIn(state=state, snapshot_xml=snapshot_xml)
    control = LibvirtControl.__new__(LibvirtControl)
    monkeypatch.setattr(control, "_binding", BINDING, raising=False)
    monkeypatch.setattr(control, "_domain", lambda _uuid: nullcontext(vm))
    control.revert_snapshot(vm_uuid(1), "then")
    assert vm.flags == [flags]
