"""The main screen: the host above, the table of VMs, and a line that tells the state of the view or asks."""

from textual.app import ComposeResult

from vmtop.config import check_delay, parse_number
from vmtop.derive.frame import Frame
from vmtop.errors import UsageError
from vmtop.tui.keymap import Pointed, Scope, bindings, table_hints
from vmtop.tui.messages import (
    CursorMoved,
    DelayChosen,
    FilterChanged,
    MarksCleared,
    MarkToggled,
    PageOpened,
    SortChosen,
    SortMoved,
    SortReversed,
)
from vmtop.tui.screens.acting import ActingScreen, urgent_keys, useless_keys
from vmtop.tui.view import View
from vmtop.tui.widgets.lines import TextLines
from vmtop.tui.widgets.notice_lines import NoticeLines
from vmtop.tui.widgets.prompt import Prompt
from vmtop.tui.widgets.summary_header import SummaryHeader
from vmtop.tui.widgets.vm_table import VmTable
from vmtop.viewmodel.status import Notice, build_status
from vmtop.viewmodel.summary import summary_rows
from vmtop.viewmodel.tone import Tone
from vmtop.viewmodel.vm_table import TableView, build_table


class MainScreen(ActingScreen):
    """What vmtop shows when it opens."""

    BINDINGS = bindings(Scope.TABLE, Scope.MOVE, Scope.VM, Scope.BALLOON, Scope.UNDO)
    AUTO_FOCUS = "VmTable"

    def __init__(self, view: View) -> None:
        """`view`: what the first picture shows."""
        super().__init__()
        self._view = view
        self._header = SummaryHeader(id="summary")
        self._vms = VmTable()
        self._notice = NoticeLines(id="notice")
        self._status = TextLines(id="status")
        self._prompt = Prompt()
        self._table: TableView | None = None
        self._table_made_of: tuple[object, ...] = ()
        self._header_rows = 0
        """The header grows with what there is to say and keeps its height until the terminal has another size: rows of
        the table must not jump."""
        self._is_on_header = False
        self._is_filtering = False
        """The open prompt asks for a filter, not for a delay."""

    def compose(self) -> ComposeResult:
        """From top to bottom; the prompt takes the place of the status line while it asks."""
        yield self._header
        yield self._vms
        yield self._notice
        yield self._status
        yield self._prompt

    def on_mount(self) -> None:
        """Draw before anything is laid out, so that this happens once. Nothing is asked yet."""
        self._prompt.display = False
        self._draw(self._view)

    # -- drawing

    def show(self, view: View) -> None:
        """Draw the view."""
        self._view = view
        self._draw(view)

    def on_resize(self) -> None:
        """Lay everything out anew."""
        self._header_rows = 0
        self._draw(self._view)

    def _draw(self, view: View) -> None:
        self._draw_header(view)
        if view.frame is not None:
            self._draw_table(view, view.frame)
        self._draw_status(view)

    def _draw_header(self, view: View) -> None:
        lines = self.make_summary(view, summary_rows(self.app.size.height))
        if len(lines) > self._header_rows:
            self._header_rows = len(lines)
            self._header.styles.height = len(lines)
        self._header.show_lines(lines, view.palette, cursor=0 if self._is_on_header else None)

    def _draw_table(self, view: View, frame: Frame) -> None:
        width = self.app.size.width
        made_of = frame, view.state, width, view.targets
        if self._table is None or made_of != self._table_made_of:
            self._table = build_table(frame, view.state, view.order, width, view.targets, has_marks=True)
            self._table_made_of = made_of
        self._vms.show_table(self._table, view.palette, is_stale=view.is_stale)
        if self._is_filtering:
            self._prompt.complain(self._table.filter_error or "")

    def _draw_status(self, view: View) -> None:
        error = None if self._table is None else self._table.filter_error
        notice = view.notice
        if notice is None and error is not None and not self._prompt.display:
            notice = Notice(f"all VMs are shown: {error}", Tone.WARN)
        self._notice.show_notice(notice, view.palette, self.app.size, has_unicode=view.state.has_unicode)
        line = build_status(
            view.state,
            interval_s=view.reading.interval_s,
            paused_s=view.paused_s,
            filter_error=error,
            hints=self._make_hints(view),
            width=self.app.size.width,
        )
        self._status.show_lines((line,), view.palette)

    def _make_hints(self, view: View) -> list[tuple[str, str]]:
        vm = None if self._is_on_header else self._vms.cursor_vm
        pointed = Pointed.HOST if vm is None else Pointed.VM
        if view.state.marked and self.chosen() != (self.pointed(),):
            vm, pointed = None, Pointed.MARKED
        first = (*(("clear-filter",) if view.state.filter_text else ()), *urgent_keys(view, vm))
        return table_hints(view.keys, pointed, first=first, drop=useless_keys(view, vm))

    # -- moving

    def action_move_rows(self, step: int) -> None:
        """Move between VMs, and from the first one to the header and back."""
        if self._is_on_header or (step < 0 and self._vms.is_on_first_row):
            self._select_header(step < 0)
        else:
            self._vms.move_rows(step)

    def action_move_pages(self, step: int) -> None:
        """Move by a screenful of VMs."""
        self._select_header(False)
        self._vms.move_pages(step)

    def action_move_to_end(self, direction: int) -> None:
        """Move to the first or last VM."""
        self._select_header(False)
        self._vms.move_to_end(direction)

    def action_move_columns(self, step: int) -> None:
        """Scroll the columns."""
        self._vms.move_columns(step)

    def on_summary_header_selected(self) -> None:
        """Move to the header."""
        self._select_header(True)

    def on_cursor_moved(self, _message: CursorMoved) -> None:
        """Leave the header for the VM that was clicked; another VM may have other keys."""
        self._select_header(False)
        self._draw_status(self._view)

    def _select_header(self, is_selected: bool) -> None:
        if is_selected == self._is_on_header:
            return
        self._is_on_header = is_selected
        self._vms.show_cursor(not is_selected)
        self._draw_header(self._view)
        self._draw_status(self._view)

    # -- what is asked of the app

    def action_open_page(self) -> None:
        """Open the page of the host or of the VM under the cursor."""
        vm = self._vms.cursor_vm
        if self._is_on_header:
            self.post_message(PageOpened(None))
        elif vm is not None:
            self.post_message(PageOpened(vm.uuid))

    def pointed(self) -> str | None:
        """The VM under the cursor."""
        vm = self._vms.cursor_vm
        return None if vm is None or self._is_on_header else vm.uuid

    def chosen(self) -> tuple[str, ...]:
        """The marked VMs in their order, without any the one under the cursor; none that a filter hides."""
        marked, vm = self._view.state.marked, self._vms.cursor_vm
        shown = () if self._table is None or not marked else self._table.rows
        seen = tuple(each.uuid for each in shown if each.uuid in marked)
        return seen or (() if vm is None or self._is_on_header else (vm.uuid,))

    def action_toggle_mark(self) -> None:
        """Mark the VM under the cursor, or not any more, and go on to the next one."""
        vm = self._vms.cursor_vm
        if vm is None or self._is_on_header:
            return
        self._vms.move_rows(1)
        next_vm = self._vms.cursor_vm or vm
        self.post_message(MarkToggled(vm.uuid, next_vm.uuid))

    def action_clear_marks(self) -> None:
        """Mark no VM any more."""
        self.post_message(MarksCleared())

    def action_sort_by(self, column_id: str) -> None:
        """Sort by this column, in its own direction."""
        self.post_message(SortChosen(column_id))

    def action_move_sort(self, step: int) -> None:
        """Sort by a column further left or right, among those that fit on the screen: the mark must be seen."""
        if self._table is not None:
            shown = self._table.columns[: self._table.fitting]
            self.post_message(SortMoved(step, tuple(column.id for column in shown)))

    def action_reverse_sort(self) -> None:
        """Sort the other way round."""
        self.post_message(SortReversed())

    def action_clear_filter(self) -> None:
        """Show all VMs."""
        self.post_message(FilterChanged(""))

    # -- asking the operator

    def action_ask_filter(self) -> None:
        """Let the operator type a filter; it works while it is typed."""
        self._ask(is_filter=True)

    def action_ask_delay(self) -> None:
        """Let the operator type a delay."""
        self._ask(is_filter=False)

    def _ask(self, *, is_filter: bool) -> None:
        state = self._view.state
        self._is_filtering = is_filter
        self._status.display, self._prompt.display = False, True
        if is_filter:
            self._prompt.ask("Show names with: ", state.filter_text, self._view.palette)
        else:
            self._prompt.ask(f"Delay (now {state.delay_s:g} s): ", "", self._view.palette)

    def _stop_asking(self) -> None:
        self._status.display, self._prompt.display = True, False
        self._vms.focus()
        self._draw_status(self._view)

    def on_prompt_edited(self, message: Prompt.Edited) -> None:
        """Filter by what was typed so far."""
        message.stop()
        if self._is_filtering:
            self.post_message(FilterChanged(message.text))

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        """Keep the filter, or change the delay; what makes no sense can be put right."""
        message.stop()
        if not self._is_filtering and message.text.strip():
            try:
                seconds = check_delay(parse_number(message.text, "delay"), "delay")
            except UsageError as error:
                self._prompt.complain(str(error))
                return
            self.post_message(DelayChosen(seconds))
        self._stop_asking()

    def on_prompt_cancelled(self, message: Prompt.Cancelled) -> None:
        """Show all VMs, or leave the delay as it is."""
        message.stop()
        if self._is_filtering:
            self.post_message(FilterChanged(""))
        self._stop_asking()
