"""Figures inside sentences are short and have their unit."""

import pytest

from vmtop.derive.words import duration_words, percent_words, rate_words, size_words
from vmtop.units import GIB, KIB, MIB, TIB


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (KIB, "1 KiB"),
        (1536 * KIB, "1.5 MiB"),
        (9.96 * MIB, "10 MiB"),
        (18.4 * MIB, "18 MiB"),
        (1.9 * GIB, "1.9 GiB"),
        (12 * TIB, "12 TiB"),
    ],
)
def test_sizes(size_bytes: float, words: str) -> None:
    assert size_words(size_bytes) == words
    assert rate_words(size_bytes) == f"{words}/s"


@pytest.mark.parametrize(("ratio", "words"), [(0.0, "0 %"), (0.031, "3.1 %"), (0.06, "6 %"), (0.62, "62 %")])
def test_shares(ratio: float, words: str) -> None:
    assert percent_words(ratio) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (12.4, "12 s"),
        (119, "119 s"),
        (180, "3 min"),
        (5400, "90 min"),
        (9000, "2.5 h"),
        (200_000, "2.3 d"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words
