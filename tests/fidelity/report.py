"""The comparison for people: a table in Markdown, and a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from tests.fidelity.compare import Distance, Verdict, align, distances, judge
from tests.fidelity.curves import Curves
from tests.fidelity.story import Story

WIDTH, HEIGHT = 420, 170
"""Of the panel of one figure, in pixels."""
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 24, 22
COLUMNS: Final = 2
REAL_COLOUR, MODEL_COLOUR = "#8a8a8a", "#d62728"
STYLE: Final = "text { font: 12px sans-serif } .small { font-size: 10px; fill: #666 } polyline { fill: none }"


def write_report(folder: Path, story: Story, reals: Sequence[Curves], model: Curves) -> list[Verdict]:
    """Write STORY.md and STORY.svg into a folder, and return what they say."""
    verdicts = judge(story, reals, model)
    aligned, aligned_model = [align(curves, story) for curves in reals], align(model, story)
    folder.mkdir(parents=True, exist_ok=True)
    text = build_table(story, reals, verdicts, distances(story, aligned, aligned_model))
    (folder / f"{story.name}.md").write_text(text)
    (folder / f"{story.name}.svg").write_text(draw(story, aligned, aligned_model))
    return verdicts


def build_table(story: Story, reals: Sequence[Curves], verdicts: Sequence[Verdict], apart: Sequence[Distance]) -> str:
    """Tell features and curves in Markdown."""
    runs = " | ".join(f"run {number}" for number in range(1, len(reals) + 1))
    lines = [
        f"# {story.title}",
        "",
        *(f"* run {number}: {curves.teller}" for number, curves in enumerate(reals, start=1)),
        "",
        f"![curves]({story.name}.svg)",
        "",
        f"| feature | unit | {runs} | floor | model | |",
        f"|---|---|{'---:|' * len(reals)}---:|---:|---|",
    ]
    for verdict in verdicts:
        feature = verdict.feature
        cells = [*(f"{real:.2f}" for real in verdict.reals), f"{feature.floor:g}", f"{verdict.model:.2f}"]
        said = "within" if verdict.is_within else f"OFF: {feature.unlike or 'not known why'}"
        lines.append(f"| {feature.title} | {feature.unit} | {' | '.join(cells)} | {said} |")
    lines += ["", "| curve, mean distance | real runs from each other | model from their middle |", "|---|---:|---:|"]
    lines += [f"| {each.name} | {each.spread:.2f} | {each.model:.2f} |" for each in apart]
    return "\n".join([*lines, ""])


def draw(story: Story, reals: Sequence[Curves], model: Curves) -> str:
    """Draw aligned curves, a panel for each figure."""
    rows = -(-len(story.shown) // COLUMNS)
    width, height = COLUMNS * WIDTH, rows * HEIGHT + 50 + 14 * len(story.steps)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="18">{escape(story.title)}: <tspan fill="{REAL_COLOUR}">{len(reals)} real runs</tspan>, '
        f'<tspan fill="{MODEL_COLOUR}">the model</tspan></text>',
    ]
    for place, name in enumerate(story.shown):
        x, y = place % COLUMNS * WIDTH, place // COLUMNS * HEIGHT + 28
        parts.append(f'<g transform="translate({x} {y})">{_draw_panel(name, reals, model)}</g>')
    for number, step in enumerate(story.steps, start=1):
        y = rows * HEIGHT + 32 + 14 * number
        parts.append(f'<text class="small" x="{LEFT}" y="{y}">{number}: {escape(step.title)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _draw_panel(name: str, reals: Sequence[Curves], model: Curves) -> str:
    end_s = model.ends_s[-1]
    lines = [[point for point in curves.points(name) if 0 <= point[0] <= end_s] for curves in (*reals, model)]
    values = [value for line in lines for _, value in line]
    least, most = min(0.0, *values), max(1.0, *values)

    def x_of(time_s: float) -> float:
        return LEFT + time_s / end_s * (WIDTH - LEFT - RIGHT)

    def y_of(value: float) -> float:
        return HEIGHT - BOTTOM - (value - least) / (most - least) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text x="{LEFT}" y="16">{escape(name)}</text>']
    parts += [
        f'<text class="small" x="{LEFT - 4}" y="{y_of(value) + 4:.0f}" text-anchor="end">{value:.0f}</text>'
        for value in (least, most)
    ]
    for number, start_s in enumerate(model.starts_s, start=1):
        x = f"{x_of(start_s):.1f}"
        parts.append(f'<path d="M{x} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text class="small" x="{x}" y="{HEIGHT - 8}">{number}</text>')
    colours = [*(REAL_COLOUR for _ in reals), MODEL_COLOUR]
    for line, colour in zip(lines, colours, strict=True):
        points = " ".join(f"{x_of(time_s):.1f},{y_of(value):.1f}" for time_s, value in line)
        parts.append(f'<polyline points="{points}" stroke="{colour}"/>')
    return "".join(parts)
