import itertools
from typing import Any

import pytest

from tests.backends.simulator.worlds import EPOCH_S, make_host_plan, make_plan, make_world, run
from tests.contract import check_sample
from vmtop.backends.simulator.backend import SimulatorBackend
from vmtop.backends.simulator.backup import BackupSpec, start_backup
from vmtop.backends.simulator.fleet import WINDOWS_2016
from vmtop.backends.simulator.migration import start_migration
from vmtop.backends.simulator.plan import NEVER, PAGES_PER_GIB
from vmtop.backends.simulator.publish import Publisher
from vmtop.backends.simulator.snapshot import begin_snapshot
from vmtop.backends.simulator.world import World
from vmtop.model.kind import SnapshotKind
from vmtop.model.sample import Answer, FinishedJob, JobKind, Sample, VmSample, VmState
from vmtop.model.storage import SnapshotRequest
from vmtop.units import GIB, KIB, MIB, PAGE_BYTES


def show(world: World, passed: float = 1.0) -> Sample:
    now_s = world.tick - 1 + passed
    return Publisher(world, "simulator:///test").read(
        time_s=EPOCH_S + now_s, monotonic_s=now_s, read_s=0.0, passed=passed
    )


def show_vm(ticks: int = 10, **changes: Any) -> VmSample:
    host = make_host_plan(hugepages=4 * PAGES_PER_GIB if changes.get("has_hugepages") else 0)
    return show(run(make_world(make_plan(**changes), host=host), ticks)).vms[0]


def test_sizes_are_those_of_the_world_in_bytes() -> None:
    world = run(make_world(make_plan(1), make_plan(2)), 10)
    sample, guest = show(world), world.guests[0]
    vm = sample.vms[0]
    assert (vm.maximum_bytes, vm.balloon_bytes) == (4 * GIB, 4 * GIB)
    assert vm.qemu is not None
    assert vm.rss_bytes == vm.qemu.rss_bytes == (guest.resident + guest.overhead) * PAGE_BYTES
    assert sample.host.total_bytes == 64 * GIB
    assert sample.host.available_bytes is not None
    assert sample.host.free_bytes is not None
    assert sample.host.free_bytes < sample.host.available_bytes < sample.host.total_bytes


def test_a_guest_tells_what_its_kernel_knows() -> None:
    vm = show_vm(utilisation=0.5)
    guest = vm.guest
    assert guest is not None
    assert guest.total_bytes is not None
    assert guest.usable_bytes is not None
    assert guest.free_bytes is not None
    assert guest.cache_bytes is not None
    assert guest.free_bytes < guest.usable_bytes < guest.total_bytes < 4 * GIB
    assert 4 * GIB - guest.usable_bytes == pytest.approx(2 * GIB + 146 * MIB, rel=0.05)
    assert all(size % KIB == 0 for size in (guest.total_bytes, guest.usable_bytes, guest.free_bytes))


def test_figures_of_a_guest_come_once_in_a_period_and_are_never_from_the_future() -> None:
    world = run(make_world(make_plan(stats_period_s=5)), 1)
    updates = []
    for _ in range(30):
        run(world, 1)
        sample = show(world, passed=0.01)
        guest = sample.vms[0].guest
        assert guest is not None
        assert 0 <= sample.time_s - guest.last_update_s < 6.1
        updates.append(guest.last_update_s)
    assert {later - earlier for earlier, later in itertools.pairwise(updates)} == {0, 5}


def test_figures_that_stopped_coming_stay_as_they_were() -> None:
    vm = show_vm(ticks=60, reports_until=20)
    assert vm.guest is not None
    assert EPOCH_S + 15 <= vm.guest.last_update_s <= EPOCH_S + 20


def test_without_a_period_a_guest_tells_only_how_it_was_after_its_boot() -> None:
    vm = show_vm(stats_period_s=0)
    assert vm.guest is not None
    assert vm.guest.last_update_s < EPOCH_S - 3600
    assert vm.guest.free_bytes is not None
    assert vm.guest.free_bytes > 3.5 * GIB
    assert vm.facts is not None
    assert vm.facts.stats_period_s == 0


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"has_driver": False}, "guest", "no balloon driver"),
        ({"has_balloon": False}, "guest", "no memory balloon"),
        ({"starts_at": NEVER}, "guest", "not running"),
        ({"starts_at": NEVER}, "qemu", "not running"),
        ({"starts_at": NEVER}, "rss_bytes", "not running"),
        ({"family": WINDOWS_2016}, "guest.usable_bytes", "does not send"),
        ({"family": WINDOWS_2016}, "guest.cache_bytes", "does not send"),
    ],
)
def test_what_is_unknown_has_its_reason(changes: dict[str, Any], field: str, reason: str) -> None:
    vm = show_vm(**changes)
    holder, _, name = field.rpartition(".")
    assert getattr(vm.guest if holder else vm, name) is None
    assert reason in vm.unknown[field]


def test_a_vm_that_is_off_keeps_its_size() -> None:
    vm = show_vm(starts_at=NEVER)
    assert (vm.state, vm.state_reason, vm.domain_id) == (VmState.SHUTOFF, "shutdown", None)
    assert vm.maximum_bytes == 4 * GIB


def test_a_vm_whose_process_was_killed_is_off_for_that_reason() -> None:
    world = run(make_world(make_plan()), 5)
    world.crash(world.guests[0])
    vm = show(run(world, 5)).vms[0]
    assert (vm.state, vm.state_reason) == (VmState.SHUTOFF, "crashed")


def test_a_hung_vm_is_shown_with_its_last_figures() -> None:
    world = run(make_world(make_plan()), 10)
    guest, report = world.guests[0], show(world).vms[0].guest
    guest.hang(world.tick)
    vm = show(run(world, 12)).vms[0]
    assert (vm.answer, vm.hung_s, vm.state) == (Answer.HUNG, 12.0, VmState.RUNNING)
    assert vm.guest == report


def test_a_vm_whose_memory_is_being_saved_is_busy_and_paused() -> None:
    world = run(make_world(make_plan()), 10)
    begin_snapshot(world, world.guests[0], SnapshotRequest(name="before", kind=SnapshotKind.INTERNAL))
    vm = show(run(world, 3)).vms[0]
    assert (vm.answer, vm.state, vm.state_reason) == (Answer.BUSY, VmState.PAUSED, "creating snapshot")
    assert (vm.jobs[0].kind, vm.jobs[0].elapsed_s, vm.jobs[0].total_bytes) == (JobKind.SNAPSHOT, 3.0, None)


def test_a_backup_shows_its_progress() -> None:
    world = make_world(make_plan(disk_bytes=10 * GIB))
    start_backup(world, world.guests[0])
    (job,) = show(run(world, 6)).vms[0].jobs
    assert (job.kind, job.elapsed_s, job.total_bytes) == (JobKind.BACKUP, 6.0, 20 * GIB)
    assert job.processed_bytes is not None
    assert 0 < job.processed_bytes < 4 * GIB


def test_a_pull_backup_shows_no_progress_but_what_it_holds_for_its_reader() -> None:
    world = make_world(make_plan(disk_bytes=10 * GIB, write_bytes_per_s=8.0 * MIB))
    start_backup(world, world.guests[0], BackupSpec(is_pull=True))
    (job,) = show(run(world, 6)).vms[0].jobs
    assert (job.processed_bytes, job.total_bytes) == (None, None)
    assert job.scratch_total_bytes == 20 * GIB
    assert job.scratch_used_bytes is not None
    assert 8 * MIB < job.scratch_used_bytes < GIB


def test_a_job_that_ended_is_told_once() -> None:
    world = make_world(make_plan(disk_bytes=GIB))
    start_backup(world, world.guests[0])
    publisher = Publisher(run(world, 30), "simulator:///test")

    def finished() -> tuple[FinishedJob, ...]:
        return publisher.read(time_s=0.0, monotonic_s=0.0, read_s=0.0, passed=1.0).finished

    (job,) = finished()
    assert (job.name, job.kind, job.is_good, job.error) == ("web-01", JobKind.BACKUP, True, None)
    assert job.elapsed_s is not None
    assert 4 <= job.elapsed_s <= 8
    assert job.ended_s == EPOCH_S + job.elapsed_s - 1
    assert job.processed_bytes == world.guests[0].disk.capacity * PAGE_BYTES
    assert finished() == ()


def test_a_vm_that_was_migrated_is_off_for_that_reason() -> None:
    world = make_world(make_plan())
    start_migration(world, world.guests[0])
    running = show(run(world, 1)).vms[0].jobs
    assert [job.kind for job in running] == [JobKind.MIGRATION_OUT]
    sample = show(run(world, 20))
    assert (sample.vms[0].state, sample.vms[0].state_reason) == (VmState.SHUTOFF, "migrated")
    assert [(job.kind, job.is_good) for job in sample.finished] == [(JobKind.MIGRATION_OUT, True)]


def test_huge_pages_are_no_part_of_rss() -> None:
    vm = show_vm(has_hugepages=True)
    assert vm.qemu is not None
    assert vm.qemu.rss_bytes is not None
    assert vm.qemu.rss_bytes < 200 * MIB
    assert vm.qemu.hugetlb_bytes == 4 * GIB


def test_counters_of_the_host_grow_evenly_within_a_second() -> None:
    world = make_world(make_plan())
    guest, host = run(world, 5).guests[0], world.host
    guest.host_swapped = host.swap_used = PAGES_PER_GIB
    host.free += PAGES_PER_GIB
    run(world, 2)
    before, after = host.swap_in_before * PAGE_BYTES, host.swap_in * PAGE_BYTES
    assert show(world, 1e-9).host.swap_in_bytes == before
    middle = show(world, 0.5).host.swap_in_bytes
    assert middle == pytest.approx((before + after) / 2, abs=PAGE_BYTES)
    assert show(world, 1.0).host.swap_in_bytes == after > before
    vms = [show(world, passed).vms[0] for passed in (1e-9, 0.5, 1.0)]
    faults = [vm.qemu.major_faults for vm in vms if vm.qemu is not None and vm.qemu.major_faults is not None]
    assert faults == sorted(faults)
    assert faults[0] < faults[2] == guest.host_faults


def test_vms_that_did_not_change_are_handed_out_again() -> None:
    world = run(make_world(make_plan(1, stats_period_s=0), make_plan(2, is_paused=True)), 30)
    publisher = Publisher(world, "simulator:///test")

    def read() -> Sample:
        return publisher.read(time_s=0.0, monotonic_s=0.0, read_s=0.0, passed=1.0)

    first, second = read(), read()
    assert first.vms == second.vms
    assert all(one is other for one, other in zip(first.vms, second.vms, strict=True))
    world.guests[1].target = world.guests[1].current = world.guests[1].reported_current = PAGES_PER_GIB
    assert read().vms[1].balloon_bytes == GIB


def test_a_name_is_escaped_in_the_path_of_its_cgroup() -> None:
    vm = show_vm(name="../a b\n\u00e9")
    assert vm.qemu is not None
    assert vm.qemu.cgroup == r"/machine.slice/machine-qemu\x2d1\x2d..\x2fa\x20b\x0a\xc3\xa9.scope"


def test_a_vm_that_was_undefined_is_not_there() -> None:
    world = run(make_world(make_plan(1), make_plan(2)), 5)
    world.stop(world.guests[0])
    world.guests[0].is_defined = False
    assert [vm.name for vm in show(world).vms] == ["web-02"]


def test_each_sample_of_a_busy_world_is_complete() -> None:
    from tests.backends.simulator.worlds import HeldClock

    clock = HeldClock()
    backend = SimulatorBackend("mixed-fleet-1000", vms=120, clock=clock)
    for _ in range(60):
        clock.now_s += 3
        check_sample(backend.read_sample(), backend)
