"""The menu of faults, by keys."""

import pytest

from tests.builders import make_frame, make_vm, vm_uuid
from tests.tui.screen import Stage
from tests.viewmodel.test_faults import FAULTS
from vmtop.errors import ControlError
from vmtop.model.fault import FaultInfo
from vmtop.tui.screens.faults import FaultsScreen
from vmtop.tui.screens.help import HelpScreen
from vmtop.tui.screens.main import MainScreen

FRAME = make_frame([make_vm(name="web-1")])


class Imp:
    """Writes down what it is asked to do."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str | None]] = []
        self.error: ControlError | None = None
        self.ended = 0

    def faults(self) -> tuple[FaultInfo, ...]:
        return FAULTS

    def inject_fault(self, fault_id: str, uuid: str | None) -> None:
        if self.error is not None:
            raise self.error
        self.done.append((fault_id, uuid))

    def end_faults(self) -> None:
        self.ended += 1


async def open_faults(stage: Stage) -> None:
    await stage.press("F")
    assert isinstance(stage.app.screen, FaultsScreen)


def test_enter_injects_the_fault_under_the_cursor_into_the_vm_or_the_host() -> None:
    imp = Imp()

    async def scene(stage: Stage) -> None:
        await open_faults(stage)
        assert "TO web-1" in "\n".join(stage.lines)
        await stage.press("enter")
        await stage.wait_for_text("injected: stats-stale")
        await stage.press("end", "enter")
        await stage.wait_for_text("injected: swap-slow")
        await stage.press("e")
        await stage.wait_for_text("can be undone is undone")

    Stage(FRAME, faults=imp).play(scene)
    assert imp.done == [("stats-stale", vm_uuid(1)), ("swap-slow", None)]
    assert imp.ended == 1


def test_a_fault_that_cannot_be_now_is_told() -> None:
    imp = Imp()
    imp.error = ControlError("web-1: no stats-stale now: it is not running")

    async def scene(stage: Stage) -> None:
        await open_faults(stage)
        await stage.press("enter")
        await stage.wait_for_text("it is not running")

    Stage(FRAME, faults=imp).play(scene)
    assert imp.done == []


def test_on_the_header_the_menu_is_that_of_the_host() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("up")
        await open_faults(stage)
        assert "TO web-1" not in "\n".join(stage.lines)
        assert "swap-slow" in "\n".join(stage.lines)

    Stage(FRAME, faults=Imp()).play(scene)


def test_a_real_host_has_no_menu_and_no_key_for_it() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("F")
        assert isinstance(stage.app.screen, MainScreen)
        assert "faults can be injected into a simulated host only: vmtop --demo" in stage.lines[-2]
        await stage.press("question_mark")
        assert isinstance(stage.app.screen, HelpScreen)
        assert "can be made to go wrong" not in "\n".join(stage.lines)

    Stage(FRAME, size=(120, 120)).play(scene)


@pytest.mark.parametrize("size", [(60, 15), (40, 8), (80, 24), (200, 50)])
def test_the_menu_fits_every_screen(size: tuple[int, int]) -> None:
    async def scene(stage: Stage) -> None:
        await open_faults(stage)
        assert "stats-stale" in "\n".join(stage.lines) or size[1] < 10
        await stage.press("enter")

    Stage(FRAME, size=size, faults=Imp()).play(scene)
