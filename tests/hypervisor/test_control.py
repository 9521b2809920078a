"""What vmtop changes about real guests, against what they, their disks and libvirt say afterwards."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.hypervisor.guest import Guest
from tests.hypervisor.guest_image import find_command, run
from tests.hypervisor.guest_spec import GuestSpec
from tests.hypervisor.lab import HostLab
from tests.hypervisor.waiting import wait_until
from vmtop.actions.space import find_room
from vmtop.backends.libvirt_control import LibvirtControl
from vmtop.backends.libvirt_read import LibvirtBackend
from vmtop.backends.libvirt_snapshot import take_snapshot
from vmtop.errors import ConnectError, ControlError
from vmtop.model.kind import SnapshotKind
from vmtop.model.sample import FinishedJob, JobKind, JobSample, Sample, VmSample, VmState
from vmtop.model.storage import BackupRequest, SnapshotRequest
from vmtop.units import KIB, MIB

SLOW_BYTES_PER_S = 2 * MIB
FULL_MIB = 192
"""So much takes QEMU longer to copy than vmtop to set a limit."""
LOCK_WAIT_S = 30.0
"""For so long libvirt lets an act wait for another one."""


class Desk:
    """A backend and its control, and what the samples read so far said."""

    def __init__(self, lab: HostLab) -> None:
        self.lab = lab
        self.backend = LibvirtBackend(lab.uri)
        self.control: LibvirtControl = self.backend.open_control()
        self.finished: list[FinishedJob] = []
        self.sample = self.read()

    def read(self) -> Sample:
        self.sample = self.backend.read_sample()
        self.finished += self.sample.finished
        return self.sample

    def vm(self, guest: Guest) -> VmSample:
        return next(vm for vm in self.sample.vms if vm.uuid == guest.uuid)

    def jobs(self, guest: Guest) -> tuple[JobSample, ...]:
        return self.vm(guest).jobs

    def read_until(self, condition: Callable[[], bool], what: str) -> None:
        def read() -> bool:
            self.read()
            return condition()

        wait_until(read, what)

    def end_of(self, guest: Guest, kind: JobKind) -> FinishedJob:
        """The end of the guest's job, told once, and after it no job is left."""
        told = len(self.finished)

        def ends() -> list[FinishedJob]:
            return [job for job in self.finished[told:] if (job.uuid, job.kind) == (guest.uuid, kind)]

        self.read_until(lambda: bool(ends()) and not self.jobs(guest), f"the end of a {kind} of {guest.name}")
        (job,) = ends()
        assert job.name == guest.name
        return job

    def back_up(self, guest: Guest, target: Path, checkpoint: str | None = None, **more: str | int) -> None:
        request = BackupRequest(
            targets={"vda": str(target)},
            formats={"vda": "qcow2"},
            checkpoint=checkpoint,
            since=str(more["since"]) if "since" in more else None,
            bytes_per_s=int(more["bytes_per_s"]) if "bytes_per_s" in more else None,
        )
        self.control.start_backup(guest.uuid, request)

    def close(self) -> None:
        self.control.close()
        self.backend.close()


@pytest.fixture(scope="module")
def desk(own_lab: HostLab) -> Iterator[Desk]:
    desk = Desk(own_lab)
    yield desk
    desk.close()


@pytest.fixture(scope="module")
def guest(own_lab: HostLab) -> Iterator[Guest]:
    """Its kernel runs, and can write to the disk."""
    with own_lab.running(GuestSpec(name="acted on", memory_mib=96, disk_mib=48, truth_every_s=0.2)) as (guest,):
        guest.order("disk")
        yield guest


@pytest.fixture(scope="module")
def machines(own_lab: HostLab) -> Iterator[list[Guest]]:
    """Two that hold data, and are paused."""
    specs = (
        GuestSpec(name=name, memory_mib=32, boots=False, paused=True, disk_content_mib=content_mib)
        for name, content_mib in (("full", FULL_MIB), ("held", 16))
    )
    with own_lab.running(*specs) as machines:
        yield machines


@pytest.fixture(scope="module")
def second_act(desk: Desk, machines: list[Guest]) -> Iterator[Future[float | None]]:
    """A snapshot that is asked for while a backup holds the VM; libvirt lets it wait, while other tests run."""
    held = machines[1]
    pull_backup(held, held.files.folder)
    request = SnapshotRequest(name="second", kind=SnapshotKind.DISK_ONLY)
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(desk.control.take_snapshot, held.uuid, request)


def pull_backup(guest: Guest, folder: Path) -> None:
    """One of somebody else's: it lasts until it is ended, and keeps what the guest overwrites in that folder."""
    server = f'<server transport="unix" socket="{guest.files.folder}/nbd"/>'
    disk = f'<disk name="vda" type="file"><scratch file="{folder}/scratch"/></disk>'
    guest.domain.backupBegin(f'<domainbackup mode="pull">{server}<disks>{disk}</disks></domainbackup>', None, 0)


def files_of(guest: Guest) -> set[str]:
    return {path.name for path in guest.files.folder.iterdir()}


def test_a_balloon_goes_down_and_up_and_the_guest_says_so(desk: Desk, guest: Guest, second_act: Future[None]) -> None:
    before = guest.wait_for_truth()
    desk.control.set_balloon(guest.uuid, 80 * MIB)
    small = guest.wait_for_truth(lambda truth: truth.total_bytes == before.total_bytes - 16 * MIB)
    desk.read_until(lambda: desk.vm(guest).balloon_bytes == 80 * MIB, "libvirt to tell of the balloon")
    assert small.available_bytes < before.available_bytes
    desk.control.set_balloon(guest.uuid, 96 * MIB)
    guest.wait_for_truth(lambda truth: truth.total_bytes == before.total_bytes)
    desk.read_until(lambda: desk.vm(guest).balloon_bytes == 96 * MIB, "libvirt to tell of the balloon")
    assert not second_act.done(), "it waits on a connection of its own, and nobody waits for it"


@pytest.mark.parametrize("target_bytes", [0, -5 * KIB, 97 * MIB, 1 << 90])
def test_a_balloon_of_a_size_that_cannot_be_is_refused(desk: Desk, guest: Guest, target_bytes: int) -> None:
    with pytest.raises(ControlError, match=r"Nothing was done|Look at the VM"):
        desk.control.set_balloon(guest.uuid, target_bytes)
    desk.read()
    assert desk.vm(guest).balloon_bytes == 96 * MIB


def test_statistics_stop_and_go_on_and_the_sample_knows_the_period_at_once(desk: Desk, guest: Guest) -> None:
    def period_s() -> int | None:
        facts = desk.vm(guest).facts
        return None if facts is None else facts.stats_period_s

    def told_s() -> int:
        figures = desk.vm(guest).guest
        assert figures is not None
        return figures.last_update_s

    desk.control.set_stats_period(guest.uuid, 0)
    desk.read_until(lambda: period_s() == 0, "the sample to know that the guest is silent")
    silent_since_s = told_s()
    desk.control.set_stats_period(guest.uuid, 2)
    desk.read_until(lambda: period_s() == 2, "the sample to know the new period")
    desk.read_until(lambda: told_s() > silent_since_s, "the guest to send figures again")


@pytest.mark.parametrize(
    ("kind", "least_pause_s"),
    [(SnapshotKind.INTERNAL, 0.02), (SnapshotKind.EXTERNAL, 0.002), (SnapshotKind.DISK_ONLY, None)],
)
def test_a_snapshot_of_each_kind_is_taken_listed_reverted_and_deleted(
    desk: Desk, guest: Guest, kind: SnapshotKind, least_pause_s: float | None
) -> None:
    memory = guest.files.folder / "ram & co" if kind is SnapshotKind.EXTERNAL else None
    request = SnapshotRequest(name=f"<{kind}> & more", kind=kind, memory_path=str(memory) if memory else None)
    guest.order("echo before > /disk/note; sync")
    began_s = time.monotonic()
    paused_s = take_snapshot(desk.lab.daemon.libvirt, desk.lab.connect(), guest.uuid, request)
    if least_pause_s is None:
        assert paused_s is None, "libvirt announces no pause, so nobody measured one"
    else:
        assert paused_s is not None
        assert least_pause_s <= paused_s < time.monotonic() - began_s
    storage = desk.backend.read_storage(guest.uuid)
    (found,) = storage.snapshots
    assert (found.name, found.kind, found.parent, found.is_current) == (request.name, kind, None, True)
    assert abs(found.created_s - time.time()) < 60
    assert (found.size_bytes or 0) > 16 * MIB if memory else found.size_bytes is None
    assert storage.can_revert_external == (storage.libvirt_version >= 9_009_000)

    guest.order("echo after > /disk/note; sync")
    if kind is SnapshotKind.INTERNAL or storage.can_revert_external:
        desk.control.revert_snapshot(guest.uuid, found.name)
        guest.wait_for_truth()
        guest.order("grep -q before /disk/note")
    else:
        with pytest.raises(ControlError, match=r"not supported yet. It needs another libvirt") as refusal:
            desk.control.revert_snapshot(guest.uuid, found.name)
        assert refusal.value.code == 67
    desk.control.delete_snapshot(guest.uuid, found.name)
    assert desk.backend.read_storage(guest.uuid).snapshots == ()
    desk.read_until(lambda: desk.jobs(guest) == (), "no job to be left")
    assert desk.vm(guest).state is VmState.RUNNING


def test_a_full_backup_and_two_increments_hold_what_was_written(desk: Desk, guest: Guest) -> None:
    folder = guest.files.folder
    since: str | None = None
    for number, written_mib in enumerate((8, 4, 2), start=1):
        guest.order(f"dd if=/dev/urandom of=/disk/data bs=1M count={written_mib} conv=notrunc && sync")
        checkpoint, target = f"vmtop-{number}", folder / f"backup-{number}.qcow2"
        expected_bytes = 48 * MIB
        if since is not None:
            (*_, newest) = desk.backend.read_storage(guest.uuid).checkpoints
            assert newest.name == since
            assert newest.dirty_bytes is not None
            assert written_mib * MIB <= newest.dirty_bytes < (written_mib + 2) * MIB
            expected_bytes = newest.dirty_bytes
        desk.back_up(guest, target, checkpoint, **({} if since is None else {"since": since}))
        end = desk.end_of(guest, JobKind.BACKUP)
        assert (end.is_good, end.error) == (True, None)
        assert end.processed_bytes == expected_bytes
        assert end.elapsed_s is not None
        assert target.stat().st_size >= written_mib * MIB
        since = checkpoint
    assert [point.name for point in desk.backend.read_storage(guest.uuid).checkpoints] == [
        "vmtop-1",
        "vmtop-2",
        "vmtop-3",
    ]

    with pytest.raises(ControlError, match=r"exists. Nothing was done") as refusal:
        desk.back_up(guest, folder / "backup-1.qcow2", "vmtop-4")
    assert refusal.value.code == 8
    with pytest.raises(ControlError, match=r"'nothing' .* not found. Look at what is there now") as refusal:
        desk.back_up(guest, folder / "other.qcow2", "vmtop-4", since="nothing")
    assert refusal.value.code == 103
    with pytest.raises(ControlError, match="No such file or directory") as refusal:
        desk.back_up(guest, folder / "no folder/x.qcow2", "vmtop-4")
    assert refusal.value.code == 38
    for number in (1, 2, 3):
        desk.control.delete_checkpoint(guest.uuid, f"vmtop-{number}")
    assert desk.backend.read_storage(guest.uuid).checkpoints == ()
    assert "other.qcow2" not in files_of(guest)
    assert "bitmaps" not in run(find_command("qemu-img"), "info", "-U", str(guest.files.disk))


def test_a_storage_pool_of_a_host_that_cannot_be_seen_tells_how_full_it_was(
    desk: Desk, guest: Guest, tmp_path: Path
) -> None:
    folder = guest.files.folder
    pool = desk.lab.connect().storagePoolCreateXML(
        f"<pool type='dir'><name>images</name><target><path>{folder}</path></target></pool>"
    )
    # Without a /proc to compare it with, the host of this daemon is another one.
    far = LibvirtBackend(desk.lab.uri, proc_root=tmp_path)
    try:
        assert desk.backend.read_storage(guest.uuid).pools == (), "here the folder itself can be looked at"
        storage = far.read_storage(guest.uuid)
        (found,) = storage.pools
        assert (found.name, found.path, found.available_bytes) == ("images", str(folder), pool.info()[3])
        (disk,) = storage.disks
        assert disk.folder_free_bytes is None
        assert find_room(str(folder), disk.folder_free_bytes, storage.pools).pool == "images"
    finally:
        far.close()
        pool.destroy()


def test_a_limited_backup_keeps_its_limit_until_it_gets_another_or_none(
    desk: Desk, guest: Guest, machines: list[Guest]
) -> None:
    full, _ = machines
    desk.back_up(full, full.files.folder / "limited.qcow2", bytes_per_s=SLOW_BYTES_PER_S)
    desk.read_until(lambda: desk.jobs(full) != (), "the backup to be seen")
    (job,) = desk.jobs(full)
    assert (job.kind, job.total_bytes) == (JobKind.BACKUP, FULL_MIB * MIB)
    began_s = time.monotonic()
    at_first = job.processed_bytes or 0
    desk.read_until(lambda: (desk.jobs(full)[0].processed_bytes or 0) > at_first, "the backup to get on")
    moved = (desk.jobs(full)[0].processed_bytes or 0) - at_first
    assert moved <= SLOW_BYTES_PER_S * (time.monotonic() - began_s) + 4 * MIB
    desk.control.limit_job(full.uuid, 0, None)
    end = desk.end_of(full, JobKind.BACKUP)
    assert (end.is_good, end.processed_bytes) == (True, FULL_MIB * MIB)
    with pytest.raises(ControlError, match=r"no domain backup job present. It has ended meanwhile") as refusal:
        desk.control.limit_job(full.uuid, MIB, None)
    assert refusal.value.code == 104


def test_a_canceled_backup_leaves_no_file(desk: Desk, machines: list[Guest]) -> None:
    full, _ = machines
    before = files_of(full)
    desk.back_up(full, full.files.folder / "canceled.qcow2", "doomed", bytes_per_s=SLOW_BYTES_PER_S)
    assert files_of(full) == before | {"canceled.qcow2"}
    desk.control.cancel_job(full.uuid, None)
    end = desk.end_of(full, JobKind.BACKUP)
    assert (end.is_good, end.is_cancelled) == (False, True)
    assert files_of(full) == before
    # libvirt leaves the checkpoint, so whoever started the backup deletes it.
    desk.control.delete_checkpoint(full.uuid, "doomed")
    assert desk.backend.read_storage(full.uuid).checkpoints == ()
    with pytest.raises(ControlError, match="no job is active") as refusal:
        desk.control.cancel_job(full.uuid, None)
    assert refusal.value.code == 55


def test_a_backup_to_a_full_file_system_fails_and_leaves_no_file(desk: Desk, machines: list[Guest]) -> None:
    full, _ = machines
    with desk.lab.small_folder(4) as folder:
        desk.back_up(full, folder / "too much.qcow2")
        end = desk.end_of(full, JobKind.BACKUP)
        assert (end.is_good, end.error) == (False, "No space left on device")
        assert list(folder.iterdir()) == []
    assert desk.vm(full).state_reason != "I/O error", "it has written nothing meanwhile"


def test_a_guest_whose_old_data_finds_no_space_stops_until_it_is_resumed(desk: Desk, guest: Guest) -> None:
    overwrite = "dd if=/dev/urandom of=/disk/data bs=1M count=16 conv=notrunc && sync"
    guest.order(overwrite)
    with desk.lab.small_folder(4) as folder, ThreadPoolExecutor(1) as pool:
        pull_backup(guest, folder)
        writing = pool.submit(guest.order, overwrite)
        desk.read_until(lambda: desk.vm(guest).state is VmState.PAUSED, "the guest to stop")
        assert desk.vm(guest).state_reason == "I/O error"
        desk.control.cancel_job(guest.uuid, None)
        desk.control.resume(guest.uuid)
        writing.result()
    desk.read_until(lambda: desk.vm(guest).state is VmState.RUNNING, "the guest to go on")


def test_a_block_job_of_somebody_else_is_shown_with_its_disk(desk: Desk, machines: list[Guest]) -> None:
    full, _ = machines
    domain = full.domain
    disk = f"<disk type='file'><driver type='raw'/><source file='{full.files.folder}/copy'/></disk>"
    domain.blockCopy(
        "vda", disk, {"bandwidth": SLOW_BYTES_PER_S}, desk.lab.daemon.libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
    )
    desk.read_until(lambda: bool(desk.jobs(full)), "the block job to be seen")
    (job,) = desk.jobs(full)
    assert (job.kind, job.disk, job.total_bytes) == (JobKind.BLOCK_COPY, "vda", FULL_MIB * MIB)
    assert desk.backend.read_storage(full.uuid).block_job_disk == "vda"
    with pytest.raises(ControlError, match=r"active block job. Wait until that is over") as refusal:
        desk.control.take_snapshot(full.uuid, SnapshotRequest(name="x", kind=SnapshotKind.DISK_ONLY))
    assert refusal.value.code == 83
    domain.blockJobAbort("vda")
    end = desk.end_of(full, JobKind.BLOCK_COPY)
    assert (end.is_good, end.is_cancelled, end.disk) == (False, True, "vda")


def test_an_act_that_waits_for_a_backup_is_told_what_holds_the_vm(
    desk: Desk, machines: list[Guest], second_act: Future[None]
) -> None:
    with pytest.raises(ControlError, match=r"acquire state change lock .* Wait until that is over") as refusal:
        second_act.result(LOCK_WAIT_S + 10)
    assert refusal.value.code == 68
    held = machines[1]
    desk.read_until(lambda: any((job.elapsed_s or 0) > LOCK_WAIT_S - 5 for job in desk.jobs(held)), "its latest age")
    (job,) = desk.jobs(held)
    assert (job.kind, job.processed_bytes, job.scratch_used_bytes) == (JobKind.BACKUP, None, 0)
    assert (job.scratch_total_bytes or 0) >= 16 * MIB
    desk.control.cancel_job(held.uuid, None)
    end = desk.end_of(held, JobKind.BACKUP)
    assert (end.is_good, end.error) == (True, None), "to end a pull backup is its success"


def test_a_killed_daemon_loses_no_vm_and_its_successor_can_be_acted_on(desk: Desk, machines: list[Guest]) -> None:
    full, _ = machines
    desk.back_up(full, full.files.folder / "orphaned.qcow2", bytes_per_s=SLOW_BYTES_PER_S)
    desk.lab.daemon.kill()
    try:
        with pytest.raises(ControlError, match=r"no libvirt daemon at|was lost meanwhile") as refusal:
            desk.control.cancel_job(full.uuid, None)
        assert refusal.value.code is None, "libvirt has not answered"
        with pytest.raises(ConnectError):
            desk.read()
    finally:
        desk.lab.daemon.start()
    desk.control.cancel_job(full.uuid, None)
    desk.read_until(lambda: desk.jobs(full) == (), "the backup to be gone")
    assert "orphaned.qcow2" not in files_of(full)


def test_a_vm_that_is_destroyed_during_a_backup_takes_the_file_with_it(desk: Desk, machines: list[Guest]) -> None:
    full, _ = machines
    desk.back_up(full, full.files.folder / "destroyed.qcow2", bytes_per_s=SLOW_BYTES_PER_S)
    full.shut_off()
    end = desk.end_of(full, JobKind.BACKUP)
    assert (end.is_good, end.error) == (False, None)
    assert "destroyed.qcow2" not in files_of(full)
    with pytest.raises(ControlError, match=r"domain is not running. Look at the VM") as refusal:
        desk.control.set_balloon(full.uuid, 16 * MIB)
    assert refusal.value.code == 55
    storage = desk.backend.read_storage(full.uuid)
    assert [disk.capacity_bytes for disk in storage.disks] == [FULL_MIB * MIB]


def test_a_vm_that_is_gone_is_told_so(desk: Desk) -> None:
    with pytest.raises(ControlError, match=r"Domain not found.* Nothing was done") as refusal:
        desk.control.resume("00000000-0000-4000-8000-000000000000")
    assert refusal.value.code == 42
