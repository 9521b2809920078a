"""Keys that act on VMs, for every screen that has some."""

from vmtop.derive.metrics import Condition, VmMetrics
from vmtop.tui.messages import (
    AuditOpened,
    BackupsOpened,
    BalloonAsked,
    FaultsOpened,
    JobsOpened,
    Noticed,
    PeriodAsked,
    SnapshotsOpened,
    UndoAsked,
)
from vmtop.tui.view import View, ViewScreen
from vmtop.viewmodel.status import Notice
from vmtop.viewmodel.tone import Tone

_OF_BALLOONS = frozenset({"balloon", "balloon-down", "balloon-up"})
_CHANGING = _OF_BALLOONS | {"mark", "undo", "period"}
_WITHOUT_BALLOON = frozenset({Condition.OFF, Condition.CRASHED, Condition.NO_BALLOON})


def useless_keys(view: View, vm: VmMetrics | None) -> frozenset[str]:
    """Ids of keys that do nothing here, or nothing for this VM; they still say so when they are pressed."""
    useless: frozenset[str] = frozenset() if view.faults is not None else frozenset({"faults"})
    if view.is_readonly:
        useless |= _CHANGING
    if vm is not None and vm.condition in _WITHOUT_BALLOON:
        useless |= _OF_BALLOONS
    return useless


def urgent_keys(view: View, vm: VmMetrics | None) -> tuple[str, ...]:
    """Ids of keys that are worth more now: undo after a change, and the period of a guest that sends no figures."""
    urgent = []
    if vm is not None and vm.condition is Condition.NO_STATS:
        urgent.append("period")
    if view.actions:
        from vmtop.actions.audit import UNDOABLE  # the first picture does not wait for it

        if any(action.outcome is not None and action.command.action in UNDOABLE for action in view.actions):
            urgent.append("undo")
    return tuple(urgent)


class ActingScreen(ViewScreen):
    """A screen on which VMs can be chosen."""

    def chosen(self) -> tuple[str, ...]:
        """UUIDs of the VMs that an action is for: the marked ones, else the one under the cursor."""
        raise NotImplementedError

    def pointed(self) -> str | None:
        """UUID of the VM under the cursor, or of the page. None for the host."""
        raise NotImplementedError

    def choose(self) -> tuple[str, ...]:
        """The same; where there is none, that is said."""
        uuids = self.chosen()
        if not uuids:
            self._ask_to_choose()
        return uuids

    def _ask_to_choose(self) -> None:
        self.post_message(Noticed(Notice("choose a VM first", Tone.NOTE)))

    def action_step_balloon(self, step: int) -> None:
        """Ask whether to move balloons by a step."""
        if uuids := self.choose():
            self.post_message(BalloonAsked(uuids, step))

    def action_ask_balloon(self) -> None:
        """Ask for the size of balloons."""
        if uuids := self.choose():
            self.post_message(BalloonAsked(uuids, 0))

    def action_ask_period(self) -> None:
        """Ask whether guests are to send their figures."""
        if uuids := self.choose():
            self.post_message(PeriodAsked(uuids))

    def action_undo(self) -> None:
        """Ask whether to take the last change back."""
        self.post_message(UndoAsked())

    def action_show_jobs(self) -> None:
        """Show the jobs of all VMs."""
        self.post_message(JobsOpened())

    def action_show_snapshots(self) -> None:
        """Show the snapshots of the VM."""
        uuid = self.pointed()
        if uuid is None:
            self._ask_to_choose()
        else:
            self.post_message(SnapshotsOpened(uuid))

    def action_show_backups(self) -> None:
        """Show the backups of the VM."""
        uuid = self.pointed()
        if uuid is None:
            self._ask_to_choose()
        else:
            self.post_message(BackupsOpened(uuid))

    def action_show_audit(self) -> None:
        """Show who did what."""
        self.post_message(AuditOpened())

    def action_show_faults(self) -> None:
        """Show what can be made to go wrong."""
        self.post_message(FaultsOpened(self.pointed()))
