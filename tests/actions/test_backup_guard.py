from dataclasses import replace
from typing import Any

import pytest

from tests.actions.scenes import (
    ID,
    at_level,
    make_checkpoint,
    make_disk,
    make_folder,
    make_storage,
    refusal,
    situate,
)
from tests.builders import START_S, make_frame, make_job, make_off_vm, make_vm
from vmtop.actions.backup_plan import find_base, plan_backup, vm_folder
from vmtop.actions.command import CancelJob, DeleteCheckpoints, LimitJob, ResumeVm, StartBackup
from vmtop.actions.guard import check
from vmtop.actions.promise import Promise
from vmtop.actions.situation import Situation
from vmtop.actions.verdict import BackupPreview, CheckpointPreview, Verdict
from vmtop.derive.metrics import Level
from vmtop.model.sample import JobKind, JobSample, VmSample, VmState
from vmtop.model.storage import BackupRequest, PoolInfo
from vmtop.units import GIB, MIB

FULL = StartBackup(uuid=ID, folder="/backup")
INCREMENTAL = StartBackup(uuid=ID, folder="/backup", is_incremental=True)
KEPT = "20231114T220000Z.full.vda.qcow2"
CHAIN = make_storage(checkpoints=(make_checkpoint(),))
RAW = make_storage(make_disk(image_format="raw"))


def plan(command: StartBackup = FULL, storage: Any = None, existing: Any = ()) -> BackupRequest:
    vm = make_frame([make_vm(name="web-1")]).vms[0]
    return plan_backup(command, vm, storage or make_storage(), START_S, existing)


def test_a_full_backup_names_files_and_a_checkpoint_by_its_time() -> None:
    request = plan(StartBackup(uuid=ID, folder="/backup/", bytes_per_s=50 * MIB))
    assert request.targets == {"vda": "/backup/web-1-00000000/20231114T221320Z.full.vda.qcow2"}
    assert request.formats == {"vda": "qcow2"}
    assert (request.checkpoint, request.since) == ("vmtop-20231114T221320Z", None)
    assert request.bytes_per_s == 50 * MIB


def test_an_incremental_backup_goes_on_from_the_newest_checkpoint_whose_files_are_there() -> None:
    older, newer = make_checkpoint(), make_checkpoint("vmtop-20231114T221000Z")
    storage = make_storage(checkpoints=(older, newer, make_checkpoint("virtnbdbackup.7")))
    request = plan(INCREMENTAL, storage, {KEPT})
    assert request.since == "vmtop-20231114T220000Z"
    assert request.targets == {"vda": "/backup/web-1-00000000/20231114T221320Z.inc.vda.qcow2"}
    assert find_base(storage, {KEPT, "20231114T221000Z.inc.vda.qcow2"}) == newer
    assert find_base(storage, ()) is None
    assert find_base(storage, None) == newer


def test_where_nobody_can_make_the_inner_folder_files_lie_in_the_given_one() -> None:
    assert plan(existing=None).targets == {"vda": "/backup/web-1-00000000.20231114T221320Z.full.vda.qcow2"}
    changes = plan(INCREMENTAL, CHAIN, None)
    assert changes.since == "vmtop-20231114T220000Z"
    assert changes.targets == {"vda": "/backup/web-1-00000000.20231114T221320Z.inc.vda.qcow2"}


def test_a_folder_that_cannot_be_looked_at_is_refused() -> None:
    unseen = replace(make_folder(), why_unseen="/backup/x cannot be looked at: Permission denied")
    assert refusal(FULL, situate(folder=unseen)) == "/backup/x cannot be looked at: Permission denied"
    gone = replace(
        make_folder(exists=False, free_bytes=None), why_unseen="/backup cannot be looked at: Stale file handle"
    )
    assert refusal(FULL, situate(folder=gone)) == "/backup cannot be looked at: Stale file handle"


def test_a_backup_of_a_raw_disk_makes_no_checkpoint() -> None:
    request = plan(FULL, make_storage(make_disk(), make_disk(target="vdb", image_format="raw")))
    assert request.checkpoint is None
    assert request.targets["vdb"].endswith(".full.vdb.raw")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("web-1", "web-1-5f2c1a90"),
        ("../../etc/passwd", "_.._etc_passwd-5f2c1a90"),
        ("a b\n\x1b[31m", "a_b_31m-5f2c1a90"),
        ("名前", "_-5f2c1a90"),
        ("...", "vm-5f2c1a90"),
        ("x" * 300, "x" * 64 + "-5f2c1a90"),
    ],
)
def test_no_name_of_a_vm_leads_out_of_the_folder(name: str, folder: str) -> None:
    assert vm_folder(name, "5f2c1a90-0000-4000-8000-000000000001") == folder


def test_the_preview_tells_sizes_and_files() -> None:
    preview = check(FULL, situate(make_vm(name="web-1"))).preview
    assert preview == BackupPreview(
        write_bytes=20 * GIB,
        least_bytes=5 * GIB,
        free_bytes=100 * GIB,
        promised_least_bytes=0,
        promised_most_bytes=0,
        files=("/backup/web-1-00000000/20231114T221325Z.full.vda.qcow2",),
        since=None,
    )
    verdict = check(INCREMENTAL, situate(storage=CHAIN, folder=make_folder(KEPT)))
    assert not verdict.is_refused
    assert isinstance(verdict.preview, BackupPreview)
    assert (verdict.preview.write_bytes, verdict.preview.since) == (GIB, "vmtop-20231114T220000Z")


@pytest.mark.parametrize(
    ("command", "now", "reason"),
    [
        (FULL, situate(storage=None), "the disks of vm-0001 could not be read"),
        (FULL, situate(storage=make_storage(disks=())), "the VM has no disk to back up"),
        (FULL, situate(make_off_vm(uuid=ID)), "vm-0009 is shut off"),
        (FULL, situate(make_vm(jobs=(make_job(),))), "a job runs on vm-0001 already: backup"),
        (FULL, situate(storage=make_storage(block_job_disk="vda")), "a block job runs on its disk vda"),
        (
            FULL,
            situate(folder=make_folder("20231114T221325Z.full.vda.qcow2")),
            "20231114T221325Z.full.vda.qcow2 exists already, and nothing is overwritten",
        ),
        (
            FULL,
            situate(storage=make_storage(checkpoints=(make_checkpoint("vmtop-20231114T221325Z"),))),
            "there is a checkpoint vmtop-20231114T221325Z already; try again in a second",
        ),
        (FULL, situate(folder=make_folder(free_bytes=5 * GIB)), "5.0G are free in /backup, and 5.5G are needed"),
        (FULL, situate(folder=make_folder(exists=False, free_bytes=None)), "there is no folder /backup"),
        (StartBackup(uuid=ID, folder="backup"), situate(), "the folder needs its whole path, and 'backup' is none"),
        (StartBackup(uuid=ID, folder="/backup", bytes_per_s=0), situate(), "a limit of nothing is none"),
        (INCREMENTAL, situate(storage=RAW), "only qcow2 disks know what changed, and vda (raw) do not"),
        (INCREMENTAL, situate(), "no backup of vmtop that this one could go on from is there"),
        (INCREMENTAL, situate(storage=CHAIN), "no backup of vmtop that this one could go on from is there"),
    ],
)
def test_a_backup_that_would_fail_or_harm_is_refused(command: StartBackup, now: Situation, reason: str) -> None:
    assert reason in refusal(command, now)


@pytest.mark.parametrize("level", [Level.HARD, Level.CRITICAL])
def test_a_host_in_need_is_spared_unless_forced(level: Level) -> None:
    now = situate(frame=at_level(make_frame([make_vm()]), level))
    text = f"the host is at {level.word}: 1.2 GiB available; a backup needs memory, too"
    assert refusal(FULL, now) == f"{text}; it can be forced"
    forced = check(StartBackup(uuid=ID, folder="/backup", is_forced=True), now)
    assert (forced.refusals, forced.warnings) == ((), (text,))


def test_a_host_at_soft_is_warned_of() -> None:
    verdict = check(FULL, situate(frame=at_level(make_frame([make_vm()]), Level.SOFT)))
    assert verdict.warnings == ("the host is at soft: 1.2 GiB available; a backup needs memory, too",)
    assert not verdict.is_refused


def test_room_for_what_is_allocated_but_not_for_all_that_the_guest_sees_is_warned_of() -> None:
    """What is compressed, or in an image that the disk stands on, is not in what libvirt calls allocated."""
    verdict = check(FULL, situate(folder=make_folder(free_bytes=20 * GIB)))
    assert verdict.refusals == ()
    assert verdict.warnings == (
        "up to 20.0G are written, and 20.0G are free; when the folder fills up, the VM stands still",
    )
    assert check(FULL, situate(folder=make_folder(free_bytes=22 * GIB))).warnings == ()


def test_room_that_is_promised_to_other_backups_is_not_free() -> None:
    """12 GiB are enough for the 5 that are allocated, and 4 of them are not."""
    promised = Promise(8 * GIB, 8 * GIB)
    now = situate(folder=make_folder(free_bytes=12 * GIB), promised=promised)
    assert refusal(FULL, now) == (
        "12.0G are free in /backup, of which 8.0G are promised to other backups, and 5.5G are needed"
    )
    assert not check(FULL, situate(folder=make_folder(free_bytes=14 * GIB), promised=promised)).is_refused


def test_what_other_backups_may_write_at_most_is_warned_of() -> None:
    now = situate(folder=make_folder(free_bytes=30 * GIB), promised=Promise(8 * GIB, 20 * GIB))
    assert check(FULL, now).warnings == (
        "up to 20.0G are written, and 30.0G are free, of which 8.0G to 20.0G are promised to other backups; "
        "when the folder fills up, the VM stands still",
    )
    assert check(FULL, replace(now, folder=make_folder(free_bytes=50 * GIB))).warnings == ()
    unknown = check(FULL, replace(now, promised=Promise(0, None)))
    assert unknown.warnings == (
        "how much other backups will still write there is not known; when the folder fills up, the VM stands still",
    )


def test_what_cannot_be_seen_is_warned_of() -> None:
    assert "the folder cannot be seen from here" in check(FULL, situate(folder=None)).warnings[0]
    silent = make_storage(make_disk(capacity_bytes=None, allocation_bytes=None))
    assert "how much is to be written is not known" in check(FULL, situate(storage=silent)).warnings[0]
    assert "no incremental backup can follow" in check(FULL, situate(storage=RAW)).warnings[0]


def test_a_storage_pool_tells_of_a_folder_that_cannot_be_seen_and_only_warns() -> None:
    pools = (PoolInfo(name="backups", path="/", available_bytes=GIB),)
    verdict = check(FULL, situate(folder=None, storage=make_storage(pools=pools)))
    assert verdict.refusals == ()
    assert isinstance(verdict.preview, BackupPreview)
    assert (verdict.preview.free_bytes, verdict.preview.pool) == (GIB, "backups")
    assert verdict.warnings == (
        "the folder cannot be seen from here: it has to be there already, what it holds is not known, and no recovery "
        "point is recorded",
        "storage pool backups last told of 1.0G free there, and up to 21.25G are needed",
    )


OLD, NEW = "vmtop-20231114T220000Z", "vmtop-20231114T221000Z"
MARKED = make_storage(checkpoints=(make_checkpoint(OLD), make_checkpoint("daily"), make_checkpoint(NEW)))


def clear(*names: str) -> DeleteCheckpoints:
    return DeleteCheckpoints(uuid=ID, names=names)


def test_where_the_newest_checkpoint_stays_nothing_is_lost() -> None:
    verdict = check(clear(OLD), situate(storage=MARKED))
    assert (verdict.refusals, verdict.warnings, verdict.needs_name) == ((), (), "")
    assert verdict.preview == CheckpointPreview(deleted=(OLD,), kept=(NEW,), foreign=("daily",))


def test_where_an_older_checkpoint_stays_the_next_backup_goes_on_from_it() -> None:
    verdict = check(clear(NEW), situate(storage=MARKED))
    assert (verdict.refusals, verdict.warnings) == ((), ())
    assert verdict.preview == CheckpointPreview(deleted=(NEW,), kept=(OLD,), foreign=("daily",))


@pytest.mark.parametrize(
    "now", [situate(storage=MARKED), situate(make_off_vm(uuid=ID), storage=MARKED), situate(storage=RAW)]
)
def test_where_no_checkpoint_is_to_go_nothing_is_to_be_done(now: Situation) -> None:
    assert check(clear(), now) == Verdict(already="it has no checkpoint of vmtop to delete")


def test_where_no_checkpoint_of_vmtop_is_left_the_next_backup_has_to_be_a_full_one() -> None:
    verdict = check(clear(NEW, OLD), situate(storage=MARKED))
    assert verdict.warnings == ("none of vmtop is left then, so that the next backup has to be a full one",)
    assert verdict.preview == CheckpointPreview(deleted=(OLD, NEW), kept=(), foreign=("daily",))


@pytest.mark.parametrize(
    ("command", "now", "reason"),
    [
        (clear(OLD), situate(storage=None), "the checkpoints of vm-0001 could not be read"),
        (clear("vmtop-gone"), situate(storage=MARKED), "vm-0001 has no checkpoint vmtop-gone"),
        (
            clear(OLD, "daily"),
            situate(storage=MARKED),
            "the checkpoint daily was not made by vmtop: whoever made it may need it",
        ),
        (
            clear(OLD),
            situate(make_off_vm(uuid=ID), storage=MARKED),
            "libvirt deletes checkpoints only while their VM runs, and vm-0009 is shut off",
        ),
        (clear(OLD), situate(make_vm(jobs=(make_job(),)), storage=MARKED), "a job runs on vm-0001 already: backup"),
        (clear(OLD), situate(storage=replace(MARKED, block_job_disk="vda")), "a block job runs on its disk vda"),
        (
            clear(OLD),
            situate(storage=replace(RAW, checkpoints=MARKED.checkpoints)),
            "none of its disks is qcow2, and only those hold checkpoints",
        ),
    ],
)
def test_checkpoints_that_cannot_or_must_not_go_are_refused(
    command: DeleteCheckpoints, now: Situation, reason: str
) -> None:
    assert refusal(command, now) == reason


PULL = JobSample(
    kind=JobKind.BACKUP,
    elapsed_s=3.0,
    processed_bytes=None,
    total_bytes=None,
    scratch_used_bytes=MIB,
    scratch_total_bytes=GIB,
)
BLOCK = JobSample(kind=JobKind.BLOCK_COMMIT, elapsed_s=None, processed_bytes=1, total_bytes=2, disk="vda")


@pytest.mark.parametrize(
    ("vm", "reason"),
    [
        (make_vm(), "no job runs on vm-0001"),
        (make_vm(jobs=(make_job(kind=JobKind.MIGRATION_IN),)), "cannot cancel this kind of job: migration in"),
        (make_vm(jobs=(BLOCK,)), "only jobs of single disks run, so name the disk: block commit of vda"),
    ],
)
def test_only_jobs_that_can_be_cancelled_are(vm: VmSample, reason: str) -> None:
    assert reason in refusal(CancelJob(uuid=ID), situate(vm))


def test_cancelling_a_backup_says_what_is_lost() -> None:
    verdict = check(CancelJob(uuid=ID), situate(make_vm(jobs=(make_job(),))))
    assert (verdict.refusals, verdict.warnings) == ((), ("what was copied so far is thrown away",))
    pull = replace(make_job(), scratch_used_bytes=0, scratch_total_bytes=GIB)
    verdict = check(CancelJob(uuid=ID), situate(make_vm(jobs=(pull,))))
    assert verdict.warnings == ("it is a pull backup: whoever reads it cannot go on",)


@pytest.mark.parametrize(
    ("vm", "rate", "reason"),
    [
        (make_vm(), MIB, "no backup runs on vm-0001, and other jobs cannot be limited"),
        (make_vm(jobs=(PULL,)), MIB, "it is a pull backup"),
        (make_vm(jobs=(BLOCK,)), MIB, "no backup runs on vm-0001; to limit the job of a disk, name it: block commit"),
        (make_vm(jobs=(make_job(),)), -1, "a rate cannot be below 0"),
    ],
)
def test_only_a_push_backup_is_limited(vm: VmSample, rate: int, reason: str) -> None:
    assert reason in refusal(LimitJob(uuid=ID, bytes_per_s=rate), situate(vm))


def of_disk(kind: JobKind, *, is_ready: bool = False) -> JobSample:
    return JobSample(kind=kind, elapsed_s=None, processed_bytes=2 if is_ready else 1, total_bytes=2, disk="vda")


@pytest.mark.parametrize(
    ("job", "warning"),
    [
        (of_disk(JobKind.BLOCK_COMMIT), "what was merged so far stays merged, and the chain of images stays as it is"),
        (of_disk(JobKind.BLOCK_COMMIT, is_ready=True), "all is merged and follows the guest's writes"),
        (of_disk(JobKind.BLOCK_COPY), "the copy is not complete; it is left as it is to whoever began it"),
        (of_disk(JobKind.BLOCK_COPY, is_ready=True), "the copy is complete and follows the guest's writes"),
        (of_disk(JobKind.BLOCK_PULL), "what was pulled so far stays, and the chain of images stays as it is"),
        (of_disk(JobKind.BLOCK_PULL, is_ready=True), "what was pulled so far stays"),
    ],
)
def test_cancelling_the_job_of_a_disk_says_what_becomes_of_it(job: JobSample, warning: str) -> None:
    verdict = check(CancelJob(uuid=ID, kind=job.kind, disk="vda"), situate(make_vm(jobs=(job,))))
    assert verdict.refusals == ()
    (said,) = verdict.warnings
    assert said.startswith(warning)
    limit = LimitJob(uuid=ID, bytes_per_s=MIB, kind=job.kind, disk="vda")
    assert check(limit, situate(make_vm(jobs=(job,)))).refusals == ()


@pytest.mark.parametrize(
    ("jobs", "disk", "reason"),
    [
        ((), "vda", "no job runs on vm-0001"),
        ((BLOCK,), "vdb", "no job of its own runs on the disk vdb of vm-0001; there is: block commit of vda"),
        ((make_job(),), "vda", "no job of its own runs on the disk vda of vm-0001; there is: none of any other disk"),
        (
            (make_job(kind=JobKind.MIGRATION_OUT), of_disk(JobKind.BLOCK_COPY)),
            "vda",
            "migration out of vm-0001 has to end first: libvirt lets this wait for it",
        ),
        (
            (make_job(kind=JobKind.OTHER), BLOCK),
            "vda",
            "job of vm-0001 has to end first: libvirt lets this wait for it",
        ),
    ],
)
def test_the_job_of_a_disk_that_cannot_be_changed_is_refused_at_once(
    jobs: tuple[JobSample, ...], disk: str, reason: str
) -> None:
    assert reason in refusal(CancelJob(uuid=ID, disk=disk), situate(make_vm(jobs=jobs)))
    if jobs:
        assert reason in refusal(LimitJob(uuid=ID, bytes_per_s=MIB, disk=disk), situate(make_vm(jobs=jobs)))


def test_the_job_of_one_disk_may_be_cancelled_beside_a_backup_of_others() -> None:
    now = situate(make_vm(jobs=(make_job(), BLOCK)))
    assert not check(CancelJob(uuid=ID, kind=JobKind.BLOCK_COMMIT, disk="vda"), now).is_refused


def test_a_job_of_which_libvirt_says_nothing_may_go_on_whoever_cancels_it() -> None:
    verdict = check(CancelJob(uuid=ID), situate(make_vm(jobs=(make_job(kind=JobKind.OTHER),))))
    assert verdict.warnings == ("libvirt does not say what this job is; some go on whoever cancels them",)


def test_a_push_backup_may_be_limited() -> None:
    assert not check(LimitJob(uuid=ID, bytes_per_s=0), situate(make_vm(jobs=(make_job(),)))).is_refused


@pytest.mark.parametrize(
    ("vm", "reason"),
    [
        (make_vm(), "vm-0001 is not paused: it is running"),
        (make_vm(state=VmState.PAUSED, state_reason="user"), "was not paused by an I/O error (user)"),
        (make_vm(state=VmState.PAUSED), "was not paused by an I/O error (libvirt does not say why)"),
    ],
)
def test_a_vm_that_may_stand_still_on_purpose_is_not_resumed(vm: VmSample, reason: str) -> None:
    assert reason in refusal(ResumeVm(uuid=ID), situate(vm))


def test_a_vm_that_an_io_error_stopped_may_go_on() -> None:
    stopped = make_vm(state=VmState.PAUSED, state_reason="I/O error")
    assert not check(ResumeVm(uuid=ID), situate(stopped)).is_refused


@pytest.mark.parametrize(
    ("elapsed_s", "reason"), [(50.0, ""), (3.0, "the backup of vm-0001 that was meant is over; another began since")]
)
def test_a_job_that_began_after_the_one_that_was_meant_is_left_alone(elapsed_s: float, reason: str) -> None:
    now = situate(make_vm(jobs=(make_job(elapsed_s=elapsed_s),)))
    began_s = now.frame.sample.time_s - 51.0
    for command in (
        CancelJob(uuid=ID, kind=JobKind.BACKUP, began_s=began_s),
        LimitJob(uuid=ID, bytes_per_s=MIB, kind=JobKind.BACKUP, began_s=began_s),
    ):
        assert "; ".join(check(command, now).refusals) == reason
