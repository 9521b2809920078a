import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.backends.simulator.worlds import EPOCH_S, HeldClock, make_plan, make_world
from vmtop.backends.base import Backend, Control
from vmtop.backends.simulator import command
from vmtop.backends.simulator.backend import SimulatorBackend
from vmtop.backends.simulator.conduct import carry_out
from vmtop.backends.simulator.control import SimulatorControl
from vmtop.backends.simulator.inject import SimulatorFaults
from vmtop.backends.simulator.shared import SharedWorld
from vmtop.errors import ControlError
from vmtop.model.kind import SnapshotKind
from vmtop.model.sample import VmSample, VmState
from vmtop.model.storage import BackupRequest, SnapshotRequest
from vmtop.units import GIB, MIB

DEADLINE_S = 20.0
"""Far above what anything here takes."""
INTERNAL = SnapshotRequest(name="s1", kind=SnapshotKind.INTERNAL)


class Call:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self.error: ControlError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except ControlError as error:
            self.error = error

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def finish(self) -> ControlError | None:
        self._thread.join(DEADLINE_S)
        assert self.is_over, "the call never ended"
        return self.error


class WatchedWorld(SharedWorld):
    """Tells when a call begins to wait."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.waits = threading.Semaphore(0)

    def wait(self, readings: int, patience_s: float) -> bool:
        self.waits.release()
        return super().wait(readings, patience_s)

    def await_waiter(self) -> None:
        assert self.waits.acquire(timeout=DEADLINE_S), "nobody waits"


@contextmanager
def watched() -> Iterator[tuple[WatchedWorld, SimulatorControl]]:
    """A world of one guest that the test lets live."""
    shared = WatchedWorld("simulator:///test")
    shared.world = make_world(make_plan())
    try:
        yield shared, SimulatorControl(shared)
    finally:
        shared.close()


def pass_a_second(shared: SharedWorld) -> None:
    with shared.lock:
        assert shared.world is not None
        shared.world.advance()
    shared.announce(0.0)


def demo() -> tuple[HeldClock, SimulatorBackend, VmSample]:
    clock = HeldClock()
    backend = SimulatorBackend("calm", clock=clock, vms=4)
    vm = next(vm for vm in backend.read_sample().vms if vm.facts is not None and vm.facts.stats_period_s)
    return clock, backend, vm


def read_vm(clock: HeldClock, backend: Backend, uuid: str, *, after_s: float = 1.0) -> VmSample:
    clock.now_s += after_s
    return next(vm for vm in backend.read_sample().vms if vm.uuid == uuid)


def test_a_balloon_moves_in_the_samples() -> None:
    clock, backend, vm = demo()
    assert not backend.capability.is_readonly
    control: Control = backend.open_control()
    assert vm.maximum_bytes is not None
    control.set_balloon(vm.uuid, vm.maximum_bytes - GIB // 4)
    assert read_vm(clock, backend, vm.uuid, after_s=60).balloon_bytes == vm.maximum_bytes - GIB // 4


def test_storage_is_read_as_of_the_last_sample() -> None:
    clock, backend, vm = demo()
    read_vm(clock, backend, vm.uuid, after_s=12.25)
    storage = backend.read_storage(vm.uuid)
    assert (storage.uuid, storage.monotonic_s) == (vm.uuid, 1_012.25)
    (disk,) = storage.disks
    assert disk.path == f"/var/lib/libvirt/images/{vm.name}.qcow2"
    assert disk.allocation_bytes is not None
    assert disk.capacity_bytes is not None
    assert 0 < disk.allocation_bytes < disk.capacity_bytes


def test_a_backup_goes_on_by_itself_until_it_is_cancelled() -> None:
    clock, backend, vm = demo()
    control = backend.open_control()
    control.start_backup(
        vm.uuid, BackupRequest(targets={"vda": "/backup/x.qcow2"}, formats={"vda": "qcow2"}, checkpoint="c1")
    )
    control.limit_job(vm.uuid, 20 * MIB, None)
    (job,) = read_vm(clock, backend, vm.uuid, after_s=5).jobs
    assert job.processed_bytes is not None
    # What the guest is about to overwrite is copied in any case.
    assert 100 * MIB <= job.processed_bytes < 200 * MIB
    control.cancel_job(vm.uuid, None)
    clock.now_s += 1
    (finished,) = backend.read_sample().finished
    assert (finished.uuid, finished.is_good, finished.ended_s) == (vm.uuid, False, EPOCH_S + 4)
    control.delete_checkpoint(vm.uuid, "c1")
    with pytest.raises(ControlError, match="no domain checkpoint"):
        control.delete_checkpoint(vm.uuid, "c1")


def test_a_call_blocks_until_its_snapshot_is_complete() -> None:
    with watched() as (shared, control):
        assert shared.world is not None
        guest = shared.world.guests[0]
        call = Call(lambda: control.take_snapshot(guest.plan.uuid, INTERNAL))
        seconds = 0
        shared.await_waiter()
        while guest.job is not None:
            assert not call.is_over
            pass_a_second(shared)
            seconds += 1
            if guest.job is not None:
                shared.await_waiter()
        assert call.finish() is None
        assert seconds > 5
        storage = carry_out(shared, lambda world: command.read_storage(world, guest.plan.uuid, 0.0))
        assert [snapshot.name for snapshot in storage.snapshots] == ["s1"]


def test_a_call_that_waits_holds_up_nobody() -> None:
    with watched() as (shared, control):
        assert shared.world is not None
        guest = shared.world.guests[0]
        guest.hang(0)
        call = Call(lambda: control.set_balloon(guest.plan.uuid, GIB))
        shared.await_waiter()
        for _ in range(29):
            pass_a_second(shared)
            shared.await_waiter()
        with pytest.raises(ControlError, match="no domain"):
            control.resume("nobody")
        guest.recover()
        pass_a_second(shared)
        assert call.finish() is None
        assert guest.target * 4096 == GIB


def test_a_call_waits_for_the_first_reading() -> None:
    shared = WatchedWorld("simulator:///test")
    call = Call(lambda: SimulatorControl(shared).resume("nobody"))
    shared.await_waiter()
    shared.world = make_world(make_plan())
    shared.announce(0.0)
    error = call.finish()
    assert error is not None
    assert error.code == 42


@pytest.mark.parametrize("who", ["backend", "control"])
def test_closing_ends_a_call_that_waits(who: str) -> None:
    with watched() as (shared, control):
        assert shared.world is not None
        uuid = shared.world.guests[0].plan.uuid
        call = Call(lambda: control.take_snapshot(uuid, INTERNAL))
        shared.await_waiter()
        if who == "backend":
            shared.close()
        else:
            control.close()
            pass_a_second(shared)
        error = call.finish()
        assert error is not None
        assert "was closed" in str(error)


def test_closing_does_not_wait_for_a_reading() -> None:
    with watched() as (shared, control):
        with shared.lock:
            assert Call(shared.close).finish() is None
        with pytest.raises(ControlError, match="was closed"):
            control.resume("anybody")


def test_a_world_that_nobody_reads_stands_still_and_the_call_says_so() -> None:
    shared = SharedWorld("simulator:///test")
    shared.world = make_world(make_plan())
    control = SimulatorControl(shared, patience_s=0.0)
    with pytest.raises(ControlError, match="no answer: the simulated host stood still") as lost:
        control.take_snapshot(shared.world.guests[0].plan.uuid, INTERNAL)
    assert lost.value.code is None


def test_commands_and_readings_from_many_threads_keep_the_samples_whole() -> None:
    clock, backend, vm = demo()
    control = backend.open_control()
    begin = threading.Barrier(5)

    def balloon() -> None:
        begin.wait(DEADLINE_S)
        for place in range(50):
            control.set_balloon(vm.uuid, GIB + place * 4096)
            backend.read_storage(vm.uuid)

    calls = [Call(balloon) for _ in range(4)]
    begin.wait(DEADLINE_S)
    for _ in range(50):
        shown = read_vm(clock, backend, vm.uuid)
        assert shown.state is VmState.RUNNING
    assert [call.finish() for call in calls] == [None] * 4


def test_faults_are_injected_between_readings_and_undone() -> None:
    clock, backend, vm = demo()
    faults = backend.fault_control
    assert faults is not None
    assert {fault.is_for_vm for fault in faults.faults()} == {True, False}
    faults.inject_fault("paused", vm.uuid)
    clock.now_s += 1
    sample = backend.read_sample()
    assert next(shown for shown in sample.vms if shown.uuid == vm.uuid).state is VmState.PAUSED
    assert any("injected" in notice and vm.name in notice for notice in sample.notices)
    faults.end_faults()
    assert read_vm(clock, backend, vm.uuid).state is VmState.RUNNING


def test_an_injected_fault_ends_by_itself() -> None:
    clock, backend, vm = demo()
    faults = backend.fault_control
    assert faults is not None
    (lasts_s,) = [fault.lasts_s for fault in faults.faults() if fault.fault_id == "paused"]
    faults.inject_fault("paused", vm.uuid)
    assert read_vm(clock, backend, vm.uuid, after_s=lasts_s - 1).state is VmState.PAUSED
    assert read_vm(clock, backend, vm.uuid, after_s=2).state is VmState.RUNNING


def test_a_fault_that_cannot_happen_is_refused() -> None:
    faults = SimulatorFaults(SharedWorld("simulator:///test"))
    with pytest.raises(ControlError, match="was not read yet"):
        faults.inject_fault("paused", "anybody")
    clock, backend, _ = demo()
    assert backend.fault_control is not None
    with pytest.raises(ControlError, match="no VM has the UUID"):
        backend.fault_control.inject_fault("paused", "nobody")
    clock.now_s += 1
    assert backend.read_sample().vms
