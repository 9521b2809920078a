"""The last line of the screen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmtop.viewmodel.formats import cell_width
from vmtop.viewmodel.status import Notice, build_emptiness, build_page_status, build_status
from vmtop.viewmodel.tone import Line, Tone
from vmtop.viewmodel.ui_state import UiState

HINTS = [("q", "quit"), ("?", "help"), ("/", "filter")]


def text_of(line: Line) -> str:
    return "".join(span.text for span in line)


def status(
    state: UiState | None = None,
    *,
    interval_s: float | None = 2.0,
    paused_s: float | None = None,
    filter_error: str | None = None,
    width: int = 80,
    notice: Notice | None = None,
) -> Line:
    return build_status(
        UiState() if state is None else state,
        interval_s=interval_s,
        paused_s=paused_s,
        filter_error=filter_error,
        hints=HINTS,
        width=width,
        notice=notice,
    )


def test_keys_stand_left_and_the_pace_right() -> None:
    shown = text_of(status())
    assert shown.startswith("q quit  ? help  / filter")
    assert shown.endswith("every 2 s")


def test_a_pause_is_said_with_its_length_before_anything_else() -> None:
    assert text_of(status(paused_s=125.0)).startswith(" PAUSED 2 min ")


def test_the_filter_is_shown() -> None:
    assert text_of(status(UiState(filter_text="web"))).startswith("/web  q quit")


def test_a_filter_that_cannot_be_used_is_marked_and_explained() -> None:
    line = status(UiState(filter_text="/("), filter_error="( is never closed")
    assert "( is never closed" in text_of(line)
    assert {span.text.strip(): span.tone for span in line}["( is never closed"] is Tone.WARN


def test_an_interval_that_is_longer_than_asked_is_said() -> None:
    line = status(UiState(delay_s=1.0), interval_s=3.14)
    assert text_of(line).endswith("every 3.1 s, not 1 s")
    assert line[-1].tone is Tone.WARN


@pytest.mark.parametrize("interval_s", [None, 1.0, 1.2])
def test_an_interval_near_what_was_asked_is_no_news(interval_s: float | None) -> None:
    assert text_of(status(UiState(delay_s=1.0), interval_s=interval_s)).endswith("every 1 s")


def test_a_hostile_filter_is_shown_harmlessly_and_short() -> None:
    shown = text_of(status(UiState(filter_text="\x1b[31m名" + "x" * 200)))
    assert "\x1b" not in shown
    assert cell_width(shown) == 80
    assert "quit" in shown


@given(
    text=st.text(max_size=40),
    error=st.none() | st.text(max_size=60),
    paused_s=st.none() | st.floats(0, 1e6),
    interval_s=st.none() | st.floats(0, 1e6),
    width=st.integers(0, 200),
    has_unicode=st.booleans(),
)
def test_it_is_exactly_as_wide_as_the_screen(
    text: str, error: str | None, paused_s: float | None, interval_s: float | None, width: int, has_unicode: bool
) -> None:
    state = UiState(filter_text=text, has_unicode=has_unicode)
    line = status(state, interval_s=interval_s, paused_s=paused_s, filter_error=error, width=width)
    assert cell_width(text_of(line)) == width
    assert cell_width(text_of(build_page_status(HINTS, width=width))) == width


def test_an_empty_table_says_whether_the_filter_is_to_blame() -> None:
    assert "filter" in text_of(build_emptiness(UiState(filter_text="x"), 80))
    assert "no VMs" in text_of(build_emptiness(UiState(), 80))
    assert cell_width(text_of(build_emptiness(UiState(), 7))) <= 7


def test_a_notice_stands_before_the_hints_in_its_own_tone() -> None:
    line = status(UiState(marked=frozenset({"a", "b"})), notice=Notice("web-1: \x1b[31mstuck", Tone.HARD))
    assert text_of(line).startswith("2 marked  web-1: \ufffd[31mstuck  q quit")
    assert Tone.HARD in {span.tone for span in line if "stuck" in span.text}
    assert cell_width(text_of(line)) == 80


def test_a_long_notice_takes_the_place_of_the_hints() -> None:
    assert "quit" not in text_of(status(notice=Notice("no " * 25, Tone.HARD)))


def test_on_a_page_keys_stand_before_a_notice() -> None:
    line = text_of(build_page_status(HINTS, width=200, notice=Notice("copying for 4 min", Tone.NOTE)))
    assert line.startswith("q quit")
    assert line.rstrip().endswith("copying for 4 min")


@pytest.mark.parametrize("width", [0, 1, 10, 200])
def test_a_notice_fits_any_width_on_every_page(width: int) -> None:
    notice = Notice("web-1: balloon: reached 2.0G", Tone.OK)
    assert cell_width(text_of(status(notice=notice, width=width))) == width
    assert cell_width(text_of(build_page_status(HINTS, width=width, notice=notice))) == width


def test_only_what_went_wrong_or_is_refused_is_bad() -> None:
    assert [tone for tone in Tone if Notice("", tone).is_bad] == [Tone.WARN, Tone.HARD, Tone.CRITICAL]
