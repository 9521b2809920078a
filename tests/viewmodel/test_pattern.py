"""Regular expressions that take a time one can foresee."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmtop.errors import UsageError
from vmtop.viewmodel.pattern import LONGEST_EXPRESSION, parse_pattern

LETTERS = "abX1-_ "


def build_expressions() -> st.SearchStrategy[str]:
    single = st.sampled_from(
        [*"abX1", ".", "[ab]", "[^a]", "[a-x]", "[0-9-]", r"\d", r"\w", r"\s", r"\W", r"\-", "^", "$"]
    )
    return st.recursive(
        single,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4).map("".join),
            st.lists(inner, min_size=1, max_size=3).map("|".join).map("({})".format),
            st.tuples(inner.map("(?:{})".format), st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,3}", "*?"])).map(
                "".join
            ),
        ),
        max_leaves=6,
    )


@given(build_expressions(), st.text(LETTERS, max_size=12))
def test_an_expression_finds_what_pythons_own_finds(expression: str, text: str) -> None:
    assert parse_pattern(expression).search(text) is bool(re.search(expression, text, re.IGNORECASE))


@pytest.mark.parametrize(
    ("expression", "found", "not_found"),
    [
        ("web", "my-WEB-1", "we-b"),
        ("^web-[0-9]+$", "web-12", "web-12a"),
        ("^(db|web)-", "DB-1", "xdb-1"),
        (r"a\.b", "a.b", "axb"),
        ("a.?b{2}", "axbb", "axb"),
        ("[]x]", "]", "["),
        ("[a-]", "-", "b"),
        ("é", "É", "e"),
        ("漢.", "漢字", "字漢"),
        ("", "anything", None),
    ],
)
def test_expressions_mean_what_people_expect(expression: str, found: str, not_found: str | None) -> None:
    pattern = parse_pattern(expression)
    assert pattern.search(found)
    assert not_found is None or not pattern.search(not_found)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("(a", "is never closed"),
        ("a)", "was never opened"),
        ("[a", "is never closed"),
        ("*a", "nothing to repeat"),
        ("a**", "nothing to repeat"),
        ("a{2", "a count is written"),
        ("a{3,2}", "a count is written"),
        ("[b-a]", "no range"),
        ("(?=a)", "knows no (?"),
        (r"(a)\1", "knows no \\1"),
        ("a\\", "knows no \\"),
        ("((a{50}){50}){50}", "too large"),
        ("a{999999999}", "no count may be larger than 250"),
        ("(){99999999999}", "no count may be larger than 250"),
        ("a{0,251}", "no count may be larger than 250"),
        ("a{250}", "too large"),
        ("a" * (LONGEST_EXPRESSION + 1), "longer than"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_reason(expression: str, reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        parse_pattern(expression)


@pytest.mark.parametrize("expression", ["(a+)+b", "(a|a)*b", "(a|aa)+$", "a*a*a*a*a*b", "(.*)*x", "(a?){30}a{30}b"])
def test_no_expression_takes_long_on_a_hostile_name(expression: str) -> None:
    pattern = parse_pattern(expression)
    began_s = time.thread_time()
    pattern.search("a" * 255 + "!")
    # Python's own engine needs from minutes to longer than the universe is old for each of these.
    assert time.thread_time() - began_s < 1.0


@pytest.mark.parametrize("expression", ["(){250}", "(((((){99}){99}){99}){99})", "(?:|){3}", "(" * 49 + ")" * 49])
def test_repeating_nothing_takes_no_time_and_matches_everything(expression: str) -> None:
    began_s = time.thread_time()
    assert parse_pattern(expression).search("web-1")
    assert time.thread_time() - began_s < 0.1


def test_what_is_remembered_stays_bounded() -> None:
    pattern = parse_pattern("(a|b)*a(a|b){12}$")
    for number in range(3_000):
        pattern.search(f"{number:b}".replace("0", "a").replace("1", "b") * 3)
    assert len(pattern._steps) <= 20_000
