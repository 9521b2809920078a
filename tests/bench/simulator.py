"""Simulated seconds per second of CPU, and the share of a core that a live demo takes."""

import time
from collections.abc import Iterator

from tests.clocks import HandClock
from vmtop.backends.simulator.backend import SimulatorBackend

BUDGET_S = 4.0


def measure() -> Iterator[str]:
    """Let fleets of different sizes run for some seconds."""
    for vms, goal in ((10, 5_000), (40, None), (1_000, 100)):
        clock = HandClock()
        backend = SimulatorBackend(scenario="overcommit", vms=vms, clock=clock)
        backend.read_sample()
        began_s, simulated_s = time.process_time(), 0
        while time.process_time() - began_s < BUDGET_S:
            clock.sleep(10.0)
            backend.read_sample()
            simulated_s += 10
        rate = simulated_s / (time.process_time() - began_s)
        yield f"{vms:5} VMs: {rate:8.0f} simulated s/s" + (
            f" (to reach: {goal})" if goal else f"; live {100 / rate:.2f} %"
        )
