"""A source that is read while something is done to its VMs."""

import threading
from typing import NoReturn

from vmtop.actions.desk import Source
from vmtop.actions.runner import Runner
from vmtop.actions.situation import Newest, Subject, find_subject
from vmtop.backends.base import Clock, Control
from vmtop.derive.frame import Frame
from vmtop.errors import BackendError, ControlError, UnknownVmError, UsageError
from vmtop.model.capability import Capability
from vmtop.model.policy import Policy
from vmtop.pipeline import Pipeline
from vmtop.wording import nearest

MOST_NAMED = 20
"""VMs that are all named when one was mistyped."""


class FrameReader:
    """Readings as they are needed, from any thread, and never in quick succession: rates need time."""

    def __init__(self, pipeline: Pipeline, clock: Clock, delay_s: float) -> None:
        self.pipeline = pipeline
        self.delay_s = delay_s
        """A frame that is younger than this is new enough."""
        self._clock = clock
        self._lock = threading.Lock()
        self._read_s: float | None = None

    def newest(self) -> Newest | None:
        """The newest frame, read now unless there is one that is new enough. None when none could be read."""
        with self._lock:
            now_s = self._clock.monotonic()
            if self._read_s is None or now_s - self._read_s >= self.delay_s:
                self.pipeline.tick(self.delay_s)
                self._read_s = now_s
            frame, ahead_s = self.pipeline.reading.frame, self.pipeline.reading.clock_ahead_s
            if frame is None:
                return None
            return Newest(frame, max(0.0, self._clock.monotonic() + ahead_s - frame.sample.monotonic_s))

    def frame(self) -> Frame:
        """The newest frame.

        Raises:
            BackendError: there is none; says why, and has the exit code of what failed.
        """
        newest = self.newest()
        if newest is None:
            self._raise_failure()
        return newest.frame

    def _raise_failure(self) -> NoReturn:
        failure = self.pipeline.reading.failure
        if failure is None:
            raise BackendError("nothing could be read")
        error = BackendError(failure.text)
        error.exit_code = failure.exit_code
        raise error


class Session:
    """A source, and the runner that acts on it."""

    def __init__(self, source: Source, reader: FrameReader, runner: Runner, policy: Policy) -> None:
        self.source = source
        self.reader = reader
        self.runner = runner
        self.policy = policy

    def find_vm(self, text: str) -> Subject:
        """The VM with this name or UUID.

        Raises:
            UnknownVmError: there is none; names the nearest.
            UsageError: several have this name.
            BackendError: nothing could be read.
        """
        frame = self.reader.frame()
        uuids = [vm.uuid for vm in frame.vms if vm.uuid == text.lower()] or [
            vm.uuid for vm in frame.vms if vm.name == text
        ]
        if len(uuids) > 1:
            raise UsageError(f"{len(uuids)} VMs are called {text!r}; give a UUID: {', '.join(uuids)}")
        subject = find_subject(frame, uuids[0]) if uuids else None
        if subject is None:
            raise unknown_vm(text, frame.sample.uri, frame.roster.names)
        return subject

    def close(self) -> None:
        """Let go of all connections."""
        self.runner.close()
        self.reader.pipeline.backend.close()


def unknown_vm(text: str, where: str, names: tuple[str, ...]) -> UnknownVmError:
    """What to say where no VM has this name."""
    told = tuple(dict.fromkeys(names))
    if not told:
        return UnknownVmError(f"{where} has no VM at all, so none is called {text!r}")
    hint = nearest(text, told)
    if len(told) > MOST_NAMED:
        guess, is_guess, _ = hint.partition("There are: ")
        hint = guess.strip() if is_guess and guess else f"It has {len(told)} others."
    return UnknownVmError(f"{where} has no VM that is called {text!r}. {hint}")


class ReadOnlySource:
    """A source as it looks to those who must not change anything."""

    capability = Capability(is_readonly=True)

    def __init__(self, source: Source) -> None:
        """Let `source` be looked at."""
        self.uri, self.began_s = source.uri, source.began_s
        self.read_storage = source.read_storage
        self.read_folder = source.read_folder
        self.read_last_job = source.read_last_job

    def open_control(self) -> Control:
        """Refuse.

        Raises:
            ControlError: always.
        """
        raise ControlError("this needs a connection with which VMs can be changed, and vmtop is read-only")
