"""Stories as real guests told them before: FOLDER/STORY-RUN.json, made by `tests/hypervisor/test_fidelity.py`."""

from pathlib import Path
from typing import Final

from tests.fidelity.curves import Curves
from tests.fidelity.story import Story

FOLDER: Final = Path(__file__).parents[1] / "recordings"


def recorded(story: Story) -> list[Curves]:
    """All recordings of a story, by name."""
    return [Curves.load(path) for path in sorted(FOLDER.glob(f"*/{story.name}-*.json"))]
