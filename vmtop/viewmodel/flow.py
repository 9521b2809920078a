"""Blocks of text that flow into lines like words into a paragraph, the least important ones giving way."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from vmtop.viewmodel.formats import cut_line, line_width
from vmtop.viewmodel.tone import Line, Span, Tone

GAP = "   "
"""Between two blocks of one line."""


class Block(NamedTuple):
    """A piece of text that stays together on one line."""

    worth: int
    """When there are more lines than room, the block with the least goes first."""
    least: int
    """Cells it needs."""
    draw: Callable[[int], Line]
    """Its text for so many cells."""
    does_stretch: bool = False
    """Takes all the room that its line has left, or makes do with less."""
    is_alone: bool = False
    """Has a line of its own."""


def fixed_block(worth: int, line: Line, *, is_alone: bool = False) -> Block:
    """A block that always looks the same."""
    return Block(worth=worth, least=line_width(line), draw=lambda _: line, is_alone=is_alone)


def flow_blocks(blocks: Sequence[Block], width: int, rows: int, *, has_unicode: bool) -> tuple[Line, ...]:
    """At most `rows` lines of at most `width` cells, blocks in the order given."""
    kept = list(blocks)
    lines = _pack(kept, width)
    while len(lines) > rows:
        kept.remove(min(kept, key=lambda block: block.worth))
        lines = _pack(kept, width)
    return tuple(cut_line(_draw(line, width), width, has_unicode) for line in lines)


def _pack(blocks: Sequence[Block], width: int) -> list[list[Block]]:
    lines: list[list[Block]] = []
    room = 0
    for block in blocks:
        needed = len(GAP) + block.least
        if needed <= room and not block.is_alone:
            lines[-1].append(block)
            room -= needed
        else:
            lines.append([block])
            room = 0 if block.is_alone else width - block.least
    return lines


def _draw(blocks: Sequence[Block], width: int) -> Line:
    room = width - sum(block.least for block in blocks) - len(GAP) * (len(blocks) - 1)
    spans: list[Span] = []
    for block in blocks:
        if spans:
            spans.append(Span(GAP, Tone.NORMAL))
        spans += block.draw(block.least + room if block.does_stretch else block.least)
    return tuple(spans)
