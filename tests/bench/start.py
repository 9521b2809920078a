"""Time from the command to the first picture, and memory then, against an empty Textual app."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from statistics import median

import psutil

from tests.terminal_rig import TerminalRig

ROUNDS = 9
EMPTY = """
from textual.app import App
from textual.widgets import Static
class Empty(App):
    ENABLE_COMMAND_PALETTE = False
    def compose(self):
        yield Static("first picture")
Empty().run()
"""
PROGRAMS = {
    "empty Textual app": ([sys.executable, "-c", EMPTY], "first picture"),
    "vmtop --demo": ([sys.executable, "-m", "vmtop", "--demo"], "SIMULATED"),
    "vmtop --demo --vms 1000": ([sys.executable, "-m", "vmtop", "--demo", "--vms", "1000"], "SIMULATED"),
    "vmtop test:///default": ([sys.executable, "-m", "vmtop", "-c", "test:///default"], "test:///default"),
}
BATCH = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "vmtop --version": [sys.executable, "-m", "vmtop", "--version"],
    "vmtop --demo --once --json": [sys.executable, "-m", "vmtop", "--demo", "--once", "--json"],
}


def measure() -> Iterator[str]:
    """Start all of them in turns, with compiled modules at hand as after an installation."""
    with tempfile.TemporaryDirectory() as compiled:
        environ = {"PYTHONDONTWRITEBYTECODE": None, "PYTHONPYCACHEPREFIX": compiled}
        times: dict[str, list[float]] = {name: [] for name in (*PROGRAMS, *BATCH)}
        memory: dict[str, list[float]] = {name: [] for name in PROGRAMS}
        for turn in range(ROUNDS + 1):
            for name, (argv, text) in PROGRAMS.items():
                seconds, rss_mib = _first_picture(argv, text, environ)
                if turn:  # the first turn compiles
                    times[name].append(seconds)
                    memory[name].append(rss_mib)
            for name, argv in BATCH.items():
                seconds = _run(argv, environ)
                if turn:
                    times[name].append(seconds)
    empty = median(times["empty Textual app"])
    for name in PROGRAMS:
        seconds = median(times[name])
        yield f"{name:28} {seconds * 1000:5.0f} ms ({seconds / empty:.2f} x), {median(memory[name]):.1f} MiB RSS"
    for name in BATCH:
        yield f"{name:28} {median(times[name]) * 1000:5.0f} ms"
    yield f"to reach: at most 1.5 x an empty app: {median(times['vmtop --demo']) / empty:.2f} x"


def _first_picture(argv: list[str], text: str, environ: dict[str, str | None]) -> tuple[float, float]:
    began_s = time.monotonic()
    with TerminalRig(argv, columns=200, rows=50, environ=environ) as rig:
        rig.wait_for(lambda: text.encode() in rig.received)
        seconds = time.monotonic() - began_s
        rss_mib = psutil.Process(rig.pid).memory_info().rss / 2**20
    return seconds, rss_mib


def _run(argv: list[str], environ: dict[str, str | None]) -> float:
    began_s = time.monotonic()
    merged = {name: value for name, value in {**os.environ, **environ}.items() if value is not None}
    process = psutil.Popen(argv, env=merged, stdout=-3)
    if process.wait(60) != 0:
        sys.exit(f"bench: {' '.join(argv)} failed")
    return time.monotonic() - began_s
