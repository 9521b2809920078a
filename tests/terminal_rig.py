"""A terminal for tests: runs a program in a pty, shows what a person would see, presses keys, and cleans up after it.

    with TerminalRig([sys.executable, "-m", "vmtop", "--demo"], columns=200, rows=50) as rig:
        rig.wait_for_text("SIMULATED")
        rig.press("down", "q")
        assert rig.wait_exit() == 0
        assert rig.leftovers() == []

Nothing is read from the program but inside the `wait_` methods and `read`: a terminal that takes nothing is one on
which nobody waits.
"""

import copy
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import psutil
import pyte

ROOT = Path(__file__).parent.parent
DEADLINE_S = 60.0
"""How long to wait for anything: machines that run tests are slow and busy."""

Cell: TypeAlias = Any
"""A `pyte.screens.Char`: character, colours and attributes; hashable and comparable."""

KEYS = {
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "enter": "\r",
    "escape": "\x1b",
    "space": " ",
    "f1": "\x1bOP",
    "f10": "\x1b[21~",
    "ctrl+c": "\x03",
    "ctrl+l": "\x0c",
    "ctrl+z": "\x1a",
}

_LEFT_BY_PROGRAMS = {
    1049: "alternate screen",
    1000: "mouse buttons",
    1003: "mouse moves",
    1006: "mouse coordinates",
    1004: "focus reports",
    2004: "bracketed paste",
    2026: "synchronized output",
    2048: "size reports",
}
"""DEC private modes that are off in a fresh terminal."""


class _Screen(pyte.Screen):
    """A pyte screen that also knows the alternate screen, and faint text.

    Faint (SGR 2) is shown as blinking, for which pyte has a place, and which no program here uses.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self._main: Any = None
        super().__init__(columns, lines)

    def set_mode(self, *modes: int, **kwargs: Any) -> None:
        if 1049 in modes and kwargs.get("private") and self._main is None:
            self._main = copy.deepcopy((dict(self.buffer), self.cursor))
            self.erase_in_display(2)
        super().set_mode(*modes, **kwargs)

    def reset_mode(self, *modes: int, **kwargs: Any) -> None:
        if 1049 in modes and kwargs.get("private") and self._main is not None:
            lines, self.cursor = self._main
            self.buffer.clear()
            self.buffer.update(lines)
            self._main = None
        super().reset_mode(*modes, **kwargs)

    def select_graphic_rendition(self, *attrs: int) -> None:
        super().select_graphic_rendition(*attrs)
        codes = iter(attrs or (0,))
        for code in codes:
            if code in {38, 48}:
                for _ in range(1 if next(codes) == 5 else 3):
                    next(codes)
            elif code in {0, 2}:
                self.cursor.attrs = self.cursor.attrs._replace(blink=code == 2)


class Emulator:
    """What a terminal of a given size shows after it was fed some bytes."""

    def __init__(self, columns: int, rows: int) -> None:
        self.screen: Any = _Screen(columns, rows)
        self._stream: Any = pyte.ByteStream(self.screen)

    def feed(self, data: bytes) -> None:
        """Act on output of a program."""
        self._stream.feed(data)

    def resize(self, columns: int, rows: int) -> None:
        """Cut off or add lines and columns, as terminals do."""
        self.screen.resize(rows, columns)

    @property
    def title(self) -> str:
        """The window title that the program set last."""
        return str(self.screen.title)

    @property
    def lines(self) -> list[str]:
        """The text on the screen."""
        return list(self.screen.display)

    @property
    def cells(self) -> list[list[Cell]]:
        """Each cell of each line, with colours and attributes."""
        return [[self.screen.buffer[y][x] for x in range(self.screen.columns)] for y in range(self.screen.lines)]

    def has_mode(self, mode: int) -> bool:
        """Whether a DEC private mode is on."""
        return mode << 5 in self.screen.mode


def count_differences(one: Emulator, other: Emulator) -> int:
    """In how many cells two terminals of the same size differ."""
    lines = zip(one.cells, other.cells, strict=True)
    return sum(a != b for ours, theirs in lines for a, b in zip(ours, theirs, strict=True))


class TerminalRig:
    """A program in a terminal of its own.

    Attributes:
        emulator: What the terminal shows.
        received: All output that was read so far.
        pid: The program's process; it leads its own session and process group.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        environ: Mapping[str, str | None] | None = None,
        answers_queries: bool = False,
    ) -> None:
        """Start the program.

        Args:
            argv: The program and its arguments.
            columns: Width of the terminal.
            rows: Height of the terminal.
            environ: What differs from the environment of the tests; None removes a variable.
            answers_queries: Say that synchronized output is supported (mode 2026) when asked, as many terminals do.
        """
        self.emulator = Emulator(columns, rows)
        self.received = bytearray()
        self._answers_queries = answers_queries
        defaults = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
        merged = {**os.environ, **defaults, **(environ or {})}
        self._master, slave = os.openpty()
        try:
            self._set_size(columns, rows)
            self._name = os.ttyname(slave)
            self._modes_before = termios.tcgetattr(slave)
            self._process = subprocess.Popen(
                ["setsid", "--ctty", *argv],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                cwd=ROOT,
                env={name: value for name, value in merged.items() if value is not None},
            )
        except BaseException:
            os.close(self._master)
            raise
        finally:
            os.close(slave)
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill what is left of the program and its children, and close the terminal."""
        self._kill()
        self.hang_up()

    def hang_up(self) -> None:
        """Drop the line: the terminal is gone, and the kernel sends SIGHUP."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def send(self, text: str) -> None:
        """Type text."""
        os.write(self._master, text.encode())

    def press(self, *keys: str) -> None:
        """Press keys: characters, or names from `KEYS`."""
        for key in keys:
            self.send(KEYS.get(key, key))

    def click(self, x: int, y: int) -> None:
        """Click with the left mouse button on a cell, counted from 0."""
        self.send(f"\x1b[<0;{x + 1};{y + 1}M\x1b[<0;{x + 1};{y + 1}m")

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        self.emulator.resize(columns, rows)
        self._set_size(columns, rows)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program."""
        os.kill(self.pid, number)

    def read(self, seconds: float = 0.0) -> bool:
        """Take output, waiting at most so long for it; False if there was none."""
        if self._master < 0 or not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # how Linux says that nobody has the other side open any more
            return False
        if self._answers_queries and b"\x1b[?2026$p" in data:
            self.send("\x1b[?2026;2$y")
        self.received += data
        self.emulator.feed(data)
        return bool(data)

    def read_all(self) -> None:
        """Take all output that is there."""
        while self.read():
            pass

    def is_full(self) -> bool:
        """Whether the program has to wait to write, because nobody has read for so long."""
        other_side = os.open(self._name, os.O_RDWR | os.O_NOCTTY)
        try:
            return not select.select([], [other_side], [], 0)[1]
        finally:
            os.close(other_side)

    def wait_for(self, condition: Callable[[], bool], *, seconds: float = DEADLINE_S, is_reading: bool = True) -> None:
        """Wait until something is true.

        Args:
            condition: Checked after each piece of output, and some 25 times a second.
            seconds: How long at most.
            is_reading: False to leave the program's output where it is meanwhile.

        Raises:
            TimeoutError: It did not become true; says what was on the screen.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                screen = "\n".join(line.rstrip() for line in self.emulator.lines)
                raise TimeoutError(f"not within {seconds} s; on the screen:\n{screen}")
            if not (is_reading and self.read(0.02)):
                select.select([], [], [], 0.02)

    def wait_for_text(self, text: str, *, seconds: float = DEADLINE_S) -> None:
        """Wait until this text is in a line of the screen."""
        self.wait_for(lambda: any(text in line for line in self.emulator.lines), seconds=seconds)

    def wait_exit(self, *, seconds: float = DEADLINE_S, is_reading: bool = True) -> int:
        """Wait until the program ended.

        Returns:
            Its exit code, or minus the number of the signal that killed it.
        """
        self.wait_for(self._has_ended, seconds=seconds, is_reading=is_reading)
        if is_reading:
            self.read_all()
        self._kill()
        return self._process.returncode

    def wait_stopped(self) -> None:
        """Wait until the program is suspended, as after Ctrl+Z."""
        self.wait_for(lambda: psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)

    def leftovers(self) -> list[str]:
        """What the program changed about the terminal and did not restore."""
        left = [name for mode, name in _LEFT_BY_PROGRAMS.items() if self.emulator.has_mode(mode)]
        if self.emulator.screen.cursor.hidden:
            left.append("hidden cursor")
        if not self.emulator.has_mode(7):
            left.append("no line wrap")
        if self._master >= 0 and termios.tcgetattr(self._master) != self._modes_before:
            left.append("line settings (stty)")
        return left

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _kill(self) -> None:
        """End the process group. Until its leader is reaped no other can have its number."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):  # setsid has not made the group yet
                os.killpg(self.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
