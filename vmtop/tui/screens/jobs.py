"""The page of jobs."""

from collections.abc import Mapping, Sequence

from vmtop.actions.command import CancelJob, LimitJob, ResumeVm
from vmtop.actions.size import parse_rate
from vmtop.errors import UsageError
from vmtop.tui.keymap import Scope, bindings
from vmtop.tui.messages import CommandAsked, Noticed, PageOpened
from vmtop.tui.screens.list import ListScreen
from vmtop.tui.view import View
from vmtop.viewmodel.jobs import JobChoice, build_jobs
from vmtop.viewmodel.sheet import Page, build_note
from vmtop.viewmodel.status import Notice
from vmtop.viewmodel.tone import Line, Span, Tone

_DONE = {"cancel": "cancelled", "throttle": "throttled"}


class JobsScreen(ListScreen):
    """Jobs of all VMs; from here they are cancelled and throttled, and VMs that an I/O error stopped go on."""

    BINDINGS = bindings(Scope.PICK, Scope.JOBS)
    SCOPES = (Scope.PICK, Scope.JOBS)

    def __init__(self) -> None:
        super().__init__()
        self._choices: Mapping[str, JobChoice] = {}

    def make_head(self, view: View, width: int) -> Sequence[Line]:  # noqa: ARG002 - all pages are given it
        """How many jobs run."""
        if view.frame is None:
            return ((Span("Jobs", Tone.TITLE),),)
        running = len(view.frame.jobs.running)
        return (Span("Jobs", Tone.TITLE), Span(f"  {running} running" if running else "  none running", Tone.DIM)), ()

    def make_page(self, view: View, width: int) -> Page:
        """Those that run and those that ended."""
        if view.frame is None:
            return Page(lines=(), keys=())
        page, self._choices = build_jobs(
            view.frame,
            view.actions,
            now_s=self.now_s(view),
            width=width,
            has_unicode=view.state.has_unicode,
            can_start=not view.is_readonly and view.capability.can_backup,
        )
        return page

    def make_more(self, view: View, width: int) -> Sequence[Line]:
        """The line under the cursor in a sentence, whole."""
        choice = self._choice
        return () if choice is None else build_note(choice.text, width, has_unicode=view.state.has_unicode)

    @property
    def _choice(self) -> JobChoice | None:
        return None if self.key is None else self._choices.get(self.key)

    def action_choose(self) -> None:
        """Let a stopped VM go on, or show the page of the VM."""
        choice = self._choice
        if choice is None:
            self._say("there is no job to choose")
        elif choice.is_stopped:
            self.post_message(CommandAsked((ResumeVm(uuid=choice.uuid),)))
        else:
            self.post_message(PageOpened(choice.uuid))

    def action_cancel_job(self) -> None:
        """Ask whether to cancel the job that runs."""
        choice = self._choose_running("cancel")
        if choice is not None:
            command = CancelJob(uuid=choice.uuid, kind=choice.running, disk=choice.disk, began_s=choice.began_s)
            self.post_message(CommandAsked((command,)))

    def action_limit_job(self) -> None:
        """Ask for a rate."""
        choice = self._choose_running("throttle")
        if choice is None:
            return
        disk = choice.disk

        def limit(text: str) -> str:
            try:
                bytes_per_s = parse_rate(text)
            except UsageError as error:
                return str(error)
            command = LimitJob(
                uuid=choice.uuid, bytes_per_s=bytes_per_s, kind=choice.running, disk=disk, began_s=choice.began_s
            )
            self.post_message(CommandAsked((command,)))
            return ""

        self.ask(f"Most for {'each' if disk is None else 'this'} disk (100M, or none): ", "", limit)

    def _choose_running(self, verb: str) -> JobChoice | None:
        """The job under the cursor; where none runs there, that is said."""
        choice = self._choice
        if choice is not None and choice.running is not None:
            return choice
        self._say(f"there is no job to {verb}" if choice is None else f"only a job that runs can be {_DONE[verb]}")
        return None

    def _say(self, text: str) -> None:
        self.post_message(Noticed(Notice(text, Tone.NOTE)))
