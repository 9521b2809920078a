from dataclasses import replace

import pytest

from tests.backends.simulator.worlds import EPOCH_S, HeldClock
from tests.contract import check_contract
from vmtop.backends.simulator.backend import GUEST_SECONDS_PER_READ, SimulatorBackend
from vmtop.derive.frame import derive_frame
from vmtop.errors import ConnectError, UsageError
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import Sample


def read_series(scenario: str, steps: int, *, seed: int = 1, every_s: float = 1.0) -> list[Sample]:
    clock = HeldClock()
    backend = SimulatorBackend(scenario, clock=clock, seed=seed, vms=12)
    samples = []
    for _ in range(steps):
        clock.now_s += every_s
        samples.append(backend.read_sample())
    return samples


@pytest.mark.parametrize("scenario", ["overcommit", "mixed-fleet-1000", "swap-thrash"])
def test_two_runs_give_the_same_bytes(scenario: str) -> None:
    first, second = (repr(read_series(scenario, 40, every_s=2.7)) for _ in range(2))
    assert first == second
    assert first != repr(read_series(scenario, 40, every_s=2.7, seed=2))


def test_the_world_is_the_same_however_often_somebody_looks() -> None:
    often, seldom = read_series("overcommit", 90), read_series("overcommit", 3, every_s=30.0)
    assert [repr(replace(sample, finished=())) for sample in often[29::30]] == [
        repr(replace(sample, finished=())) for sample in seldom
    ]
    told = [[job for sample in samples for job in sample.finished] for samples in (often, seldom)]
    assert told[0] == told[1] != []


def test_the_backend_says_what_it_is() -> None:
    backend = SimulatorBackend(clock=HeldClock(), seed=3, vms=12)
    assert (backend.name, backend.is_simulated) == ("simulator", True)
    assert backend.uri == "simulator:///overcommit?seed=3&vms=12"
    assert not backend.capability.has_events


def test_time_in_samples_is_that_of_the_clock() -> None:
    clock = HeldClock(now_s=5.0)
    backend = SimulatorBackend(clock=clock, vms=4)
    clock.now_s += 12.25
    sample = backend.read_sample()
    assert sample.time_s == pytest.approx(EPOCH_S + 17.25)
    assert sample.monotonic_s == pytest.approx(1_017.25)
    assert sample.read_s == 0.0


def test_a_world_at_speed_lives_faster_than_the_clock() -> None:
    clock = HeldClock()
    backend = SimulatorBackend(clock=clock, vms=4, speed=60.0)
    clock.now_s += 10
    assert backend.read_sample().monotonic_s == pytest.approx(1_600)


def test_after_a_long_pause_the_world_catches_up_in_bounded_steps() -> None:
    clock = HeldClock()
    backend = SimulatorBackend(clock=clock, vms=40)
    step_s = GUEST_SECONDS_PER_READ // 40
    clock.now_s += 3.5 * step_s
    ages_s = [1_000 + clock.now_s - backend.read_sample().monotonic_s for _ in range(5)]
    assert ages_s == pytest.approx([2.5 * step_s, 1.5 * step_s, 0.5 * step_s, 0, 0])


def test_a_clock_that_stands_still_changes_nothing() -> None:
    backend = SimulatorBackend(clock=HeldClock(), vms=8)
    assert repr(backend.read_sample()) == repr(backend.read_sample())


def test_a_reader_out_of_step_sees_steady_rates() -> None:
    clock = HeldClock()
    backend = SimulatorBackend("swap-thrash", clock=clock, vms=12)
    frame = None
    rates = []
    for _ in range(40):
        clock.now_s += 0.7
        frame = derive_frame(frame, backend.read_sample(), DEFAULT_POLICY)
        rates.append(frame.host.ksm_cpu_ratio)
    assert rates[0] is None
    assert all(rate is not None and rate == pytest.approx(0.11, abs=0.01) for rate in rates[1:])


def test_the_second_sample_has_rates() -> None:
    clock = HeldClock()
    backend = SimulatorBackend(clock=clock)
    frame = derive_frame(None, backend.read_sample(), DEFAULT_POLICY)
    clock.now_s += 5
    frame = derive_frame(frame, backend.read_sample(), DEFAULT_POLICY)
    assert frame.host.swap_in_bytes_per_s is not None
    assert frame.host.swap_in_bytes_per_s > 0
    swapping = [vm for vm in frame.vms if vm.guest_swap_in_bytes_per_s]
    assert swapping


def test_a_cut_connection_is_an_error_that_says_so_and_passes() -> None:
    clock = HeldClock()
    backend = SimulatorBackend("flaky-libvirt", clock=clock, vms=4)
    clock.now_s = 299
    backend.read_sample()
    clock.now_s = 305
    with pytest.raises(ConnectError, match=r"flaky-libvirt\?seed=1&vms=4: the simulated connection .* is down"):
        backend.read_sample()
    clock.now_s = 321
    assert backend.read_sample().vms


def test_it_keeps_the_contract_of_all_backends() -> None:
    class SteppingClock(HeldClock):
        def monotonic(self) -> float:
            self.now_s += 0.5
            return super().monotonic()

    check_contract(SimulatorBackend("mixed-fleet-1000", clock=SteppingClock(), vms=80), least_vms=70)


def test_an_unknown_scenario_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="Did you mean 'overcommit'"):
        SimulatorBackend("overcomit", clock=HeldClock())


def test_nothing_is_announced() -> None:
    backend = SimulatorBackend(clock=HeldClock(), vms=4)
    told: list[str] = []
    backend.on_change(lambda: told.append("changed"))
    assert backend.read_sample().vms
    assert told == []
