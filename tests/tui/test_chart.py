"""Charts from curves to cells: what plotext draws, what stands around it, and when it is asked to draw."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from vmtop.tui.plot import Levels, Picture, Plotter, _settle, find_levels
from vmtop.tui.theme import MONOCHROME, NEUTRAL, Palette
from vmtop.tui.widgets.chart import AXIS_CELLS, Charts, chart_columns, share_rows
from vmtop.viewmodel.chart import Chart, ChartPage, Curve, Heights, Label
from vmtop.viewmodel.formats import bar_glyph
from vmtop.viewmodel.tone import Span, Tone

DEADLINE_S = 20.0
COLORED, MONO = Palette(NEUTRAL), Palette(MONOCHROME)


def make_curve(
    tops: Heights, *, bottoms: Heights | None = None, tone: Tone = Tone.WARN, mark: str = "i", name: str = "some"
) -> Curve:
    return Curve(name=name, tone=tone, mark=mark, latest=Span("7%", Tone.NORMAL), tops=tops, bottoms=bottoms)


def make_area(tops: Heights, bottoms: Heights, tone: Tone = Tone.BAR_USED, mark: str = "#") -> Curve:
    return make_curve(tops, bottoms=bottoms, tone=tone, mark=mark, name="used")


def draw(curves: Sequence[Curve], height: int, *, is_fine: bool = True) -> Picture:
    levels = find_levels(curves, height, is_fine=is_fine)
    return Plotter().draw(levels, len(curves[0].tops), height, is_fine=is_fine)


def text_of(picture: Picture) -> list[str]:
    return ["".join(run.text for run in row) for row in picture]


def tones_of(row: Sequence[tuple[str, Tone, Tone | None]]) -> set[tuple[Tone, Tone | None]]:
    return {(tone, behind) for text, tone, behind in row if text.strip()}


# -- plotext


def test_an_area_ends_within_an_eighth_of_a_row() -> None:
    picture = draw([make_area((1.0, 0.5, 0.3125, 0.0), (0.0,) * 4)], 2)
    assert text_of(picture) == ["█   ", "██▅ "]


def test_stacked_areas_show_their_border_inside_a_cell() -> None:
    used = make_area((0.75, 0.75), (0.0, 0.0))
    cache = make_area((1.0, 1.0), (0.75, 0.75), Tone.BAR_CACHE, "=")
    picture = draw([used, cache], 2)
    assert text_of(picture) == ["▄▄", "██"]
    assert tones_of(picture[0]) == {(Tone.BAR_USED, Tone.BAR_CACHE)}


def test_memory_that_nobody_uses_is_no_solid_block() -> None:
    free = make_area((0.5, 0.5), (0.0, 0.0), Tone.BAR_FREE, ".")
    given_back = make_area((1.0, 1.0), (0.5, 0.5), Tone.BAR_GIVEN, "<")
    expected = [2 * bar_glyph(tone, has_unicode=True) for tone in (Tone.BAR_GIVEN, Tone.BAR_FREE)]
    assert text_of(draw([free, given_back], 2)) == expected
    assert len({*expected, "██"}) == 3


def test_what_is_unknown_is_a_gap_and_what_is_zero_is_not() -> None:
    line = make_curve((0.9, 0.9, None, None, 0.0, 0.0, 0.9, 0.9))
    rows = text_of(draw([line], 4))
    assert all(row[2:4] == "  " for row in rows)
    assert all(rows[-1][column] != " " for column in (4, 5))
    area = make_area((0.5, None, 0.0, 0.5), (0.0, None, 0.0, 0.0))
    assert text_of(draw([area], 2))[1] == "█  █"


def test_a_line_is_not_drawn_over_a_gap() -> None:
    joined = text_of(draw([make_curve((0.9, 0.9, 0.9, 0.9, 0.9))], 4))
    parted = text_of(draw([make_curve((0.9, None, None, None, 0.9))], 4))
    assert len("".join(joined).split()) == 2  # the line and the floor
    assert all(row[1:4].strip() == "" for row in parted)


def test_figures_at_zero_are_one_faint_floor() -> None:
    quiet = [make_curve((0.0,) * 6), make_curve((0.0,) * 6, tone=Tone.HARD)]
    picture = draw(quiet, 3)
    assert [row.strip() for row in text_of(picture)[:2]] == ["", ""]
    assert tones_of(picture[-1]) == {(Tone.DIM, None)}


def test_next_to_nothing_is_seen() -> None:
    picture = draw([make_curve((0.001,) * 6)], 3)
    assert tones_of(picture[-1]) == {(Tone.WARN, None)}


def test_the_most_important_line_is_on_top() -> None:
    lines = [make_curve((0.5,) * 6, tone=Tone.HARD), make_curve((0.5,) * 6)]
    drawn = {look for row in draw(lines, 4) for look in tones_of(row)}
    assert drawn == {(Tone.HARD, None), (Tone.DIM, None)}


def test_without_fine_characters_marks_tell_curves_apart() -> None:
    areas = [
        make_area((0.5,) * 3, (0.0,) * 3),
        make_area((1.0,) * 3, (0.5,) * 3, Tone.BAR_CACHE, "="),
    ]
    assert text_of(draw(areas, 2, is_fine=False)) == ["===", "###"]
    lines = [make_curve((1.0, 1.0, 0.0), mark="i"), make_curve((0.3, 0.3, 0.0), mark="o")]
    picture = text_of(draw(lines, 3, is_fine=False))
    assert picture[0].startswith("ii")
    assert picture[2].startswith("oo")
    assert "".join(picture).isascii()


heights = st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(heights, st.integers(1, 6), st.booleans())
def test_a_picture_has_the_size_that_was_asked_for_and_nothing_where_nothing_is_known(
    tops: list[float | None], height: int, is_fine: bool
) -> None:
    line = make_curve(tuple(tops))
    area = make_area(tuple(tops), tuple(None if top is None else 0.0 for top in tops))
    for curve in (line, area):
        rows = text_of(draw([curve], height, is_fine=is_fine))
        assert [len(row) for row in rows] == [len(tops)] * height
        for column, top in enumerate(tops):
            if top is None:
                assert all(row[column] == " " for row in rows)


# -- what stands around


@pytest.mark.parametrize("height", range(60))
def test_legends_pictures_and_the_axis_fill_the_height(height: int) -> None:
    rows = share_rows(height, 3)
    assert all(row >= 1 for row in rows)
    gaps = len(rows) - 1 if height >= 24 else 0
    if rows:
        assert sum(rows) + len(rows) + gaps + 1 == height
        assert rows[0] == max(rows)
    else:
        assert height < 3


def test_narrow_charts_are_left_out() -> None:
    assert chart_columns(80, has_right_scale=False) == 80 - AXIS_CELLS
    assert chart_columns(80, has_right_scale=True) == 80 - 2 * AXIS_CELLS
    assert chart_columns(AXIS_CELLS + 1, has_right_scale=False) == 0


class CountingPlotter(Plotter):
    """Remembers how often it drew."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = 0

    def draw(self, levels: Sequence[Levels], width: int, height: int, *, is_fine: bool) -> Picture:
        self.pictures += 1
        return super().draw(levels, width, height, is_fine=is_fine)


class ChartApp(App[None]):
    """Nothing but charts."""

    CSS = "Charts { width: 100%; height: 100%; }"

    def __init__(self, load: Callable[[], Plotter]) -> None:
        super().__init__()
        self.charts = Charts(load)

    def compose(self) -> ComposeResult:
        yield self.charts

    @property
    def lines(self) -> list[str]:
        strips = self.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]


def make_page(columns: int, *, at: float = 0.5, latest: str = "7%", right: bool = True) -> ChartPage:
    labels = (Label(at=1, text="4G"), Label(at=0, text="0"), Label(at=0.5, text="2G"))
    curves = (
        make_area((at,) * columns, (0.0,) * columns),
        Curve(name="some", tone=Tone.WARN, mark="s", latest=Span(latest, Tone.NORMAL), tops=(at,) * columns),
    )
    charts = [
        Chart(
            title=title,
            curves=curves,
            warnings=(),
            remarks=(Span("of 4.00G", Tone.DIM),),
            labels=labels,
            right_labels=(Label(at=1, text="10/s"),) if right else (),
        )
        for title in ("Memory", "Swap", "Pressure")
    ]
    times = (Label(at=1, text="now"), Label(at=0, text="-5m"), Label(at=0.5, text="-150s"))
    return ChartPage(charts=tuple(charts), time_labels=times)


Scene = Callable[[ChartApp, Pilot[None]], Awaitable[None]]


def play(scene: Scene, *, load: Callable[[], Plotter] = CountingPlotter, size: tuple[int, int] = (70, 16)) -> None:
    async def run() -> None:
        app = ChartApp(load)
        async with app.run_test(size=size) as pilot:
            await scene(app, pilot)

    asyncio.run(run())


def show(
    app: ChartApp, *, at: float = 0.5, latest: str = "7%", is_mono: bool = False, has_unicode: bool = True
) -> None:
    palette = MONO if is_mono else COLORED
    app.charts.show_charts(
        lambda columns: make_page(columns, at=at, latest=latest),
        palette,
        has_right_scale=True,
        has_unicode=has_unicode,
    )


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await pilot.pause(0.01)


async def until_drawn(app: ChartApp, pilot: Pilot[None]) -> None:
    await until(pilot, lambda: "loading" not in "".join(app.lines))


def test_charts_stand_above_each_other_on_one_axis_of_time() -> None:
    async def scene(app: ChartApp, pilot: Pilot[None]) -> None:
        show(app)
        await until_drawn(app, pilot)
        lines = app.lines
        starts = [y for y, line in enumerate(lines) if line.startswith(("Memory", "Swap", "Pressure"))]
        assert len(starts) == 3
        assert "■ used 7%" in lines[0]
        assert "of 4.00G" in lines[0]
        assert lines[1].startswith("    4G┤")
        assert "├10/s" in lines[1]
        assert lines[-1].split() == ["-5m", "-150s", "now"]
        assert lines[-1].rstrip().endswith("now")
        assert {line.index("┤") for line in lines if "┤" in line} == {AXIS_CELLS - 1}

    play(scene)


def test_plotext_is_asked_only_for_pictures_that_look_other_than_before() -> None:
    async def scene(app: ChartApp, pilot: Pilot[None]) -> None:
        show(app)
        await until_drawn(app, pilot)
        plotter = app.charts._plotter
        assert isinstance(plotter, CountingPlotter)
        assert plotter.pictures == 3
        show(app, latest="8%")
        await pilot.pause()
        assert "some 8%" in app.lines[0]
        show(app, at=0.5001)
        assert plotter.pictures == 3
        show(app, at=0.9)
        assert plotter.pictures == 6
        await pilot.resize_terminal(60, 16)
        await until(pilot, lambda: plotter.pictures == 9)

    play(scene)


def test_rows_that_did_not_change_stay_the_same_strips() -> None:
    async def scene(app: ChartApp, pilot: Pilot[None]) -> None:
        show(app)
        await until_drawn(app, pilot)
        before = [app.charts.render_line(y) for y in range(16)]
        show(app, latest="8%")
        after = [app.charts.render_line(y) for y in range(16)]
        changed = [y for y in range(16) if before[y] is not after[y]]
        assert changed == [y for y, line in enumerate(app.lines) if line.startswith(("Memory", "Swap", "Pressure"))]

    play(scene)


def test_legends_are_there_before_plotext_is_and_keys_work_meanwhile() -> None:
    is_loading, may_load = Event(), Event()

    def load() -> Plotter:
        is_loading.set()
        assert may_load.wait(DEADLINE_S)
        return CountingPlotter()

    async def scene(app: ChartApp, pilot: Pilot[None]) -> None:
        show(app)
        await until(pilot, is_loading.is_set)
        await pilot.pause()
        assert "used 7%" in app.lines[0]
        assert "loading plotext" in "\n".join(app.lines)
        may_load.set()
        await until_drawn(app, pilot)
        assert "█" in "\n".join(app.lines)

    play(scene, load=load)


def test_without_plotext_the_page_says_why_there_is_no_picture() -> None:
    def load() -> Plotter:
        raise ImportError("plotext cannot draw: \x1b[31m its C++ part was not built")

    async def scene(app: ChartApp, pilot: Pilot[None]) -> None:
        show(app)
        await until_drawn(app, pilot)
        shown = "\n".join(app.lines)
        assert "no picture: plotext cannot draw" in shown
        assert "\x1b" not in shown
        assert "used 7%" in app.lines[0]

    play(scene, load=load)


def test_an_app_that_ends_while_plotext_loads_does_not_wait_for_it() -> None:
    may_load, is_loaded = Event(), Event()

    def load() -> Plotter:
        assert may_load.wait(DEADLINE_S)
        is_loaded.set()
        return CountingPlotter()

    async def scene(app: ChartApp, pilot: Pilot[None]) -> None:
        show(app)

    play(scene, load=load)
    assert not is_loaded.is_set()
    may_load.set()
    assert is_loaded.wait(DEADLINE_S)


@pytest.mark.parametrize(("is_mono", "has_unicode"), [(False, False), (True, True), (True, False)])
def test_without_colours_or_unicode_curves_differ_by_their_marks(is_mono: bool, has_unicode: bool) -> None:
    async def scene(app: ChartApp, pilot: Pilot[None]) -> None:
        show(app, is_mono=is_mono, has_unicode=has_unicode)
        await until_drawn(app, pilot)
        shown = "\n".join(app.lines)
        assert "# used 7%" in shown
        assert "s some 7%" in shown
        assert "####" in shown
        assert "ssss" in shown
        assert shown.isascii() or has_unicode

    play(scene)


def test_of_a_legend_that_is_too_long_whole_entries_are_left_out() -> None:
    async def scene(app: ChartApp, pilot: Pilot[None]) -> None:
        show(app)
        await until_drawn(app, pilot)
        assert "used 7%" in app.lines[0]
        assert "some" not in app.lines[0]
        assert "of" not in app.lines[0]

    play(scene, size=(24, 16))


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (20, 2), (14, 7), (22, 4), (200, 60)])
def test_charts_of_any_size_are_drawn_without_an_accident(size: tuple[int, int]) -> None:
    async def scene(app: ChartApp, pilot: Pilot[None]) -> None:
        show(app)
        await until(pilot, lambda: app.charts._plotter is not None)
        await pilot.pause()
        assert [len(line) for line in app.lines] == [size[0]] * size[1]

    play(scene, size=size)


def three_in_a_cell(*ends: float) -> list[Curve]:
    tones = (Tone.BAR_USED, Tone.BAR_OTHER, Tone.BAR_CACHE)
    edges = zip((0.0, *ends[:-1]), ends, tones, strict=True)
    return [make_area((top, top), (bottom, bottom), tone) for bottom, top, tone in edges]


def test_an_area_thinner_than_a_cell_between_two_others_is_seen() -> None:
    picture = draw(three_in_a_cell(13 / 16, 14.5 / 16, 1.0), 2)
    assert tones_of(picture[0]) == {(Tone.BAR_USED, Tone.BAR_OTHER)}


def test_of_three_areas_in_one_cell_none_is_left_out_where_a_border_moves_by_half_a_cell_at_most() -> None:
    picture = draw(three_in_a_cell(10 / 16, 13 / 16, 1.0), 2)
    assert tones_of(picture[0]) == {(Tone.BAR_OTHER, Tone.BAR_CACHE)}
    assert tones_of(picture[1]) == {(Tone.BAR_USED, None)}


@pytest.mark.parametrize("first", range(1, 7))
@pytest.mark.parametrize("second", range(1, 7))
def test_no_border_moves_by_more_than_half_a_cell(first: int, second: int) -> None:
    low, high = sorted((first, second))
    column = ((0, 8 + low), (8 + low, 8 + high), (8 + high, 16))
    settled = _settle(column)
    for before, after in zip(column, settled, strict=True):
        assert after is not None
        assert all(abs(there - here) <= 4 for here, there in zip(before, after, strict=True))
    inside = {end for edge in settled if edge is not None for end in edge if end % 8}
    assert len(inside) <= 1
