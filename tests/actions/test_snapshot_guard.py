from dataclasses import replace
from typing import Any

import pytest

from tests.actions.scenes import (
    ID,
    NAMES_ONLY,
    make_checkpoint,
    make_disk,
    make_folder,
    make_snapshot,
    make_storage,
    refusal,
    situate,
)
from tests.builders import make_facts, make_job, make_off_vm, make_vm
from vmtop.actions.command import DeleteSnapshot, RevertSnapshot, TakeSnapshot
from vmtop.actions.guard import check
from vmtop.actions.situation import Situation
from vmtop.actions.verdict import Consistency, SnapshotPreview, Verdict
from vmtop.model.kind import SnapshotKind
from vmtop.model.sample import Answer, JobKind, VmSample
from vmtop.model.storage import PoolInfo, SnapshotRequest
from vmtop.units import GIB, MIB

INTERNAL, EXTERNAL, DISK_ONLY = SnapshotKind.INTERNAL, SnapshotKind.EXTERNAL, SnapshotKind.DISK_ONLY
MEMORY = "/backup/web.mem"


def take(kind: SnapshotKind = INTERNAL, **changes: Any) -> TakeSnapshot:
    path = MEMORY if kind is EXTERNAL else None
    return TakeSnapshot(
        uuid=ID, request=SnapshotRequest(**{"name": "before", "kind": kind, "memory_path": path, **changes})
    )


def preview_of(verdict: Verdict) -> SnapshotPreview:
    assert isinstance(verdict.preview, SnapshotPreview)
    return verdict.preview


@pytest.mark.parametrize("kind", list(SnapshotKind))
def test_a_healthy_vm_may_have_any_snapshot(kind: SnapshotKind) -> None:
    assert not check(take(kind), situate()).is_refused


@pytest.mark.parametrize(
    ("command", "write_bytes", "pause_s", "consistency"),
    [
        (take(INTERNAL), 3 * GIB, 3 * 1024 / 230, Consistency.COMPLETE),
        (take(EXTERNAL), 3 * GIB, 0.3, Consistency.COMPLETE),
        (take(DISK_ONLY), 0, 0.1, Consistency.CRASH),
        (take(DISK_ONLY, is_quiesced=True), 0, 0.1, Consistency.FILE_SYSTEMS),
    ],
)
def test_the_card_tells_what_is_written_and_how_long_the_guest_stands_still(
    command: TakeSnapshot, write_bytes: int, pause_s: float, consistency: Consistency
) -> None:
    preview = preview_of(check(command, situate()))
    assert (preview.write_bytes, preview.consistency) == (write_bytes, consistency)
    assert preview.pause_s == pytest.approx(pause_s)
    assert preview.free_bytes == 100 * GIB


def test_a_long_pause_and_a_weak_kind_are_warned_of() -> None:
    assert check(take(INTERNAL), situate()).warnings == ("the guest stands still for about 13 s",)
    old = make_storage(can_revert_external=False)
    assert check(take(DISK_ONLY), situate(storage=old)).warnings == (
        "its disks are kept as a power failure would leave them (crash-consistent)",
        "this libvirt cannot revert to it (9.9 can)",
    )
    assert not preview_of(check(take(DISK_ONLY), situate(storage=old))).is_revertible


@pytest.mark.parametrize(
    ("command", "now", "reason"),
    [
        (take(), situate(storage=None), "the disks of vm-0001 could not be read"),
        (take(), situate(storage=make_storage(disks=())), "vm-0001 has no disk that could be kept"),
        (
            take(),
            situate(storage=make_storage(make_disk(), make_disk(target="vdb", image_format="raw"))),
            "only qcow2 disks can hold a snapshot inside, and vdb (raw) cannot",
        ),
        (
            take(),
            situate(storage=make_storage(snapshots=(make_snapshot("before"),))),
            "vm-0001 has a snapshot before already",
        ),
        (take(name=""), situate(), "a snapshot needs a name"),
        (take(), situate(storage=make_storage(block_job_disk="vda")), "a block job runs on its disk vda"),
        (take(), situate(make_vm(jobs=(make_job(),))), "a job runs on vm-0001 already: backup"),
        (take(), situate(make_vm(answer=Answer.HUNG)), "QEMU of vm-0001 does not answer"),
        (take(), situate(make_off_vm(uuid=ID)), "vm-0009 is shut off"),
        (
            take(),
            situate(make_vm(facts=make_facts(has_vfio=True))),
            "a host device is passed through to vm-0001: its memory cannot be kept",
        ),
        (
            take(),
            situate(storage=make_storage(make_disk(folder_free_bytes=3 * GIB))),
            "3.0G are free where it is written, and 3.4G are needed",
        ),
        (take(INTERNAL, memory_path=MEMORY), situate(), "only a live snapshot with memory has a file for the memory"),
        (take(EXTERNAL, memory_path=None), situate(), "a live snapshot needs a file for the memory"),
        (take(EXTERNAL, memory_path="web.mem"), situate(), "needs its whole path, and 'web.mem' is none"),
        (take(EXTERNAL), situate(folder=make_folder("web.mem")), "/backup/web.mem exists already"),
        (
            take(EXTERNAL),
            situate(folder=make_folder(exists=False, free_bytes=None)),
            "there is no folder /backup",
        ),
        (
            take(EXTERNAL),
            situate(folder=replace(make_folder(exists=False, free_bytes=None), why_unseen="/backup: who knows")),
            "/backup: who knows",
        ),
        (
            take(EXTERNAL),
            situate(folder=make_folder(free_bytes=GIB)),
            "1.0G are free where it is written, and 3.4G are needed",
        ),
        (
            take(EXTERNAL),
            situate(storage=make_storage(make_disk(), make_disk(target="vdb", folder_free_bytes=100 * MIB))),
            "100M are free beside vdb, where its overlay grows, and 256M are needed",
        ),
        (
            take(DISK_ONLY, is_quiesced=True),
            situate(storage=make_storage(has_agent=False)),
            "the guest agent of vm-0001 is not connected, so file systems cannot be frozen",
        ),
        (take(INTERNAL, is_quiesced=True), situate(), "frozen only for a snapshot of the disks alone"),
    ],
)
def test_a_snapshot_that_would_fail_or_harm_is_refused(command: TakeSnapshot, now: Situation, reason: str) -> None:
    assert reason in refusal(command, now)


@pytest.mark.parametrize("command", [take(DISK_ONLY), take(DISK_ONLY, is_quiesced=True), take(EXTERNAL)])
def test_a_kind_that_the_driver_does_not_know_is_refused_with_nothing_foreseen(command: TakeSnapshot) -> None:
    verdict = check(command, situate(capability=NAMES_ONLY))
    assert verdict == Verdict(refusals=("qemu:///system knows no snapshots of this kind",))


def test_disks_of_names_only_need_be_no_qcow2_and_cost_nothing() -> None:
    raw = make_storage(make_disk(image_format="raw", folder_free_bytes=None))
    verdict = check(take(INTERNAL), situate(storage=raw, capability=NAMES_ONLY))
    assert verdict.refusals == ()
    assert verdict.warnings == ("these VMs have names only: no data is kept",)
    assert isinstance(verdict.preview, SnapshotPreview)
    assert (verdict.preview.write_bytes, verdict.preview.pause_s) == (0, 0)


def test_disks_that_are_raw_may_be_kept_from_outside() -> None:
    assert not check(take(DISK_ONLY), situate(storage=make_storage(make_disk(image_format="raw")))).is_refused


def test_unknown_free_space_is_warned_of() -> None:
    assert "free space is not known; up to 3.0G are written" in check(take(EXTERNAL), situate(folder=None)).warnings


def test_a_storage_pool_tells_of_space_that_cannot_be_seen_and_only_warns() -> None:
    pools = (PoolInfo(name="images", path="/images", available_bytes=GIB),)
    disks = (make_disk(folder_free_bytes=None), make_disk(target="vdb", path="/else/b", folder_free_bytes=None))
    for command in (take(INTERNAL), take(EXTERNAL, memory_path="/images/then/web.mem")):
        verdict = check(command, situate(folder=None, storage=make_storage(*disks, pools=pools)))
        assert verdict.refusals == ()
        assert isinstance(verdict.preview, SnapshotPreview)
        assert (verdict.preview.free_bytes, verdict.preview.pool) == (GIB, "images")
        assert "storage pool images last told of 1.0G free there, and up to 3.4G are needed" in verdict.warnings
    elsewhere = check(take(EXTERNAL), situate(folder=None, storage=make_storage(*disks, pools=pools)))
    assert "free space is not known; up to 3.0G are written" in elsewhere.warnings


CHAIN = (make_snapshot("base"), make_snapshot("over", DISK_ONLY, "base"), make_snapshot("inside", INTERNAL, "over"))


@pytest.mark.parametrize(
    ("name", "storage", "reason"),
    [
        ("gone", make_storage(), "vm-0001 has no snapshot gone"),
        (
            "base",
            make_storage(snapshots=CHAIN[:1], checkpoints=(make_checkpoint("daily"),)),
            "it has checkpoints of backups (daily): libvirt would kill the VM",
        ),
        ("base", make_storage(snapshots=CHAIN), "over may stand on the disk that holds base: reverting would leave"),
        (
            "over",
            make_storage(snapshots=CHAIN, can_revert_external=False),
            "this libvirt cannot revert to snapshots outside of the disks; 9.9 can",
        ),
        ("base", make_storage(snapshots=CHAIN[:1], block_job_disk="vdb"), "a block job runs on its disk vdb"),
        ("base", None, "the snapshots of vm-0001 could not be read"),
    ],
)
def test_a_revert_that_destroys_is_refused(name: str, storage: Any, reason: str) -> None:
    assert reason in refusal(RevertSnapshot(uuid=ID, name=name), situate(storage=storage))


def test_a_revert_needs_the_name_since_the_present_state_is_lost() -> None:
    verdict = check(RevertSnapshot(uuid=ID, name="inside"), situate(storage=make_storage(snapshots=CHAIN)))
    assert not verdict.is_refused
    assert verdict.needs_name == "the present state of the VM will be lost"
    crashed = situate(make_off_vm(uuid=ID), storage=make_storage(snapshots=CHAIN))
    assert not check(RevertSnapshot(uuid=ID, name="inside"), crashed).is_refused


@pytest.mark.parametrize(
    ("kind", "state", "vm", "words"),
    [
        (INTERNAL, "running", make_vm(), "QEMU is started anew, and the guest goes on as it was then"),
        (EXTERNAL, "paused", make_vm(), "QEMU is started anew, and the guest is paused, as it was then"),
        (INTERNAL, "running", make_off_vm(uuid=ID), "QEMU is started anew, and the guest goes on as it was then"),
        (INTERNAL, "shutoff", make_vm(), "the VM is off afterwards"),
        (
            *(DISK_ONLY, "disk-snapshot", make_vm()),
            "it holds no memory: the guest starts from its disks, as after a power failure",
        ),
        (DISK_ONLY, "disk-snapshot", make_off_vm(uuid=ID), "it holds no memory: the VM is off afterwards"),
    ],
)
def test_a_revert_says_what_becomes_of_the_guest(kind: SnapshotKind, state: str, vm: VmSample, words: str) -> None:
    storage = make_storage(snapshots=(make_snapshot("then", kind, state=state),))
    verdict = check(RevertSnapshot(uuid=ID, name="then"), situate(vm, storage=storage))
    assert verdict.warnings == (words, "all that happened since is lost")


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("gone", {}, "vm-0001 has no snapshot gone"),
        ("base", {}, "over may stand on the disk that holds base: libvirt cannot delete it"),
        ("over", {"libvirt_version": 9_000_000}, "which this libvirt cannot merge; 9.10 can"),
        ("inside", {"block_job_disk": "vda"}, "a block job runs on its disk vda"),
    ],
)
def test_a_deletion_that_libvirt_cannot_do_is_refused(name: str, changes: dict[str, Any], reason: str) -> None:
    storage = make_storage(snapshots=CHAIN, **changes)
    assert reason in refusal(DeleteSnapshot(uuid=ID, name=name), situate(storage=storage))


def test_a_deletion_waits_for_jobs_and_for_what_can_be_read() -> None:
    command, busy = DeleteSnapshot(uuid=ID, name="inside"), make_vm(jobs=(make_job(kind=JobKind.SAVE),))
    storage = make_storage(snapshots=CHAIN)
    assert refusal(command, situate(busy, storage=storage)) == "a job runs on vm-0001 already: save"
    assert refusal(command, situate(storage=None)) == "the snapshots of vm-0001 could not be read"


def test_a_deletion_says_what_it_does() -> None:
    verdict = check(DeleteSnapshot(uuid=ID, name="over"), situate(storage=make_storage(snapshots=CHAIN)))
    assert verdict.warnings == (
        "there will be no way back to over",
        "its overlay is merged, which moves data and takes a while",
    )


def test_a_chain_of_snapshots_that_bites_its_own_tail_is_judged_in_finite_time() -> None:
    looped = (make_snapshot("a", INTERNAL, "b"), make_snapshot("b", INTERNAL, "a"))
    assert not check(DeleteSnapshot(uuid=ID, name="a"), situate(storage=make_storage(snapshots=looped))).is_refused


def test_pages_that_were_never_touched_are_not_counted_as_written() -> None:
    small = make_vm(qemu=None, rss_bytes=200 * MIB)
    assert preview_of(check(take(INTERNAL), situate(small))).write_bytes == 200 * MIB


def test_a_folder_that_is_not_seen_from_here_has_the_room_of_the_disk_beside_which_the_memory_goes() -> None:
    for path, free_bytes in (("/images/web.mem", 100 * GIB), ("/elsewhere/web.mem", None)):
        preview = check(take(EXTERNAL, memory_path=path), situate(folder=None)).preview
        assert isinstance(preview, SnapshotPreview)
        assert preview.free_bytes == free_bytes
