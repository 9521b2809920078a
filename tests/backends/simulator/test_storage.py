import pytest

from vmtop.backends.simulator.storage import MOST_BUSY, Pool


def test_jobs_get_what_the_others_leave_and_at_least_their_share() -> None:
    pool = Pool(1300, 1e-3)
    assert pool.left_for_jobs() == 1300
    pool.busy_now = 500
    assert pool.left_for_jobs() == 800
    pool.busy_now = 1300
    assert pool.left_for_jobs() == 300


@pytest.mark.parametrize(("busy", "times"), [(0, 1), (500, 2), (900, 10), (5_000, 1 / (1 - MOST_BUSY))])
def test_requests_take_longer_the_busier_the_disks_are(busy: int, times: float) -> None:
    pool = Pool(1000, 1e-3)
    pool.busy_now = busy
    pool.end_tick()
    assert pool.latency_s == pytest.approx(times * 1e-3)
    assert pool.busy_now == 0
