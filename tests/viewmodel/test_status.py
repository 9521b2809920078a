"""The last line of the screen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmtop.viewmodel.formats import cell_width
from vmtop.viewmodel.status import (
    Notice,
    build_emptiness,
    build_more,
    build_notice,
    build_page_status,
    build_place,
    build_status,
    notice_rows,
)
from vmtop.viewmodel.tone import Line, Tone
from vmtop.viewmodel.ui_state import UiState

HINTS = [("q", "quit"), ("/", "filter"), ("?", "help")]


def text_of(line: Line) -> str:
    return "".join(span.text for span in line)


def status(
    state: UiState | None = None,
    *,
    interval_s: float | None = 2.0,
    paused_s: float | None = None,
    filter_error: str | None = None,
    width: int = 100,
) -> Line:
    return build_status(
        UiState() if state is None else state,
        interval_s=interval_s,
        paused_s=paused_s,
        filter_error=filter_error,
        hints=HINTS,
        width=width,
    )


def test_keys_stand_left_and_the_pace_right() -> None:
    shown = text_of(status())
    assert shown.startswith("q quit  / filter  ? help")
    assert shown.endswith("every 2 s")


def test_a_pause_is_said_with_its_length_before_anything_else() -> None:
    assert text_of(status(paused_s=125.0)).startswith(" PAUSED 2 min ")


def test_the_filter_is_shown() -> None:
    assert text_of(status(UiState(filter_text="web"))).startswith("/web  q quit")


def test_a_filter_that_cannot_be_used_is_marked() -> None:
    line = status(UiState(filter_text="/("), filter_error="( is never closed")
    assert {span.text.strip(): span.tone for span in line}["/("] is Tone.WARN


def test_where_room_is_short_keys_take_the_place_of_the_pace_and_the_last_one_stays() -> None:
    assert text_of(status(width=80)).rstrip() == "q quit  / filter  ? help"
    assert text_of(status(width=17)).rstrip() == "q quit  ? help"
    assert text_of(status(width=8)).rstrip() == "? help"


def test_a_pace_that_is_not_kept_is_said_on_narrow_screens_too() -> None:
    assert text_of(status(UiState(delay_s=1.0), interval_s=3.14, width=60)).endswith("every 3.1 s, not 1 s")


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
    assert cell_width(shown) == 100
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


def notice_text(notice: Notice, width: int, rows: int) -> list[str]:
    return [text_of(line) for line in build_notice(notice, width=width, rows=rows)]


def test_a_notice_has_lines_of_its_own_in_its_own_tone() -> None:
    lines = build_notice(Notice("web-1: \x1b[31mstuck", Tone.HARD), width=80, rows=3)
    assert [text_of(line) for line in lines] == ["web-1: \ufffd[31mstuck"]
    assert [span.tone for span in lines[0]] == [Tone.HARD]


def test_the_reason_of_a_notice_survives_a_narrow_screen() -> None:
    text = "shop-01: balloon: refused: no balloon driver was seen in the guest: it never sent figures"
    shown = notice_text(Notice(text, Tone.WARN), 60, 2)
    assert " ".join(shown) == text


def test_a_notice_that_does_not_fit_ends_in_an_ellipsis() -> None:
    shown = notice_text(Notice("no " * 100, Tone.HARD), 60, 2)
    assert len(shown) == 2
    assert shown[-1].endswith("…")


@pytest.mark.parametrize("width", [1, 2, 10, 200])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_notice_fits_any_screen(width: int, rows: int) -> None:
    shown = notice_text(Notice("web-1: balloon: reached 2.0G", Tone.OK), width, rows)
    assert len(shown) <= rows
    assert all(cell_width(line) <= max(width, 2) for line in shown)


@pytest.mark.parametrize(("terminal_rows", "rows"), [(1, 1), (15, 2), (24, 3), (200, 4)])
def test_a_notice_leaves_most_of_the_screen_alone(terminal_rows: int, rows: int) -> None:
    assert notice_rows(terminal_rows) == rows


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ((1, 9, 27), "lines 1-9 of 27  PgDn more  "),
        ((5, 13, 27), "lines 5-13 of 27  PgDn more  PgUp back  "),
        ((19, 27, 27), "lines 19-27 of 27  PgUp back  "),
    ],
)
def test_the_rule_below_words_says_where_there_are_more(seen: tuple[int, int, int], words: str) -> None:
    line = text_of(build_more(seen, ("PgUp", "PgDn"), width=80))
    assert words in line
    assert cell_width(line) == 80
    assert cell_width(text_of(build_more(seen, ("PgUp", "PgDn"), width=20))) == 20


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ((1, 9, 9), ""),
        ((0, 0, 0), ""),
        ((1, 9, 27), "1-9/27  PgDn more"),
        ((19, 27, 27), "19-27/27  PgUp back"),
    ],
)
def test_a_list_says_which_of_its_lines_are_in_sight_unless_all_are(seen: tuple[int, int, int], words: str) -> None:
    assert text_of(build_place(seen, ("PgUp", "PgDn"))) == words


def test_only_what_went_wrong_or_is_refused_is_bad() -> None:
    assert [tone for tone in Tone if Notice("", tone).is_bad] == [Tone.WARN, Tone.HARD, Tone.CRITICAL]
