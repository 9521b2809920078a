"""From libvirt's typed parameters and XML to our values. Pure: needs no libvirt, and is tested with captured input.

Names, XML and the figures that guests send are foreign: they may be broken, or made to harm. Sizes arrive in KiB.
"""

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from vmtop.backends.libvirt_xml import amount_bytes, parse_xml, whole_number
from vmtop.model.sample import GuestSample, KsmSample, VmFacts, VmState
from vmtop.units import KIB, PAGE_BYTES

Stats = Mapping[str, int | str | bool]
"""Typed parameters of one VM, such as {"state.state": 1, "balloon.current": 1048576}."""

_ABSURD_BYTES = 1 << 60
"""No VM has so much memory: a figure from here on is an error of the guest's driver, or a lie."""

_STATES = (
    VmState.NO_STATE,
    VmState.RUNNING,
    VmState.BLOCKED,
    VmState.PAUSED,
    VmState.SHUTDOWN,
    VmState.SHUTOFF,
    VmState.CRASHED,
    VmState.SUSPENDED,
)
"""By number: virDomainState."""

_STATE_REASONS: Mapping[VmState, Sequence[str]] = {
    VmState.RUNNING: (
        *("booted", "migrated", "restored", "from snapshot", "unpaused", "migration canceled", "save canceled"),
        *("event wakeup", "crashed", "post-copy", "post-copy failed"),
    ),
    VmState.PAUSED: (
        *("user", "migrating", "saving", "dumping", "I/O error", "watchdog", "from snapshot", "shutting down"),
        *("creating snapshot", "crashed", "starting up", "post-copy", "post-copy failed", "api error"),
    ),
    VmState.SHUTDOWN: ("user",),
    VmState.SHUTOFF: (*("shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from snapshot", "daemon"),),
    VmState.CRASHED: ("panicked",),
}
"""By number, from 1: virDomainRunningReason and so on; 0 is "unknown" in all of them."""

_GUEST_BYTES = {
    "total_bytes": "balloon.available",
    "usable_bytes": "balloon.usable",
    "free_bytes": "balloon.unused",
    "cache_bytes": "balloon.disk_caches",
    "swap_in_bytes": "balloon.swap_in",
    "swap_out_bytes": "balloon.swap_out",
}
_GUEST_COUNTS = {"major_faults": "balloon.major_fault", "minor_faults": "balloon.minor_fault"}

_VFIO_PATHS = (
    "devices/hostdev[@type='pci']",
    "devices/hostdev[@type='mdev']",
    "devices/interface[@type='hostdev']",
    "devices/disk[@type='nvme']",
)


def parse_state(stats: Stats) -> tuple[VmState, str | None]:
    """The state and libvirt's reason for it in words (`virsh domstate --reason VM`).

    The state is NO_STATE for a number that libvirt did not have when this was written; the reason then is None.
    """
    number, reason = int(stats.get("state.state", 0)), int(stats.get("state.reason", 0))
    state = _STATES[number] if 0 <= number < len(_STATES) else VmState.NO_STATE
    words = _STATE_REASONS.get(state, ())
    return state, words[reason - 1] if 0 < reason <= len(words) else None


def parse_bytes(stats: Stats, key: str) -> int | None:
    """A size in bytes from one in KiB; None where it is missing or absurd."""
    kib = stats.get(key)
    if not isinstance(kib, int) or not 0 <= kib < _ABSURD_BYTES // KIB:
        return None
    return kib * KIB


def parse_guest(stats: Stats, unknown: dict[str, str]) -> GuestSample | None:
    """What the guest told (`virsh domstats --balloon VM`); None when it never told anything.

    Args:
        stats: typed parameters of the group BALLOON.
        unknown: gets the reason for "guest", or for "guest.<field>" of each field that this guest does not send.
    """
    updated_s = stats.get("balloon.last-update")
    if updated_s is None:
        unknown["guest"] = "libvirt has no guest figures: the VM has no memory balloon"
        return None
    if updated_s == 0:
        unknown["guest"] = "the guest never sent figures: it has no balloon driver, or has not loaded it yet"
        return None
    amounts: dict[str, int | None] = {field: parse_bytes(stats, key) for field, key in _GUEST_BYTES.items()}
    for field, key in _GUEST_COUNTS.items():
        amounts[field] = int(stats[key]) if key in stats else None
    for field, amount in amounts.items():
        if amount is None:
            unknown[f"guest.{field}"] = "the guest's balloon driver does not send it"
    return GuestSample(last_update_s=int(updated_s), **amounts)


def balloon_stats(info: Sequence[int], memory_stats: Mapping[str, int]) -> dict[str, int]:
    """Typed parameters as the bulk call gives them, for drivers whose bulk call knows no balloon.

    Args:
        info: virDomainGetInfo, of which the second and third are maximum and current size in KiB (`virsh dominfo`).
        memory_stats: virDomainMemoryStats (`virsh dommemstat`), with names of its own; empty for a VM that is off.
    """
    stats = {f"balloon.{name}": value for name, value in memory_stats.items()}
    if "balloon.last_update" in stats:
        stats["balloon.last-update"] = stats.pop("balloon.last_update")
    return stats | {"balloon.maximum": info[1], "balloon.current": info[2]}


def parse_facts(xml: str) -> VmFacts:
    """What the definition says (`virsh dumpxml VM`).

    Raises:
        ValueError: the XML is broken, or says something that no definition says; the text says what.
    """
    return parse_facts_in(parse_xml(xml))


def parse_facts_in(domain: Element) -> VmFacts:
    """The same from a tree; see `parse_facts`."""
    balloon = domain.find("devices/memballoon")
    has_balloon = balloon is not None and balloon.get("model") != "none"
    guarantee = domain.find("memtune/min_guarantee")
    return VmFacts(
        has_balloon=has_balloon,
        stats_period_s=_stats_period_s(balloon) if balloon is not None and has_balloon else None,
        has_autodeflate=balloon is not None and balloon.get("autodeflate") == "on",
        has_free_page_reporting=balloon is not None and balloon.get("freePageReporting") == "on",
        virtio_mem_bytes=sum(
            amount_bytes(current) for current in domain.findall("devices/memory[@model='virtio-mem']/target/current")
        ),
        has_hugepages=domain.find("memoryBacking/hugepages") is not None,
        has_nosharepages=domain.find("memoryBacking/nosharepages") is not None,
        is_locked=domain.find("memoryBacking/locked") is not None,
        has_vfio=any(domain.find(path) is not None for path in _VFIO_PATHS),
        min_guarantee_bytes=None if guarantee is None else amount_bytes(guarantee),
    )


def _stats_period_s(balloon: Element) -> int:
    stats = balloon.find("stats")
    return 0 if stats is None else whole_number(stats.get("period", "0"))


def parse_node_memory(stats: Mapping[str, int]) -> dict[str, int]:
    """Bytes by field of HostSample, as far as libvirt tells them about a host (`virsh nodememstats`).

    The cache lacks reclaimable slab, which libvirt does not tell; `available_bytes` comes from libvirt 12.3 on.
    """
    amounts = {
        "total_bytes": stats.get("total"),
        "available_bytes": stats.get("available"),
        "free_bytes": stats.get("free"),
        "cache_bytes": stats["cached"] + stats["buffers"] if {"cached", "buffers"} <= stats.keys() else None,
    }
    return {field: kib * KIB for field, kib in amounts.items() if kib is not None}


def parse_node_ksm(parameters: Mapping[str, int]) -> KsmSample | None:
    """Page sharing of a host (`virsh node-memory-tune`); None where the host has none."""
    if not {"shm_pages_shared", "shm_pages_sharing"} <= parameters.keys():
        return None
    sleep_ms = parameters.get("shm_sleep_millisecs")
    return KsmSample(
        is_running=None,
        pages_shared=parameters["shm_pages_shared"],
        page_bytes=PAGE_BYTES,
        pages_sharing=parameters["shm_pages_sharing"],
        pages_unshared=parameters.get("shm_pages_unshared"),
        pages_volatile=parameters.get("shm_pages_volatile"),
        zero_pages=None,
        profit_bytes=None,
        full_scans=parameters.get("shm_full_scans"),
        pages_to_scan=parameters.get("shm_pages_to_scan"),
        sleep_s=None if sleep_ms is None else sleep_ms / 1000,
        cpu_s=None,
    )
