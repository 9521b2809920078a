"""What the pages of jobs, snapshots, backups, actions and faults have in common."""

from collections.abc import Callable, Sequence

from textual.app import ComposeResult

from vmtop.tui.keymap import Scope, bindings, hints, scroll_keys
from vmtop.tui.messages import Noticed
from vmtop.tui.view import View, ViewScreen
from vmtop.tui.widgets.lines import TextLines
from vmtop.tui.widgets.notice_lines import NoticeLines
from vmtop.tui.widgets.prompt import Prompt
from vmtop.tui.widgets.row_list import RowList
from vmtop.viewmodel.formats import cut_line, line_width
from vmtop.viewmodel.sheet import Page
from vmtop.viewmodel.status import Notice, build_page_status, build_place
from vmtop.viewmodel.tone import Line, Span, Tone

MORE_SHARE = 3
"""What is said of the line under the cursor gets at most one part in so many of the screen."""

Answer = Callable[[str], str]
"""Takes what was typed; gives a complaint when it makes no sense, and else nothing."""


class ListScreen(ViewScreen):
    """A line about the host, what the page shows, lines of which some can be chosen, more about one of them, the keys.

    Pages override `make_head`, `make_page` and `make_more`, which draw `self.view`.
    """

    BINDINGS = bindings(Scope.MOVE, Scope.LIST)
    SCOPES: tuple[Scope, ...] = ()
    """Whose keys the last line shows."""

    def __init__(self) -> None:
        super().__init__()
        self._view: View | None = None
        self._page: Page | None = None
        self._answer: Answer | None = None
        """What to do with what is being typed. None while nothing is."""
        self._more_rows = 0
        """What is said of the line under the cursor keeps its height: the lines above it must not jump."""
        self._summary = TextLines(id="summary")
        self._head = TextLines(id="head")
        self._rows = RowList(id="rows")
        self._more = TextLines(id="more")
        self._notice = NoticeLines(id="notice")
        self._prompt = Prompt()
        self._status = TextLines(id="status")

    # -- what pages differ in

    def make_head(self, view: View, width: int) -> Sequence[Line]:
        """What the page shows, and of whom; its first line is always seen."""
        raise NotImplementedError

    def make_page(self, view: View, width: int) -> Page:
        """The lines."""
        raise NotImplementedError

    def make_more(self, view: View, width: int) -> Sequence[Line]:  # noqa: ARG002 - other pages look at them
        """More about the line under the cursor."""
        return ()

    def follow(self, view: View) -> None:
        """Take note of a new view before it is drawn, such as to ask for what the page shows."""

    # -- what pages need

    @property
    def view(self) -> View | None:
        """The view that is drawn. None before the first."""
        return self._view

    @property
    def key(self) -> str | None:
        """The key of the line under the cursor. None when nothing can be chosen."""
        return self._rows.key

    def now_s(self, view: View) -> float:
        """The present on the wall clock of the source."""
        if view.frame is None:
            return 0.0
        sample = view.frame.sample
        return sample.time_s + max(0.0, view.now_monotonic_s - sample.monotonic_s)

    def can_act(self, view: View) -> bool:
        """Whether VMs can be changed; if not, that is said, before anybody types for nothing."""
        if view.is_readonly:
            self.post_message(Noticed(Notice(view.why_readonly, Tone.WARN)))
        return not view.is_readonly

    def ask(self, label: str, text: str, answer: Answer) -> None:
        """Have the operator type something, in the place of the status line."""
        if self._view is not None:
            self._answer = answer
            self._status.display, self._prompt.display = False, True
            self._prompt.ask(label, text, self._view.palette)

    def redraw(self) -> None:
        """Draw everything anew."""
        if self._view is not None:
            self._draw(self._view)

    # -- drawing

    def compose(self) -> ComposeResult:
        """From top to bottom; the prompt takes the place of the keys while it asks."""
        yield self._summary
        yield self._head
        yield self._rows
        yield self._more
        yield self._notice
        yield self._prompt
        yield self._status

    def on_mount(self) -> None:
        """Nothing is typed yet."""
        self._prompt.display = False
        self._rows.focus()

    def show(self, view: View) -> None:
        """Draw the view."""
        self._view = view
        self.follow(view)
        self._draw(view)

    def on_resize(self) -> None:
        """Lay everything out anew."""
        self._more_rows = 0
        self.redraw()

    def on_row_list_moved(self) -> None:
        """Say more about another line."""
        if self._view is not None:
            self._draw_more(self._view)

    def _draw(self, view: View) -> None:
        width, height = self.app.size
        summary_rows = 1 if view.reading.failure is None else 2
        self._summary.styles.height = summary_rows
        self._summary.show_lines(self.make_summary(view, summary_rows), view.palette)
        head = self._draw_head(view)
        self._head.styles.height = max(1, min(len(head), height // MORE_SHARE))
        page = self.make_page(view, width)
        self._rows.show_rows(page.lines, page.keys, view.palette, is_stale=view.is_stale)
        self._draw_more(view)
        # Keys stay in sight while something goes on: it is often about what these keys began.
        self._notice.show_notice(view.notice, view.palette, self.app.size, has_unicode=view.state.has_unicode)
        status = build_page_status(hints(view.keys, *self.SCOPES, Scope.LIST, Scope.EVERYWHERE), width=width)
        self._status.show_lines((status,), view.palette)

    def _draw_head(self, view: View) -> tuple[Line, ...]:
        """What the page shows, and at its right end which of the lines are in sight, where not all are."""
        width, has_unicode = self.app.size.width, view.state.has_unicode
        title, *others = self.make_head(view, width)
        place = build_place(self._rows.seen, scroll_keys(view.keys))
        first = cut_line(title, max(0, width - line_width(place) - 2), has_unicode)
        gap = Span(" " * max(0, width - line_width(first) - line_width(place)), Tone.NORMAL)
        head = (*first, gap, *place), *(cut_line(line, width, has_unicode) for line in others)
        self._head.show_lines(head, view.palette)
        return head

    def on_text_lines_scrolled(self) -> None:
        """Other lines are in sight."""
        if self._view is not None:
            self._draw_head(self._view)

    def _draw_more(self, view: View) -> None:
        width, height = self.app.size
        lines = tuple(self.make_more(view, width))
        self._more_rows = min(height // MORE_SHARE, max(self._more_rows, len(lines) + 1 if lines else 0))
        self._more.display = self._more_rows > 1
        self._more.styles.height = self._more_rows
        self._more.show_lines(((), *lines), view.palette, is_stale=view.is_stale)

    # -- keys

    def action_go_back(self) -> None:
        """Back to where the list was opened."""
        self.dismiss()

    def action_choose(self) -> None:
        """Do what the line under the cursor is for; on most pages nothing."""

    def on_row_list_chosen(self) -> None:
        """The same by a second click."""
        self.action_choose()

    def action_move_rows(self, step: int) -> None:
        """Move between lines."""
        self._rows.move_rows(step)

    def action_move_pages(self, step: int) -> None:
        """Move by a screenful."""
        self._rows.move_pages(step)

    def action_move_to_end(self, direction: int) -> None:
        """Move to the first or last line."""
        self._rows.move_to_end(direction)

    # -- what is typed

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        """Take it, or say why that is not possible; then it can be put right."""
        message.stop()
        answer = self._answer
        complaint = "" if answer is None else answer(message.text.strip())
        if complaint:
            self._prompt.complain(complaint)
        elif self._answer is answer:  # no other question followed
            self._stop_asking()

    def on_prompt_edited(self, message: Prompt.Edited) -> None:
        """Nothing is done while it is typed."""
        message.stop()

    def on_prompt_cancelled(self, message: Prompt.Cancelled) -> None:
        """Nothing is done."""
        message.stop()
        self._stop_asking()

    def _stop_asking(self) -> None:
        self._answer = None
        self._status.display, self._prompt.display = True, False
        self._rows.focus()
