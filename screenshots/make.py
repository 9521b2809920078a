"""Redraw every picture of README: `python screenshots/make.py [--real URI]`.

Pictures of the demo are the same bytes each time: the simulated host runs on a clock that this program holds in its
hand. With --real, pictures of the host behind URI are drawn as well; start one with `python -m tests.hypervisor.lab`.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_COLOR_SYSTEM"):
    os.environ.pop(name, None)
# The same colours on every machine, which Textual looks for when it is imported.
os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")

from rich.segment import Segment

from screenshots.draw import DARK, LIGHT, draw_screen
from tests.clocks import HandClock
from vmtop.actions.audit import Audit, read_identity
from vmtop.actions.runner import Runner
from vmtop.actions.situation import Newest
from vmtop.backends.base import Backend, Clock
from vmtop.backends.clock import SystemClock
from vmtop.backends.simulator.backend import SimulatorBackend
from vmtop.derive.series import History
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.pipeline import Pipeline, Reading
from vmtop.tui.app import VmtopApp
from vmtop.viewmodel.ui_state import UiState

FOLDER = Path(__file__).resolve().parent
DELAY_S = 2.0
READINGS = 150
"""Enough for charts of five minutes."""
PATIENCE_S = 10.0
"""Cards and lists have their answers within this time."""


class StillSource:
    """Hands over the reading that a pipeline ended with, and no other."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    @property
    def history(self) -> History | None:
        """All readings that were taken."""
        return self._pipeline.history

    def latest(self) -> Reading:
        """The last reading."""
        return self._pipeline.reading

    def attach(self, wake: Callable[[], None]) -> None:
        """Nothing new will come."""
        wake()

    def set_delay(self, seconds: float) -> None:
        """There is nothing to pace."""

    def stop(self) -> None:
        """There is nothing to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One file: what is shown and how."""

    name: str
    size: tuple[int, int] = (120, 40)
    keys: Sequence[str] = ()
    is_light: bool = False
    has_unicode: bool = True


PICTURES = (
    Picture(name="overview"),
    Picture(name="overview-80x24", size=(80, 24)),
    Picture(name="overview-200x50", size=(200, 50)),
    Picture(name="overview-light", is_light=True),
    Picture(name="overview-light-80x24", size=(80, 24), is_light=True),
    Picture(name="overview-light-200x50", size=(200, 50), is_light=True),
    Picture(name="overview-ascii-80x24", size=(80, 24), has_unicode=False),
    Picture(name="vm", keys=(*["down"] * 8, "enter")),
    Picture(name="host-80x24", size=(80, 24), keys=("home", "up", "enter")),
    Picture(name="help", keys=("question_mark",)),
    Picture(name="balloon", keys=("down", "down", "minus")),
    Picture(name="balloon-80x24", size=(80, 24), keys=("down", "down", "minus")),
    Picture(name="snapshots", keys=("down", "down", "s", "t")),
    Picture(name="jobs", keys=("j",)),
    Picture(name="faults", keys=("down", "down", "F")),
)
REAL_PICTURES = (
    Picture(name="overview"),
    Picture(name="overview-80x24", size=(80, 24)),
    Picture(name="overview-200x50", size=(200, 50)),
    Picture(name="overview-light", is_light=True),
    Picture(name="vm", keys=("down", "enter")),
)


def main() -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--real", metavar="URI", help="draw the host behind this libvirt URI, too")
    parser.add_argument("--readings", type=int, default=60, metavar="N", help="readings of the real host (default: 60)")
    options = parser.parse_args()
    clock = HandClock()
    backend = SimulatorBackend(clock=clock)
    demo = _read(backend, clock, READINGS)
    for picture in PICTURES:
        asyncio.run(_draw(backend, demo, clock, picture, f"demo-{picture.name}"))
    if options.real:
        from vmtop.backends.libvirt_read import LibvirtBackend

        system_clock = SystemClock()
        host = LibvirtBackend(options.real)
        real = _read(host, system_clock, options.readings)
        for picture in REAL_PICTURES:
            asyncio.run(_draw(host, real, system_clock, picture, f"real-{picture.name}"))


def _read(backend: Backend, clock: Clock, readings: int) -> Pipeline:
    pipeline = Pipeline(backend, DEFAULT_POLICY, clock, History())
    for _ in range(readings):
        reading = pipeline.tick(DELAY_S)
        if reading.failure is not None:
            sys.exit(f"screenshots: {reading.failure.text}")
        clock.sleep(DELAY_S)
    return pipeline


async def _draw(backend: Backend, pipeline: Pipeline, clock: Clock, picture: Picture, name: str) -> None:
    def read_newest() -> Newest | None:
        frame = pipeline.reading.frame
        return None if frame is None else Newest(frame, 0.0)

    with tempfile.TemporaryDirectory() as folder:
        audit = Audit(Path(folder, "audit.jsonl"), read_identity({}))
        app = VmtopApp(
            StillSource(pipeline),
            state=UiState(delay_s=DELAY_S, has_unicode=picture.has_unicode),
            uri=backend.uri,
            make_operator=lambda: Runner(backend, audit, read_newest, DEFAULT_POLICY, clock),
            why_readonly="",
            faults=backend.fault_control,
            read_storage=backend.read_storage,
            monotonic=clock.monotonic,
        )
        await _take(app, picture, name)


async def _take(app: VmtopApp, picture: Picture, name: str) -> None:
    theme = LIGHT if picture.is_light else DARK
    async with app.run_test(size=picture.size) as pilot:
        await pilot.pause()
        await pilot.press(*picture.keys)
        async with asyncio.timeout(PATIENCE_S):
            await pilot.pause()
            while any("asking" in strip.text for strip in app.screen._compositor.render_strips()):
                await pilot.pause(0.1)
        lines: list[list[Segment]] = [list(strip) for strip in app.screen._compositor.render_strips()]
        app.ansi_theme_dark = app.ansi_theme_light = theme
        (FOLDER / f"{name}.svg").write_text(app.export_screenshot(title=f"vmtop - {name}"), encoding="utf-8")
    draw_screen(lines, theme).save(FOLDER / f"{name}.png", optimize=True)
    print(f"{name}: {picture.size[0]}x{picture.size[1]}")


if __name__ == "__main__":
    main()
