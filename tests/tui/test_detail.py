"""The page that Enter opens, from the key to what is seen."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest

from tests.builders import START_S, make_frame, make_guest, make_vm, vm_uuid
from tests.tui.screen import Stage
from vmtop.derive.frame import Frame
from vmtop.derive.series import History
from vmtop.model.failure import Failure
from vmtop.model.sample import VmSample
from vmtop.tui.messages import PageOpened
from vmtop.tui.screens.detail import DetailScreen
from vmtop.tui.screens.main import MainScreen
from vmtop.units import GIB
from vmtop.viewmodel.formats import cell_width
from vmtop.viewmodel.ui_state import UiState

DEADLINE_S = 20.0
NAMES = ("alpha", "beta", "gamma")


def make_named(number: int, name: str, at_s: float) -> VmSample:
    """The first uses most."""
    guest = make_guest(last_update_s=START_S + int(at_s), usable_bytes=number * GIB, free_bytes=GIB // 2)
    return make_vm(uuid=vm_uuid(number), name=name, guest=guest)


def play_fleet(names: Sequence[str] = NAMES, readings: int = 5) -> tuple[Frame, History]:
    """VMs that were read every 5 s."""
    history, frame = History(), None
    for reading in range(readings):
        at_s = 5.0 * reading
        vms = [make_named(number, name, at_s) for number, name in enumerate(names, start=1)]
        frame = make_frame(vms, at_s=at_s, previous=frame)
        history.add(frame)
    assert frame is not None
    return frame, history


def make_stage(
    names: Sequence[str] = NAMES, *, size: tuple[int, int] = (80, 24), state: UiState | None = None
) -> Stage:
    frame, history = play_fleet(names)
    stage = Stage(frame, size=size, state=state)
    stage.clock.now_s = frame.sample.monotonic_s
    stage.source.history = history
    return stage


async def until(stage: Stage, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await stage.pilot.pause(0.01)


async def open_page(stage: Stage, uuid: str | None) -> None:
    """Open a page and wait until its charts are drawn, if there is room for any."""
    stage.app.screen.post_message(PageOpened(uuid))
    await until(stage, lambda: isinstance(stage.app.screen, DetailScreen))
    await stage.pilot.pause()
    await until(stage, lambda: "loading" not in shown(stage))


async def resize(stage: Stage, width: int, height: int) -> None:
    """Give the terminal another size and wait until that is taken in."""
    await stage.pilot.resize_terminal(width, height)
    await until(stage, lambda: [cell_width(line) for line in stage.lines] == [width] * height)
    await stage.pilot.pause()


def shown(stage: Stage) -> str:
    return "\n".join(stage.lines)


def test_enter_opens_the_page_of_the_vm_under_the_cursor() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("down", "enter")
        assert isinstance(stage.app.screen, DetailScreen)
        assert "beta" in stage.lines[1]

    make_stage().play(scene)


def test_enter_on_the_header_opens_the_page_of_the_host() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("up", "enter")
        assert isinstance(stage.app.screen, DetailScreen)
        assert "kvm1" in stage.lines[1]
        assert "VMs" in stage.line_with("Memory ")

    make_stage().play(scene)


@pytest.mark.parametrize("key", ["escape", "enter", "backspace"])
def test_keys_that_lead_back_to_the_table(key: str) -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(1))
        await stage.press(key)
        assert isinstance(stage.app.screen, MainScreen)

    make_stage().play(scene)


def test_words_and_charts_are_both_there_at_80x24() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(2))
        assert stage.lines[1].startswith("beta")
        assert stage.line_with("maximum").split()[1:3] == ["4", "GiB"]
        assert "used 2.00G" in stage.line_with("cache 1.50G")
        assert "free 512M" in stage.line_with("cache 1.50G")
        assert "█" in shown(stage)
        assert "guest in 0" in stage.line_with("Swap ")
        assert "some 0%" in stage.line_with("Pressure ")
        assert stage.lines[-2].split()[0] == "-1m"
        assert stage.lines[-2].split()[-1] == "now"

    make_stage().play(scene)


def test_on_a_wide_screen_words_stand_beside_charts() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(2))
        lines = stage.lines
        words = next(y for y, line in enumerate(lines) if line.startswith("Memory"))
        assert "Memory" in lines[words][40:]

    make_stage(size=(120, 40)).play(scene)


def test_tab_shows_charts_then_words_then_both() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(2))
        seen = []
        for _ in range(4):
            seen.append(("maximum" in shown(stage), "cache 1.50G" in shown(stage)))
            await stage.press("tab")
        assert seen == [(True, True), (False, True), (True, False), (True, True)]

    make_stage().play(scene)


def test_on_a_low_screen_tab_changes_between_charts_and_words() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(2))
        seen = []
        for _ in range(3):
            assert stage.lines[1].startswith("beta")
            seen.append(("maximum" in shown(stage), "used 2.00G" in shown(stage)))
            await stage.press("tab")
        assert seen == [(False, True), (True, False), (False, True)]

    make_stage(size=(60, 15)).play(scene)


def test_right_and_left_turn_to_the_vms_beside_it_in_the_table() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(1))
        names = [stage.lines[1].split()[0]]
        for key in ("right", "right", "right", "left"):
            await stage.press(key)
            names.append(stage.lines[1].split()[0])
        assert names == ["alpha", "beta", "gamma", "alpha", "gamma"]
        assert "used 1.00G" in shown(stage)

    make_stage().play(scene)


def test_the_cursor_of_the_table_goes_along_when_pages_are_turned() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(1))
        await stage.press("right", "right", "escape", "enter")
        assert stage.lines[1].startswith("gamma")

    make_stage().play(scene)


def test_pages_are_turned_in_the_order_that_the_table_holds_against_noise() -> None:
    def read(gib: Sequence[float], at_s: float, previous: Frame | None = None) -> Frame:
        vms = [
            make_vm(uuid=vm_uuid(number), name=name, guest=make_guest(usable_bytes=int((4 - used) * GIB)))
            for number, (name, used) in enumerate(zip(NAMES, gib, strict=True), start=1)
        ]
        return make_frame(vms, at_s=at_s, previous=previous)

    async def scene(stage: Stage) -> None:
        before = stage.names()
        assert before == ["alpha", "beta", "gamma"]
        await stage.publish(read((2.98, 3.0, 3.02), at_s=10.0, previous=first))
        assert stage.names() == before
        await stage.press("home", "enter")
        turned = [stage.lines[1].split()[0]]
        for _ in range(2):
            await stage.press("right")
            turned.append(stage.lines[1].split()[0])
        assert turned == before

    first = read((3.04, 3.02, 3.0), at_s=5.0)
    Stage(first, size=(80, 24)).play(scene)


def test_pages_are_turned_among_the_vms_that_the_filter_leaves() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(1))
        await stage.press("right")
        assert stage.lines[1].startswith("gamma")

    make_stage(state=UiState(filter_text="/alpha|gamma/")).play(scene)


def test_the_page_of_the_host_is_not_turned() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, None)
        before = stage.lines
        await stage.press("right")
        assert stage.lines == before
        assert "Right" not in stage.lines[-1]

    make_stage().play(scene)


def test_words_that_do_not_fit_can_be_scrolled_to() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(2))
        first = stage.lines[3]
        assert "uuid" not in shown(stage)
        await stage.press("down")
        assert stage.lines[3] != first
        await stage.press("end")
        assert vm_uuid(2) in shown(stage)
        await stage.press("home")
        assert stage.lines[3] == first

    make_stage().play(scene)


def test_the_page_follows_new_readings() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(1))
        assert "used 3.00G" in shown(stage)
        assert stage.source.reading.frame is not None
        assert stage.source.history is not None
        vms = [make_named(1, "alpha", 25.0), make_named(3, "gamma", 25.0)]
        vms[0] = make_vm(
            uuid=vm_uuid(1), name="alpha", guest=make_guest(last_update_s=START_S + 25, usable_bytes=GIB // 2)
        )
        frame = make_frame(vms, at_s=25.0, previous=stage.source.reading.frame)
        stage.source.history.add(frame)
        await stage.publish(frame)
        assert "used 3.50G" in shown(stage)

    make_stage().play(scene)


def test_a_vm_that_is_gone_says_so_and_keeps_its_past() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(1))
        frame = make_frame([make_named(2, "beta", 25.0)], at_s=25.0, previous=stage.source.reading.frame)
        assert stage.source.history is not None
        stage.source.history.add(frame)
        stage.clock.now_s = frame.sample.monotonic_s
        await stage.publish(frame)
        assert "gone" in shown(stage)
        assert "█" in shown(stage)
        assert "used ?" in shown(stage)

    make_stage().play(scene)


def test_old_figures_are_not_called_now() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(1))
        began_s = stage.clock.now_s
        failure = Failure(text="libvirtd is gone", exit_code=3, since_monotonic_s=began_s, attempts=3, retry_s=2.0)
        await stage.publish(failure=failure)
        await stage.pass_time(40.0)
        assert "NO ANSWER" in stage.lines[0]
        assert "OLD 40 s" in stage.lines[1]
        assert stage.lines[-2].rstrip().endswith("40 s ago")

    make_stage().play(scene)


def test_a_paused_page_stands_still_and_says_so() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(1))
        await stage.press("Z")
        before = stage.lines[3:-2]
        frame = make_frame([make_named(3, "alpha", 25.0)], at_s=25.0, previous=stage.source.reading.frame)
        assert stage.source.history is not None
        stage.source.history.add(frame)
        stage.clock.now_s += 5
        await stage.publish(frame)
        assert stage.lines[3:-2] == before
        assert stage.lines[-2].rstrip().endswith("5 s ago")
        assert "PAUSED" in stage.lines[-1]

    make_stage().play(scene)


def test_without_a_history_there_are_words_and_legends() -> None:
    async def scene(stage: Stage) -> None:
        stage.source.history = None
        await open_page(stage, vm_uuid(1))
        assert "used 3.00G" in shown(stage)

    make_stage().play(scene)


def test_before_the_first_reading_the_page_is_empty_and_does_not_fail() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, None)
        assert "Memory" not in shown(stage)
        await stage.press("tab", "right", "down", "escape")
        assert isinstance(stage.app.screen, MainScreen)

    Stage(None, size=(80, 24)).play(scene)


@pytest.mark.parametrize(
    "name", ["[red]x[/]", "[@click=app.quit]y", "\x1b]52;c;x\x07", "a\nb", "\u202eevil", "漢字" * 80]
)
def test_a_hostile_name_is_harmless_on_its_page(name: str) -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(1))
        assert all(line.isprintable() for line in stage.lines)
        assert [cell_width(line) for line in stage.lines] == [80] * 24
        if name.startswith("["):
            assert name in stage.lines[1]

    make_stage([name, "beta"]).play(scene)


def test_ascii_terminals_get_ascii_only() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(2))
        assert shown(stage).isascii()
        assert "####" in shown(stage)
        assert "i guest in" in shown(stage)

    make_stage(state=UiState(has_unicode=False)).play(scene)


@pytest.mark.parametrize("uuid", [vm_uuid(1), None], ids=["vm", "host"])
def test_pages_of_any_size_are_drawn_without_an_accident(uuid: str | None) -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, uuid)
        before = stage.lines
        for width, height in ((1, 1), (3, 2), (10, 3), (20, 5), (40, 12), (60, 15), (119, 18), (120, 8), (300, 90)):
            await resize(stage, width, height)
            for _ in range(3):
                assert [cell_width(line) for line in stage.lines] == [width] * height
                await stage.press("tab")
        await resize(stage, 80, 24)
        seen = []
        for _ in range(3):
            seen.append(stage.lines)
            await stage.press("tab")
        assert before in seen

    make_stage().play(scene)


def test_plotext_is_not_loaded_before_a_page_is_opened() -> None:
    program = "import sys, vmtop.tui.app; sys.exit('plotext' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("uuid", [vm_uuid(2), None], ids=["vm", "host"])
def test_a_page_says_that_there_are_more_words_and_which_key_shows_them(uuid: str | None) -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, uuid)
        assert "PgDn more" in stage.line_with("lines 1-9 of")
        assert "PgUp" not in stage.line_with("lines 1-9 of")
        await stage.press("pagedown")
        assert "PgUp back" in stage.line_with("── lines")
        await stage.press("end")
        assert "PgDn" not in stage.line_with("── lines")

    make_stage(size=(80, 24)).play(scene)


def test_a_page_whose_words_all_fit_has_no_rule() -> None:
    async def scene(stage: Stage) -> None:
        await open_page(stage, vm_uuid(2))
        assert "── lines" not in shown(stage)

    make_stage(size=(130, 100)).play(scene)
