"""A simulated host on a clock that a test holds, a person or nobody at the terminal, and commands typed there."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.actions.rig import OPERATOR
from tests.clocks import HandClock
from vmtop.actions.audit import Audit, AuditRecord
from vmtop.actions.desk import Source
from vmtop.actions.runner import Runner
from vmtop.backends.simulator.backend import SimulatorBackend
from vmtop.command_line.parser import parse_words
from vmtop.command_line.place import Console, Place
from vmtop.command_line.run import run_command
from vmtop.command_line.session import FrameReader, Session
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.pipeline import Pipeline


class Stream(io.StringIO):
    """Text in memory that may pass for a terminal."""

    def __init__(self, text: str = "", *, is_terminal: bool = False) -> None:
        super().__init__(text)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class Alarm(HandClock):
    """A clock that calls back when it has been slept on so many times."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps = 0
        self.calls: dict[int, Callable[[], None]] = {}

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.sleeps += 1
        self.calls.pop(self.sleeps, lambda: None)()


class Rig:
    """Commands without threads: what the hypervisor is asked is answered at once."""

    def __init__(self, folder: Path, *, answers: str | None = None, width: int = 100, scenario: str = "calm") -> None:
        self.clock = Alarm()
        self.backend = SimulatorBackend(scenario, clock=self.clock)
        self.source: Source = self.backend
        self.audit = Audit(folder / "audit.jsonl", OPERATOR, lambda line: None)
        self.out, self.err = Stream(), Stream(is_terminal=answers is not None)
        self.stdin = Stream(answers or "", is_terminal=answers is not None)
        self.width = width
        self.sessions = 0

    def type(self, *words: str) -> int:
        """Carry out a command as if vmtop was started with it; what was printed before is forgotten."""
        for stream in (self.out, self.err):
            stream.seek(0)
            stream.truncate()
        console = Console(self.stdin, self.out, self.err, width=self.width, has_unicode=False)
        place = Place(console=console, audit=self.audit, clock=self.clock, open_session=self.open_session)
        return run_command(place, parse_words(words))

    def open_session(self) -> Session:
        self.sessions += 1
        reader = FrameReader(Pipeline(_Lasting(self.backend), DEFAULT_POLICY, self.clock), self.clock, 1.0)
        runner = Runner(self.source, self.audit, reader.newest, DEFAULT_POLICY, self.clock, spawn=lambda work: work())
        return Session(self.source, reader, runner, DEFAULT_POLICY)

    def printed(self) -> str:
        return self.out.getvalue()

    def said(self) -> str:
        return self.err.getvalue()

    def told(self) -> Any:
        """The JSON object that was printed."""
        (line,) = self.printed().splitlines()
        return json.loads(line)

    def records(self) -> tuple[AuditRecord, ...]:
        return self.audit.read()

    def balloon_bytes(self, name: str) -> int | None:
        return next(vm.balloon_bytes for vm in self.backend.read_sample().vms if vm.name == name)


class _Lasting:
    """The host outlives the sessions of a test."""

    def __init__(self, backend: SimulatorBackend) -> None:
        self.name, self.uri, self.is_simulated = backend.name, backend.uri, True
        self.capability = backend.capability
        self.read_sample, self.on_change = backend.read_sample, backend.on_change

    def close(self) -> None:
        """Nothing ends."""
