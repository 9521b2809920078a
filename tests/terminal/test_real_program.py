"""The program as people start it, in a real terminal: tmux on a socket of its own."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.terminal,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux: apt-get install tmux"),
]

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
PROMPT = "shell-is-ready$"


class Tmux:
    """One window with a shell."""

    def __init__(self, socket: Path, columns: int, rows: int) -> None:
        self._base = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        shell = f"env -u TMUX PS1='{PROMPT} ' TERM=xterm-256color LANG=C.UTF-8 sh"
        self.run("new-session", "-d", "-s", "test", "-c", str(ROOT), "-x", str(columns), "-y", str(rows), shell)
        self.run("set-option", "-g", "status", "off")
        self.resize(columns, rows)
        self.wait_for(lambda: PROMPT in self.text)

    def run(self, *arguments: str) -> str:
        return subprocess.run([*self._base, *arguments], check=True, capture_output=True, text=True).stdout

    def press(self, *keys: str) -> None:
        self.run("send-keys", "-t", "test", *keys)

    def type(self, text: str) -> None:
        self.run("send-keys", "-t", "test", "-l", text)

    def resize(self, columns: int, rows: int) -> None:
        self.run("resize-window", "-t", "test", "-x", str(columns), "-y", str(rows))

    def tell(self, variable: str) -> str:
        return self.run("display-message", "-p", "-t", "test", f"#{{{variable}}}").strip()

    @property
    def text(self) -> str:
        return self.run("capture-pane", "-p", "-t", "test")

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"still not so after {DEADLINE_S:.0f} s:\n{self.text}"
            time.sleep(0.05)  # between two looks

    def close(self) -> None:
        self.run("kill-server")


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    terminal = Tmux(tmp_path / "tmux", 100, 30)
    try:
        yield terminal
    finally:
        terminal.close()


def start(tmux: Tmux, *options: str) -> None:
    tmux.type(" ".join([sys.executable, "-m", "vmtop", "--demo", "--seed", "1", "--vms", "40", "-d", "0.5", *options]))
    tmux.press("Enter")
    tmux.wait_for(lambda: len(rows(tmux)) > 10)


def rows(tmux: Tmux) -> list[str]:
    """Rows of the table: what stands between the heads of the columns and the totals."""
    lines = tmux.text.splitlines()
    heads = [number for number, line in enumerate(lines) if line.lstrip().startswith("NAME")]
    totals = [number for number, line in enumerate(lines) if re.match(r" ?\d+-\d+/\d+ ", line)]
    return lines[heads[0] + 1 : totals[-1]] if heads and totals else []


def names(tmux: Tmux) -> list[str]:
    return [line.split()[0] for line in rows(tmux) if line.strip()]


def enter(tmux: Tmux, command: str, answer: str) -> None:
    """Give the shell a command and wait for what it prints, which must not be part of the command."""
    assert answer not in command
    tmux.type(command)
    tmux.press("Enter")
    tmux.wait_for(lambda: answer in tmux.text)


def quit_with(tmux: Tmux, key: str) -> None:
    """Press a key that quits, and look at what the shell gets back."""
    tmux.press(key)
    tmux.wait_for(lambda: tmux.tell("alternate_on") == "0")
    enter(tmux, "echo exit-code=$?", "exit-code=0")
    enter(tmux, 'echo settings-back=$([ "$settings" = "$(stty -g)" ] && echo yes)', "settings-back=yes")
    assert "written-before" in tmux.text
    assert tmux.tell("cursor_flag") == "1"
    assert tmux.tell("mouse_any_flag") == "0"


@pytest.fixture
def running(tmux: Tmux) -> Tmux:
    enter(tmux, "settings=$(stty -g); echo written-bef''ore", "written-before")
    start(tmux)
    return tmux


def test_it_says_that_it_is_simulated_on_a_screen_of_its_own(running: Tmux) -> None:
    assert "SIMULATED" in running.text
    assert "written-before" not in running.text
    assert running.tell("alternate_on") == "1"


def test_it_sorts_filters_and_follows_the_size_of_the_terminal(running: Tmux) -> None:
    running.press("N")
    running.wait_for(lambda: names(running) == sorted(names(running), key=str.casefold))
    running.press("r")
    running.wait_for(lambda: names(running) == sorted(names(running), key=str.casefold, reverse=True))

    running.press("/")
    running.type("web")
    running.wait_for(lambda: bool(names(running)) and all("web" in name for name in names(running)))
    running.press("Enter", "Escape")
    running.wait_for(lambda: any("web" not in name for name in names(running)))

    running.resize(60, 15)
    running.wait_for(lambda: len(running.text.splitlines()) == 15 and 5 <= len(names(running)) < 15)
    assert all(len(line) <= 60 for line in running.text.splitlines())
    running.resize(100, 30)
    running.wait_for(lambda: len(names(running)) > 15)


@pytest.mark.parametrize("key", ["q", "C-c", "F10"])
def test_keys_that_quit_give_the_terminal_back(running: Tmux, key: str) -> None:
    quit_with(running, key)
