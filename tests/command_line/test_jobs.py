"""What runs and what ended, and how it is slowed and ended."""

import re
from pathlib import Path

import pytest

from tests.command_line.rig import Rig
from vmtop.actions.desk import Source
from vmtop.backends.base import Control
from vmtop.command_line.session import ReadOnlySource
from vmtop.errors import ControlError, RefusedError, UsageError
from vmtop.model.storage import BackupRequest, StorageSample
from vmtop.units import MIB


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def busy(rig: Rig) -> Rig:
    """Somebody else backs up web-01."""
    uuid = next(vm.uuid for vm in rig.backend.read_sample().vms if vm.name == "web-01")
    request = BackupRequest(
        targets={"vda": "/backup/theirs"}, formats={"vda": "qcow2"}, checkpoint=None, bytes_per_s=10 * MIB
    )
    rig.backend.open_control().start_backup(uuid, request)
    rig.clock.sleep(5)
    return rig


def test_nothing_runs(rig: Rig) -> None:
    assert rig.type("jobs") == 0
    assert rig.printed().splitlines()[1:] == ["no job runs"]
    assert rig.type("jobs", "web-01", "--json") == 0
    assert (rig.told()["running"], rig.told()["ended"]) == ([], [])


def test_a_job_of_anybody_is_shown_with_how_fast_it_is(busy: Rig) -> None:
    assert busy.type("jobs") == 0
    assert re.fullmatch(
        r"web-01: backup [\d.]+%, 10\.0M/s, limited to 10\.0M/s, \d+ min left", busy.printed().splitlines()[1]
    )
    assert busy.type("jobs", "dev-01") == 0
    assert busy.printed().splitlines()[1] == "no job runs on dev-01"
    assert busy.type("jobs", "--json") == 0
    (job,) = busy.told()["running"]
    assert (job["name"], job["kind"], job["is_stalled"], job["is_ready"]) == ("web-01", "backup", False, False)
    assert (job["limit_bytes_per_s"], job["disk"], job["disks"]) == (10 * MIB, None, 1)
    assert MIB < job["rate_bytes_per_s"] < 50 * MIB
    assert 0 < job["processed_bytes"] < job["total_bytes"]


def test_a_job_is_slowed_and_cancelled_and_the_audit_is_shown_below(busy: Rig) -> None:
    assert busy.type("jobs", "web-01", "--limit", "1M", "--yes") == 0
    assert busy.printed().splitlines()[-1] == "web-01: limit: done in 0 s"
    assert busy.type("jobs", "web-01", "--limit", "none", "--yes", "--json") == 0
    assert busy.told()["sentence"] == "Let the backup of web-01 run as fast as it can"
    assert busy.type("jobs", "web-01", "--cancel", "--yes") == 0
    busy.clock.sleep(5)
    assert busy.type("jobs") == 0
    assert "no job runs" in busy.printed()
    shown = busy.printed().split("What vmtop did last:\n")[1].splitlines()
    assert [("cancel" in line, "limit" in line) for line in shown[1:]] == [(True, False), (False, True), (False, True)]


@pytest.fixture
def copying(rig: Rig) -> Rig:
    """Somebody else copies the disk of web-01."""
    uuid = next(vm.uuid for vm in rig.backend.read_sample().vms if vm.name == "web-01")
    rig.backend.fault_control.inject_fault("disk-copy", uuid)
    rig.clock.sleep(5)
    return rig


def test_the_job_of_a_disk_is_slowed_and_cancelled(copying: Rig) -> None:
    assert copying.type("jobs", "web-01", "--limit", "1M", "--disk", "vda", "--yes", "--json") == 0
    assert copying.told()["sentence"] == "Limit the block copy of vda of web-01 to 1.0M/s"
    copying.clock.sleep(2)
    assert copying.type("jobs", "web-01") == 0
    assert "web-01: block copy of vda " in copying.printed()
    assert ", limited to 1.00M/s" in copying.printed()
    assert copying.type("jobs", "web-01", "--cancel", "--disk", "vda", "--yes") == 0
    assert "the copy is not complete; it is left as it is to whoever began it" in copying.printed()
    copying.clock.sleep(2)
    assert copying.type("jobs", "web-01") == 0
    assert "no job runs on web-01" in copying.printed()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--cancel",), "only jobs of single disks run, so name the disk: block copy of vda"),
        (("--limit", "1M"), "no backup runs on web-01; to limit the job of a disk, name it: block copy of vda"),
        (
            ("--cancel", "--disk", "vdb"),
            "no job of its own runs on the disk vdb of web-01; there is: block copy of vda",
        ),
    ],
)
def test_which_disk_is_meant_has_to_be_said(copying: Rig, words: tuple[str, ...], reason: str) -> None:
    assert copying.type("jobs", "web-01", *words, "--yes") == 1
    assert copying.said().endswith(f"refused: {reason}\n")


def test_a_disk_alone_means_nothing(copying: Rig) -> None:
    for words in (("--disk", "vda"), ("--resume", "--disk", "vda")):
        with pytest.raises(UsageError, match="--disk says whose job is meant by --cancel or --limit"):
            copying.type("jobs", "web-01", *words)


@pytest.mark.parametrize("words", [("--cancel",), ("--limit", "1M"), ("--resume",)])
def test_a_name_of_another_vm_is_no_consent(busy: Rig, words: tuple[str, ...]) -> None:
    with pytest.raises(RefusedError, match="nothing was done: --confirm 'web-02' is not the name of the VM"):
        busy.type("jobs", "web-01", *words, "--confirm", "web-02")
    assert busy.records() == ()
    assert busy.type("jobs", "web-01", "--limit", "1M", "--confirm", "web-01") == 0


class _Forbidding(ReadOnlySource):
    """A source that lets nobody act, nor look at disks, and tells so only when it is asked."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.capability = source.capability
        self.read_storage = self._deny

    def _deny(self, uuid: str) -> StorageSample:
        raise ControlError("access denied", 88, exit_code=4)

    def open_control(self) -> Control:
        raise ControlError("access denied", 88, exit_code=4)


def test_what_libvirt_does_not_allow_ends_with_the_exit_code_for_that(busy: Rig) -> None:
    busy.source = _Forbidding(busy.backend)
    assert busy.type("jobs", "web-01", "--cancel", "--yes") == 4
    assert busy.said() == "web-01: cancel: you are not allowed to do this: access denied\n"
    assert busy.type("snapshot", "dev-01", "--dry-run", "--revert", "x") == 4
    assert busy.type("snapshot", "dev-01", "--revert", "x", "--yes") == 4


def test_what_cannot_be_is_refused(rig: Rig) -> None:
    for options, reason in (
        (("--cancel",), "no job runs on web-01"),
        (("--limit", "1M"), "no backup runs on web-01, and other jobs cannot be limited"),
        (("--resume",), "web-01 is not paused: it is running"),
    ):
        assert rig.type("jobs", "web-01", *options, "--yes") == 1
        assert rig.said().endswith(f"refused: {reason}\n")
