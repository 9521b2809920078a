"""Real guests and the simulator tell the same stories; see `tests/fidelity`.

Each story is told once, has to confirm its recordings, and is judged together with them. One that does not is told a
second time: a machine that was busy with something else for a minute proves nothing, twice the same is the guests.

With VMTOP_FIDELITY_RUNS=3 each is told three times. With VMTOP_REPORT_DIR=FOLDER the reports stay there, and the runs
as JSON: to record anew, move those to a folder below tests/recordings that is named after the day, the host and its
versions.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fidelity.compare import judge
from tests.fidelity.curves import Curves
from tests.fidelity.recordings import recorded
from tests.fidelity.report import write_report
from tests.fidelity.simulated_story import tell as simulate
from tests.fidelity.story import STAGES, Story
from tests.hypervisor.ksm import missing_for_ksm
from tests.hypervisor.lab import HostLab
from tests.hypervisor.real_story import tell

RUNS = int(os.environ.get("VMTOP_FIDELITY_RUNS", "1"))
ATTEMPTS = 2


@pytest.fixture
def report_folder(tmp_path: Path) -> Path:
    return Path(os.environ.get("VMTOP_REPORT_DIR") or tmp_path)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: "+".join(story.name for story in stage))
def test_real_guests_live_through_a_story_as_simulated_ones_do(
    stage: tuple[Story, ...],
    lab: HostLab,
    report_folder: Path,
    record_property: Callable[[str, object], None],
    request: pytest.FixtureRequest,
) -> None:
    if any(story.needs_ksm for story in stage) and (reason := missing_for_ksm()):
        pytest.skip(reason)
    for attempt in range(ATTEMPTS):
        runs = [tell(stage, lab) for _ in range(RUNS)]
        wrong, tables = compare(stage, runs, report_folder)
        for name, table in tables.items():
            record_property(f"{name}-{attempt + 1}", table)
            request.node.add_report_section("call", f"{name}, attempt {attempt + 1}", table)
        if not wrong:
            break
    assert not wrong


def compare(
    stage: tuple[Story, ...], runs: list[list[Curves]], report_folder: Path
) -> tuple[list[str], dict[str, str]]:
    """What speaks against model or guests, and the report of each story."""
    wrong: list[str] = []
    tables = {}
    for story, *fresh in zip(stage, *runs, strict=True):
        save(fresh, report_folder)
        model, known = simulate(story), recorded(story)
        wrong += [
            f"{story.name}: the model is off: {verdict}"
            for verdict in write_report(report_folder, story, [*known, *fresh], model)
            if not verdict.is_within and verdict.feature.unlike is None
        ]
        wrong += [
            f"{story.name}: these guests are not like those that were recorded: {verdict}"
            for verdict in judge(story, known, model)
            if not all(verdict.confirms(verdict.feature.measure(curves)) for curves in fresh)
        ]
        tables[story.name] = (report_folder / f"{story.name}.md").read_text()
    return wrong, tables


def save(runs: list[Curves], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, curves in enumerate(runs, start=1):
        curves.save(folder / f"{curves.story}-{number}.json")
