"""The host at the other end of a connection: whether it is this one, and what libvirt tells of one that is not."""

import socket
from dataclasses import dataclass
from typing import Any

from vmtop.backends.libvirt_link import Target, Told, never_can
from vmtop.backends.libvirt_parse import parse_node_ksm, parse_node_memory
from vmtop.backends.procfs_host import Here
from vmtop.model.sample import HostSample
from vmtop.units import KIB, MIB

_TEST_DRIVER = "TEST"
_QEMU_DRIVER = "QEMU"

_MEMORY_FIELDS = ("available_bytes", "free_bytes", "cache_bytes")
_NOT_TOLD_KSM_FIELDS = ("is_running", "zero_pages", "profit_bytes", "cpu_s")
_NOT_TOLD_FIELDS = (
    *("swap_total_bytes", "swap_used_bytes", "swap_in_bytes", "swap_out_bytes"),
    *("hugepages_total_bytes", "hugepages_free_bytes"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A host as libvirt introduces it."""

    name: str
    cpus: int
    total_bytes: int
    """Source: virNodeGetMemoryStats (`virsh nodememstats`), or virNodeGetInfo (`virsh nodeinfo`) where there is none:
    that one misses memory which was added while the host ran."""
    driver: str
    """Source: virConnectGetType, such as QEMU."""

    @property
    def is_qemu(self) -> bool:
        """Its VMs are QEMU processes."""
        return self.driver == _QEMU_DRIVER


def read_node(binding: Any, connection: Any) -> Node:
    """Ask a connection what is at its other end."""
    _, info_mib, cpus, *_ = connection.getInfo()
    try:
        memory = connection.getMemoryStats(-1)
    except binding.libvirtError as error:
        if not never_can(error):
            raise
        memory = {}
    return Node(
        name=connection.getHostname(),
        cpus=cpus,
        total_bytes=memory["total"] * KIB if "total" in memory else info_mib * MIB,
        driver=connection.getType(),
    )


def why_elsewhere(node: Node, target: Target, here: Here) -> str | None:
    """Why /proc here does not tell about the node; None when it does.

    Args:
        node: what is at the other end.
        target: how it was reached.
        here: the host that we run on.
    """
    if node.driver == _TEST_DRIVER:
        return "libvirt's test driver has no real host"
    if target.is_remote:
        return "remote host: libvirt does not tell it, vmtop on that host would"
    # A socket may be forwarded from anywhere, and a container may see another /proc than the daemon. Machines that were
    # bought together have the same memory, and those that were cloned the same name.
    if node.total_bytes != here.total_bytes:
        return "the daemon behind this socket sees a host with other memory than /proc does here, so it is another one"
    if not _is_called(node.name, here.name):
        return f"the daemon behind this socket calls its host {node.name}, and this one is {here.name}"
    return None


def _is_called(told: str, here: str | None) -> bool:
    """Whether a host that libvirt calls `told` is the one that its kernel calls `here`."""
    if here is None:
        return False
    if _first_label(told) == _first_label(here):
        return True
    # libvirt completes a short name as the resolver does, which may know the host by a wholly different one.
    try:
        found = socket.getaddrinfo(here, None, flags=socket.AI_CANONNAME)
    except (OSError, UnicodeError):
        return False
    return any(_first_label(told) == _first_label(canonical) for _, _, _, canonical, _ in found if canonical)


def _first_label(name: str) -> str:
    return name.partition(".")[0].lower()


def build_remote_host(node: Node, memory: Told, ksm_parameters: Told, elsewhere: str) -> HostSample:
    """What libvirt tells of a host on which we are not.

    Args:
        node: the host.
        memory: virNodeGetMemoryStats.
        ksm_parameters: virNodeGetMemoryParameters.
        elsewhere: why nothing more is known.
    """
    amounts = parse_node_memory(memory.figures)
    ksm = parse_node_ksm(ksm_parameters.figures)
    unknown = dict.fromkeys((*_NOT_TOLD_FIELDS, "pressure"), elsewhere)
    unknown |= {field: memory.failure or elsewhere for field in _MEMORY_FIELDS if field not in amounts}
    unknown |= dict.fromkeys(_NOT_TOLD_KSM_FIELDS, elsewhere) if ksm else {"ksm": ksm_parameters.failure or elsewhere}
    return HostSample(
        name=node.name,
        cpus=node.cpus,
        total_bytes=amounts.get("total_bytes", node.total_bytes),
        available_bytes=amounts.get("available_bytes"),
        free_bytes=amounts.get("free_bytes"),
        cache_bytes=amounts.get("cache_bytes"),
        **dict.fromkeys(_NOT_TOLD_FIELDS),
        pressure=None,
        ksm=ksm,
        unknown=unknown,
    )
