import pytest

from vmtop.backends.simulator.pressure import NO_PRESSURE, PressureMeter, shares


def wait(meter: PressureMeter, some: float, full: float, seconds: int) -> None:
    for second in range(seconds):
        meter.add(some, full)
        if second % 2:
            meter.average()


def test_constant_waiting_becomes_the_average() -> None:
    meter = PressureMeter()
    wait(meter, 0.10, 0.04, 1200)
    pressure = meter.read()
    assert pressure.some_avg10_ratio == pytest.approx(0.10, abs=0.001)
    assert pressure.some_avg300_ratio == pytest.approx(0.10, abs=0.002)
    assert pressure.full_avg60_ratio == pytest.approx(0.04, abs=0.001)
    assert (meter.some_us, meter.full_us) == (120_000_000, 48_000_000)


def test_after_ten_seconds_the_short_average_has_come_two_thirds_of_the_way() -> None:
    meter = PressureMeter()
    wait(meter, 1.0, 1.0, 10)
    assert meter.read().some_avg10_ratio == pytest.approx(1 - 2.718281828**-1, abs=0.01)
    assert meter.read().some_avg60_ratio == pytest.approx(1 - 2.718281828 ** (-1 / 6), abs=0.01)


def test_pressure_that_is_over_falls_to_nothing() -> None:
    meter = PressureMeter()
    wait(meter, 0.5, 0.5, 60)
    for _ in range(3000):
        meter.average()
    assert meter.is_quiet
    assert meter.read() is NO_PRESSURE


@pytest.mark.parametrize(
    ("nonidle", "delayed", "cpus", "some", "full"),
    [
        (4, 0, 8, 0, 0),
        (4, 1, 8, 0.25, 0.25),
        (8, 1, 4, 0.25, 0),
        (8, 6, 4, 1, 0.5),
        (8, 8, 4, 1, 1),
        (0, 0, 4, 0, 0),
    ],
)
def test_shares_follow_the_comment_in_psi_c(
    nonidle: float, delayed: float, cpus: float, some: float, full: float
) -> None:
    assert shares(nonidle, delayed, cpus) == pytest.approx((some, full))
