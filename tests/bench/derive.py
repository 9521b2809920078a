"""Time to derive a frame and to write it as JSON, for each VM."""

import time
from collections.abc import Callable, Iterator
from statistics import median

from tests.clocks import HandClock
from vmtop.backends.simulator.backend import SimulatorBackend
from vmtop.derive.frame import derive_frame
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.viewmodel.plain import format_json
from vmtop.viewmodel.ui_state import UiState

ROUNDS = 9


def measure() -> Iterator[str]:
    """Derive and write the same fleet again and again."""
    for vms in (100, 1_000, 10_000):
        clock = HandClock()
        backend = SimulatorBackend(scenario="overcommit", vms=vms, clock=clock)
        earlier = derive_frame(None, backend.read_sample(), DEFAULT_POLICY)
        clock.sleep(1.0)
        sample = backend.read_sample()
        frame = derive_frame(earlier, sample, DEFAULT_POLICY)
        derive_us = _median_us(lambda a=earlier, b=sample: derive_frame(a, b, DEFAULT_POLICY)) / vms  # type: ignore[misc]
        write_us = _median_us(lambda a=frame: format_json(a, UiState())) / vms  # type: ignore[misc]
        yield f"{vms:6} VMs: derive {derive_us:5.1f} us, JSON {write_us:5.1f} us for each"


def _median_us(call: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        call()
        times.append((time.process_time() - began_s) * 1e6)
    return median(times)
