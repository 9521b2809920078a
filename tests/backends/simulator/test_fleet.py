import re
from collections import Counter

import pytest

from vmtop.backends.simulator.dice import Dice
from vmtop.backends.simulator.fleet import DEBIAN, FAMILIES, KINDS, SIZES, Template, sample_fleet
from vmtop.backends.simulator.plan import PAGES_PER_GIB, Kind

LARGE = sample_fleet(Dice(1), (Template(count=4000),))


def test_a_larger_fleet_begins_with_the_guests_of_a_smaller_one() -> None:
    assert sample_fleet(Dice(1), (Template(count=20),)) == LARGE[:20]


def test_another_seed_gives_another_fleet() -> None:
    assert sample_fleet(Dice(2), (Template(count=20),)) != LARGE[:20]


def test_names_and_uuids_are_those_of_a_real_host_and_differ() -> None:
    assert len({plan.name for plan in LARGE}) == len({plan.uuid for plan in LARGE}) == 4000
    assert {"web-03", "db-01", "ci-runner-07"} <= {plan.name for plan in LARGE}
    version_4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(version_4.fullmatch(plan.uuid) for plan in LARGE)


def test_sizes_kinds_and_families_come_in_their_shares() -> None:
    for shares, counts in (
        (SIZES, Counter(plan.maximum // PAGES_PER_GIB for plan in LARGE)),
        (KINDS, Counter(plan.kind for plan in LARGE)),
        (FAMILIES, Counter(plan.family for plan in LARGE)),
    ):
        assert {item: count / 4000 for item, count in counts.items()} == pytest.approx(dict(shares), abs=0.025)


def test_about_half_of_the_guests_want_less_than_half_of_their_memory() -> None:
    usual = sorted(plan.utilisation for plan in LARGE if plan.kind in {Kind.STEADY, Kind.DIURNAL})
    assert usual[len(usual) // 2] == pytest.approx(0.42, abs=0.01)


def test_a_template_decides_what_it_names_and_leaves_the_rest_to_chance() -> None:
    template = Template(count=3, prefix="clone", kind=Kind.IDLE, family=DEBIAN, gib=2, changes={"vcpus": 7})
    plans = sample_fleet(Dice(1), (template, Template(count=1)))
    assert [plan.name for plan in plans[:3]] == ["clone-01", "clone-02", "clone-03"]
    assert {(plan.kind, plan.family, plan.maximum, plan.vcpus) for plan in plans[:3]} == {
        (Kind.IDLE, DEBIAN, 2 * PAGES_PER_GIB, 7)
    }
    assert len({plan.utilisation for plan in plans[:3]}) == 3
    assert plans[3].utilisation == LARGE[3].utilisation


def test_no_plan_contradicts_itself() -> None:
    for plan in LARGE:
        assert 0 <= plan.file_hot <= plan.file_set <= plan.maximum
        assert 0 < plan.utilisation < 1
        assert plan.disk_bytes > 0
        assert (plan.leak_pages_per_s > 0) == (plan.kind is Kind.LEAK)
