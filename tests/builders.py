"""Samples and frames for tests: each builder gives a healthy, realistic value of which a test changes what it needs.

    make_sample(make_vm(name="web"), make_vm(uuid=vm_uuid(2), guest=None), at_s=5)

Time starts at START_S on the wall clock and START_MONOTONIC_S on the monotonic one; `at_s` is the time since then.
"""

from collections.abc import Mapping, Sequence

from vmtop.derive.frame import Frame, derive_frame
from vmtop.model.policy import DEFAULT_POLICY, Policy
from vmtop.model.sample import (
    NOTHING_UNKNOWN,
    Answer,
    GuestSample,
    HostSample,
    JobKind,
    JobSample,
    KsmSample,
    Pressure,
    QemuSample,
    Sample,
    VmFacts,
    VmSample,
    VmState,
)
from vmtop.units import GIB, MIB, PAGE_BYTES

START_S = 1_700_000_000
START_MONOTONIC_S = 5_000.0
PERIOD_S = 5


def vm_uuid(number: int) -> str:
    """The UUID of the test VM with this number."""
    return f"00000000-0000-4000-8000-{number:012x}"


def make_pressure(*, some_ratio: float = 0.0, full_ratio: float = 0.0) -> Pressure:
    """Pressure that has been the same for the last five minutes."""
    return Pressure(
        some_avg10_ratio=some_ratio,
        some_avg60_ratio=some_ratio,
        some_avg300_ratio=some_ratio,
        full_avg10_ratio=full_ratio,
        full_avg60_ratio=full_ratio,
        full_avg300_ratio=full_ratio,
    )


def make_ksm(
    *,
    is_running: bool | None = True,
    pages_shared: int = 50_000,
    pages_sharing: int = 200_000,
    pages_unshared: int | None = 400_000,
    pages_volatile: int | None = 10_000,
    zero_pages: int | None = 0,
    profit_bytes: int | None = 700 * MIB,
    full_scans: int | None = 12,
    pages_to_scan: int | None = 1_250,
    sleep_s: float | None = 0.01,
    cpu_s: float | None = 100.0,
) -> KsmSample:
    """Page sharing that saves 781 MiB."""
    return KsmSample(
        page_bytes=PAGE_BYTES,
        is_running=is_running,
        pages_shared=pages_shared,
        pages_sharing=pages_sharing,
        pages_unshared=pages_unshared,
        pages_volatile=pages_volatile,
        zero_pages=zero_pages,
        profit_bytes=profit_bytes,
        full_scans=full_scans,
        pages_to_scan=pages_to_scan,
        sleep_s=sleep_s,
        cpu_s=cpu_s,
    )


QUIET = make_pressure()
SHARING = make_ksm()


def make_host(
    *,
    name: str = "kvm1",
    cpus: int | None = 16,
    total_bytes: int | None = 64 * GIB,
    available_bytes: int | None = 40 * GIB,
    free_bytes: int | None = 30 * GIB,
    cache_bytes: int | None = 12 * GIB,
    swap_total_bytes: int | None = 8 * GIB,
    swap_used_bytes: int | None = 256 * MIB,
    swap_in_bytes: int | None = 100 * MIB,
    swap_out_bytes: int | None = 300 * MIB,
    pressure: Pressure | None = QUIET,
    ksm: KsmSample | None = SHARING,
    hugepages_total_bytes: int | None = 0,
    hugepages_free_bytes: int | None = 0,
    unknown: Mapping[str, str] = NOTHING_UNKNOWN,
) -> HostSample:
    """A calm host of 64 GiB with 40 GiB available."""
    return HostSample(
        name=name,
        cpus=cpus,
        total_bytes=total_bytes,
        available_bytes=available_bytes,
        free_bytes=free_bytes,
        cache_bytes=cache_bytes,
        swap_total_bytes=swap_total_bytes,
        swap_used_bytes=swap_used_bytes,
        swap_in_bytes=swap_in_bytes,
        swap_out_bytes=swap_out_bytes,
        pressure=pressure,
        ksm=ksm,
        hugepages_total_bytes=hugepages_total_bytes,
        hugepages_free_bytes=hugepages_free_bytes,
        unknown=unknown,
    )


def make_guest(
    *,
    last_update_s: int = START_S,
    total_bytes: int | None = 4 * GIB - 128 * MIB,
    usable_bytes: int | None = 2 * GIB + 512 * MIB,
    free_bytes: int | None = 768 * MIB,
    cache_bytes: int | None = 1 * GIB + 896 * MIB,
    swap_in_bytes: int | None = 0,
    swap_out_bytes: int | None = 0,
    major_faults: int | None = 2_000,
    minor_faults: int | None = 900_000,
) -> GuestSample:
    """A guest with a balloon of 4 GiB, of which 1.5 GiB are in use."""
    return GuestSample(
        last_update_s=last_update_s,
        total_bytes=total_bytes,
        usable_bytes=usable_bytes,
        free_bytes=free_bytes,
        cache_bytes=cache_bytes,
        swap_in_bytes=swap_in_bytes,
        swap_out_bytes=swap_out_bytes,
        major_faults=major_faults,
        minor_faults=minor_faults,
    )


def make_qemu(
    *,
    pid: int = 4_711,
    start_ticks: int = 123_456,
    rss_bytes: int | None = 3 * GIB,
    swap_bytes: int | None = 0,
    hugetlb_bytes: int | None = 0,
    major_faults: int | None = 40,
    ksm_merged_bytes: int | None = 100 * MIB,
    ksm_zero_bytes: int | None = 0,
    ksm_profit_bytes: int | None = 90 * MIB,
    cgroup: str | None = "/machine.slice/machine-qemu.scope",
    cgroup_bytes: int | None = 3 * GIB + 64 * MIB,
    cgroup_swap_bytes: int | None = 0,
    pressure: Pressure | None = QUIET,
) -> QemuSample:
    """The process of a VM of which 3 GiB are resident and 100 MiB merged."""
    return QemuSample(
        pid=pid,
        start_ticks=start_ticks,
        rss_bytes=rss_bytes,
        swap_bytes=swap_bytes,
        hugetlb_bytes=hugetlb_bytes,
        major_faults=major_faults,
        ksm_merged_bytes=ksm_merged_bytes,
        ksm_zero_bytes=ksm_zero_bytes,
        ksm_profit_bytes=ksm_profit_bytes,
        cgroup=cgroup,
        cgroup_bytes=cgroup_bytes,
        cgroup_swap_bytes=cgroup_swap_bytes,
        pressure=pressure,
    )


def make_facts(
    *,
    has_balloon: bool = True,
    stats_period_s: int | None = PERIOD_S,
    has_autodeflate: bool = False,
    has_free_page_reporting: bool = False,
    virtio_mem_bytes: int = 0,
    has_hugepages: bool = False,
    has_nosharepages: bool = False,
    is_locked: bool = False,
    has_vfio: bool = False,
    min_guarantee_bytes: int | None = None,
) -> VmFacts:
    """A VM with a balloon that reports every 5 s and nothing unusual."""
    return VmFacts(
        has_balloon=has_balloon,
        stats_period_s=stats_period_s,
        has_autodeflate=has_autodeflate,
        has_free_page_reporting=has_free_page_reporting,
        virtio_mem_bytes=virtio_mem_bytes,
        has_hugepages=has_hugepages,
        has_nosharepages=has_nosharepages,
        is_locked=is_locked,
        has_vfio=has_vfio,
        min_guarantee_bytes=min_guarantee_bytes,
    )


def make_job(
    *,
    kind: JobKind = JobKind.BACKUP,
    elapsed_s: float | None = 12.0,
    processed_bytes: int | None = 3 * GIB,
    total_bytes: int | None = 10 * GIB,
    disk: str | None = None,
    limit_bytes_per_s: int | None = None,
    disks: int | None = None,
) -> JobSample:
    """A backup that is at 30 %."""
    return JobSample(
        kind=kind,
        elapsed_s=elapsed_s,
        processed_bytes=processed_bytes,
        total_bytes=total_bytes,
        disk=disk,
        limit_bytes_per_s=limit_bytes_per_s,
        disks=disks,
    )


GUEST = make_guest()
QEMU = make_qemu()
FACTS = make_facts()


def make_vm(
    *,
    uuid: str = vm_uuid(1),
    name: str = "vm-0001",
    domain_id: int | None = 1,
    state: VmState = VmState.RUNNING,
    state_reason: str | None = None,
    answer: Answer = Answer.FULL,
    hung_s: float | None = None,
    maximum_bytes: int | None = 4 * GIB,
    balloon_bytes: int | None = 4 * GIB,
    rss_bytes: int | None = 3 * GIB,
    guest: GuestSample | None = GUEST,
    qemu: QemuSample | None = QEMU,
    facts: VmFacts | None = FACTS,
    jobs: tuple[JobSample, ...] = (),
    unknown: Mapping[str, str] = NOTHING_UNKNOWN,
) -> VmSample:
    """A running VM of 4 GiB that uses 1.5 GiB and reports it."""
    return VmSample(
        uuid=uuid,
        name=name,
        domain_id=domain_id,
        state=state,
        state_reason=state_reason,
        answer=answer,
        hung_s=hung_s,
        maximum_bytes=maximum_bytes,
        balloon_bytes=balloon_bytes,
        rss_bytes=rss_bytes,
        guest=guest,
        qemu=qemu,
        facts=facts,
        jobs=jobs,
        unknown=unknown,
    )


def make_off_vm(
    *,
    uuid: str = vm_uuid(9),
    name: str = "vm-0009",
    maximum_bytes: int | None = 4 * GIB,
    facts: VmFacts | None = FACTS,
) -> VmSample:
    """A VM that is shut off: libvirt knows its sizes and nothing else."""
    return make_vm(
        uuid=uuid,
        name=name,
        domain_id=None,
        state=VmState.SHUTOFF,
        maximum_bytes=maximum_bytes,
        balloon_bytes=maximum_bytes,
        rss_bytes=None,
        guest=None,
        qemu=None,
        facts=facts,
    )


def make_sample(
    *vms: VmSample,
    at_s: float = 0.0,
    time_s: float | None = None,
    monotonic_s: float | None = None,
    host: HostSample | None = None,
    read_s: float = 0.004,
    backend: str = "libvirt",
    uri: str = "qemu:///system",
    is_simulated: bool = False,
    is_local: bool = True,
    notices: tuple[str, ...] = (),
) -> Sample:
    """What was read `at_s` seconds after the start; a clock that is given runs its own way."""
    return Sample(
        time_s=START_S + at_s if time_s is None else time_s,
        monotonic_s=START_MONOTONIC_S + at_s if monotonic_s is None else monotonic_s,
        read_s=read_s,
        backend=backend,
        uri=uri,
        is_simulated=is_simulated,
        is_local=is_local,
        host=make_host() if host is None else host,
        vms=vms,
        notices=notices,
    )


def make_vms(count: int, *, at_s: float = 0.0) -> tuple[VmSample, ...]:
    """A mixed fleet: sizes, use and rates differ from VM to VM; each tenth is off, each seventh gave memory back."""
    return tuple(_fleet_vm(number, at_s) for number in range(1, count + 1))


def _fleet_vm(number: int, at_s: float) -> VmSample:
    name, uuid = f"vm-{number:04d}", vm_uuid(number)
    maximum_bytes = (1, 2, 4, 8)[number % 4] * GIB
    if number % 10 == 0:
        return make_off_vm(uuid=uuid, name=name, maximum_bytes=maximum_bytes)
    balloon_bytes = maximum_bytes * 3 // 4 if number % 7 == 0 else maximum_bytes
    usable_bytes = balloon_bytes * (20 + number % 60) // 100
    updated_s = int(at_s) // PERIOD_S * PERIOD_S
    swapped_bytes = updated_s * (number % 3) * 64 * 1024
    rss_bytes = balloon_bytes * (60 + number % 40) // 100
    return make_vm(
        uuid=uuid,
        name=name,
        domain_id=number,
        maximum_bytes=maximum_bytes,
        balloon_bytes=balloon_bytes,
        rss_bytes=rss_bytes,
        guest=make_guest(
            last_update_s=START_S + updated_s,
            total_bytes=balloon_bytes - 64 * MIB,
            usable_bytes=usable_bytes,
            free_bytes=usable_bytes // 3,
            cache_bytes=usable_bytes // 2,
            swap_in_bytes=swapped_bytes,
            swap_out_bytes=swapped_bytes // 2,
            major_faults=2_000 + updated_s * (number % 5),
        ),
        qemu=make_qemu(
            pid=4_000 + number,
            start_ticks=100_000 + number,
            rss_bytes=rss_bytes,
            swap_bytes=(number % 5) * 16 * MIB,
            major_faults=40 + int(at_s) * (number % 4),
            ksm_merged_bytes=(number % 6) * 32 * MIB,
        ),
    )


def derive_all(*samples: Sample, policy: Policy = DEFAULT_POLICY) -> Frame:
    """The frame of the last of these samples, which were read one after another."""
    frame: Frame | None = None
    for sample in samples:
        frame = derive_frame(frame, sample, policy)
    assert frame is not None, "no samples"
    return frame


def make_frame(
    vms: int | Sequence[VmSample] = 3,
    *,
    at_s: float = PERIOD_S,
    host: HostSample | None = None,
    previous: Frame | None = None,
    is_simulated: bool = False,
    is_local: bool = True,
    policy: Policy = DEFAULT_POLICY,
) -> Frame:
    """A frame of these VMs, or of a mixed fleet of so many.

    A fleet has rates: it was read twice, at the start and at `at_s`. Given VMs have them only after a `previous` frame.
    """

    def read(seen: Sequence[VmSample], seen_at_s: float) -> Sample:
        return make_sample(*seen, at_s=seen_at_s, host=host, is_simulated=is_simulated, is_local=is_local)

    if isinstance(vms, int):
        first = derive_frame(None, read(make_vms(vms), 0.0), policy) if previous is None else previous
        return derive_frame(first, read(make_vms(vms, at_s=at_s), at_s), policy)
    return derive_frame(previous, read(vms, at_s), policy)
