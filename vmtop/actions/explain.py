"""What a hypervisor says of a failure, in plain words."""

from collections.abc import Mapping
from types import MappingProxyType

from vmtop.errors import ControlError

_PLAIN: Mapping[int, str] = MappingProxyType(
    {
        3: "this driver cannot do it",
        8: "libvirt does not accept this value",
        27: "libvirt does not understand what it was sent",
        29: "the connection may only read",
        35: "libvirt does not take what it was sent",
        38: "a file could not be made or written on the VM's host",
        42: "the VM is not there any more",
        55: "the VM is not in a state for this",
        67: "this VM is not set up for it",
        68: "another job held the VM for too long",
        72: "there is no such snapshot any more",
        74: "this libvirt or VM cannot do it so",
        83: "a disk is being copied or committed",
        84: "libvirt cannot do this to this VM now",
        86: "the guest agent does not answer",
        87: "something else uses it",
        88: "you are not allowed to do this",
        97: "the guest agent lost the thread",
        103: "the checkpoint to go on from is gone",
        104: "no backup runs on it",
        109: "the checkpoint does not fit the disk any more",
        112: "the guest agent does not answer",
        113: "the guest agent could not do it",
    }
)
"""VIR_ERR_* -> what it means for the person who asked. Source: libvirt's virterror.h."""


def explain(error: ControlError) -> str:
    """Say why, in plain words where we have some, and always in the hypervisor's own; foreign text.

    An error of libvirt tells itself what now (see `backends.libvirt_act`), so the meaning comes before its words.
    """
    plain = None if error.code is None else _PLAIN.get(error.code)
    return str(error) if plain is None else f"{plain}: {error}"
