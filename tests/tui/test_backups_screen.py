"""The page of a VM's backups, by keys."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.actions.scenes import NAMES_ONLY, at_level, make_checkpoint, make_snapshot, make_storage
from tests.builders import make_frame, make_vm, vm_uuid
from tests.tui.fake_operator import FakeOperator
from tests.tui.screen import Stage
from tests.tui.test_snapshots_screen import Keeper
from tests.viewmodel.test_backups import CHAIN, STAMPS, make_backup, recover
from vmtop.actions.action import Ending
from vmtop.actions.command import DeleteCheckpoints, StartBackup
from vmtop.actions.verification import Verification
from vmtop.derive.metrics import Level
from vmtop.errors import ControlError
from vmtop.tui.lookups import VerifyBackups
from vmtop.tui.screens.backups import BackupsScreen
from vmtop.tui.screens.clear import ClearScreen
from vmtop.tui.screens.confirm import ConfirmScreen
from vmtop.tui.screens.main import MainScreen
from vmtop.units import MIB
from vmtop.viewmodel.backups import Recovery
from vmtop.viewmodel.ui_state import UiState

FRAME = make_frame([make_vm(name="web-1")])
CHOSEN = UiState(backup_folder="/backup")


class Folder:
    """Backup folders as a test wants them."""

    def __init__(self, found: Recovery | ControlError = CHAIN) -> None:
        self.found = found
        self.asked: list[tuple[str, str]] = []

    def read(self, folder: str, uuid: str) -> Recovery:
        self.asked.append((folder, uuid))
        if isinstance(self.found, ControlError):
            raise self.found
        return self.found


def make_stage(
    folder: Folder | None = None,
    *,
    operator: FakeOperator | None = None,
    state: UiState = CHOSEN,
    size: tuple[int, int] = (120, 30),
    verify: VerifyBackups | None = None,
) -> Stage:
    read = None if folder is None else folder.read
    keeper = operator if isinstance(operator, Keeper) else Keeper(make_storage(), FRAME)
    return Stage(
        FRAME,
        operator=operator or keeper,
        state=state,
        read_storage=keeper.read_storage,
        read_recovery=read,
        verify_backups=verify,
        size=size,
    )


async def open_backups(stage: Stage, text: str) -> None:
    await stage.press("k")
    assert isinstance(stage.app.screen, BackupsScreen)
    await stage.wait_for_text(text)


def test_the_recovery_points_in_the_folder_are_shown() -> None:
    folder = Folder()

    async def scene(stage: Stage) -> None:
        await open_backups(stage, "full + 2 inc")
        assert stage.lines[1].startswith("Backups of web-1  in /backup")
        assert "last good" in "\n".join(stage.lines)
        assert f"--at {STAMPS[2]} --to FILE" in "\n".join(stage.lines)
        await stage.press("end")
        assert f"--at {STAMPS[0]} --to FILE" in "\n".join(stage.lines)

    make_stage(folder).play(scene)
    assert folder.asked == [("/backup", vm_uuid(1))]


def test_where_no_backup_can_be_made_that_is_said_instead_of_asking_for_a_folder() -> None:
    async def scene(stage: Stage) -> None:
        await open_backups(stage, "This hypervisor knows neither backups nor jobs of VMs.")
        assert "o asks for the folder" not in "\n".join(stage.lines)

    Stage(FRAME, operator=FakeOperator(FRAME), capability=NAMES_ONLY).play(scene)


@pytest.mark.parametrize(("key", "is_incremental"), [("f", False), ("i", True)])
def test_a_backup_starts_through_the_card(key: str, is_incremental: bool) -> None:
    operator = FakeOperator(FRAME)

    async def scene(stage: Stage) -> None:
        await open_backups(stage, "full + 2 inc")
        await stage.press(key)
        assert isinstance(stage.app.screen, ConfirmScreen)
        await stage.wait_for(lambda: bool(operator.judged))

    make_stage(Folder(), operator=operator).play(scene)
    command = StartBackup(uuid=vm_uuid(1), folder="/backup", is_incremental=is_incremental)
    assert operator.judged[0] == command


def test_on_a_host_that_is_short_of_memory_the_operator_has_to_insist_on_a_backup() -> None:
    frame = at_level(FRAME, Level.HARD)
    operator, folder = FakeOperator(frame), Folder()

    async def scene(stage: Stage) -> None:
        await open_backups(stage, "full + 2 inc")
        await stage.press("f")
        await stage.wait_for_text("it can be forced")
        assert "insist" in stage.lines[-1]
        assert "do it" not in stage.lines[-1]
        await stage.press("ctrl+f")
        await stage.wait_for_text("insisting: it is done although the host is short of memory (Ctrl+F)")
        await stage.wait_for_text("do it")
        await stage.press("enter")

    Stage(frame, operator=operator, state=CHOSEN, read_recovery=folder.read).play(scene)
    assert [command for command, _, _ in operator.submitted] == [
        StartBackup(uuid=vm_uuid(1), folder="/backup", is_forced=True)
    ]


def test_without_a_folder_it_is_asked_once_and_remembered() -> None:
    operator, folder = FakeOperator(FRAME), Folder(Recovery(points=()))

    async def scene(stage: Stage) -> None:
        await open_backups(stage, "asks for the folder")
        await stage.press("f", *"backup", "enter")
        assert "whole path" in stage.lines[-1]
        await stage.press("home", "/", "enter")
        await stage.wait_for_text("Back up all disks of web-1 to /backup")
        await stage.wait_for_text("do it")
        await stage.press("enter")
        await stage.wait_for_text("There is no backup of this VM in the folder")
        await stage.press("f")
        assert isinstance(stage.app.screen, ConfirmScreen)

    make_stage(folder, operator=operator, state=UiState()).play(scene)
    assert [command for command, _, _ in operator.submitted] == [StartBackup(uuid=vm_uuid(1), folder="/backup")]


def test_the_next_backup_can_be_limited_and_the_limit_lifted() -> None:
    operator = FakeOperator(FRAME)

    async def scene(stage: Stage) -> None:
        await open_backups(stage, "full + 2 inc")
        await stage.press("t", *"much", "enter")
        assert "is no rate" in stage.lines[-1]
        await stage.press("ctrl+u", *"50M", "enter")
        assert "the next at most 50M/s for each disk" in stage.lines[1]
        await stage.press("f")
        await stage.wait_for(lambda: bool(operator.judged))
        await stage.press("escape", "t", "enter")
        assert "at most" not in stage.lines[1]

    make_stage(Folder(), operator=operator).play(scene)
    assert operator.judged[0] == StartBackup(uuid=vm_uuid(1), folder="/backup", bytes_per_s=50 * MIB)


def test_another_folder_can_be_chosen() -> None:
    folder = Folder()

    async def scene(stage: Stage) -> None:
        await open_backups(stage, "full + 2 inc")
        await stage.press("o", "ctrl+u", *"/mnt", "enter")
        await stage.wait_for(lambda: len(folder.asked) == 2)
        assert "in /mnt" in stage.lines[1]

    make_stage(folder).play(scene)
    assert folder.asked[1] == ("/mnt", vm_uuid(1))


def test_the_folder_is_read_again_when_a_backup_ended() -> None:
    operator, folder = FakeOperator(FRAME), Folder(Recovery(points=()))

    async def scene(stage: Stage) -> None:
        await open_backups(stage, "There is no backup")
        await stage.press("f")
        await stage.wait_for_text("do it")
        await stage.press("enter")
        await stage.wait_for(lambda: bool(operator.submitted))
        folder.found = CHAIN
        operator.end(Ending.DONE, "done: 3.0G copied")
        await stage.wait_for_text("full + 2 inc")

    make_stage(folder, operator=operator).play(scene)


def test_a_folder_that_cannot_be_read_is_told_in_words() -> None:
    async def scene(stage: Stage) -> None:
        await open_backups(stage, "/backup: this backup folder cannot be read: Permission denied.")

    make_stage(Folder(ControlError("/backup: this backup folder cannot be read: Permission denied"))).play(scene)


def test_folders_that_nobody_can_look_into_are_told() -> None:
    async def scene(stage: Stage) -> None:
        await open_backups(stage, "cannot be seen from here")

    make_stage().play(scene)


@pytest.mark.parametrize("folder", ["/backup", ""])
def test_where_nothing_can_be_changed_backups_are_shown_and_keys_that_act_say_why_they_do_not(folder: str) -> None:
    async def scene(stage: Stage) -> None:
        if folder:
            await open_backups(stage, "full + 2 inc")
            await stage.wait_for_text("5.0M since the last backup of vmtop")
        else:
            await open_backups(stage, "asks for the folder")
        for key in ("f", "i", "t"):
            assert "read-only: for the test" not in "\n".join(stage.lines)
            await stage.press(key)
            assert isinstance(stage.app.screen, BackupsScreen)
            assert stage.lines[-2].strip() == "read-only: for the test", "nothing is asked for"
            await stage.press("up")  # it was read
        await stage.press("o", "ctrl+u", *"/mnt", "enter")
        await stage.wait_for_text("in /mnt")

    storage = make_storage(checkpoints=(make_checkpoint(f"vmtop-{STAMPS[2]}", dirty_bytes=5 * MIB),))
    Stage(
        FRAME,
        state=UiState(backup_folder=folder),
        why_readonly="read-only: for the test",
        read_storage=lambda _: storage,
        read_recovery=Folder().read,
    ).play(scene)


class Checker:
    """Checks backups when a test lets it."""

    def __init__(self, folder: Folder, *, error: ControlError | None = None) -> None:
        self.folder = folder
        self.gate = threading.Event()
        self.runs = 0
        self.error = error
        self.found = Verification(backups=(), whole=2, damaged=1, complaints=())

    def verify(self, folder: str, uuid: str, on_progress: Callable[[str], None]) -> Verification:
        assert (folder, uuid) == ("/backup", vm_uuid(1))
        self.runs += 1
        on_progress("checking 1 of 3: web-1, 20231114T221320Z")
        if not self.gate.wait(20):
            pytest.fail("nobody opened the gate")
        if self.error is not None:
            raise self.error
        self.folder.found = recover(make_backup(0, damage="/backup/x: qemu-img finds it damaged", checked_s=None))
        on_progress("checking 2 of 3: web-1, 20231114T224320Z")
        return self.found


def test_backups_are_checked_while_the_screen_goes_on_and_the_list_shows_what_was_found() -> None:
    folder = Folder(recover(make_backup(0, checked_s=None)))
    checker = Checker(folder)

    async def scene(stage: Stage) -> None:
        await open_backups(stage, "not verified")
        await stage.press("v")
        await stage.wait_for_text("checking 1 of 3: web-1, 20231114T221320Z")
        await stage.press("v")
        await stage.wait_for_text("they are being checked already")
        await stage.press("escape")
        assert isinstance(stage.app.screen, MainScreen)
        await open_backups(stage, "checking 1 of 3")
        checker.gate.set()
        await stage.wait_for_text("web-1: 3 backups checked, 1 damaged")
        await stage.wait_for_text("broken: 20231114T221320Z: /backup/x: qemu-img finds it damaged")
        assert "checking" not in "\n".join(stage.lines)

    make_stage(folder, verify=checker.verify).play(scene)
    assert checker.runs == 1


def test_a_program_that_ends_while_backups_are_checked_waits_for_nothing() -> None:
    folder = Folder()
    checker = Checker(folder)

    async def scene(stage: Stage) -> None:
        await open_backups(stage, "full + 2 inc")
        await stage.press("v")
        await stage.wait_for_text("checking 1 of 3")

    make_stage(folder, verify=checker.verify).play(scene)
    assert not checker.gate.is_set()
    checker.gate.set()


def test_a_check_that_is_not_possible_is_said() -> None:
    folder = Folder()
    checker = Checker(folder, error=ControlError("/backup: this backup folder cannot be read: No such file"))
    checker.gate.set()

    async def failing(stage: Stage) -> None:
        await open_backups(stage, "full + 2 inc")
        await stage.press("v")
        await stage.wait_for_text("web-1: the backups could not be checked: /backup: this backup folder cannot be read")

    async def elsewhere(stage: Stage) -> None:
        await open_backups(stage, "full + 2 inc")
        await stage.press("v")
        await stage.wait_for_text("files of this host cannot be checked from here")

    make_stage(folder, verify=checker.verify).play(failing)
    make_stage(folder).play(elsewhere)


def test_without_a_folder_a_check_asks_for_it() -> None:
    async def scene(stage: Stage) -> None:
        await open_backups(stage, "asks for the folder")
        await stage.press("v")
        assert "Folder for backups" in stage.lines[-1]

    make_stage(Folder(), state=UiState()).play(scene)


NAMES = ("vmtop-1", "vmtop-2", "vmtop-3")
MARKED = make_storage(checkpoints=tuple(map(make_checkpoint, NAMES)), snapshots=(make_snapshot("base"),))


def test_checkpoints_are_deleted_through_a_card_that_offers_all_but_the_newest_first() -> None:
    operator = Keeper(MARKED, FRAME)

    async def scene(stage: Stage) -> None:
        await open_backups(stage, "3 checkpoints of vmtop's backups, which c deletes")
        assert "1.0G since the last backup of vmtop" in "\n".join(stage.lines)
        await stage.press("c")
        assert isinstance(stage.app.screen, ClearScreen)
        await stage.wait_for_text("may be incremental, from vmtop-3")
        assert "All but the newest" in stage.line_with("Deletes: ")
        await stage.press("tab")
        await stage.wait_for_text("! none of vmtop is left then")
        assert "All of vmtop" in stage.line_with("Deletes: ")
        await stage.press("tab")
        await stage.wait_for_text("may be incremental, from vmtop-3")
        await stage.press("enter")

    make_stage(Folder(), operator=operator).play(scene)
    assert operator.commands == [DeleteCheckpoints(uuid=vm_uuid(1), names=NAMES[:-1])]


def test_from_the_page_of_snapshots_all_checkpoints_are_offered_first() -> None:
    operator = Keeper(MARKED, FRAME)

    async def scene(stage: Stage) -> None:
        await stage.press("s")
        await stage.wait_for_text("which c deletes; until all are gone nothing can be reverted to")
        await stage.press("c")
        await stage.wait_for_text("! none of vmtop is left then")
        await stage.press("enter")

    make_stage(operator=operator).play(scene)
    assert operator.commands == [DeleteCheckpoints(uuid=vm_uuid(1), names=NAMES)]


def test_the_only_checkpoint_leaves_no_choice() -> None:
    operator = Keeper(replace(MARKED, checkpoints=MARKED.checkpoints[:1]), FRAME)

    async def scene(stage: Stage) -> None:
        await open_backups(stage, "1 checkpoint of vmtop's backups")
        await stage.press("c", "tab")
        await stage.wait_for_text("Delete the checkpoint of web-1: vmtop-1")
        await stage.wait_for_text("do it")
        assert "change" not in stage.lines[-1]
        assert "Deletes: " not in "\n".join(stage.lines)

    make_stage(Folder(), operator=operator).play(scene)


def test_where_there_is_no_checkpoint_of_vmtop_that_is_said() -> None:
    operator = Keeper(replace(MARKED, checkpoints=(make_checkpoint("daily"),)), FRAME)

    async def scene(stage: Stage) -> None:
        await open_backups(stage, "1 checkpoint of other programs")
        await stage.press("c")
        assert isinstance(stage.app.screen, ClearScreen)
        await stage.wait_for_text("web-1: it has no checkpoint of vmtop to delete")
        assert "do it" not in stage.lines[-1]
        await stage.press("enter", "escape")
        assert isinstance(stage.app.screen, BackupsScreen)

    make_stage(Folder(), operator=operator).play(scene)


def test_checkpoints_that_cannot_be_read_are_not_deleted() -> None:
    operator = Keeper(ControlError("locked", 68), FRAME)

    async def scene(stage: Stage) -> None:
        await open_backups(stage, "full + 2 inc")
        await stage.press("c")
        await stage.wait_for_text("its checkpoints were not read yet")

    make_stage(Folder(), operator=operator).play(scene)


@pytest.mark.parametrize("size", [(60, 15), (40, 8), (80, 24), (200, 50)])
def test_the_page_fits_every_screen(size: tuple[int, int]) -> None:
    async def scene(stage: Stage) -> None:
        await open_backups(stage, "2023-11-14 23:13")
        assert "full" in stage.lines[-1]

    make_stage(Folder(), size=size).play(scene)
