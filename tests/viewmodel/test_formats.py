"""Numbers and foreign text in a given number of cells."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from vmtop.units import GIB, KIB, MIB, TIB
from vmtop.viewmodel.formats import (
    bar,
    cell_width,
    cut_line,
    fit,
    format_age,
    format_bytes,
    format_count,
    format_duration,
    format_rate,
    format_ratio,
    format_time,
    format_times,
    line_width,
    safe_text,
    wrap_text,
)
from vmtop.viewmodel.tone import Span, Tone

ANY_TEXT = st.text(max_size=300)
HOSTILE = (
    "a\x1b[31mb",
    "a\x1b]52;c;x\x07",
    "a\x9b31m",
    "a\u202eb",
    "a\u200bb",
    "a\tb\nc\r\x00\x08",
    "\udc9bx",
    "\u2066x\u2069",
    "a\u00adb",
)


def is_harmless(text: str) -> bool:
    return all(character.isprintable() for character in text)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_acts_on_a_terminal_is_left_and_its_place_is_seen(text: str) -> None:
    shown = safe_text(text)
    assert is_harmless(shown)
    assert "\ufffd" in shown


@pytest.mark.parametrize("text", ["web-1", "[red]x[/]", "[@click=app.quit]", "漢字", "café", "$(reboot); rm -rf /", ""])
def test_text_that_is_only_odd_stays_as_it_is(text: str) -> None:
    assert safe_text(text) == text


def test_marks_about_which_terminals_disagree_go() -> None:
    assert safe_text("\u2764\ufe0f") == "\u2764"
    assert safe_text("1\ufe0f\u20e3") == "1"
    assert safe_text("\U0001f44d\U0001f3fd") == "\U0001f44d"
    assert safe_text("e\u0301") == "\u00e9"
    assert safe_text("x\u0327\u0331") == "x"


def test_without_unicode_letters_lose_their_accents_and_the_rest_becomes_a_question_mark() -> None:
    assert safe_text("café-漢-\x1b", has_unicode=False) == "cafe-?-?"


@given(ANY_TEXT)
def test_safe_text_is_harmless_and_stays_so(text: str) -> None:
    shown = safe_text(text)
    assert is_harmless(shown)
    assert safe_text(shown) == shown
    assert safe_text(text, has_unicode=False).isascii()


def test_the_width_of_every_character_is_the_one_that_textual_counts() -> None:
    printable = (chr(code) for code in range(0x20, 0x20000) if unicodedata.category(chr(code))[0] not in "CM")
    assert [ascii(text) for text in map(safe_text, printable) if cell_width(text) != cell_len(text)] == []


@given(ANY_TEXT)
def test_the_width_of_any_safe_text_is_the_one_that_textual_counts(text: str) -> None:
    shown = safe_text(text)
    assert cell_width(shown) == cell_len(shown)


@given(ANY_TEXT, st.integers(0, 60), st.booleans(), st.booleans())
def test_fitted_text_is_harmless_and_exactly_as_wide_as_asked(
    text: str, width: int, is_left: bool, has_unicode: bool
) -> None:
    shown = fit(text, width, is_left=is_left, has_unicode=has_unicode)
    assert cell_len(shown) == width
    assert is_harmless(shown)


def test_fitted_text_stands_left_or_right_and_shows_that_it_was_cut() -> None:
    assert fit("web", 5) == "web  "
    assert fit("web", 5, is_left=False) == "  web"
    assert fit("web-server", 5) == "web-…"
    assert fit("web-server", 5, has_unicode=False) == "web-~"
    assert fit("漢字漢字", 6) == "漢字… "


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "?"),
        (0, "0"),
        (0.2, "0"),
        (1, "1B"),
        (1023, "1023B"),
        (KIB, "1K"),
        (512 * KIB, "512K"),
        (1023 * KIB, "1023K"),
        (MIB, "1.00M"),
        (MIB - 1, "1.00M"),
        (int(1.25 * GIB), "1.25G"),
        (int(23.4 * GIB), "23.4G"),
        (234 * GIB, "234G"),
        (1020 * GIB, "1020G"),
        (GIB - 1, "1.00G"),
        (int(1.2 * TIB), "1.20T"),
        (3000 * TIB, "2.93P"),
        (-5 * MIB, "-5.00M"),
    ],
)
def test_amounts_have_three_digits_and_a_binary_unit(amount: float | None, text: str) -> None:
    assert format_bytes(amount) == text


@given(st.integers(0, 2**60))
def test_an_amount_takes_five_cells_at_most_and_is_off_by_less_than_one_in_a_hundred(amount: int) -> None:
    shown = format_bytes(amount)
    assert len(shown) <= 5
    factor = {"B": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB, "P": 1024 * TIB}
    if amount >= MIB // 2:
        assert float(shown[:-1]) * factor[shown[-1]] == pytest.approx(amount, rel=0.01)


@given(st.floats(0, 2.0**60))
def test_rates_and_counts_keep_to_their_cells(value: float) -> None:
    assert len(format_rate(value)) <= 7
    if value < 1e11:
        assert len(format_count(value)) <= 5


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (format_rate(None), "?"),
        (format_rate(0.0), "0"),
        (format_rate(12.5 * MIB), "12.5M/s"),
        (format_count(None), "?"),
        (format_count(0), "0"),
        (format_count(0.02), "0"),
        (format_count(0.44), "0.4"),
        (format_count(12.4), "12"),
        (format_count(999.4), "999"),
        (format_count(1_250), "1.25k"),
        (format_ratio(None), "?"),
        (format_ratio(0.0), "0%"),
        (format_ratio(0.004), "0.4%"),
        (format_ratio(0.38), "38%"),
        (format_ratio(1.5), "150%"),
        (format_times(None), "?"),
        (format_times(1.523), "1.52x"),
        (format_age(None), "?"),
        (format_age(0.4), "0s"),
        (format_age(119.0), "119s"),
        (format_age(12 * 60), "12m"),
        (format_age(4 * 3600), "4h"),
        (format_age(200 * 86_400), "200d"),
        (format_duration(None), "an unknown time"),
        (format_duration(34), "34 s"),
        (format_duration(12 * 60), "12 min"),
        (format_time(1_700_000_000), "2023-11-14T22:13:20.000Z"),
        (format_time(1_700_000_000.25), "2023-11-14T22:13:20.250Z"),
    ],
)
def test_figures_are_written_so(shown: str, text: str) -> None:
    assert shown == text


PARTS = st.lists(
    st.tuples(
        st.floats(-10, 2.0**50) | st.integers(0, 2**50),
        st.sampled_from([Tone.BAR_USED, Tone.BAR_CACHE, Tone.BAR_FREE, Tone.BAR_GIVEN]),
    ),
    max_size=5,
)


@given(PARTS, st.integers(0, 80), st.booleans())
def test_a_bar_is_exactly_as_wide_as_asked(parts: list[tuple[float, Tone]], width: int, has_unicode: bool) -> None:
    drawn = bar(parts, width, has_unicode)
    assert line_width(drawn) == width
    assert has_unicode or all(span.text.isascii() for span in drawn)


@given(st.integers(1, 10**12), st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 80))
def test_a_part_of_a_bar_never_shrinks_when_its_amount_grows(whole: int, one: int, other: int, width: int) -> None:
    less, more = sorted((one % (whole + 1), other % (whole + 1)))

    def cells(used: int) -> int:
        drawn = bar([(used, Tone.BAR_USED), (whole - used, Tone.BAR_FREE)], width, False)
        return sum(len(span.text) for span in drawn if span.tone is Tone.BAR_USED)

    assert cells(less) <= cells(more)
    assert abs(cells(more) - more / whole * width) <= 0.5 + 1e-6


def test_the_parts_of_a_bar_differ_without_colour() -> None:
    tones = (
        Tone.BAR_USED,
        Tone.BAR_OTHER,
        Tone.BAR_CACHE,
        Tone.BAR_FREE,
        Tone.BAR_GIVEN,
        Tone.BAR_SHARED,
        Tone.UNKNOWN,
    )
    for has_unicode in (True, False):
        drawn = bar([(1, tone) for tone in tones], len(tones), has_unicode)
        assert len({span.text for span in drawn}) == len(tones)


def test_a_bar_of_nothing_is_blank() -> None:
    assert bar([], 4, True) == (Span("    ", Tone.NORMAL),)
    assert bar([(0, Tone.BAR_USED)], 4, True) == (Span("    ", Tone.NORMAL),)


@given(ANY_TEXT.map(safe_text), ANY_TEXT.map(safe_text), st.integers(0, 40))
def test_a_cut_line_fits_and_keeps_what_fits(first: str, second: str, width: int) -> None:
    line = (Span(first, Tone.NAME), Span(second, Tone.DIM))
    cut = cut_line(line, width)
    assert line_width(cut) <= width
    if line_width(line) <= width:
        assert cut == line
    elif width:
        assert cut[-1].text == "…"


@given(ANY_TEXT.map(safe_text), st.integers(2, 40))
def test_wrapped_text_fits_and_loses_no_letter(text: str, width: int) -> None:
    lines = wrap_text(text, width)
    assert all(cell_width(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_text_is_wrapped_between_words() -> None:
    assert wrap_text("the guest sent no figures", 9) == ["the guest", "sent no", "figures"]
    assert wrap_text("", 9) == [""]
