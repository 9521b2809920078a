"""Errors in the words of libvirt, with its numbers."""

from enum import IntEnum

from vmtop.errors import ControlError


class Code(IntEnum):
    """Error numbers. Source: virErrorNumber in include/libvirt/virterror.h."""

    INTERNAL_ERROR = 1
    INVALID_ARG = 8
    OPERATION_FAILED = 9
    XML_ERROR = 27
    XML_DETAIL = 35
    SYSTEM_ERROR = 38
    NO_DOMAIN = 42
    OPERATION_INVALID = 55
    CONFIG_UNSUPPORTED = 67
    OPERATION_TIMEOUT = 68
    NO_DOMAIN_SNAPSHOT = 72
    OPERATION_ABORTED = 78
    BLOCK_COPY_ACTIVE = 83
    OPERATION_UNSUPPORTED = 84
    AGENT_UNRESPONSIVE = 86
    NO_DOMAIN_CHECKPOINT = 103
    NO_DOMAIN_BACKUP = 104


_BEGINNINGS = {
    Code.INTERNAL_ERROR: "internal error: ",
    Code.INVALID_ARG: "invalid argument: ",
    Code.OPERATION_FAILED: "operation failed: ",
    Code.XML_ERROR: "XML error: ",
    Code.NO_DOMAIN: "Domain not found: ",
    Code.OPERATION_INVALID: "Requested operation is not valid: ",
    Code.CONFIG_UNSUPPORTED: "unsupported configuration: ",
    Code.OPERATION_TIMEOUT: "Timed out during operation: ",
    Code.NO_DOMAIN_SNAPSHOT: "Domain snapshot not found: ",
    Code.OPERATION_ABORTED: "operation aborted: ",
    Code.BLOCK_COPY_ACTIVE: "block copy still active: ",
    Code.OPERATION_UNSUPPORTED: "Operation not supported: ",
    Code.AGENT_UNRESPONSIVE: "Guest agent is not responding: ",
    Code.NO_DOMAIN_CHECKPOINT: "Domain checkpoint not found: ",
    Code.NO_DOMAIN_BACKUP: "Domain backup job id not found: ",
}
"""How the text of such an error begins. Source: virErrorMsgStrings in src/util/virerror.c."""


def refusal(code: Code, detail: str) -> ControlError:
    """The error that libvirt would give."""
    return ControlError(_BEGINNINGS.get(code, "") + detail, int(code))
