"""The whole road of a change, by keys: card, guard, audit, simulator, and what the row says of it."""

from pathlib import Path

from tests.clocks import HandClock
from tests.tui.screen import Stage
from vmtop.actions.audit import Audit, Identity
from vmtop.actions.runner import Runner
from vmtop.actions.situation import Newest
from vmtop.backends.simulator.backend import SimulatorBackend
from vmtop.derive.metrics import VmMetrics
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.pipeline import Pipeline
from vmtop.viewmodel.ui_state import UiState

OPERATOR = Identity(uid=1000, user="ada", login_uid=1000, sudo_user=None, pid=42)
DELAY_S = 1.0


class Play:
    """A simulated host of its own, the app on it, and time that moves when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        self.backend = SimulatorBackend("overcommit", clock=self.clock)
        self.pipeline = Pipeline(self.backend, DEFAULT_POLICY, self.clock)
        self.audit = Audit(folder / "audit.jsonl", OPERATOR, lambda line: None)
        self.clock.sleep(DELAY_S)
        self.pipeline.tick(DELAY_S)
        self.stage = self.open()

    def open(self) -> Stage:
        """The app with a runner of its own: what a start of the program is."""
        runner = Runner(self.backend, self.audit, self.newest, DEFAULT_POLICY, self.clock, spawn=lambda work: work())
        state = UiState(filter_text="mysql-01", delay_s=DELAY_S)
        return Stage(self.pipeline.reading.frame, state=state, clock=self.clock, operator=runner)

    def newest(self) -> Newest | None:
        frame = self.pipeline.reading.frame
        return None if frame is None else Newest(frame, 0.0)

    @property
    def vm(self) -> VmMetrics:
        frame = self.pipeline.reading.frame
        assert frame is not None
        return next(vm for vm in frame.vms if vm.name == "mysql-01")

    def size(self) -> int:
        assert self.vm.balloon_bytes is not None
        return self.vm.balloon_bytes

    async def second(self, stage: Stage) -> None:
        self.clock.sleep(1)
        reading = self.pipeline.tick(DELAY_S)
        stage.app.follow(reading)
        await stage.publish(reading.frame)

    async def wait_for(self, stage: Stage, text: str) -> list[str]:
        """Let time pass until this is on the screen; the rows of the VM on the way."""
        rows: list[str] = []
        for _ in range(300):
            if text in "\n".join(stage.lines):
                return rows
            await self.second(stage)
            rows.append(stage.line_with("mysql-01"))
        raise AssertionError(f"{text!r} did not come:\n" + "\n".join(stage.lines))


def test_a_balloon_goes_down_by_keys_and_back_after_a_restart(tmp_path: Path) -> None:
    play = Play(tmp_path)
    before_bytes = play.size()

    async def down(stage: Stage) -> None:
        await stage.press("minus")
        await stage.wait_for_text("safe floor")
        await stage.press("enter")
        rows = await play.wait_for(stage, "balloon: reached")
        assert any(" to " in row and "7.19G" in row for row in rows)
        assert "reached 7.19G" in stage.line_with("mysql-01  ")

    async def back(stage: Stage) -> None:
        await stage.press("u")
        await stage.wait_for_text("Set the balloon of mysql-01 to 8.0G, from 7.19G")
        await stage.wait_for_text("do it")
        await stage.press("enter")
        await play.wait_for(stage, "balloon: reached 8.0G")

    play.stage.play(down)
    assert play.size() < before_bytes
    play.open().play(back)
    assert play.size() == before_bytes
    assert [(record.action, record.outcome) for record in play.audit.read()] == [
        ("balloon", None),
        ("balloon", "done"),
        ("balloon", None),
        ("balloon", "done"),
    ]


def test_a_balloon_that_somebody_else_moves_is_noticed(tmp_path: Path) -> None:
    play = Play(tmp_path)

    async def scene(stage: Stage) -> None:
        await play.second(stage)
        play.backend.open_control().set_balloon(play.vm.uuid, play.size() - (1 << 30))
        await play.wait_for(stage, "moved to ")

    play.stage.play(scene)
