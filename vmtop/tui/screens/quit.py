"""The card that asks before vmtop ends while something still goes on."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from vmtop.tui.keymap import Key, Scope, bindings
from vmtop.tui.messages import QuitConfirmed
from vmtop.tui.screens.confirm import ConfirmScreen
from vmtop.tui.view import View
from vmtop.viewmodel.outcome import build_farewell
from vmtop.viewmodel.tone import Line

HINTS: Mapping[str, str] = MappingProxyType({"confirm": "quit", "leave": "stay"})
"""Ids of the keys of a card -> what they do here."""


class QuitScreen(ConfirmScreen):
    """Says of each action what becomes of it without vmtop; the key that opened it, or Enter, ends the program."""

    BINDINGS = bindings(Scope.CARD)

    def make_title(self) -> str:
        """The question."""
        return "Quit while this goes on?"

    def make_notes(self) -> tuple[Line, ...]:
        """What goes on."""
        going = [action for action in self.view.actions if not action.is_over]
        width = self.app.size.width
        return build_farewell(going, width=width, has_unicode=self.view.state.has_unicode)

    def _useful_keys(self, view: View) -> list[Key]:
        return [replace(key, hint=HINTS[key.id]) for key in view.keys if key.id in HINTS]

    def action_confirm(self) -> None:
        """End vmtop."""
        self.post_message(QuitConfirmed())
