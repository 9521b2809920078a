"""The page of one VM or of the host: what is known in words, and charts of the last minutes."""

from enum import Enum
from itertools import dropwhile, takewhile

from textual.app import ComposeResult
from textual.containers import Container
from textual.geometry import clamp

from vmtop.derive.frame import Frame
from vmtop.derive.metrics import VmMetrics
from vmtop.tui.keymap import Pointed, Scope, bindings, page_hints, scroll_keys
from vmtop.tui.messages import CursorMoved
from vmtop.tui.screens.acting import ActingScreen, urgent_keys, useless_keys
from vmtop.tui.view import View
from vmtop.tui.widgets.chart import Charts
from vmtop.tui.widgets.lines import TextLines
from vmtop.tui.widgets.notice_lines import NoticeLines
from vmtop.viewmodel.chart import ChartPage, build_host_charts, build_vm_charts
from vmtop.viewmodel.facts import build_host_facts, build_vm_facts
from vmtop.viewmodel.formats import format_duration
from vmtop.viewmodel.status import build_more, build_status
from vmtop.viewmodel.tone import Line
from vmtop.viewmodel.vm_table import select_rows

WIDE_CELLS = 120
"""From this width on words and charts stand side by side."""
LEAST_FACT_CELLS, MOST_FACT_CELLS = 48, 72
"""Width of words beside charts, which get at least three fifths of the screen."""
CHART_ROWS = 11
"""Rows that three charts need to tell something; words above them get half of the page where these are left."""
LEAST_FACT_ROWS = 5
MOST_HEAD_ROWS = 3
_OF_A_VM = frozenset({"next-vm", "balloon-down", "balloon-up"})
SHORT_ROWS, TALL_ROWS = 12, 30
"""Heights below which every line counts, and from which there is room for blank ones."""


class Parts(Enum):
    """What of the page is in sight."""

    BOTH = "both"
    CHARTS = "charts"
    FACTS = "facts"


class DetailScreen(ActingScreen):
    """Lies above the table; the arrow keys turn to the page of the VM before or after."""

    BINDINGS = bindings(Scope.MOVE, Scope.PAGE, Scope.DETAIL, Scope.VM, Scope.BALLOON, Scope.UNDO)
    DEFAULT_CSS = """
    DetailScreen #page { height: 1fr; }
    DetailScreen #page.-beside { layout: horizontal; }
    """

    def __init__(self, uuid: str | None) -> None:
        """`uuid`: of the VM, None for the host."""
        super().__init__()
        self._uuid = uuid
        self._summary = TextLines(id="summary")
        self._head = TextLines(id="head")
        self._page = Container(id="page")
        self._words = Container(id="words")
        self._facts = TextLines(id="facts")
        self._more = TextLines(id="position")
        self._charts = Charts(id="charts")
        self._notice = NoticeLines(id="notice")
        self._status = TextLines(id="status")
        self._fact_rows = 0
        """Lines of words, and how many of them have room."""
        self._room_rows = 0
        self._head_lines = 1
        """The head grows with what there is to say and keeps its height: what is below it must not jump."""
        self._said_rows = 0
        self._parts = Parts.BOTH
        self._view: View | None = None
        self._made_of: tuple[object, ...] = ()
        """What the page that is shown was made of."""

    def compose(self) -> ComposeResult:
        """A line about the host, who this is, words and charts, what happened, the keys."""
        yield self._summary
        yield self._head
        with self._page:
            with self._words:
                yield self._facts
                yield self._more
            yield self._charts
        yield self._notice
        yield self._status

    def show(self, view: View) -> None:
        """Draw the view."""
        self._view = view
        self._draw(view)

    def on_resize(self) -> None:
        """Lay everything out anew."""
        self._head_lines = 1
        if self._view is not None:
            self._draw(self._view)

    # -- drawing

    def _draw(self, view: View) -> None:
        self._draw_summary(view)
        self._draw_status(view)
        if view.frame is not None:
            end = self._end_of_time(view, view.frame)
            look = (
                self._uuid,
                self._parts,
                self.size,
                self._summary_rows,
                self._said_rows,
                view.state.has_unicode,
                view.palette,
                view.is_stale,
                end,
                None if self._uuid is None else view.targets.get(self._uuid),
            )
            if self._made_of != (view.frame, look):
                self._made_of = view.frame, look
                self._draw_page(view, view.frame)
        self._draw_more(view)

    def _draw_summary(self, view: View) -> None:
        lines = self.make_summary(view, self._summary_rows)
        self._summary.styles.height = self._summary_rows
        self._summary.show_lines(lines, view.palette)

    def _draw_page(self, view: View, frame: Frame) -> None:
        width = self.size.width
        head = tuple(takewhile(bool, self._make_facts(view, frame, width)))
        self._head_lines = max(self._head_lines, min(len(head), MOST_HEAD_ROWS))
        if self._is_beside:
            width = self._fact_cells - 2
        facts = tuple(dropwhile(bool, self._make_facts(view, frame, width)))[1:]
        self._lay_out(len(facts))
        self._head.show_lines(head, view.palette)
        self._facts.show_lines(facts, view.palette, is_stale=view.is_stale)
        self._charts.show_charts(
            lambda columns: self._make_charts(view, frame, columns),
            view.palette,
            has_right_scale=self._uuid is not None,
            has_unicode=view.state.has_unicode,
            is_stale=view.is_stale,
        )

    def _make_facts(self, view: View, frame: Frame, width: int) -> tuple[Line, ...]:
        has_unicode = view.state.has_unicode
        if self._uuid is None:
            return build_host_facts(frame, width=width, has_unicode=has_unicode, policy=view.policy)
        target = view.targets.get(self._uuid)
        return build_vm_facts(frame, self._uuid, width=width, has_unicode=has_unicode, target=target)

    def _make_charts(self, view: View, frame: Frame, columns: int) -> ChartPage:
        end, has_unicode = self._end_of_time(view, frame), view.state.has_unicode
        if self._uuid is None:
            return build_host_charts(frame, view.history, columns=columns, end=end, has_unicode=has_unicode)
        return build_vm_charts(frame, view.history, self._uuid, columns=columns, end=end, has_unicode=has_unicode)

    def _end_of_time(self, view: View, frame: Frame) -> str:
        """What to write under the newest figures."""
        age_s = view.now_monotonic_s - frame.sample.monotonic_s
        return f"{format_duration(age_s)} ago" if view.is_stale or view.paused_s is not None else "now"

    def _draw_more(self, view: View) -> None:
        """Say which of the words are in sight, where not all are."""
        first = min(self._facts.top, max(0, self._fact_rows - self._room_rows)) + 1
        seen = first, min(self._fact_rows, first + self._room_rows - 1), self._fact_rows
        self._more.display = self._room_rows < self._fact_rows
        width = self._fact_cells - 2 if self._is_beside else self.size.width
        line = build_more(seen, scroll_keys(view.keys), width=width, has_unicode=view.state.has_unicode)
        self._more.show_lines((line,), view.palette)

    def on_text_lines_scrolled(self) -> None:
        """Other words are in sight."""
        if self._view is not None:
            self._draw_more(self._view)

    def _draw_status(self, view: View) -> None:
        self._said_rows = self._notice.show_notice(
            view.notice, view.palette, self.size, has_unicode=view.state.has_unicode
        )
        vm = self._find_vm(view)
        line = build_status(
            view.state,
            interval_s=view.reading.interval_s,
            paused_s=view.paused_s,
            filter_error=None,
            hints=page_hints(
                view.keys,
                Pointed.HOST if self._uuid is None else Pointed.VM,
                first=urgent_keys(view, vm),
                drop=useless_keys(view, vm) | (_OF_A_VM if self._uuid is None else frozenset()),
            ),
            width=self.size.width,
        )
        self._status.show_lines((line,), view.palette)

    def _find_vm(self, view: View) -> VmMetrics | None:
        if view.frame is None or self._uuid is None:
            return None
        return next((vm for vm in view.frame.vms if vm.uuid == self._uuid), None)

    # -- layout

    @property
    def _is_wide(self) -> bool:
        return self.size.width >= WIDE_CELLS

    @property
    def _fact_cells(self) -> int:
        return clamp(self.size.width * 2 // 5, LEAST_FACT_CELLS, MOST_FACT_CELLS)

    @property
    def _summary_rows(self) -> int:
        """The host in a line; while nothing can be read one more, which says so."""
        is_failing = self._view is not None and self._view.reading.failure is not None
        return 2 if is_failing else 1

    @property
    def _head_rows(self) -> int:
        """Name and condition; one line on a short screen, a blank line below on a tall one."""
        if self.size.height < SHORT_ROWS:
            return 1
        return self._head_lines + (self.size.height >= TALL_ROWS)

    @property
    def _page_rows(self) -> int:
        return self.size.height - self._summary_rows - self._head_rows - self._said_rows - 1

    @property
    def _has_room_for_both(self) -> bool:
        return self._is_wide or self._page_rows >= CHART_ROWS + LEAST_FACT_ROWS

    @property
    def _shown(self) -> Parts:
        return Parts.CHARTS if self._parts is Parts.BOTH and not self._has_room_for_both else self._parts

    @property
    def _is_beside(self) -> bool:
        """Words stand beside the charts."""
        return self._is_wide and self._shown is Parts.BOTH

    @property
    def _next_parts(self) -> Parts:
        order = [each for each in Parts if each is not Parts.BOTH or self._has_room_for_both]
        return order[(order.index(self._shown) + 1) % len(order)]

    def _lay_out(self, fact_rows: int) -> None:
        shown = self._shown
        self._head.styles.height = self._head_rows
        self._words.display = shown is not Parts.CHARTS
        self._charts.display = shown is not Parts.FACTS
        self._page.set_class(self._is_beside, "-beside")
        self._charts.styles.width = "1fr" if self._is_beside else "100%"
        self._words.styles.width = self._fact_cells if self._is_beside else "100%"
        room = self._page_rows
        if shown is Parts.BOTH and not self._is_wide:
            room = min(fact_rows, max(LEAST_FACT_ROWS, min(room - CHART_ROWS, room // 2)))
        self._words.styles.height = room
        self._fact_rows = fact_rows
        self._room_rows = room if fact_rows <= room else room - 1

    # -- keys

    def pointed(self) -> str | None:
        """The VM of this page."""
        return self._uuid

    def chosen(self) -> tuple[str, ...]:
        """The VM of this page."""
        return () if self._uuid is None else (self._uuid,)

    def action_go_back(self) -> None:
        """Back to the table."""
        self.dismiss()

    def action_switch_parts(self) -> None:
        """Show words, charts or both."""
        self._parts = self._next_parts
        if self._view is not None:
            self._draw(self._view)

    def action_turn_page(self, step: int) -> None:
        """Turn to the VM before or after this one, as the table has them; the cursor of the table goes along."""
        view = self._view
        if view is None or view.frame is None or self._uuid is None:
            return
        rows, _ = select_rows(view.frame, view.state, view.order)
        uuids = [vm.uuid for vm in rows]
        if not uuids:
            return
        place = uuids.index(self._uuid) + step if self._uuid in uuids else 0
        self._uuid = uuids[place % len(uuids)]
        self._head_lines = 1
        self._facts.scroll_to_end(-1)
        self.post_message(CursorMoved(self._uuid))
        self._draw(view)

    def action_move_rows(self, step: int) -> None:
        """Scroll the words by lines."""
        self._facts.scroll_lines(step)

    def action_move_pages(self, step: int) -> None:
        """Scroll the words by pages."""
        self._facts.scroll_pages(step)

    def action_move_to_end(self, direction: int) -> None:
        """Scroll the words to their first or last line."""
        self._facts.scroll_to_end(direction)
