"""The page of a VM's snapshots, by keys."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.actions.scenes import ABLE, make_disk, make_snapshot, make_storage
from tests.builders import PERIOD_S, make_frame, make_vm, vm_uuid
from tests.tui.fake_operator import FakeOperator
from tests.tui.screen import Stage
from vmtop.actions.action import Ending
from vmtop.actions.command import Command, DeleteSnapshot, RevertSnapshot, TakeSnapshot
from vmtop.actions.guard import check
from vmtop.actions.situation import Situation
from vmtop.actions.verdict import Verdict
from vmtop.derive.frame import Frame
from vmtop.errors import ControlError
from vmtop.model.kind import SnapshotKind
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.storage import StorageSample
from vmtop.tui.screens.confirm import ConfirmScreen
from vmtop.tui.screens.main import MainScreen
from vmtop.tui.screens.snapshots import REREAD_S, KindsScreen, SnapshotsScreen

FRAME = make_frame([make_vm(name="web-1")])
TREE = make_storage(snapshots=(make_snapshot("base"), make_snapshot("next", parent="base")))


class Keeper(FakeOperator):
    """Gives the storage that a test wants."""

    def __init__(self, storage: StorageSample | ControlError = TREE, frame: Frame = FRAME) -> None:
        super().__init__(frame)
        self.storage = storage
        self.readings = 0
        self.before_reading: Callable[[], None] = lambda: None

    def read_storage(self, vm_uuid: str) -> StorageSample:
        self.readings += 1
        self.before_reading()
        if isinstance(self.storage, ControlError):
            raise self.storage
        return self.storage

    def judge(self, command: Command) -> Verdict:
        storage = None if isinstance(self.storage, ControlError) else self.storage
        return check(command, Situation(frame=self.frame, policy=DEFAULT_POLICY, capability=ABLE, storage=storage))

    @property
    def commands(self) -> list[Command]:
        return [command for command, _, _ in self.submitted]


def make_stage(operator: Keeper | None = None, *, size: tuple[int, int] = (120, 30)) -> Stage:
    operator = operator or Keeper()
    return Stage(FRAME, operator=operator, read_storage=operator.read_storage, size=size)


async def open_snapshots(stage: Stage, text: str = "base") -> None:
    await stage.press("s")
    assert isinstance(stage.app.screen, SnapshotsScreen)
    await stage.wait_for_text(text)


def test_the_tree_of_the_vm_under_the_cursor_is_shown_with_what_can_be_done() -> None:
    async def scene(stage: Stage) -> None:
        await open_snapshots(stage)
        assert "Snapshots of web-1" in stage.lines[1]
        assert "└─ next" in "\n".join(stage.lines)
        assert "revert    QEMU is started anew" in "\n".join(stage.lines)
        await stage.press("escape")
        assert isinstance(stage.app.screen, MainScreen)

    make_stage().play(scene)


def test_on_the_header_a_vm_has_to_be_chosen_first() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("up", "s")
        assert isinstance(stage.app.screen, MainScreen)
        assert "choose a VM first" in stage.lines[-2]

    make_stage().play(scene)


def test_a_revert_asks_for_the_name_of_the_vm() -> None:
    operator = Keeper()

    async def scene(stage: Stage) -> None:
        await open_snapshots(stage)
        await stage.press("down", "r")
        assert isinstance(stage.app.screen, ConfirmScreen)
        await stage.wait_for_text("its name has to be typed")
        await stage.press("enter", *"web-1", "enter")

    make_stage(operator).play(scene)
    assert operator.submitted == [(RevertSnapshot(uuid=vm_uuid(1), name="next"), "web-1", None)]


@pytest.mark.parametrize("key", ["x", "delete"])
def test_a_snapshot_is_deleted_through_the_card(key: str) -> None:
    operator = Keeper()

    async def scene(stage: Stage) -> None:
        await open_snapshots(stage)
        await stage.press(key)
        await stage.wait_for_text("! there will be no way back to base")
        await stage.press("enter")

    make_stage(operator).play(scene)
    assert operator.commands == [DeleteSnapshot(uuid=vm_uuid(1), name="base")]


def test_taking_one_asks_for_kind_and_name_and_where_needed_for_a_file() -> None:
    operator = Keeper()

    async def scene(stage: Stage) -> None:
        await open_snapshots(stage)
        await stage.press("t")
        assert isinstance(stage.app.screen, KindsScreen)
        assert "with memory, live" in stage.line_with("300 ms")
        await stage.press("enter", "ctrl+u", "enter")
        assert "it needs a name" in stage.lines[-1]
        await stage.press(*"a/b", "enter")
        assert "hold a slash" in stage.lines[-1]
        await stage.press("ctrl+u", *"mine", "enter")
        assert "/images/web-1-00000000.mine.mem" in stage.lines[-1]
        await stage.press("enter")
        await stage.wait_for_text("Take snapshot mine of web-1, with memory, while it runs")
        await stage.press("enter")
        assert isinstance(stage.app.screen, SnapshotsScreen)

    make_stage(operator).play(scene)
    (command,) = operator.commands
    assert isinstance(command, TakeSnapshot)
    assert command.request.kind is SnapshotKind.EXTERNAL
    assert command.request.memory_path == "/images/web-1-00000000.mine.mem"


def test_another_kind_can_be_taken_and_kinds_that_are_not_possible_cannot() -> None:
    operator = Keeper(make_storage(make_disk(image_format="raw"), snapshots=TREE.snapshots))

    async def scene(stage: Stage) -> None:
        await open_snapshots(stage)
        await stage.press("t", "end")
        assert "vda (raw)" in "\n".join(stage.lines)
        await stage.press("enter", "ctrl+u", *"mine", "enter")
        await stage.wait_for_text("of its disks alone")
        await stage.wait_for_text("do it")
        await stage.press("enter")

    make_stage(operator).play(scene)
    (command,) = operator.commands
    assert isinstance(command, TakeSnapshot)
    assert (command.request.kind, command.request.is_quiesced) == (SnapshotKind.DISK_ONLY, False)


def test_what_cannot_be_read_is_told_in_words() -> None:
    async def scene(stage: Stage) -> None:
        await open_snapshots(stage, "Snapshots cannot be read: another job held the VM for too long: locked.")
        await stage.press("t", "r", "x")
        assert isinstance(stage.app.screen, SnapshotsScreen)

    make_stage(Keeper(ControlError("locked", 68))).play(scene)


def test_until_the_hypervisor_answers_the_page_says_that_it_is_asked() -> None:
    operator = Keeper()

    async def scene(stage: Stage) -> None:
        import threading

        gate = threading.Event()
        operator.before_reading = lambda: None if gate.wait(20) else pytest.fail("nobody opened the gate")
        await stage.press("s")
        assert "Asking the hypervisor" in "\n".join(stage.lines)
        await stage.pass_time(REREAD_S + 1)
        assert operator.readings == 1  # a hypervisor that hangs is not asked twice
        gate.set()
        await stage.wait_for_text("base")

    make_stage(operator).play(scene)


def test_the_list_is_read_again_from_time_to_time_and_when_an_action_ended() -> None:
    operator = Keeper()

    async def scene(stage: Stage) -> None:
        await open_snapshots(stage)
        operator.storage = replace(TREE, snapshots=(*TREE.snapshots, make_snapshot("third", parent="next")))
        await stage.pass_time(1)
        assert operator.readings == 1
        await stage.pass_time(REREAD_S)
        await stage.wait_for_text("third")
        await stage.press("x", "enter")
        await stage.wait_for(lambda: bool(operator.submitted))
        operator.storage = TREE
        operator.end(Ending.DONE, "done in 3 s")
        await stage.wait_for(lambda: "third" not in "\n".join(stage.lines))

    make_stage(operator).play(scene)


def test_a_vm_that_is_gone_is_said_to_be_gone() -> None:
    async def scene(stage: Stage) -> None:
        await open_snapshots(stage)
        await stage.publish(make_frame([make_vm(uuid=vm_uuid(2), name="db-1")], at_s=2 * PERIOD_S))
        assert "The VM is not there any more." in "\n".join(stage.lines)
        await stage.press("t")
        assert isinstance(stage.app.screen, SnapshotsScreen)

    make_stage().play(scene)


def test_where_nothing_can_be_changed_the_tree_is_shown_and_keys_that_act_say_why_they_do_not() -> None:
    async def scene(stage: Stage) -> None:
        await open_snapshots(stage)
        assert "revert    QEMU is started anew" in "\n".join(stage.lines)
        for key in ("t", "r", "x", "delete"):
            assert "read-only: for the test" not in "\n".join(stage.lines)
            await stage.press(key)
            assert isinstance(stage.app.screen, SnapshotsScreen)
            assert stage.lines[-2].strip() == "read-only: for the test"
            await stage.press("up")  # it was read

    Stage(FRAME, why_readonly="read-only: for the test", read_storage=Keeper().read_storage).play(scene)


def test_a_source_that_tells_nothing_of_disks_is_said_to_be_one() -> None:
    async def scene(stage: Stage) -> None:
        await open_snapshots(stage, "Snapshots cannot be read: this source does not tell of disks and snapshots.")

    Stage(FRAME).play(scene)


@pytest.mark.parametrize("size", [(60, 15), (40, 8), (80, 24), (200, 50)])
def test_both_pages_fit_every_screen(size: tuple[int, int]) -> None:
    async def scene(stage: Stage) -> None:
        await open_snapshots(stage)
        assert "take" in stage.lines[-1]
        await stage.press("t")
        assert "with memory" in "\n".join(stage.lines)
        await stage.press("escape", "escape")

    make_stage(size=size).play(scene)
