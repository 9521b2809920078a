"""Every exception of ours.

    VmtopError                 something a person can act on; the text says what, which and what now
    ├── UsageError             a wrong flag, column, scenario or configuration
    ├── OutputError            what we print cannot be written
    ├── RefusedError           the guard does not allow a command; the text gives its reasons
    ├── AuditError             what is done cannot be written down, so it is not done
    ├── UnknownVmError         there is no VM of that name
    ├── ControlError           a hypervisor did not do what was asked
    │   └── DamagedImageError  an image holds something else than what was written
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


class RefusedError(VmtopError):
    """A command that the guard does not allow."""


class AuditError(VmtopError):
    """The audit cannot be written or read; the text names its file. Nothing is done without it."""


class ControlError(VmtopError):
    """A command that the hypervisor refused, or in which it failed.

    Attributes:
        code: libvirt's error number (VIR_ERR_*; `libvirt.libvirtError.get_error_code`). None where the error is not
            one of libvirt's.
    """

    def __init__(self, text: str, code: int | None = None, *, exit_code: int = VmtopError.exit_code) -> None:
        """`exit_code`: another one where it is not the hypervisor that failed, but the way to it, or our rights."""
        super().__init__(text)
        self.code = code
        self.exit_code = exit_code


class DamagedImageError(ControlError):
    """An image is not whole: what was written to it cannot be had back from it."""


class UnknownVmError(VmtopError):
    """The source, or the backup folder, knows no VM of that name."""

    exit_code = 5


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
