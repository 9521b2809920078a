"""A stand-in for the libvirt module, for what the real one does only on a broken host: hang, refuse, lose its daemon.

It keeps to what was seen of libvirt 9.0: a bulk call that reaches a hung QEMU blocks until QEMU goes on, and holds the
VM's lock meanwhile; bulk calls that find the lock held pass the VM by.
"""

# ruff: noqa: N802 - the names are libvirt's

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

GUEST_STATS = {
    "balloon.swap_in": 0,
    "balloon.swap_out": 0,
    "balloon.major_fault": 10,
    "balloon.minor_fault": 100,
    "balloon.unused": 1000,
    "balloon.available": 9000,
    "balloon.usable": 5000,
    "balloon.last-update": 1_700_000_000,
    "balloon.disk_caches": 3000,
    "balloon.rss": 8000,
}
XML = "<domain><devices><memballoon model='virtio'><stats period='{period_s}'/></memballoon></devices></domain>"
IDLE = ([0] * 12, {"type": 0})
BACKUP = (
    [2, 3000, 0, 1000, 400, 600, *[0] * 6],
    {"operation": 9, "disk_total": 1000, "disk_remaining": 600, "type": 2},
)
OPEN_TOO_LONG_S = 20.0
"""A test that forgot to end a hang fails, rather than hang itself."""


class FakeError(Exception):
    """libvirt.libvirtError."""

    def __init__(self, code: int, text: str | None = None, domain: int = 10) -> None:
        super().__init__(text)
        self._code, self._text, self._domain = code, text, domain

    def get_error_code(self) -> int:
        return self._code

    def get_error_message(self) -> str | None:
        return self._text

    def get_error_domain(self) -> int:
        return self._domain


class Gate:
    """Open: calls pass. Shut: they hang in front of it."""

    def __init__(self) -> None:
        self._is_open = threading.Event()
        self._is_open.set()

    def pass_through(self) -> None:
        assert self._is_open.wait(OPEN_TOO_LONG_S), "nobody opened the gate"

    def shut(self) -> None:
        self._is_open.clear()

    def open(self) -> None:
        self._is_open.set()


@dataclass(kw_only=True)
class FakeVm:
    """One VM, as its daemon has it."""

    uuid: str
    name: str
    number: int = 1
    """Of this run; -1 while it is off."""
    stats: dict[str, int] = field(default_factory=lambda: dict(GUEST_STATS))
    state: tuple[int, int] = (1, 1)
    """While it runs: state and reason."""
    xml: str = XML.format(period_s=5)
    job: tuple[list[int], dict[str, int]] = IDLE
    job_error: FakeError | None = None
    """Of the call for its statistics."""
    completed: Mapping[str, int | str | bool] = field(default_factory=lambda: {"type": 0})
    """Statistics of the job that ended last."""
    block_jobs: dict[str, dict[str, int]] = field(default_factory=dict)
    """Disk -> what virDomainGetBlockJobInfo says."""
    block_job_asks: int = 0
    block_infos: int = 0
    """How often somebody asked for the size of a disk."""
    backup_xml: str = ""
    """Of the backup that runs."""
    calls: list[tuple[object, ...]] = field(default_factory=list)
    """What was done with the VM."""
    refusal: FakeError | None = None
    """Of whatever is done with it."""
    speed_refusal: FakeError | None = None
    """Of a limit."""
    owed_ms: int | None = None
    """For how long QEMU has owed an answer, as soon as somebody waits for one; None: it owes none."""
    has_job_lock: bool = False
    """A job of somebody else's keeps libvirt from asking QEMU."""
    qemu: Gate = field(default_factory=Gate)
    jobs: Gate = field(default_factory=Gate)
    """In front of the call for jobs."""
    disks: Gate = field(default_factory=Gate)
    """In front of the call for the size of a disk."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hang(self, owed_ms: int = 5000) -> None:
        self.qemu.shut()
        self.owed_ms = owed_ms

    def wake(self) -> None:
        self.owed_ms = None
        self.qemu.open()

    def bulk_stats(self) -> dict[str, int]:
        """What a bulk call with NOWAIT tells; hangs with the VM, but only if no other call hangs already."""
        number, reason = (5, 1) if self.number < 0 else self.state
        state = {"state.state": number, "state.reason": reason}
        sizes = {"balloon.current": 10_000, "balloon.maximum": 20_000}
        if self.number < 0 or self.has_job_lock or not self.lock.acquire(blocking=False):
            return state | sizes
        try:
            self.qemu.pass_through()
            return state | sizes | self.stats
        finally:
            self.lock.release()


class FakeLibvirt:
    """The module and the only daemon that it can reach."""

    libvirtError = FakeError  # noqa: N815 - same
    VIR_DOMAIN_STATS_STATE = 1
    VIR_DOMAIN_STATS_BALLOON = 4
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE = 1
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_INACTIVE = 2
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT = 1 << 29
    VIR_CONNECT_LIST_DOMAINS_ACTIVE = 1
    VIR_DOMAIN_EVENT_ID_LIFECYCLE = 0
    VIR_DOMAIN_EVENT_ID_JOB_COMPLETED = 21
    VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2 = 16
    VIR_DOMAIN_JOB_STATS_COMPLETED = 1
    VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED = 2
    VIR_DOMAIN_AFFECT_LIVE = 1
    VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES = 1
    VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL = 1024
    VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL = 1024
    VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES = 1

    def __init__(self, *vms: FakeVm, total_kib: int = 1000, driver: str = "QEMU") -> None:
        self.vms = list(vms)
        self.total_kib = total_kib
        self.driver = driver
        self.door = Gate()
        """In front of opening a connection ..."""
        self.free_openings = 0
        """... but for so many."""
        self.answers = Gate()
        """In front of every call."""
        self.open_error: FakeError | None = None
        self.bulk_error: FakeError | None = None
        self.node_error: FakeError | None = None
        """Of calls for the host's memory."""
        self.hostname = "kvm1"
        self.bulk_has_balloon = True
        self.on_bulk: Callable[[], None] = lambda: None
        """Called at the beginning of every bulk call."""
        self.on_look: Callable[[], None] = lambda: None
        """Called when somebody looks for VMs that hang."""
        self.openings: list[str] = []
        """Names of the threads that opened connections."""
        self.open_connections = 0
        self.writable_connections: list[FakeConnection] = []
        self.xml_calls = 0
        self.callbacks: dict[int, Callable[..., None]] = {}

    def open(self, uri: str) -> "FakeConnection":
        self.writable_connections.append(self.openReadOnly(uri))
        return self.writable_connections[-1]

    def openReadOnly(self, uri: str) -> "FakeConnection":
        self.openings.append(threading.current_thread().name)
        if len(self.openings) > self.free_openings:
            self.door.pass_through()
        if self.open_error is not None:
            raise self.open_error
        return FakeConnection(self)

    def check_node(self) -> None:
        if self.node_error is not None:
            raise self.node_error

    def virEventRegisterDefaultImpl(self) -> None:
        pass

    def virEventRunDefaultImpl(self) -> int:
        return -1

    def announce(self, event: int, vm: FakeVm, *details: object) -> None:
        """Have the callback for an event called, as libvirt's thread of events does."""
        self.callbacks[event](None, FakeDomain(self, vm), *details, None)

    def end_all_hangs(self) -> None:
        for gate in (self.door, self.answers, *(gate for vm in self.vms for gate in (vm.qemu, vm.jobs, vm.disks))):
            gate.open()


class FakeConnection:
    """libvirt.virConnect."""

    def __init__(self, daemon: FakeLibvirt) -> None:
        self._daemon = daemon
        self.is_alive = True
        daemon.open_connections += 1

    def close(self) -> None:
        self._daemon.open_connections -= 1

    def isAlive(self) -> bool:
        return self.is_alive

    def getType(self) -> str:
        return self._daemon.driver

    def getLibVersion(self) -> int:
        return 9_000_000

    def listAllStoragePools(self, flags: int) -> list[Any]:
        return []

    def getHostname(self) -> str:
        return self._daemon.hostname

    def getInfo(self) -> list[Any]:
        return ["x86_64", 64, 8, 2000, 1, 1, 8, 1]

    def getMemoryStats(self, cell: int) -> dict[str, int]:
        self._daemon.check_node()
        total = self._daemon.total_kib
        return {"total": total, "free": total // 2, "buffers": 1, "cached": 2} if cell == -1 else {}

    def getMemoryParameters(self) -> dict[str, int]:
        self._daemon.check_node()
        return {"shm_pages_shared": 3, "shm_pages_sharing": 7}

    def setKeepAlive(self, interval: int, count: int) -> None:
        raise FakeError(1, "perhaps it's missing event loop implementation")

    def domainEventRegisterAny(self, domain: None, event: int, callback: Callable[..., None], opaque: None) -> int:
        self._daemon.callbacks[event] = callback
        return event

    def domainEventDeregisterAny(self, number: int) -> None:
        self._daemon.callbacks.pop(number, None)

    def registerCloseCallback(self, callback: Callable[..., None], opaque: None) -> None:
        self._daemon.callbacks[-1] = callback

    def unregisterCloseCallback(self) -> None:
        self._daemon.callbacks.pop(-1, None)

    def listAllDomains(self, flags: int) -> "list[FakeDomain]":
        assert flags == FakeLibvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
        self._daemon.answers.pass_through()
        self._daemon.on_look()
        return [FakeDomain(self._daemon, vm) for vm in self._daemon.vms if vm.number >= 0]

    def lookupByUUIDString(self, uuid: str) -> "FakeDomain":
        self._daemon.answers.pass_through()
        for vm in self._daemon.vms:
            if vm.uuid == uuid:
                return FakeDomain(self._daemon, vm)
        raise FakeError(42, "Domain not found")

    def getAllDomainStats(self, groups: int, flags: int) -> "list[tuple[FakeDomain, dict[str, int]]]":
        daemon = self._daemon
        daemon.answers.pass_through()
        if daemon.bulk_error is not None:
            raise daemon.bulk_error
        if flags & daemon.VIR_CONNECT_GET_ALL_DOMAINS_STATS_INACTIVE:
            return [(FakeDomain(daemon, vm), vm.bulk_stats()) for vm in daemon.vms if vm.number < 0]
        running = [vm for vm in daemon.vms if vm.number >= 0]
        if not groups & daemon.VIR_DOMAIN_STATS_BALLOON or not daemon.bulk_has_balloon:
            return [(FakeDomain(daemon, vm), {"state.state": 1, "state.reason": 1}) for vm in running]
        daemon.on_bulk()
        return [(FakeDomain(daemon, vm), vm.bulk_stats()) for vm in running]


class FakeDomain:
    """libvirt.virDomain."""

    def __init__(self, daemon: FakeLibvirt, vm: FakeVm) -> None:
        self._daemon, self._vm = daemon, vm

    def UUIDString(self) -> str:
        return self._vm.uuid

    def name(self) -> str:
        return self._vm.name

    def ID(self) -> int:
        return self._vm.number

    def info(self) -> list[int]:
        self._check_presence()
        return [1, 20_000, 10_000, 1, 0]

    def memoryStats(self) -> dict[str, int]:
        self._check_presence()
        return {"actual": 10_000, "unused": 1000, "last_update": 7}

    def controlInfo(self) -> list[int]:
        self._check_presence()
        vm = self._vm
        is_waited_for = vm.has_job_lock or vm.lock.locked()
        return [2, 0, vm.owed_ms] if vm.owed_ms is not None and is_waited_for else [0, 0, 0]

    def jobInfo(self) -> list[int]:
        self._check_presence()
        self._vm.jobs.pass_through()
        return self._vm.job[0]

    def jobStats(self, flags: int = 0) -> Mapping[str, int | str | bool]:
        if not flags and self._vm.job_error is not None:
            raise self._vm.job_error
        return self._vm.completed if flags else self._vm.job[1]

    def blockJobInfo(self, disk: str, flags: int = 0) -> dict[str, int]:
        self._vm.block_job_asks += 1
        return self._vm.block_jobs.get(disk, {})

    def blockInfo(self, disk: str) -> list[int]:
        self._vm.block_infos += 1
        self._vm.disks.pass_through()
        return [4096, 1024, 1024]

    def hasCurrentSnapshot(self, flags: int) -> int:
        return 0

    def listAllSnapshots(self, flags: int) -> list[Any]:
        return []

    def listAllCheckpoints(self, flags: int) -> list[Any]:
        return []

    def setMemoryFlags(self, kib: int, flags: int) -> None:
        self._act("setMemoryFlags", kib, flags)

    def setMemoryStatsPeriod(self, period_s: int, flags: int) -> None:
        self._act("setMemoryStatsPeriod", period_s, flags)

    def abortJob(self) -> None:
        self._act("abortJob")

    def blockJobAbort(self, disk: str, flags: int) -> None:
        if disk not in self._vm.block_jobs:
            raise FakeError(8, f"disk {disk} does not have an active block job")
        self._act("blockJobAbort", disk, flags)

    def resume(self) -> None:
        self._act("resume")

    def backupBegin(self, xml: str, checkpoint_xml: str | None, flags: int) -> None:
        self._act("backupBegin", xml, checkpoint_xml, flags)

    def backupGetXMLDesc(self, flags: int) -> str:
        if not self._vm.backup_xml:
            raise FakeError(104, "no domain backup job present")
        return self._vm.backup_xml

    def blockJobSetSpeed(self, disk: str, bytes_per_s: int, flags: int) -> None:
        if disk not in self._vm.block_jobs:
            raise FakeError(8, f"disk {disk} does not have an active block job")
        if self._vm.speed_refusal is not None:
            raise self._vm.speed_refusal
        self._act("blockJobSetSpeed", disk, bytes_per_s, flags)

    def _act(self, *call: object) -> None:
        self._check_presence()
        if self._vm.refusal is not None:
            raise self._vm.refusal
        self._vm.qemu.pass_through()
        self._vm.calls.append(call)

    def XMLDesc(self, flags: int) -> str:
        self._check_presence()
        self._daemon.xml_calls += 1
        return self._vm.xml

    def _check_presence(self) -> None:
        if self._vm not in self._daemon.vms:
            raise FakeError(42, "Domain not found")
