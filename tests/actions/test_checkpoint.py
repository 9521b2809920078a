from tests.actions.rig import FakeControl
from tests.actions.scenes import ID, make_checkpoint, make_storage
from vmtop.actions.action import Ending, Outcome
from vmtop.actions.checkpoint import Clearing, choose_checkpoints, delete_checkpoints
from vmtop.backends.base import NO_CHECKPOINT
from vmtop.errors import ControlError

NAMES = ("vmtop-1", "vmtop-2", "vmtop-3")
STORAGE = make_storage(checkpoints=tuple(make_checkpoint(name) for name in ("foreign", *NAMES, "other")))


class Stubborn(FakeControl):
    """Fails with one checkpoint."""

    def __init__(self, name: str, error: ControlError) -> None:
        super().__init__()
        self._name = name
        self._error = error

    def delete_checkpoint(self, uuid: str, name: str) -> None:
        super().delete_checkpoint(uuid, name)
        if name == self._name:
            raise self._error


def delete(control: FakeControl, *names: str) -> tuple[Outcome, list[str]]:
    told: list[str] = []
    return delete_checkpoints(control, ID, names, told.append), told


def test_old_ones_are_all_but_the_newest_and_those_of_others_are_never_chosen() -> None:
    assert choose_checkpoints(STORAGE, Clearing.OLD) == NAMES[:-1]
    assert choose_checkpoints(STORAGE, Clearing.ALL) == NAMES
    only = make_storage(checkpoints=(make_checkpoint(),))
    assert choose_checkpoints(only, Clearing.OLD) == ()
    assert choose_checkpoints(make_storage(), Clearing.ALL) == ()


def test_the_oldest_goes_first_and_each_is_told() -> None:
    control = FakeControl()
    outcome, told = delete(control, *NAMES)
    assert outcome == Outcome(Ending.DONE, "3 checkpoints deleted")
    assert [name for _, _, name in control.calls] == list(NAMES)
    assert told == ["deleting 1 of 3", "deleting 2 of 3", "deleting 3 of 3"]


def test_the_first_that_fails_ends_it_and_the_outcome_tells_which_went_and_which_stay() -> None:
    control = Stubborn("vmtop-2", ControlError("locked", 68))
    why = "another job held the VM for too long: locked"
    assert delete(control, *NAMES)[0] == Outcome(
        Ending.FAILED,
        f"deleted: vmtop-1; vmtop-2 could not be deleted: {why}; not tried any more: vmtop-3",
    )
    assert len(control.calls) == 2
    assert delete(control, "vmtop-2")[0] == Outcome(Ending.FAILED, f"vmtop-2 could not be deleted: {why}")


def test_one_that_somebody_else_deleted_is_no_failure() -> None:
    control = Stubborn("vmtop-2", ControlError("no such checkpoint", NO_CHECKPOINT))
    assert delete(control, *NAMES)[0] == Outcome(Ending.DONE, "2 checkpoints deleted; vmtop-2 had gone already")
    assert delete(control, "vmtop-1")[0] == Outcome(Ending.DONE, "1 checkpoint deleted")
