"""What an operator reads before anything is done."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.actions.scenes import ABLE, at_level, make_checkpoint, make_storage
from tests.builders import make_facts, make_frame, make_guest, make_job, make_qemu, make_vm, vm_uuid
from vmtop.actions.command import CancelJob, Command, DeleteCheckpoints, ResumeVm, SetBalloon, StartBackup, TakeSnapshot
from vmtop.actions.guard import check
from vmtop.actions.promise import Promise
from vmtop.actions.situation import Situation
from vmtop.actions.verdict import BackupPreview, BalloonPreview, Consistency, Risk, SnapshotPreview, Verdict
from vmtop.derive.frame import Frame
from vmtop.derive.metrics import Level
from vmtop.model.kind import SnapshotKind
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import JobKind, VmSample
from vmtop.model.storage import FolderSample, SnapshotRequest, StorageSample
from vmtop.units import GIB, MIB
from vmtop.viewmodel.card import build_card, make_entries
from vmtop.viewmodel.formats import bar_glyph, cell_width, line_width
from vmtop.viewmodel.tone import Line, Span, Tone

ID = vm_uuid(1)

LEGEND = f"━ {{used}} {{rest}} {bar_glyph(Tone.BAR_GIVEN, has_unicode=True)} given to the host"


def judge(command: Command, frame: Frame, storage: StorageSample) -> Verdict:
    folder = FolderSample(path="/backup", exists=True, free_bytes=100 * GIB, inner="", names=frozenset())
    now = Situation(frame=frame, policy=DEFAULT_POLICY, capability=ABLE, storage=storage, folder=folder)
    return check(command, now)


def card(*commands: Command, frame: Frame | None = None, width: int = 100, rows: int = 40, **more: Any) -> list[str]:
    return [text_of(line) for line in card_lines(*commands, frame=frame, width=width, rows=rows, **more)]


def card_lines(
    *commands: Command,
    frame: Frame | None = None,
    width: int = 100,
    rows: int = 40,
    storage: StorageSample | None = None,
    **more: Any,
) -> tuple[Line, ...]:
    frame = make_frame([make_vm(name="web-1")]) if frame is None else frame
    known = make_storage() if storage is None else storage
    entries = make_entries(commands, frame, {command: judge(command, frame, known) for command in commands})
    return build_card(entries, frame, width=width, rows=rows, **more)


def text_of(line: Line) -> str:
    return "".join(span.text for span in line)


def with_word(lines: list[str], word: str) -> str:
    found = [line for line in lines if word in line]
    assert found, "\n".join(lines)
    return found[0]


def down(size_bytes: int = 3 * GIB, uuid: str = ID) -> SetBalloon:
    return SetBalloon(uuid=uuid, target_bytes=size_bytes)


def test_a_balloon_is_previewed_with_what_guest_and_host_have_of_it() -> None:
    lines = card(down(3584 * MIB))
    assert lines[0] == "Set the balloon of web-1 to 3.5G, from 4.0G"
    assert "2.5G now, 2.0G after" in with_word(lines, "guest can use")
    assert "1.65G, 1.85G below the new size" in with_word(lines, "safe floor  ")
    assert "up to 512M; it has 40.0G available" in with_word(lines, "host wins")
    assert "low: 2.0G more than the 1.5G that the guest uses" in with_word(lines, "risk")


def test_what_the_host_wins_is_what_it_holds_and_not_the_difference() -> None:
    full = make_frame([make_vm(rss_bytes=None, qemu=make_qemu(rss_bytes=6 * GIB, ksm_merged_bytes=0))])
    assert "host wins      1.0G;" in with_word(card(down(), frame=full), "host wins")
    empty = make_frame([make_vm(qemu=make_qemu(rss_bytes=100 * MIB))])
    assert "nothing: it holds no memory" in with_word(card(down(), frame=empty), "host wins")


def test_what_the_guest_does_not_tell_of_is_drawn_as_unknown_and_whose_figures_count_is_said() -> None:
    frame = make_frame([make_vm(guest=make_guest(usable_bytes=None, cache_bytes=None))])
    lines = card(down(3584 * MIB), frame=frame)
    assert "?" in with_word(lines, "  now ")
    assert "─" not in with_word(lines, "  now ")
    assert (
        with_word(lines, "held by the host").split()
        == LEGEND.format(used="held by the host", rest="? not known").split()
    )
    assert "; from what the host holds for it" in with_word(lines, "safe floor  ")
    assert "unknown: the host holds" in with_word(lines, "risk")


def test_what_the_guest_tells_of_has_a_legend_too() -> None:
    assert with_word(card(down()), "can be used").split() == LEGEND.format(used="used", rest="─ can be used").split()


def test_a_size_that_it_has_already_is_said_and_cannot_be_entered() -> None:
    assert card(down(4 * GIB)) == ["web-1: it has 4.0G already, which is its maximum: nothing to do", ""]
    frame = make_frame([make_vm(name="web-1")])
    (entry,) = make_entries([down(4 * GIB)], frame, {down(4 * GIB): judge(down(4 * GIB), frame, make_storage())})
    assert not entry.is_allowed


def test_of_several_balloons_one_that_is_there_already_says_so_and_counts_in_no_sum() -> None:
    frame = make_frame([make_vm(name="web-1"), make_vm(uuid=vm_uuid(2), name="web-2", domain_id=2)])
    lines = card(down(4 * GIB), down(uuid=vm_uuid(2)), frame=frame)
    assert "it has 4.0G already" in with_word(lines, "web-1")
    assert "4.0G    3.0G" in with_word(lines, "together")


def test_of_a_size_that_no_vm_can_have_nothing_is_drawn() -> None:
    lines = card(down(1024 * GIB))
    assert lines == [
        "Set the balloon of web-1 to 1.0T, from 4.0G",
        "",
        "refused  1.0T is above its maximum of 4.0G",
        "",
    ]


def test_what_is_not_known_has_a_mark_and_a_reason() -> None:
    frame = make_frame([make_vm(facts=make_facts(stats_period_s=0), qemu=None, rss_bytes=None)])
    lines = card(down(), frame=frame)
    assert "? the guest does not tell" in with_word(lines, "guest can use")
    assert "? it is not known what the VM uses" in with_word(lines, "safe floor")
    assert "? (what it holds" in with_word(lines, "host wins")


def test_giving_back_wins_the_host_nothing_and_risks_nothing() -> None:
    frame = make_frame([make_vm(balloon_bytes=2 * GIB, guest=make_guest(usable_bytes=512 * MIB))])
    lines = card(down(4 * GIB), frame=frame)
    assert not any("host wins" in line for line in lines)
    assert "none: the guest gets memory back" in with_word(lines, "risk")


def test_below_the_floor_the_name_is_asked_for_with_the_reason() -> None:
    lines = card(down(1 * GIB))
    assert "1.0G is 666M below the safe floor of 1.65G: its name has to be typed" in with_word(lines, "! 1.0G")
    assert "nothing after" in with_word(lines, "guest can use")


def test_refusals_and_warnings_are_all_there_and_toned() -> None:
    frame = at_level(make_frame([make_vm(balloon_bytes=2 * GIB, jobs=(make_job(kind=JobKind.SNAPSHOT),))]), Level.HARD)
    lines = card_lines(down(3 * GIB), frame=frame)
    tones = {text_of(line).split()[0]: {span.tone for span in line} for line in lines if text_of(line)}
    assert tones["refused"] == {Tone.HARD}
    assert tones["!"] == {Tone.WARN}
    words = "\n".join(map(text_of, lines))
    for reason in ("a job runs (snapshot)", "the host is at hard"):
        assert reason in words


def test_bars_show_before_and_after_and_the_mark_is_at_the_floor() -> None:
    lines = card(down(2 * GIB), width=24 + 40)
    now, after, floor = (with_word(lines, word)[24:] for word in ("  now ", "  after ", "▲"))
    given = bar_glyph(Tone.BAR_GIVEN, has_unicode=True)
    assert (now.count("━"), now.count("─"), now.count(given)) == (15, 25, 0)
    assert (after.count("━"), after.count("─"), after.count(given)) == (15, 5, 20)
    assert floor.index("▲") == 17  # 1690 of 4096 MiB in 40 cells


def test_without_unicode_everything_is_ascii() -> None:
    assert all(line.isascii() for line in card(down(), has_unicode=False))


@pytest.mark.parametrize("rows", [30, 9, 6])
def test_where_room_is_short_pictures_go_first_then_blank_lines(rows: int) -> None:
    lines = card(down(), rows=rows)
    assert any("▲" in line for line in lines) is (rows == 30)
    assert ("" in lines) is (rows > 6)
    for word in ("Set the balloon", "guest can use", "safe floor", "host wins", "risk"):
        assert with_word(lines, word)


def test_while_the_guard_has_not_answered_the_card_says_so() -> None:
    frame = make_frame([make_vm(name="web-1")])
    lines = [text_of(line) for line in build_card(make_entries([down()], frame, {}), frame, width=80, rows=20)]
    assert lines[0].startswith("Set the balloon of web-1")
    assert "asking ..." in lines


def test_a_vm_that_is_gone_is_named_by_its_uuid() -> None:
    lines = card(down(uuid=vm_uuid(7)))
    assert lines[0] == f"Balloon of {vm_uuid(7)}"
    assert with_word(lines, "the VM is not there any more")


def fleet() -> Frame:
    vms: list[VmSample] = [make_vm(uuid=vm_uuid(number), name=f"web-{number}", domain_id=number) for number in (1, 2)]
    return make_frame([*vms, make_vm(uuid=vm_uuid(3), name="mail", facts=make_facts(has_balloon=False), guest=None)])


def test_several_balloons_have_a_line_each_and_their_sum() -> None:
    lines = card(down(uuid=vm_uuid(1)), down(1 * GIB, vm_uuid(2)), frame=fleet())
    assert with_word(lines, "web-1").split()[1:5] == ["4.0G", "3.0G", "1.65G", "low:"]
    assert with_word(lines, "web-2").split()[1:5] == ["4.0G", "1.0G", "1.65G", "severe:"]
    assert with_word(lines, "together").split()[1:3] == ["8.0G", "4.0G"]
    assert "the host wins 1.78G to 3.78G" in with_word(lines, "together")


def test_what_is_refused_counts_in_no_sum_and_that_is_said() -> None:
    lines = card(down(uuid=vm_uuid(1)), down(uuid=vm_uuid(3)), frame=fleet())
    assert with_word(lines, "together").split()[1:3] == ["4.0G", "3.0G"]
    assert "mail has no balloon device" in with_word(lines, "refused")
    assert "Enter does 1 of 2" in with_word(lines, "Enter")


def test_a_sum_of_what_is_not_known_is_not_known() -> None:
    silent = make_vm(uuid=vm_uuid(2), name="web-2", domain_id=2, qemu=None, rss_bytes=None)
    frame = make_frame([make_vm(name="web-1"), silent])
    assert "the host wins ?" in with_word(card(down(), down(uuid=vm_uuid(2)), frame=frame), "together")


def test_where_all_are_refused_there_is_no_sum() -> None:
    frame = make_frame([make_vm(uuid=vm_uuid(number), facts=make_facts(has_vfio=True)) for number in (1, 2)])
    assert not any("together" in line for line in card(down(), down(uuid=vm_uuid(2)), frame=frame))


def test_other_commands_are_listed_with_what_the_guard_says() -> None:
    lines = card(CancelJob(uuid=vm_uuid(1)), ResumeVm(uuid=vm_uuid(2)), frame=fleet())
    assert lines[0] == "Cancel the job of web-1"
    assert "Let web-2 go on" in lines
    assert any(line.startswith("refused") for line in lines)


def test_free_space_that_is_promised_to_other_backups_is_told_beside_it() -> None:
    frame = make_frame([make_vm(name="web-1")])
    folder = FolderSample(path="/backup", exists=True, free_bytes=12 * GIB, inner="", names=frozenset())
    promised = Promise(8 * GIB, 8 * GIB)
    now = Situation(
        frame=frame,
        policy=DEFAULT_POLICY,
        capability=ABLE,
        storage=make_storage(),
        folder=folder,
        promised=promised,
    )
    command = StartBackup(uuid=ID, folder="/backup")
    entries = make_entries((command,), frame, {command: check(command, now)})
    lines = [text_of(line) for line in build_card(entries, frame, width=100, rows=40)]
    assert "12.0G, of which 8.0G are promised to other backups" in with_word(lines, "free there")


def test_a_snapshot_is_previewed() -> None:
    request = SnapshotRequest(name="before", kind=SnapshotKind.INTERNAL, is_quiesced=False)
    lines = card(TakeSnapshot(uuid=ID, request=request))
    assert "at most" in with_word(lines, "writes")
    assert "about" in with_word(lines, "guest stands")
    assert "complete" in with_word(lines, "is worth")


def test_a_backup_is_previewed_with_its_files() -> None:
    lines = card(StartBackup(uuid=ID, folder="/backup"))
    assert "at most" in with_word(lines, "copies")
    assert "100.0G" in with_word(lines, "free there")
    assert "/backup/" in with_word(lines, "files")


def test_what_the_deletion_of_checkpoints_leaves_is_previewed() -> None:
    names = tuple(f"vmtop-{number}" for number in range(1, 7))
    storage = make_storage(checkpoints=tuple(map(make_checkpoint, (*names, "daily"))))
    lines = card(DeleteCheckpoints(uuid=ID, names=names[:-1]), storage=storage)
    assert lines[0] == "Delete the checkpoints of web-1: 5, vmtop-1 to vmtop-5"
    assert with_word(lines, "leaves").split() == ["leaves", "vmtop-6"]
    assert "daily, of other programs" in "\n".join(lines)
    assert "may be incremental, from vmtop-6" in with_word(lines, "next backup")
    lines = card(DeleteCheckpoints(uuid=ID, names=names), storage=storage)
    assert with_word(lines, "leaves").split() == ["leaves", "none", "of", "vmtop"]
    assert "! none of vmtop is left then, so that the next backup has to be a full one" in "\n".join(lines)


def test_previews_of_what_cannot_be_seen_say_so() -> None:
    frame = make_frame([make_vm(name="web-1")])
    snapshot = SnapshotPreview(
        write_bytes=None, pause_s=None, free_bytes=None, consistency=Consistency.CRASH, is_revertible=False
    )
    backup = BackupPreview(
        write_bytes=None,
        least_bytes=None,
        free_bytes=None,
        promised_least_bytes=0,
        promised_most_bytes=0,
        files=("/b/x.qcow2", "/b/y.qcow2"),
        since="point",
    )
    balloon = BalloonPreview(
        from_bytes=GIB,
        to_bytes=GIB // 2,
        usable_before_bytes=None,
        usable_after_bytes=None,
        floor_bytes=GIB // 2,
        is_host_view=False,
        win_least_bytes=0,
        win_most_bytes=0,
        risk=Risk.UNKNOWN,
        risk_reason="nobody knows",
    )
    words = ""
    for preview in (snapshot, backup, balloon):
        command = down()
        entries = make_entries([command], frame, {command: Verdict(preview=preview)})
        words += "\n".join(text_of(line) for line in build_card(entries, frame, width=80, rows=30))
    assert "this libvirt cannot revert to it" in words
    assert "? that cannot be seen from here" in words
    assert "/b/y.qcow2" in words
    assert "512M, which is the new size" in words


def test_space_of_which_a_storage_pool_tells_is_not_shown_as_seen() -> None:
    frame = make_frame(1)
    preview = BackupPreview(
        write_bytes=GIB,
        least_bytes=None,
        free_bytes=3 * GIB,
        pool="nightly",
        promised_least_bytes=0,
        promised_most_bytes=0,
        files=("/b/x.qcow2",),
        since=None,
    )
    entries = make_entries([down()], frame, {down(): Verdict(preview=preview)})
    words = " ".join(text_of(line).strip() for line in build_card(entries, frame, width=120, rows=30))
    assert "at most 3.0G if it is on the file system of storage pool nightly, as of its last refresh" in words


def test_notes_stand_below_everything() -> None:
    lines = card(down(), notes=((Span("by the way", Tone.DIM),),))
    assert lines[-2:] == ["by the way", ""]


@given(
    name=st.text(min_size=1, max_size=40),
    sizes=st.lists(st.integers(min_value=0, max_value=1 << 45), min_size=1, max_size=4),
    width=st.integers(min_value=30, max_value=200),
    has_unicode=st.booleans(),
)
def test_no_line_is_wider_than_the_screen_whatever_a_vm_is_called(
    name: str, sizes: list[int], width: int, has_unicode: bool
) -> None:
    frame = make_frame([make_vm(uuid=vm_uuid(number), name=name) for number in range(1, len(sizes) + 1)])
    commands = [down(size, vm_uuid(number)) for number, size in enumerate(sizes, 1)]
    for line in card_lines(*commands, frame=frame, width=width, has_unicode=has_unicode):
        assert line_width(line) <= width
        assert all(cell_width(span.text) == len(span.text) or has_unicode for span in line)
        assert text_of(line).isprintable()


def test_entries_know_what_may_be_done() -> None:
    frame = fleet()
    command = down(uuid=vm_uuid(3))
    entry = make_entries([command], frame, {})[0]
    assert not entry.is_allowed
    assert not entry._replace(verdict=judge(command, frame, make_storage())).is_allowed
    assert make_entries([replace(command, uuid=ID)], frame, {replace(command, uuid=ID): Verdict()})[0].is_allowed


def test_what_writes_nothing_says_so_in_words() -> None:
    request = SnapshotRequest(name="before", kind=SnapshotKind.DISK_ONLY, is_quiesced=False)
    command = TakeSnapshot(uuid=ID, request=request)
    frame = make_frame([make_vm(name="web-1")])
    preview = SnapshotPreview(
        write_bytes=0, free_bytes=GIB, pause_s=0.1, consistency=Consistency.CRASH, is_revertible=True
    )
    (entry,) = make_entries([command], frame, {command: Verdict(preview=preview)})
    lines = [text_of(line) for line in build_card([entry], frame, width=100, rows=40)]
    assert "next to nothing" in with_word(lines, "writes")
    assert "0K" not in "\n".join(lines)


def test_a_reason_that_two_rules_give_is_said_once() -> None:
    command = down()
    frame = make_frame([make_vm(name="web-1")])
    verdict = Verdict(refusals=("a job runs", "a job runs"), warnings=("a job runs", "it is slow"))
    (entry,) = make_entries([command], frame, {command: verdict})
    text = "\n".join(text_of(line) for line in build_card([entry], frame, width=100, rows=40))
    assert text.count("a job runs") == 1
    assert "it is slow" in text
