"""Every exception of ours.

    VmtopError                 something a person can act on; the text says what, which and what now
    ├── UsageError             a wrong flag, column, scenario or configuration
    ├── OutputError            what we print cannot be written
    └── BackendError           a source of samples failed; the pipeline keeps the last frame and tries again
        ├── ConnectError       no connection to the source
        ├── AccessError        the source refused us
        └── MissingBindingError  the Python binding of libvirt is not installed

Each class carries the exit code of the process in which it goes uncaught.
"""


class VmtopError(Exception):
    """Base of all errors that are shown to a person without a traceback."""

    exit_code = 1


class UsageError(VmtopError):
    """What was asked for does not exist or makes no sense."""

    exit_code = 2


class OutputError(VmtopError):
    """What was to be printed could not be written."""


class BackendError(VmtopError):
    """A source could not be read; trying again later may help."""


class ConnectError(BackendError):
    """There is no connection to the source."""

    exit_code = 3


class AccessError(BackendError):
    """The source is there but refuses us."""

    exit_code = 4


class MissingBindingError(ConnectError):
    """The libvirt binding for Python is not importable here."""
