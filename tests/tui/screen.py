"""Drives the app without a terminal: a source whose readings a test gives, a clock that it moves, and what is seen."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from textual.pilot import Pilot

from tests.builders import START_MONOTONIC_S
from tests.clocks import HandClock
from vmtop.derive.frame import Frame
from vmtop.derive.series import History
from vmtop.model.capability import EVERYTHING, Capability
from vmtop.model.failure import Failure
from vmtop.pipeline import Reading
from vmtop.tui.app import VmtopApp
from vmtop.tui.lookups import ReadAudit, ReadRecovery, ReadStorage, VerifyBackups
from vmtop.tui.view import Faults, Operator
from vmtop.viewmodel.ui_state import UiState

URI = "qemu:///system"


class FakeSource:
    """Gives the readings that a test publishes, and remembers what it was asked."""

    def __init__(self, frame: Frame | None = None) -> None:
        self.reading = Reading(frame=frame, failure=None, interval_s=None)
        self.delays: list[float] = []
        self.is_stopped = False
        self.history: History | None = None
        self._wake: Callable[[], None] | None = None

    def latest(self) -> Reading:
        return self.reading

    def attach(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        wake()

    def set_delay(self, seconds: float) -> None:
        self.delays.append(seconds)

    def stop(self) -> None:
        self.is_stopped = True

    def publish(
        self, frame: Frame | None = None, *, failure: Failure | None = None, interval_s: float | None = 2.0
    ) -> None:
        """Have a new reading; without a frame the last one stays."""
        frame = self.reading.frame if frame is None else frame
        self.reading = Reading(frame=frame, failure=failure, interval_s=interval_s)
        assert self._wake is not None
        self._wake()


class Stage:
    """The app on a terminal of a given size."""

    def __init__(
        self,
        frame: Frame | None = None,
        *,
        size: tuple[int, int] = (120, 30),
        state: UiState | None = None,
        keymap: dict[str, str] | None = None,
        theme: str | None = None,
        is_simulated: bool = False,
        operator: Operator | None = None,
        why_readonly: str = "",
        capability: Capability = EVERYTHING,
        faults: Faults | None = None,
        read_audit: ReadAudit | None = None,
        read_storage: ReadStorage | None = None,
        read_recovery: ReadRecovery | None = None,
        verify_backups: VerifyBackups | None = None,
        clock: HandClock | None = None,
    ) -> None:
        self.size = size
        self.source = FakeSource(frame)
        self.clock = HandClock(START_MONOTONIC_S + 5.0) if clock is None else clock
        self.app = VmtopApp(
            self.source,
            state=UiState() if state is None else state,
            uri=URI,
            make_operator=None if operator is None else lambda: operator,
            why_readonly=why_readonly,
            capability=capability,
            faults=faults,
            read_audit=read_audit,
            read_storage=read_storage,
            read_recovery=read_recovery,
            verify_backups=verify_backups,
            is_simulated=is_simulated,
            theme=theme,
            keymap={} if keymap is None else keymap,
            monotonic=self.clock.monotonic,
        )
        self._pilot: Pilot[None] | None = None

    def play(self, scene: Callable[["Stage"], Awaitable[None]]) -> None:
        """Run the app while `scene` acts on it."""

        async def run() -> None:
            async with self.app.run_test(size=self.size) as pilot:
                self._pilot = pilot
                await pilot.pause()
                await scene(self)

        asyncio.run(run())

    @property
    def pilot(self) -> Pilot[None]:
        assert self._pilot is not None, "the app is not running"
        return self._pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def wait_for(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so that another thread brings about."""
        deadline_s = time.monotonic() + 20
        while not is_so():
            assert time.monotonic() < deadline_s, "it did not come:\n" + "\n".join(self.lines)
            await asyncio.sleep(0.01)
            await self.pilot.pause()

    async def wait_for_text(self, text: str) -> None:
        """Wait until this is on the screen."""
        await self.wait_for(lambda: text in "\n".join(self.lines))

    async def publish(self, frame: Frame | None = None, *, failure: Failure | None = None) -> None:
        self.source.publish(frame, failure=failure)
        await self.pilot.pause()

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, and do what the app's own timer does each second."""
        self.clock.now_s += seconds
        self.app.publish()
        await self.pilot.pause()

    @property
    def lines(self) -> list[str]:
        """What the terminal shows."""
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]

    def line_with(self, text: str) -> str:
        """The first line that holds this text."""
        found = [line for line in self.lines if text in line]
        assert found, f"{text!r} is not on the screen:\n" + "\n".join(self.lines)
        return found[0]

    def names(self) -> list[str]:
        """Names of the VMs in sight, from top to bottom, by the first word of each row that is one of ours."""
        known = set() if self.source.reading.frame is None else {vm.name for vm in self.source.reading.frame.vms}
        return [line.split()[0] for line in self.lines if line.split() and line.split()[0] in known]
