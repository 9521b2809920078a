"""What an act on a VM needs of libvirt: a connection that may change things, and refusals that say what now.

An act may block for as long as the VM, or the daemon, lets it wait. So each runs on a connection of its own: whatever
one of them waits for, the others and the readings go on. A connection is kept for the next act when its act is over.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

from vmtop.backends.deadline import DeadlineThread
from vmtop.backends.libvirt_events import start_event_loop
from vmtop.backends.libvirt_link import (
    FROM_RPC,
    KEEPALIVE_COUNT,
    KEEPALIVE_INTERVAL_S,
    NO_DOMAIN,
    NO_SUPPORT,
    Target,
    check_test_file,
    explain,
    is_alive,
    refuse_act,
    text_of,
    unopened,
)
from vmtop.errors import BackendError, ControlError

INVALID_ARG = 8
"""VIR_ERR_INVALID_ARG: a value that libvirt does not take."""
_XML_ERROR, _OPERATION_DENIED, _XML_DETAIL = 27, 29, 35
"""VIR_ERR_XML_ERROR, VIR_ERR_OPERATION_DENIED, VIR_ERR_XML_DETAIL."""

_NOTHING = "Nothing was done"
_LOOK = "Look at the VM before you try again"
_WAIT = "Wait until that is over, or cancel it, and try again"
_UNSUPPORTED = "It needs another libvirt, or another kind of VM or disk"
_CHOOSE = "Look at what is there now, and choose again"
_NO_AGENT = "Do it without the agent, or start qemu-guest-agent in the guest"
_NOT_ALLOWED = "The user that vmtop runs as needs the right to manage VMs"
_WHAT_NOW: Mapping[int, str] = {
    NO_SUPPORT: _UNSUPPORTED,
    INVALID_ARG: _NOTHING,
    _XML_ERROR: _NOTHING,
    _OPERATION_DENIED: _NOT_ALLOWED,
    _XML_DETAIL: _NOTHING,
    NO_DOMAIN: _NOTHING,
    67: _UNSUPPORTED,
    68: _WAIT,
    72: _CHOOSE,
    74: _UNSUPPORTED,
    83: _WAIT,
    84: "It needs a VM in another state, or another libvirt",
    86: _NO_AGENT,
    87: _WAIT,
    88: _NOT_ALLOWED,
    97: _NO_AGENT,
    103: _CHOOSE,
    104: "It has ended meanwhile",
    109: "Delete the checkpoint, and make a full backup",
    112: _NO_AGENT,
    113: _NO_AGENT,
}
"""What to do by libvirt's number, VIR_ERR_*; for all others, to look. What they mean stands in `actions.explain`."""


def explain_refusal(error: Any) -> ControlError:
    """An error of libvirt, in the middle of an act, in its own words and with what now.

    Without libvirt's number where the connection was lost, for that is no answer to what was asked.
    """
    if error.get_error_domain() == FROM_RPC:
        return ControlError(
            f"the connection to libvirt was lost meanwhile: {text_of(error)}. Nobody knows whether it was done. {_LOOK}"
        )
    code = error.get_error_code()
    return refuse_act(f"{text_of(error)}. {_WHAT_NOW.get(code, _LOOK)}", code)


class Acts:
    """Connections with write access, each for one act at a time; opened when they are needed, and when one is dead."""

    def __init__(self, binding: Any, target: Target) -> None:
        self._binding = binding
        self._target = target
        self._lock = Lock()
        self._idle: list[Any] = []
        self._is_closed = False

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """A connection for one act, which leaves it without objects that were made from it.

        Raises:
            ControlError: it cannot be opened, or libvirt refused the act.
        """
        connection = self._take()
        try:
            yield connection
        except self._binding.libvirtError as error:
            raise explain_refusal(error) from error
        except OverflowError as error:
            # What does not even fit into the call.
            raise ControlError(
                f"libvirt does not take such a number: {error}. Nothing was done", INVALID_ARG
            ) from error
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Close all connections, those in use when their acts are over; waits for nothing."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            self._let_go(connection)

    def _take(self) -> Any:
        with self._lock:
            if self._is_closed:
                raise ControlError(f"{self._target.uri} was closed. Nothing was done")
            idle, self._idle = self._idle, []
        alive = [connection for connection in idle if is_alive(self._binding, connection)]
        for connection in idle:
            if connection not in alive:
                self._let_go(connection)
        if not alive:
            return self._open()
        with self._lock:
            self._idle += alive[1:]
        return alive[0]

    def _open(self) -> Any:
        try:
            check_test_file(self._target)
            start_event_loop(self._binding)
            connection = self._binding.open(self._target.open_uri)
        except BackendError as error:
            raise unopened(error) from error
        except self._binding.libvirtError as error:
            raise unopened(explain(error, self._target, is_opening=True)) from error
        with suppress(self._binding.libvirtError):
            # Drivers that live in this process have no daemon to keep an eye on, and say so.
            connection.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT)
        return connection

    def _give_back(self, connection: Any) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(connection)
                return
        self._let_go(connection)

    def _let_go(self, connection: Any) -> None:
        # Closing asks the daemon, and so may hang like any call.
        thread = DeadlineThread("vmtop-act-close")
        thread.submit(lambda: self._close(connection))
        thread.abandon()

    def _close(self, connection: Any) -> None:
        with suppress(self._binding.libvirtError):
            # A connection that is dead already cannot be closed, and need not be.
            connection.close()
