"""Output that sends only changes shows, cell by cell, what Textual's own output shows.

As a program, this file is the app that the tests run in two terminals, with and without `DiffDisplay`.
"""

import itertools
import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import set_cell_size
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual import _compositor
from textual._compositor import ChopsUpdate
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import DataTable, Label, Static

from tests.terminal_rig import Emulator, TerminalRig, count_differences
from vmtop.tui.diff_display import OBSTACLE, DiffDisplay, Line, Picture, find_obstacle

WIDTHS = (9, 7, 9, 13, 9, 9, 8, 8)
CPU, USED, BAR, FAULTS = 1, 2, 3, 7
ASCII_NAMES = ("web", "db", "build-runner", "mail")
WIDE_NAMES = ("web", "漢字", "cafe\u0301", "日本語テスト", "o\u0302\u0323x", "データ-db")


class Table(Widget, can_focus=True):
    """A table on the line API in which some numbers change with each tick, as the real one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)"),
        Binding("down", "move(1)"),
        Binding("pageup", "move(-10)"),
        Binding("pagedown", "move(10)"),
    ]

    def __init__(self, names: tuple[str, ...], rows: int) -> None:
        super().__init__()
        self.random = random.Random(1)
        self.vms = [(f"{names[n % len(names)]}-{n:03}", [self.random.random() for _ in WIDTHS]) for n in range(rows)]
        self.top = self.line = 0

    def tick(self) -> None:
        """Change what changes on a real host: CPU and faults of half of the VMs, memory of a tenth."""
        for _, numbers in self.vms:
            if self.random.random() < 0.5:
                numbers[CPU], numbers[FAULTS] = self.random.random(), self.random.random()
            if self.random.random() < 0.1:
                numbers[USED] = numbers[BAR] = self.random.random()
        self.refresh()

    def sort(self) -> None:
        self.vms.sort(key=lambda vm: vm[1][CPU])
        self.refresh()

    def action_move(self, by: int) -> None:
        self.line = max(0, min(len(self.vms) - 1, self.line + by))
        self.top = max(self.line - self.size.height + 1, min(self.top, self.line))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        base = Style.parse("black on cyan" if self.top + y == self.line else "white on #101010")
        if self.top + y >= len(self.vms):
            return Strip.blank(self.size.width, base)
        name, numbers = self.vms[self.top + y]
        segments = [Segment(set_cell_size(name, 20), base + Style(bold=True))]
        for column, (width, number) in enumerate(zip(WIDTHS, numbers, strict=True)):
            if column == BAR:
                bar = "█" * int(number * (width - 1))
                segments.append(Segment(f" {bar:·<{width - 1}}", base + Style.parse("green")))
            else:
                tone = Style.parse("red bold" if number > 0.9 else "dim" if number < 0.1 else "none")
                segments.append(Segment(f"{number * 1000:{width}.1f}", base + tone))
        return Strip(segments).adjust_cell_length(self.size.width, base)


class Dialog(ModalScreen[None]):
    DEFAULT_CSS = "Dialog { align: center middle; } Dialog Label { width: 30; height: 5; border: round green; }"

    def compose(self) -> ComposeResult:
        yield Label("Are you sure?", markup=False)


class Page(Screen[None]):
    def compose(self) -> ComposeResult:
        link = Style(link="https://example.org/vm", underline=True)
        yield Static("A page over everything", markup=False)
        yield Strips([Strip([Segment("See ", Style()), Segment("the manual", link), Segment(", please", Style())])])
        table: DataTable[str] = DataTable()
        table.add_columns("name", "value")
        table.add_rows([(f"名前 {n}", str(n * n)) for n in range(30)])
        yield table


class Strips(Widget):
    DEFAULT_CSS = "Strips { height: 1; }"

    def __init__(self, strips: list[Strip]) -> None:
        super().__init__()
        self.strips = strips

    def render_line(self, y: int) -> Strip:
        return self.strips[y].adjust_cell_length(self.size.width, Style())


class Monitor(App[None]):
    """A header, a table and what comes over them, all moved by keys; each answer to `.` is a new terminal title."""

    ENABLE_COMMAND_PALETTE = False
    DEFAULT_CSS = "#facts { height: 2; background: $boost; color: $warning; } Table { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", priority=True),
        Binding("t", "tick", priority=True),
        Binding("s", "sort", priority=True),
        Binding("m", "push('dialog')", priority=True),
        Binding("f", "push('page')", priority=True),
        Binding("x", "pop_screen", priority=True),
        Binding("n", "toast", priority=True),
        Binding("c", "clear_toasts", priority=True),
        Binding("d", "theme", priority=True),
        Binding("ctrl+l", "repaint", priority=True),
        Binding("full_stop", "answer", priority=True),
        Binding("g", "go", priority=True),
        Binding("h", "halt", priority=True),
    ]
    SCREENS: ClassVar = {"dialog": Dialog, "page": Page}

    def __init__(self, names: tuple[str, ...], progress: Path) -> None:
        super().__init__()
        self.table = Table(names, 80)
        self.progress = progress.open("ab", buffering=0)
        self.ticks = self.answers = 0

    def compose(self) -> ComposeResult:
        yield Static("no tick yet", id="facts", markup=False)
        yield self.table

    def on_mount(self) -> None:
        self.clock = self.set_interval(0.01, self.action_tick, pause=True)

    def action_tick(self) -> None:
        self.ticks += 1
        self.progress.write(b".")
        self.screen_stack[0].query_one("#facts", Static).update(
            f"tick {self.ticks}, load {self.ticks % 7}.{self.ticks % 10}"
        )
        self.table.tick()

    def action_sort(self) -> None:
        self.table.sort()

    def action_push(self, name: str) -> None:
        self.push_screen(name)

    def action_toast(self) -> None:
        self.notify("Something happened 出来事", title="Notice", timeout=600, markup=False)

    def action_clear_toasts(self) -> None:
        self.clear_notifications()

    def action_theme(self) -> None:
        self.theme = "textual-light" if self.theme == "textual-dark" else "textual-dark"

    def action_repaint(self) -> None:
        self.screen.refresh()

    def action_answer(self) -> None:
        self.answers += 1
        self.call_after_refresh(self.write_title, str(self.answers))

    def write_title(self, title: str) -> None:
        assert self._driver is not None
        self._driver.write(f"\x1b]2;{title}\x07")

    def action_go(self) -> None:
        self.clock.resume()

    def action_halt(self) -> None:
        self.clock.pause()


class LeanMonitor(DiffDisplay, Monitor):
    def action_repaint(self) -> None:
        self.repaint_all()


def run(kind: str, names: str, progress: str) -> None:
    app_class = {"plain": Monitor, "lean": LeanMonitor}[kind]
    app_class({"ascii": ASCII_NAMES, "wide": WIDE_NAMES}[names], Path(progress)).run()


class Pair:
    """The same app in two terminals: as Textual draws it, and with changes only."""

    def __init__(self, plain: TerminalRig, lean: TerminalRig) -> None:
        self.plain, self.lean = self.rigs = plain, lean
        self.answers = 0

    def press(self, *keys: str) -> None:
        """Press keys in both, and wait until both have drawn what came of it."""
        self.answers += 1
        for rig in self.rigs:
            rig.press(*keys, ".")
        for rig in self.rigs:
            self.wait_for_answer(rig)

    def wait_for_answer(self, rig: TerminalRig) -> None:
        rig.wait_for(lambda: rig.emulator.title == str(self.answers))

    def resize(self, columns: int, rows: int) -> None:
        for rig in self.rigs:
            rig.resize(columns, rows)

    def wait_until_same(self, what: str) -> None:
        """Wait for frames that are still under way; what differs then differs for good."""

        def is_same() -> bool:
            self.plain.read()
            return count_differences(self.plain.emulator, self.lean.emulator) == 0

        try:
            self.lean.wait_for(is_same, seconds=30)
        except TimeoutError:
            pytest.fail(f"after {what} {count_differences(self.plain.emulator, self.lean.emulator)} cells differ")


@contextmanager
def running_both(
    folder: Path, names: str = "ascii", *, columns: int = 100, rows: int = 24, environ: dict[str, str] | None = None
) -> Iterator[Pair]:
    """Run both; with wide names in terminals that know synchronized output."""
    with ExitStack() as stack:
        plain, lean = (
            stack.enter_context(
                TerminalRig(
                    [sys.executable, __file__, kind, names, str(folder / kind)],
                    columns=columns,
                    rows=rows,
                    environ=environ,
                    answers_queries=names == "wide",
                )
            )
            for kind in ("plain", "lean")
        )
        for rig in (plain, lean):
            rig.wait_for_text("no tick yet")
        yield Pair(plain, lean)


WIDTH, HEIGHT = 16, 3
PENS = [
    None,
    *(Style.parse(style) for style in ("none", "red", "bold red on blue", "dim", "reverse #102030", "on #101010")),
]


@st.composite
def strips(draw: st.DrawFn, width: int) -> Strip:
    """A strip of this width whose segments are divided anywhere, also before a combining character."""
    alphabet = st.sampled_from(["a", "b", " ", "█", "漢", "o\u0302\u0323"])
    text = "x" + set_cell_size("".join(draw(st.lists(alphabet, max_size=width))), width - 1)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    parts = [text[start:end] for start, end in itertools.pairwise([0, *cuts, len(text)])]
    return Strip([Segment(part, draw(st.sampled_from(PENS))) for part in parts], width)


@st.composite
def frames_of_lines(draw: st.DrawFn) -> list[Line]:
    """Some lines of a screen, some pieces of each."""
    lines = []
    for y in draw(st.sets(st.integers(0, HEIGHT - 1))):
        cuts = draw(st.sampled_from([(0,), (0, 6), (0, 5, 11)]))
        places = [(start, end - start) for start, end in itertools.pairwise([*cuts, WIDTH])]
        pieces = [(x, draw(strips(width))) for x, width in places if draw(st.booleans())]
        lines.append(Line(y, cuts, pieces))
    return lines


class LeanApp(DiffDisplay, App[None]):
    """Nothing but an app."""


STEPS = {
    "the first frame": (),
    "ticks": ("t", "t"),
    "moving the cursor": ("down", "down"),
    "scrolling": ("pagedown",) * 7,
    "scrolling back": ("pageup", "pageup", "up"),
    "sorting": ("s", "t"),
    "a toast": ("n",),
    "ticks under a toast": ("t", "t"),
    "the toast has gone": ("c", "t"),
    "a dialog": ("m",),
    "ticks under a dialog": ("t",),
    "a page over the dialog": ("f",),
    "moving on the page": ("down", "pagedown", "up"),
    "the page was closed": ("x",),
    "the dialog was closed": ("x", "t"),
    "another theme": ("d", "t"),
    "a repaint": ("ctrl+l", "t"),
}


@pytest.mark.parametrize(
    ("names", "environ"),
    [("wide", {}), ("ascii", {"TEXTUAL_COLOR_SYSTEM": "256"})],
    ids=["wide text, synchronized output", "256 colors"],
)
def test_the_picture_is_textuals_own(tmp_path: Path, names: str, environ: dict[str, str]) -> None:
    with running_both(tmp_path, names, environ=environ) as pair:
        for what, keys in STEPS.items():
            pair.press(*keys)
            pair.wait_until_same(what)
        for columns, rows in ((60, 12), (132, 30)):
            pair.resize(columns, rows)
            pair.press("t")
            pair.wait_until_same(f"a resize to {columns}x{rows}")
        for columns in range(131, 71, -3):
            pair.resize(columns, columns // 4)
        pair.press("t")
        # What was under way while the terminal changed under it may be lost; the next picture is whole again.
        pair.resize(96, 24)
        pair.press("t")
        pair.wait_until_same("a storm of resizes")
        for rig in pair.rigs:
            rig.press("q")
            assert rig.wait_exit() == 0
            assert rig.leftovers() == []


@pytest.mark.parametrize(
    "environ",
    [{"NO_COLOR": "1"}, {"TEXTUAL_THEME": "ansi-dark"}, {"TEXTUAL_COLOR_SYSTEM": "standard"}],
    ids=["no color", "the terminal's own colors", "16 colors"],
)
def test_the_colors_are_textuals_own(tmp_path: Path, environ: dict[str, str]) -> None:
    with running_both(tmp_path, columns=80, rows=16, environ=environ) as pair:
        for what in ("ticks", "moving the cursor", "sorting", "a dialog", "the page was closed", "another theme"):
            pair.press(*STEPS[what])
            pair.wait_until_same(what)


def test_realistic_changes_cost_a_fraction_of_textuals_bytes(tmp_path: Path) -> None:
    with running_both(tmp_path, columns=200, rows=50) as pair:
        pair.press("t")
        pair.wait_until_same("a tick")
        before = [len(rig.received) for rig in pair.rigs]
        for _ in range(5):
            pair.press("t")
        pair.wait_until_same("five ticks")
        plain, lean = (len(rig.received) - sent for rig, sent in zip(pair.rigs, before, strict=True))
        assert 0 < lean < 0.15 * plain


def test_a_window_made_small_and_large_again_in_one_go_loses_nothing(tmp_path: Path) -> None:
    with running_both(tmp_path) as pair:
        pair.press("t")
        pair.wait_until_same("a tick")
        pair.lean.resize(40, 10)
        pair.lean.resize(100, 24)
        assert count_differences(pair.plain.emulator, pair.lean.emulator) > 0
        pair.press()
        pair.wait_until_same("the window got its size back")


def test_a_repaint_repairs_a_terminal_that_other_output_disturbed(tmp_path: Path) -> None:
    with running_both(tmp_path) as pair:
        pair.press("t")
        pair.wait_until_same("a tick")
        pair.lean.emulator.feed(
            b"\x1b[?7h\x1b[?25h\x1b[3;10r\x1b[5;5H\x1b[31mBroadcast message from root@host\r\nreboot!\r\n"
        )
        assert count_differences(pair.plain.emulator, pair.lean.emulator) > 0
        pair.press("ctrl+l")
        pair.wait_until_same("a repaint")
        assert pair.lean.emulator.screen.margins == pair.plain.emulator.screen.margins
        assert pair.lean.emulator.screen.cursor.hidden
        assert not pair.lean.emulator.has_mode(7)


def test_the_app_goes_on_and_catches_up_when_the_terminal_takes_nothing_for_a_while(tmp_path: Path) -> None:
    plain, lean = tmp_path / "plain", tmp_path / "lean"
    with running_both(tmp_path, columns=200, rows=50) as pair:
        for rig in pair.rigs:
            rig.press("g")
        pair.lean.wait_for(lambda: lean.stat().st_size >= 100, is_reading=False)
        assert plain.stat().st_size < 70, "Textual goes on by itself: then we need not leave out frames"
        pair.press("h")
        pair.plain.press(*"t" * (lean.stat().st_size - plain.stat().st_size))
        pair.press()
        assert lean.stat().st_size == plain.stat().st_size
        pair.wait_until_same("catching up")


@given(st.lists(st.tuples(frames_of_lines(), st.booleans()), max_size=4))
@settings(max_examples=50, deadline=None)
def test_any_sequence_of_frames_shows_what_writing_each_whole_would_show(frames: list[tuple[list[Line], bool]]) -> None:
    console = Console(force_terminal=True, color_system="truecolor")
    picture = Picture()
    ours, plain = Emulator(WIDTH, HEIGHT), Emulator(WIDTH, HEIGHT)
    for lines, is_whole in frames:
        if is_whole:
            picture.forget()
        ours.feed(picture.draw(lines, ColorSystem.TRUECOLOR).encode())
        for line in lines:
            for x, strip in line.pieces:
                plain.feed(f"\x1b[{line.y + 1};{x + 1}H{strip.render(console)}".encode())
        assert count_differences(ours, plain) == 0


def draw(picture: Picture, *pieces: tuple[int, list[Segment]], cuts: tuple[int, ...] = (0,)) -> str:
    """Draw pieces of the second line; give the output with ESC as `^`."""
    line = Line(1, cuts, [(x, Strip(segments)) for x, segments in pieces])
    return picture.draw([line], ColorSystem.STANDARD).replace("\x1b", "^")


RED, BOLD_RED, FAINT_RED = (Style.parse(style) for style in ("red", "bold red", "dim red"))


def test_only_changed_segments_are_sent_and_only_what_changes_of_their_colours() -> None:
    picture = Picture()
    assert draw(picture, (0, [Segment("one ", RED), Segment("two ", BOLD_RED), Segment("three")])) == (
        "^[2;1H^[31mone ^[0;1;31mtwo ^[0mthree"
    )
    assert draw(picture, (0, [Segment("one ", RED), Segment("TWO ", BOLD_RED), Segment("three")])) == (
        "^[2;5H^[0;1;31mTWO ^[0m"
    )
    assert draw(picture, (0, [Segment("one ", RED), Segment("TWO ", BOLD_RED), Segment("three")])) == ""
    assert draw(picture, (0, [Segment("One ", RED), Segment("TWO ", BOLD_RED), Segment("Three", RED)])) == (
        "^[2;1H^[31mOne ^[9GThree^[39m"
    )


def test_a_segment_is_found_again_after_one_before_it_was_divided() -> None:
    picture = Picture()
    draw(picture, (0, [Segment("████  ", RED), Segment(" 12.5")]))
    assert draw(picture, (0, [Segment("███", RED), Segment("   ", FAINT_RED), Segment(" 12.5")])) == (
        "^[2;1H^[31m███^[0;2;31m   ^[0m"
    )


def test_after_forgetting_everything_is_sent() -> None:
    picture = Picture()
    first = draw(picture, (0, [Segment("same")]))
    picture.forget()
    assert draw(picture, (0, [Segment("same")])) == first != ""


def test_a_line_that_is_cut_in_other_places_is_sent_anew() -> None:
    picture = Picture()
    draw(picture, (0, [Segment("left")]), (4, [Segment("right")]), cuts=(0, 4))
    assert draw(picture, (4, [Segment("right")]), cuts=(0, 4)) == ""
    assert draw(picture, (4, [Segment("right")]), cuts=(0, 2, 4)) == "^[2;5Hright"


def test_what_follows_a_text_of_disputed_width_is_placed_and_written_again() -> None:
    picture = Picture()
    draw(picture, (0, [Segment("ab"), Segment(" end")]))
    assert draw(picture, (0, [Segment("漢"), Segment(" end")])) == "^[2;1H漢^[3G end"


def test_a_combining_character_is_only_written_with_what_it_combines_with() -> None:
    picture = Picture()
    draw(picture, (0, [Segment("e"), Segment("\u0301x", RED)]))
    assert draw(picture, (0, [Segment("o"), Segment("\u0301x", RED)])) == "^[2;1Ho^[31m\u0301x^[39m"


def test_a_link_begins_and_ends_with_its_text() -> None:
    link = Style(link="https://example.org")
    assert draw(Picture(), (0, [Segment("see "), Segment("this", link), Segment("!")])) == (
        f"^[2;1Hsee ^]8;id={link.link_id};https://example.org^\\this^]8;;^\\!"
    )


def test_this_textual_is_the_one_we_know() -> None:
    assert OBSTACLE is None


@pytest.mark.parametrize("name", ["ChopsUpdate", "CompositorUpdate", "LayoutUpdate"])
def test_a_textual_with_other_private_names_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delattr(_compositor, name)
    assert name in (find_obstacle() or "")


def test_an_app_of_another_shape_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(App, "_display", lambda app, update: None)
    assert "'update'" in (find_obstacle() or "")


def test_an_update_of_unknown_shape_is_drawn_by_textual_from_then_on() -> None:
    console = Console(force_terminal=True, color_system="truecolor")
    app = LeanApp()
    update = ChopsUpdate([{0: Strip([Segment("text", RED)])}], [(0, 0, 4)], [[4, 5]])
    assert app.plain_reason is None
    assert app._render_update(update, console) == update.render_segments(console) != ""
    assert app.plain_reason is not None
    assert app.plain_reason.startswith("ValueError")


if __name__ == "__main__":
    run(*sys.argv[1:])
