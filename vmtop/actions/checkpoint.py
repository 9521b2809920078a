"""Checkpoints of good backups: which of them may go, and how they go.

Each is a bitmap for every disk that QEMU keeps up to date, and while there are any no snapshot can be reverted to. Only
the newest is needed: the next incremental backup goes on from it.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum

from vmtop.actions.action import Ending, Outcome
from vmtop.actions.backup_plan import is_ours
from vmtop.actions.explain import explain
from vmtop.backends.base import NO_CHECKPOINT, BackupControl
from vmtop.derive.words import span_words
from vmtop.errors import ControlError
from vmtop.model.storage import StorageSample


class Clearing(StrEnum):
    """How many checkpoints are to go."""

    OLD = "old"
    """All but the newest: incremental backups go on."""
    ALL = "all"


def choose_checkpoints(storage: StorageSample, clearing: Clearing) -> tuple[str, ...]:
    """Names of the checkpoints of vmtop that would go, the oldest first; none where there is none to spare."""
    ours = tuple(each.name for each in storage.checkpoints if is_ours(each.name))
    return ours if clearing is Clearing.ALL else ours[:-1]


def delete_checkpoints(
    control: BackupControl, uuid: str, names: Sequence[str], on_progress: Callable[[str], None]
) -> Outcome:
    """Delete checkpoints one after another, and stop at the first that cannot be; may block.

    Args:
        control: Deletes them.
        uuid: Of the VM.
        names: The oldest first: whatever stops it, the newest stay, from which the next backup can go on.
        on_progress: Is told what goes on, in words.
    """
    gone: list[str] = []
    for place, name in enumerate(names):
        on_progress(f"deleting {place + 1} of {len(names)}")
        try:
            control.delete_checkpoint(uuid, name)
        except ControlError as error:
            if error.code == NO_CHECKPOINT:
                # Somebody else was quicker.
                gone.append(name)
                continue
            return Outcome(Ending.FAILED, _half_done(names[:place], name, names[place + 1 :], explain(error)))
    already = f"; {', '.join(gone)} had gone already" if gone else ""
    return Outcome(Ending.DONE, f"{count_words(len(names) - len(gone))} deleted{already}")


def _half_done(deleted: Sequence[str], failed: str, left: Sequence[str], why: str) -> str:
    done = f"deleted: {span_words(deleted)}; " if deleted else ""
    stays = f"; not tried any more: {span_words(left)}" if left else ""
    return f"{done}{failed} could not be deleted: {why}{stays}"


def count_words(count: int) -> str:
    """How many checkpoints."""
    return f"{count} checkpoint{'' if count == 1 else 's'}"
