"""What terminals with less get: no colours, few colours, no Unicode; and themes."""

from collections.abc import Iterator

import pytest
from rich.color import Color, ColorType
from rich.segment import Segment

from tests.builders import make_frame, make_off_vm, make_pressure, make_qemu, make_vm, vm_uuid
from tests.tui.screen import Stage
from vmtop.errors import UsageError
from vmtop.viewmodel.ui_state import UiState

FRAME = make_frame(
    [
        make_vm(name="wörker-名"),
        make_vm(uuid=vm_uuid(2), name="silent", guest=None),
        make_vm(
            uuid=vm_uuid(3), name="pressed", qemu=make_qemu(pressure=make_pressure(some_ratio=0.5, full_ratio=0.3))
        ),
        make_off_vm(),
    ]
)
PAGES = ((), ("up",), ("down", "slash", "w"), ("escape", "Z"), ("question_mark",))


def segments(stage: Stage) -> Iterator[Segment]:
    for strip in stage.app.screen._compositor.render_strips():
        yield from strip


def colors(stage: Stage) -> set[Color]:
    styles = [segment.style for segment in segments(stage) if segment.style is not None]
    return {color for style in styles for color in (style.color, style.bgcolor) if color is not None}


@pytest.mark.parametrize("theme", [None, "textual-dark"])
def test_no_color_means_no_color(monkeypatch: pytest.MonkeyPatch, theme: str | None) -> None:
    monkeypatch.setenv("NO_COLOR", "")

    async def scene(stage: Stage) -> None:
        for keys in PAGES:
            await stage.press(*keys)
            assert {color for color in colors(stage) if not color.is_default} == set()

    Stage(FRAME, theme=theme).play(scene)


def test_a_terminal_with_sixteen_colors_gets_only_those(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLORTERM", raising=False)

    async def scene(stage: Stage) -> None:
        for keys in PAGES:
            await stage.press(*keys)
            assert {color.type for color in colors(stage)} <= {ColorType.STANDARD, ColorType.DEFAULT}
            assert {color.type for color in colors(stage)} >= {ColorType.STANDARD}

    Stage(FRAME).play(scene)


def test_without_a_theme_the_terminal_keeps_its_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")

    async def scene(stage: Stage) -> None:
        backgrounds = [
            segment.style.bgcolor
            for segment in segments(stage)
            if segment.style is not None and segment.style.bgcolor is not None and not segment.style.bgcolor.is_default
        ]
        cursor_row = stage.size[0]
        assert 0 < len(backgrounds) < cursor_row

    Stage(FRAME).play(scene)


def test_a_theme_paints_its_background_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")

    async def scene(stage: Stage) -> None:
        grounds = [segment.style.bgcolor for segment in segments(stage) if segment.style is not None]
        paper = Color.parse(stage.app.get_css_variables()["background"].lower())
        assert len(grounds) == len(list(segments(stage)))
        assert None not in grounds
        assert grounds.count(paper) > len(grounds) / 2

    Stage(FRAME, theme="textual-light").play(scene)


def test_without_unicode_everything_is_ascii() -> None:
    async def scene(stage: Stage) -> None:
        for keys in PAGES:
            await stage.press(*keys)
            assert [line for line in stage.lines if not line.isascii()] == []

    Stage(FRAME, state=UiState(has_unicode=False)).play(scene)


def test_an_unknown_theme_is_reported_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="Did you mean 'textual-dark'"):
        Stage(FRAME, theme="textual-drak")
