"""The real app over readings that were taken beforehand; `tests.bench.refresh` runs it in a terminal."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from textual.app import App

from tests.clocks import HandClock
from vmtop.backends.simulator.backend import SimulatorBackend
from vmtop.cli import tune_garbage_collection
from vmtop.derive.series import History
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.pipeline import Pipeline, Reading
from vmtop.tui.app import VmtopApp
from vmtop.viewmodel.ui_state import UiState

READINGS = 12
STEP_S = 0.06
WARM_UP = 5


class CannedSource:
    """Hands over one prepared reading after the other."""

    def __init__(self, vms: int) -> None:
        self._clock = HandClock()
        self.history: History | None = History()
        self.uri = ""
        pipeline = self._pipeline(vms)
        self._readings = [self._next(pipeline) for _ in range(READINGS)]
        self._place = READINGS - 1

    def _pipeline(self, vms: int) -> Pipeline:
        backend = SimulatorBackend(scenario="overcommit", vms=vms, clock=self._clock)
        self.uri = backend.uri
        return Pipeline(backend, DEFAULT_POLICY, self._clock, self.history)

    def _next(self, pipeline: Pipeline) -> Reading:
        self._clock.sleep(1.0)
        return pipeline.tick(1.0)

    def advance(self) -> None:
        """Go on to the next reading, back and forth so that neighbours stay neighbours."""
        self._place += 1

    def latest(self) -> Reading:
        place = self._place % (2 * READINGS - 2)
        return self._readings[min(place, 2 * READINGS - 2 - place)]

    def monotonic(self) -> float:
        """When the newest reading was taken."""
        frame = self.latest().frame
        return frame.sample.monotonic_s if frame is not None else 0.0

    def attach(self, wake: Callable[[], None]) -> None:
        wake()

    def set_delay(self, seconds: float) -> None:
        """Nothing is read any more."""

    def stop(self) -> None:
        """Nothing is read any more."""


class CountingApp(VmtopApp):
    """Refreshes by itself, and counts what that costs."""

    def __init__(self, source: CannedSource, page: str, steps: int, report: Path) -> None:
        super().__init__(source, state=UiState(delay_s=1.0), uri=source.uri, monotonic=source.monotonic)
        self._canned, self._page, self._steps, self._report = source, page, steps, report
        self._cpu_ms: list[float] = []
        self._sent: list[int] = []
        self._written = 0
        self._began_s = 0.0

    def on_mount(self) -> None:
        write = self._driver.write  # type: ignore[union-attr]

        def counting(data: str) -> None:
            self._written += len(data.encode())
            write(data)

        self._driver.write = counting  # type: ignore[union-attr, method-assign]
        if self._page == "charts":
            frame = self._canned.latest().frame
            assert frame is not None
            from vmtop.tui.screens.detail import DetailScreen

            self.push_screen(DetailScreen(frame.vms[0].uuid))
        self.set_timer(1.0, self._begin)

    def _begin(self) -> None:
        self.set_interval(STEP_S, self._step)
        self._mark()

    def _mark(self) -> None:
        self._began_s, self._written = time.process_time(), 0

    def _step(self) -> None:
        # What the last step cost, drawing and writing included: they happen between two steps.
        self._cpu_ms.append((time.process_time() - self._began_s) * 1000)
        self._sent.append(self._written)
        if len(self._cpu_ms) == self._steps + WARM_UP:
            kept = slice(WARM_UP, None)
            self._report.write_text(
                json.dumps({"cpu_ms": median(self._cpu_ms[kept]), "bytes": median(self._sent[kept])})
            )
            self.exit()
            return
        self._canned.advance()
        self._mark()
        self.publish()


def main() -> None:
    """Run as `python -m tests.bench.canned PAGE VMS STEPS REPORT`."""
    page, vms, steps, report = sys.argv[1:]
    app: App[None] = CountingApp(CannedSource(int(vms)), page, int(steps), Path(report))
    tune_garbage_collection()
    app.run()
    sys.exit(app.return_code or 0)


if __name__ == "__main__":
    main()
