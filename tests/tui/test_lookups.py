"""Who asks twice gets the answer to the second question, whichever comes first."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.actions.scenes import make_storage
from tests.builders import vm_uuid
from vmtop.actions.audit import AuditRecord
from vmtop.actions.verification import Verification
from vmtop.errors import AuditError, ControlError
from vmtop.model.storage import StorageSample
from vmtop.tui.lookups import CHECKED_ALREADY, NOT_CHECKED, Lookups, VerifyBackups
from vmtop.viewmodel.backups import Recovery
from vmtop.viewmodel.status import Notice
from vmtop.viewmodel.tone import Tone

ID = vm_uuid(1)
FOLDER = "/backup"
EARLIER, LATER = make_storage(), replace(make_storage(), block_job_disk="vda")


class Desk:
    """Threads that a test runs in the order it likes, and answers in the order in which they are read."""

    def __init__(self, *answers: object, verify_backups: VerifyBackups | None = None) -> None:
        self.work: list[Callable[[], None]] = []
        self.answers = list(answers)
        self.wakes = 0
        self.said: list[Notice] = []
        self.lookups = Lookups(
            self._read_audit,
            self._read_storage,
            self._read_recovery,
            verify_backups,
            self.work.append,
            self._wake,
            self.said.append,
        )

    def _wake(self) -> None:
        self.wakes += 1

    def _next(self) -> object:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _read_audit(self) -> tuple[AuditRecord, ...]:
        answer = self._next()
        assert isinstance(answer, tuple)
        return answer

    def _read_storage(self, uuid: str) -> StorageSample:
        assert uuid == ID
        answer = self._next()
        assert isinstance(answer, StorageSample)
        return answer

    def _read_recovery(self, folder: str, uuid: str) -> Recovery:
        assert (folder, uuid) == (FOLDER, ID)
        answer = self._next()
        assert isinstance(answer, Recovery)
        return answer


def test_a_slow_answer_about_storage_does_not_replace_that_to_a_later_question() -> None:
    desk = Desk(LATER, EARLIER)
    desk.lookups.ask_storage(ID)
    desk.lookups.ask_storage(ID)
    earlier, later = desk.work
    later()
    before = desk.lookups.storage
    assert (before, desk.wakes) == ({ID: LATER}, 1)
    earlier()
    assert desk.lookups.storage is before
    assert desk.wakes == 1


def test_answers_in_the_order_of_their_questions_are_all_shown() -> None:
    refusal = ControlError("locked", 68)
    desk = Desk(refusal, LATER)
    desk.lookups.ask_storage(ID)
    desk.lookups.ask_storage(ID)
    desk.work[0]()
    assert desk.lookups.storage == {ID: refusal}
    desk.work[1]()
    assert (desk.lookups.storage, desk.wakes) == ({ID: LATER}, 2)


def test_a_slow_look_into_a_folder_does_not_replace_a_later_one() -> None:
    found = Recovery(points=())
    desk = Desk(found, ControlError("it was not mounted yet"))
    desk.lookups.ask_recovery(FOLDER, ID)
    desk.lookups.ask_recovery(FOLDER, ID)
    earlier, later = desk.work
    later()
    earlier()
    assert desk.lookups.recovery == {(FOLDER, ID): found}
    assert desk.wakes == 1


def test_a_slow_answer_about_the_audit_does_not_replace_that_to_a_later_question() -> None:
    desk = Desk((), AuditError("it cannot be read"))
    assert Desk().lookups.records is None
    desk.lookups.ask_records()
    desk.lookups.ask_records()
    earlier, later = desk.work
    later()
    earlier()
    assert (desk.lookups.records, desk.lookups.running, desk.wakes) == ((), frozenset(), 1)


def test_a_look_that_was_asked_for_before_a_check_does_not_hide_what_the_check_found() -> None:
    found = Recovery(points=())

    def verify(folder: str, uuid: str, tell: Callable[[str], None]) -> Verification:
        tell("1 of 1")
        assert desk.lookups.verifying == {(FOLDER, ID): "1 of 1"}
        raise ControlError("the folder is gone")

    desk = Desk(found, found, ControlError("too late"), verify_backups=verify)
    desk.lookups.ask_recovery(FOLDER, ID)
    desk.lookups.verify(FOLDER, ID, "web-1")
    look, check = desk.work
    check()
    look()
    assert desk.lookups.recovery == {(FOLDER, ID): found}
    assert desk.lookups.verifying == {}
    assert desk.said == [Notice("web-1: the backups could not be checked: the folder is gone", Tone.HARD)]


def test_what_is_being_checked_is_not_checked_twice() -> None:
    desk = Desk(verify_backups=lambda folder, uuid, tell: pytest.fail("it was not to begin yet"))
    desk.lookups.verify(FOLDER, ID, "web-1")
    desk.lookups.verify(FOLDER, ID, "web-1")
    assert len(desk.work) == 1
    assert desk.said == [Notice(CHECKED_ALREADY, Tone.NOTE)]


def test_where_files_cannot_be_checked_that_is_said() -> None:
    desk = Desk()
    desk.lookups.verify(FOLDER, ID, "web-1")
    assert (desk.work, desk.said) == ([], [Notice(NOT_CHECKED, Tone.NOTE)])
