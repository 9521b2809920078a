"""Which rows the table has, in which order, and in which columns."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.builders import make_frame, make_guest, make_off_vm, make_vm, vm_uuid
from tests.viewmodel.scenes import hostile_frame, text_of, troubled_frame
from vmtop.derive.frame import Frame
from vmtop.derive.metrics import VmMetrics
from vmtop.errors import UsageError
from vmtop.model.sample import VmSample, VmState
from vmtop.units import GIB, MIB
from vmtop.viewmodel.columns import COLUMNS, Column, column
from vmtop.viewmodel.tone import Tone
from vmtop.viewmodel.ui_state import UiState
from vmtop.viewmodel.vm_table import Order, Rows, TableView, build_table, check_filter

ALL_IDS = [each.id for each in COLUMNS]


def table_of(frame: Frame, width: int | None = 200, **state: object) -> TableView:
    return build_table(frame, UiState(**state), Order(), width)  # type: ignore[arg-type] # fields of UiState


def names(table: TableView) -> list[str]:
    return [vm.name for vm in table.rows]


def using(number: int, used_bytes: int, name: str | None = None) -> VmSample:
    """A VM of 4 GiB that uses so much."""
    guest = make_guest(usable_bytes=4 * GIB - used_bytes, free_bytes=min(768 * MIB, 4 * GIB - used_bytes))
    return make_vm(uuid=vm_uuid(number), name=name or f"vm-{number}", guest=guest)


def test_rows_stand_by_used_largest_first_and_unknown_ones_last() -> None:
    off, silent = (
        make_off_vm(name="off"),
        make_vm(uuid=vm_uuid(8), name="silent", guest=None, qemu=None, rss_bytes=None),
    )
    frame = make_frame([off, using(1, GIB), silent, using(2, 3 * GIB), using(3, 2 * GIB)])
    assert names(table_of(frame)) == ["vm-2", "vm-3", "vm-1", "off", "silent"]
    assert names(table_of(frame, is_reversed=True)) == ["vm-1", "vm-3", "vm-2", "off", "silent"]


def test_names_sort_from_a_to_z_whatever_their_case_and_equal_values_sort_by_name() -> None:
    frame = make_frame([using(1, GIB, "Zeta"), using(2, GIB, "alpha"), using(3, GIB, "Beta")])
    assert names(table_of(frame, sort_column="name")) == ["alpha", "Beta", "Zeta"]
    assert names(table_of(frame, sort_column="name", is_reversed=True)) == ["Zeta", "Beta", "alpha"]
    assert names(table_of(frame, sort_column="used")) == ["alpha", "Beta", "Zeta"]
    assert names(table_of(frame, sort_column="used", is_reversed=True)) == ["alpha", "Beta", "Zeta"]


@pytest.mark.parametrize("column_id", ALL_IDS)
@pytest.mark.parametrize("is_reversed", [True, False])
def test_every_column_sorts_all_vms(column_id: str, is_reversed: bool) -> None:
    frame = troubled_frame()
    table = table_of(frame, sort_column=column_id, is_reversed=is_reversed)
    assert sorted(names(table)) == sorted(vm.name for vm in frame.vms)
    values = [column(column_id).sort_value(vm) for vm in table.rows]
    known = [value for value in values if value is not None]
    assert values == [*known, *[None] * (len(values) - len(known))]
    assert known == sorted(known, reverse=is_reversed is column(column_id).is_ascending)


def test_the_order_stays_while_values_only_tremble() -> None:
    order, state = Order(), UiState()

    def order_of(one: int, other: int) -> list[str]:
        frame = make_frame([using(1, one * MIB), using(2, other * MIB)])
        return [vm.name for vm in build_table(frame, state, order, 80).rows]

    assert order_of(1000, 990) == ["vm-1", "vm-2"]
    assert order_of(980, 1020) == ["vm-1", "vm-2"]
    assert order_of(1000, 1100) == ["vm-2", "vm-1"]
    assert order_of(1060, 1090) == ["vm-2", "vm-1"]
    assert order_of(1000, 990) == ["vm-1", "vm-2"]


def test_the_order_forgets_what_it_held_when_another_column_sorts() -> None:
    order = Order()
    calm = make_frame([using(1, 1000 * MIB), using(2, 990 * MIB)])
    moved = make_frame([using(1, 980 * MIB), using(2, 1020 * MIB)])
    build_table(calm, UiState(), order, 80)
    build_table(moved, UiState(sort_column="name"), order, 80)
    assert [vm.name for vm in build_table(moved, UiState(), order, 80).rows] == ["vm-2", "vm-1"]


def test_the_order_follows_vms_that_come_go_and_change_places() -> None:
    order, state = Order(), UiState()
    first = make_frame([using(1, 1000 * MIB), using(2, 990 * MIB)])
    assert [vm.name for vm in build_table(first, state, order, 80).rows] == ["vm-1", "vm-2"]
    later = make_frame([using(3, 2000 * MIB), using(2, 1020 * MIB), using(1, 980 * MIB)])
    assert [vm.name for vm in build_table(later, state, order, 80).rows] == ["vm-3", "vm-1", "vm-2"]
    assert [vm.name for vm in build_table(make_frame([]), state, order, 80).rows] == []


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.lists(st.integers(0, 50), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_a_vm_is_never_out_of_order_by_more_than_noise(first: list[int], second: list[int]) -> None:
    order = Order()
    for amounts in (first, second):
        frame = make_frame([using(number, (100 + amount) * MIB) for number, amount in enumerate(amounts)])
        used = [vm.used_bytes or 0 for vm in build_table(frame, UiState(), order, 80).rows]
        assert all(below <= above * 1.11 for above, below in pairwise(used))


@pytest.mark.parametrize("is_reversed", [True, False])
def test_the_only_vm_that_moves_stands_by_name_among_those_that_equal_it_now(is_reversed: bool) -> None:
    order, state = Order(), UiState(is_reversed=is_reversed)
    use = {number: GIB if number % 2 else 2 * GIB for number in range(10, 60)}
    before = build_table(make_frame([using(*each) for each in use.items()]), state, order, 80)
    drawn = names(before)
    later = make_frame([using(*each) for each in (use | {30: GIB}).items()])
    equals = [f"vm-{number}" for number in use if number % 2 or number == 30]
    others = [f"vm-{number}" for number in use if f"vm-{number}" not in equals]
    expected = equals + others if is_reversed else others + equals
    assert names(build_table(later, state, order, 80)) == expected
    assert names(before) == drawn


class PlainOrder:
    """What `Order` promises, by sorting all over again."""

    def __init__(self) -> None:
        self._column_id = ""
        self._held: dict[str, Any] = {}

    def sort(self, vms: Sequence[VmMetrics], by: Column, *, is_reversed: bool) -> list[VmMetrics]:
        before = self._held if by.id == self._column_id else {}
        held = {vm.uuid: self._settle(by.sort_value(vm), before.get(vm.uuid)) for vm in vms}
        self._column_id, self._held = by.id, held
        by_name = sorted(vms, key=lambda vm: (vm.name.casefold(), vm.name, vm.uuid))
        known = [vm for vm in by_name if held[vm.uuid] is not None]
        known.sort(key=lambda vm: held[vm.uuid], reverse=is_reversed is by.is_ascending)
        return known + [vm for vm in by_name if held[vm.uuid] is None]

    @staticmethod
    def _settle(new: Any, old: Any) -> Any:
        if isinstance(new, str) or not new or not old:
            return new
        return old if 0.95 <= new / old <= 1.05 else new


class FleetInOrder(RuleBasedStateMachine):
    """Anything that may happen to VMs and their table, one thing per frame."""

    A_VM = replace(make_frame(1).vms[0], cache_bytes=103)
    INDEXES = st.sampled_from((0, 1, 2, 3, 20, 39, 70))
    AMOUNTS = st.sampled_from((None, 0, 95, 99, 100, 101, 104, 105, 106, 200))
    NAMES = st.sampled_from(("", "a", "A", "b", "B", "\u00df", "ss", "vm-7"))

    @initialize(count=st.sampled_from((0, 5, 40, 90)))
    def begin(self, count: int) -> None:
        self.fleet: list[VmMetrics] = []
        self.known = 0
        for number in range(count):
            self.join(f"vm-{number * 7 % 90}", (95, 100, 105, 200)[number % 4])
        self.order, self.plain = Order(), PlainOrder()
        self.by, self.is_reversed = column("used"), False
        self.drawn: tuple[Rows, list[str]] | None = None

    @rule(name=NAMES, amount=AMOUNTS)
    def join(self, name: str, amount: int | None) -> None:
        self.known += 1
        self.fleet.insert(0, replace(self.A_VM, uuid=vm_uuid(self.known), name=name, used_bytes=amount))

    @rule(index=INDEXES)
    def leave(self, index: int) -> None:
        del self.fleet[index : index + 1]

    @rule(index=INDEXES, name=NAMES)
    def rename(self, index: int, name: str) -> None:
        self.fleet[index : index + 1] = [replace(vm, name=name) for vm in self.fleet[index : index + 1]]

    @rule(index=INDEXES, count=st.integers(1, 3), amount=AMOUNTS)
    def use(self, index: int, count: int, amount: int | None) -> None:
        few = slice(index, index + count)
        self.fleet[few] = [replace(vm, used_bytes=amount) for vm in self.fleet[few]]

    @rule(times=st.sampled_from((0.5, 0.97, 1.03)))
    def shake(self, times: float) -> None:
        self.fleet = [replace(vm, used_bytes=vm.used_bytes and int(vm.used_bytes * times)) for vm in self.fleet]

    @rule()
    def reverse(self) -> None:
        self.is_reversed = not self.is_reversed

    @rule(column_id=st.sampled_from(("used", "cache", "name", "uuid")))
    def choose(self, column_id: str) -> None:
        self.by = column(column_id)

    @invariant()
    def the_order_is_that_of_sorting_all_over_again(self) -> None:
        rows = self.order.sort(self.fleet.copy(), self.by, is_reversed=self.is_reversed)
        wanted = [vm.uuid for vm in self.plain.sort(self.fleet, self.by, is_reversed=self.is_reversed)]
        assert [vm.uuid for vm in rows] == wanted
        if self.drawn is not None:
            before, drawn = self.drawn
            assert [vm.uuid for vm in before] == drawn, "rows that were drawn already have moved"
        self.drawn = rows, wanted


def test_whatever_happens_the_order_is_that_of_sorting_all_over_again() -> None:
    run_state_machine_as_test(FleetInOrder, settings=settings(max_examples=80, stateful_step_count=30, deadline=None))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["db-1", "Web-1", "web-2"]),
        ("WEB", ["Web-1", "web-2"]),
        ("-1", ["db-1", "Web-1"]),
        ("/^(db|web)-1$/", ["db-1", "Web-1"]),
        ("/^db", ["db-1"]),
        ("/", ["db-1", "Web-1", "web-2"]),
        ("[", []),
        ("none", []),
    ],
)
def test_the_filter_takes_part_of_a_name_or_an_expression_between_slashes(text: str, found: list[str]) -> None:
    frame = make_frame([using(1, GIB, "Web-1"), using(2, GIB, "web-2"), using(3, GIB, "db-1")])
    table = table_of(frame, filter_text=text, sort_column="name")
    assert names(table) == found
    assert table.filter_error is None


def test_a_filter_that_is_no_expression_hides_nothing_and_is_said() -> None:
    table = table_of(make_frame(3), filter_text="/(/")
    assert len(table.rows) == 3
    assert table.filter_error is not None
    assert "a ( is never closed" in table.filter_error
    with pytest.raises(UsageError, match="is never closed"):
        check_filter("/(/")
    check_filter("(")


def test_sums_are_those_of_the_rows_that_the_filter_leaves() -> None:
    frame = make_frame([using(1, GIB, "web-1"), using(2, 2 * GIB, "web-2"), using(3, 3 * GIB, "db")])
    table = table_of(frame, filter_text="web", columns=("used",))
    assert [text_of(line).strip() for line in table.totals()] == ["2 running", "3.00G"]


@pytest.mark.parametrize(
    ("width", "least"),
    [
        (60, {"name", "condition", "memory", "used", "maximum"}),
        (80, {"name", "condition", "memory", "used", "used%", "maximum", "rss", "swap-in"}),
        (
            200,
            set(ALL_IDS) - {"ksm-merged", "untouched", "hugetlb", "uuid"},
        ),
    ],
)
def test_narrow_screens_keep_the_columns_that_matter_most(width: int, least: set[str]) -> None:
    table = table_of(make_frame(14), width)
    shown = [each.id for each in table.columns[: table.fitting]]
    assert least <= set(shown)
    assert shown == [column_id for column_id in ALL_IDS if column_id in shown]
    assert {each.id for each in table.columns} == set(ALL_IDS)


@given(st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_the_columns_that_fit_do_fit_and_every_line_is_as_wide_as_they_are(width: int) -> None:
    table = table_of(hostile_frame(), width)
    assert sum(table.widths[: table.fitting]) <= max(width, table.widths[0])
    for cells in (table.header(), table.row_spans(table.rows[0]), table.totals()):
        assert tuple(len(text_of(line)) for line in cells)[1:] == table.widths[1:]


def test_chosen_columns_keep_their_order_with_the_name_in_front() -> None:
    table = table_of(make_frame(3), 30, columns=("rss", "used", "name", "rss", "cache"))
    assert [each.id for each in table.columns] == ["name", "rss", "used", "cache"]
    assert table.fitting == 3
    with pytest.raises(UsageError):
        table_of(make_frame(3), columns=("nonsense",))


def test_without_a_width_every_column_has_its_place() -> None:
    table = table_of(hostile_frame(), None)
    assert table.fitting == len(COLUMNS)
    assert table.widths[0] == 41


def test_a_part_of_the_columns_can_be_drawn_alone() -> None:
    table = table_of(make_frame(3))
    every, some = table.row_spans(table.rows[0]), table.row_spans(table.rows[0], 3, 5)
    assert some == [every[0], *every[3:5]]
    assert table.totals(3, 5) == [table.totals()[0], *table.totals()[3:5]]


def test_the_head_of_the_column_that_sorts_stands_out() -> None:
    table = table_of(make_frame(3), sort_column="rss")
    heads = {each.id: line[0].tone for each, line in zip(table.columns, table.header(), strict=True)}
    assert [column_id for column_id, tone in heads.items() if tone is Tone.SORTED] == ["rss"]


def test_a_filter_with_two_slashes_is_answered_with_how_it_is_written() -> None:
    with pytest.raises(UsageError, match=r"begins with one slash, as in /\^web/"):
        check_filter("//^web")


def test_no_name_moves_when_its_vm_is_marked() -> None:
    frame = make_frame([make_vm(name="web-1")])
    texts = []
    for marked in (frozenset[str](), frozenset({frame.vms[0].uuid})):
        table = build_table(frame, UiState(marked=marked), Order(), 80, has_marks=True)
        texts.append("".join(span.text for span in table.row_spans(table.rows[0])[0]))
    assert texts[0].index("web-1") == texts[1].index("web-1") == 1
    assert texts[1].startswith("*web-1")


def test_a_table_without_marks_keeps_no_room_for_them() -> None:
    table = build_table(make_frame([make_vm(name="web-1")]), UiState(), Order(), 80)
    assert table.row_spans(table.rows[0])[0][0].text.startswith("web-1")


def test_a_vm_that_was_migrated_away_says_that_it_moved() -> None:
    gone = make_vm(state=VmState.SHUTOFF, domain_id=None, state_reason="migrated")
    off = make_vm(uuid=vm_uuid(2), state=VmState.SHUTOFF, domain_id=None, state_reason="shutdown")
    table = build_table(make_frame([gone, off]), UiState(columns=("name", "condition")), Order(), 80)
    states = {vm.uuid: "".join(span.text for span in table.row_spans(vm)[1]).strip() for vm in table.rows}
    assert states == {vm_uuid(1): "off, moved", vm_uuid(2): "off"}
