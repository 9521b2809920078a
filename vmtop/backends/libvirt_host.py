"""The host at the other end of a connection: whether it is this one, and what libvirt tells of one that is not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmtop.backends.libvirt_link import Target, ask_if_told
from vmtop.backends.libvirt_parse import parse_node_ksm, parse_node_memory
from vmtop.model.sample import HostSample
from vmtop.units import KIB, MIB

_TEST_DRIVER = "TEST"
_QEMU_DRIVER = "QEMU"

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
    memory = ask_if_told(binding, connection.getMemoryStats, -1)
    return Node(
        name=connection.getHostname(),
        cpus=cpus,
        total_bytes=memory["total"] * KIB if "total" in memory else info_mib * MIB,
        driver=connection.getType(),
    )


def why_elsewhere(node: Node, target: Target, here_bytes: int | None) -> str | None:
    """Why /proc here does not tell about the node; None when it does.

    Args:
        node: what is at the other end.
        target: how it was reached.
        here_bytes: memory of the host that we run on.
    """
    if node.driver == _TEST_DRIVER:
        return "libvirt's test driver has no real host"
    if target.is_remote:
        return "remote host: libvirt does not tell it, vmtop on that host would"
    if node.total_bytes != here_bytes:
        # A socket may be forwarded from anywhere, and a container may see another /proc than the daemon.
        return "the daemon behind this socket sees a host with other memory than /proc does here, so it is another one"
    return None


def build_remote_host(
    node: Node, memory: Mapping[str, int], ksm_parameters: Mapping[str, int], elsewhere: str
) -> HostSample:
    """What libvirt tells of a host on which we are not.

    Args:
        node: the host.
        memory: virNodeGetMemoryStats; empty where the driver has none.
        ksm_parameters: virNodeGetMemoryParameters; empty where the driver has none.
        elsewhere: why nothing more is known.
    """
    amounts = parse_node_memory(memory)
    ksm = parse_node_ksm(ksm_parameters)
    fields = ("available_bytes", "free_bytes", "cache_bytes", *_NOT_TOLD_FIELDS)
    missing = [name for name in fields if name not in amounts]
    missing += ["pressure", "is_running", "zero_pages", "profit_bytes", "cpu_s"] if ksm else ["pressure", "ksm"]
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
        unknown=dict.fromkeys(missing, elsewhere),
    )
