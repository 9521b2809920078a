"""How curves are measured, aligned and judged."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fidelity.compare import Verdict, align, distances, judge
from tests.fidelity.curves import Curves
from tests.fidelity.feature import Feature, fall, level, per_page, rate, rise, speed, time_to
from tests.fidelity.report import write_report
from tests.fidelity.story import Balloon, Step, Story

STORY = Story(
    name="short",
    title="A & B <short>",
    steps=(
        Step(title="down", action=Balloon(mib=60), lasts_s=4),
        Step(title="up", action=Balloon(mib=100), lasts_s=2),
    ),
    shown=("balloon",),
    features=(Feature(title="down", unit="MiB", measure=level("balloon", 0), floor=1.0),),
)


def curves(values: Sequence[float | None], starts_s: Sequence[float] = (1, 5), end_s: float = 7) -> Curves:
    """A value for each second from 0 on."""
    return Curves(
        story="short",
        teller="somebody",
        starts_s=tuple(starts_s),
        ends_s=(*starts_s[1:], end_s),
        times_s=tuple(float(second) for second in range(len(values))),
        values={"balloon": tuple(values)},
    )


DOWN_AND_UP = curves([100, 100, 90, 80, 60, 60, 80, 100])


@pytest.mark.parametrize(("time_s", "value"), [(-1, 100), (0, 100), (1.5, 95), (3.5, 70), (4, 60), (99, 100)])
def test_between_two_samples_a_figure_lies_on_the_line_between_them(time_s: float, value: float) -> None:
    assert DOWN_AND_UP.at("balloon", time_s) == value


def test_samples_without_the_figure_are_passed_over() -> None:
    assert curves([None, 10, None, 30]).at("balloon", 2) == 20
    with pytest.raises(ValueError, match="somebody does not tell balloon"):
        curves([None, None]).at("balloon", 1)


def test_features_are_measured_within_their_step() -> None:
    assert level("balloon", 0)(DOWN_AND_UP) == 60
    assert rise("balloon", 1)(DOWN_AND_UP) == 40
    assert fall("balloon", 0)(DOWN_AND_UP) == 40
    assert rate("balloon", 1, 1.0)(DOWN_AND_UP) == 20
    assert time_to("balloon", 0.5, 0)(DOWN_AND_UP) == 2
    assert time_to("balloon", 0.75, 0)(DOWN_AND_UP) == 2.5
    assert speed("balloon", 0)(DOWN_AND_UP) == pytest.approx(10)


def test_a_counter_is_measured_by_the_page() -> None:
    both = replace(
        curves([0] * 8), values={"faults": (0, 0, 0, 256, 512, 512, 512, 512), "swap in": (0, 0, 1, 2, 4, 4, 4, 4)}
    )
    assert per_page("faults", "swap in", 0)(both) == 0.5


@pytest.mark.parametrize(("model", "is_within"), [(58.9, False), (59, True), (61, True), (65, True), (65.1, False)])
def test_the_model_may_differ_as_much_as_real_runs_do_and_by_the_floor(model: float, is_within: bool) -> None:
    verdict = Verdict(feature=STORY.features[0], reals=(60, 62, 64), model=model)
    assert verdict.is_within is is_within
    assert verdict.is_as_known is is_within


def test_what_the_model_is_said_to_leave_out_must_show() -> None:
    feature = replace(STORY.features[0], unlike="it has none")
    assert not Verdict(feature=feature, reals=(60,), model=60).is_as_known
    assert Verdict(feature=feature, reals=(60,), model=90).is_as_known


@pytest.mark.parametrize(("real", "is_confirmed"), [(57.9, False), (58, True), (62.5, True), (62.6, False)])
def test_a_further_run_has_to_show_what_others_agree_about(real: float, is_confirmed: bool) -> None:
    assert Verdict(feature=STORY.features[0], reals=(60, 60.5), model=0).confirms(real) is is_confirmed
    assert Verdict(feature=STORY.features[0], reals=(50, 90), model=0).confirms(real)


def test_a_run_that_took_its_time_is_brought_to_the_time_of_the_story() -> None:
    slow = curves([100, 100, 100, 90, 90, 80, 80, 60, 60, 60, 80, 100, 7], starts_s=(2, 10), end_s=11)
    aligned = align(slow, STORY)
    assert aligned.starts_s == (0, 4)
    assert aligned.ends_s == (4, 6)
    assert aligned.times_s[:4] == (-2, -1, 0, 0.5)
    assert aligned.at("balloon", 2) == slow.at("balloon", 6)
    assert aligned.times_s[-1] == 6
    assert aligned.at("balloon", 99) == 100, "what came after the story does not count"


def test_counters_that_began_elsewhere_are_compared_by_their_growth() -> None:
    counter = replace(DOWN_AND_UP, values={"swap in": (7, 7, 8, None, 9, 9, 9, 9), "balloon": (7,) * 8})
    aligned = align(counter, STORY)
    assert aligned.values["swap in"] == (0, 0, 1, None, 2, 2, 2, 2)
    assert set(aligned.values["balloon"]) == {7}


def test_curves_are_compared_over_the_whole_story() -> None:
    reals = [align(curves([value] * 8), STORY) for value in (10, 20, 60)]
    (apart,) = distances(STORY, reals, align(curves([25] * 8), STORY))
    assert (apart.name, apart.spread, apart.model) == ("balloon", 50, 5)


def test_recordings_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "short-1.json"
    written = curves([1.5, None, 3])
    written.save(path)
    assert Curves.load(path) == written


def test_the_report_has_the_numbers_and_a_picture(tmp_path: Path) -> None:
    model = curves([100, 100, 90, 80, 70, 70, 80, 100])
    verdicts = write_report(tmp_path / "new", STORY, [DOWN_AND_UP, DOWN_AND_UP], model)
    assert verdicts == judge(STORY, [DOWN_AND_UP, DOWN_AND_UP], model)
    text = (tmp_path / "new/short.md").read_text()
    assert "| down | MiB | 60.00 | 60.00 | 1 | 70.00 | OFF: not known why |" in text
    picture = ET.fromstring((tmp_path / "new/short.svg").read_text())  # noqa: S314 - our own
    lines = picture.findall(".//{*}polyline")
    assert len(lines) == 3
    assert len({line.get("stroke") for line in lines}) == 2
