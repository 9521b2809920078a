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
from vmtop.viewmodel.ui_state import UiState


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

    def show(self, view: View) -> None:
        """Draw `view`; called on the screen in front only, after it was mounted."""
        raise NotImplementedError
