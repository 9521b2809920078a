"""The table widget: what is drawn, and where mouse and keys lead."""

from collections.abc import Sequence

import pytest
from textual.events import MouseScrollDown, MouseScrollUp
from textual.geometry import Size

from tests.builders import make_frame
from tests.tui.screen import Stage
from vmtop.derive.metrics import VmMetrics
from vmtop.tui.screens.detail import DetailScreen
from vmtop.tui.widgets.vm_table import VmTable, lay_out
from vmtop.viewmodel.ui_state import UiState
from vmtop.viewmodel.vm_table import TableView

WIDTHS = (10, 6, 6, 8)
BY_NAME = UiState(sort_column="name")


@pytest.mark.parametrize(
    ("size", "left", "first", "last", "most_left", "body_rows"),
    [
        (Size(30, 10), 0, 1, 4, 0, 8),
        (Size(29, 10), 0, 1, 4, 1, 8),
        (Size(22, 4), 0, 1, 3, 2, 3),
        (Size(22, 4), 1, 2, 4, 2, 3),
        (Size(22, 4), 9, 3, 4, 2, 3),
        (Size(10, 2), 0, 1, 1, 2, 1),
        (Size(5, 1), 1, 2, 2, 2, 1),
        (Size(0, 0), 0, 1, 1, 2, 0),
    ],
)
def test_columns_and_rows_are_laid_out(
    size: Size, left: int, first: int, last: int, most_left: int, body_rows: int
) -> None:
    layout = lay_out(size, WIDTHS, left)
    assert (layout.first, layout.last) == (first, last)
    assert layout.most_left == most_left
    assert layout.body_rows == body_rows
    assert layout.cells == WIDTHS[0] + sum(WIDTHS[first:last])


def test_only_rows_in_sight_are_formatted(monkeypatch: pytest.MonkeyPatch) -> None:
    formatted: list[str] = []
    plain_row_spans = TableView.row_spans

    def row_spans(self: TableView, vm: VmMetrics, first: int = 1, last: int | None = None) -> Sequence[object]:
        formatted.append(vm.name)
        return plain_row_spans(self, vm, first, last)

    monkeypatch.setattr(TableView, "row_spans", row_spans)

    async def scene(stage: Stage) -> None:
        assert set(stage.names()) <= set(formatted)
        assert len(set(formatted)) < 30
        formatted.clear()
        await stage.press("down")
        assert sorted(formatted) == sorted(stage.names()[:2])

    Stage(make_frame(1_000), size=(100, 30), state=BY_NAME).play(scene)


def test_a_row_that_did_not_change_is_the_identical_strip() -> None:
    frame = make_frame(20)

    async def scene(stage: Stage) -> None:
        table = stage.app.screen.query_one(VmTable)
        before = [table.render_line(y) for y in range(1, 10)]
        await stage.press("N")
        await stage.publish(make_frame(20))
        assert all(table.render_line(y) is strip for y, strip in enumerate(before, 1))

    Stage(frame, state=BY_NAME).play(scene)


def test_names_stay_when_columns_scroll() -> None:
    async def scene(stage: Stage) -> None:
        table = stage.app.screen.query_one(VmTable)
        heads = [table.render_line(0).text]
        for presses in (1, 1, 20, 1):
            await stage.press(*["right"] * presses)
            heads.append(table.render_line(0).text)
        assert all(head.startswith(" NAME") for head in heads)
        assert "UUID" in heads[-1]
        assert "USED" not in heads[-1]
        assert len(set(heads)) == 4
        assert heads[-1] == heads[-2]
        await stage.press(*["left"] * 24)
        assert table.render_line(0).text == heads[0]

    Stage(make_frame(3), size=(80, 24)).play(scene)


def test_a_click_on_a_head_of_scrolled_columns_sorts_by_what_is_seen() -> None:
    async def scene(stage: Stage) -> None:
        table = stage.app.screen.query_one(VmTable)
        await stage.press("right", "right", "right")
        head = table.render_line(0).text
        await stage.pilot.click(VmTable, offset=(head.index("MAX"), 0))
        await stage.pilot.pause()
        assert stage.app._state.sort_column == "maximum"

    Stage(make_frame(3), size=(80, 24)).play(scene)


def test_the_wheel_scrolls_and_leaves_the_cursor_where_it_is() -> None:
    async def scene(stage: Stage) -> None:
        table = stage.app.screen.query_one(VmTable)
        await stage.pilot._post_mouse_events([MouseScrollDown], VmTable, (5, 5))
        await stage.pilot.pause()
        assert stage.names()[0] == "vm-0004"
        assert table.cursor_vm is not None
        assert table.cursor_vm.name == "vm-0001"
        await stage.publish(make_frame(100, at_s=10))
        assert stage.names()[0] == "vm-0004"
        await stage.pilot._post_mouse_events([MouseScrollUp], VmTable, (5, 5))
        await stage.pilot.pause()
        assert stage.names()[0] == "vm-0001"

    Stage(make_frame(100), size=(80, 24), state=BY_NAME).play(scene)


def test_enter_and_double_click_open_the_page_of_the_vm() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("down", "enter")
        assert isinstance(stage.app.screen, DetailScreen)
        assert stage.app.screen._uuid == make_frame(3).vms[1].uuid
        await stage.press("escape")
        await stage.pilot.double_click(VmTable, offset=(2, 3))
        await stage.pilot.pause()
        assert isinstance(stage.app.screen, DetailScreen)
        assert stage.app.screen._uuid == make_frame(3).vms[2].uuid

    Stage(make_frame(3), state=BY_NAME).play(scene)


def test_enter_and_double_click_on_the_header_open_the_page_of_the_host() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("up", "enter")
        assert isinstance(stage.app.screen, DetailScreen)
        assert stage.app.screen._uuid is None
        await stage.press("escape")
        await stage.pilot.double_click("#summary", offset=(2, 0))
        await stage.pilot.pause()
        assert isinstance(stage.app.screen, DetailScreen)
        assert stage.app.screen._uuid is None

    Stage(make_frame(3)).play(scene)


def test_totals_are_those_of_what_the_filter_leaves() -> None:
    async def scene(stage: Stage) -> None:
        assert "1-3/3" in stage.line_with("/3 ")
        everything = stage.line_with("1-3/3")
        await stage.press("slash", *"vm-0001", "enter")
        assert stage.line_with("1-1/1").split()[1:] != everything.split()[1:]

    Stage(make_frame(3)).play(scene)


def test_an_empty_table_says_why() -> None:
    async def scene(stage: Stage) -> None:
        assert stage.line_with("There are no VMs here")
        await stage.press("slash", "x")
        assert stage.line_with("No name matches the filter")

    Stage(make_frame(0)).play(scene)
