"""What widgets and screens tell the app: what the operator asked for. The app alone changes the `UiState`."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from textual.message import Message

from vmtop.viewmodel.status import Notice

if TYPE_CHECKING:
    from vmtop.actions.audit import Undo
    from vmtop.actions.checkpoint import Clearing
    from vmtop.actions.command import Command
    from vmtop.errors import AuditError
    from vmtop.model.storage import StorageSample


class ViewAsked(Message):
    """A screen came to the front and has nothing to show yet."""


class ReadingTaken(Message):
    """The source, or what acts, has something new. Sent by the app to itself, from their threads."""


class SortChosen(Message):
    """Sort by this column, in its own direction."""

    def __init__(self, column_id: str, *, can_reverse: bool = False) -> None:
        """`can_reverse`: the other way round if it is the one that sorts already."""
        super().__init__()
        self.column_id = column_id
        self.can_reverse = can_reverse


class SortMoved(Message):
    """Sort by the column so many places further right, or left if below zero."""

    def __init__(self, step: int, column_ids: tuple[str, ...]) -> None:
        """`column_ids`: all columns as they stand on the screen."""
        super().__init__()
        self.step = step
        self.column_ids = column_ids


class SortReversed(Message):
    """Sort the other way round."""


class CursorMoved(Message):
    """The cursor is on this VM now."""

    def __init__(self, uuid: str) -> None:
        super().__init__()
        self.uuid = uuid


class FilterChanged(Message):
    """Show only VMs that match; an empty text shows all."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class DelayChosen(Message):
    """Read every so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class PageOpened(Message):
    """Show the page of this VM, or of the host where there is no UUID."""

    def __init__(self, uuid: str | None) -> None:
        super().__init__()
        self.uuid = uuid


class MarkToggled(Message):
    """Mark this VM for the next action, or take its mark away; the cursor is on another one then."""

    def __init__(self, uuid: str, cursor_uuid: str) -> None:
        super().__init__()
        self.uuid = uuid
        self.cursor_uuid = cursor_uuid


class MarksCleared(Message):
    """Mark no VM any more."""


class Noticed(Message):
    """Say something above the status line."""

    def __init__(self, notice: Notice) -> None:
        super().__init__()
        self.notice = notice


class CommandAsked(Message):
    """Show what these commands would do, and do them when the operator says so."""

    def __init__(self, commands: "tuple[Command, ...]") -> None:
        super().__init__()
        self.commands = commands


class BalloonAsked(Message):
    """Change the balloons of these VMs: by so many steps, or with 0 to a size that is typed."""

    def __init__(self, uuids: tuple[str, ...], steps: int) -> None:
        super().__init__()
        self.uuids = uuids
        self.steps = steps


class PeriodAsked(Message):
    """Have these VMs send their figures."""

    def __init__(self, uuids: tuple[str, ...]) -> None:
        super().__init__()
        self.uuids = uuids


class UndoAsked(Message):
    """Take the last change back."""


class UndoFound(Message):
    """This can be taken back, the newest first. Sent by the app to itself."""

    def __init__(self, found: "tuple[Undo, ...] | AuditError") -> None:
        super().__init__()
        self.found = found


class VerdictAsked(Message):
    """Judge these commands now and with every new frame, until others are asked about; none ends it."""

    def __init__(self, commands: "tuple[Command, ...]") -> None:
        super().__init__()
        self.commands = commands


class ClearingAsked(Message):
    """Delete checkpoints of a VM."""

    def __init__(self, storage: "StorageSample", clearing: "Clearing") -> None:
        """`clearing`: what to offer first."""
        super().__init__()
        self.storage = storage
        self.clearing = clearing


class StorageAsked(Message):
    """Read disks, snapshots and checkpoints of this VM; they come with a later view."""

    def __init__(self, uuid: str) -> None:
        super().__init__()
        self.uuid = uuid


class JobsOpened(Message):
    """Show the jobs of all VMs."""


class SnapshotsOpened(Message):
    """Show the snapshots of this VM."""

    def __init__(self, uuid: str) -> None:
        super().__init__()
        self.uuid = uuid


class KindsOpened(Message):
    """Show the ways to take a snapshot of this VM, so that one can be chosen."""

    def __init__(self, uuid: str) -> None:
        super().__init__()
        self.uuid = uuid


class BackupsOpened(Message):
    """Show the backups of this VM."""

    def __init__(self, uuid: str) -> None:
        super().__init__()
        self.uuid = uuid


class BackupFolderChosen(Message):
    """Backups go to this folder, and are looked for there."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder


class RecoveryAsked(Message):
    """Look in a folder for the backups of this VM; they come with a later view."""

    def __init__(self, folder: str, uuid: str) -> None:
        super().__init__()
        self.folder = folder
        self.uuid = uuid


class VerificationAsked(Message):
    """Check the files of a VM's backups in a folder; how far that is, and what was found, comes with later views."""

    def __init__(self, folder: str, uuid: str, vm: str) -> None:
        """`vm`: its name, raw."""
        super().__init__()
        self.folder = folder
        self.uuid = uuid
        self.vm = vm


class AuditOpened(Message):
    """Show who did what."""


class RecordsAsked(Message):
    """Read the audit; it comes with a later view."""


class FaultsOpened(Message):
    """Show what can be made to go wrong with this VM, or only with the host where there is none."""

    def __init__(self, uuid: str | None) -> None:
        super().__init__()
        self.uuid = uuid


class FaultAsked(Message):
    """Make it happen now, to this VM or to the host."""

    def __init__(self, fault_id: str, uuid: str | None) -> None:
        super().__init__()
        self.fault_id = fault_id
        self.uuid = uuid


class FaultsEnded(Message):
    """Undo all that was injected and can be undone."""


class QuitConfirmed(Message):
    """End vmtop although something still goes on."""


class CommandConfirmed(Message):
    """Do it."""

    def __init__(
        self,
        commands: "tuple[Command, ...]",
        *,
        names: Mapping[str, str],
        undoes: "Mapping[Command, str]",
        passing: "Collection[Command]" = (),
    ) -> None:
        """What exactly.

        Args:
            commands: one after another.
            names: UUID -> name of the VM as it was typed, where that had to be.
            undoes: command -> id of the action that it takes back.
            passing: those that are taken back when vmtop ends, if nobody changed the VM otherwise until then.
        """
        super().__init__()
        self.commands = commands
        self.names = names
        self.undoes = undoes
        self.passing = passing
