"""The terminal is as it was found, whatever ends the app.

As a program, this file is the app that the tests run in a terminal of its own.
"""

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, TextIO

import pytest
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from tests.terminal_rig import ROOT, TerminalRig
from vmtop.tui.diff_display import DiffDisplay
from vmtop.tui.terminal import TerminalWatch, check_terminal, leave, prepare_terminal, wants_unicode


class PlainClock(TerminalWatch, App[None]):
    """Changes a line all the time, and other lines never."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c,f10", "quit", priority=True),
        Binding("ctrl+z", "suspend_process", priority=True),
        Binding("x", "crash", priority=True),
    ]
    ticks = 0

    def compose(self) -> ComposeResult:
        yield Static("starting", id="clock", markup=False)
        yield Static("a line that stays\n" * 100, markup=False)

    def on_mount(self) -> None:
        self.set_interval(0.02, self.tick)

    def tick(self) -> None:
        self.ticks += 1
        self.query_one("#clock", Static).update(f"tick {self.ticks} " + "ab"[self.ticks % 2] * 500)

    def action_crash(self) -> None:
        raise RuntimeError("a bug")


class Clock(DiffDisplay, PlainClock):
    """The same with output that sends only changes."""


def run(backend: str) -> None:
    assert sys.__stderr__
    prepare_terminal(os.environ, sys.__stderr__)
    if backend == "hung":
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    if backend == "deaf":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    app = PlainClock() if backend == "plain" else Clock()
    app.run()
    leave(app)


@contextmanager
def running(backend: str = "fine", **environ: str) -> Iterator[TerminalRig]:
    with TerminalRig([sys.executable, __file__, backend], environ=environ) as rig:
        rig.wait_for_text("tick ")
        yield rig


def count_lines_that_stay(rig: TerminalRig) -> int:
    return sum("a line that stays" in line for line in rig.emulator.lines)


@pytest.mark.parametrize(
    ("backend", "ending", "code"),
    [
        ("fine", "q", 0),
        ("fine", "ctrl+c", 0),
        ("fine", "f10", 0),
        ("fine", signal.SIGINT, 130),
        ("fine", signal.SIGTERM, 143),
        ("fine", signal.SIGHUP, 129),
        ("fine", "x", 1),
        ("hung", "q", 0),
        ("hung", signal.SIGTERM, 143),
        ("hung", "x", 1),
    ],
)
def test_the_terminal_is_restored_and_the_exit_code_says_what_ended_it(
    backend: str, ending: str | signal.Signals, code: int
) -> None:
    with running(backend) as rig:
        assert rig.leftovers() != []
        if isinstance(ending, signal.Signals):
            rig.signal(ending)
        else:
            rig.press(ending)
        assert rig.wait_exit() == code
        assert rig.leftovers() == []
        assert ("a bug" in "".join(rig.emulator.lines)) == (code == 1)


def test_a_service_manager_that_also_wakes_what_it_ends_finds_the_terminal_restored() -> None:
    with running() as rig:
        rig.signal(signal.SIGTERM)
        rig.signal(signal.SIGCONT)
        assert rig.wait_exit() == 143
        assert rig.leftovers() == []


def test_an_app_without_a_terminal_has_no_deadline() -> None:
    """It would end the tests."""

    async def use() -> Clock:
        app = Clock()
        async with app.run_test() as pilot:
            await pilot.press("q")
        return app

    assert asyncio.run(use())._deadline is None


@pytest.mark.parametrize("backend", ["fine", "deaf"], ids=["with SIGHUP", "without SIGHUP"])
def test_a_dropped_line_ends_the_app(backend: str) -> None:
    with running(backend) as rig:
        rig.hang_up()
        assert rig.wait_exit() == 129


def test_a_terminal_that_takes_nothing_does_not_hold_the_app() -> None:
    with running() as rig:
        rig.wait_for(rig.is_full, is_reading=False)
        rig.signal(signal.SIGTERM)
        assert rig.wait_exit(is_reading=False) == 143


@pytest.mark.parametrize(
    ("backend", "columns"),
    [("fine", 80), ("fine", 60), ("plain", 80)],
    ids=["as it was", "with another size meanwhile", "with Textual's own output"],
)
def test_ctrl_z_gives_the_terminal_back_and_fg_draws_everything_again(backend: str, columns: int) -> None:
    with running(backend) as rig:
        rig.press("ctrl+z")
        rig.wait_stopped()
        rig.read_all()
        assert rig.leftovers() == []
        assert count_lines_that_stay(rig) == 0
        rig.resize(columns, 24)
        rig.signal(signal.SIGCONT)
        rig.wait_for(lambda: count_lines_that_stay(rig) >= 10)
        rig.press("q")
        assert rig.wait_exit() == 0
        assert rig.leftovers() == []


def test_an_app_that_was_stopped_by_force_has_its_keys_and_restores_the_terminal() -> None:
    with running() as rig:
        rig.signal(signal.SIGSTOP)
        rig.wait_stopped()
        rig.emulator.feed(b"\x1b[2J$ fg")
        rig.signal(signal.SIGCONT)
        rig.wait_for(lambda: count_lines_that_stay(rig) >= 10)
        rig.press("q")
        assert rig.wait_exit() == 0
        assert rig.leftovers() == []


def test_the_size_is_the_terminals_not_the_environments() -> None:
    with running(COLUMNS="40", LINES="5") as rig:
        assert max(len(line.rstrip()) for line in rig.emulator.lines) == 80
        assert rig.emulator.lines[20].startswith("a line that stays")


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


XTERM = {"TERM": "xterm"}


def streams(**changed: TextIO | None) -> dict[str, TextIO | None]:
    return {"stdin": Tty(), "stdout": Tty(), "stderr": Tty(), **changed}


def test_a_terminal_on_all_streams_can_show_the_screen() -> None:
    assert check_terminal(streams(), XTERM) is None


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
@pytest.mark.parametrize("how", ["redirected", "missing", "closed"])
def test_the_screen_needs_a_terminal_on_every_stream(name: str, how: str) -> None:
    closed = Tty()
    closed.close()
    stream = {"redirected": io.StringIO(), "missing": None, "closed": closed}[how]
    assert check_terminal(streams(**{name: stream}), XTERM) == f"{name} is not a terminal"


@pytest.mark.parametrize(("environ", "said"), [({}, "unset"), ({"TERM": ""}, "unset"), ({"TERM": "dumb"}, "dumb")])
def test_the_screen_needs_a_terminal_that_can_place_text(environ: dict[str, str], said: str) -> None:
    assert check_terminal(streams(), environ) == f"the terminal cannot place text (TERM={said})"


def test_what_an_encoding_lacks_takes_one_column() -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii", errors="backslashreplace")
    environ = {"COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
    prepare_terminal(environ, stream)
    stream.write("█é!")
    stream.flush()
    assert written.getvalue() == b"??!"
    assert environ == XTERM


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"LANG": "C"}, False),
        ({"LANG": "POSIX"}, False),
        ({"LANG": "de_DE"}, False),
        ({"LANG": "de_DE@euro"}, False),
        ({"LANG": "ja_JP.eucJP"}, False),
        ({"LANG": "C.UTF-8"}, True),
        ({"LANG": "en_US.utf8"}, True),
        ({"LANG": "ca_ES.UTF-8@valencia"}, True),
        ({"LANG": "C", "LC_CTYPE": "UTF-8"}, True),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "C"}, False),
        ({"LANG": "en_US.UTF-8", "LC_CTYPE": "de_DE.ISO-8859-1"}, False),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "", "LC_CTYPE": ""}, True),
    ],
)
def test_glyphs_follow_the_locale_that_the_user_set(environ: dict[str, str], expected: bool) -> None:
    assert wants_unicode(environ, "utf-8") is expected


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1", None])
def test_a_stream_that_cannot_encode_them_gets_no_unicode_glyphs(encoding: str | None) -> None:
    assert not wants_unicode({"LANG": "C.UTF-8"}, encoding)


def run_python(code: str, **environ: str) -> str:
    argv = [sys.executable, "-c", code]
    return subprocess.run(
        argv, env={"PYTHONPATH": str(ROOT), **environ}, capture_output=True, text=True, check=True
    ).stdout


def test_the_locale_that_python_sets_itself_is_not_taken_for_the_users() -> None:
    code = """
import os
from vmtop.tui.terminal import read_user_environ
print([environ.get("LC_CTYPE") for environ in (os.environ, read_user_environ())])
"""
    assert run_python(code, LANG="C") == "['C.UTF-8', None]\n"
    assert run_python(code, LANG="C", LC_CTYPE="C.UTF-8") == "['C.UTF-8', 'C.UTF-8']\n"


def test_checks_before_the_screen_starts_cost_no_import_of_textual() -> None:
    code = "import sys, vmtop.tui.terminal; print({'textual', 'asyncio'} & sys.modules.keys())"
    assert run_python(code) == "set()\n"


if __name__ == "__main__":
    run(*sys.argv[1:])
