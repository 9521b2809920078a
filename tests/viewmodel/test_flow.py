"""Blocks flow into lines, and the least important ones give way."""

from tests.viewmodel.scenes import text_of
from vmtop.viewmodel.flow import Block, fixed_block, flow_blocks
from vmtop.viewmodel.tone import Span, Tone


def block(text: str, worth: int = 1, *, is_alone: bool = False) -> Block:
    return fixed_block(worth, (Span(text, Tone.NORMAL),), is_alone=is_alone)


def flow(*blocks: Block, width: int = 20, rows: int = 9) -> list[str]:
    return [text_of(line) for line in flow_blocks(blocks, width, rows, has_unicode=False)]


def test_blocks_share_a_line_as_long_as_they_fit() -> None:
    assert flow(block("aaaa"), block("bbbb"), block("cccc")) == ["aaaa   bbbb   cccc"]
    assert flow(block("aaaa"), block("bbbb"), block("cccc"), width=17) == ["aaaa   bbbb", "cccc"]


def test_a_block_that_is_alone_shares_its_line_with_nobody() -> None:
    assert flow(block("aa"), block("bb", is_alone=True), block("cc")) == ["aa", "bb", "cc"]


def test_the_block_with_the_least_worth_goes_first_and_the_rest_flows_anew() -> None:
    blocks = (block("aaaaaaaa", 3), block("bbbbbbbb", 1), block("cccccccc", 2))
    assert flow(*blocks, width=19, rows=2) == ["aaaaaaaa   bbbbbbbb", "cccccccc"]
    assert flow(*blocks, width=19, rows=1) == ["aaaaaaaa   cccccccc"]
    assert flow(*blocks, width=10, rows=1) == ["aaaaaaaa"]


def test_a_block_that_stretches_takes_what_its_line_has_left() -> None:
    bar = Block(worth=1, least=3, draw=lambda width: (Span("#" * width, Tone.BAR_USED),), does_stretch=True)
    assert flow(bar, block("bb")) == ["#" * 15 + "   bb"]
    assert flow(bar) == ["#" * 20]
    assert flow(bar, width=2) == ["##"]


def test_what_is_too_long_for_any_line_is_cut() -> None:
    assert flow(block("abcdefghijkl"), width=6) == ["abcde~"]
