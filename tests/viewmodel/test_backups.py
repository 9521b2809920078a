"""The page of backups."""

from dataclasses import replace
from typing import Any

import pytest

from tests.actions.scenes import make_checkpoint, make_storage
from tests.builders import START_S, make_frame, make_job, make_vm
from vmtop.actions.verification import Verification
from vmtop.derive.recovery import derive_points
from vmtop.model.kind import BackupKind
from vmtop.model.recovery import BackupRecord, DiskCopy, StoredBackup
from vmtop.units import GIB
from vmtop.viewmodel.backups import Recovery, build_backups, build_point, build_state, verification_notice
from vmtop.viewmodel.formats import line_width
from vmtop.viewmodel.tone import Line

NOW_S = START_S + 7200.0
STAMPS = ("20231114T221320Z", "20231114T224320Z", "20231114T231320Z")


def make_backup(place: int, **changes: Any) -> StoredBackup:
    """Half an hour after the one before; the first one is full."""
    record: dict[str, Any] = {
        "stamp": STAMPS[place],
        "time_s": START_S + 1800 * place,
        "uuid": "u1",
        "name": "web-1",
        "kind": BackupKind.INCREMENTAL if place else BackupKind.FULL,
        "since": STAMPS[place - 1] if place else None,
        "checkpoint": f"vmtop-{STAMPS[place]}",
        "disks": (DiskCopy(target="vda", file="x.qcow2", image_format="qcow2", capacity_bytes=20 * GIB),),
        "is_done": True,
        "checked_s": START_S + 1800 * place + 60,
    }
    return StoredBackup(
        folder="/backup/web 1",
        record=BackupRecord(**{**record, **changes}),
        missing=(),
        size_bytes=2 * GIB,
    )


def recover(*backups: StoredBackup, problems: tuple[str, ...] = ()) -> Recovery:
    return Recovery(points=derive_points(backups), problems=problems)


CHAIN = recover(*(make_backup(place) for place in range(3)))


def text_of(line: Line) -> str:
    return "".join(span.text for span in line).rstrip()


def lines_of(recovery: Recovery, *, width: int = 100) -> list[str]:
    return [text_of(line) for line in build_backups(recovery, now_s=NOW_S, width=width, has_unicode=True).lines]


def state_of(recovery: Recovery | None, **changes: Any) -> str:
    given: dict[str, Any] = {"jobs": (), "storage": None, "checking": "", **changes}
    checking = given["checking"]
    lines = build_state(recovery, given["jobs"], given["storage"], now_s=NOW_S, width=100, checking=checking)
    return "\n".join(text_of(line) for line in lines)


def test_recovery_points_stand_newest_first_with_their_chain_and_worth() -> None:
    title, newest, _, oldest = lines_of(CHAIN)
    assert title.split() == ["BACKUP", "OF", "AGE", "KIND", "SIZE", "CHAIN", "WORTH"]
    assert newest.split() == [
        *["2023-11-14", "23:13:20Z", "60m", "incremental", "2.00G", "full", "+", "2", "inc"],
        *["verified", "119", "min", "ago"],
    ]
    assert oldest.split()[3:6] == ["full", "2.00G", "full"]


def test_each_point_can_be_chosen_by_its_stamp() -> None:
    page = build_backups(CHAIN, now_s=NOW_S, width=80, has_unicode=True)
    assert page.keys == (None, *reversed(STAMPS))


def test_a_point_whose_chain_is_broken_says_what_is_missing() -> None:
    broken = recover(make_backup(0), make_backup(2))
    assert f"broken: the backup {STAMPS[1]} on which" in lines_of(broken, width=160)[1]
    lost = recover(replace(make_backup(0), missing=("x.qcow2",)))
    assert "x.qcow2 is not there" in lines_of(lost)[1]


def test_a_point_that_was_never_checked_is_not_called_verified() -> None:
    assert lines_of(recover(make_backup(0, checked_s=None)))[1].endswith("  not verified")


def test_records_that_cannot_be_used_are_told() -> None:
    assert lines_of(recover(problems=("/backup/a.json: this is no JSON",)))[-1] == "/backup/a.json: this is no JSON"


def test_the_age_of_the_last_good_backup_is_told_first() -> None:
    assert state_of(CHAIN) == "last good 60 min ago, verified"
    assert state_of(recover(make_backup(0), make_backup(2))) == "last good 2 h ago, verified"
    assert state_of(recover(make_backup(0, checked_s=None))) == "last good 2 h ago, not verified"


def test_where_nothing_can_be_restored_that_is_told() -> None:
    assert state_of(recover()) == "last good none"
    assert state_of(recover(make_backup(0, is_done=False))) == "last good none: nothing here can be restored"
    assert state_of(None) == ""


def test_what_the_next_backup_would_copy_is_told_but_not_while_one_runs() -> None:
    storage = make_storage(checkpoints=(make_checkpoint(), make_checkpoint("foreign", 5 * GIB)))
    assert "changed   1.0G since the last backup of vmtop" in state_of(CHAIN, storage=storage)
    jobs = make_frame([make_vm(jobs=(make_job(),))]).jobs.running
    running = state_of(CHAIN, storage=storage, jobs=jobs)
    assert "runs      backup 30%" in running
    assert "changed" not in running


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("vmtop-1",), "1 checkpoint of vmtop's backups, which c deletes"),
        (("vmtop-1", "a", "vmtop-2", "b"), "2 checkpoints of vmtop's backups, which c deletes, 2 checkpoints of other"),
        (("a",), "1 checkpoint of other programs"),
    ],
)
def test_checkpoints_are_counted_and_only_for_our_own_a_key_is_named(names: tuple[str, ...], words: str) -> None:
    storage = make_storage(checkpoints=tuple(map(make_checkpoint, names)))
    assert f"holds     {words}" in state_of(CHAIN, storage=storage)
    assert "holds" not in state_of(CHAIN, storage=make_storage())


@pytest.mark.parametrize(
    ("whole", "damaged", "complaints", "text", "is_bad"),
    [
        (3, 0, (), "3 backups checked, all whole", False),
        (1, 0, (), "1 backup checked, all whole", False),
        (2, 1, (), "3 backups checked, 1 damaged", True),
        (0, 0, (), "there is no finished backup to check", True),
        (0, 0, ("/b/x: cannot be read",), "no backup was checked; /b/x: cannot be read", True),
        (1, 0, ("/b/x: a", "/b/y: b"), "1 backup checked, all whole; /b/x: a (and 1 more)", True),
    ],
)
def test_what_came_of_a_check_is_one_sentence(
    whole: int, damaged: int, complaints: tuple[str, ...], text: str, is_bad: bool
) -> None:
    found = Verification(backups=(), whole=whole, damaged=damaged, complaints=complaints)
    notice = verification_notice("web-1", found)
    assert (notice.text, notice.is_bad) == (f"web-1: {text}", is_bad)


def test_what_is_being_checked_is_told() -> None:
    assert "runs      checking 2 of 5: web-1" in state_of(CHAIN, checking="checking 2 of 5: web-1")


def point_text(recovery: Recovery, *, width: int = 160) -> str:
    lines = build_point(recovery.points[-1], "web 1", now_s=NOW_S, width=width, has_unicode=True)
    return "\n".join(text_of(line) for line in lines)


def test_the_point_under_the_cursor_tells_its_chain_and_how_to_restore_it() -> None:
    text = point_text(CHAIN)
    assert " + ".join(STAMPS) in text
    assert "found whole 119 min ago" in text
    assert f"vmtop restore 'web 1' --from '/backup/web 1' --at {STAMPS[2]} --to FILE" in text


def test_a_simulated_point_gives_no_command_that_would_look_for_real_files() -> None:
    lines = build_point(CHAIN.points[-1], "web 1", now_s=NOW_S, width=160, has_unicode=True, is_simulated=True)
    text = "\n".join(map(text_of, lines))
    assert "restore   not possible: it is simulated, and no file of this machine holds it" in text
    assert "--from" not in text


def test_a_point_that_cannot_be_restored_gives_no_command_to_do_so() -> None:
    text = point_text(recover(make_backup(2)))
    assert "problem" in text
    assert "vmtop restore" not in text


@pytest.mark.parametrize("width", [40, 60, 200])
def test_lines_fit_and_are_harmless(width: int) -> None:
    page = build_backups(recover(problems=("\x1b]52;c;x\x07" * 20,)), now_s=NOW_S, width=width, has_unicode=True)
    assert all(line_width(line) <= width for line in page.lines)
    assert "".join(map(text_of, page.lines)).isprintable()
