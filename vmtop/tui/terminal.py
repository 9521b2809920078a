"""What a full-screen program owes the terminal it runs in, and Textual leaves to the app.

    reason = check_terminal(standard_streams(), os.environ)   # before Textual is imported
    prepare_terminal(os.environ, sys.__stderr__)
    app = MyApp()                                              # class MyApp(TerminalWatch, App[None])
    app.run()
    leave(app)

Importing this module imports neither Textual nor asyncio.
"""

import os
import signal
import sys
import threading
from collections.abc import Mapping, MutableMapping
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.app import App
    from textual.driver import Driver

    _AppBase = App[Any]
else:
    _AppBase = object

HANGUP_CODE: Final = 128 + signal.SIGHUP
"""Exit code of a program whose terminal is gone, as shells count it."""

_ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_LINE_CHECK_S: Final = 1.0
"""How often to look whether the terminal still exists: SIGHUP tells only its own session, so nothing run by setsid."""

_LEAVE_WITHIN_S: Final = 5.0
"""How long leaving may take: 0.2 s, more on a host that swaps. A terminal that takes nothing would hold it for ever."""


def standard_streams() -> dict[str, TextIO | None]:
    """Give the streams that Textual uses, by name: it reads stdin, asks stdout for its size and draws on stderr."""
    return {"stdin": sys.__stdin__, "stdout": sys.__stdout__, "stderr": sys.__stderr__}


def check_terminal(streams: Mapping[str, TextIO | None], environ: Mapping[str, str]) -> str | None:
    """Say why the screen cannot be used, or None if it can.

    Textual draws on whatever there is: into files, and on terminals that cannot place text.
    """
    for name, stream in streams.items():
        if stream is None or stream.closed or not stream.isatty():
            return f"{name} is not a terminal"
    term = environ.get("TERM", "")
    if term in {"", "dumb", "unknown"}:
        return f"the terminal cannot place text (TERM={term or 'unset'})"
    return None


def prepare_terminal(environ: MutableMapping[str, str], stream: TextIOWrapper) -> None:
    """Make Textual believe the terminal; it has to be imported after this.

    Args:
        environ: Loses COLUMNS and LINES, which would be believed instead of the terminal, also after its size changed.
        stream: What is drawn on. A character that its encoding lacks becomes one `?`, not an escape of several columns.
    """
    for name in ("COLUMNS", "LINES"):
        environ.pop(name, None)
    stream.reconfigure(errors="replace")


def read_user_environ() -> Mapping[str, str]:
    """Read the environment this process was started with.

    `os.environ` says less about the user: Python writes LC_CTYPE=C.UTF-8 into it where it finds the C locale (PEP 538).
    Source: /proc/self/environ; `os.environ` where there is none.
    """
    try:
        entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return os.environ
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in (entry.partition(b"=") for entry in entries)}


def wants_unicode(environ: Mapping[str, str], encoding: str | None) -> bool:
    """Tell from the locale that the user set whether to draw with more than ASCII, as htop does.

    Not from the locale in effect (`locale charmap`): over SSH its name often comes along to a host that lacks it.

    Args:
        environ: From `read_user_environ`. LC_ALL comes before LC_CTYPE, that before LANG (locale(7)).
        encoding: Of the stream that is drawn on.
    """
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or "C"
    codeset = locale.partition("@")[0].rpartition(".")[2]
    return _is_utf8(codeset) and _is_utf8(encoding or "")


def _is_utf8(encoding: str) -> bool:
    return encoding.replace("-", "").lower() == "utf8"


def has_line() -> bool:
    """Tell whether the terminal is still there: False after the window was closed or the connection dropped."""
    try:
        os.get_terminal_size(2)  # stderr, on which Textual draws
    except OSError:
        return False
    return True


class TerminalWatch(_AppBase):
    """Mix into an app, before its base: it then restores the terminal whatever ends it, and is itself again after `fg`.

    SIGINT, SIGTERM and SIGHUP exit with 128 + their number, a vanished terminal exits with 129. From the moment the app
    is told to exit the process has 5 s to live, so call `leave` soon after `run`.
    """

    _terminal: "Driver | None" = None
    _is_suspended = False
    _deadline: threading.Timer | None = None

    def on_load(self) -> None:
        """Listen to signals before the terminal is changed; only the main thread may."""
        from asyncio import get_running_loop  # here, as it takes 60 ms, and batch mode checks the terminal, too

        if threading.current_thread() is threading.main_thread():
            for number in _ENDING_SIGNALS:
                get_running_loop().add_signal_handler(number, self.exit, None, 128 + number)

    def on_mount(self) -> None:
        """Watch the terminal, where there is one."""
        if not self.is_headless:
            self._terminal = self._driver
            self.set_interval(_LINE_CHECK_S, self._check_line)
            self.app_resume_signal.subscribe(self, lambda _: self.screen.refresh())
            signal.signal(signal.SIGTSTP, self._stop)
            signal.signal(signal.SIGCONT, self._continue)

    def exit(self, result: Any = None, return_code: int = 0, message: "RenderableType | None" = None) -> None:
        """Leave the screen, in bounded time even if the terminal takes nothing any more."""
        super().exit(result, return_code, message)
        self._limit_time()

    def on_unmount(self) -> None:
        """Limit the time after a crash, too."""
        self._limit_time()

    def _limit_time(self) -> None:
        if self._terminal and self._deadline is None:
            self._deadline = threading.Timer(_LEAVE_WITHIN_S, os._exit, (self.return_code or 0,))
            self._deadline.daemon = True
            self._deadline.start()

    def _check_line(self) -> None:
        if not has_line():
            self.exit(return_code=HANGUP_CODE)

    def _stop(self, *_: object) -> None:
        """Give the terminal back and stop, on Ctrl+Z (Textual's `suspend_process`) and `kill -TSTP`."""
        if self._terminal:
            self._terminal.suspend_application_mode()
            self._is_suspended = True
            os.kill(os.getpid(), signal.SIGSTOP)

    def _continue(self, *_: object) -> None:
        """Take the terminal again, on `fg`.

        Textual's own handler takes a terminal that it never gave back, after `kill -STOP` and on the SIGCONT that the
        kernel sends with a hang-up: from there on two threads read the keys, and the line settings are not restored.
        """
        if self._terminal and self._deadline is None and has_line():
            if not self._is_suspended:
                self._terminal.suspend_application_mode()
            self._is_suspended = False
            self._terminal.resume_application_mode()
            self.app_resume_signal.publish(self)


def leave(app: TerminalWatch, code: int = 0) -> NoReturn:
    """End the process with the app's exit code, after `app.run()`; with `code` where the app ended well.

    Threads that are still alive do not hold it: one that hangs in a C call can be neither interrupted nor joined. Then
    nothing runs that is registered with `atexit`, so save before what must be saved.
    """
    code = app.return_code or code
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # the terminal is gone; Python would try once more and end with code 120
        os._exit(code)
    if app._deadline:
        app._deadline.cancel()
        app._deadline.join()
    if threading.active_count() > 1:
        os._exit(code)
    sys.exit(code)
