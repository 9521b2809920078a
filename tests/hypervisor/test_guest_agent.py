"""Snapshots of a guest whose own agent freezes its file systems, against its journal and what the agent says."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hypervisor.guest import Guest
from tests.hypervisor.guest_image import find_command, run
from tests.hypervisor.guest_spec import GuestSpec
from tests.hypervisor.lab import HostLab
from tests.hypervisor.waiting import wait_until
from vmtop.actions.audit import audit_file
from vmtop.actions.situation import Situation, find_subject
from vmtop.backends.libvirt_read import LibvirtBackend
from vmtop.backends.libvirt_snapshot import AGENT_ANSWER_S
from vmtop.derive.frame import derive_frame
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.viewmodel.snapshots import snapshot_choices

READ_S = 3.0
"""A reading takes some milliseconds, and on two busy cores still far less than this."""


class Host:
    """The lab as vmtop sees it."""

    def __init__(self, lab: HostLab, guest: Guest, folder: Path) -> None:
        self.guest = guest
        self.backend = LibvirtBackend(lab.uri)
        self._lab = lab
        self._environ = {**os.environ, "XDG_STATE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}

    def has_agent(self) -> bool | None:
        return self.backend.read_storage(self.guest.uuid).has_agent

    def offers(self) -> list[str]:
        """Ways to take a snapshot, the one to be recommended first."""
        frame = derive_frame(None, self.backend.read_sample(), DEFAULT_POLICY)
        subject = find_subject(frame, self.guest.uuid)
        assert subject is not None
        now = Situation(
            frame=frame,
            policy=DEFAULT_POLICY,
            capability=self.backend.capability,
            storage=self.backend.read_storage(self.guest.uuid),
        )
        return [choice.id for choice in snapshot_choices(subject.metrics, now) if not choice.verdict.is_refused]

    def start_snapshot(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "vmtop", "-c", self._lab.uri, "snapshot", self.guest.name]
        options = ["--kind", "disk-only", "--yes", "--json", *words]
        return subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, env=self._environ)

    def snapshot(self, *words: str, exit_code: int = 0) -> Any:
        return ended(self.start_snapshot(*words), exit_code)

    def audit(self) -> str:
        """What was written down of all this."""
        path = audit_file(self._environ)
        return path.read_text() if path.exists() else ""

    def virsh(self, command: str, *more: str) -> str:
        return run(find_command("virsh"), "-c", self._lab.uri, command, self.guest.uuid, *more)

    def status(self) -> str:
        """Of the file systems, as the agent says."""
        answer = json.loads(self.virsh("qemu-agent-command", '{"execute":"guest-fsfreeze-status"}'))
        return str(answer["return"])

    def freezes(self) -> list[str]:
        """What the agent has done so far, as the guest's console says."""
        return re.findall(r"^agent: (\w+) at", self.guest.console(), re.MULTILINE)

    def needs_recovery(self, image: str) -> bool:
        """The journal of the file system on an image holds what its files lack; e2fsck finds nothing else wrong."""
        folder = self.guest.files.folder
        raw = folder / f"{image}.raw"
        run(find_command("qemu-img"), "convert", "-U", "-O", "raw", str(folder / image), str(raw))
        features = re.search(r"^Filesystem features:(.*)$", run(find_command("dumpe2fs"), "-h", str(raw)), re.MULTILINE)
        assert features is not None
        if is_needed := "needs_recovery" in features[1].split():
            return is_needed
        run(find_command("e2fsck"), "-f", "-n", str(raw))
        return False

    def close(self) -> None:
        self.backend.close()


def ended(program: subprocess.Popen[str], exit_code: int) -> Any:
    output, _ = program.communicate(timeout=60)
    assert program.returncode == exit_code, output
    return json.loads(output)


@pytest.fixture(scope="module")
def silent(lab: HostLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A guest with a channel for the agent, and nobody who answers there."""
    spec = GuestSpec(name="frozen $HOME", memory_mib=96, disk_mib=32, has_agent=True)
    with lab.running(spec) as (guest,):
        host = Host(lab, guest, tmp_path_factory.mktemp("state"))
        yield host
        host.close()


@pytest.fixture(scope="module")
def host(silent: Host) -> Host:
    """The same guest, after its agent was started."""
    silent.guest.order("agent")
    wait_until(silent.has_agent, "the agent to be connected")
    return silent


def test_a_channel_on_which_nobody_answers_is_no_agent(silent: Host) -> None:
    assert silent.has_agent() is False
    assert "disk-only" in silent.offers()
    assert "disk-only quiesced" not in silent.offers()
    refused = silent.snapshot("--quiesce", exit_code=1)
    assert refused["refusals"] == [
        "the guest agent of frozen $HOME is not connected, so file systems cannot be frozen",
    ]
    assert refused["outcome"] == "refused"


def test_a_quiesced_snapshot_holds_a_clean_file_system_and_any_other_one_that_needs_its_journal(host: Host) -> None:
    assert host.has_agent() is True
    quiesced, loose = (host.offers().index(kind) for kind in ("disk-only quiesced", "disk-only"))
    assert quiesced < loose

    host.guest.order("echo before > /disk/note")
    assert host.snapshot("--name", "loose")["outcome"] == "done"
    assert host.freezes() == []
    host.guest.order("echo later > /disk/note")
    taken = host.snapshot("--name", "quiesced", "--quiesce")
    assert (taken["outcome"], taken["preview"]["consistency"]) == ("done", "file systems")
    assert host.freezes() == ["freeze", "thaw"]
    assert host.status() == "thawed"
    host.guest.order("echo after > /disk/note && sync")

    # Each snapshot is kept in the image that was written until then.
    assert host.needs_recovery("disk.qcow2"), "a mounted file system that nobody froze"
    assert not host.needs_recovery("disk.loose")


def test_a_quiesced_snapshot_that_fails_leaves_no_frozen_guest(host: Host) -> None:
    before, folder = host.freezes(), host.guest.files.folder
    folder.chmod(0o555)
    try:
        failed = host.snapshot("--name", "closed", "--quiesce", exit_code=1)
    finally:
        folder.chmod(0o755)
    assert failed["outcome"] == "failed", failed
    assert re.search(r"failed to create image file .*: Permission denied", failed["text"]), failed["text"]
    assert host.freezes() == [*before, "freeze", "thaw"], "it was frozen when it failed"
    assert host.status() == "thawed"
    host.guest.order("echo after > /disk/note && sync")
    assert "closed" not in host.virsh("snapshot-list")


def test_an_agent_that_hangs_is_said_so_at_once_and_holds_neither_readings_nor_the_vm(host: Host) -> None:
    before = host.freezes()
    host.guest.order("killall -STOP qemu-ga")
    assert host.has_agent() is True, "libvirt cannot tell"
    began_s = time.monotonic()
    program = host.start_snapshot("--name", "hung", "--quiesce")
    # Until then our readings would hold the VM against the judgement of the other vmtop.
    wait_until(lambda: "snapshot hung of" in host.audit(), "the snapshot to begin")
    while program.poll() is None:
        read_s = time.monotonic()
        host.backend.read_sample()
        assert time.monotonic() - read_s < READ_S
        assert time.monotonic() - began_s < AGENT_ANSWER_S + 30
    failed = ended(program, 1)
    assert failed["outcome"] == "failed", failed
    assert failed["elapsed_s"] < AGENT_ANSWER_S + 15, "far from the ten minutes that a snapshot may take"
    assert failed["text"].startswith("the guest agent does not answer: Guest agent is not responding"), failed["text"]
    assert failed["text"].endswith("Do it without the agent, or start qemu-guest-agent in the guest")
    assert host.snapshot("--name", "without")["outcome"] == "done", "nothing holds the VM"

    host.guest.order("killall -CONT qemu-ga")
    assert host.snapshot("--name", "awake", "--quiesce")["outcome"] == "done"
    assert host.freezes() == [*before, "freeze", "thaw"], "what came too late froze nothing"
    assert host.status() == "thawed"
