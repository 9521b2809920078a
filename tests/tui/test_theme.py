"""Colours: legible on every background they are meant for, and never the only sign."""

import pytest
from rich.color import Color, ColorSystem
from rich.style import Style

from vmtop.tui.theme import (
    DARK,
    LIGHT,
    LOOKS,
    MONOCHROME,
    NEUTRAL,
    SIXTEEN,
    Ground,
    Hue,
    Palette,
    Scheme,
    choose_scheme,
)
from vmtop.viewmodel.tone import Span, Tone

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def luminance(rgb: tuple[int, int, int]) -> float:
    """Relative luminance as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def rgb(color: Color | str, system: ColorSystem) -> tuple[int, int, int]:
    parsed = Color.parse(color) if isinstance(color, str) else color
    red, green, blue = parsed.downgrade(system).get_truecolor()
    return red, green, blue


def hues_of(scheme: Scheme) -> list[str]:
    return [color for hue, color in scheme.hues.items() if hue is not Hue.PLAIN]


@pytest.mark.parametrize(("system", "least"), [(ColorSystem.TRUECOLOR, 4.5), (ColorSystem.EIGHT_BIT, 3.4)])
@pytest.mark.parametrize("background", [BLACK, WHITE])
def test_neutral_hues_are_legible_on_black_and_on_white(
    background: tuple[int, int, int], system: ColorSystem, least: float
) -> None:
    assert {color: contrast(rgb(color, system), background) for color in hues_of(NEUTRAL)} == pytest.approx(
        {color: max(least, contrast(rgb(color, system), background)) for color in hues_of(NEUTRAL)}
    )


@pytest.mark.parametrize("system", [ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT])
@pytest.mark.parametrize(("scheme", "background"), [(DARK, (30, 30, 30)), (LIGHT, (240, 240, 240))])
def test_hues_of_a_chosen_theme_have_a_contrast_of_four_and_a_half(
    scheme: Scheme, background: tuple[int, int, int], system: ColorSystem
) -> None:
    for color in hues_of(scheme):
        assert contrast(rgb(color, system), background) >= 4.5, color


@pytest.mark.parametrize("system", [ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT])
@pytest.mark.parametrize("scheme", [NEUTRAL, DARK, LIGHT])
def test_every_tone_is_legible_under_the_cursor(scheme: Scheme, system: ColorSystem) -> None:
    ground = Style.parse(scheme.grounds[Ground.CURSOR])
    assert ground.color is not None
    assert ground.bgcolor is not None
    background = rgb(ground.bgcolor, system)
    for color in [ground.color.name, *(color for color in scheme.cursor_hues.values() if color)]:
        assert contrast(rgb(color, system), background) >= 3.5, color


@pytest.mark.parametrize("scheme", [NEUTRAL, DARK, LIGHT, SIXTEEN])
@pytest.mark.parametrize("ground", list(Ground))
def test_every_tone_has_a_style_on_every_ground(scheme: Scheme, ground: Ground) -> None:
    styles = {tone: Palette(scheme).style(tone, ground) for tone in Tone}
    assert len({style for tone, style in styles.items() if tone in {Tone.NORMAL, Tone.HARD, Tone.CRITICAL}}) == 3


def test_without_color_no_style_has_a_color() -> None:
    palette = Palette(MONOCHROME)
    for tone in Tone:
        for ground in Ground:
            style = palette.style(tone, ground)
            assert style.color is None
            assert style.bgcolor is None


@pytest.mark.parametrize("tone", [Tone.NOTE, Tone.WARN, Tone.HARD, Tone.CRITICAL, Tone.SIMULATED])
def test_what_matters_is_bold_so_that_it_shows_without_color(tone: Tone) -> None:
    assert Palette(MONOCHROME).style(tone).bold


def test_critical_is_reversed_to_stand_out_from_hard_without_color() -> None:
    palette = Palette(MONOCHROME)
    assert palette.style(Tone.CRITICAL).reverse
    assert not palette.style(Tone.HARD).reverse


def test_stale_figures_lose_their_colors() -> None:
    palette = Palette(NEUTRAL)
    assert palette.style(Tone.CRITICAL, is_stale=True) == palette.style(Tone.STALE)


def test_the_same_style_is_the_identical_object() -> None:
    palette = Palette(NEUTRAL)
    assert palette.style(Tone.WARN, Ground.TOTAL) is palette.style(Tone.WARN, Ground.TOTAL)


def test_a_theme_with_a_background_paints_every_cell() -> None:
    palette = Palette(DARK, Style.parse("#e0e0e0 on #121212"))
    assert palette.style(Tone.NORMAL).bgcolor == Color.parse("#121212")
    assert palette.style(Tone.WARN).bgcolor == Color.parse("#121212")
    assert palette.style(Tone.NORMAL, Ground.CURSOR).bgcolor != Color.parse("#121212")


def test_spans_without_text_make_no_segment() -> None:
    segments = Palette(NEUTRAL).segments((Span("", Tone.DIM), Span("a", Tone.NORMAL)))
    assert [segment.text for segment in segments] == ["a"]


def test_every_tone_has_a_look() -> None:
    assert set(LOOKS) == set(Tone)


@pytest.mark.parametrize(
    ("is_chosen", "is_dark", "has_many_colors", "has_color", "scheme"),
    [
        (False, True, True, True, NEUTRAL),
        (True, True, True, True, DARK),
        (True, False, True, True, LIGHT),
        (True, False, False, True, SIXTEEN),
        (False, True, False, True, SIXTEEN),
        (True, True, True, False, MONOCHROME),
        (False, True, False, False, MONOCHROME),
    ],
)
def test_the_scheme_suits_terminal_and_theme(
    is_chosen: bool, is_dark: bool, has_many_colors: bool, has_color: bool, scheme: Scheme
) -> None:
    chosen = choose_scheme(is_chosen=is_chosen, is_dark=is_dark, has_many_colors=has_many_colors, has_color=has_color)
    assert chosen is scheme
