"""What runs and what ended, and how it is slowed and ended."""

import re
from pathlib import Path

import pytest

from tests.command_line.rig import Rig
from vmtop.model.storage import BackupRequest
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
    assert re.fullmatch(r"web-01: backup 0\.\d%, [\d.]+M/s, \d+ min left", busy.printed().splitlines()[1])
    assert busy.type("jobs", "dev-01") == 0
    assert busy.printed().splitlines()[1] == "no job runs on dev-01"
    assert busy.type("jobs", "--json") == 0
    (job,) = busy.told()["running"]
    assert (job["name"], job["kind"], job["is_stalled"]) == ("web-01", "backup", False)
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


def test_what_cannot_be_is_refused(rig: Rig) -> None:
    for options, reason in (
        (("--cancel",), "no job runs on web-01"),
        (("--limit", "1M"), "no backup runs on web-01, and other jobs cannot be limited"),
        (("--resume",), "web-01 is not paused: it is running"),
    ):
        assert rig.type("jobs", "web-01", *options, "--yes") == 1
        assert rig.said().endswith(f"refused: {reason}\n")
