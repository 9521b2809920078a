"""Names come from strangers: shown harmlessly, in straight columns."""

from dataclasses import replace

import pytest

from tests.builders import make_frame, make_vm, vm_uuid
from tests.tui.screen import Stage
from vmtop.model.failure import Failure
from vmtop.tui.widgets.vm_table import VmTable
from vmtop.viewmodel.formats import cell_width

NAMES = {
    "markup": "[red]x[/]",
    "broken markup": "a[/red]b",
    "a live link": "[@click=app.quit]click me[/]",
    "colours": "\x1b[31mred\x1b[0m",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "C1 control": "a\x9b31mb",
    "bell, backspace, return, NUL": "a\x07\x08\r\x00b",
    "newline and tab": "a\nb\tc",
    "right-to-left override": "abc\u202edef\u202c",
    "zero width": "a\u200bb\u200dc\ufeffd",
    "wide": "名前テスト仮想機械",
    "emoji": "👨‍👩‍👧‍👦🏽❤️1️⃣",
    "combining": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L",
    "lone surrogate": "a\udcffb",
    "255 characters": "x" * 255,
    "255 wide characters": "漢" * 255,
    "nothing": "",
    "spaces": "   ",
}


def is_harmless(character: str) -> bool:
    return character.isprintable() and character not in "\u202e\u200b"


@pytest.mark.parametrize("width", [60, 120])
def test_hostile_names_are_harmless_and_columns_stay_straight(width: int) -> None:
    plain = make_vm(name="plain")
    frame = make_frame(
        [plain, *(replace(plain, uuid=vm_uuid(2 + n), name=name) for n, name in enumerate(NAMES.values()))]
    )
    height = 12 + len(NAMES)

    async def scene(stage: Stage) -> None:
        for keys in ((), ("down", "down"), ("N",)):
            await stage.press(*keys)
            assert [cell_width(line) for line in stage.lines] == [width] * height
            assert all(is_harmless(character) for line in stage.lines for character in line)
        table = stage.app.screen.query_one(VmTable)
        assert table._table is not None
        rows = {table.render_line(y).crop(table._table.widths[0], width).text for y in range(1, 2 + len(NAMES))}
        assert len(rows) == 1
        for y in range(1, 2 + len(NAMES)):
            await stage.pilot.click(VmTable, offset=(2, y))
        assert stage.app.is_running

    Stage(frame, size=(width, height)).play(scene)


def test_a_hostile_filter_is_typed_and_shown_harmlessly() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("slash")
        for character in "[red]名\u202e":
            await stage.pilot.press(character)
        await stage.press("enter")
        assert [cell_width(line) for line in stage.lines] == [80] * 20
        assert all(is_harmless(character) for line in stage.lines for character in line)

    Stage(make_frame(3), size=(80, 20)).play(scene)


def test_a_hostile_error_of_the_daemon_is_shown_harmlessly() -> None:
    async def scene(stage: Stage) -> None:
        text = "".join(NAMES.values())
        await stage.publish(
            failure=Failure(text=text, since_monotonic_s=stage.clock.now_s, attempts=1, retry_s=2.0, exit_code=3)
        )
        assert [cell_width(line) for line in stage.lines] == [80] * 20
        assert all(is_harmless(character) for line in stage.lines for character in line)

    Stage(make_frame(3), size=(80, 20)).play(scene)
