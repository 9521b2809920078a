"""Has backups checked again whose files lie on this machine, whoever asks for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vmtop.actions.recorder import check_backup_files
from vmtop.backends.backup_folder import write_record
from vmtop.errors import ControlError
from vmtop.model.recovery import StoredBackup


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a check of several backups found."""

    backups: tuple[StoredBackup, ...]
    """All that were given, with what was found out about them."""
    whole: int
    damaged: int
    complaints: tuple[str, ...]
    """Why some could not be checked, or what was found not be kept; foreign text."""


def verify_backups(
    backups: Sequence[StoredBackup], read_time: Callable[[], float], on_progress: Callable[[str], None]
) -> Verification:
    """Check the files of backups one after another, and keep with each what was found; blocks.

    One that is not finished or lacks files is left as it is.

    Args:
        backups: In the order in which they are checked.
        read_time: Gives the wall clock.
        on_progress: Is told what is checked next: "checking 2 of 5: web-1, 20260105T120000Z"; raw.
    """
    wanted = [each for each in backups if each.record.is_done and not each.missing]
    found: dict[int, StoredBackup] = {}
    complaints: list[str] = []
    for place, backup in enumerate(wanted):
        on_progress(f"checking {place + 1} of {len(wanted)}: {backup.record.name}, {backup.record.stamp}")
        try:
            record = check_backup_files(backup.folder, backup.record, read_time())
            found[id(backup)] = replace(backup, record=record)
            write_record(backup.folder, record)
        except ControlError as error:
            complaints.append(str(error))
    damaged = sum(each.record.damage is not None for each in found.values())
    return Verification(
        backups=tuple(found.get(id(each), each) for each in backups),
        whole=len(found) - damaged,
        damaged=damaged,
        complaints=tuple(dict.fromkeys(complaints)),
    )
