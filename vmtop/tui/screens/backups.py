"""The page of a VM's backups."""

from collections.abc import Sequence

from vmtop.actions.command import StartBackup
from vmtop.actions.size import parse_rate, size_text
from vmtop.derive.job import jobs_of
from vmtop.errors import ControlError, UsageError
from vmtop.model.recovery import RecoveryPoint
from vmtop.tui.keymap import Scope, bindings
from vmtop.tui.messages import BackupFolderChosen, CommandAsked, RecoveryAsked, VerificationAsked
from vmtop.tui.screens.snapshots import StorageScreen
from vmtop.tui.view import View
from vmtop.viewmodel.backups import NO_FOLDER, UNABLE, Recovery, build_backups, build_point, build_state
from vmtop.viewmodel.formats import cut_line, safe_text
from vmtop.viewmodel.sheet import Page, build_note, build_title, make_page, plain
from vmtop.viewmodel.tone import Line, Span, Tone

LOOKING = "Looking into the folder ..."


class BackupsScreen(StorageScreen):
    """Points in time to which a VM can be put back; from here backups are started."""

    BINDINGS = bindings(Scope.BACKUPS, Scope.CHECKPOINTS)
    SCOPES = (Scope.BACKUPS, Scope.CHECKPOINTS)

    def __init__(self, uuid: str) -> None:
        """`uuid`: of the VM."""
        super().__init__(uuid)
        self._bytes_per_s: int | None = None
        """Limit of the next backup. None for none."""
        self._looked_for: object = None
        """The folder, and what had been done with the VM, when the folder was last looked into."""

    def follow(self, view: View) -> None:
        """Look into the folder at first, and again whenever a backup got on."""
        super().follow(view)
        folder = view.state.backup_folder
        doings = (
            folder,
            tuple((action.id, action.outcome) for action in view.actions if action.command.uuid == self.uuid),
            () if view.frame is None else [each.job.kind for each in jobs_of(view.frame.jobs, self.uuid)],
        )
        if folder and doings != self._looked_for:
            self._looked_for = doings
            self.post_message(RecoveryAsked(folder, self.uuid))

    def _found(self, view: View) -> Recovery | ControlError | None:
        return view.recovery.get((view.state.backup_folder, self.uuid))

    def _recovery(self, view: View) -> Recovery | None:
        found = self._found(view)
        return None if isinstance(found, ControlError) else found

    def make_head(self, view: View, width: int) -> Sequence[Line]:
        """Whose backups, where they are, and how the VM stands."""
        has_unicode, folder = view.state.has_unicode, view.state.backup_folder
        title = build_title("Backups of", self.vm_name(view), width, has_unicode=has_unicode)
        where = (Span("  in ", Tone.DIM), Span(safe_text(folder, has_unicode), Tone.NAME)) if folder else ()
        limit: Line = ()
        if self._bytes_per_s is not None:
            limit = (Span(f"  the next at most {size_text(self._bytes_per_s)}/s for each disk", Tone.NOTE),)
        state = build_state(
            self._recovery(view),
            () if view.frame is None else jobs_of(view.frame.jobs, self.uuid),
            self.storage(view),
            now_s=self.now_s(view),
            width=width,
            checking=safe_text(view.verifying.get((folder, self.uuid), ""), has_unicode),
        )
        return cut_line((*title, *where, *limit), width, has_unicode), *state, ()

    def make_page(self, view: View, width: int) -> Page:
        """The recovery points."""
        found, has_unicode = self._found(view), view.state.has_unicode
        if isinstance(found, Recovery):
            return build_backups(found, now_s=self.now_s(view), width=width, has_unicode=has_unicode)
        text, tone = LOOKING, Tone.DIM
        if not view.is_readonly and not view.capability.can_backup:
            text = UNABLE
        elif not view.state.backup_folder:
            text = NO_FOLDER
        elif isinstance(found, ControlError):
            text, tone = f"{found}.", Tone.WARN
        return make_page(plain(build_note(text, width, tone, has_unicode=has_unicode)))

    def make_more(self, view: View, width: int) -> Sequence[Line]:
        """The recovery point under the cursor."""
        point = self._point(view)
        if point is None:
            return ()
        return build_point(
            point,
            self.vm_name(view),
            now_s=self.now_s(view),
            width=width,
            has_unicode=view.state.has_unicode,
            is_simulated=view.is_simulated,
        )

    def _point(self, view: View) -> RecoveryPoint | None:
        recovery = self._recovery(view)
        points = () if recovery is None else recovery.points
        return next((point for point in reversed(points) if point.backup.record.stamp == self.key), None)

    # -- keys

    def action_start_backup(self, is_incremental: bool) -> None:
        """Ask whether to start a backup; first for the folder, where none was chosen."""
        view = self.view
        if view is None or not self.can_act(view):
            return
        if view.state.backup_folder:
            self._propose(view.state.backup_folder, is_incremental)
        else:
            self._ask_folder(view, is_incremental)

    def _propose(self, folder: str, is_incremental: bool) -> None:
        command = StartBackup(
            uuid=self.uuid, folder=folder, is_incremental=is_incremental, bytes_per_s=self._bytes_per_s
        )
        self.post_message(CommandAsked((command,)))

    def action_ask_folder(self) -> None:
        """Ask for the folder."""
        if self.view is not None:
            self._ask_folder(self.view, None)

    def _ask_folder(self, view: View, is_incremental: bool | None) -> None:
        """Ask for the folder, and go on with a backup of this kind; None for none."""

        def answer(folder: str) -> str:
            if not folder.startswith("/"):
                return "it needs its whole path, beginning with /"
            self.post_message(BackupFolderChosen(folder))
            if is_incremental is not None:
                self._propose(folder, is_incremental)
            return ""

        self.ask("Folder for backups, on the host of the VM: ", view.state.backup_folder, answer)

    def action_verify(self) -> None:
        """Have all files of the VM's backups checked."""
        view = self.view
        if view is None:
            return
        if view.state.backup_folder:
            self.post_message(VerificationAsked(view.state.backup_folder, self.uuid, self.vm_name(view)))
        else:
            self._ask_folder(view, None)

    def action_ask_limit(self) -> None:
        """Ask how fast the next backup may be."""
        if self.view is None or not self.can_act(self.view):
            return

        def answer(text: str) -> str:
            try:
                self._bytes_per_s = parse_rate(text or "none") or None
            except UsageError as error:
                return str(error)
            self.redraw()
            return ""

        self.ask("Most for each disk of the next backup (100M, or none): ", "", answer)
