"""The simulator beside recordings of real guests; needs none itself."""

from pathlib import Path

import pytest

from tests.fidelity.recordings import recorded
from tests.fidelity.report import write_report
from tests.fidelity.simulated_story import tell
from tests.fidelity.story import STORIES, Story

RUNS = 3


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_the_model_differs_no_more_from_real_runs_than_these_from_each_other(story: Story, tmp_path: Path) -> None:
    reals = recorded(story)
    assert len(reals) >= RUNS

    verdicts = write_report(tmp_path, story, reals, tell(story))

    wrong = [verdict for verdict in verdicts if not verdict.is_as_known]
    assert not wrong, (tmp_path / f"{story.name}.md").read_text()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_the_model_tells_a_story_the_same_way_every_time(story: Story) -> None:
    assert tell(story) == tell(story)
