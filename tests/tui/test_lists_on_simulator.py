"""Snapshots, backups, jobs, the audit and faults by keys, on the real simulator, runner, guard and audit."""

import asyncio
import time
from pathlib import Path

from tests.tui.screen import Stage
from tests.tui.test_acting_on_simulator import DELAY_S, Play
from vmtop.actions.runner import Runner
from vmtop.derive.recovery import derive_points
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.tui.screens.confirm import ConfirmScreen
from vmtop.tui.screens.faults import FaultsScreen
from vmtop.tui.screens.jobs import JobsScreen
from vmtop.tui.screens.main import MainScreen
from vmtop.viewmodel.backups import Recovery
from vmtop.viewmodel.ui_state import UiState

PATIENCE_S = 60.0


class Lists(Play):
    """A host on which commands take their time, on threads of their own."""

    def open(self) -> Stage:
        runner = Runner(self.backend, self.audit, self.newest, DEFAULT_POLICY, self.clock)
        return Stage(
            self.pipeline.reading.frame,
            state=UiState(filter_text="mysql-01", delay_s=DELAY_S, backup_folder="/backup"),
            clock=self.clock,
            operator=runner,
            faults=self.backend.fault_control,
            read_audit=self.audit.read,
            read_storage=self.backend.read_storage,
            read_recovery=self.recover,
            is_simulated=True,
        )

    def recover(self, folder: str, uuid: str) -> Recovery:
        return Recovery(points=derive_points(self.backend.read_backups(folder, uuid).backups))

    async def until(self, stage: Stage, text: str, *, step_s: float = 1.0) -> None:
        """Let time pass, and threads get on, until this is on the screen."""
        deadline_s = time.monotonic() + PATIENCE_S
        while text not in "\n".join(stage.lines):
            assert time.monotonic() < deadline_s, f"{text!r} did not come:\n" + "\n".join(stage.lines)
            self.clock.sleep(step_s)
            reading = self.pipeline.tick(DELAY_S)
            stage.app.follow(reading)
            await stage.publish(reading.frame)
            await asyncio.sleep(0.005)  # for the threads


async def confirm(stage: Stage) -> None:
    """Do what the card says, once the guard has allowed it."""

    def is_allowed() -> bool:
        card = stage.app.screen
        return isinstance(card, ConfirmScreen) and any(entry.is_allowed for entry in card.entries)

    await stage.wait_for(is_allowed)
    await stage.press("enter")


def test_a_snapshot_is_taken_listed_and_deleted(tmp_path: Path) -> None:
    play = Lists(tmp_path)

    async def scene(stage: Stage) -> None:
        await stage.press("s")
        await play.until(stage, "This VM has no snapshots.")
        await stage.press("t")
        await stage.wait_for_text("with memory, live")
        await stage.press("enter", "ctrl+u", *"mine", "enter", "enter")
        await stage.wait_for_text("Take snapshot mine of mysql-01")
        await confirm(stage)
        await play.until(stage, "snapshot: done in")
        await play.until(stage, "└─ now")
        assert "memory and disks" in stage.line_with("mine ")
        await stage.press("x")
        await stage.wait_for_text("there will be no way back to mine")
        await confirm(stage)
        await play.until(stage, "This VM has no snapshots.")
        await stage.press("escape", "A")
        await stage.wait_for_text("2 actions")
        assert "done" in stage.line_with("delete snapshot")

    play.stage.play(scene)


def test_a_backup_is_started_throttled_and_cancelled(tmp_path: Path) -> None:
    play = Lists(tmp_path)

    async def scene(stage: Stage) -> None:
        await stage.press("k")
        await play.until(stage, "There is no backup of this VM")
        await stage.press("f")
        await stage.wait_for_text("Back up all disks of mysql-01 to /backup")
        await confirm(stage)
        await play.until(stage, "runs      backup")
        await stage.press("escape", "j")
        await play.until(stage, "M/s")
        assert isinstance(stage.app.screen, JobsScreen)
        while play.vm.uuid not in (stage.app.screen.key or ""):
            await stage.press("down")
        await stage.press("t", *"1M", "enter")
        await confirm(stage)
        await play.until(stage, "limit: done in")
        await stage.press("x")
        await stage.wait_for_text("what was copied so far is thrown away")
        await confirm(stage)
        await play.until(stage, "backup: cancelled: nothing of it is left")
        ended = stage.lines[stage.lines.index(stage.line_with("ENDED")) :]
        assert any(line.split()[:3] == ["mysql-01", "backup", "cancelled"] for line in ended)

    play.stage.play(scene)
    assert [(record.action, record.outcome) for record in play.audit.read() if record.outcome] == [
        ("limit", "done"),
        ("cancel", "done"),
        ("backup", "cancelled"),
    ]


def test_a_backup_that_ended_well_is_a_recovery_point_and_the_next_one_builds_on_it(tmp_path: Path) -> None:
    play = Lists(tmp_path)

    async def scene(stage: Stage) -> None:
        await stage.press("k")
        await play.until(stage, "There is no backup of this VM")
        for key, chain in (("f", "not verified"), ("i", "full + 1 inc")):
            await stage.press(key)
            await confirm(stage)
            await play.until(stage, chain, step_s=5.0)
        assert "not possible: it is simulated, and no file of this machine holds it" in "\n".join(stage.lines)
        assert "vmtop restore" not in "\n".join(stage.lines)
        assert "SIMULATED" in stage.lines[0]

    play.stage.play(scene)


def test_an_injected_fault_is_told_in_the_head_as_injected(tmp_path: Path) -> None:
    play = Lists(tmp_path)

    async def scene(stage: Stage) -> None:
        await stage.press("F")
        await stage.wait_for_text("stats-stale")
        assert isinstance(stage.app.screen, FaultsScreen)
        while stage.app.screen.key != "stats-stale":
            await stage.press("down")
        await stage.press("enter")
        await play.until(stage, "! injected: mysql-01: figures stop coming")
        await stage.press("escape")
        await play.until(stage, "! injected: mysql-01: figures stop coming")
        assert isinstance(stage.app.screen, MainScreen)
        await stage.press("F", "e", "escape")
        for _ in range(3):
            await play.second(stage)
        assert "injected" not in "\n".join(stage.lines[:6])

    play.stage.play(scene)
