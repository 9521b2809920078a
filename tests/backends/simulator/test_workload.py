from itertools import pairwise
from statistics import mean

import pytest

from tests.backends.simulator.worlds import make_plan
from vmtop.backends.simulator.dice import Dice
from vmtop.backends.simulator.plan import PAGES_PER_GIB, PAGES_PER_MIB, Kind
from vmtop.backends.simulator.workload import DAY_S, MOST_SHARE, Demand

SEED = Dice(1)


def series(demand: Demand, ticks: range) -> list[int]:
    return [demand.pages_at(tick) for tick in ticks]


def test_steady_programs_want_their_share_and_drift_a_little() -> None:
    plan = make_plan(kind=Kind.STEADY, utilisation=0.5)
    shares = [pages / plan.maximum for pages in series(Demand(SEED, plan), range(0, 20_000, 10))]
    assert mean(shares) == pytest.approx(0.5, rel=0.01)
    assert 0.46 < min(shares) < 0.49
    assert 0.51 < max(shares) < 0.54


@pytest.mark.parametrize("kind", Kind)
def test_demand_is_the_same_whether_or_not_somebody_looked_before(kind: Kind) -> None:
    plan = make_plan(uid=3, kind=kind, leak_pages_per_s=100.0 if kind is Kind.LEAK else 0.0)
    watched, unwatched = Demand(SEED, plan), Demand(SEED, plan)
    series(watched, range(-50, 4000))
    assert watched.pages_at(4000) == unwatched.pages_at(4000)


@pytest.mark.parametrize("kind", Kind)
def test_demand_never_jumps_but_at_bursts(kind: Kind) -> None:
    plan = make_plan(kind=kind, utilisation=0.4)
    pages = series(Demand(SEED, plan), range(3600))
    jumps = [abs(now - before) / plan.maximum for before, now in pairwise(pages)]
    assert (max(jumps) > 0.1) == (kind is Kind.BURSTY)


def test_demand_of_a_day_has_one_peak_and_one_trough() -> None:
    plan = make_plan(kind=Kind.DIURNAL, utilisation=0.5, phase=0.0)
    pages = series(Demand(SEED, plan), range(0, DAY_S, 600))
    assert pages.index(max(pages)) == pytest.approx(36, abs=6)
    assert pages.index(min(pages)) == pytest.approx(108, abs=6)
    assert max(pages) / min(pages) == pytest.approx((0.55 + 0.81) / 0.55, rel=0.15)


def test_most_bursts_end_within_two_minutes() -> None:
    lengths = []
    for uid in range(1, 200):
        plan = make_plan(uid=uid, kind=Kind.BURSTY, utilisation=0.3)
        length = 0
        demand = Demand(SEED, plan)
        for tick in range(3600):
            if demand.pages_at(tick) > 0.4 * plan.maximum:
                length += 1
            elif length:
                lengths.append(length)
                length = 0
    assert len(lengths) > 300
    assert sum(length < 120 for length in lengths) / len(lengths) == pytest.approx(0.88, abs=0.04)


def test_a_leak_grows_at_its_rate_and_begins_anew_at_its_limit() -> None:
    rate = 20 * PAGES_PER_MIB / 60
    plan = make_plan(kind=Kind.LEAK, leak_pages_per_s=rate, utilisation=0.4, phase=0.0)
    demand = Demand(SEED, plan)
    early, late = (mean(series(demand, range(start, start + 300))) for start in (0, 3000))
    assert late - early == pytest.approx(3000 * rate, rel=0.1)
    hours = series(demand, range(4000, 30_000, 60))
    assert max(hours) <= MOST_SHARE * plan.maximum
    assert any(now < 0.5 * before for before, now in pairwise(hours))


def test_a_batch_job_is_busy_a_quarter_of_the_hour_and_then_reads_more() -> None:
    demand = Demand(SEED, make_plan(kind=Kind.BATCH, phase=0.0))
    factors = []
    for tick in range(3600):
        demand.pages_at(tick)
        factors.append(demand.read_factor)
    assert factors.count(10) == pytest.approx(900, abs=20)
    assert set(factors) == {1, 10}


def test_killed_programs_come_back_slowly_from_a_share_of_what_they_want() -> None:
    plan = make_plan(maximum=PAGES_PER_GIB, utilisation=0.5)
    demand, untouched = Demand(SEED, plan), Demand(SEED, plan)
    demand.restart(100, 0.25)
    pages = series(demand, range(50, 200))
    wanted = series(untouched, range(50, 200))
    assert pages[0] == wanted[0] // 4
    assert pages[50] == wanted[50] // 4
    assert wanted[70] // 4 < pages[70] < wanted[70]
    assert pages[91:] == wanted[91:]
