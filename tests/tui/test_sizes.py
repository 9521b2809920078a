"""No size of the terminal breaks the screen."""

import pytest

from tests.builders import make_frame
from tests.tui.screen import Stage
from vmtop.tui.widgets.vm_table import VmTable
from vmtop.viewmodel.formats import cell_width

FLEET = make_frame(40)

SIZES = [(1, 1), (2, 1), (1, 5), (5, 2), (10, 3), (20, 5), (3, 40), (40, 8), (60, 15), (79, 23), (80, 24), (300, 5)]


@pytest.mark.parametrize(
    "size", [(1, 1), (3, 40), (10, 3), (60, 15), (300, 100)], ids=lambda size: f"{size[0]}x{size[1]}"
)
def test_every_line_is_as_wide_as_the_terminal(size: tuple[int, int]) -> None:
    async def scene(stage: Stage) -> None:
        for keys in ((), ("down", "right", "end"), ("up",), ("slash", "v"), ("question_mark",)):
            await stage.press(*keys)
            assert [cell_width(line) for line in stage.lines] == [size[0]] * size[1], keys

    Stage(FLEET, size=size).play(scene)


@pytest.mark.parametrize(("size", "least"), [((60, 15), 5), ((80, 24), 12), ((120, 40), 28), ((200, 50), 38)])
def test_most_of_the_screen_is_left_to_vms(size: tuple[int, int], least: int) -> None:
    async def scene(stage: Stage) -> None:
        assert len(stage.names()) >= least

    Stage(FLEET, size=size).play(scene)


def test_a_storm_of_sizes_leaves_a_screen_like_the_one_before() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("end", "home")
        before = stage.lines
        for round_number in range(5):
            for width, height in SIZES:
                await stage.pilot.resize_terminal(width + round_number, height + round_number)
        await stage.pilot.resize_terminal(100, 30)
        await stage.press("home")
        assert stage.lines == before

    Stage(FLEET, size=(100, 30)).play(scene)


def test_the_cursor_stays_in_sight_when_the_terminal_shrinks() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("end")
        vm = stage.app.screen.query_one(VmTable).cursor_vm
        assert vm is not None
        await stage.pilot.resize_terminal(70, 16)
        await stage.pilot.pause()
        assert vm.name in stage.names()

    Stage(FLEET, size=(100, 40)).play(scene)


def test_the_height_of_the_header_does_not_follow_noise() -> None:
    async def scene(stage: Stage) -> None:
        table = stage.app.screen.query_one(VmTable)
        await stage.publish(make_frame(40, at_s=10))
        height = table.size.height
        for at_s in (15.0, 20.0, 25.0):
            await stage.publish(make_frame(40, at_s=at_s))
            assert table.size.height == height

    Stage(FLEET, size=(120, 40)).play(scene)
