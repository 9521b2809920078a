"""libvirt's XML about disks, snapshots and checkpoints, captured from real guests (libvirt 9.0, QEMU 7.2)."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmtop.backends.libvirt_storage_parse import (
    CheckpointXml,
    DiskXml,
    SnapshotXml,
    parse_backup_disks,
    parse_checkpoint,
    parse_disks,
    parse_has_agent,
    parse_snapshot,
)
from vmtop.model.kind import SnapshotKind

STORAGE: dict[str, Any] = json.loads((Path(__file__).parent / "captured/storage.json").read_text())
CREATED_S = 1795462739


def test_disks_of_a_real_guest_are_those_that_can_be_written_to() -> None:
    assert parse_disks(STORAGE["live"]) == (
        DiskXml(target="vda", path="/lab/guest-1/disk.qcow2", image_format="qcow2", has_block_job=True),
        DiskXml(target="vdb", path="/lab/b.raw", image_format="raw", has_block_job=False),
    )


@pytest.mark.parametrize(
    ("disk", "expected"),
    [
        ("<disk device='floppy'><source file='/f'/><target dev='fda'/></disk>", ("fda", "/f")),
        ("<disk device='floppy'><target dev='fda'/></disk>", None),
        ("<disk device='cdrom'><source file='/f'/><target dev='hdc'/></disk>", None),
        ("<disk><source dev='/dev/x'/><target dev='sda'/></disk>", ("sda", "/dev/x")),
        ("<disk><source protocol='rbd' name='pool/x'/><target dev='sda'/></disk>", ("sda", None)),
        ("<disk><source file='/f'/></disk>", None),
        ("<disk><source file='/f'/><target/></disk>", None),
        ("<disk><source file='/f'/><target dev='sda'/><readonly/></disk>", None),
    ],
)
def test_disks_of_every_kind(disk: str, expected: tuple[str, str | None] | None) -> None:
    disks = parse_disks(f"<domain><devices>{disk}</devices></domain>")
    assert [(each.target, each.path) for each in disks] == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("channel", "domain", "expected"),
    [
        ("<target name='org.qemu.guest_agent.0' state='connected'/>", "<domain id='3'>", True),
        ("<target name='org.qemu.guest_agent.0' state='disconnected'/>", "<domain id='3'>", False),
        ("<target name='org.qemu.guest_agent.0'/>", "<domain id='3'>", None),
        ("<target name='org.qemu.guest_agent.0'/>", "<domain>", False),
        ("<target name='com.redhat.spice.0' state='connected'/>", "<domain id='3'>", False),
    ],
)
def test_the_agent_is_connected_when_its_channel_is(channel: str, domain: str, expected: bool | None) -> None:
    assert parse_has_agent(f"{domain}<devices><channel>{channel}</channel></devices></domain>") is expected


def test_the_agent_of_a_real_guest() -> None:
    assert parse_has_agent(STORAGE["live"]) is False


def test_snapshots_of_a_real_guest() -> None:
    assert [parse_snapshot(STORAGE[name]) for name in ("internal", "external", "disk-only")] == [
        SnapshotXml(
            name="before upgrade",
            parent=None,
            kind=SnapshotKind.INTERNAL,
            created_s=CREATED_S,
            state="paused",
            memory_path=None,
        ),
        SnapshotXml(
            name="ext",
            parent="before upgrade",
            kind=SnapshotKind.EXTERNAL,
            created_s=CREATED_S,
            state="paused",
            memory_path="/lab/guest-2/m&m",
        ),
        SnapshotXml(
            name="disks",
            parent="ext",
            kind=SnapshotKind.DISK_ONLY,
            created_s=CREATED_S,
            state="disk-snapshot",
            memory_path=None,
        ),
    ]


def test_a_snapshot_of_a_vm_that_was_off_is_internal_unless_its_disks_went_elsewhere() -> None:
    xml = "<domainsnapshot><name>n</name><memory snapshot='no'/><disks><disk snapshot='{}'/></disks></domainsnapshot>"
    assert parse_snapshot(xml.format("internal")).kind is SnapshotKind.INTERNAL
    assert parse_snapshot(xml.format("external")).kind is SnapshotKind.DISK_ONLY


def test_checkpoints_of_a_real_guest() -> None:
    assert parse_checkpoint(STORAGE["checkpoint"]) == CheckpointXml(name="cp1", created_s=CREATED_S, dirty_bytes=0)
    assert parse_checkpoint(STORAGE["checkpoint without size"]).dirty_bytes is None


def test_the_size_of_a_checkpoint_is_that_of_all_its_disks_or_unknown() -> None:
    xml = "<domaincheckpoint><disks><disk size='5'/><disk {}/><disk checkpoint='no'/></disks></domaincheckpoint>"
    assert parse_checkpoint(xml.format("size='7'")).dirty_bytes == 12
    assert parse_checkpoint(xml.format("")).dirty_bytes is None


def test_disks_of_a_running_backup() -> None:
    assert parse_backup_disks(STORAGE["backup"]) == ("vda",)


PARSERS = (parse_disks, parse_has_agent, parse_snapshot, parse_checkpoint, parse_backup_disks)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("xml", ["", "<a>", "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "<a>\x00</a>"])
def test_hostile_or_broken_xml_is_a_value_error(parse: Any, xml: str) -> None:
    with pytest.raises(ValueError, match="XML"):
        parse(xml)


@settings(deadline=None)
@given(st.text(st.sampled_from("<>/&;ad='\" ")).map(lambda text: f"<a><devices><disk>{text}</disk></devices></a>"))
def test_any_text_is_parsed_or_a_value_error(xml: str) -> None:
    for parse in PARSERS:
        try:
            assert parse(xml) is not NotImplemented
        except ValueError as error:
            assert str(error)
