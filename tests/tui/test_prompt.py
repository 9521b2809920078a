"""Typing into the one line that asks."""

import pytest
from textual import events

from tests.builders import make_frame
from tests.tui.screen import Stage
from vmtop.tui.widgets.prompt import LONGEST_TEXT, Prompt
from vmtop.viewmodel.formats import cell_width


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (("a", "b", "c"), "abc"),
        (("a", "b", "left", "c"), "acb"),
        (("a", "b", "home", "c"), "cab"),
        (("a", "b", "ctrl+a", "right", "c"), "acb"),
        (("a", "b", "home", "end", "c"), "abc"),
        (("a", "b", "home", "ctrl+e", "c"), "abc"),
        (("a", "b", "left", "backspace"), "b"),
        (("a", "b", "left", "delete"), "a"),
        (("a", "space", "b", "ctrl+w"), "a"),
        (("a", "b", "left", "ctrl+u"), "b"),
        (("a", "b", "left", "ctrl+k"), "a"),
        (("left", "backspace", "delete", "a"), "a"),
    ],
)
def test_keys_edit_the_text(keys: tuple[str, ...], text: str) -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("slash", *keys)
        assert stage.app._state.filter_text == text

    Stage(make_frame(1)).play(scene)


def test_of_what_is_pasted_the_first_line_is_taken() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("slash")
        stage.app.screen.query_one(Prompt).post_message(events.Paste("web-01\nrm -rf"))
        await stage.pilot.pause()
        assert stage.app._state.filter_text == "web-01"

    Stage(make_frame(1)).play(scene)


def test_a_long_text_is_cut_and_the_cursor_stays_in_sight() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("slash")
        stage.app.screen.query_one(Prompt).post_message(events.Paste("漢字" * 300))
        await stage.press("end", "x")
        assert len(stage.app._state.filter_text) == LONGEST_TEXT
        await stage.press("backspace", "z")
        assert stage.lines[-1].rstrip().endswith("z")
        assert cell_width(stage.lines[-1]) == 40
        assert stage.lines[-1].startswith("Show names with: ")

    Stage(make_frame(1), size=(40, 12)).play(scene)


def test_a_complaint_without_room_beside_the_text_stands_whole_below_it() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("d", *"1e9", "enter")
        prompt = stage.app.screen.query_one(Prompt)
        assert prompt.rows > 1
        below = " ".join(" ".join(stage.lines[-prompt.rows + 1 :]).split())
        assert below == prompt._complaint
        await stage.press("backspace")
        assert prompt.rows == 1

    Stage(make_frame(1), size=(40, 24)).play(scene)
