"""Where a command is given: whom it talks to, and what it gets to work with."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from vmtop.actions.audit import Audit
from vmtop.backends.base import Clock
from vmtop.batch import write_output
from vmtop.command_line.session import Session
from vmtop.viewmodel.formats import cut_line, safe_text
from vmtop.viewmodel.tone import Line, Span, Tone

SCHEMA = 1
"""Of the JSON objects; grows when a name in one of them changes its meaning or goes."""


class Console:
    """Standard input and output. All text that goes through it becomes harmless."""

    def __init__(
        self, stdin: TextIO | None, stdout: TextIO, stderr: TextIO | None, *, width: int, has_unicode: bool
    ) -> None:
        """Take the streams of this process; None for one that is closed."""
        self._stdin = stdin
        self._stdout = stdout
        self._stderr = stderr
        self.width = width
        self.has_unicode = has_unicode
        self.is_screen = stdout.isatty()
        """A person sees the output; else a file or program takes it, and no line has an end that must not be passed."""
        self._is_told_of_progress = stderr is not None and stderr.isatty()
        self._has_progress = False

    @property
    def can_ask(self) -> bool:
        """A person sits there."""
        return self._stdin is not None and self._stdin.isatty() and self._is_told_of_progress

    def write(self, *lines: str) -> None:
        """Print lines."""
        self._end_progress()
        write_output(self._stdout, "".join(f"{safe_text(line, self.has_unicode)}\n" for line in lines))

    def write_lines(self, lines: Sequence[Line], *, is_note: bool = False) -> None:
        """Print lines that a page is made of, or say them beside the output."""
        text = "\n".join("".join(span.text for span in line).rstrip() for line in lines)
        for shown in text.rstrip("\n").split("\n"):
            (self.note if is_note else self.write)(shown)

    def write_object(self, command: str, **values: Any) -> None:
        """Print one JSON object."""
        self._end_progress()
        whole = {"schema": SCHEMA, "command": command, **values}
        write_output(self._stdout, json.dumps(whole, ensure_ascii=True, allow_nan=False) + "\n")

    def note(self, text: str) -> None:
        """Say something that is not the output itself."""
        self._end_progress()
        self._say(f"{safe_text(text, self.has_unicode)}\n")

    def progress(self, text: str) -> None:
        """Show, on a terminal only, what goes on; it takes the place of what was shown before."""
        if self._is_told_of_progress:
            line: Line = (Span(safe_text(text, self.has_unicode), Tone.NORMAL),)
            shown = "".join(span.text for span in cut_line(line, self.width - 1, self.has_unicode))
            self._say(f"\r{shown}\x1b[K")
            self._has_progress = True

    def ask(self, question: str) -> str:
        """Have a person answer in a line; empty when there is no answer."""
        self._end_progress()
        self._say(f"{safe_text(question, self.has_unicode)} ")
        return "" if self._stdin is None else self._stdin.readline().rstrip("\n")

    def agrees(self, question: str) -> bool:
        """Ask for a yes; anything else is a no."""
        return self.ask(f"{question} [y/N]").strip().lower() in {"y", "yes"}

    def _end_progress(self) -> None:
        if self._has_progress:
            self._has_progress = False
            self._say("\r\x1b[K")

    def _say(self, text: str) -> None:
        if self._stderr is not None:
            self._stderr.write(text)
            self._stderr.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What commands get to work with."""

    console: Console
    audit: Audit
    clock: Clock
    open_session: Callable[[], Session]
    """Connects to the source; the session is closed by whoever opened it. Raises `VmtopError`."""
