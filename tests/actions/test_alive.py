"""Which actions without an end go on."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vmtop.actions.alive import read_running
from vmtop.actions.audit import AuditRecord, Identity, Phase

BOOT_S = 1_700_000_000
TICKS = os.sysconf("SC_CLK_TCK")
ME = Identity(uid=os.getuid(), user="ada", login_uid=None, sudo_user=None, pid=42)
BEGUN = AuditRecord(
    id="a1",
    phase=Phase.STARTED,
    time_s=BOOT_S + 500.0,
    uri="qemu:///system",
    uuid="u1",
    vm="web-1",
    action="backup",
    sentence="back up web-1",
    who=ME,
)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A machine on which process 42 is a vmtop that began 100 s after the boot."""
    folder = tmp_path / "42"
    folder.mkdir()
    fields = ["S", *["0"] * 18, str(100 * TICKS), *["0"] * 20]
    (folder / "stat").write_text(f"42 (vm top) 7) {' '.join(fields)}\n")
    (folder / "cmdline").write_bytes(b"python3\0/usr/bin/vmtop\0")
    (tmp_path / "stat").write_text(f"cpu 1 2 3\nbtime {BOOT_S}\n")
    return tmp_path


def test_an_action_of_a_vmtop_that_lives_goes_on(proc: Path) -> None:
    assert read_running([BEGUN], proc) == {"a1"}


def test_an_action_that_ended_does_not(proc: Path) -> None:
    assert read_running([BEGUN, replace(BEGUN, phase=Phase.ENDED, outcome="done")], proc) == frozenset()


def _end(folder: Path) -> None:
    (folder / "stat").unlink()


def _become_another(folder: Path) -> None:
    (folder / "cmdline").write_bytes(b"/usr/bin/htop\0")


@pytest.mark.parametrize("change", [_end, _become_another])
def test_a_process_that_ended_or_is_another_program_is_at_nothing(proc: Path, change: Callable[[Path], None]) -> None:
    change(proc / "42")
    assert read_running([BEGUN], proc) == frozenset()


@pytest.mark.parametrize(
    "record",
    [
        replace(BEGUN, time_s=BOOT_S + 50.0),
        replace(BEGUN, who=replace(ME, uid=ME.uid + 1)),
        replace(BEGUN, who=replace(ME, pid=43)),
        replace(BEGUN, who=None),
    ],
    ids=["its number was used again", "of another user", "no such process", "nobody is known"],
)
def test_what_cannot_be_told_is_not_said(proc: Path, record: AuditRecord) -> None:
    assert read_running([record], proc) == frozenset()


def test_this_process_is_found_where_it_really_is(tmp_path: Path) -> None:
    mine = replace(BEGUN, time_s=4e9, who=replace(ME, pid=os.getpid()))
    is_vmtop = b"vmtop" in Path("/proc/self/cmdline").read_bytes()
    assert read_running([mine]) == (frozenset({"a1"}) if is_vmtop else frozenset())
