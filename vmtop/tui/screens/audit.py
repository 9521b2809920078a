"""The page of the audit."""

from collections.abc import Mapping, Sequence

from vmtop.errors import AuditError
from vmtop.tui.messages import RecordsAsked
from vmtop.tui.screens.list import ListScreen
from vmtop.tui.view import View
from vmtop.viewmodel.audit import Entry, build_audit, build_entry, pair_records
from vmtop.viewmodel.sheet import Page, build_note, make_page, plain
from vmtop.viewmodel.tone import Line, Span, Tone


class AuditScreen(ListScreen):
    """Who did what, newest first."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: Mapping[str, Entry] = {}
        self._made_of: object = None
        """The lines of the audit that are shown."""
        self._asked_for: object = ()
        """What became of actions when the audit was read last."""

    def follow(self, view: View) -> None:
        """Read it at first, and again whenever an action got on."""
        state = tuple((action.id, action.outcome) for action in view.actions)
        if self._asked_for != (state,):
            self._asked_for = (state,)
            self.post_message(RecordsAsked())
        if view.records is not self._made_of and not isinstance(view.records, AuditError):
            self._made_of = view.records
            self._entries = {entry.began.id: entry for entry in pair_records(view.records or ())}

    def make_head(self, view: View, width: int) -> Sequence[Line]:  # noqa: ARG002 - all pages are given it
        """How many actions there are."""
        many = f"  {len(self._entries)} actions, newest first; times are UTC" if self._entries else ""
        return (Span("Audit", Tone.TITLE), Span(many, Tone.DIM)), ()

    def make_page(self, view: View, width: int) -> Page:
        """One line for each action."""
        has_unicode = view.state.has_unicode
        if isinstance(view.records, AuditError):
            return make_page(plain(build_note(str(view.records), width, Tone.HARD, has_unicode=has_unicode)))
        if view.records is None:
            return make_page(plain(build_note("reading the audit ...", width)))
        entries = tuple(self._entries.values())
        return build_audit(entries, width=width, has_unicode=has_unicode, running=self._going(view))

    def _going(self, view: View) -> Mapping[str, float]:
        """Id -> for how many seconds it has gone on."""
        now_s = self.now_s(view)
        others = {each: now_s - self._entries[each].began.time_s for each in view.running if each in self._entries}
        return others | {action.id: action.elapsed_s for action in view.actions if action.outcome is None}

    def make_more(self, view: View, width: int) -> Sequence[Line]:
        """The action under the cursor in full."""
        entry = None if self.key is None else self._entries.get(self.key)
        if entry is None:
            return ()
        running_s = self._going(view).get(entry.began.id)
        return build_entry(entry, width=width, has_unicode=view.state.has_unicode, running_s=running_s)
