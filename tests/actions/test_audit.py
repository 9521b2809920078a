import fcntl
import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmtop.actions.audit import (
    Audit,
    AuditRecord,
    Identity,
    Phase,
    audit_file,
    find_undoable,
    parse_record,
    read_identity,
)
from vmtop.errors import AuditError
from vmtop.units import GIB

OPERATOR = Identity(uid=1000, user="ada", login_uid=1000, sudo_user=None, pid=42)
RECORD = AuditRecord(
    id="a1",
    phase=Phase.ENDED,
    time_s=1_700_000_000.5,
    uri="qemu:///system",
    uuid="u1",
    vm="web-1",
    action="balloon",
    sentence="set the balloon of web-1 to 2.0G, from 4.0G",
    old=4 * GIB,
    new=2 * GIB,
    warnings=("mind the step",),
    outcome="done",
    text="reached 2.0G",
    duration_s=3.2,
    who=OPERATOR,
)


def make_audit(tmp_path: Path, told: list[str] | None = None) -> Audit:
    lines = [] if told is None else told
    return Audit(tmp_path / "state" / "vmtop" / "audit.jsonl", OPERATOR, lines.append)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    audit = make_audit(tmp_path)
    started = replace(RECORD, phase=Phase.STARTED, outcome=None, text="", duration_s=None)
    audit.write(started)
    audit.write(RECORD)
    assert audit.read() == (started, RECORD)


def test_only_the_person_can_read_it_even_if_it_was_open_before(tmp_path: Path) -> None:
    audit = make_audit(tmp_path)
    audit.write(RECORD)
    assert audit.path.stat().st_mode & 0o777 == 0o600
    assert audit.path.parent.stat().st_mode & 0o777 == 0o700
    audit.path.chmod(0o666)
    audit.write(RECORD)
    assert audit.path.stat().st_mode & 0o777 == 0o600


def test_a_line_tells_who_and_goes_to_the_journal_as_well(tmp_path: Path) -> None:
    told: list[str] = []
    audit = make_audit(tmp_path, told)
    audit.write(replace(RECORD, vm="\x1b[2Jrm\n名"))
    line = audit.path.read_text()
    assert told == [line.rstrip("\n")]
    assert line.isascii()
    assert "\x1b" not in line
    values = json.loads(line)
    assert values["who"] == {"uid": 1000, "user": "ada", "login_uid": 1000, "sudo_user": None, "pid": 42}
    assert values["vm"] == "\x1b[2Jrm\n名"


def test_a_torn_line_is_left_out_and_swallows_nothing(tmp_path: Path) -> None:
    audit = make_audit(tmp_path)
    audit.write(RECORD)
    whole = audit.path.read_text()
    audit.path.write_text(whole + whole[:40])
    assert audit.read() == (RECORD,)
    later = replace(RECORD, id="a2")
    audit.write(later)
    assert audit.read() == (RECORD, later)


def test_two_writers_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    audits = [make_audit(tmp_path), make_audit(tmp_path)]
    barrier = threading.Barrier(2)

    def write(number: int) -> None:
        barrier.wait()
        for count in range(20):
            audits[number].write(replace(RECORD, id=f"{number}-{count}", text="x" * 3_000))

    threads = [threading.Thread(target=write, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(audits[0].path.read_text().splitlines()) == 40
    assert {record.id for record in audits[0].read()} == {f"{n}-{count}" for n in (0, 1) for count in range(20)}


def test_no_audit_is_an_empty_one(tmp_path: Path) -> None:
    assert make_audit(tmp_path).read() == ()


def test_an_audit_that_cannot_be_written_or_read_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(AuditError, match=r"nothing is done without an audit, and .*audit\.jsonl: Not a directory"):
        make_audit(tmp_path).write(RECORD)
    with pytest.raises(AuditError, match=r"audit\.jsonl: Not a directory"):
        make_audit(tmp_path).read()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    audit = make_audit(tmp_path)
    audit.path.parent.mkdir(parents=True)
    victim = tmp_path / "victim"
    audit.path.symlink_to(victim)
    with pytest.raises(AuditError):
        audit.write(RECORD)
    assert not victim.exists()


def test_the_file_lies_in_the_state_folder_of_the_person() -> None:
    assert audit_file({"XDG_STATE_HOME": "/s", "HOME": "/h"}) == Path("/s/vmtop/audit.jsonl")
    assert audit_file({"HOME": "/h"}) == Path("/h/.local/state/vmtop/audit.jsonl")


def test_the_person_behind_sudo_is_found(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "loginuid").write_text("1000\n")
    seen = read_identity({"SUDO_USER": "ada"}, tmp_path)
    assert (seen.uid, seen.login_uid, seen.sudo_user, seen.pid) == (os.getuid(), 1000, "ada", os.getpid())
    (tmp_path / "self" / "loginuid").write_text("4294967295")
    assert read_identity({}, tmp_path).login_uid is None
    assert read_identity({}, tmp_path / "nowhere").login_uid is None


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_foreign_line_is_taken_for_a_record(line: str) -> None:
    assert parse_record(line) is None


@pytest.mark.parametrize("spoilt", [{"phase": "maybe"}, {"old": "much"}, {"vm": 3}, {"time_s": None}, {"refusals": 1}])
def test_a_record_with_a_wrong_value_is_none(spoilt: dict[str, object], tmp_path: Path) -> None:
    audit = make_audit(tmp_path)
    audit.write(RECORD)
    assert parse_record(json.dumps({**json.loads(audit.path.read_text()), **spoilt})) is None


def ids(*records: AuditRecord) -> list[str]:
    return [change.id for change in find_undoable(records, "qemu:///system")]


def test_done_changes_can_be_undone_the_newest_first() -> None:
    period = replace(RECORD, id="a2", action="period", old=0, new=5)
    assert ids(RECORD, period) == ["a2", "a1"]
    change = find_undoable([RECORD], RECORD.uri)[0]
    assert (change.uuid, change.vm, change.action, change.old, change.new) == (
        "u1",
        "web-1",
        "balloon",
        4 * GIB,
        2 * GIB,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "refused"},
        {"outcome": "failed", "new": 4 * GIB},
        {"uri": "test:///default"},
        {"action": "backup", "old": None, "new": None},
        {"old": None},
        {"undoes": "a0"},
    ],
)
def test_what_changed_nothing_here_cannot_be_undone(changes: dict[str, Any]) -> None:
    assert ids(replace(RECORD, **changes)) == []


def test_what_was_undone_cannot_be_undone_again() -> None:
    back = replace(RECORD, id="a2", old=2 * GIB, new=4 * GIB, undoes="a1")
    assert ids(RECORD, back) == []
    assert ids(RECORD, replace(back, outcome="failed")) == ["a1"]


def test_what_was_changed_before_the_world_began_cannot_be_undone() -> None:
    for since_s, count in ((RECORD.time_s - 1, 1), (RECORD.time_s, 1), (RECORD.time_s + 1, 0)):
        assert len(find_undoable([RECORD], RECORD.uri, since_s)) == count


def test_a_move_that_stopped_halfway_can_be_undone() -> None:
    assert ids(replace(RECORD, outcome="failed", new=3 * GIB)) == ["a1"]


@pytest.mark.parametrize("last", [{"phase": Phase.STARTED, "outcome": None}, {"outcome": "pending"}])
def test_a_change_whose_end_nobody_saw_can_be_undone(last: dict[str, Any]) -> None:
    assert ids(replace(RECORD, **last)) == ["a1"]


def test_the_last_line_of_a_change_counts() -> None:
    started = replace(RECORD, phase=Phase.STARTED, outcome=None)
    assert ids(started, RECORD) == ["a1"]
    assert ids(started, replace(RECORD, outcome="refused")) == []
    assert ids(started, replace(RECORD, outcome="pending"), replace(RECORD, outcome="failed", new=RECORD.old)) == []


def test_a_file_that_another_program_keeps_locked_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = make_audit(tmp_path)
    audit.write(RECORD)
    monkeypatch.setattr("vmtop.actions.audit.LOCK_WAIT_S", 0.0)
    with audit.path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(AuditError, match=f"{audit.path}: another program keeps it locked"):
            audit.write(RECORD)
    audit.write(RECORD)
    assert len(audit.read()) == 2
