"""What is changed through libvirt: on its own test driver, and on a stand-in daemon that refuses, hangs and dies."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.backends.fake_libvirt import FakeDomain, FakeError, FakeLibvirt, FakeVm
from tests.backends.test_libvirt_read import NO_BINDING, HandClock, becomes_true
from tests.builders import vm_uuid
from vmtop.backends.libvirt_backup import build_backup_xml, build_checkpoint_xml
from vmtop.backends.libvirt_control import LibvirtControl
from vmtop.backends.libvirt_read import LibvirtBackend
from vmtop.backends.libvirt_snapshot import build_snapshot_xml
from vmtop.backends.libvirt_xml import parse_xml
from vmtop.errors import ControlError
from vmtop.model.kind import SnapshotKind
from vmtop.model.sample import VmSample
from vmtop.model.storage import BackupRequest, SnapshotRequest
from vmtop.units import KIB, MIB

LIVE = FakeLibvirt.VIR_DOMAIN_AFFECT_LIVE
HOSTILE = """</name><x y='"&]]>\u202e"""
VIRTIO_MEM = """<domain><devices><memballoon model='virtio'/><memory model='virtio-mem'>
  <target><current unit='KiB'>2048</current></target></memory></devices></domain>"""
DISKS = """<domain><devices><disk><source file='/a'/><target dev='vda'/></disk>
  <disk><source file='/b'/><target dev='vdb'/></disk></devices></domain>"""
RUNNING_BACKUP = (
    "<domainbackup><disks><disk name='vda' backup='yes'/><disk name='vdb' backup='no'/></disks></domainbackup>"
)


class Bench:
    """A control on a stand-in daemon with one VM."""

    def __init__(self) -> None:
        self.vm = FakeVm(uuid=vm_uuid(1), name="vm1")
        self.daemon = FakeLibvirt(self.vm)
        self.backend = LibvirtBackend("qemu+tls://kvm1/system", clock=HandClock(), binding=self.daemon)
        self.noted: list[str] = []
        self.backend.on_change(lambda: self.noted.append("changed"))
        self.control: LibvirtControl = self.backend.open_control()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.daemon.end_all_hangs()
    bench.control.close()
    bench.backend.close()


def test_nothing_is_opened_before_the_first_act(bench: Bench) -> None:
    assert bench.daemon.openings == []
    bench.control.resume(bench.vm.uuid)
    assert len(bench.daemon.writable_connections) == 1
    assert bench.vm.calls == [("resume",)]


def test_amounts_are_told_to_libvirt_in_kib_and_for_the_running_vm(bench: Bench) -> None:
    bench.control.set_balloon(bench.vm.uuid, 5 * MIB + 1)
    bench.control.set_stats_period(bench.vm.uuid, 7)
    assert bench.vm.calls == [("setMemoryFlags", 5 * 1024, LIVE), ("setMemoryStatsPeriod", 7, LIVE)]


def test_a_balloon_leaves_out_what_virtio_mem_holds_for_libvirt_tells_both_and_takes_one(bench: Bench) -> None:
    bench.vm.xml = VIRTIO_MEM
    bench.control.set_balloon(bench.vm.uuid, 10 * MIB)
    assert bench.vm.calls == [("setMemoryFlags", 8 * 1024, LIVE)]


def test_a_definition_that_cannot_be_read_changes_nothing(bench: Bench) -> None:
    bench.vm.xml = "<!DOCTYPE x [<!ENTITY e 'e'>]><domain/>"
    with pytest.raises(ControlError, match="declares a document type"):
        bench.control.set_balloon(bench.vm.uuid, 10 * MIB)
    assert bench.vm.calls == []


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (68, "cannot acquire state change lock", "cannot acquire state change lock. Wait until that is over"),
        (84, "no", "no. It needs a VM in another state, or another libvirt"),
        (86, "QEMU guest agent is not connected", "not connected. Do it without the agent"),
        (88, "denied", "denied. The user that vmtop runs as needs the right"),
        (1, "two\nlines  of it", "two lines of it. Look at the VM"),
        (1, None, "libvirt gives no reason. Look at the VM"),
        (4711, "of the future", "of the future. Look at the VM"),
    ],
)
def test_a_refusal_has_libvirts_words_and_number_and_what_now(
    bench: Bench, code: int, text: str | None, expected: str
) -> None:
    bench.vm.refusal = FakeError(code, text)
    with pytest.raises(ControlError, match=expected) as refusal:
        bench.control.resume(bench.vm.uuid)
    assert refusal.value.code == code


def test_a_vm_that_is_gone_is_a_refusal(bench: Bench) -> None:
    with pytest.raises(ControlError, match=r"Domain not found. Nothing was done") as refusal:
        bench.control.cancel_job(vm_uuid(9), None)
    assert refusal.value.code == 42


def test_a_connection_that_is_lost_meanwhile_leaves_the_outcome_open(bench: Bench) -> None:
    bench.vm.refusal = FakeError(38, "Cannot write data: Broken pipe", domain=7)
    with pytest.raises(ControlError, match=r"was lost meanwhile.*Broken pipe.*Nobody knows whether") as refusal:
        bench.control.resume(bench.vm.uuid)
    assert refusal.value.code is None


def test_a_daemon_that_cannot_be_reached_is_named_and_tried_again(bench: Bench) -> None:
    bench.daemon.open_error = FakeError(38, "Connection refused", domain=7)
    with pytest.raises(ControlError, match=r"no connection to qemu.tls://kvm1/system: Connection refused") as refusal:
        bench.control.resume(bench.vm.uuid)
    assert refusal.value.code is None
    bench.daemon.open_error = None
    bench.control.resume(bench.vm.uuid)
    assert bench.vm.calls == [("resume",)]


def test_a_user_who_may_only_look_is_told_what_would_help(bench: Bench) -> None:
    bench.daemon.open_error = FakeError(45, "authentication failed")
    with pytest.raises(ControlError, match=r"refuses us: authentication failed.*needs the group libvirt"):
        bench.control.resume(bench.vm.uuid)


def _cannot_tell() -> bool:
    raise FakeError(1, "who knows")


@pytest.mark.parametrize("is_alive", [lambda: False, _cannot_tell])
def test_a_connection_is_used_again_while_it_lives_and_replaced_when_it_died(
    bench: Bench, is_alive: Callable[[], bool]
) -> None:
    for _ in range(3):
        bench.control.resume(bench.vm.uuid)
    (first,) = bench.daemon.writable_connections
    first.isAlive = is_alive  # type: ignore[method-assign] # of this connection alone
    bench.control.resume(bench.vm.uuid)
    assert len(bench.daemon.writable_connections) == 2
    assert becomes_true(lambda: bench.daemon.open_connections == 1)


def test_an_act_that_hangs_holds_up_no_other_and_not_the_end(bench: Bench) -> None:
    other = FakeVm(uuid=vm_uuid(2), name="vm2", number=2)
    bench.daemon.vms.append(other)
    bench.vm.qemu.shut()
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(bench.control.resume, bench.vm.uuid)
        assert becomes_true(lambda: len(bench.daemon.writable_connections) == 1)
        bench.control.resume(other.uuid)
        assert other.calls == [("resume",)]
        bench.control.close()
        with pytest.raises(ControlError, match=r"was closed. Nothing was done"):
            bench.control.resume(other.uuid)
        assert not hanging.done()
        bench.vm.qemu.open()
        hanging.result()
    assert becomes_true(lambda: bench.daemon.open_connections == 0), "it closes when its act is over"


def test_the_reader_hears_of_every_act_also_of_one_that_failed(bench: Bench) -> None:
    bench.control.resume(bench.vm.uuid)
    bench.vm.refusal = FakeError(68, "busy")
    with pytest.raises(ControlError):
        bench.control.resume(bench.vm.uuid)
    assert bench.noted == ["changed", "changed"]


def test_a_backup_gets_its_limit_when_it_runs(bench: Bench) -> None:
    bench.vm.xml, bench.vm.backup_xml = DISKS, RUNNING_BACKUP
    bench.vm.block_jobs = {"vda": {"type": 5, "bandwidth": 0, "cur": 0, "end": 9}}
    request = BackupRequest(targets={"vda": "/t"}, formats={"vda": "raw"}, checkpoint=None, bytes_per_s=1000)
    bench.control.start_backup(bench.vm.uuid, request)
    (begin, limit) = bench.vm.calls
    assert begin == ("backupBegin", build_backup_xml(request, ["vda", "vdb"]), None, 0)
    assert limit == ("blockJobSetSpeed", "vda", 1000, 1)


def test_a_backup_that_is_over_before_it_can_be_limited_is_a_good_one(bench: Bench) -> None:
    request = BackupRequest(targets={"vda": "/t"}, formats={"vda": "raw"}, checkpoint=None, bytes_per_s=1000)
    bench.vm.xml = DISKS
    bench.control.start_backup(bench.vm.uuid, request)
    bench.vm.backup_xml = RUNNING_BACKUP
    bench.control.start_backup(bench.vm.uuid, request)
    assert [call[0] for call in bench.vm.calls] == ["backupBegin", "backupBegin"]


@pytest.mark.parametrize(("copied", "is_good"), [(9, True), (8, False)])
def test_a_limit_that_qemu_refuses_matters_only_while_it_copies(bench: Bench, copied: int, is_good: bool) -> None:
    bench.vm.xml, bench.vm.backup_xml = DISKS, RUNNING_BACKUP
    bench.vm.block_jobs = {"vda": {"type": 5, "bandwidth": 0, "cur": copied, "end": 9}}
    bench.vm.speed_refusal = FakeError(1, "Job in state 'concluded' cannot accept command verb 'set-speed'")
    request = BackupRequest(targets={"vda": "/t"}, formats={"vda": "raw"}, checkpoint=None, bytes_per_s=1000)
    if is_good:
        bench.control.start_backup(bench.vm.uuid, request)
    else:
        with pytest.raises(ControlError, match="the backup was cancelled, as its limit could not be set: Job in state"):
            bench.control.start_backup(bench.vm.uuid, request)
    assert [call[0] for call in bench.vm.calls] == ["backupBegin"] + ([] if is_good else ["abortJob"])


def test_a_backup_that_can_be_neither_limited_nor_cancelled_is_not_called_cancelled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object) -> None:
        raise FakeError(68, "cannot acquire state change lock")

    bench.vm.xml, bench.vm.backup_xml = DISKS, RUNNING_BACKUP
    bench.vm.block_jobs = {"vda": {"type": 5, "bandwidth": 0, "cur": 1, "end": 9}}
    bench.vm.speed_refusal = FakeError(1, "cannot accept set-speed")
    monkeypatch.setattr(FakeDomain, "abortJob", refuse)
    request = BackupRequest(targets={"vda": "/t"}, formats={"vda": "raw"}, checkpoint=None, bytes_per_s=1000)
    with pytest.raises(ControlError, match=r"may still run, and without a limit.*Nor could it be cancelled") as failure:
        bench.control.start_backup(bench.vm.uuid, request)
    assert "was cancelled" not in str(failure.value)
    assert failure.value.code is None, "it began, so that its end is to be followed"


def test_the_job_of_a_disk_is_limited_and_cancelled_without_a_change_of_images(bench: Bench) -> None:
    bench.vm.block_jobs = {"vda": {"type": 2, "bandwidth": 0, "cur": 1, "end": 9}}
    bench.control.limit_job(bench.vm.uuid, 1000, "vda")
    bench.control.cancel_job(bench.vm.uuid, "vda")
    # 1 is VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES; 0 neither pivots nor returns before it is over.
    assert bench.vm.calls == [("blockJobSetSpeed", "vda", 1000, 1), ("blockJobAbort", "vda", 0)]


def test_a_disk_without_a_job_is_refused_in_the_words_of_libvirt(bench: Bench) -> None:
    with pytest.raises(ControlError, match=r"disk vda does not have an active block job. Nothing was done"):
        bench.control.cancel_job(bench.vm.uuid, "vda")
    with pytest.raises(ControlError, match=r"disk vda does not have an active block job. Nothing was done"):
        bench.control.limit_job(bench.vm.uuid, 1000, "vda")


def test_a_backup_that_began_meanwhile_is_not_taken_for_the_job_of_its_disk(bench: Bench) -> None:
    bench.vm.block_jobs = {"vda": {"type": 5, "bandwidth": 0, "cur": 1, "end": 9}}
    with pytest.raises(ControlError, match="the disk vda is being backed up, and has no job of its own"):
        bench.control.cancel_job(bench.vm.uuid, "vda")
    with pytest.raises(ControlError, match="the disk vda is being backed up, and has no job of its own"):
        bench.control.limit_job(bench.vm.uuid, 1000, "vda")
    assert bench.vm.calls == []


def test_who_may_not_connect_to_act_gets_the_exit_code_of_that(bench: Bench) -> None:
    bench.daemon.open_error = FakeError(45, "authentication failed", 7)
    with pytest.raises(ControlError, match="authentication failed") as refusal:
        bench.control.resume(bench.vm.uuid)
    assert refusal.value.exit_code == 4
    bench.daemon.open_error = FakeError(38, "Failed to connect socket", 7)
    with pytest.raises(ControlError) as refusal:
        bench.control.resume(bench.vm.uuid)
    assert refusal.value.exit_code == 3


@pytest.mark.parametrize("code", [29, 88])
def test_what_libvirt_does_not_allow_has_an_exit_code_of_its_own(bench: Bench, code: int) -> None:
    bench.vm.refusal = FakeError(code, "operation forbidden")
    with pytest.raises(ControlError, match="The user that vmtop runs as needs the right to manage VMs") as refusal:
        bench.control.resume(bench.vm.uuid)
    assert refusal.value.exit_code == 4


def test_a_limit_of_no_backup_is_refused(bench: Bench) -> None:
    with pytest.raises(ControlError, match=r"no domain backup job present. It has ended meanwhile") as refusal:
        bench.control.limit_job(bench.vm.uuid, 1000, None)
    assert refusal.value.code == 104


def test_hostile_names_and_paths_stay_what_they_are_in_xml() -> None:
    snapshot = parse_xml(
        build_snapshot_xml(SnapshotRequest(name=HOSTILE, kind=SnapshotKind.EXTERNAL, memory_path=HOSTILE))
    )
    assert snapshot.findtext("name") == HOSTILE
    assert [element.tag for element in snapshot] == ["name", "memory"]
    assert snapshot[1].attrib == {"snapshot": "external", "file": HOSTILE}
    request = BackupRequest(targets={"vda": HOSTILE}, formats={"vda": "qcow2"}, checkpoint=HOSTILE, since=HOSTILE)
    backup = parse_xml(build_backup_xml(request, ["vdb", "vda"]))
    assert backup.findtext("incremental") == HOSTILE
    vda, vdb = backup.findall("disks/disk")
    assert vda.attrib == {"name": "vda", "backup": "yes", "type": "file"}
    assert [(each.tag, each.attrib) for each in vda] == [("driver", {"type": "qcow2"}), ("target", {"file": HOSTILE})]
    assert vdb.attrib == {"name": "vdb", "backup": "no"}, "libvirt would back it up to a file of its own choice"
    checkpoint = parse_xml(build_checkpoint_xml(request, ["vdb", "vda"]) or "")
    assert checkpoint.findtext("name") == HOSTILE
    assert [disk.attrib for disk in checkpoint.findall("disks/disk")] == [
        {"name": "vda", "checkpoint": "bitmap"},
        {"name": "vdb", "checkpoint": "no"},
    ]


def test_a_backup_without_checkpoint_creates_none() -> None:
    request = BackupRequest(targets={"vda": "/t"}, formats={"vda": "raw"}, checkpoint=None)
    assert build_checkpoint_xml(request, ["vda"]) is None
    assert "incremental" not in build_backup_xml(request, ["vda"])


@pytest.mark.parametrize("uri", ["xen:///system", "lxc:///system"])
def test_vms_of_drivers_that_were_never_tried_are_only_looked_at(uri: str) -> None:
    backend = LibvirtBackend(uri, binding=FakeLibvirt())
    assert backend.capability.is_readonly
    with pytest.raises(ControlError, match="never tried"):
        backend.open_control()


@pytest.fixture
def test_driver() -> Iterator[LibvirtBackend]:
    pytest.importorskip("libvirt", reason=NO_BINDING)
    backend = LibvirtBackend("test:///default")
    yield backend
    backend.close()


@pytest.fixture
def on_test(test_driver: LibvirtBackend) -> Iterator[LibvirtControl]:
    control = test_driver.open_control()
    yield control
    control.close()


def first_vm(backend: LibvirtBackend) -> VmSample:
    return backend.read_sample().vms[0]


def test_the_test_driver_can_do_what_it_says(test_driver: LibvirtBackend) -> None:
    capability = test_driver.capability
    assert (capability.is_readonly, capability.can_balloon, capability.can_snapshot) == (False, True, True)
    assert not capability.can_backup
    test_driver.read_sample()
    assert test_driver.capability.can_balloon
    assert test_driver.capability.has_events


def test_a_balloon_of_the_test_driver_moves(test_driver: LibvirtBackend, on_test: LibvirtControl) -> None:
    vm = first_vm(test_driver)
    assert vm.maximum_bytes is not None
    on_test.set_balloon(vm.uuid, vm.maximum_bytes // 2)
    assert first_vm(test_driver).balloon_bytes == vm.maximum_bytes // 2
    on_test.set_balloon(vm.uuid, vm.maximum_bytes)
    assert first_vm(test_driver).balloon_bytes == vm.maximum_bytes
    for target_bytes in (0, vm.maximum_bytes + KIB, 1 << 90):
        with pytest.raises(ControlError):
            on_test.set_balloon(vm.uuid, target_bytes)
    assert first_vm(test_driver).balloon_bytes == vm.maximum_bytes
    on_test.set_stats_period(vm.uuid, 5)


def test_snapshots_of_the_test_driver_are_taken_listed_reverted_and_deleted(
    test_driver: LibvirtBackend, on_test: LibvirtControl
) -> None:
    uuid = first_vm(test_driver).uuid
    (disk,) = test_driver.read_storage(uuid).disks
    assert disk.image_format == "raw", "which no real driver could put a snapshot into"
    assert not test_driver.capability.has_real_disks
    for name in ("<first> & more", "second"):
        on_test.take_snapshot(uuid, SnapshotRequest(name=name, kind=SnapshotKind.INTERNAL))
    storage = test_driver.read_storage(uuid)
    first, second = storage.snapshots
    assert (first.name, first.parent, first.kind, first.is_current) == (
        *("<first> & more", None, SnapshotKind.INTERNAL),
        False,
    )
    assert (second.name, second.parent, second.is_current) == ("second", first.name, True)
    assert first.size_bytes is None
    assert storage.unknown["second.size_bytes"] == "libvirt's test driver has no real host"
    assert storage.libvirt_version >= 1_000_000
    assert not storage.can_revert_external

    assert test_driver.capability.snapshot_kinds == {SnapshotKind.INTERNAL}
    for kind in (SnapshotKind.DISK_ONLY, SnapshotKind.EXTERNAL):
        with pytest.raises(ControlError):
            on_test.take_snapshot(uuid, SnapshotRequest(name="third", kind=kind, memory_path="/third"))
    with pytest.raises(ControlError, match="already exists") as refusal:
        on_test.take_snapshot(uuid, SnapshotRequest(name="second", kind=SnapshotKind.INTERNAL))
    assert refusal.value.code == 9
    on_test.revert_snapshot(uuid, first.name)
    assert [each.is_current for each in test_driver.read_storage(uuid).snapshots] == [True, False]
    for each in (second, first):
        on_test.delete_snapshot(uuid, each.name)
    assert test_driver.read_storage(uuid).snapshots == ()
    with pytest.raises(ControlError, match="Look at what is there now") as refusal:
        on_test.revert_snapshot(uuid, first.name)
    assert refusal.value.code == 72


@pytest.mark.parametrize(
    "act",
    [
        lambda control, uuid: control.cancel_job(uuid, None),
        lambda control, uuid: control.limit_job(uuid, 5, None),
        lambda control, uuid: control.start_backup(uuid, BackupRequest(targets={}, formats={}, checkpoint=None)),
    ],
)
def test_what_the_test_driver_cannot_do_it_says(
    test_driver: LibvirtBackend, on_test: LibvirtControl, act: Callable[[Any, str], None]
) -> None:
    with pytest.raises(ControlError, match="It needs another libvirt") as refusal:
        act(on_test, first_vm(test_driver).uuid)
    assert refusal.value.code == 3


def test_a_file_of_test_domains_is_only_looked_at(tmp_path: Any) -> None:
    pytest.importorskip("libvirt", reason=NO_BINDING)
    assert LibvirtBackend(f"test://{tmp_path}/host.xml").capability.is_readonly
