"""A terminal screen as a PNG: each cell on a grid; blocks and braille are drawn as shapes, so no font needs them."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from rich.cells import cell_len
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme

CELL_WIDTH, CELL_HEIGHT, FONT_SIZE, MARGIN = 10, 20, 16, 8
FONTS = Path("/usr/share/fonts/truetype/dejavu")

DARK = TerminalTheme(
    (12, 12, 12),
    (212, 212, 212),
    [
        (0, 0, 0),
        (205, 49, 49),
        (13, 188, 121),
        (229, 229, 16),
        (36, 114, 200),
        (188, 63, 188),
        (17, 168, 205),
        (229,) * 3,
    ],
    [
        (102,) * 3,
        (241, 76, 76),
        (35, 209, 139),
        (245, 245, 67),
        (59, 142, 234),
        (214, 112, 214),
        (41, 184, 219),
        (255,) * 3,
    ],
)
LIGHT = TerminalTheme(
    (255, 255, 255),
    (40, 40, 40),
    [(0, 0, 0), (205, 49, 49), (0, 140, 90), (148, 120, 0), (4, 81, 165), (188, 5, 188), (5, 128, 160), (85,) * 3],
    [(102,) * 3, (205, 49, 49), (20, 150, 20), (181, 137, 0), (4, 81, 165), (188, 5, 188), (5, 128, 160), (165,) * 3],
)

_DOTS = ((0, 0, 1), (0, 1, 2), (0, 2, 4), (1, 0, 8), (1, 1, 16), (1, 2, 32), (0, 3, 64), (1, 3, 128))
"""Column, row and bit of each dot of a braille character."""


def draw_screen(lines: Sequence[Sequence[Segment]], theme: TerminalTheme) -> Image.Image:
    """Draw lines of styled text as a terminal with these colours would show them."""
    columns = max(sum(cell_len(segment.text) for segment in line) for line in lines)
    size = (columns * CELL_WIDTH + 2 * MARGIN, len(lines) * CELL_HEIGHT + 2 * MARGIN)
    picture = Image.new("RGB", size, theme.background_color)
    pen = ImageDraw.Draw(picture)
    cells = [cell for row, line in enumerate(lines) for cell in _cells(row, line)]
    colors = [_colors(style, theme) for _, _, _, style in cells]
    for (x, y, text, _), (_, back) in zip(cells, colors, strict=True):
        pen.rectangle((x, y, x + cell_len(text) * CELL_WIDTH - 1, y + CELL_HEIGHT - 1), fill=back)
    for (x, y, text, style), (front, back) in zip(cells, colors, strict=True):
        _draw_cell(pen, (x, y), text, front, back, style)
    return picture


def _cells(row: int, line: Sequence[Segment]) -> Iterator[tuple[int, int, str, Style]]:
    column = 0
    for text, style, _ in line:
        for character in text:
            yield MARGIN + column * CELL_WIDTH, MARGIN + row * CELL_HEIGHT, character, style or Style.null()
            column += cell_len(character)


def _colors(style: Style, theme: TerminalTheme) -> tuple[tuple[int, ...], tuple[int, ...]]:
    front: ColorTriplet = style.color.get_truecolor(theme) if style.color else theme.foreground_color
    back: ColorTriplet = (
        style.bgcolor.get_truecolor(theme, foreground=False) if style.bgcolor else theme.background_color
    )
    if style.reverse:
        front, back = back, front
    if style.dim:
        front = ColorTriplet(*((2 * a + b) // 3 for a, b in zip(front, back, strict=True)))
    return tuple(front), tuple(back)


def _draw_cell(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    front: tuple[int, ...],
    back: tuple[int, ...],
    style: Style,
) -> None:
    code = ord(text)
    if 0x2800 <= code <= 0x28FF:
        for column, row, bit in _DOTS:
            if (code - 0x2800) & bit:
                x, y = at[0] + CELL_WIDTH * (1 + 2 * column) / 4, at[1] + CELL_HEIGHT * (1 + 2 * row) / 8
                pen.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=front)
    elif 0x2580 <= code <= 0x2595:
        shape, shade = _block(code)
        mixed = tuple(round(b + (f - b) * shade) for f, b in zip(front, back, strict=True))
        left, top, right, bottom = shape
        pen.rectangle((at[0] + left, at[1] + top, at[0] + right - 1, at[1] + bottom - 1), fill=mixed)
    elif text.strip():
        pen.text(at, text, font=_font(bool(style.bold), bool(style.italic)), fill=front)
    if style.underline:
        pen.rectangle((at[0], at[1] + CELL_HEIGHT - 2, at[0] + CELL_WIDTH - 1, at[1] + CELL_HEIGHT - 2), fill=front)


_BLOCKS = {
    0x2580: (0, 0, CELL_WIDTH, CELL_HEIGHT // 2),
    0x2590: (CELL_WIDTH // 2, 0, CELL_WIDTH, CELL_HEIGHT),
    0x2594: (0, 0, CELL_WIDTH, CELL_HEIGHT // 8),
    0x2595: (CELL_WIDTH - 2, 0, CELL_WIDTH, CELL_HEIGHT),
    **{0x2580 + n: (0, CELL_HEIGHT - round(CELL_HEIGHT * n / 8), CELL_WIDTH, CELL_HEIGHT) for n in range(1, 9)},
    **{0x2590 - n: (0, 0, round(CELL_WIDTH * n / 8), CELL_HEIGHT) for n in range(1, 8)},
}
"""Left, top, right and bottom of the block elements within their cell."""
_SHADES = {0x2591: 0.25, 0x2592: 0.5, 0x2593: 0.75}
"""How much of the front colour the shaded blocks take."""


def _block(code: int) -> tuple[tuple[int, int, int, int], float]:
    return _BLOCKS.get(code, (0, 0, CELL_WIDTH, CELL_HEIGHT)), _SHADES.get(code, 1.0)


@lru_cache
def _font(is_bold: bool, is_italic: bool) -> ImageFont.FreeTypeFont:
    name = {(False, False): "", (True, False): "-Bold", (False, True): "-Oblique", (True, True): "-BoldOblique"}
    return ImageFont.truetype(FONTS / f"DejaVuSansMono{name[is_bold, is_italic]}.ttf", FONT_SIZE)
