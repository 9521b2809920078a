"""Jobs of single disks that somebody else began with virsh: shown, throttled and cancelled, and no disk is harmed."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hypervisor.guest import Guest
from tests.hypervisor.guest_image import find_command, run
from tests.hypervisor.guest_spec import GuestSpec
from tests.hypervisor.lab import HostLab
from tests.hypervisor.test_actions import AT_ONCE_S, Operator, virsh
from vmtop.actions.action import Ending
from vmtop.actions.command import CancelJob, LimitJob
from vmtop.derive.job import JobMetrics
from vmtop.model.sample import FinishedJob, JobKind
from vmtop.units import MIB
from vmtop.viewmodel.jobs import describe_job

STORED_MIB = 192
SLOW_BYTES_PER_S = 2 * MIB
OTHER_BYTES_PER_S = 5 * MIB


@pytest.fixture
def operator(own_lab: HostLab, tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(own_lab, tmp_path / "audit.jsonl")
    yield operator
    operator.close()


@pytest.fixture
def store(own_lab: HostLab) -> Iterator[Guest]:
    with own_lab.running(GuestSpec(name="store $HOME", memory_mib=96, disk_content_mib=STORED_MIB)) as (store,):
        store.order("disk && dd if=/dev/urandom of=/disk/data bs=1M count=16 && md5sum /disk/data > /disk/sums && sync")
        yield store


def begin_copy(store: Guest, lab: HostLab) -> Path:
    copy = store.files.folder / "copy.qcow2"
    slow = ("--bytes", "--bandwidth", str(SLOW_BYTES_PER_S))
    virsh(store, lab, "blockcopy", "vda", "--dest", str(copy), "--format", "qcow2", "--transient-job", *slow)
    return copy


def running(operator: Operator) -> JobMetrics | None:
    return next(iter(operator.reader.frame().jobs.running), None)


def job_of(operator: Operator) -> JobMetrics:
    """The job that runs, as soon as it is seen."""
    operator.look_until(lambda: running(operator) is not None, "the job to be seen")
    job = running(operator)
    assert job is not None
    return job


def look_until_it_moves(operator: Operator) -> None:
    def moves() -> bool:
        job = running(operator)
        return job is not None and bool(job.done_ratio) and job.rate_bytes_per_s is not None

    operator.look_until(moves, "progress")


def throttle(operator: Operator, store: Guest, kind: JobKind) -> None:
    """Give it another limit: libvirt tells it, the page shows it, and the rate is near it within seconds."""
    limit = LimitJob(uuid=store.uuid, bytes_per_s=OTHER_BYTES_PER_S, kind=kind, disk="vda")
    assert operator.do(limit)[0] is Ending.DONE
    info = virsh(store, operator.lab, "blockjob", "vda", "--info", "--bytes", "--raw")
    assert f"bandwidth={OTHER_BYTES_PER_S}" in re.sub(r"\s*[:=]\s*", "=", info), info

    def is_seen() -> bool:
        job = running(operator)
        return job is not None and job.job.limit_bytes_per_s == OTHER_BYTES_PER_S

    operator.look_until(is_seen, "the limit to be seen")
    assert "limited to 5.00M/s" in describe_job(job_of(operator))


def end_of(operator: Operator) -> FinishedJob:
    operator.look_until(lambda: running(operator) is None, "the job to be gone")
    operator.look_until(lambda: bool(operator.reader.frame().jobs.finished), "its end to be told")
    return operator.reader.frame().jobs.finished[-1]


def assert_unharmed(store: Guest, lab: HostLab, *images: Path) -> None:
    """The VM is on the first of these images, as before, its guest reads and writes it, and all of them are whole."""
    assert str(images[0]) in virsh(store, lab, "domblklist")
    store.order("echo 3 > /proc/sys/vm/drop_caches && md5sum -c /disk/sums")
    store.order("dd if=/dev/urandom of=/disk/later bs=1M count=2 && sync")
    # What QEMU still holds in memory looks like a leak.
    store.shut_off()
    for image in images:
        assert "No errors were found" in run(find_command("qemu-img"), "check", str(image))


def test_a_block_copy_is_shown_throttled_and_cancelled_and_its_disk_stays_whole(
    operator: Operator, store: Guest, own_lab: HostLab
) -> None:
    copy = begin_copy(store, own_lab)
    job = job_of(operator).job
    assert (job.kind, job.disk, job.total_bytes) == (JobKind.BLOCK_COPY, "vda", STORED_MIB * MIB)
    assert job.limit_bytes_per_s == SLOW_BYTES_PER_S
    look_until_it_moves(operator)
    throttle(operator, store, JobKind.BLOCK_COPY)

    whole = operator.do(CancelJob(uuid=store.uuid))
    assert whole == (Ending.REFUSED, "only jobs of single disks run, so name the disk: block copy of vda")
    other = operator.do(CancelJob(uuid=store.uuid, kind=JobKind.BLOCK_COMMIT, disk="vda"))
    assert other[0] is Ending.REFUSED
    assert other[1].startswith("the block commit of vda of store $HOME is over; what runs now is: block copy")
    assert running(operator) is not None, "what was refused was not done"

    cancel = CancelJob(uuid=store.uuid, kind=JobKind.BLOCK_COPY, disk="vda")
    assert operator.runner.judge(cancel).warnings == (
        "the copy is not complete; it is left as it is to whoever began it",
    )
    action = operator.end(operator.submit(cancel))
    assert action.outcome is not None
    assert action.outcome.ending is Ending.DONE
    assert action.elapsed_s < AT_ONCE_S
    end = end_of(operator)
    assert (end.kind, end.disk, end.is_good, end.is_cancelled) == (JobKind.BLOCK_COPY, "vda", False, True)
    assert copy.exists()
    assert_unharmed(store, own_lab, store.files.disk)


def test_a_copy_that_is_complete_is_called_so_and_a_cancel_leaves_it_as_the_disk_is_then(
    operator: Operator, store: Guest, own_lab: HostLab
) -> None:
    copy = begin_copy(store, own_lab)
    job_of(operator)
    unlimited = LimitJob(uuid=store.uuid, bytes_per_s=0, kind=JobKind.BLOCK_COPY, disk="vda")
    assert operator.do(unlimited)[0] is Ending.DONE
    operator.look_until(lambda: job_of(operator).is_ready, "the copy to be complete")
    assert "complete, and follows what the guest writes" in describe_job(job_of(operator))
    store.order("dd if=/dev/urandom of=/disk/meanwhile bs=1M count=4 && sync")
    operator.look_until(lambda: job_of(operator).is_ready, "the copy to have followed")
    store.domain.suspend()
    cancel = CancelJob(uuid=store.uuid, kind=JobKind.BLOCK_COPY, disk="vda")
    (warning,) = operator.runner.judge(cancel).warnings
    assert warning.startswith("the copy is complete and follows the guest's writes; cancelled, it stays as the disk is")
    assert operator.do(cancel)[0] is Ending.DONE
    end_of(operator)
    assert "identical" in run(find_command("qemu-img"), "compare", "-U", str(copy), str(store.files.disk))
    store.domain.resume()
    assert_unharmed(store, own_lab, store.files.disk)


def test_a_block_commit_is_shown_throttled_and_cancelled_and_the_chain_stays_as_it_is(
    operator: Operator, store: Guest, own_lab: HostLab
) -> None:
    overlay = store.files.folder / "overlay.qcow2"
    virsh(
        store,
        own_lab,
        "snapshot-create-as",
        *("over", "--disk-only", "--atomic", "--diskspec", f"vda,snapshot=external,file={overlay}"),
    )
    store.order("dd if=/dev/urandom of=/disk/more bs=1M count=40 && sync")
    slow = ("--bytes", "--bandwidth", str(SLOW_BYTES_PER_S))
    virsh(store, own_lab, "blockcommit", "vda", "--active", *slow)
    job = job_of(operator).job
    assert (job.kind, job.disk, job.limit_bytes_per_s) == (JobKind.BLOCK_COMMIT, "vda", SLOW_BYTES_PER_S)
    look_until_it_moves(operator)
    throttle(operator, store, JobKind.BLOCK_COMMIT)

    cancel = CancelJob(uuid=store.uuid, kind=JobKind.BLOCK_COMMIT, disk="vda")
    assert operator.runner.judge(cancel).warnings == (
        "what was merged so far stays merged, and the chain of images stays as it is",
    )
    assert operator.do(cancel)[0] is Ending.DONE
    end = end_of(operator)
    assert (end.kind, end.disk, end.is_cancelled) == (JobKind.BLOCK_COMMIT, "vda", True)
    assert_unharmed(store, own_lab, overlay, store.files.disk)
    chain = run(find_command("qemu-img"), "info", "--backing-chain", str(overlay))
    assert str(store.files.disk) in chain
