"""libvirt's own words, captured from real guests (libvirt 9.0, QEMU 7.2), and words that nobody should ever send."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmtop.backends.libvirt_parse import (
    balloon_stats,
    parse_bytes,
    parse_facts,
    parse_guest,
    parse_node_ksm,
    parse_node_memory,
    parse_state,
)
from vmtop.model.sample import GuestSample, VmFacts, VmState
from vmtop.units import KIB, MIB

CAPTURED = Path(__file__).parent / "captured"
STATS: dict[str, dict[str, Any]] = json.loads((CAPTURED / "stats.json").read_text())
NODE: dict[str, dict[str, int]] = json.loads((CAPTURED / "node.json").read_text())
RICH_XML = (CAPTURED / "rich.xml").read_text()


def test_a_guest_that_sends_everything() -> None:
    unknown: dict[str, str] = {}
    assert parse_guest(STATS["driver"], unknown) == GuestSample(
        last_update_s=1795454212,
        total_bytes=125316 * KIB,
        usable_bytes=78988 * KIB,
        free_bytes=2480 * KIB,
        cache_bytes=68528 * KIB,
        swap_in_bytes=0,
        swap_out_bytes=0,
        major_faults=0,
        minor_faults=8070,
    )
    assert unknown == {}
    assert parse_bytes(STATS["driver"], "balloon.current") == 160 * MIB
    assert parse_bytes(STATS["driver"], "balloon.rss") == 254376 * KIB


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("no driver", "never sent"),
        ("never started paused", "never sent"),
        ("no balloon", "no memory balloon"),
        ("off", "no memory balloon"),
    ],
)
def test_a_guest_that_sends_nothing_is_none_with_a_reason(kind: str, reason: str) -> None:
    unknown: dict[str, str] = {}
    assert parse_guest(STATS[kind], unknown) is None
    assert reason in unknown["guest"]


def test_figures_that_a_driver_leaves_out_are_none_each_with_its_reason() -> None:
    unknown: dict[str, str] = {}
    guest = parse_guest({"balloon.last-update": 5, "balloon.unused": 100, "balloon.major_fault": 3}, unknown)
    assert guest is not None
    assert (guest.free_bytes, guest.major_faults) == (100 * KIB, 3)
    assert (guest.usable_bytes, guest.cache_bytes, guest.swap_in_bytes, guest.minor_faults) == (None, None, None, None)
    assert unknown.keys() == {
        *("guest.total_bytes", "guest.usable_bytes", "guest.cache_bytes"),
        *("guest.swap_in_bytes", "guest.swap_out_bytes", "guest.minor_faults"),
    }


@pytest.mark.parametrize("lie", [2**64 - 1, 2**54, -1])
def test_a_size_that_cannot_be_is_unknown(lie: int) -> None:
    unknown: dict[str, str] = {}
    guest = parse_guest({**STATS["driver"], "balloon.usable": lie}, unknown)
    assert guest is not None
    assert guest.usable_bytes is None
    assert "guest.usable_bytes" in unknown


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*STATS["driver"], "balloon.x"]), st.integers(0, 2**64 - 1)))
def test_whatever_a_guest_sends_makes_a_sample_or_none(stats: dict[str, int]) -> None:
    unknown: dict[str, str] = {}
    guest = parse_guest(stats, unknown)
    assert (guest is None) == ("guest" in unknown)
    if guest is not None:
        sizes = (guest.total_bytes, guest.usable_bytes, guest.free_bytes, guest.cache_bytes)
        assert all(size is None or 0 <= size < 2**60 for size in sizes)


@pytest.mark.parametrize(
    ("number", "reason", "state", "words"),
    [
        (0, 0, VmState.NO_STATE, None),
        (1, 0, VmState.RUNNING, None),
        (1, 1, VmState.RUNNING, "booted"),
        (1, 10, VmState.RUNNING, "post-copy"),
        (2, 0, VmState.BLOCKED, None),
        (3, 1, VmState.PAUSED, "user"),
        (3, 5, VmState.PAUSED, "I/O error"),
        (3, 9, VmState.PAUSED, "creating snapshot"),
        (3, 11, VmState.PAUSED, "starting up"),
        (4, 1, VmState.SHUTDOWN, "user"),
        (5, 2, VmState.SHUTOFF, "destroyed"),
        (5, 8, VmState.SHUTOFF, "daemon"),
        (6, 1, VmState.CRASHED, "panicked"),
        (7, 0, VmState.SUSPENDED, None),
        (3, 99, VmState.PAUSED, None),
        (3, -1, VmState.PAUSED, None),
        (99, 1, VmState.NO_STATE, None),
        (-1, 0, VmState.NO_STATE, None),
    ],
)
def test_states_are_in_libvirts_words(number: int, reason: int, state: VmState, words: str | None) -> None:
    assert parse_state({"state.state": number, "state.reason": reason}) == (state, words)


def test_a_driver_that_tells_vm_by_vm_says_the_same_in_the_same_words() -> None:
    memory = {"actual": 1024, "unused": 512, "usable": 600, "available": 1000, "last_update": 7, "rss": 300}
    stats = balloon_stats([1, 2048, 1024, 2, 0], memory)
    assert parse_bytes(stats, "balloon.maximum") == 2048 * KIB
    assert parse_bytes(stats, "balloon.current") == 1024 * KIB
    assert parse_bytes(stats, "balloon.rss") == 300 * KIB
    guest = parse_guest(stats, {})
    assert guest is not None
    assert (guest.last_update_s, guest.free_bytes, guest.usable_bytes) == (7, 512 * KIB, 600 * KIB)
    assert parse_guest(balloon_stats([5, 2048, 1024, 2, 0], {}), {}) is None


def test_facts_of_a_plain_vm() -> None:
    assert parse_facts((CAPTURED / "running.xml").read_text()) == VmFacts(
        has_balloon=True,
        stats_period_s=1,
        has_autodeflate=False,
        has_free_page_reporting=False,
        virtio_mem_bytes=0,
        has_hugepages=False,
        has_nosharepages=False,
        is_locked=False,
        has_vfio=False,
        min_guarantee_bytes=None,
    )


def test_facts_of_a_vm_that_has_everything() -> None:
    xml = RICH_XML.replace("<requested unit", "<current unit='KiB'>65536</current><requested unit").replace(
        "<memoryBacking>", "<memtune><min_guarantee unit='KiB'>307200</min_guarantee></memtune><memoryBacking>"
    )
    assert parse_facts(xml) == VmFacts(
        has_balloon=True,
        stats_period_s=7,
        has_autodeflate=True,
        has_free_page_reporting=True,
        virtio_mem_bytes=64 * MIB,
        has_hugepages=True,
        has_nosharepages=True,
        is_locked=True,
        has_vfio=True,
        min_guarantee_bytes=300 * MIB,
    )


@pytest.mark.parametrize(
    ("devices", "has_balloon", "period_s"),
    [
        ("<memballoon model='none'/>", False, None),
        ("", False, None),
        ("<memballoon model='virtio'/>", True, 0),
        ("<memballoon model='virtio'><stats period='0'/></memballoon>", True, 0),
        ("<memballoon model='virtio-non-transitional'><stats period='10'/></memballoon>", True, 10),
    ],
)
def test_balloon_and_period(devices: str, has_balloon: bool, period_s: int | None) -> None:
    facts = parse_facts(f"<domain><devices>{devices}</devices></domain>")
    assert (facts.has_balloon, facts.stats_period_s) == (has_balloon, period_s)


@pytest.mark.parametrize(
    ("device", "has_vfio"),
    [
        ("<hostdev mode='subsystem' type='pci'/>", True),
        ("<hostdev mode='subsystem' type='mdev'/>", True),
        ("<hostdev mode='subsystem' type='usb'/>", False),
        ("<interface type='hostdev'/>", True),
        ("<interface type='network'/>", False),
        ("<disk type='nvme'/>", True),
    ],
)
def test_devices_that_pin_all_memory(device: str, has_vfio: bool) -> None:
    assert parse_facts(f"<domain><devices>{device}</devices></domain>").has_vfio is has_vfio


_STEPS = (("a", "b"), ("b", "c"), ("c", "d"))
_ENTITIES = "".join(f"<!ENTITY {name} '{f'&{part};' * 9}'>" for part, name in _STEPS)
BOMB = f"<!DOCTYPE d [<!ENTITY a 'ha'>{_ENTITIES}]>"


@pytest.mark.parametrize(
    ("xml", "complaint"),
    [
        (f"{BOMB}<domain><name>&d;</name></domain>", "document type"),
        ("<!DOCTYPE d SYSTEM 'file:///etc/passwd'><domain/>", "document type"),
        ("<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><domain>&x;</domain>", "document type"),
        ("<domain>&undefined;</domain>", "broken"),
        ("<domain><devices></domain>", "broken"),
        ("", "broken"),
        ("no XML at all", "broken"),
        ("<domain>\0</domain>", "broken"),
        ("<domain><memtune><min_guarantee unit='KiB'>-5</min_guarantee></memtune></domain>", "no whole number"),
        (
            f"<domain><memtune><min_guarantee unit='KiB'>{'9' * 5000}</min_guarantee></memtune></domain>",
            "no whole number",
        ),
        ("<domain><memtune><min_guarantee unit='KiB'/></memtune></domain>", "no whole number"),
        ("<domain><memtune><min_guarantee unit='furlong'>5</min_guarantee></memtune></domain>", "KiB"),
        (
            "<domain><devices><memballoon model='virtio'><stats period='1e9'/></memballoon></devices></domain>",
            "no whole",
        ),
        ("<domain><devices><memballoon><stats period='\u0663'/></memballoon></devices></domain>", "no whole number"),
    ],
)
def test_hostile_or_broken_xml_is_refused_with_a_reason(xml: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_facts(xml)


def test_what_looks_like_a_dtd_inside_the_text_does_no_harm() -> None:
    facts = parse_facts("<domain><metadata><![CDATA[<!DOCTYPE d>]]></metadata></domain>")
    assert not facts.has_balloon


def test_a_deep_document_is_parsed_or_refused_but_does_no_harm() -> None:
    assert not parse_facts("<domain>" + "<a>" * 50_000 + "</a>" * 50_000 + "</domain>").has_balloon


@settings(deadline=None)
@given(st.text() | st.text(st.sampled_from("<>/&;!ad='\"")).map(lambda text: f"<domain>{text}</domain>"))
def test_any_text_gives_facts_or_a_value_error(xml: str) -> None:
    try:
        assert isinstance(parse_facts(xml), VmFacts)
    except ValueError as error:
        assert str(error)


def test_a_host_as_libvirt_sees_it() -> None:
    memory = NODE["memory"]
    assert parse_node_memory(memory) == {
        "total_bytes": memory["total"] * KIB,
        "free_bytes": memory["free"] * KIB,
        "cache_bytes": (memory["cached"] + memory["buffers"]) * KIB,
    }
    assert parse_node_memory({**memory, "available": 5})["available_bytes"] == 5 * KIB
    assert parse_node_memory({}) == {}
    ksm = parse_node_ksm(NODE["ksm"])
    assert ksm is not None
    assert (ksm.pages_shared, ksm.pages_sharing, ksm.full_scans, ksm.sleep_s) == (17536, 21416, 33, 0.02)
    assert (ksm.is_running, ksm.zero_pages, ksm.profit_bytes, ksm.cpu_s) == (None, None, None, None)
    assert parse_node_ksm({}) is None
