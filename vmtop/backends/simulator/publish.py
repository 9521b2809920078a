"""The world as libvirt and /proc would show it: the same figures, as late, as coarse and as incomplete."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.job import Job
from vmtop.backends.simulator.ksm import RMAP_ITEM_BYTES
from vmtop.backends.simulator.plan import NEVER
from vmtop.backends.simulator.world import World
from vmtop.model.sample import (
    NOTHING_UNKNOWN,
    Answer,
    FinishedJob,
    HostSample,
    JobKind,
    JobSample,
    KsmSample,
    QemuSample,
    Sample,
    VmFacts,
    VmSample,
    VmState,
)
from vmtop.units import PAGE_BYTES

UPTIME_S = 40 * 86_400
"""How long the host had been up at tick 0."""
TICKS_PER_S = 100
"""Unit of start times in /proc. Source: sysconf(_SC_CLK_TCK)."""
FIRST_PID = 2_000
PIDS_PER_VM = 17
MOST_NOTICES = 4

NO_DEVICE = "libvirt has no guest figures: the VM has no memory balloon"
NO_DRIVER = "the guest never sent figures: it has no balloon driver, or has not loaded it yet"
NOT_SENT = "the guest's balloon driver does not send it"
OFF = "the VM is not running"
"""Reasons in the words of the libvirt backend."""

_OFF_UNKNOWN: Mapping[str, str] = MappingProxyType({"rss_bytes": OFF, "guest": OFF, "qemu": OFF})
_NO_DEVICE_UNKNOWN: Mapping[str, str] = MappingProxyType({"guest": NO_DEVICE})
_NO_DRIVER_UNKNOWN: Mapping[str, str] = MappingProxyType({"guest": NO_DRIVER})
_FEW_UNKNOWN: Mapping[str, str] = MappingProxyType({"guest.usable_bytes": NOT_SENT, "guest.cache_bytes": NOT_SENT})

_UNSAFE = re.compile(rb"[^A-Za-z0-9_.]")


class Publisher:
    """Makes samples of one world; what did not change since the last one is handed out again."""

    __slots__ = ("_cgroups", "_facts", "_last", "_uri", "_world")

    def __init__(self, world: World, uri: str) -> None:
        self._world = world
        self._uri = uri
        self._facts: dict[int, VmFacts] = {}
        self._cgroups: dict[int, str] = {}
        self._last: dict[int, tuple[object, VmSample]] = {}

    def read(self, *, time_s: float, monotonic_s: float, read_s: float, passed: float) -> Sample:
        """Show the world as it is.

        Args:
            time_s: Wall clock of the sample, if nobody had set the host's clock.
            monotonic_s: The same moment on the clock that never jumps.
            read_s: How long the reading took.
            passed: Share of the world's last second that has passed at that moment. Counters of the host grow evenly
                through the second, so that a reader that is not in step sees steady rates.
        """
        world = self._world
        return Sample(
            time_s=time_s + world.clock_ahead_s,
            monotonic_s=monotonic_s,
            read_s=read_s,
            backend="simulator",
            uri=self._uri,
            is_simulated=True,
            is_local=True,
            host=self._host(passed),
            vms=tuple(self._vm(guest, passed) for guest in world.guests if guest.is_defined),
            finished=self._take_finished(),
            notices=world.notices()[-MOST_NOTICES:],
        )

    def _take_finished(self) -> tuple[FinishedJob, ...]:
        """Jobs that ended since the sample before; each is told once."""
        finished = tuple(self._world.finished)
        self._world.finished.clear()
        return finished

    def _host(self, passed: float) -> HostSample:
        host = self._world.host
        return HostSample(
            name=host.plan.name,
            cpus=host.plan.cpus,
            total_bytes=host.total * PAGE_BYTES,
            available_bytes=host.available * PAGE_BYTES,
            free_bytes=host.free * PAGE_BYTES,
            cache_bytes=host.cache * PAGE_BYTES,
            swap_total_bytes=host.plan.swap_capacity * PAGE_BYTES,
            swap_used_bytes=host.swap_used * PAGE_BYTES,
            swap_in_bytes=_between(host.swap_in_before, host.swap_in, passed) * PAGE_BYTES,
            swap_out_bytes=_between(host.swap_out_before, host.swap_out, passed) * PAGE_BYTES,
            pressure=host.pressure.read(),
            ksm=self._ksm(passed),
            hugepages_total_bytes=host.plan.hugepages * PAGE_BYTES,
            hugepages_free_bytes=host.hugepages_free * PAGE_BYTES,
        )

    def _ksm(self, passed: float) -> KsmSample:
        sharing = self._world.host.sharing
        shared, saved = sharing.shared, sharing.sharing
        rmap_items = shared + saved + sharing.unshared + sharing.volatile
        return KsmSample(
            page_bytes=PAGE_BYTES,
            is_running=sharing.is_running,
            pages_shared=shared,
            pages_sharing=saved,
            pages_unshared=sharing.unshared,
            pages_volatile=sharing.volatile,
            zero_pages=0,
            profit_bytes=saved * PAGE_BYTES - rmap_items * RMAP_ITEM_BYTES,
            full_scans=sharing.full_scans,
            pages_to_scan=sharing.pages_to_scan,
            sleep_s=sharing.sleep_s,
            cpu_s=sharing.cpu_s_before + (sharing.cpu_s - sharing.cpu_s_before) * passed,
        )

    def _vm(self, guest: Guest, passed: float) -> VmSample:
        uid = guest.plan.uid
        if not guest.is_running:
            return self._off(guest)
        faults = _between(guest.host_faults_before, guest.host_faults, passed)
        if guest.job is not None or guest.hung_since != NEVER or not guest.pressure.is_quiet:
            return self._running(guest, faults)
        shown = (
            guest.domain_id,
            guest.pause_reason,
            guest.stats_period_s,
            guest.report,
            guest.reported_current,
            guest.backed,
            guest.host_swapped,
            guest.merged,
            faults,
        )
        before = self._last.get(uid)
        if before is None or before[0] != shown:
            before = self._last[uid] = (shown, self._running(guest, faults))
        return before[1]

    def _off(self, guest: Guest) -> VmSample:
        plan = guest.plan
        return VmSample(
            uuid=plan.uuid,
            name=plan.name,
            domain_id=None,
            state=VmState.SHUTOFF,
            state_reason=_off_reason(guest),
            answer=Answer.FULL,
            hung_s=None,
            maximum_bytes=plan.maximum * PAGE_BYTES,
            balloon_bytes=plan.maximum * PAGE_BYTES,
            rss_bytes=None,
            guest=None,
            qemu=None,
            facts=self._facts_of(guest),
            unknown=_OFF_UNKNOWN,
        )

    def _running(self, guest: Guest, faults: int) -> VmSample:
        plan, tick = guest.plan, self._world.tick
        answer, hung_s = _answer(guest, tick)
        resident = guest.overhead if plan.has_hugepages else guest.resident + guest.overhead
        return VmSample(
            uuid=plan.uuid,
            name=plan.name,
            domain_id=guest.domain_id,
            state=VmState.RUNNING if guest.pause_reason is None else VmState.PAUSED,
            state_reason="booted" if guest.pause_reason is None else guest.pause_reason,
            answer=answer,
            hung_s=hung_s,
            maximum_bytes=plan.maximum * PAGE_BYTES,
            balloon_bytes=guest.reported_current * PAGE_BYTES,
            rss_bytes=resident * PAGE_BYTES,
            guest=guest.report,
            qemu=self._qemu(guest, resident, faults),
            facts=self._facts_of(guest),
            jobs=() if guest.job is None else (_job(guest.job, tick),),
            unknown=_guest_unknown(guest),
        )

    def _facts_of(self, guest: Guest) -> VmFacts:
        uid, plan = guest.plan.uid, guest.plan
        facts = self._facts.get(uid)
        if facts is None or (plan.has_balloon and facts.stats_period_s != guest.stats_period_s):
            facts = self._facts[uid] = _facts(guest)
        return facts

    def _qemu(self, guest: Guest, resident: int, faults: int) -> QemuSample:
        domain_id = guest.domain_id or 0
        if domain_id not in self._cgroups:
            self._cgroups[domain_id] = _cgroup(domain_id, guest.plan.name)
        rmap_items = guest.resident if guest.is_mergeable else 0
        return QemuSample(
            pid=FIRST_PID + PIDS_PER_VM * domain_id,
            start_ticks=(UPTIME_S + guest.started_at) * TICKS_PER_S + domain_id % TICKS_PER_S,
            rss_bytes=resident * PAGE_BYTES,
            swap_bytes=guest.host_swapped * PAGE_BYTES,
            hugetlb_bytes=guest.plan.maximum * PAGE_BYTES if guest.plan.has_hugepages else 0,
            major_faults=faults,
            ksm_merged_bytes=guest.merged * PAGE_BYTES,
            ksm_zero_bytes=0,
            ksm_profit_bytes=guest.merged * PAGE_BYTES - rmap_items * RMAP_ITEM_BYTES,
            cgroup=self._cgroups[domain_id],
            cgroup_bytes=resident * PAGE_BYTES,
            cgroup_swap_bytes=guest.host_swapped * PAGE_BYTES,
            pressure=guest.pressure.read(),
        )


def _between(before: int, now: int, passed: float) -> int:
    return before + int((now - before) * passed)


def _answer(guest: Guest, tick: int) -> tuple[Answer, float | None]:
    if guest.hung_since <= tick:
        return Answer.HUNG, float(tick - guest.hung_since)
    if guest.job is not None and guest.job.holds_monitor:
        return Answer.BUSY, None
    return Answer.FULL, None


def _off_reason(guest: Guest) -> str:
    """In the words of `virsh domstate --reason`."""
    if guest.has_left:
        return "migrated"
    return "crashed" if guest.is_crashed else "shutdown"


def _guest_unknown(guest: Guest) -> Mapping[str, str]:
    if guest.report is None:
        return _NO_DRIVER_UNKNOWN if guest.plan.has_balloon else _NO_DEVICE_UNKNOWN
    return _FEW_UNKNOWN if guest.report.usable_bytes is None else NOTHING_UNKNOWN


def _job(job: Job, tick: int) -> JobSample:
    """What virDomainGetJobStats tells, for jobs of disks, and for limits, virDomainGetBlockJobInfo."""
    is_limitable = job.can_limit and (job.kind is JobKind.BACKUP or job.disk is not None)
    return JobSample(
        kind=job.kind,
        elapsed_s=float(tick - job.started_at) if job.disk is None else None,
        processed_bytes=job.done * PAGE_BYTES if job.has_progress else None,
        total_bytes=job.total * PAGE_BYTES if job.has_progress else None,
        scratch_used_bytes=None if job.scratch_total is None else job.scratch_used * PAGE_BYTES,
        scratch_total_bytes=None if job.scratch_total is None else job.scratch_total * PAGE_BYTES,
        disk=job.disk,
        limit_bytes_per_s=(job.limit or 0) * PAGE_BYTES if is_limitable else None,
        disks=1 if is_limitable and job.disk is None else None,
    )


def _facts(guest: Guest) -> VmFacts:
    plan = guest.plan
    return VmFacts(
        has_balloon=plan.has_balloon,
        stats_period_s=guest.stats_period_s if plan.has_balloon else None,
        has_autodeflate=plan.has_autodeflate,
        has_free_page_reporting=plan.has_free_page_reporting,
        virtio_mem_bytes=0,
        has_hugepages=plan.has_hugepages,
        has_nosharepages=plan.has_nosharepages,
        is_locked=plan.has_vfio,
        has_vfio=plan.has_vfio,
        min_guarantee_bytes=None if plan.min_guarantee is None else plan.min_guarantee * PAGE_BYTES,
    )


def _cgroup(domain_id: int, name: str) -> str:
    """Path of the scope that systemd-machined makes for a VM; it escapes what is no letter, digit, _ or dot."""
    escaped = _UNSAFE.sub(lambda found: b"\\x%02x" % found.group()[0], name.encode()).decode()
    return rf"/machine.slice/machine-qemu\x2d{domain_id}\x2d{escaped}.scope"
