"""What is kept for the next run of vmtop, and which of it counts."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.actions.scenes import ID, make_storage
from vmtop.actions.ledger import (
    Entry,
    Ledger,
    OpenBackup,
    OpenCheckpoint,
    OpenPeriod,
    format_entry,
    ledger_folder,
    parse_entry,
)
from vmtop.errors import AuditError
from vmtop.model.storage import BackupRequest

URI = "qemu:///system"
FIRST, SECOND = "1" * 32, "2" * 32
CHECKPOINT = OpenCheckpoint(id=FIRST, uri=URI, uuid=ID, vm="web-1", name="vmtop-20260105T120000Z")
PERIOD = OpenPeriod(id=SECOND, uri=URI, uuid=ID, vm="\x1b[31mweb", set_by=FIRST, period_s=5, before_s=0)
BACKUP = OpenBackup(
    id=FIRST,
    uri=URI,
    uuid=ID,
    vm="web-1",
    sentence="back up all disks of web-1 to /backup",
    folder="/backup",
    is_incremental=False,
    request=BackupRequest(
        targets={"vda": "/backup/web-1/20260105T120000Z.full.vda.qcow2"},
        formats={"vda": "qcow2"},
        checkpoint="vmtop-20260105T120000Z",
        bytes_per_s=1000,
    ),
    disks=make_storage().disks,
    has_folder=True,
    submitted_s=1_000_000.5,
    began_s=1_000_000.0,
    asked_s=1_000_001.0,
)


def any_entry(_entry: Entry) -> bool:
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "open"


@pytest.mark.parametrize("entry", [BACKUP, CHECKPOINT, PERIOD])
def test_an_entry_is_read_as_it_was_written(folder: Path, entry: Entry) -> None:
    first = Ledger(folder)
    first.open(entry)
    first.leave()
    assert Ledger(folder).adopt(any_entry).entries == (entry,)


def test_what_somebody_sees_to_is_left_to_them(folder: Path) -> None:
    first, second = Ledger(folder), Ledger(folder)
    first.open(BACKUP)
    assert second.adopt(any_entry) == ((), ())
    first.leave()
    assert second.adopt(any_entry).entries == (BACKUP,)
    assert first.adopt(any_entry).entries == ()


def test_a_killed_program_leaves_its_entries_to_the_next(folder: Path) -> None:
    code = (
        "import os, signal, pathlib\n"
        "from vmtop.actions.ledger import Ledger\n"
        "from tests.actions.test_ledger import BACKUP\n"
        f"Ledger(pathlib.Path({str(folder)!r})).open(BACKUP)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode < 0
    assert Ledger(folder).adopt(any_entry).entries == (BACKUP,)


def test_what_was_seen_to_is_gone(folder: Path) -> None:
    ledger = Ledger(folder)
    ledger.open(BACKUP)
    ledger.close(BACKUP.id)
    assert list(folder.iterdir()) == []
    ledger.close(BACKUP.id)
    assert Ledger(folder).adopt(any_entry) == ((), ())


def test_only_what_is_wanted_is_taken_over(folder: Path) -> None:
    first = Ledger(folder)
    first.open(BACKUP)
    first.open(PERIOD)
    first.leave()
    second, third = Ledger(folder), Ledger(folder)
    assert second.adopt(lambda entry: isinstance(entry, OpenPeriod)).entries == (PERIOD,)
    assert third.adopt(any_entry).entries == (BACKUP,)


def test_the_same_id_again_takes_the_place_of_what_was_kept(folder: Path) -> None:
    ledger = Ledger(folder)
    ledger.open(BACKUP)
    ledger.open(CHECKPOINT)
    ledger.leave()
    assert Ledger(folder).adopt(any_entry).entries == (CHECKPOINT,)


def test_without_a_folder_nothing_is_kept() -> None:
    ledger = Ledger(None)
    ledger.open(BACKUP)
    ledger.close(BACKUP.id)
    assert ledger.adopt(any_entry) == ((), ())


def test_entries_and_their_folder_are_for_this_user_only(folder: Path) -> None:
    Ledger(folder).open(BACKUP)
    (file,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


def spoil_mode(file: Path) -> None:
    file.chmod(0o666)


def spoil_text(file: Path) -> None:
    file.write_text("{")


def spoil_schema(file: Path) -> None:
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 9'))


def spoil_name(file: Path) -> None:
    file.rename(file.with_name(f"{SECOND}.json"))


def spoil_path(file: Path) -> None:
    file.write_text(file.read_text().replace('"/backup/web-1/', '"../'))


def spoil_kind(file: Path) -> None:
    text = file.read_text()
    file.unlink()
    os.mkfifo(file, 0o600)
    assert text


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (spoil_mode, "somebody else may have written it"),
        (spoil_text, "it is no JSON"),
        (spoil_schema, "this version of vmtop does not know its form"),
        (spoil_name, "it has the name of another"),
        (spoil_path, "it is damaged ('../20260105T120000Z.full.vda.qcow2' is no path)"),
        (spoil_kind, "somebody else may have written it"),
    ],
)
def test_what_cannot_be_trusted_is_told_and_stays(folder: Path, spoil: Callable[[Path], None], why: str) -> None:
    first = Ledger(folder)
    first.open(BACKUP)
    first.leave()
    spoil(folder / f"{FIRST}.json")
    found = Ledger(folder).adopt(any_entry)
    (file,) = folder.iterdir()
    assert found.entries == ()
    assert found.problems == (f"{file}: what an earlier vmtop left to be seen to cannot be used: {why}",)


def test_a_link_is_not_followed(folder: Path) -> None:
    ledger = Ledger(folder)
    ledger.open(CHECKPOINT)
    (folder / f"{SECOND}.json").symlink_to("/dev/null")
    (problem,) = Ledger(folder).adopt(any_entry).problems
    assert "Too many levels of symbolic links" in problem


def test_where_nothing_can_be_written_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    path = tmp_path / "state" / "open"
    with pytest.raises(AuditError, match=r"later cannot be written down: Not a directory"):
        Ledger(path).open(BACKUP)
    with pytest.raises(AuditError, match=r"Not a directory"):
        Ledger(path).adopt(any_entry)


def test_it_lies_beside_the_audit() -> None:
    assert ledger_folder({"HOME": "/home/ada"}) == Path("/home/ada/.local/state/vmtop/open")
    assert ledger_folder({"XDG_STATE_HOME": "/x"}) == Path("/x/vmtop/open")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON_VALUES)
def test_no_text_is_an_entry_by_accident(values: object) -> None:
    with pytest.raises(ValueError, match=r"it is|does not know"):
        parse_entry(json.dumps(values), FIRST)


@given(st.data())
def test_whatever_stands_in_a_field_is_an_entry_or_none(data: st.DataObject) -> None:
    entries: list[Entry] = [BACKUP, CHECKPOINT, PERIOD]
    entry = data.draw(st.sampled_from(entries))
    values = json.loads(format_entry(entry))
    name = data.draw(st.sampled_from(sorted(values)))
    values[name] = data.draw(JSON_VALUES | st.just(10**400) | st.just(-1))
    try:
        parse_entry(json.dumps(values), entry.id)
    except ValueError as error:
        assert str(error)


def test_files_that_are_no_table_and_impossible_times_are_refused() -> None:
    for name, value in (("request", {"targets": ["/a"], "formats": ["qcow2"]}), ("submitted_s", 10**400)):
        values = json.loads(format_entry(BACKUP))
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
        with pytest.raises(ValueError, match="it is damaged"):
            parse_entry(json.dumps(values), FIRST)


@given(st.data())
def test_a_field_of_another_type_is_no_entry(data: st.DataObject) -> None:
    entries: list[Entry] = [BACKUP, CHECKPOINT, PERIOD]
    entry = data.draw(st.sampled_from(entries))
    values = json.loads(format_entry(entry))
    name = data.draw(st.sampled_from(sorted(values.keys() - {"schema", "is_incremental", "has_folder"})))
    values[name] = None
    with pytest.raises(ValueError, match="it is damaged"):
        parse_entry(json.dumps(values), entry.id)
