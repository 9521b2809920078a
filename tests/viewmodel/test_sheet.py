"""Small tables and pages of lines."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmtop.viewmodel.formats import line_width
from vmtop.viewmodel.sheet import (
    Head,
    build_labelled,
    build_note,
    build_sheet,
    figure,
    make_page,
    plain,
    spinner,
    word,
)
from vmtop.viewmodel.tone import Line

HEADS = (
    Head(title="NAME", width=20, least=6),
    Head(title="SIZE", width=5, worth=2, is_left=False),
    Head(title="WHY", width=40, least=5, worth=1),
)


def text_of(line: Line) -> str:
    return "".join(span.text for span in line)


def sheet(width: int, *rows: tuple[str, str, str]) -> list[str]:
    cells = [tuple(word(text) for text in row) for row in rows]
    title, lines = build_sheet(HEADS, cells, width, True)
    return [text_of(line) for line in (title, *lines)]


def test_columns_stand_under_their_titles_numbers_to_the_right() -> None:
    assert sheet(60, ("web-1", "1.2G", "it is full"), ("a-longer-name", "12M", "")) == [
        "NAME            SIZE  WHY       ",
        "web-1           1.2G  it is full",
        "a-longer-name    12M            ",
    ]


def test_where_room_is_short_the_least_worth_column_goes_first() -> None:
    row = ("web-1", "1.2G", "it is full")
    titles = [sheet(width, row)[0].split() for width in (20, 19, 12)]
    assert titles == [["NAME", "SIZE", "WHY"], ["NAME", "SIZE"], ["NAME"]]


def test_what_finds_no_room_ends_in_an_ellipsis() -> None:
    assert sheet(22, ("web-1", "1.2G", "it is full"))[1].endswith("it is …")


def test_a_figure_that_is_not_known_is_a_question_mark() -> None:
    assert text_of(figure(None)) == "?"
    assert text_of(figure("")) == ""


@given(
    width=st.integers(2, 220),
    rows=st.lists(st.tuples(st.text(max_size=30), st.text(max_size=12), st.text(max_size=60)), max_size=6),
)
def test_no_line_is_wider_than_the_screen(width: int, rows: list[tuple[str, str, str]]) -> None:
    cells = [tuple(word(text) for text in row) for row in rows]
    title, lines = build_sheet(HEADS, cells, width, True)
    assert all(line_width(line) <= width for line in (title, *lines))


def test_a_key_that_comes_twice_stands_for_its_first_line() -> None:
    line = word("x")
    assert make_page([(line, "a"), (line, None), (line, "a"), (line, "b")]).keys == ("a", None, None, "b")
    assert make_page(plain([line, line])).keys == (None, None)


@pytest.mark.parametrize("width", [12, 30, 80])
def test_sentences_are_wrapped_beside_their_label(width: int) -> None:
    lines = build_labelled("revert", "QEMU is started anew and all that happened since is lost", width)
    assert text_of(lines[0]).startswith("revert    ")
    assert all(text_of(line).startswith(" " * 10) for line in lines[1:])
    assert " ".join(text_of(line)[10:].strip() for line in lines).replace(" ", "").startswith("QEMUisstartedanew")


def test_foreign_text_is_made_harmless() -> None:
    assert "\x1b" not in "".join(text_of(line) for line in build_note("a\x1b[31mb", 40))
    assert "\x1b" not in text_of(word("a\x1b[31mb"))


def test_the_spinner_moves_each_second_and_keeps_its_width() -> None:
    shown = [text_of(spinner(float(second), 12, False)) for second in range(19)]
    assert {len(text) for text in shown} == {12}
    assert shown[0].startswith("###.")
    assert shown[9].endswith(".###")
    assert shown[18] == shown[0]
    assert all(one != other for one, other in pairwise(shown))
