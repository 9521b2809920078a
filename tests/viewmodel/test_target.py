"""What a row and a page say of a balloon on its way."""

from dataclasses import replace

import pytest

from tests.builders import START_MONOTONIC_S, make_frame, make_vm, vm_uuid
from vmtop.actions.target import Target, TargetState, Turned
from vmtop.units import GIB, MIB
from vmtop.viewmodel.facts import build_vm_facts
from vmtop.viewmodel.formats import line_width
from vmtop.viewmodel.target import target_spans, target_words
from vmtop.viewmodel.tone import Tone
from vmtop.viewmodel.ui_state import UiState
from vmtop.viewmodel.vm_table import Order, build_table

NOW_S = START_MONOTONIC_S + 30


def make_target(state: TargetState, asked_bytes: int | None = 2 * GIB) -> Target:
    return Target(
        asked_bytes=asked_bytes,
        at_bytes=2560 * MIB,
        from_bytes=4 * GIB,
        state=state,
        since_s=START_MONOTONIC_S + 20,
        asked_s=START_MONOTONIC_S,
        domain_id=1,
    )


def make_turned(state: TargetState) -> Target:
    turned = Turned(asked_bytes=GIB, at_bytes=1434 * MIB, reason="it swaps")
    return replace(make_target(state), turned=turned)


BACK = "asked 1.0G, rolled back at 1.4G"

CASES = [
    (make_target(TargetState.MOVING), "asked 2.0G, at 2.5G", "2.5G to 2.0G", "on its way for 30 s"),
    (make_target(TargetState.STUCK), "asked 2.0G, stuck at 2.5G", "stuck at 2.5G", "stuck at 2.5G for 10 s"),
    (make_target(TargetState.REACHED), "reached 2.5G", "reached 2.5G", "reached 2.5G, 10 s ago"),
    (
        make_target(TargetState.MOVED, None),
        "moved to 2.5G by another",
        "moved to 2.5G",
        "moved from 4.0G to 2.5G by somebody else or the guest, 10 s ago",
    ),
    (make_target(TargetState.MOVED), "moved to 2.5G by another", "moved to 2.5G", "vmtop had asked for 2.0G"),
    (make_turned(TargetState.MOVING), BACK, "rolled back", f"{BACK}: it swaps; at 2.5G on the way back to 2.0G"),
    (make_turned(TargetState.STUCK), BACK, "rolled back", f"{BACK}: it swaps; stuck at 2.5G on the way back to 2.0G"),
    (make_turned(TargetState.REACHED), BACK, "rolled back", f"{BACK}: it swaps; back at 2.5G, 10 s ago"),
    (
        make_turned(TargetState.MOVED),
        "moved to 2.5G by another",
        "moved to 2.5G",
        "moved from 4.0G to 2.5G by somebody else or the guest",
    ),
]


@pytest.mark.parametrize(("target", "long", "short", "sentence"), CASES)
def test_it_is_said_in_as_many_words_as_fit(target: Target, long: str, short: str, sentence: str) -> None:
    for width, words in ((40, long), (14, short)):
        line = target_spans(target, width)
        assert "".join(span.text for span in line).rstrip() == words
        assert line_width(line) == width
    assert sentence in target_words(target, NOW_S)


@pytest.mark.parametrize("width", range(2, 40))
def test_a_cell_is_exactly_as_wide_as_its_column(width: int) -> None:
    for target, *_ in CASES:
        assert line_width(target_spans(target, width)) == width


def test_the_row_has_it_in_the_place_of_the_bar_and_the_mark_before_the_name() -> None:
    target = make_target(TargetState.MOVING)
    frame = make_frame([make_vm(name="web-1"), make_vm(uuid=vm_uuid(2), name="web-2")])
    state = UiState(marked=frozenset({vm_uuid(2)}))
    table = build_table(frame, state, Order(), 80, {vm_uuid(1): target}, has_marks=True)
    rows = {vm.name: "".join(span.text for cell in table.row_spans(vm) for span in cell) for vm in table.rows}
    assert rows["web-1"].startswith(" web-1 ")
    assert "2.5G to 2.0G" in rows["web-1"]
    assert rows["web-2"].startswith("*web-2 ")
    assert len(set(map(len, rows.values()))) == 1


def test_a_wide_row_says_why_it_was_rolled_back_and_warns() -> None:
    assert target_spans(make_turned(TargetState.REACHED), 19)[0].text.rstrip() == "asked 1.0G, back"
    line = target_spans(make_turned(TargetState.REACHED), 60)
    assert line[0].text.rstrip() == f"{BACK}: it swaps"
    assert line[0].tone is Tone.WARN


def test_the_page_has_the_sentence() -> None:
    lines = build_vm_facts(make_frame([make_vm()]), vm_uuid(1), target=make_target(TargetState.STUCK))
    text = "\n".join("".join(span.text for span in line) for line in lines)
    assert "asked          asked 2.0G, stuck at 2.5G" in text
