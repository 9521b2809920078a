"""The page of the audit, by keys."""

import pytest

from tests.builders import make_frame, make_vm
from tests.tui.fake_operator import FakeOperator
from tests.tui.screen import Stage
from tests.viewmodel.test_audit import make_record
from vmtop.actions.action import Ending
from vmtop.actions.audit import AuditRecord, Phase
from vmtop.actions.command import CancelJob
from vmtop.errors import AuditError
from vmtop.tui.screens.audit import AuditScreen
from vmtop.tui.screens.main import MainScreen

FRAME = make_frame([make_vm(name="web-1")])


class Book:
    """An audit as a test wants it."""

    def __init__(self, *records: AuditRecord) -> None:
        self.records = records
        self.error: AuditError | None = None

    def read(self) -> tuple[AuditRecord, ...]:
        if self.error is not None:
            raise self.error
        return self.records


async def open_audit(stage: Stage, text: str) -> None:
    await stage.press("A")
    assert isinstance(stage.app.screen, AuditScreen)
    await stage.wait_for_text(text)


def test_actions_are_shown_newest_first_and_whole_below() -> None:
    book = Book(*(make_record(number, text=f"end {number}", vm=f"vm-{number}") for number in range(1, 40)))

    async def scene(stage: Stage) -> None:
        await open_audit(stage, "end 39")
        assert "39 actions" in stage.lines[1]
        assert "end       end 39" in stage.line_with("end       ")
        await stage.press("down")
        assert "end       end 38" in stage.line_with("end       ")
        await stage.press("end")
        assert "vm-1 " in "\n".join(stage.lines)
        assert "end       end 1" in stage.line_with("end       ")
        await stage.press("backspace")
        assert isinstance(stage.app.screen, MainScreen)

    Stage(FRAME, read_audit=book.read).play(scene)


def test_an_action_that_ends_meanwhile_is_shown() -> None:
    book, operator = Book(make_record(1, text="end 1")), FakeOperator(FRAME)
    operator.submit(CancelJob(uuid=FRAME.vms[0].uuid))

    async def scene(stage: Stage) -> None:
        await stage.wait_for(lambda: stage.app._acting.is_on)
        stage.app.follow(stage.source.latest())
        await open_audit(stage, "end 1")
        book.records = (*book.records, make_record(2, text="end 2"))
        operator.end(Ending.DONE, "done in 1 s")
        await stage.wait_for_text("end 2")

    Stage(FRAME, operator=operator, read_audit=book.read).play(scene)


def test_an_audit_that_cannot_be_read_is_told() -> None:
    book = Book()
    book.error = AuditError("/state/audit.jsonl: Permission denied")

    async def scene(stage: Stage) -> None:
        await open_audit(stage, "/state/audit.jsonl: Permission denied")

    Stage(FRAME, read_audit=book.read).play(scene)


def test_where_nobody_keeps_one_nothing_was_done() -> None:
    async def scene(stage: Stage) -> None:
        await open_audit(stage, "No action of vmtop")

    Stage(FRAME).play(scene)


@pytest.mark.parametrize("size", [(60, 15), (40, 8), (80, 24), (200, 50)])
def test_the_page_fits_every_screen(size: tuple[int, int]) -> None:
    async def scene(stage: Stage) -> None:
        await open_audit(stage, "22:14:20Z")
        assert "Esc" in stage.lines[-1]

    Stage(FRAME, size=size, read_audit=Book(make_record()).read).play(scene)


def test_an_action_of_this_vmtop_that_goes_on_is_running() -> None:
    operator = FakeOperator(FRAME)
    action = operator.submit(CancelJob(uuid=FRAME.vms[0].uuid))
    book = Book(make_record(1, phase=Phase.STARTED, id=action.id), make_record(2, phase=Phase.STARTED))

    async def scene(stage: Stage) -> None:
        await stage.press("plus", "escape")  # has the operator made
        await open_audit(stage, "running for")
        assert "no end was written" in "\n".join(stage.lines)

    Stage(FRAME, operator=operator, read_audit=book.read).play(scene)
