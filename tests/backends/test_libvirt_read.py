"""The libvirt backend on a stand-in daemon that breaks at will, and on libvirt's own test driver."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.captured_host import CAPTURED
from tests.backends.fake_libvirt import BACKUP, GUEST_STATS, IDLE, XML, FakeError, FakeLibvirt, FakeVm
from tests.builders import vm_uuid
from tests.domains import write_test_domains
from vmtop.backends.libvirt_bulk import IS_SLOW, TOO_MANY_HANG
from vmtop.backends.libvirt_link import MOST_LEFT
from vmtop.backends.libvirt_read import OFF_S, LibvirtBackend
from vmtop.errors import AccessError, BackendError, ConnectError
from vmtop.model.sample import Answer, FinishedJob, JobKind, Sample, VmSample, VmState
from vmtop.units import GIB, KIB, MIB

CAPTURED_UUID = "4b891907-2646-4029-bbb0-c18d0e555dbd"
NO_BINDING = "no libvirt binding: .venv/bin/pip install -e '.[libvirt]' (needs gcc, pkg-config and libvirt's headers)"
DEADLINE_S = 0.05
PATIENCE_S = 10.0
"""Far above what anything here takes; only a broken program waits so long."""


class HandClock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def time(self) -> float:
        return 1_700_000_000.0 + self.now_s

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Rig:
    """A backend on a stand-in daemon."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.daemon = FakeLibvirt()
        self._backends: list[LibvirtBackend] = []

    def backend(self, *vms: FakeVm, uri: str = "qemu+tls://kvm1/system", root: Path = Path("/")) -> LibvirtBackend:
        """A backend for a daemon with these VMs, on another host unless `uri` says otherwise."""
        self.daemon.vms = list(vms)
        backend = LibvirtBackend(
            uri, deadline_s=DEADLINE_S, connect_s=DEADLINE_S, clock=self.clock, proc_root=root, binding=self.daemon
        )
        self._backends.append(backend)
        return backend

    def read(self, backend: LibvirtBackend) -> Sample:
        """Read one second after the reading before."""
        self.clock.now_s += 1
        return backend.read_sample()

    def end(self) -> None:
        self.daemon.end_all_hangs()
        for backend in self._backends:
            backend.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.end()


def make_fake_vms(count: int) -> list[FakeVm]:
    return [FakeVm(uuid=vm_uuid(number), name=f"vm{number}", number=number) for number in range(1, count + 1)]


def by_name(sample: Sample) -> dict[str, VmSample]:
    return {vm.name: vm for vm in sample.vms}


def becomes_true(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.002)
    return condition()


def test_a_sample_joins_libvirt_the_kernel_and_the_definition(rig: Rig) -> None:
    rig.daemon.total_kib = int((CAPTURED / "proc/meminfo").read_text().split()[1])
    vm = FakeVm(uuid=CAPTURED_UUID, name="sysd", number=1, job=BACKUP)
    sample = rig.read(rig.backend(vm, uri="qemu:///system", root=CAPTURED))
    (found,) = sample.vms
    assert sample.is_local
    assert sample.host.name == "kvm1"
    assert sample.host.total_bytes == rig.daemon.total_kib * KIB
    assert sample.host.unknown == {}
    assert (found.maximum_bytes, found.balloon_bytes, found.rss_bytes) == (20_000 * KIB, 10_000 * KIB, 8000 * KIB)
    assert (found.state, found.state_reason, found.answer) == (VmState.RUNNING, "booted", Answer.FULL)
    assert found.guest is not None
    assert found.guest.usable_bytes == 5000 * KIB
    assert found.qemu is not None
    assert (found.qemu.pid, found.qemu.cgroup_bytes) == (2443, 18182144)
    assert found.facts is not None
    assert found.facts.stats_period_s == 5
    assert [job.kind for job in found.jobs] == [JobKind.BACKUP]
    assert found.unknown == {}


def test_a_hung_vm_costs_one_deadline_and_the_others_go_on(rig: Rig) -> None:
    vms = make_fake_vms(3)
    backend = rig.backend(*vms)
    before = by_name(rig.read(backend))
    vms[1].hang(owed_ms=1500)
    for vm in vms:
        vm.stats = {**GUEST_STATS, "balloon.usable": 4000}
    hung = by_name(rig.read(backend))
    assert (hung["vm2"].answer, hung["vm2"].hung_s) == (Answer.HUNG, 1.5)
    assert hung["vm2"].guest == before["vm2"].guest, "what it said last is kept, and ages"
    assert hung["vm2"].rss_bytes == before["vm2"].rss_bytes
    for name in ("vm1", "vm3"):
        guest = hung[name].guest
        assert hung[name].answer is Answer.FULL
        assert guest is not None
        assert guest.usable_bytes == 4000 * KIB

    vms[1].owed_ms = 12_000
    rig.daemon.on_look = lambda: pytest.fail("nobody needs to look who hangs: the call is past that VM")
    assert by_name(rig.read(backend))["vm2"].hung_s == 12.0

    vms[1].wake()
    assert becomes_true(lambda: not vms[1].lock.locked())
    rig.daemon.on_look = lambda: None
    awake = by_name(rig.read(backend))["vm2"]
    assert (awake.answer, awake.hung_s) == (Answer.FULL, None)
    assert awake.guest is not None
    assert awake.guest.usable_bytes == 4000 * KIB


def test_a_vm_that_hangs_from_the_start_has_reasons_for_what_it_never_said(rig: Rig) -> None:
    vms = make_fake_vms(2)
    vms[0].hang()
    hung = by_name(rig.read(rig.backend(*vms)))["vm1"]
    assert hung.answer is Answer.HUNG
    assert (hung.guest, hung.rss_bytes) == (None, None)
    assert "has not answered" in hung.unknown["guest"]
    assert "has not answered" in hung.unknown["rss_bytes"]
    assert hung.balloon_bytes == 10_000 * KIB, "libvirt knows the sizes without asking"


def test_a_vm_that_another_job_holds_is_busy_and_keeps_its_figures(rig: Rig) -> None:
    vms = make_fake_vms(2)
    backend = rig.backend(*vms)
    before = by_name(rig.read(backend))["vm1"]
    vms[0].has_job_lock = True
    vms[0].owed_ms = 300
    busy = by_name(rig.read(backend))["vm1"]
    assert (busy.answer, busy.hung_s) == (Answer.BUSY, None)
    assert (busy.guest, busy.rss_bytes) == (before.guest, before.rss_bytes)


def test_more_hung_vms_than_calls_that_may_be_left_behind(rig: Rig) -> None:
    vms = make_fake_vms(MOST_LEFT + 4)
    backend = rig.backend(*vms)
    assert rig.read(backend).notices == ()
    for vm in vms[:-1]:
        vm.hang()
    for _ in range(3):
        sample = rig.read(backend)
        locked = [vm.name for vm in vms if vm.lock.locked()]
        assert len(locked) == MOST_LEFT + 1, "no further call is sacrificed"
        assert len(sample.vms) == len(vms)
        answers = {vm.name: vm.answer for vm in sample.vms}
        assert {name for name, answer in answers.items() if answer is Answer.HUNG} == set(locked)
        assert {name for name, answer in answers.items() if answer is Answer.NOT_ASKED} == answers.keys() - set(locked)
        assert by_name(sample)[vms[-1].name].guest is not None, "its old figures"
        assert sample.notices == (TOO_MANY_HANG,)

    vms[0].wake()
    assert becomes_true(lambda: by_name(rig.read(backend))[vms[0].name].answer is not Answer.HUNG)
    for vm in vms:
        vm.wake()
    assert becomes_true(lambda: not any(vm.lock.locked() for vm in vms))
    assert becomes_true(lambda: all(vm.answer is Answer.FULL for vm in rig.read(backend).vms))
    assert rig.read(backend).notices == ()


def test_several_vms_that_hang_at_once_are_all_found_in_one_sample(rig: Rig) -> None:
    vms = make_fake_vms(MOST_LEFT + 2)
    backend = rig.backend(*vms)
    rig.read(backend)
    for vm in vms[1:-1]:
        vm.hang()
    sample = rig.read(backend)
    healthy = {vms[0].name, vms[-1].name}
    assert {vm.name for vm in sample.vms if vm.answer is Answer.FULL} == healthy
    assert {vm.name for vm in sample.vms if vm.answer is Answer.HUNG} == by_name(sample).keys() - healthy
    assert sample.notices == ()


def test_libvirt_that_is_only_slow_is_called_that_and_its_late_answer_is_taken(rig: Rig) -> None:
    vms = make_fake_vms(3)
    backend = rig.backend(*vms)
    rig.read(backend)
    vms[0].hang()
    assert by_name(rig.read(backend))["vm1"].answer is Answer.HUNG
    opened = len(rig.daemon.openings)
    may_answer = threading.Event()
    rig.daemon.on_bulk = lambda: None if may_answer.wait(PATIENCE_S) else pytest.fail("the test took too long")
    for _ in range(2):
        sample = rig.read(backend)
        assert sample.notices == (IS_SLOW,)
        assert [vm.answer for vm in sample.vms] == [Answer.HUNG, Answer.NOT_ASKED, Answer.NOT_ASKED]
        assert all(vm.guest is not None for vm in sample.vms), "their old figures"
    assert len(rig.daemon.openings) == opened, "the VM that hangs is passed by, so it is not what holds up the call"
    may_answer.set()
    assert becomes_true(lambda: rig.read(backend).notices == ())
    assert [vm.answer for vm in rig.read(backend).vms] == [Answer.HUNG, Answer.FULL, Answer.FULL]


def test_a_vm_that_hangs_a_second_time_is_found_again(rig: Rig) -> None:
    vms = make_fake_vms(2)
    backend = rig.backend(*vms)
    rig.read(backend)
    vms[0].hang(owed_ms=60_000)
    assert by_name(rig.read(backend))["vm1"].hung_s == 60.0
    vms[0].wake()
    assert becomes_true(lambda: not vms[0].lock.locked())
    vms[0].hang(owed_ms=800)
    sample = rig.read(backend)
    assert [(vm.answer, vm.hung_s) for vm in sample.vms] == [(Answer.HUNG, 0.8), (Answer.FULL, None)]


def test_a_slow_answer_is_waited_for_when_no_vm_hangs(rig: Rig) -> None:
    backend = rig.backend(*make_fake_vms(2))
    rig.read(backend)
    somebody_looked = threading.Event()
    rig.daemon.on_bulk = lambda: None if somebody_looked.wait(PATIENCE_S) else pytest.fail("nobody looked")
    rig.daemon.on_look = somebody_looked.set
    opened = len(rig.daemon.openings)
    assert all(vm.answer is Answer.FULL for vm in rig.read(backend).vms)
    assert somebody_looked.is_set()
    assert len(rig.daemon.openings) == opened, "no call was left behind"


def test_a_daemon_that_hangs_is_an_error_in_a_bounded_time_and_is_found_again(rig: Rig) -> None:
    backend = rig.backend(*make_fake_vms(2))
    before = rig.read(backend)
    rig.daemon.answers.shut()
    began_s = time.monotonic()
    with pytest.raises(ConnectError, match="does not answer"):
        rig.read(backend)
    assert time.monotonic() - began_s < PATIENCE_S
    rig.daemon.answers.open()
    assert [vm.guest for vm in rig.read(backend).vms] == [vm.guest for vm in before.vms]


def test_opening_that_hangs_is_an_error_and_is_not_tried_twice_at_once(rig: Rig) -> None:
    backend = rig.backend(*make_fake_vms(1))
    rig.daemon.door.shut()
    for _ in range(4):
        with pytest.raises(ConnectError, match="has not answered for"):
            rig.read(backend)
    assert len(rig.daemon.openings) == 1
    rig.daemon.door.open()
    assert becomes_true(lambda: rig.daemon.open_connections == 1)
    assert len(rig.read(backend).vms) == 1


def test_opening_that_hangs_for_very_long_is_tried_anew(rig: Rig) -> None:
    backend = rig.backend(*make_fake_vms(1))
    rig.daemon.door.shut()
    with pytest.raises(ConnectError):
        rig.read(backend)
    rig.clock.now_s += 60
    with pytest.raises(ConnectError):
        rig.read(backend)
    assert len(rig.daemon.openings) == 2


def test_a_refusal_says_what_to_do(rig: Rig) -> None:
    backend = rig.backend()
    rig.daemon.open_error = FakeError(45, "authentication failed: access denied by policy")
    with pytest.raises(AccessError, match="group libvirt"):
        rig.read(backend)
    rig.daemon.open_error = None
    assert rig.read(backend).vms == ()


def test_a_lost_connection_is_an_error_once_and_is_opened_again(rig: Rig) -> None:
    backend = rig.backend(*make_fake_vms(2))
    for _ in range(3):
        rig.read(backend)
        rig.daemon.bulk_error = FakeError(1, "internal error: client socket is closed", domain=7)
        with pytest.raises(ConnectError, match="is gone: internal error: client socket is closed"):
            rig.read(backend)
        rig.daemon.bulk_error = None
    assert len(rig.read(backend).vms) == 2
    assert becomes_true(lambda: rig.daemon.open_connections == 3), "old connections are closed"


def test_an_error_without_a_text_still_says_something(rig: Rig) -> None:
    backend = rig.backend(*make_fake_vms(1))
    rig.read(backend)
    rig.daemon.bulk_error = FakeError(38, None)
    with pytest.raises(BackendError, match="no reason"):
        rig.read(backend)


def test_a_vm_that_ends_between_two_calls_has_no_row(rig: Rig) -> None:
    vms = make_fake_vms(2)
    backend = rig.backend(*vms)
    rig.daemon.bulk_has_balloon = False
    ghost = FakeVm(uuid=vm_uuid(9), name="ghost")
    bulk = rig.daemon.vms
    assert by_name(rig.read(backend)).keys() == {"vm1", "vm2"}
    rig.daemon.vms = Departing(bulk, ghost)
    assert by_name(rig.read(backend)).keys() == {"vm1", "vm2"}


class Departing(list[FakeVm]):
    """VMs of which one is gone as soon as it was listed."""

    def __init__(self, vms: list[FakeVm], ghost: FakeVm) -> None:
        super().__init__([*vms, ghost])
        self._ghost = ghost

    def __contains__(self, vm: object) -> bool:
        return vm is not self._ghost and super().__contains__(vm)


def test_a_driver_without_balloon_in_bulk_is_asked_vm_by_vm(rig: Rig) -> None:
    rig.daemon.bulk_has_balloon = False
    rig.daemon.driver = "Other"
    (vm,) = rig.read(rig.backend(*make_fake_vms(1))).vms
    assert vm.answer is Answer.FULL
    assert (vm.maximum_bytes, vm.balloon_bytes) == (20_000 * KIB, 10_000 * KIB)
    assert vm.guest is not None
    assert (vm.guest.last_update_s, vm.guest.free_bytes) == (7, 1000 * KIB)
    assert vm.unknown["rss_bytes"] == "libvirt does not tell it"


def test_a_vm_that_was_started_again_begins_with_an_empty_memory(rig: Rig) -> None:
    vm = make_fake_vms(1)[0]
    vm.job = BACKUP
    backend = rig.backend(vm)
    assert rig.read(backend).vms[0].jobs != ()
    vm.number, vm.job, vm.has_job_lock, vm.owed_ms = 2, IDLE, True, 100
    (anew,) = rig.read(backend).vms
    assert (anew.domain_id, anew.answer) == (2, Answer.BUSY)
    assert (anew.guest, anew.rss_bytes, anew.jobs) == (None, None, ())
    assert anew.facts is not None, "the definition is most likely the same, and is read again"


def test_a_vm_that_is_shut_off_moves_to_those_that_are_off(rig: Rig) -> None:
    vms = make_fake_vms(2)
    backend = rig.backend(*vms)
    rig.read(backend)
    vms[0].number = -1
    off = by_name(rig.read(backend))["vm1"]
    assert (off.state, off.domain_id, off.answer) == (VmState.SHUTOFF, None, Answer.FULL)
    assert (off.guest, off.qemu, off.rss_bytes, off.jobs) == (None, None, None, ())
    assert (off.maximum_bytes, off.balloon_bytes) == (20_000 * KIB, 10_000 * KIB)
    assert all(off.unknown[name] == "the VM is not running" for name in ("guest", "qemu", "rss_bytes"))
    vms[0].number = 7
    assert by_name(rig.read(backend))["vm1"].state is VmState.RUNNING
    assert len(rig.read(backend).vms) == 2


def test_vms_that_are_off_are_listed_now_and_then_and_when_something_was_announced(rig: Rig) -> None:
    backend = rig.backend(*make_fake_vms(1))
    rig.read(backend)
    defined = FakeVm(uuid=vm_uuid(5), name="defined", number=-1)
    rig.daemon.vms.append(defined)
    assert "defined" not in by_name(rig.read(backend))
    rig.daemon.announce(FakeLibvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, defined, 0, 0)
    assert "defined" in by_name(rig.read(backend))
    rig.daemon.vms.remove(defined)
    assert "defined" in by_name(rig.read(backend))
    rig.clock.now_s += OFF_S
    assert "defined" not in by_name(rig.read(backend))


def test_whoever_asked_is_told_of_changes(rig: Rig) -> None:
    backend = rig.backend(*make_fake_vms(1))
    changes: list[str] = []
    backend.on_change(lambda: changes.append("changed"))
    assert not backend.capability.has_events
    rig.read(backend)
    assert backend.capability.has_events
    rig.daemon.announce(FakeLibvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, rig.daemon.vms[0], 4, 0)
    rig.daemon.announce(FakeLibvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, rig.daemon.vms[0], {})
    rig.daemon.callbacks[-1](None, 1, None)
    assert changes == ["changed"] * 3


def read_until(rig: Rig, backend: LibvirtBackend, condition: Callable[[Sample], bool]) -> Sample:
    """Read again and again; what is asked between samples needs a moment."""
    samples: list[Sample] = []

    def is_met() -> bool:
        samples.append(rig.read(backend))
        return condition(samples[-1])

    assert becomes_true(is_met)
    return samples[-1]


def test_a_job_appears_moves_and_goes(rig: Rig) -> None:
    vms = make_fake_vms(5)
    backend = rig.backend(*vms)
    assert all(vm.jobs == () for vm in rig.read(backend).vms)
    vms[3].job = BACKUP
    sample = read_until(rig, backend, lambda sample: by_name(sample)["vm4"].jobs != ())
    (job,) = by_name(sample)["vm4"].jobs
    assert (job.kind, job.elapsed_s, job.processed_bytes, job.total_bytes) == (JobKind.BACKUP, 3.0, 400, 1000)
    vms[3].job = (BACKUP[0], {**BACKUP[1], "disk_remaining": 100})
    read_until(rig, backend, lambda sample: [job.processed_bytes for job in by_name(sample)["vm4"].jobs] == [900])
    vms[3].job = IDLE
    read_until(rig, backend, lambda sample: by_name(sample)["vm4"].jobs == ())


DISK_XML = "<domain><devices><disk><source file='/a'/><target dev='vda'/></disk></devices></domain>"
COMMIT = {"type": 4, "bandwidth": 0, "cur": 300, "end": 500}
DUMP = ([2, 900, 0, 100, 50, 50, *[0] * 6], {"operation": 8, "data_total": 100, "data_remaining": 50, "type": 2})
DUMPED = {"operation": 8, "time_elapsed": 1200, "data_total": 100, "data_remaining": 0, "type": 3}


def finished_in(rig: Rig, backend: LibvirtBackend) -> list[FinishedJob]:
    """What ends until no job is left; a job and what is found about its end go in the same sample."""
    finished: list[FinishedJob] = []

    def no_job_is_left(sample: Sample) -> bool:
        finished.extend(sample.finished)
        return not any(vm.jobs for vm in sample.vms)

    read_until(rig, backend, no_job_is_left)
    return finished


def test_an_announced_end_of_a_job_is_in_one_sample(rig: Rig) -> None:
    backend = rig.backend(*make_fake_vms(2))
    rig.read(backend)
    stats = {"operation": 9, "time_elapsed": 250, "disk_total": 100, "disk_remaining": 60, "success": False}
    event = FakeLibvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED
    rig.daemon.announce(event, rig.daemon.vms[1], {**stats, "errmsg": "No space left on device"})
    (job,) = rig.read(backend).finished
    assert (job.uuid, job.name, job.kind) == (vm_uuid(2), "vm2", JobKind.BACKUP)
    assert (job.is_good, job.error, job.elapsed_s, job.processed_bytes) == (False, "No space left on device", 0.25, 40)
    assert job.ended_s == rig.clock.time() - 1
    assert rig.read(backend).finished == ()


def test_an_end_is_not_lost_with_a_reading_that_fails(rig: Rig) -> None:
    backend = rig.backend(*make_fake_vms(1))
    rig.read(backend)
    rig.daemon.announce(FakeLibvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, rig.daemon.vms[0], DUMPED)
    rig.daemon.bulk_error = FakeError(1, "no")
    with pytest.raises(BackendError):
        rig.read(backend)
    rig.daemon.bulk_error = None
    assert [job.kind for job in rig.read(backend).finished] == [JobKind.DUMP]


def test_a_job_whose_end_nobody_announces_is_asked_for_how_it_ended(rig: Rig) -> None:
    (vm,) = make_fake_vms(1)
    vm.job = DUMP
    backend = rig.backend(vm)
    read_until(rig, backend, lambda sample: sample.vms[0].jobs != ())
    vm.job, vm.completed = IDLE, DUMPED
    (job,) = finished_in(rig, backend)
    assert (job.kind, job.is_good, job.elapsed_s, job.processed_bytes) == (JobKind.DUMP, True, 1.2, 100)


@pytest.mark.parametrize("is_announced_first", [True, False])
def test_an_end_that_is_announced_and_found_is_told_once(rig: Rig, is_announced_first: bool) -> None:
    (vm,) = make_fake_vms(1)
    vm.job = DUMP
    backend = rig.backend(vm)
    read_until(rig, backend, lambda sample: sample.vms[0].jobs != ())
    vm.job, vm.completed = IDLE, DUMPED

    def announce() -> None:
        rig.daemon.announce(FakeLibvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, vm, DUMPED)

    if is_announced_first:
        announce()
    told = finished_in(rig, backend)
    if not is_announced_first:
        announce()
    assert len(told + finished_in(rig, backend)) == 1


def test_two_jobs_that_look_alike_are_both_told(rig: Rig) -> None:
    backend = rig.backend(*make_fake_vms(1))
    rig.read(backend)
    for _ in range(2):
        rig.daemon.announce(FakeLibvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, rig.daemon.vms[0], DUMPED)
    assert len(rig.read(backend).finished) == 2


@pytest.mark.parametrize(
    "stats", [{**DUMPED, "operation": 2}, {**DUMPED, "time_elapsed": 800}, {"type": 0}], ids=["save", "older", "none"]
)
def test_statistics_of_another_job_tell_nothing_of_one_that_is_gone(rig: Rig, stats: dict[str, Any]) -> None:
    (vm,) = make_fake_vms(1)
    vm.job = DUMP
    backend = rig.backend(vm)
    read_until(rig, backend, lambda sample: sample.vms[0].jobs != ())
    vm.job, vm.completed = IDLE, stats
    assert finished_in(rig, backend) == []


def test_a_block_job_is_seen_when_something_hints_at_it_followed_and_told_when_it_ends(rig: Rig) -> None:
    vms = make_fake_vms(3)
    for vm in vms:
        vm.xml = DISK_XML
    backend = rig.backend(*vms)
    read_until(rig, backend, lambda _: all(vm.block_job_asks for vm in vms))
    asked = [vm.block_job_asks for vm in vms]
    vms[1].block_jobs = {"vda": COMMIT}
    event = FakeLibvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2
    rig.daemon.announce(event, vms[1], "vda", 4, 3)
    sample = read_until(rig, backend, lambda sample: by_name(sample)["vm2"].jobs != ())
    assert sample.finished == (), "to be ready is not the end"
    (job,) = by_name(sample)["vm2"].jobs
    assert (job.kind, job.disk, job.processed_bytes, job.total_bytes) == (JobKind.BLOCK_COMMIT, "vda", 300, 500)
    vms[1].block_jobs = {"vda": {**COMMIT, "cur": 400}}
    read_until(rig, backend, lambda sample: [job.processed_bytes for job in by_name(sample)["vm2"].jobs] == [400])
    vms[1].block_jobs = {}
    rig.daemon.announce(event, vms[1], "vda", 4, 0)
    sample = rig.read(backend)
    assert [(job.kind, job.disk, job.is_good) for job in sample.finished] == [(JobKind.BLOCK_COMMIT, "vda", True)]
    read_until(rig, backend, lambda sample: by_name(sample)["vm2"].jobs == ())
    for number in (0, 2):
        assert vms[number].block_job_asks == asked[number], "nothing hints at a job there"


def test_the_limit_of_a_backup_is_read_where_a_backup_runs_and_nowhere_else(rig: Rig) -> None:
    vms = make_fake_vms(3)
    for vm in vms:
        vm.xml = DISK_XML
    backend = rig.backend(*vms)
    read_until(rig, backend, lambda _: all(vm.block_job_asks for vm in vms))
    asked = [vm.block_job_asks for vm in vms]
    vms[1].job, vms[1].block_jobs = BACKUP, {"vda": {"type": 5, "bandwidth": 5000, "cur": 4, "end": 9}}
    rig.daemon.announce(FakeLibvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, vms[1], "vda", 5, 3)

    def limits(sample: Sample) -> list[tuple[JobKind, int | None, int | None]]:
        return [(job.kind, job.limit_bytes_per_s, job.disks) for job in by_name(sample)["vm2"].jobs]

    read_until(rig, backend, lambda sample: limits(sample) == [(JobKind.BACKUP, 5000, 1)])
    vms[1].block_jobs = {"vda": {"type": 5, "bandwidth": 0, "cur": 4, "end": 9}}
    read_until(rig, backend, lambda sample: limits(sample) == [(JobKind.BACKUP, 0, 1)])
    for number in (0, 2):
        assert vms[number].block_job_asks == asked[number], "no job runs there"


def test_a_snapshot_that_is_being_deleted_without_statistics_is_shown_with_its_merge(rig: Rig) -> None:
    (vm,) = make_fake_vms(1)
    vm.xml = DISK_XML
    backend = rig.backend(vm)
    read_until(rig, backend, lambda _: vm.block_job_asks > 0)
    vm.job, vm.job_error = ([2, *[0] * 11], {"type": 0}), FakeError(1, "internal error: invalid job statistics type")
    vm.block_jobs = {"vda": COMMIT}
    rig.daemon.announce(FakeLibvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, vm, "vda", 4, 3)
    sample = read_until(rig, backend, lambda sample: len(sample.vms[0].jobs) == 2)
    assert [(job.kind, job.disk) for job in sample.vms[0].jobs] == [
        (JobKind.OTHER, None),
        (JobKind.BLOCK_COMMIT, "vda"),
    ]


def test_a_backup_whose_statistics_fail_for_a_while_stays_one(rig: Rig) -> None:
    (vm,) = make_fake_vms(1)
    vm.job = BACKUP
    backend = rig.backend(vm)
    read_until(rig, backend, lambda sample: sample.vms[0].jobs != ())
    for code in (1, 38, 68):
        vm.job_error = FakeError(code, "no statistics")
        for _ in range(3):
            assert [job.kind for job in rig.read(backend).vms[0].jobs] == [JobKind.BACKUP]


def test_an_internal_snapshot_that_lets_nobody_ask_is_shown_as_a_job(rig: Rig) -> None:
    (vm,) = make_fake_vms(1)
    backend = rig.backend(vm)
    rig.read(backend)
    vm.has_job_lock, vm.state = True, (3, 3)
    (shown,) = rig.read(backend).vms
    assert (shown.state, shown.state_reason, shown.answer) == (VmState.PAUSED, "saving", Answer.BUSY)
    (job,) = shown.jobs
    assert (job.kind, job.elapsed_s, job.processed_bytes, job.total_bytes) == (JobKind.SNAPSHOT, None, None, None)
    vm.has_job_lock, vm.state = False, (1, 5)
    assert rig.read(backend).vms[0].jobs == ()


def test_a_guest_that_an_io_error_paused_says_so(rig: Rig) -> None:
    (vm,) = make_fake_vms(1)
    vm.state = (3, 5)
    (shown,) = rig.read(rig.backend(vm)).vms
    assert (shown.state, shown.state_reason) == (VmState.PAUSED, "I/O error")


def test_calls_for_single_vms_that_hang_do_not_hold_up_the_sample(rig: Rig) -> None:
    vms = make_fake_vms(3)
    backend = rig.backend(*vms)
    rig.read(backend)
    vms[0].jobs.shut()
    for _ in range(6):
        assert all(vm.answer is Answer.FULL for vm in rig.read(backend).vms)
    vms[1].job = BACKUP
    read_until(rig, backend, lambda sample: by_name(sample)["vm2"].jobs != ())


def test_a_connection_that_takes_long_to_open_is_not_given_up_for_another(rig: Rig) -> None:
    vms = make_fake_vms(2)
    backend = rig.backend(*vms)
    rig.daemon.free_openings = 2
    rig.daemon.door.shut()
    for _ in range(4):
        assert all(vm.facts is None for vm in rig.read(backend).vms)
    assert rig.daemon.openings == ["vmtop-bulk", "vmtop-side", "vmtop-survey"]
    rig.daemon.door.open()
    read_until(rig, backend, lambda sample: all(vm.facts is not None for vm in sample.vms))

    rig.daemon.free_openings = 3
    rig.daemon.door.shut()
    vms[0].hang()
    for _ in range(4):
        assert by_name(rig.read(backend))["vm1"].answer is Answer.HUNG
    assert rig.daemon.openings.count("vmtop-bulk") == 2
    rig.daemon.door.open()
    read_until(rig, backend, lambda sample: by_name(sample)["vm2"].answer is Answer.FULL)
    assert by_name(rig.read(backend))["vm1"].answer is Answer.HUNG


def test_a_definition_that_cannot_be_read_leaves_none_with_the_reason(rig: Rig) -> None:
    vms = make_fake_vms(2)
    vms[0].xml = "<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><domain>&x;</domain>"
    found = by_name(rig.read(rig.backend(*vms)))
    assert found["vm1"].facts is None
    assert "document type" in found["vm1"].unknown["facts"]
    assert found["vm2"].facts is not None


def test_a_statistics_period_that_somebody_sets_is_noticed_when_the_guest_begins_to_send(rig: Rig) -> None:
    vm = make_fake_vms(1)[0]
    vm.xml = XML.format(period_s=0)
    backend = rig.backend(vm)
    assert rig.read(backend).vms[0].facts.stats_period_s == 0  # type: ignore[union-attr]  # fails if there are none
    calls = rig.daemon.xml_calls
    for _ in range(3):
        rig.read(backend)
    assert rig.daemon.xml_calls == calls, "definitions are not read at every sample"
    vm.xml = XML.format(period_s=2)
    vm.stats = {**GUEST_STATS, "balloon.last-update": GUEST_STATS["balloon.last-update"] + 2}
    # The clock stands still here: definitions are read again after a while in any case.
    assert becomes_true(lambda: backend.read_sample().vms[0].facts.stats_period_s == 2)  # type: ignore[union-attr]  # same


def test_a_remote_host_has_what_libvirt_tells_and_a_reason_for_the_rest(rig: Rig) -> None:
    rig.daemon.total_kib = 1024 * 1024
    sample = rig.read(rig.backend(*make_fake_vms(1)))
    host = sample.host
    assert not sample.is_local
    assert (host.name, host.cpus, host.total_bytes, host.free_bytes) == ("kvm1", 8, 1024 * MIB, 512 * MIB)
    assert host.cache_bytes == 3 * KIB
    assert host.ksm is not None
    assert (host.ksm.pages_shared, host.ksm.pages_sharing) == (3, 7)
    for name in ("available_bytes", "swap_used_bytes", "swap_in_bytes", "pressure", "hugepages_total_bytes"):
        assert getattr(host, name) is None
        assert "remote host" in host.unknown[name]
    assert "remote host" in sample.vms[0].unknown["qemu"]
    assert sample.vms[0].rss_bytes == 8000 * KIB


def test_a_socket_that_leads_to_another_host_is_not_taken_for_this_one(rig: Rig) -> None:
    rig.daemon.total_kib = 4711
    sample = rig.read(rig.backend(*make_fake_vms(1), uri="qemu:///system", root=CAPTURED))
    assert not sample.is_local
    assert sample.host.total_bytes == 4711 * KIB
    assert "another one" in sample.host.unknown["pressure"]
    assert "another one" in sample.vms[0].unknown["qemu"]


def test_a_socket_that_leads_to_a_host_of_the_same_size_is_not_taken_for_this_one(rig: Rig) -> None:
    rig.daemon.total_kib = int((CAPTURED / "proc/meminfo").read_text().split()[1])
    rig.daemon.hostname = "kvm2.example.org"
    vm = FakeVm(uuid=CAPTURED_UUID, name="sysd")
    sample = rig.read(rig.backend(vm, uri="qemu:///system", root=CAPTURED))
    assert not sample.is_local
    assert sample.host.name == "kvm2.example.org"
    assert sample.vms[0].qemu is None
    assert "kvm2.example.org, and this one is kvm1" in sample.vms[0].unknown["qemu"]


@pytest.mark.parametrize("hostname", ["kvm1", "KVM1", "kvm1.example.org"])
def test_libvirt_may_know_the_full_name_of_this_host(rig: Rig, hostname: str) -> None:
    rig.daemon.total_kib = int((CAPTURED / "proc/meminfo").read_text().split()[1])
    rig.daemon.hostname = hostname
    assert rig.read(rig.backend(uri="qemu:///system", root=CAPTURED)).is_local


def test_libvirt_may_know_this_host_by_the_name_that_the_resolver_prefers(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.daemon.total_kib = int((CAPTURED / "proc/meminfo").read_text().split()[1])
    rig.daemon.hostname = "node5"
    known = {"kvm1": "node5.example.org"}
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda name, *_, **__: [(2, 1, 6, known[name], ()), (2, 1, 6, "", ())], raising=True
    )
    assert rig.read(rig.backend(uri="qemu:///system", root=CAPTURED)).is_local


def test_memory_of_a_remote_host_that_libvirt_failed_to_tell_has_the_true_reason(rig: Rig) -> None:
    backend = rig.backend(*make_fake_vms(1))
    rig.read(backend)
    rig.daemon.node_error = FakeError(38, "cannot open\n/proc/meminfo: Too many open files")
    host = rig.read(backend).host
    for name in ("free_bytes", "cache_bytes", "available_bytes", "ksm"):
        assert host.unknown[name] == "libvirt failed to tell it: cannot open /proc/meminfo: Too many open files"
    assert "remote host" in host.unknown["pressure"]
    rig.daemon.node_error = FakeError(3, "this function is not supported by the connection driver")
    assert "remote host" in rig.read(backend).host.unknown["free_bytes"]
    rig.daemon.node_error = None
    assert rig.read(backend).host.free_bytes is not None


def test_a_host_that_fails_to_tell_its_memory_at_first_is_an_error_and_not_another_host(rig: Rig) -> None:
    rig.daemon.total_kib = int((CAPTURED / "proc/meminfo").read_text().split()[1])
    backend = rig.backend(uri="qemu:///system", root=CAPTURED)
    rig.daemon.node_error = FakeError(38, "Too many open files")
    with pytest.raises(BackendError, match="Too many open files"):
        rig.read(backend)
    rig.daemon.node_error = None
    assert rig.read(backend).is_local


def test_closing_waits_for_nothing_and_ends_all_reading(rig: Rig) -> None:
    vms = make_fake_vms(2)
    backend = rig.backend(*vms)
    rig.read(backend)
    vms[0].hang()
    rig.read(backend)
    rig.daemon.answers.shut()
    began_s = time.monotonic()
    backend.close()
    assert time.monotonic() - began_s < 1
    with pytest.raises(BackendError, match="was closed"):
        backend.read_sample()
    rig.daemon.end_all_hangs()
    assert becomes_true(lambda: rig.daemon.open_connections == 0)


@pytest.fixture
def libvirt() -> Any:
    """The real binding, or a skip."""
    return pytest.importorskip("libvirt", reason=NO_BINDING)


@pytest.fixture
def test_driver(libvirt: Any) -> Iterator[LibvirtBackend]:
    """A backend on libvirt's own test driver, whose VMs are the same for the whole process."""
    backend = LibvirtBackend("test:///default")
    yield backend
    backend.close()


def test_the_test_driver_is_read_vm_by_vm_and_has_no_host(test_driver: LibvirtBackend) -> None:
    sample = test_driver.read_sample()
    vm = by_name(sample)["test"]
    assert vm.state is VmState.RUNNING
    assert vm.maximum_bytes == 8 * GIB
    assert vm.balloon_bytes == 2 * GIB
    assert vm.guest is not None
    assert vm.guest.usable_bytes == 1 * GIB
    assert vm.facts is not None
    assert not sample.is_local
    assert sample.host.total_bytes == 3 * GIB
    assert sample.host.unknown["available_bytes"] == "libvirt's test driver has no real host"
    assert vm.unknown["qemu"] == "libvirt's test driver has no real host"


def test_vms_that_come_and_go_are_announced_and_seen(libvirt: Any, test_driver: LibvirtBackend) -> None:
    name = f"guest-{os.getpid()} [red]x"
    changed = threading.Event()
    test_driver.on_change(changed.set)
    assert name not in by_name(test_driver.read_sample())
    connection = libvirt.open("test:///default")
    domain = connection.createXML(
        f"<domain type='test'><name>{name}</name><memory>65536</memory><os><type>hvm</type></os></domain>"
    )
    try:
        assert changed.wait(PATIENCE_S)
        found = by_name(test_driver.read_sample())[name]
        assert (found.state, found.balloon_bytes) == (VmState.RUNNING, 64 * MIB)
        domain.suspend()
        assert by_name(test_driver.read_sample())[name].state is VmState.PAUSED
    finally:
        domain.destroy()
    changed.clear()
    assert name not in by_name(test_driver.read_sample())


def test_a_thousand_vms_are_read_in_one_go(libvirt: Any, tmp_path: Path) -> None:
    backend = LibvirtBackend(write_test_domains(tmp_path, count=1000))
    backend.read_sample()
    sample = backend.read_sample()
    assert len(sample.vms) == 1000
    assert sum(vm.guest is not None for vm in sample.vms) == 900
    assert sample.read_s < 2, "0.05 s on an idle machine"
    assert becomes_true(lambda: all(vm.facts is not None for vm in backend.read_sample().vms))
    backend.close()


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("qemu+unix:///system?socket=/nowhere/libvirt-sock", "no libvirt daemon at"),
        ("test:///nowhere.xml", "there is no file '/nowhere.xml'"),
        ("nonsense:///x?socket=/nowhere/sock", "Some that exist: qemu:///system"),
        ("qemu+carrier-pigeon://kvm1/system", "transport in URL not recognised"),
        ("qemu+tcp://127.0.0.1:1/system", "no connection to qemu+tcp://127.0.0.1:1/system"),
    ],
)
def test_whatever_goes_wrong_only_we_write_to_the_terminal(libvirt: Any, uri: str, words: str) -> None:
    program = (
        "import sys\n"
        "from vmtop.backends.libvirt_read import LibvirtBackend\n"
        "from vmtop.errors import ConnectError\n"
        "try:\n"
        "    LibvirtBackend(sys.argv[1]).read_sample()\n"
        "except ConnectError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, uri], capture_output=True, text=True, timeout=60, check=True)
    assert words in done.stdout
    assert done.stderr == ""


def test_libvirt_is_imported_when_a_backend_is_made_and_not_before() -> None:
    program = "import sys, vmtop.backends.libvirt_read as read; assert 'libvirt' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)
