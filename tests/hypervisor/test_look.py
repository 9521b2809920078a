"""What vmtop reads of disks, snapshots and checkpoints of real guests when it may only look, against virsh."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract import LookingOnly, check_storage
from tests.hypervisor.guest import Guest
from tests.hypervisor.guest_image import find_command, run
from tests.hypervisor.guest_spec import GuestSpec
from tests.hypervisor.lab import HostLab
from tests.hypervisor.waiting import wait_until
from vmtop.backends.libvirt_read import LibvirtBackend
from vmtop.cli import main
from vmtop.errors import ControlError
from vmtop.model.sample import Answer
from vmtop.units import MIB

AT_ONCE_S = 8.0
"""Enough for two busy cores, and far below the half minute for which libvirt waits for a VM that does not answer."""
NAMES = ("base", "<b> & 'c' \u202e漢", "third")
POINTS = ("point.1", "point.2", "point.3")
"""libvirt's schema lets checkpoints have no other characters."""


@pytest.fixture(scope="module")
def machines(own_lab: HostLab) -> Iterator[list[Guest]]:
    """One with snapshots, one with checkpoints: libvirt does not let a VM have both."""
    specs = (
        GuestSpec(name=name, memory_mib=32, boots=False, paused=True, disk_content_mib=8)
        for name in ("with snapshots", "with checkpoints")
    )
    with own_lab.running(*specs) as machines:
        snapped, marked = machines
        for name in NAMES:
            text = name.replace("&", "&amp;").replace("<", "&lt;")
            snapped.domain.snapshotCreateXML(f"<domainsnapshot><name>{text}</name></domainsnapshot>", 0)
        for name in POINTS:
            marked.domain.checkpointCreateXML(f"<domaincheckpoint><name>{name}</name></domaincheckpoint>", 0)
        # Another branch, so that the order is not that of time.
        snapped.domain.revertToSnapshot(snapped.domain.snapshotLookupByName("base"), 0)
        snapped.domain.snapshotCreateXML("<domainsnapshot><name>fourth</name></domainsnapshot>", 0)
        yield machines


@pytest.fixture
def backend(own_lab: HostLab) -> Iterator[LibvirtBackend]:
    backend = LibvirtBackend(own_lab.uri, binding=LookingOnly(own_lab.daemon.libvirt))
    yield backend
    backend.close()


def told(lab: HostLab, command: str, guest: Guest, *options: str) -> list[str]:
    """The lines that virsh prints, itself on a read-only connection."""
    printed = run(find_command("virsh"), "-r", "-c", lab.uri, command, guest.uuid, *options)
    return [line.strip() for line in printed.splitlines() if line.strip()]


def test_snapshots_and_checkpoints_are_those_of_virsh(
    own_lab: HostLab, machines: list[Guest], backend: LibvirtBackend
) -> None:
    snapped, marked = machines
    found = backend.read_storage(snapped.uuid)
    assert [each.name for each in found.snapshots] == told(own_lab, "snapshot-list", snapped, "--name", "--topological")
    assert {each.name: each.parent for each in found.snapshots} == {
        "base": None,
        NAMES[1]: "base",
        "third": NAMES[1],
        "fourth": "base",
    }
    assert [each.name for each in found.snapshots if each.is_current] == told(
        own_lab, "snapshot-current", snapped, "--name"
    )
    assert found.checkpoints == ()
    points = backend.read_storage(marked.uuid).checkpoints
    assert [each.name for each in points] == told(own_lab, "checkpoint-list", marked, "--name", "--topological")
    assert len(points) == len(POINTS)
    assert points[-1].dirty_bytes == 0
    (disk,) = found.disks
    assert disk.capacity_bytes == 8 * MIB
    assert f"Capacity:       {disk.capacity_bytes}" in told(own_lab, "domblkinfo", snapped, "vda")


def test_the_contract_of_storage_holds_for_real_guests(machines: list[Guest], backend: LibvirtBackend) -> None:
    assert len(machines) == 2
    check_storage(backend)


def test_a_list_is_printed_where_nothing_may_be_changed(
    own_lab: HostLab, machines: list[Guest], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-c", own_lab.uri, "--readonly", "snapshot", machines[0].name, "--list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("base", "third", "fourth"))
    assert "\u202e" not in printed


def test_a_look_at_a_guest_that_hangs_stops_neither_readings_nor_another_look(
    own_lab: HostLab, machines: list[Guest], backend: LibvirtBackend
) -> None:
    hung, other = machines
    backend.read_sample()
    hung.hang()
    try:
        with ThreadPoolExecutor(1) as pool:
            look = pool.submit(backend.read_storage, hung.uuid)

            def is_seen_to_hang() -> bool:
                began_s = time.monotonic()
                sample = backend.read_sample()
                assert time.monotonic() - began_s < AT_ONCE_S
                return any(vm.uuid == hung.uuid and vm.answer is Answer.HUNG for vm in sample.vms)

            wait_until(is_seen_to_hang, "the guest to be seen to hang")
            began_s = time.monotonic()
            assert len(backend.read_storage(other.uuid).checkpoints) == len(POINTS)
            assert time.monotonic() - began_s < AT_ONCE_S
            assert not look.done()
            hung.wake()
            assert len(look.result(AT_ONCE_S).snapshots) == len(NAMES) + 1
    finally:
        hung.wake()


def test_a_daemon_that_died_is_told_and_its_successor_answers(
    own_lab: HostLab, machines: list[Guest], backend: LibvirtBackend
) -> None:
    uuid = machines[0].uuid
    before = backend.read_storage(uuid)
    own_lab.daemon.kill()
    try:
        with pytest.raises(
            ControlError, match=r"no libvirt daemon at|no connection to|the connection to .* is gone"
        ) as refusal:
            backend.read_storage(uuid)
        assert refusal.value.code is None, "libvirt has not answered"
    finally:
        own_lab.daemon.start()
    # Siblings come in another order each time libvirt starts.
    assert set(backend.read_storage(uuid).snapshots) == set(before.snapshots)
