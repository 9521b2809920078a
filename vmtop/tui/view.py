"""What flows down to every screen: one frozen `View` per change. What flows up are the messages of `messages.py`."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from textual.screen import Screen

from vmtop.derive.frame import Frame
from vmtop.derive.series import History
from vmtop.model.capability import Capability
from vmtop.model.policy import Policy
from vmtop.pipeline import Reading
from vmtop.tui.keymap import Key
from vmtop.tui.messages import ViewAsked
from vmtop.tui.theme import Palette
from vmtop.viewmodel.formats import cut_line
from vmtop.viewmodel.status import Notice
from vmtop.viewmodel.summary import build_summary
from vmtop.viewmodel.tone import Line, Span, Tone
from vmtop.viewmodel.ui_state import UiState
from vmtop.viewmodel.vm_table import Order

if TYPE_CHECKING:
    from vmtop.actions.action import Action
    from vmtop.actions.audit import AuditRecord, Undo
    from vmtop.actions.command import Command
    from vmtop.actions.situation import Newest
    from vmtop.actions.target import Target
    from vmtop.actions.verdict import Verdict
    from vmtop.errors import AuditError, ControlError
    from vmtop.model.fault import FaultInfo
    from vmtop.model.storage import StorageSample
    from vmtop.viewmodel.backups import Recovery


class Source(Protocol):
    """Where readings come from; nothing here waits. `vmtop.pipeline.Sampler` is one."""

    @property
    def history(self) -> History | None:
        """The last values of every figure; None when nobody keeps them."""

    def latest(self) -> Reading:
        """The newest reading."""

    def attach(self, wake: Callable[[], None]) -> None:
        """Have `wake` called, from any thread, when there is something new."""

    def set_delay(self, seconds: float) -> None:
        """Change the pause between readings."""

    def stop(self) -> None:
        """Ask for the end of reading, without waiting for it."""


class Operator(Protocol):
    """What carries out commands. `vmtop.actions.runner.Runner` is one; its methods may be called from any thread."""

    def on_change(self, notify: Callable[[], None]) -> None:
        """Have `notify` called, from any thread, whenever an action got on."""

    def tick(self, newest: "Newest") -> None:
        """Take note of a new frame."""

    def judge(self, command: "Command") -> "Verdict":
        """Say whether a command may be done and what it would mean; may block."""

    def submit(
        self, command: "Command", *, confirmed_name: str = "", undoes: str | None = None, is_passing: bool = False
    ) -> "Action":
        """Hand over a command, without waiting for it; a passing one is taken back by `put_back`."""

    def take_over(self) -> None:
        """From now on see to what other runs of vmtop left."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Why not all that was left can be seen to; foreign text."""

    @property
    def is_to_put_back(self) -> bool:
        """Something is to be put back of which too little is known yet."""

    def put_back(self) -> "tuple[Action, ...]":
        """Take back what was to last no longer than this program.

        Raises:
            AuditError: something cannot be crossed out.
        """

    def actions(self) -> "tuple[Action, ...]":
        """All that was handed over, the oldest first."""

    def targets(self) -> "Mapping[str, Target]":
        """UUID -> what became of the size that a balloon was asked for."""

    def undoable(self) -> "tuple[Undo, ...]":
        """Changes that can be taken back, the newest first; reads a file.

        Raises:
            AuditError: the audit cannot be read.
        """

    def close(self) -> None:
        """Let go of connections, without waiting."""


class Faults(Protocol):
    """A source in which things can be made to go wrong, to train on."""

    def faults(self) -> "tuple[FaultInfo, ...]":
        """What can be injected, in the order of a menu."""

    def inject_fault(self, fault_id: str, uuid: str | None) -> None:
        """Make it happen now, to a VM or, with None, to the host.

        Raises:
            ControlError: it cannot happen to this VM now.
        """

    def end_faults(self) -> None:
        """Undo all that was injected and can be undone."""


class View(NamedTuple):
    """Everything that a screen needs to draw itself."""

    frame: Frame | None
    """What to show: the newest frame, or the one at which the view was paused. None before the first."""
    reading: Reading
    """The newest reading, whether or not its frame is shown."""
    state: UiState
    order: Order
    """Sorts the VMs; the same for every screen, since it holds VMs in their places against noise."""
    now_monotonic_s: float
    """The present on the clock of `Sample.monotonic_s`."""
    paused_s: float | None
    """How long the view has been paused. None while it is not."""
    history: History | None
    policy: Policy
    palette: Palette
    keys: tuple[Key, ...]
    """Every key, as the operator bound it."""
    uri: str
    """What is being read."""
    why_readonly: str
    """Why nothing can be changed, in words. Empty where VMs can be changed."""
    capability: Capability
    """What can be done with the VMs there, unless `why_readonly` speaks against it."""
    is_simulated: bool
    """What is being read is no real host; known before the first frame."""
    notice: Notice | None
    """What is to stand above the status line. None for nothing."""
    targets: "Mapping[str, Target]"
    """UUID -> what was asked of a balloon, and what became of it."""
    actions: "tuple[Action, ...]"
    """All that was done in this run of the program, the oldest first."""
    verdicts: "Mapping[Command, Verdict]"
    """What the guard says of the commands that a screen asked about with `VerdictAsked`, as far as it has answered."""
    storage: "Mapping[str, StorageSample | ControlError]"
    """UUID -> what a screen asked for with `StorageAsked`, or why that cannot be read."""
    records: "tuple[AuditRecord, ...] | AuditError | None"
    """The audit, as of the last `RecordsAsked`, or why it cannot be read. None before it was read."""
    running: frozenset[str]
    """Ids of actions in it that went on when it was read, in this process or another one of this machine."""
    recovery: "Mapping[tuple[str, str], Recovery | ControlError]"
    """(folder, UUID) -> what a screen asked for with `RecoveryAsked`, or why that cannot be read."""
    verifying: Mapping[tuple[str, str], str]
    """(folder, UUID) -> which of the backups there is being checked, in words; raw. Nothing of other folders."""
    faults: Faults | None
    """What makes things go wrong. None where everything is real."""

    @property
    def badge(self) -> Line:
        """What stands before everything else where figures are of no real host; else nothing."""
        return (Span(" SIMULATED ", Tone.SIMULATED),) if self.is_simulated else ()

    @property
    def is_readonly(self) -> bool:
        """VMs cannot be changed."""
        return bool(self.why_readonly)

    @property
    def is_stale(self) -> bool:
        """Newer figures are overdue: the newest frame is older than a few pauses between readings."""
        newest = self.reading.frame
        if newest is None:
            return False
        age_s = self.now_monotonic_s - newest.sample.monotonic_s
        return age_s > max(self.policy.stale_periods * self.state.delay_s, self.policy.stale_least_s)


class ViewScreen(Screen[None]):
    """A screen of ours: asks for a view when it comes to the front, and is given a new one on each change."""

    def on_screen_resume(self) -> None:
        """Ask for what to show."""
        self.post_message(ViewAsked())

    def make_summary(self, view: View, rows: int) -> tuple[Line, ...]:
        """The host in at most `rows` lines, which say where figures come from also while there are none."""
        width = self.app.size.width  # that of every screen, also before it is laid out
        lines = build_summary(
            view.frame,
            view.reading.failure,
            view.state,
            width=width,
            rows=rows,
            now_monotonic_s=view.now_monotonic_s,
            source=view.uri,
            is_readonly=view.is_readonly,
            policy=view.policy,
        )
        if view.frame is None and view.badge:
            first, *others = lines
            return cut_line((*view.badge, Span(" ", Tone.NORMAL), *first), width, view.state.has_unicode), *others
        return lines

    def show(self, view: View) -> None:
        """Draw `view`; called on the screen in front only, after it was mounted."""
        raise NotImplementedError
