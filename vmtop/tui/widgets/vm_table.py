"""The table of VMs: draws the rows that can be seen, and no others."""

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import NamedTuple

from textual import events
from textual.geometry import Region, Size, clamp
from textual.strip import Strip

from vmtop.derive.metrics import VmMetrics
from vmtop.tui.messages import CursorMoved, PageOpened, SortChosen
from vmtop.tui.theme import Ground, Palette
from vmtop.tui.widgets.lines import WHEEL_ROWS, LineWidget
from vmtop.viewmodel.formats import fit
from vmtop.viewmodel.status import build_emptiness
from vmtop.viewmodel.tone import Line, Span, Tone
from vmtop.viewmodel.vm_table import RowExtras, TableView


class Layout(NamedTuple):
    """What goes where in the widget. It is kept, since Textual looks a size up in the whole screen each time."""

    width: int
    head_rows: int
    body_rows: int
    """Rows for VMs; heads are above them, totals below."""
    most_left: int
    """So many columns after the name can scroll out of sight before the last one is seen in full."""
    first: int
    last: int
    """Besides the name, `columns[first:last]` are seen, the last of them perhaps in part."""
    cells: int
    """Width of the columns that are seen, the name included."""


def lay_out(size: Size, widths: Sequence[int], left: int) -> Layout:
    """Divide a widget of this size between columns of these widths, `left` of them scrolled out of sight."""
    name_width, *others = widths or (0,)
    room = size.width - name_width
    in_full = sum(1 for reached in accumulate(reversed(others)) if reached <= room)
    most_left = max(0, len(others) - max(1, in_full))
    first = last = 1 + min(left, most_left)
    cells = name_width
    while last < len(widths) and cells < size.width:
        cells += widths[last]
        last += 1
    head_rows = 1 if size.height >= 2 else 0
    totals_rows = 1 if size.height >= 5 else 0
    body_rows = size.height - head_rows - totals_rows
    return Layout(size.width, head_rows, body_rows, most_left, first, last, cells)


class _DrawnRow(NamedTuple):
    vm: VmMetrics
    extras: RowExtras
    ground: Ground
    strip: Strip


class VmTable(LineWidget, can_focus=True):
    """Heads of columns, rows with a cursor, and totals; the name column stays when the others scroll.

    The cursor follows its VM when rows move. When the VM is gone, or filtered out, the cursor waits in its place.
    """

    def __init__(self) -> None:
        super().__init__()
        self._table: TableView | None = None
        self._palette: Palette | None = None
        self._is_stale = False
        self._top = 0
        self._left = 0
        """Columns after the name that are scrolled out of sight."""
        self._cursor = 0
        self._is_cursor_shown = True
        self._look: tuple[object, ...] = ()
        """What the look of a row depends on, besides its VM."""
        self._size_drawn = Size()
        self._layout = lay_out(Size(), (), 0)
        self._drawn: dict[str, _DrawnRow] = {}
        self._totals: list[Line] | None = None

    # -- what is shown

    def show_table(self, table: TableView, palette: Palette, *, is_stale: bool) -> None:
        """Draw this table; cells are formatted when their row is drawn."""
        if table is self._table and palette is self._palette and is_stale == self._is_stale:
            return
        was_in_sight = self._is_in_sight(self._cursor)
        self._table, self._palette, self._is_stale, self._totals = table, palette, is_stale, None
        look = table.columns, table.widths, table.state.has_unicode, palette, is_stale
        if look != self._look:
            self._look = look
            self._lay_out()
        self._cursor = self._find_cursor(table.rows, table.state.cursor_uuid)
        self._scroll_rows_to(self._top)
        if was_in_sight:
            self._scroll_to_cursor()
        self.refresh()

    def show_cursor(self, is_shown: bool) -> None:
        """Draw the cursor, or draw none because it is elsewhere on the screen."""
        if is_shown != self._is_cursor_shown:
            self._is_cursor_shown = is_shown
            self.refresh()

    @property
    def cursor_vm(self) -> VmMetrics | None:
        """The VM under the cursor. None where there are no rows."""
        rows = self._rows
        return rows[self._cursor] if rows else None

    @property
    def is_on_first_row(self) -> bool:
        """The cursor cannot go further up."""
        return self._cursor == 0

    # -- what the operator does

    def move_rows(self, step: int) -> None:
        """Move the cursor so many rows down, or up if below zero."""
        self._move_cursor(self._cursor + step)

    def move_pages(self, step: int) -> None:
        """Move the cursor and the rows so many pages down."""
        rows = step * max(1, self._layout.body_rows - 1)
        self._scroll_rows_to(self._top + rows)
        self._move_cursor(self._cursor + rows)

    def move_to_end(self, direction: int) -> None:
        """Move the cursor to the last row, or to the first if below zero."""
        self._move_cursor(len(self._rows) if direction > 0 else 0)

    def move_columns(self, step: int) -> None:
        """Show the columns so many places to the right."""
        left = clamp(self._left + step, 0, self._layout.most_left)
        if left != self._left:
            self._left = left
            self._lay_out()
            self.refresh()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll without moving the cursor."""
        self._scroll_by_wheel(event, WHEEL_ROWS)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll without moving the cursor."""
        self._scroll_by_wheel(event, -WHEEL_ROWS)

    def on_click(self, event: events.Click) -> None:
        """Sort by the head, move to the row, or open its page with the second click."""
        event.stop()
        if event.y < self._layout.head_rows:
            column_id = self._column_at(event.x)
            if column_id is not None:
                self.post_message(SortChosen(column_id, can_reverse=True))
            return
        row = self._top + event.y - self._layout.head_rows
        if event.y >= self._layout.head_rows + self._layout.body_rows or row >= len(self._rows):
            return
        self._move_cursor(row, is_told=True)
        if event.chain == 2 and self.cursor_vm is not None:
            self.post_message(PageOpened(self.cursor_vm.uuid))

    # -- what goes where

    @property
    def _rows(self) -> Sequence[VmMetrics]:
        return () if self._table is None else self._table.rows

    def _lay_out(self) -> None:
        """Take in another size, other columns, or another scroll position."""
        self._layout = lay_out(self._size_drawn, () if self._table is None else self._table.widths, self._left)
        self._left = min(self._left, self._layout.most_left)
        self._drawn.clear()
        self._totals = None

    def _column_at(self, x: int) -> str | None:
        if self._table is None:
            return None
        shown = list(zip(self._table.columns, self._table.widths, strict=True))
        for column, width in shown[:1] + shown[self._layout.first : self._layout.last]:
            if x < width:
                return column.id
            x -= width
        return None

    # -- cursor and scrolling

    def _find_cursor(self, rows: Sequence[VmMetrics], uuid: str | None) -> int:
        if not rows:
            return 0
        near = min(self._cursor, len(rows) - 1)
        if uuid is None or rows[near].uuid == uuid:
            return near
        return next((index for index, vm in enumerate(rows) if vm.uuid == uuid), near)

    def _is_in_sight(self, row: int) -> bool:
        return self._top <= row < self._top + self._layout.body_rows

    def _move_cursor(self, row: int, *, is_told: bool = False) -> None:
        row = clamp(row, 0, max(0, len(self._rows) - 1))
        if row != self._cursor or is_told:
            self._cursor = row
            if self.cursor_vm is not None:
                self.post_message(CursorMoved(self.cursor_vm.uuid))
        self._scroll_to_cursor()
        self.refresh()

    def _scroll_to_cursor(self) -> None:
        if self._cursor < self._top:
            self._scroll_rows_to(self._cursor)
        elif not self._is_in_sight(self._cursor):
            self._scroll_rows_to(self._cursor - self._layout.body_rows + 1)

    def _scroll_rows_to(self, top: int) -> None:
        self._top = clamp(top, 0, max(0, len(self._rows) - self._layout.body_rows))

    def _scroll_by_wheel(self, event: events.MouseEvent, rows: int) -> None:
        event.stop()
        self._scroll_rows_to(self._top + rows)
        self.refresh()

    # -- drawing

    def render_lines(self, crop: Region) -> list[Strip]:
        """The rows that Textual wants to draw; a size that is new, with the cursor in sight."""
        size = self.size
        if size != self._size_drawn:
            self._size_drawn = size
            self._lay_out()
            self._scroll_rows_to(self._top)
            self._scroll_to_cursor()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """The head, a row, or the totals."""
        table, palette, layout = self._table, self._palette, self._layout
        if table is None or palette is None:
            return Strip.blank(self.size.width)
        if y < layout.head_rows:
            name, *heads = table.header()
            return self._draw_cells([name, *heads[layout.first - 1 : layout.last - 1]], Ground.HEAD, palette)
        if y >= layout.head_rows + layout.body_rows:
            return self._draw_cells(self._make_totals(table), Ground.TOTAL, palette)
        row = self._top + y - layout.head_rows
        if row < len(table.rows):
            return self._draw_row(row, table, palette)
        reason = build_emptiness(table.state, layout.width) if row == 0 else ()
        return Strip(palette.segments(reason)).adjust_cell_length(layout.width, palette.blank())

    def _draw_row(self, row: int, table: TableView, palette: Palette) -> Strip:
        vm = table.rows[row]
        ground = Ground.CURSOR if row == self._cursor and self._is_cursor_shown else Ground.PLAIN
        extras = table.extras(vm)
        drawn = self._drawn.get(vm.uuid)
        if drawn is not None and drawn.ground is ground and drawn.extras == extras and drawn.vm == vm:
            return drawn.strip
        strip = self._draw_cells(table.row_spans(vm, self._layout.first, self._layout.last), ground, palette)
        if len(self._drawn) > 4 * self._layout.body_rows:
            self._drawn.clear()
        self._drawn[vm.uuid] = _DrawnRow(vm, extras, ground, strip)
        return strip

    def _draw_cells(self, cells: Sequence[Line], ground: Ground, palette: Palette) -> Strip:
        """Cells of all columns in sight, as wide as their columns."""
        segments = palette.segments(chain.from_iterable(cells), ground, is_stale=self._is_stale)
        return Strip(segments, self._layout.cells).adjust_cell_length(self._layout.width, palette.blank(ground))

    def _make_totals(self, table: TableView) -> list[Line]:
        """The totals, with what part of the rows is seen in the place of the name."""
        if self._totals is None:
            self._totals = table.totals(self._layout.first, self._layout.last)
        last = min(len(table.rows), self._top + self._layout.body_rows)
        seen = f"{min(self._top + 1, last)}-{last}/{len(table.rows)}"
        width = table.widths[0]
        return [(Span(fit(seen, width - 1) + " ", Tone.TITLE),), *self._totals[1:]]
