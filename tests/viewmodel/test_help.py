"""The help explains every key, column, mark, bar, state and level."""

from dataclasses import replace

import pytest

from tests.viewmodel.golden import check_golden
from tests.viewmodel.scenes import text_of
from vmtop.derive.metrics import Condition, Level
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.viewmodel.columns import COLUMNS, MARKS
from vmtop.viewmodel.formats import line_width
from vmtop.viewmodel.help import CONDITION_WORDS, KeyHelp, build_help, describe_columns, level_words

KEYS = (KeyHelp("q, F10", "quit"), KeyHelp("?", "show this help"))


def test_the_help_looks_so() -> None:
    lines = build_help(KEYS, width=80, has_unicode=False)
    check_golden("help-80-ascii.txt", "\n".join(text_of(line).rstrip() for line in lines) + "\n")


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_help_fits_and_leaves_nothing_out(width: int) -> None:
    lines = build_help(KEYS, width=width)
    assert all(line_width(line) <= width for line in lines)
    text = " ".join(" ".join(text_of(line) for line in lines).split())
    for key in KEYS:
        assert f"{key.keys} {key.does}" in text
    for each in COLUMNS:
        assert f"{each.title} {each.id} {each.meaning}" in text
        assert f"Source: {each.source}" in text
    for mark, meaning in MARKS:
        assert f"{mark} {meaning}" in text


def test_every_level_and_state_is_explained() -> None:
    assert list(level_words(DEFAULT_POLICY)) == list(Level)
    assert "below 6 times" in level_words(replace(DEFAULT_POLICY, watch_times=6.0))[Level.WATCH]
    assert list(CONDITION_WORDS) == list(Condition)


def test_the_list_of_columns_has_a_line_for_each_with_its_unit() -> None:
    lines = describe_columns().splitlines()
    assert len(lines) == len(COLUMNS)
    for each, line in zip(COLUMNS, lines, strict=True):
        assert line.startswith(each.id)
        assert each.meaning in line
        assert not each.unit or f"Unit: {each.unit}." in line
