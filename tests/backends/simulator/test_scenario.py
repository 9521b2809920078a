from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from statistics import median

import pytest

from tests.backends.simulator.invariants import Snapshot, check_world
from tests.backends.simulator.worlds import HeldClock, run
from vmtop.backends.simulator.backend import SimulatorBackend
from vmtop.backends.simulator.backup import PullBackupJob
from vmtop.backends.simulator.fault import GUEST_FAULTS, HOST_FAULTS
from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.ksm import Run
from vmtop.backends.simulator.plan import NEVER, PAGES_PER_GIB, Kind
from vmtop.backends.simulator.scenario import (
    HOSTILE_NAMES,
    SCENARIOS,
    describe_scenarios,
    find_scenario,
    make_world,
    scenario_names,
)
from vmtop.backends.simulator.script import FaultScript
from vmtop.backends.simulator.world import World
from vmtop.derive.frame import Frame, derive_frame
from vmtop.derive.metrics import Condition, Level
from vmtop.errors import ConnectError, UsageError
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import Answer, GuestSample, JobKind, VmState


def frames(scenario: str, seconds: int, *, seed: int = 1, vms: int | None = None, every_s: int = 5) -> Iterator[Frame]:
    """What is on the screen of a demo, every so often; nothing while the connection is cut."""
    clock = HeldClock()
    backend = SimulatorBackend(scenario, clock=clock, seed=seed, vms=vms)
    frame = None
    for now_s in range(0, seconds + 1, every_s):
        clock.now_s = now_s
        try:
            frame = derive_frame(frame, backend.read_sample(), DEFAULT_POLICY)
        except ConnectError:
            continue
        yield frame


def level(frame: Frame) -> Level:
    assert frame.host.level is not None
    return frame.host.level


def dirty_bytes(world: World, guest: Guest) -> int:
    """What an incremental backup would have to read; everything where there was no backup before."""
    marks = list(guest.disk.checkpoints.values())
    return guest.disk.dirty_since(marks[-1], world.tick) if marks else guest.disk.allocated


def resident(world: World) -> int:
    return sum(guest.resident + guest.overhead for guest in world.active)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_loses_no_page(name: str) -> None:
    world = make_world(name, vms=min(SCENARIOS[name].vms, 24))
    for _ in range(100):
        before = Snapshot.of(world)
        world.advance()
        check_world(world, before)


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("vms", [1, 2, 7])
def test_every_scenario_works_at_any_size(name: str, vms: int) -> None:
    assert len(run(make_world(name, vms=vms, seed=5), 20).guests) == vms


def test_calm_is_calm() -> None:
    """The balancer's part, that it does nothing, waits for the balancer."""
    for frame in frames("calm", 900):
        assert frame.host.level is Level.CALM
        assert frame.sample.host.swap_out_bytes == 0
        assert not frame.sample.notices
        assert not any(vm.guest_swap_in_bytes_per_s for vm in frame.vms)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_overcommitted_host_is_short_but_alive(seed: int) -> None:
    """Nobody balances it yet; the balloons are those that an operator set before."""
    seen = list(frames("overcommit", 600, seed=seed))
    levels = [level(frame) for frame in seen]
    assert min(levels) >= Level.WATCH
    assert sum(level in {Level.WATCH, Level.SOFT} for level in levels) > 0.9 * len(levels)
    last = seen[-1].host
    assert last.overcommit_configured_ratio == pytest.approx(1.5, abs=0.05)
    assert last.ksm_saved_bytes is not None
    assert last.total_bytes is not None
    assert last.ksm_saved_bytes > 0.02 * last.total_bytes
    assert last.swap_in_bytes_per_s is not None
    assert last.swap_in_bytes_per_s > 0
    assert not any("OOM" in notice for frame in seen for notice in frame.sample.notices)


def test_the_first_screen_of_the_demo_tells_a_story() -> None:
    (first, second) = frames("overcommit", 5)
    assert first.host.level in {Level.WATCH, Level.SOFT}
    assert "available" in first.host.cause
    by_use = sorted(second.vms, key=lambda vm: -(vm.used_bytes or 0))[:15]
    shown = {vm.condition for vm in by_use}
    assert {Condition.BALLOONED, Condition.SWAPPING, Condition.NO_DRIVER, Condition.STALE} <= shown
    everybody = {vm.condition for vm in second.vms}
    assert {Condition.NO_STATS, Condition.NO_BALLOON, Condition.PAUSED, Condition.OFF, Condition.OK} <= everybody
    assert sum((vm.cache_bytes or 0) > 2**28 for vm in second.vms) > 20
    backups = [job for vm in second.vms for job in vm.jobs if job.kind is JobKind.BACKUP]
    assert any(0.02 < (job.processed_bytes or 0) / (job.total_bytes or 1) < 0.98 for job in backups)
    assert any(vm.host_swap_bytes for vm in second.vms)
    assert any(vm.hugetlb_bytes for vm in second.vms)


def test_in_the_demo_a_vm_hangs_for_a_while_and_recovers() -> None:
    hung = [[vm.name for vm in frame.vms if vm.answer is Answer.HUNG] for frame in frames("overcommit", 140)]
    assert hung[17] == hung[-1] == []
    assert len(hung[20]) == 1


def test_a_boot_storm_presses_the_host_and_passes() -> None:
    seen = list(frames("boot-storm", 1200))
    levels = [level(frame) for frame in seen]
    assert max(levels) in {Level.SOFT, Level.HARD}
    assert sum(level >= Level.SOFT for level in levels) * 5 <= 180
    assert levels[-1] <= Level.WATCH
    assert seen[60].host.ksm_saved_bytes is not None
    assert seen[-1].host.ksm_saved_bytes is not None
    assert seen[-1].host.ksm_saved_bytes > seen[60].host.ksm_saved_bytes > 4 * 2**30


def test_windows_touches_all_of_its_memory_when_it_boots_and_some_of_it_comes_back() -> None:
    world = make_world("boot-storm")
    windows = [guest for guest in world.guests if guest.plan.family.is_windows]
    reporting = [guest for guest in windows if guest.plan.has_free_page_reporting]
    keeping = [guest for guest in windows if guest not in reporting]
    unused = dict.fromkeys(windows, 0)
    for _ in range(300):
        run(world, 1)
        unused = {guest: max(pages, guest.backed - guest.used) for guest, pages in unused.items()}
    assert all(unused[guest] > 0.2 * guest.plan.maximum for guest in reporting)
    assert all(guest.backed < 1.05 * guest.used for guest in reporting)
    assert all(guest.backed > 0.95 * guest.plan.maximum for guest in keeping)
    assert sum(guest.ksm_zero for guest in keeping) > 0.1 * sum(guest.backed - guest.used for guest in keeping)
    linux = [guest for guest in world.guests if not guest.plan.family.is_windows]
    assert sum(guest.backed for guest in linux) < 0.8 * sum(guest.plan.maximum for guest in linux)


def test_only_the_leaking_vm_grows_until_its_own_killer_ends_it() -> None:
    world = make_world("memory-leak", vms=6)
    leaker, *others = world.guests
    assert leaker.plan.kind is Kind.LEAK
    held = [(guest.anon, guest.oom_kills) for guest in world.guests]
    run(world, 2700)
    assert leaker.anon - held[0][0] == pytest.approx(2700 * 20 * 256 / 60, rel=0.2)
    for guest, (anon, _) in zip(others, held[1:], strict=True):
        assert abs(guest.anon - anon) < 0.1 * guest.plan.maximum
    run(world, 3000)
    assert leaker.oom_kills == 1
    assert sum(guest.oom_kills for guest in others) == 0
    assert world.host.oom_kills == 0


def time_left_s(points: Sequence[tuple[float, float]], now_s: float) -> float:
    """When what falls will be used up: the line through the points whose slope is the median of all slopes.

    Source: Theil, Sen; an outlier or a burst does not bend it.
    """
    slope = median((later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in combinations(points, 2))
    height = median(value - slope * at_s for at_s, value in points)
    return (slope * now_s + height) / -slope


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_from_what_a_leaking_vm_tells_its_end_can_be_foretold(seed: int) -> None:
    usable: list[tuple[float, float]] = []
    ended_s = None
    for frame in frames("memory-leak", 6000, vms=4, seed=seed, every_s=15):
        (leaker,) = (vm for vm in frame.sample.vms if vm.name.startswith("billing"))
        assert leaker.guest is not None
        assert leaker.guest.usable_bytes is not None
        if usable and leaker.guest.usable_bytes > usable[-1][1] + 2**30:
            ended_s = frame.sample.monotonic_s
            break
        usable.append((frame.sample.monotonic_s, leaker.guest.usable_bytes))
    assert ended_s is not None
    asked_s = ended_s - 600
    window = [point for point in usable if asked_s - 900 <= point[0] <= asked_s]
    assert len(window) > 50
    assert time_left_s(window, asked_s) == pytest.approx(600, rel=0.3)


def test_a_backup_window_slows_the_disks_and_a_failed_backup_keeps_its_bitmap() -> None:
    world = make_world("backup-window")
    idle_latency_s = run(world, 290).host.pool.latency_s
    checkpoints = {guest.plan.name: set(guest.disk.checkpoints) for guest in world.guests}
    dirty_before = {guest.plan.name: dirty_bytes(world, guest) for guest in world.guests}
    latencies_s = []
    most = pulls = 0
    for _ in range(900):
        run(world, 1)
        jobs = [guest.job.kind for guest in world.guests if guest.job is not None]
        most = max(most, jobs.count(JobKind.BACKUP))
        pulls += any(isinstance(guest.job, PullBackupJob) for guest in world.guests)
        latencies_s.append(world.host.pool.latency_s)
    assert most == 4
    assert pulls > 10
    assert max(latencies_s) < 6 * idle_latency_s
    assert [guest.has_left for guest in world.guests].count(True) == 1
    slowdowns = [sum(latencies_s[at : at + 10]) / 10 / idle_latency_s for at in range(0, 300, 10)]
    assert sum(2 <= slowdown <= 5 for slowdown in slowdowns) > 0.8 * len(slowdowns)
    (name,) = (ended.name for ended in world.finished if not ended.is_good)
    done = [guest for guest in world.guests if any(point.mark.at >= 300 for point in world.store.points(guest.plan))]
    assert len(done) > 3
    again = next(guest for guest in world.guests if guest.plan.name == name)
    assert again not in done
    assert again.pause_reason == "I/O error"
    assert checkpoints[name] <= again.disk.checkpoints.keys()
    for guest in done:
        assert dirty_bytes(world, guest) < 0.5 * dirty_before[guest.plan.name]


def test_clones_share_a_tenth_of_their_memory_until_half_of_them_are_updated() -> None:
    """The clones run for weeks when the world begins, so ksmd has passed over them much more often than twice."""
    saved = {}
    for frame in frames("ksm-gold", 1800, every_s=60):
        used = sum(vm.rss_bytes or 0 for vm in frame.sample.vms)
        assert frame.host.ksm_saved_bytes is not None
        saved[frame.sample.monotonic_s - 1000] = frame.host.ksm_saved_bytes / used
    assert all(0.10 < share < 0.30 for now_s, share in saved.items() if now_s < 600)
    assert min(saved.values()) / saved[540] == pytest.approx(0.5, abs=0.08)
    assert saved[1800] > 0.9 * saved[540]


def test_clones_that_begin_to_run_are_merged_after_two_passes() -> None:
    world = make_world("ksm-gold", vms=10)
    sharing = world.host.sharing
    sharing.run = Run.UNMERGE
    run(world, 5)
    assert sharing.saved == 0
    sharing.run = Run.MERGE
    pass_s = sharing.candidates / sharing.scan_rate
    run(world, int(2 * pass_s))
    assert 0.05 < sharing.saved / resident(world) < 0.30


def test_strangers_share_little() -> None:
    world = run(make_world("ksm-diverse"), 300)
    assert 0 < world.host.sharing.saved < 0.08 * resident(world)


def test_a_host_with_twice_its_memory_thrashes_until_something_is_killed() -> None:
    seen = []
    for frame in frames("swap-thrash", 900):
        seen.append(frame)
        if any("OOM killer" in notice for notice in frame.sample.notices):
            break
    assert max(level(frame) for frame in seen) is Level.CRITICAL
    assert max(frame.host.psi_full_avg10_ratio or 0 for frame in seen) > 0.10
    swapped = [(frame.sample.host.swap_in_bytes or 0, frame.sample.host.swap_out_bytes or 0) for frame in seen]
    assert swapped[-1][0] - swapped[0][0] > 2 * 2**30
    assert swapped[-1][1] - swapped[0][1] > 10 * 2**30
    assert any("OOM killer" in notice for frame in seen for notice in frame.sample.notices)


def test_a_third_of_the_guests_without_driver_is_left_alone() -> None:
    world = run(make_world("no-driver-30"), 120)
    without = [guest for guest in world.guests if not guest.plan.has_driver]
    assert 0.2 < len(without) / len(world.guests) < 0.4
    assert all(guest.current == guest.plan.maximum and guest.report is None for guest in without)
    ballooned = sum(guest.plan.maximum - guest.current for guest in world.guests)
    assert ballooned > 0.1 * world.host.total
    assert (world.host.oom_kills, sum(guest.oom_kills for guest in world.guests)) == (0, 0)


def test_a_flaky_connection_breaks_for_twenty_seconds() -> None:
    seen = [frame.sample.monotonic_s for frame in frames("flaky-libvirt", 700, vms=8, every_s=1)]
    gaps = [later - earlier for earlier, later in pairwise(seen) if later - earlier > 1]
    assert gaps == [21, 21]
    (*_, last) = frames("flaky-libvirt", 30)
    assert sum(vm.is_stale for vm in last.vms) / len(last.vms) == pytest.approx(0.1, abs=0.06)


def test_snapshots_stun_their_vms_visibly_and_their_counters_stand_still() -> None:
    stunned = []
    told: dict[str, GuestSample | None] = {}
    for frame in frames("snapshot-stun", 700, every_s=1):
        paused = {vm.name: vm for vm in frame.vms if vm.state == VmState.PAUSED}
        stunned.append({name: vm.answer for name, vm in paused.items()})
        figures = {vm.name: vm.guest for vm in frame.sample.vms if vm.name in paused}
        assert all(told[name] == figures[name] for name in figures.keys() & told.keys())
        told = figures
        assert {vm.condition for vm in paused.values()} <= {Condition.PAUSED}
        assert not any(vm.condition in {Condition.STARVED, Condition.THRASH} for vm in frame.vms)
    begun = [name for before, now in pairwise(stunned) for name in now.keys() - before.keys()]
    assert len(begun) == 10
    assert {answer for vms in stunned for answer in vms.values()} == {Answer.BUSY}
    assert stunned[-1] == {}


def test_users_who_all_come_at_once_press_the_host_and_leave_it_empty_at_night() -> None:
    levels, held, swapped = [], [], []
    for frame in frames("diurnal-peak", 18 * 3600, vms=2, every_s=120):
        levels.append(level(frame))
        held.append(sum(vm.rss_bytes or 0 for vm in frame.sample.vms))
        swapped.append(frame.sample.host.swap_out_bytes)
    window = 4 * 30
    peak = max(range(len(held) - window), key=lambda at: sum(held[at : at + window]))
    assert set(levels[peak : peak + window]) == {Level.WATCH, Level.SOFT}
    night = peak + window // 2 + 12 * 30
    assert {levels[at] for at in range(night - 90, night + 30)} == {Level.CALM}
    assert min(held) < 0.6 * max(held)
    assert swapped[-1] == 0


def test_somebody_else_moves_balloons_that_nobody_asked_to_move() -> None:
    """That vmtop notices it waits for the balancer, which has to know what it asked for itself."""
    began: dict[str, int | None] = {}
    moved: set[str] = set()
    last = None
    for last in frames("foreign-balancer", 600):
        sizes = {vm.name: vm.balloon_bytes for vm in last.sample.vms}
        began = began or sizes
        moved |= {name for name, size in sizes.items() if size != began[name]}
    assert last is not None
    assert len(moved) > 0.9 * len(began)
    assert last.host.available_bytes is not None
    assert last.host.total_bytes is not None
    assert last.host.available_bytes / last.host.total_bytes == pytest.approx(0.2, abs=0.05)
    assert not any("OOM" in notice for notice in last.sample.notices)


def test_hostile_names_reach_the_sample_unchanged() -> None:
    (frame,) = frames("hostile-names", 0)
    assert [vm.name for vm in frame.vms] == list(HOSTILE_NAMES)
    assert {"\n", "\x1b", "\u202e"} <= set("".join(HOSTILE_NAMES))
    assert max(map(len, HOSTILE_NAMES)) == 255


def test_a_mixed_fleet_has_every_kind_of_trouble_and_survives() -> None:
    seen: set[Condition] = set()
    for frame in frames("mixed-fleet-1000", 3600, vms=20, every_s=15):
        seen |= {vm.condition for vm in frame.vms}
    assert {Condition.NO_DRIVER, Condition.STALE, Condition.PAUSED, Condition.OFF} <= seen


def test_a_thousand_vms_are_struck_by_faults_of_all_kinds_within_an_hour() -> None:
    """Counted from the table, since an hour of them takes longer than a test may."""
    (script,) = (
        director for director in SCENARIOS["mixed-fleet-1000"].directors() if isinstance(director, FaultScript)
    )
    often = {hazard.fault: hazard.per_hour for hazard in script.hazards}
    assert often.keys() == {*GUEST_FAULTS, *HOST_FAULTS}
    assert all(0 < 1000 * often[name] <= 12 for name in GUEST_FAULTS)
    assert all(0 < often[name] <= 1 for name in HOST_FAULTS)


def test_a_thousand_vms_can_be_read() -> None:
    (first, second) = frames("mixed-fleet-1000", 20, every_s=20)
    assert len(first.vms) == len(second.vms) == 1000
    assert 4 * 2**40 < (second.host.total_bytes or 0) < 8 * 2**40


def test_demand_does_not_depend_on_what_an_operator_does() -> None:
    left_alone, squeezed = make_world("calm"), make_world("calm")
    for guest in squeezed.guests:
        guest.target = int(0.9 * guest.plan.maximum)
    for world in (left_alone, squeezed):
        run(world, 600)
    assert all(guest.oom_kills == 0 for guest in squeezed.guests)
    assert [guest.demand.pages_at(600) for guest in left_alone.guests] == [
        guest.demand.pages_at(600) for guest in squeezed.guests
    ]
    assert [guest.current for guest in left_alone.guests] != [guest.current for guest in squeezed.guests]


def test_demand_does_not_depend_on_who_else_is_there() -> None:
    few, many = run(make_world("mixed-fleet-1000", vms=30), 300), run(make_world("mixed-fleet-1000", vms=90), 300)
    untouched = [
        (one, other)
        for one, other in zip(few.guests, many.guests, strict=False)
        if one.is_running and other.is_running and one.oom_kills == other.oom_kills == 0
        if one.booted_at < 0 and other.booted_at < 0
    ]
    assert len(untouched) > 20
    assert [one.demand.pages_at(300) for one, _ in untouched] == [other.demand.pages_at(300) for _, other in untouched]


def test_an_unknown_scenario_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(UsageError, match=r"no scenario is called 'swap-trash'\. Did you mean 'swap-thrash'\?") as error:
        find_scenario("swap-trash")
    assert all(name in str(error.value) for name in scenario_names())


def test_a_host_without_vms_is_refused() -> None:
    with pytest.raises(UsageError, match="give a number from 1"):
        make_world("calm", vms=0)


def test_the_list_has_a_line_and_a_sentence_for_each_scenario() -> None:
    lines = describe_scenarios().splitlines()
    assert [line.split()[0] for line in lines] == list(scenario_names())
    assert all(line.endswith(".") for line in lines)
    assert all(len(line) <= 120 for line in lines)


def test_the_host_grows_with_the_fleet() -> None:
    small, large = make_world("overcommit", vms=20), make_world("overcommit", vms=80)
    assert large.host.total > 3 * small.host.total
    assert sum(guest.starts_at == NEVER for guest in large.guests) > 0
    assert large.host.total % PAGES_PER_GIB == 0
