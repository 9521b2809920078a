"""What flows down to every screen: one frozen `View` per change. What flows up are the messages of `messages.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from textual.screen import Screen

from vmtop.derive.frame import Frame
from vmtop.derive.series import History
from vmtop.model.policy import Policy
from vmtop.pipeline import Reading
from vmtop.tui.keymap import Key
from vmtop.tui.messages import ViewAsked
from vmtop.tui.theme import Palette
from vmtop.viewmodel.formats import cut_line
from vmtop.viewmodel.summary import build_summary
from vmtop.viewmodel.tone import Line, Span, Tone
from vmtop.viewmodel.ui_state import UiState
from vmtop.viewmodel.vm_table import Order


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


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
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
    is_readonly: bool
    is_simulated: bool
    """What is being read is no real host; known before the first frame."""

    @property
    def badge(self) -> Line:
        """What stands before everything else where figures are of no real host; else nothing."""
        return (Span(" SIMULATED ", Tone.SIMULATED),) if self.is_simulated else ()

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
        width = self.size.width
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
