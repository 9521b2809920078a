"""Every column: its cells, marks, sums and place in the order."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.builders import make_frame, make_off_vm, make_vm
from tests.viewmodel.scenes import hostile_frame, text_of, troubled_frame
from vmtop.derive.frame import Frame
from vmtop.derive.metrics import Condition, UsedSource, VmMetrics
from vmtop.derive.overview import derive_overview
from vmtop.errors import UsageError
from vmtop.units import GIB, MIB
from vmtop.viewmodel.columns import COLUMNS, CONDITION_TONES, WORST_FIRST, Column, column
from vmtop.viewmodel.tone import Tone

FRAME = troubled_frame()
ONE = make_frame([make_vm()]).vms[0]


def vm_named(name: str, frame: Frame = FRAME) -> VmMetrics:
    return next(vm for vm in frame.vms if vm.name == name)


def cell(column_id: str, vm: VmMetrics, width: int = 0) -> str:
    each = column(column_id)
    return text_of(each.spans(vm, width or each.width, True))


def total(column_id: str, vms: list[VmMetrics]) -> str:
    each = column(column_id)
    line = each.total(derive_overview(vms), each.width, True)
    return "" if line is None else text_of(line)


@pytest.mark.parametrize("each", COLUMNS, ids=lambda each: each.id)
@pytest.mark.parametrize("has_unicode", [True, False])
def test_every_cell_is_exactly_as_wide_as_its_column(each: Column, has_unicode: bool) -> None:
    for vm in (*FRAME.vms, *hostile_frame().vms):
        for width in (each.width, each.width + 7):
            line = each.spans(vm, width, has_unicode)
            assert cell_len(text_of(line)) == width, vm.name
            assert text_of(line).endswith(" "), vm.name
            assert has_unicode or text_of(line).isascii()
    summed = each.total(FRAME.overview, each.width, has_unicode)
    assert summed is None or cell_len(text_of(summed)) == each.width


@given(st.text(max_size=260), st.integers(2, 50), st.booleans())
def test_any_name_is_harmless_and_keeps_the_columns_straight(name: str, width: int, has_unicode: bool) -> None:
    shown = text_of(column("name").spans(replace(ONE, name=name), width, has_unicode))
    assert cell_len(shown) == width
    assert shown.isprintable()


def test_ids_titles_and_priorities_are_distinct_and_titles_are_short() -> None:
    assert COLUMNS[0].id == "name"
    for values in (
        [each.id for each in COLUMNS],
        [each.title for each in COLUMNS],
        [each.priority for each in COLUMNS],
    ):
        assert len(set(values)) == len(COLUMNS)
    assert all(len(each.title) <= 8 for each in COLUMNS)
    assert all(each.meaning and each.source for each in COLUMNS)


def test_an_unknown_column_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"'maximun'.*Did you mean 'maximum'"):
        column("maximun")
    assert column(" Used ").id == "used"


def test_every_condition_has_a_place_and_a_tone() -> None:
    assert set(WORST_FIRST) == set(CONDITION_TONES) == set(Condition)


def test_the_scene_shows_every_condition_that_two_readings_can_show() -> None:
    assert {vm.condition for vm in FRAME.vms} == set(Condition) - {Condition.THRASH}


def test_a_vm_that_is_off_has_dashes_and_counts_in_no_sum() -> None:
    off = make_frame([make_off_vm(name="dark")]).vms[0]
    for each in COLUMNS:
        if each.id not in {"name", "condition", "jobs", "uuid"}:
            assert text_of(each.spans(off, each.width, True)).strip() == "-", each.id
            assert each.sort_value(off) is None, each.id
    assert total("maximum", [ONE, off]).strip() == "4.00G"
    assert total("name", [ONE, off]).strip() == "1 running"


@pytest.mark.parametrize("each", [each for each in COLUMNS if each.unit], ids=lambda each: each.id)
def test_what_is_not_known_is_a_question_mark_and_never_a_number(each: Column) -> None:
    nothing: dict[str, Any] = dict.fromkeys((*each.fields, "used_bytes", "used_source"))
    unknown = replace(ONE, **nothing)
    assert text_of(each.spans(unknown, each.width, True)).strip() == "?"
    assert each.sort_value(unknown) is None
    assert total(each.id, [unknown]).strip() in {"?", ""}


def test_stale_figures_are_marked_and_host_figures_beside_them_are_not() -> None:
    stale = vm_named("old-figures")
    assert cell("used", stale) == "1.50G~ ".rjust(7)
    assert cell("cache", stale).strip() == "1.88G~"
    assert cell("age", stale).strip() == "65s~"
    assert cell("rss", stale).strip() == "3.00G"
    assert {span.tone for span in column("used").spans(stale, 7, True)[:1]} == {Tone.STALE}


def test_used_from_the_host_is_marked() -> None:
    silent = vm_named("no-driver")
    assert silent.used_source is UsedSource.HOST
    assert cell("used", silent).strip() == "3.00Gh"
    assert cell("used%", silent).strip() == "75%h"
    assert cell("cache", silent).strip() == "?"


def test_a_hung_vm_says_for_how_long() -> None:
    assert cell("condition", vm_named("hung")).strip() == "hung 34 s"
    long_hung = replace(vm_named("hung"), hung_s=99 * 86_400.0)
    assert cell("condition", long_hung).strip() == "hung 99 d"


def test_a_condition_colours_the_figure_that_explains_it_and_no_other() -> None:
    swapping = vm_named("db-1")
    assert column("swap-in").spans(swapping, 8, True)[0].tone is Tone.HARD
    assert column("rss").spans(swapping, 7, True)[0].tone is Tone.NORMAL
    assert column("used").spans(vm_named("mail"), 7, True)[0].tone is Tone.WARN


def test_sums_leave_out_stale_and_unknown_figures_and_say_so() -> None:
    web, stale, silent = vm_named("web-1"), vm_named("old-figures"), vm_named("no-driver")
    assert total("used", [web]).strip() == "1.50G"
    assert total("used", [web, stale]).strip() == "1.50G+"
    assert total("memory", [web, stale]).strip() == "1 not counted"
    assert total("cache", [web, silent]).strip() == "1.88G+"
    assert total("rss", [web, stale]).strip() == "6.00G"
    assert total("used%", [web, stale]).strip() == "38%"
    assert total("used", [stale]).strip() == "?"
    assert total("used", []).strip() == "0"


def test_jobs_are_said_in_words_with_their_progress() -> None:
    assert cell("jobs", vm_named("web-2")).strip() == "backup 30%"
    assert cell("jobs", vm_named("build")).strip() == "snapshot"
    assert total("jobs", list(FRAME.vms)).strip() == "2 running"


def test_the_bar_shows_all_of_the_maximum() -> None:
    vm = make_frame([make_vm(maximum_bytes=8 * GIB)]).vms[0]
    line = column("memory").spans(vm, 33, False)
    # 1.5 GiB used, 1.75 can be dropped, 0.75 free, 4 given back: 32 cells of 256 MiB.
    assert text_of(line) == "######=======...<<<<<<<<<<<<<<<< "
    assert [span.tone for span in line[:4]] == [Tone.BAR_USED, Tone.BAR_CACHE, Tone.BAR_FREE, Tone.BAR_GIVEN]


def test_the_bar_of_a_silent_guest_shows_what_nobody_knows() -> None:
    line = column("memory").spans(vm_named("no-driver"), 17, False)
    assert text_of(line) == "############???? "
    assert {span.tone for span in line[:-1]} == {Tone.STALE}


def test_the_worst_condition_sorts_first() -> None:
    by = column("condition")
    ranked = sorted(FRAME.vms, key=lambda vm: -float(by.sort_value(vm) or 0))
    assert [vm.condition for vm in ranked[:3]] == [Condition.CRASHED, Condition.HUNG, Condition.SWAPPING]
    assert ranked[-1].condition is Condition.OFF
    assert vm_named("web-1").used_bytes == 1536 * MIB
