"""The page of the audit."""

from dataclasses import replace
from typing import Any

import pytest

from tests.viewmodel.scenes import HOSTILE_NAMES
from vmtop.actions.audit import AuditRecord, Identity, Phase
from vmtop.units import GIB
from vmtop.viewmodel.audit import build_audit, build_audit_text, build_entry, pair_records
from vmtop.viewmodel.formats import line_width
from vmtop.viewmodel.tone import Line

ADA = Identity(uid=0, user="root", login_uid=1000, sudo_user="ada", pid=42)


def make_record(number: int = 1, phase: Phase = Phase.ENDED, **changes: Any) -> AuditRecord:
    values: dict[str, Any] = {
        "id": f"a{number}",
        "phase": phase,
        "time_s": 1_700_000_000.5 + 60 * number,
        "uri": "qemu:///system",
        "uuid": "u1",
        "vm": "web-1",
        "action": "balloon",
        "sentence": "set the balloon of web-1 to 2.0G, from 4.0G",
        "old": 4 * GIB,
        "new": 2 * GIB,
        "who": ADA,
    }
    if phase is Phase.ENDED:
        values |= {"outcome": "done", "text": "reached 2.0G", "duration_s": 12.3}
    return AuditRecord(**{**values, **changes})


def text_of(line: Line) -> str:
    return "".join(span.text for span in line).rstrip()


def lines_of(*records: AuditRecord, width: int = 140) -> list[str]:
    return [text_of(line) for line in build_audit(pair_records(records), width=width, has_unicode=True).lines]


def test_an_action_is_one_line_that_tells_when_who_what_from_to_and_how_it_ended() -> None:
    title, row = lines_of(make_record(phase=Phase.STARTED), make_record())
    assert title.split() == ["WHEN", "WHO", "VM", "WHAT", "FROM", "TO", "END", "TOOK"]
    assert row.split() == [
        *["2023-11-14", "22:14:20Z", "ada", "(sudo)", "web-1", "balloon", "4.0G", "2.0G", "done", "12s"],
        *["reached", "2.0G"],
    ]


def test_the_newest_action_comes_first() -> None:
    records = [make_record(number, phase) for number in (1, 2, 3) for phase in Phase]
    assert [entry.began.id for entry in pair_records(records)] == ["a3", "a2", "a1"]


def test_an_action_that_was_pending_and_then_ended_has_its_last_end() -> None:
    records = (make_record(phase=Phase.STARTED), make_record(outcome="pending", text="no answer"), make_record())
    (entry,) = pair_records(records)
    assert entry.last.outcome == "done"


def test_an_action_without_an_end_says_so() -> None:
    (_, row) = lines_of(make_record(phase=Phase.STARTED))
    assert row.endswith("no end was written")


def test_a_refused_action_never_began_and_is_still_shown() -> None:
    refused = make_record(outcome="refused", text="below the floor", refusals=("below the floor",))
    assert "refused" in lines_of(refused)[1]


def test_a_cancelled_backup_is_no_failed_one() -> None:
    cancelled = make_record(action="backup", outcome="cancelled", text="nothing of it is left", old=None, new=None)
    row = lines_of(cancelled)[1]
    assert "backup" in row
    assert row.split()[6:7] == ["cancelled"]
    assert row.endswith("nothing of it is left")


def test_an_end_that_only_another_version_knows_is_shown_as_it_is() -> None:
    strange = make_record(outcome="post\x1bponed", text="")
    assert "post" in lines_of(strange)[1]
    assert "\x1b" not in lines_of(strange)[1]
    (entry,) = pair_records([strange])
    lines = [text_of(line) for line in build_entry(entry, width=80, has_unicode=True)]
    assert any(line.startswith("end") and "post" in line and "\x1b" not in line for line in lines)


def test_a_period_is_in_seconds_and_a_snapshot_has_no_values() -> None:
    assert "0 s    5 s" in lines_of(make_record(action="period", old=0, new=5))[1]
    assert lines_of(make_record(action="snapshot", old=None, new=None))[1].split()[5:7] == ["snapshot", "done"]


def test_the_action_under_the_cursor_is_told_whole() -> None:
    record = make_record(warnings=("mind the step",), refusals=("too low",), outcome="refused", text="too low")
    (entry,) = pair_records([replace(record, is_forced=True)])
    text = "\n".join(text_of(line) for line in build_entry(entry, width=100, has_unicode=True))
    assert "root (uid 0), through sudo from ada, logged in as uid 1000" in text
    assert "set the balloon of web-1 to 2.0G, from 4.0G (forced)" in text
    assert "mind the step" in text
    assert text.count("too low") == 1


def test_a_line_that_does_not_tell_who_shows_that() -> None:
    (_, row) = lines_of(make_record(who=None))
    assert row.split()[2] == "?"


def test_where_nothing_was_done_that_is_said() -> None:
    assert lines_of() == ["No action of vmtop is written down here."]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_lines_fit_and_are_harmless_whatever_is_in_the_file(width: int) -> None:
    records = [
        make_record(number, vm=name, text=name, action=name) for number, name in enumerate(HOSTILE_NAMES, start=1)
    ]
    page = build_audit(pair_records(records), width=width, has_unicode=False)
    assert all(line_width(line) <= width for line in page.lines)
    text = "".join(map(text_of, page.lines))
    assert text.isascii()
    assert text.isprintable()


def test_where_sources_are_mixed_each_line_says_of_which_it_is_and_which_is_not_real() -> None:
    demo = make_record(2, uri="simulator:///calm?seed=1&vms=4")
    title, newest, oldest = lines_of(make_record(1), demo)
    assert "SOURCE" in title
    assert "SIMULATED simulator:///calm" in newest
    assert "qemu:///system" in oldest
    assert "SOURCE" not in lines_of(make_record(1), make_record(2))[0]


def test_the_entry_of_a_demo_says_that_it_is_simulated() -> None:
    (entry,) = pair_records([make_record(uri="simulator:///calm")])
    text = [text_of(line) for line in build_entry(entry, width=100, has_unicode=True)]
    assert "where     SIMULATED simulator:///calm" in text


def test_an_action_that_goes_on_says_for_how_long() -> None:
    (entry,) = pair_records([make_record(phase=Phase.STARTED)])
    page = build_audit((entry,), width=140, has_unicode=True, running={"a1": 12.0})
    assert "running for 12 s" in text_of(page.lines[1])
    whole = [text_of(line) for line in build_entry(entry, width=100, has_unicode=True, running_s=12.0)]
    assert "end       running for 12 s" in whole


def test_for_a_program_nothing_is_cut() -> None:
    reason, uri = "no balloon driver was seen in the guest: " + "x" * 300, "qemu+ssh://root@" + "h" * 100 + "/system"
    entries = pair_records([make_record(vm="v" * 60, text=reason, uri=uri, new=11 * GIB - 400 * 1024**2)])
    _, line = (text_of(line) for line in build_audit_text(entries, width=None, has_unicode=True))
    assert all(text in line for text in (reason, uri, "v" * 60, "10.61G"))
    assert "…" not in line


def test_on_a_screen_the_reason_is_whole_below_its_line() -> None:
    reason = "no balloon driver was seen in the guest: it never sent figures, and would not follow"
    entries = pair_records([make_record(outcome="refused", text=reason)])
    title, _, *below = (text_of(line) for line in build_audit_text(entries, width=80, has_unicode=True))
    assert "SOURCE" in title
    assert " ".join(line.strip() for line in below) == reason
    assert all(len(line) <= 80 for line in below)


def test_an_empty_audit_says_so_in_text_too() -> None:
    (line,) = build_audit_text((), width=None, has_unicode=True)
    assert "No action" in text_of(line)
