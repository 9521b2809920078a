"""Connections to libvirt: the binding, what a URI means, threads to talk on, events, and errors in plain words.

libvirt itself is imported here, when a connection is wanted and not before; everything else gets it as `binding`.
"""

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from vmtop.backends.deadline import DeadlineThread
from vmtop.errors import AccessError, BackendError, ConnectError, ControlError, MissingBindingError

T = TypeVar("T")
Greet = Callable[[Any], Callable[[], None]]
"""Gets a connection that was opened, and returns what to do before it is closed."""

MOST_LEFT = 4
"""Calls that may be left behind on hung VMs at once: the daemon serves all its clients with 20 threads."""

KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 5, 3
"""A daemon that does not answer for 20 s (interval x (count + 1)) is given up, and calls that wait for it end."""

URI_EXAMPLES = "qemu:///system, qemu:///session, qemu+ssh://root@host/system, qemu+tls://host/system, test:///default"

_DRIVERS = frozenset(
    {"bhyve", "ch", "esx", "gsx", "hyperv", "lxc", "openvz", "qemu", "test", "vbox", "vmware", "vpx", "vz", "xen"}
)
_DEMO = "vmtop --demo works without it"
_INSTALL = (
    "sudo apt install python3-libvirt, or sudo dnf install python3-libvirt, or in a virtual environment "
    "pip install libvirt-python (which needs gcc, pkg-config and libvirt-dev or libvirt-devel)"
)

NO_SUPPORT, NO_DOMAIN, OPERATION_INVALID = 3, 42, 55
"""VIR_ERR_...: this driver never can; the VM is gone; not in the state that the VM is in."""

_NEVER_CODES = frozenset({NO_SUPPORT, 84})
"""With VIR_ERR_OPERATION_UNSUPPORTED."""

_JOIN_GROUP = "Join the group libvirt (sudo usermod -aG libvirt $USER, then log in again), or run vmtop as root"
_ASK_THERE = (
    "Logging in there must work without a question (try ssh, with a key), and that user needs the group libvirt there"
)

_ACCESS_CODES = frozenset({29, 45, 79, 88, 94})
"""VIR_ERR_OPERATION_DENIED, AUTH_FAILED, AUTH_CANCELLED, ACCESS_DENIED, AUTH_UNAVAILABLE."""
_ACCESS_WORDS = ("permission denied", "polkit", "system bus", "authentication")
_NO_DAEMON_WORDS = ("No such file", "refused")
_URI_CODES = frozenset({5, 8})
"""VIR_ERR_NO_CONNECT, INVALID_ARG."""
FROM_RPC = 7
"""VIRFROM_RPC: the way to the daemon, not what the daemon was asked."""


def load_binding() -> Any:
    """Import libvirt, with its habit of printing errors to the terminal turned off.

    Raises:
        MissingBindingError: it cannot be imported; the text says how to change that.
    """
    os.environ["LIBVIRT_LOG_OUTPUTS"] = quiet_log_outputs(os.environ.get("LIBVIRT_LOG_OUTPUTS", ""))
    try:
        binding = importlib.import_module("libvirt")
    except ImportError as error:
        raise _missing_binding(error) from error
    binding.registerErrorHandler(lambda _context, _error: None, None)
    return binding


def _missing_binding(error: ImportError) -> MissingBindingError:
    if error.name == "libvirt" and isinstance(error, ModuleNotFoundError):
        return MissingBindingError(f"libvirt's Python binding is not installed: {_INSTALL}; {_DEMO}")
    version = ".".join(map(str, sys.version_info[:2]))
    return MissingBindingError(
        f"libvirt's Python binding was built for another Python than this {version} ({error}): run vmtop with the "
        "distribution's own (/usr/bin/python3 -m venv --system-site-packages), or build the binding for this one "
        f"(pip install libvirt-python); {_DEMO}"
    )


def quiet_log_outputs(outputs: str) -> str:
    """What libvirt's C library may log to: all that the operator wished for but the terminal (`man libvirtd.conf`)."""
    kept = [output for output in outputs.split() if not output.endswith(":stderr")]
    return " ".join(kept) or "4:file:/dev/null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a URI points at."""

    uri: str
    """As the operator wrote it."""
    open_uri: str
    """As libvirt gets it: ssh must not ask for a password on the terminal that the screen is drawn on."""
    driver: str
    is_remote: bool
    """A host is named, or the way there leads through the network."""
    path: str
    """"/system", "/session", or for the test driver "/default" or a file."""
    socket: str | None
    """File of the daemon's socket, where the URI names one."""


def parse_uri(uri: str) -> Target:
    """Take a libvirt URI apart (https://libvirt.org/uri.html).

    Raises:
        ConnectError: it is none.
    """
    try:
        parts = urlsplit(uri)
        host = parts.hostname
    except ValueError as error:
        raise _no_uri(uri, str(error)) from None
    if not parts.scheme:
        raise _no_uri(uri, "it does not begin with a driver's name and a colon")
    driver, _, transport = parts.scheme.partition("+")
    query = parse_qs(parts.query, keep_blank_values=True)
    needs_no_tty = transport == "ssh" and "no_tty" not in query
    return Target(
        uri=uri,
        open_uri=f"{uri}{'&' if parts.query else '?'}no_tty=1" if needs_no_tty else uri,
        driver=driver,
        is_remote=host is not None or transport not in {"", "unix"},
        path=parts.path,
        socket=query["socket"][0] if "socket" in query else None,
    )


def check_test_file(target: Target) -> None:
    """See to it that the test driver finds its file; where it does not, libxml complains on the terminal.

    Raises:
        ConnectError: there is no such file.
    """
    in_process = target.driver == "test" and not target.is_remote and target.socket is None
    if in_process and target.path != "/default" and not Path(target.path).is_file():
        raise _no_uri(target.uri, f"there is no file {target.path!r} of test domains")


def pid_folders(target: Target, root: Path) -> Sequence[Path]:
    """Where the daemon keeps NAME.pid of its QEMU processes, below `root`; none for a daemon on another host."""
    if target.is_remote:
        return ()
    if target.socket is not None:
        run = Path(target.socket).parent
    elif target.path == "/session":
        run = Path(os.environ.get("XDG_RUNTIME_DIR") or Path.home() / ".cache") / "libvirt"
    else:
        run = Path("/run/libvirt")
    run = root / str(run).lstrip("/")
    return run / "qemu", run / "qemu/run"


def explain(error: Any, target: Target, *, is_opening: bool) -> BackendError:
    """An error of libvirt in words that say what, where and what now."""
    code, text = error.get_error_code(), text_of(error)
    if code in _ACCESS_CODES or any(word in text.lower() for word in _ACCESS_WORDS):
        return AccessError(f"{target.uri} refuses us: {text}. {_ASK_THERE if target.is_remote else _JOIN_GROUP}")
    if not is_opening and error.get_error_domain() == FROM_RPC:
        return ConnectError(f"the connection to {target.uri} is gone: {text}")
    if not is_opening:
        return BackendError(f"reading {target.uri} failed: {text}")
    if code in _URI_CODES or target.driver not in _DRIVERS or "parse URI" in text:
        return _no_uri(target.uri, text)
    if not target.is_remote and any(word in text for word in _NO_DAEMON_WORDS):
        return ConnectError(
            f"no libvirt daemon at {target.uri}: {text}. Is it installed, and does it run (systemctl status libvirtd "
            f"virtqemud)? {_DEMO}"
        )
    return ConnectError(f"no connection to {target.uri}: {text}")


def refuse_act(text: str, code: int) -> ControlError:
    """What libvirt refused; with the exit code of that where it is for want of rights."""
    exit_code = AccessError.exit_code if code in _ACCESS_CODES else ControlError.exit_code
    return ControlError(text, code, exit_code=exit_code)


def unopened(error: BackendError) -> ControlError:
    """Why there is no connection on which somebody could act or look, with the exit code of that."""
    return ControlError(str(error), exit_code=error.exit_code)


def is_alive(binding: Any, connection: Any) -> bool:
    """A connection that was kept can be used again; one of which libvirt cannot even tell that is dead."""
    try:
        return bool(connection.isAlive())
    except binding.libvirtError:
        return False


def text_of(error: Any) -> str:
    """What an error of libvirt says, in one line; it may say nothing."""
    return " ".join((error.get_error_message() or "").split()) or "libvirt gives no reason"


def _no_uri(uri: str, why: str) -> ConnectError:
    return ConnectError(f"{uri!r} is no URI that libvirt can open: {why}. Some that exist: {URI_EXAMPLES}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What libvirt told, where it may be unable to."""

    figures: Mapping[str, int] = field(default_factory=dict)
    failure: str | None = None
    """Why it told nothing this time, in words. None when it told, was not asked, or never can, as many drivers."""


def never_can(error: Any) -> bool:
    """Whether the driver lacks what was asked for."""
    return error.get_error_code() in _NEVER_CODES


def ask_if_told(binding: Any, call: Callable[..., Mapping[str, int]], *arguments: int) -> Told:
    """What a call tells; a failure is part of the answer, but for the loss of the connection."""
    try:
        return Told(figures=call(*arguments))
    except binding.libvirtError as error:
        if error.get_error_domain() == FROM_RPC:
            raise
        return Told(failure=None if never_can(error) else f"libvirt failed to tell it: {text_of(error)}")


class Link:
    """One read-only connection and the one thread that talks over it; whatever hangs there hangs nowhere else."""

    def __init__(self, binding: Any, target: Target, name: str, greet: Greet | None) -> None:
        """Begin to open the connection; `opened` tells when that ended, and how.

        Args:
            binding: the libvirt module.
            target: what to open.
            name: of the thread.
            greet: called with the connection once it is open; what it returns is called before it is closed.
        """
        self._binding = binding
        self._target = target
        self._greet = greet
        self._farewell: Callable[[], None] | None = None
        self._connection: Any = None
        self._thread = DeadlineThread(name)
        self.opened: Future[None] = self._thread.submit(self._open)

    @property
    def is_running(self) -> bool:
        """The thread is there; if the link was abandoned, it is stuck in a call."""
        return self._thread.is_running

    def submit(self, call: Callable[[Any], T]) -> Future[T]:
        """Have `call` run with the connection, once that is open; where it could not be opened, the result says why."""

        def run() -> T:
            self.opened.result()
            return call(self._connection)

        return self._thread.submit(run)

    def ask(self, call: Callable[[Any], T], deadline_s: float) -> T:
        """Run `call` with the connection and wait for its answer.

        Raises:
            TimeoutError: no answer in time; the call goes on.
        """
        return self.submit(call).result(deadline_s)

    def abandon(self) -> None:
        """Leave the link to itself: it closes when its last call has returned."""
        # Closing asks the daemon, and so may hang like any call: it belongs on that thread.
        self._thread.submit(self._close)
        self._thread.abandon()

    def _open(self) -> None:
        connection = self._binding.openReadOnly(self._target.open_uri)
        with suppress(self._binding.libvirtError):
            # Drivers that live in this process have no daemon to keep an eye on, and say so.
            connection.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT)
        if self._greet is not None:
            self._farewell = self._greet(connection)
        self._connection = connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(self._binding.libvirtError):
            # A connection that is dead already cannot be closed, and need not be.
            if self._farewell is not None:
                self._farewell()
            connection.close()


class Links:
    """All connections that a backend has to one target: those in use, and those it had to leave behind."""

    def __init__(self, binding: Any, target: Target) -> None:
        self._binding = binding
        self._target = target
        self._lock = Lock()
        self._in_use: list[Link] = []
        self._left: list[Link] = []
        self._is_closed = False

    @property
    def stuck(self) -> int:
        """How many abandoned links still sit in a call."""
        with self._lock:
            self._left = [link for link in self._left if link.is_running]
            return len(self._left)

    def check_open(self) -> None:
        """Refuse to go on when everything was closed.

        Raises:
            BackendError: it was.
        """
        if self._is_closed:
            raise BackendError(f"{self._target.uri} was closed")

    def open(self, name: str, greet: Greet | None = None) -> Link:
        """Begin to open one more connection.

        Raises:
            BackendError: everything was closed.
        """
        with self._lock:
            self.check_open()
            link = Link(self._binding, self._target, name, greet)
            self._in_use.append(link)
            return link

    def abandon(self, link: Link) -> None:
        """Leave one to itself."""
        with self._lock:
            if link in self._in_use:
                self._in_use.remove(link)
                self._left.append(link)
                link.abandon()

    def abandon_all(self) -> None:
        """Leave all of them to themselves."""
        with self._lock:
            for link in self._in_use:
                link.abandon()
            self._left += self._in_use
            self._in_use = []

    def close(self) -> None:
        """Leave all of them to themselves, and open no more; waits for nothing."""
        with self._lock:
            self._is_closed = True
        self.abandon_all()
