"""The libvirt backend against what real guests and the host's kernel say themselves, and while things break."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.hypervisor.conftest import StartGuests
from tests.hypervisor.guest import Guest
from tests.hypervisor.guest_spec import GuestSpec, Hog
from tests.hypervisor.ksm import host_ksm, missing_for_ksm
from tests.hypervisor.lab import HostLab
from tests.hypervisor.truth import GuestTruth
from tests.hypervisor.waiting import wait_until
from vmtop.backends.libvirt_bulk import HUNG_MS, LOOK_S
from vmtop.backends.libvirt_read import LibvirtBackend
from vmtop.errors import BackendError, ConnectError
from vmtop.model.sample import Answer, GuestSample, JobKind, Sample, VmSample, VmState
from vmtop.units import KIB, MIB, PAGE_BYTES

DEADLINE_S = 1.5
BOUND_S = 30.0
"""Far above the sum of all deadlines in one reading, far below a hang."""


@pytest.fixture(scope="module")
def trio(own_lab: HostLab) -> Iterator[list[Guest]]:
    with own_lab.running(*(GuestSpec(name=name, memory_mib=96) for name in ("one", "two", "three"))) as guests:
        yield guests


@pytest.fixture
def backend(own_lab: HostLab) -> Iterator[LibvirtBackend]:
    backend = LibvirtBackend(own_lab.uri, deadline_s=DEADLINE_S)
    yield backend
    backend.close()


def find(sample: Sample, guest: Guest) -> VmSample:
    return next(vm for vm in sample.vms if vm.uuid == guest.uuid)


def figures(sample: Sample, guest: Guest) -> GuestSample:
    """What a guest that sends figures has sent."""
    told = find(sample, guest).guest
    assert told is not None
    return told


def read_until(backend: LibvirtBackend, condition: Callable[[Sample], bool], what: str) -> Sample:
    """Read again and again, as the program does, but at once."""

    def read() -> Sample | None:
        sample = backend.read_sample()
        return sample if condition(sample) else None

    return wait_until(read, what)


def are_all_read(guests: list[Guest], sample: Sample) -> bool:
    return all(find(sample, guest).answer is Answer.FULL for guest in guests)


def timed_read(backend: LibvirtBackend) -> tuple[Sample, float]:
    began_s = time.monotonic()
    sample = backend.read_sample()
    return sample, time.monotonic() - began_s


def assert_within(value: int | None, said: list[int], slack: int, what: str) -> None:
    assert value is not None, what
    assert min(said) - slack <= value <= max(said) + slack, f"{what}: {value} is not within {said} and {slack}"


def test_guest_figures_are_those_of_the_guests_own_kernel(lab: HostLab, start_guests: StartGuests) -> None:
    swapping, calm = start_guests(
        GuestSpec(name="swapping", hog=Hog(mib=90, touch_every_s=0.5), swap_mib=64, truth_every_s=0.2),
        GuestSpec(name="calm", hog=Hog(mib=20), cache_mib=20, truth_every_s=0.2),
    )
    backend = LibvirtBackend(lab.uri)
    backend.read_sample()
    for guest in (swapping, calm):
        before = guest.wait_for_truth()
        old_s = figures(backend.read_sample(), guest).last_update_s
        # What the guest sends next is newer than that report, and what it reports thereafter is newer still.
        sample = read_until(backend, partial(is_newer, guest, old_s), f"{guest.name} to send its figures")
        guest.wait_for_truth()
        after = guest.wait_for_truth()
        said = [truth for truth in guest.truth() if before.sequence <= truth.sequence <= after.sequence]
        check_guest_figures(find(sample, guest), said, is_calm=guest is calm)
    backend.close()


def is_newer(guest: Guest, than_s: int, sample: Sample) -> bool:
    return figures(sample, guest).last_update_s > than_s


def check_guest_figures(vm: VmSample, said: list[GuestTruth], *, is_calm: bool) -> None:
    guest = vm.guest
    assert guest is not None
    # A counter read in between lies in between; a gauge may have been elsewhere for a moment.
    slack = 1 * MIB if is_calm else 24 * MIB
    assert guest.total_bytes == said[0].total_bytes
    assert_within(guest.usable_bytes, [truth.available_bytes for truth in said], slack, "usable")
    assert_within(guest.free_bytes, [truth.free_bytes for truth in said], slack, "free")
    assert_within(guest.cache_bytes, [truth.page_cache_bytes for truth in said], slack, "cache")
    assert_within(guest.swap_in_bytes, [truth.swapped_in_bytes for truth in said], 0, "swapped in")
    assert_within(guest.swap_out_bytes, [truth.swapped_out_bytes for truth in said], 0, "swapped out")
    assert_within(guest.major_faults, [truth.major_faults for truth in said], 0, "major faults")
    if is_calm:
        assert guest.cache_bytes is not None
        assert guest.cache_bytes >= 20 * MIB
        assert (guest.swap_in_bytes, guest.swap_out_bytes) == (0, 0)
    else:
        assert min(guest.swap_in_bytes or 0, guest.swap_out_bytes or 0, guest.major_faults or 0) > 0
    assert (vm.maximum_bytes, vm.balloon_bytes) == (128 * MIB, 128 * MIB)


def test_process_figures_are_those_of_proc(lab: HostLab, start_guests: StartGuests) -> None:
    (guest,) = start_guests(GuestSpec(name="resident", memory_mib=96))
    guest.domain.suspend()
    backend = LibvirtBackend(lab.uri)
    backend.read_sample()
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{guest.pid}/status").read_text().splitlines())
    stat = Path(f"/proc/{guest.pid}/stat").read_text().rpartition(")")[2].split()
    sample = backend.read_sample()
    backend.close()
    vm = find(sample, guest)
    assert vm.qemu is not None
    assert vm.qemu.pid == guest.pid
    assert vm.qemu.start_ticks == int(stat[19])
    assert vm.qemu.major_faults == int(stat[9])
    assert vm.qemu.swap_bytes == int(lines["VmSwap"].split()[0]) * KIB
    assert vm.qemu.hugetlb_bytes == int(lines["HugetlbPages"].split()[0]) * KIB
    rss_bytes = int(lines["VmRSS"].split()[0]) * KIB
    assert_within(vm.qemu.rss_bytes, [rss_bytes], 1 * MIB, "VmRSS")
    assert_within(vm.rss_bytes, [rss_bytes], 1 * MIB, "what libvirt calls rss")
    assert sample.is_local


def test_page_sharing_is_that_of_proc_and_sys(own_lab: HostLab, backend: LibvirtBackend) -> None:
    if (reason := missing_for_ksm()) is not None:
        pytest.skip(reason)
    specs = (GuestSpec(name=f"twin-{number}", hog=Hog(mib=30)) for number in (1, 2))
    with host_ksm() as folder, own_lab.running(*specs) as twins:

        def kernel() -> list[int]:
            merging = [int(Path(f"/proc/{twin.pid}/ksm_merging_pages").read_text()) for twin in twins]
            return merging + [int((folder / name).read_text()) for name in ("pages_shared", "pages_sharing")]

        wait_until(lambda: min(kernel()) * PAGE_BYTES > 20 * MIB, "the host to merge the twins' pages", BOUND_S * 2)
        # ksmd goes on merging, so what it says before and after is what the sample must lie between.
        before, sample, after = kernel(), backend.read_sample(), kernel()
        for number, twin in enumerate(twins):
            qemu = find(sample, twin).qemu
            assert qemu is not None
            pages = [before[number], after[number]]
            assert_within(qemu.ksm_merged_bytes, [count * PAGE_BYTES for count in pages], 4 * MIB, "merged")
        assert sample.host.ksm is not None
        assert sample.host.ksm.is_running
        assert_within(sample.host.ksm.pages_shared, [before[2], after[2]], 1024, "pages_shared")
        assert_within(sample.host.ksm.pages_sharing, [before[3], after[3]], 1024, "pages_sharing")
        assert sample.host.ksm.cpu_s is not None
        assert sample.host.ksm.cpu_s > 0


def test_every_kind_of_guest_says_what_it_can_and_why_not_the_rest(lab: HostLab, start_guests: StartGuests) -> None:
    no_driver, no_device, silent, paused, off = start_guests(
        GuestSpec(name="no-driver", memory_mib=96, has_balloon_driver=False),
        GuestSpec(name="no-device", memory_mib=96, balloon="none"),
        GuestSpec(name="silent", memory_mib=96, stats_period_s=None),
        GuestSpec(name="paused", memory_mib=64, boots=False, paused=True),
        GuestSpec(name="off", memory_mib=64, boots=False, paused=True),
    )
    off.shut_off()
    backend = LibvirtBackend(lab.uri)
    sample = backend.read_sample()

    vm = find(sample, no_driver)
    assert vm.guest is None
    assert "never sent figures" in vm.unknown["guest"]
    assert vm.facts is not None
    assert vm.facts.has_balloon

    vm = find(sample, no_device)
    assert vm.guest is None
    assert "no memory balloon" in vm.unknown["guest"]
    assert vm.facts is not None
    assert not vm.facts.has_balloon
    assert vm.facts.stats_period_s is None
    assert vm.rss_bytes is not None

    vm = find(sample, silent)
    assert vm.facts is not None
    assert vm.facts.stats_period_s == 0
    # The driver sends its figures once when it is loaded, and never again.
    first = vm.guest
    assert first is not None
    silent.order("hog 20 random 0")
    assert find(backend.read_sample(), silent).guest == first

    vm = find(sample, paused)
    assert (vm.state, vm.answer) == (VmState.PAUSED, Answer.FULL)
    assert vm.qemu is not None

    vm = find(sample, off)
    assert (vm.state, vm.state_reason, vm.domain_id) == (VmState.SHUTOFF, "destroyed", None)
    assert (vm.guest, vm.qemu, vm.rss_bytes) == (None, None, None)
    assert vm.unknown["qemu"] == "the VM is not running"
    assert vm.maximum_bytes == 64 * MIB

    silent.domain.setMemoryStatsPeriod(1, 1)
    sample = read_until(
        backend,
        lambda sample: (facts := find(sample, silent).facts) is not None and facts.stats_period_s == 1,
        "the new statistics period to be seen",
    )
    assert find(sample, silent).guest != first
    backend.close()


def test_one_hung_qemu_of_three_costs_one_deadline_and_the_others_go_on(
    backend: LibvirtBackend, trio: list[Guest]
) -> None:
    one, two, three = trio
    before = find(backend.read_sample(), two)
    two.hang()
    try:
        first, first_s = timed_read(backend)
        assert first_s < DEADLINE_S + 1
        vm = find(first, two)
        assert vm.answer is Answer.HUNG
        assert vm.hung_s is not None
        assert vm.hung_s >= HUNG_MS / 1000
        assert vm.guest == before.guest
        assert all(find(first, guest).answer is Answer.FULL for guest in (one, three))

        later = read_until(
            backend,
            lambda sample: all(
                is_newer(guest, figures(first, guest).last_update_s + 1, sample) for guest in (one, three)
            ),
            "the others to send new figures",
        )
        assert later.read_s < DEADLINE_S
        assert find(later, two).hung_s > vm.hung_s + 1  # type: ignore[operator]  # None fails the test
        assert find(later, two).guest == before.guest
    finally:
        two.wake()
    awake = find(
        read_until(backend, lambda sample: find(sample, two).answer is Answer.FULL, "the hung VM to come back"), two
    )
    assert awake.hung_s is None
    assert awake.domain_id == before.domain_id


def test_three_hung_qemus_of_four_leave_the_fourth_alone(
    own_lab: HostLab, backend: LibvirtBackend, trio: list[Guest]
) -> None:
    with own_lab.running(GuestSpec(name="four", memory_mib=96)) as (four,):
        backend.read_sample()
        for guest in trio:
            guest.hang()
        try:
            first, first_s = timed_read(backend)
            assert first_s < DEADLINE_S + 3 * LOOK_S + 1
            assert [find(first, guest).answer for guest in (*trio, four)] == [*[Answer.HUNG] * 3, Answer.FULL]
            assert first.notices == ()
            told_s = figures(first, four).last_update_s
            later = read_until(backend, partial(is_newer, four, told_s), "the fourth to send new figures")
            assert later.read_s < DEADLINE_S
        finally:
            for guest in trio:
                guest.wake()
        read_until(backend, partial(are_all_read, [*trio, four]), "all VMs to be read again")


def test_a_vm_that_hung_before_we_came_is_named_too(own_lab: HostLab, trio: list[Guest]) -> None:
    hung, *others = trio
    hung.hang()
    backend = LibvirtBackend(own_lab.uri, deadline_s=DEADLINE_S)
    try:
        first, first_s = timed_read(backend)
        assert first_s < 2 * DEADLINE_S + 2
        assert find(first, hung).answer is not Answer.FULL
        sample = read_until(
            backend, lambda sample: find(sample, hung).answer is Answer.HUNG, "the hung VM to be called that"
        )
        assert "has not answered" in find(sample, hung).unknown["guest"]
        assert [find(sample, guest).answer for guest in others] == [Answer.FULL, Answer.FULL]
    finally:
        hung.wake()
        backend.close()


def test_a_killed_daemon_is_an_error_and_its_successor_is_found(
    own_lab: HostLab, backend: LibvirtBackend, trio: list[Guest]
) -> None:
    before = backend.read_sample()
    noticed = threading.Event()
    backend.on_change(noticed.set)
    own_lab.daemon.kill()
    try:
        assert noticed.wait(BOUND_S), "the loss is announced, not only found at the next reading"
        for _ in range(3):
            with pytest.raises(ConnectError, match=r"is gone|no libvirt daemon|no connection"):
                backend.read_sample()
    finally:
        own_lab.daemon.recover()
    # The new daemon first talks to all QEMUs itself.
    after = read_until(backend, partial(are_all_read, trio), "all VMs to be read again")
    for guest in trio:
        was, now = find(before, guest), find(after, guest)
        assert (now.domain_id, now.qemu and now.qemu.pid) == (was.domain_id, was.qemu and was.qemu.pid)
        assert now.facts == was.facts


def test_a_hung_daemon_is_an_error_in_a_bounded_time_also_for_a_newcomer(
    own_lab: HostLab, backend: LibvirtBackend, trio: list[Guest]
) -> None:
    backend.read_sample()
    newcomer = LibvirtBackend(own_lab.uri, deadline_s=DEADLINE_S, connect_s=0.5)
    own_lab.daemon.hang()
    try:
        for reader in (backend, newcomer, newcomer):
            began_s = time.monotonic()
            with pytest.raises(ConnectError, match=r"does not answer|has not answered"):
                reader.read_sample()
            assert time.monotonic() - began_s < 2 * DEADLINE_S + 1
    finally:
        own_lab.daemon.wake()
    for reader in (backend, newcomer):
        # At first the daemon still works off the calls that were left behind, one of which may hold a VM.
        read_until(reader, partial(are_all_read, trio), "all VMs to be read again")
    newcomer.close()


def test_vms_that_end_while_they_are_read_are_no_error(own_lab: HostLab, backend: LibvirtBackend) -> None:
    with own_lab.paused_fleet(6) as fleet:
        backend.read_sample()
        failures: list[BackendError] = []
        states: set[VmState] = set()
        is_over = threading.Event()

        def read_on() -> None:
            while not is_over.is_set():
                try:
                    states.update(vm.state for vm in backend.read_sample().vms)
                except BackendError as error:
                    failures.append(error)

        reader = threading.Thread(target=read_on)
        reader.start()
        try:
            for guest in fleet[:4]:
                guest.shut_off()
            for guest in fleet[:4]:
                guest.start()
            for guest in fleet:
                guest.shut_off()
        finally:
            is_over.set()
            reader.join(BOUND_S)
        assert failures == []
        assert {VmState.PAUSED, VmState.SHUTOFF} <= states
        sample = backend.read_sample()
        assert all(find(sample, guest).state is VmState.SHUTOFF for guest in fleet)


def test_a_backup_is_shown_as_long_as_it_runs(lab: HostLab, start_guests: StartGuests) -> None:
    (guest,) = start_guests(GuestSpec(name="kept", memory_mib=96, disk_mib=32))
    backend = LibvirtBackend(lab.uri)
    assert find(backend.read_sample(), guest).jobs == ()
    # A pull backup lasts until it is ended.
    domain = guest.domain
    server = f'<server transport="unix" socket="{guest.files.folder}/nbd"/>'
    disk = f'<disk name="vda" type="file"><scratch file="{guest.files.folder}/scratch.qcow2"/></disk>'
    domain.backupBegin(f'<domainbackup mode="pull">{server}<disks>{disk}</disks></domainbackup>', None, 0)
    sample = read_until(backend, lambda sample: find(sample, guest).jobs != (), "the backup to be seen")
    (job,) = find(sample, guest).jobs
    assert job.kind is JobKind.BACKUP
    assert job.elapsed_s is not None
    assert (job.processed_bytes, job.total_bytes) == (None, None), "a pull backup has no progress"
    assert find(sample, guest).answer is Answer.FULL
    domain.abortJob()
    read_until(backend, lambda sample: find(sample, guest).jobs == (), "the end of the backup to be seen")
    backend.close()


def test_a_vm_that_starts_or_ends_is_announced(own_lab: HostLab, backend: LibvirtBackend) -> None:
    guest = own_lab.define(GuestSpec(name="announced", memory_mib=64, boots=False, paused=True))
    try:
        assert find(backend.read_sample(), guest).state is VmState.SHUTOFF
        changed = threading.Event()
        backend.on_change(changed.set)
        assert backend.capability.has_events
        guest.start()
        assert changed.wait(BOUND_S)
        assert find(backend.read_sample(), guest).state is VmState.PAUSED
        changed.clear()
        guest.shut_off()
        assert changed.wait(BOUND_S)
        assert find(backend.read_sample(), guest).state is VmState.SHUTOFF
    finally:
        own_lab.remove(guest)
