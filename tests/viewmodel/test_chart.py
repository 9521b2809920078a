"""History to charts: which reading counts in which column, what the scales say, and that nothing is made up."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import (
    START_S,
    make_frame,
    make_guest,
    make_host,
    make_off_vm,
    make_pressure,
    make_qemu,
    make_vm,
    vm_uuid,
)
from vmtop.derive.frame import Frame
from vmtop.derive.series import History
from vmtop.model.sample import HostSample, VmSample
from vmtop.units import GIB, MIB
from vmtop.viewmodel.chart import (
    SPANS_S,
    Chart,
    Curve,
    TimeAxis,
    build_host_charts,
    build_time_axis,
    build_vm_charts,
)
from vmtop.viewmodel.tone import Tone

UUID = vm_uuid(1)
COLUMNS = 30


def play(vms: Sequence[VmSample], *, hosts: Sequence[HostSample | None] = (None,)) -> tuple[Frame, History]:
    """One VM and the host as they were every 5 s; the host stays as it was last."""
    history, frame = History(), None
    for number, vm in enumerate(vms):
        host = hosts[min(number, len(hosts) - 1)]
        frame = make_frame([vm], at_s=5.0 * number, previous=frame, host=host)
        history.add(frame)
    assert frame is not None
    return frame, history


def reporting(number: int, **figures: int) -> VmSample:
    """A VM of 4 GiB that sends figures at each reading."""
    defaults = {"usable_bytes": 2 * GIB, "free_bytes": 1 * GIB, "cache_bytes": 1 * GIB}
    return make_vm(guest=make_guest(last_update_s=START_S + 5 * number, **{**defaults, **figures}))


def curves_of(chart: Chart) -> dict[str, Curve]:
    return {curve.name: curve for curve in chart.curves}


def words(chart: Chart) -> str:
    return " | ".join(span.text for span in (*chart.warnings, *chart.remarks))


# -- the axis of time


def test_the_newest_reading_is_in_the_last_column() -> None:
    axis = build_time_axis([0.0, 2.0, 4.0], 30)
    assert axis.span_s == 60
    assert axis.columns[-1] == (2,)
    assert axis.columns[-3:] == ((0,), (1,), (2,))
    assert set(axis.columns[:-3]) == {()}


@pytest.mark.parametrize(
    ("length_s", "span_s"), [(0, 60), (60, 60), (61, 120), (290, 300), (3_600, 3_600), (9_999, 3_600)]
)
def test_the_axis_is_as_long_as_the_shortest_span_that_holds_all(length_s: float, span_s: int) -> None:
    assert build_time_axis([1_000.0, 1_000.0 + length_s], 10).span_s == span_s


def test_without_readings_all_columns_are_empty() -> None:
    assert build_time_axis([], 4).columns == ((), (), (), ())
    assert build_time_axis([1.0], 0).columns == ()


def test_a_reading_counts_until_the_next_one() -> None:
    axis = build_time_axis([0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 59.0], 12)
    assert axis.columns == ((0,), (0,), (1,), (1,), (2,), (2,), (3,), (3,), (4,), (4,), (5,), (6,))


def test_a_column_keeps_its_readings_while_the_picture_moves_on() -> None:
    times_s = [2.0 * number for number in range(99)]
    before, after = build_time_axis(times_s[:96], 40).columns, build_time_axis(times_s, 40).columns
    assert after[:-2] == before[1:-1]


def test_an_outage_is_a_gap() -> None:
    axis = build_time_axis([0.0, 2.0, 4.0, 34.0, 36.0, 38.0], 20)
    known = [bool(column) for column in axis.columns]
    assert known == [False] * 7 + [True] * 2 + [False] * 9 + [True] * 2


def test_a_longer_delay_is_no_outage() -> None:
    axis = build_time_axis([0.0, 2.0, 4.0, 24.0, 44.0], 20)
    first = next(place for place, column in enumerate(axis.columns) if column)
    assert all(axis.columns[first:])


@given(st.lists(st.floats(0.01, 50.0), max_size=60), st.integers(1, 200), st.floats(0, 1e6))
def test_no_column_holds_what_came_after_it(steps: list[float], columns: int, start_s: float) -> None:
    times_s = [start_s]
    for step in steps:
        times_s.append(times_s[-1] + step)
    axis = build_time_axis(times_s, columns)
    assert len(axis.columns) == columns
    assert axis.columns[-1][-1] == len(times_s) - 1
    width_s = axis.span_s / columns
    for back, column in enumerate(reversed(axis.columns)):
        ends_s = times_s[-1] - (back - 1) * width_s
        assert all(times_s[index] <= ends_s for index in column)
        assert list(column) == sorted(column)


def test_amounts_are_the_last_of_a_column_and_rates_the_largest() -> None:
    axis = TimeAxis(60, ((0, 1, 2), (), (3,)))
    assert axis.last([1.0, 9.0, 2.0, None]) == (2.0, None, None)
    assert axis.peak([1.0, 9.0, None, 5.0]) == (9.0, None, 5.0)


@pytest.mark.parametrize("span_s", SPANS_S)
def test_labels_of_the_axis_say_how_long_ago(span_s: int) -> None:
    texts = {label.at: label.text for label in TimeAxis(span_s, ()).labels("now")}
    assert texts[1] == "now"
    assert texts[0] == f"-{span_s // 60}m"
    assert 4 <= len(texts) <= 7


# -- memory of a VM


def test_used_cache_free_and_given_back_fill_the_maximum() -> None:
    frame, history = play([replace(reporting(number), balloon_bytes=3 * GIB) for number in range(4)])
    page = build_vm_charts(frame, history, UUID, columns=COLUMNS)
    edges = {curve.name: (curve.bottoms and curve.bottoms[-1], curve.tops[-1]) for curve in page.charts[0].curves}
    assert edges == {
        "used": (0.0, 0.25),
        "cache": (0.25, 0.5),
        "free": (0.5, 0.75),
        "given back": (0.75, 1.0),
    }
    assert page.charts[0].labels[0].text == "4G"


def test_before_the_first_reading_nothing_is_drawn() -> None:
    frame, history = play([reporting(number) for number in range(4)])
    page = build_vm_charts(frame, history, UUID, columns=COLUMNS)
    for chart in page.charts:
        for curve in chart.curves:
            assert curve.tops[0] is None


def test_figures_from_before_the_balloon_shrank_do_not_stick_out_of_it() -> None:
    frame, history = play([reporting(0), replace(reporting(0), balloon_bytes=2 * GIB)])
    free = curves_of(build_vm_charts(frame, history, UUID, columns=COLUMNS).charts[0])["free"]
    assert free.bottoms is not None
    assert (free.bottoms[-1], free.tops[-1]) == (0.5, 0.5)


def test_stale_figures_are_a_gap_and_said_to_be_stale() -> None:
    frame, history = play([reporting(min(number, 2)) for number in range(12)])
    memory = build_vm_charts(frame, history, UUID, columns=COLUMNS).charts[0]
    used = curves_of(memory)["used"]
    assert used.tops[-1] is None
    assert any(top is not None for top in used.tops)
    assert memory.warnings == (("stale", Tone.STALE),)
    assert used.latest.tone is Tone.STALE
    assert curves_of(memory)["given back"].tops[-1] == 1.0


def test_what_only_the_host_sees_is_said_to_be_so() -> None:
    frame, history = play([make_vm(guest=None), make_vm(guest=None)])
    memory = build_vm_charts(frame, history, UUID, columns=COLUMNS).charts[0]
    assert "as the host sees it" in words(memory)
    assert curves_of(memory)["used"].tops[-1] == 0.75
    assert curves_of(memory)["cache"].tops[-1] is None
    assert curves_of(memory)["cache"].latest == ("?", Tone.UNKNOWN)


def test_of_a_vm_that_is_off_nothing_is_drawn_and_it_says_why() -> None:
    frame, history = play([make_off_vm(uuid=UUID), make_off_vm(uuid=UUID)])
    page = build_vm_charts(frame, history, UUID, columns=COLUMNS)
    for chart in page.charts:
        assert all(top is None for curve in chart.curves for top in curve.tops)
        assert "off" in words(chart)


def test_a_vm_that_is_gone_has_a_past_and_no_present() -> None:
    _, history = play([reporting(number) for number in range(4)])
    frame = make_frame([], at_s=20.0)
    history.add(frame)
    used = curves_of(build_vm_charts(frame, history, UUID, columns=COLUMNS).charts[0])["used"]
    assert used.latest == ("?", Tone.UNKNOWN)
    assert used.tops[-1] is None
    assert any(top is not None for top in used.tops)


def test_readings_after_the_frame_that_is_shown_are_left_out() -> None:
    frame, history = play([reporting(number) for number in range(4)])
    shown = build_vm_charts(frame, history, UUID, columns=COLUMNS)
    later = make_frame([reporting(4, usable_bytes=1 * MIB, free_bytes=0)], at_s=20.0, previous=frame)
    history.add(later)
    assert build_vm_charts(frame, history, UUID, columns=COLUMNS) == shown
    assert build_vm_charts(later, history, UUID, columns=COLUMNS) != shown


def test_without_a_history_there_are_the_figures_of_now() -> None:
    frame, _ = play([reporting(0)])
    page = build_vm_charts(frame, None, UUID, columns=COLUMNS)
    assert curves_of(page.charts[0])["used"].latest == ("2.00G", Tone.NORMAL)
    assert set(curves_of(page.charts[0])["used"].tops) == {None}


# -- swap and pressure


def test_swap_has_a_scale_in_bytes_and_faults_one_of_their_own() -> None:
    vms = [
        replace(
            reporting(number, swap_in_bytes=number * 5 * 300 * 1024, swap_out_bytes=0),
            qemu=make_qemu(major_faults=number * 5 * 70),
        )
        for number in range(6)
    ]
    frame, history = play(vms)
    swap = build_vm_charts(frame, history, UUID, columns=COLUMNS).charts[1]
    assert [label.text for label in swap.labels] == ["512K/s", "0", "256K/s"]
    assert [label.text for label in swap.right_labels] == ["100/s", "0", "50/s"]
    curves = curves_of(swap)
    assert curves["guest in"].tops[-1] == pytest.approx(300 / 512)
    assert curves["guest out"].tops[-1] == 0
    assert curves["host faults"].tops[-1] == pytest.approx(0.7)
    assert curves["host faults"].latest.text == "70/s"


def test_the_first_reading_has_no_rate_and_that_is_a_gap() -> None:
    frame, history = play([reporting(0)])
    swap = build_vm_charts(frame, history, UUID, columns=COLUMNS).charts[1]
    assert all(top is None for curve in swap.curves for top in curve.tops)
    assert words(swap).split(" | ")[0]


def test_a_short_burst_stays_in_sight() -> None:
    hosts = [make_host(pressure=make_pressure(some_ratio=0.3 if number == 20 else 0.0)) for number in range(61)]
    frame, history = play([reporting(number) for number in range(61)], hosts=hosts)
    some = curves_of(build_host_charts(frame, history, columns=10).charts[2])["some"]
    assert max(top for top in some.tops if top is not None) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("ratio", "label"), [(0.0, "4%"), (0.04, "4%"), (0.05, "10%"), (0.15, "20%"), (0.21, "50%"), (1.0, "100%")]
)
def test_the_scale_of_pressure_is_the_lowest_that_holds_it(ratio: float, label: str) -> None:
    frame, history = play([reporting(0), reporting(1)], hosts=[make_host(pressure=make_pressure(some_ratio=ratio))])
    pressure = build_host_charts(frame, history, columns=COLUMNS).charts[2]
    assert pressure.labels[0].text == label
    assert all(top is None or top <= 1 for curve in pressure.curves for top in curve.tops)


def test_what_is_said_to_be_zero_is_drawn_as_zero() -> None:
    frame, history = play([reporting(0), reporting(1)], hosts=[make_host(pressure=make_pressure(some_ratio=0.0001))])
    some = curves_of(build_host_charts(frame, history, columns=COLUMNS).charts[2])["some"]
    assert some.latest.text == "0%"
    assert some.tops[-1] == 0


def test_unknown_pressure_is_a_gap_with_its_reason() -> None:
    frame, history = play([reporting(0), reporting(1)], hosts=[make_host(pressure=None)])
    pressure = build_host_charts(frame, history, columns=COLUMNS).charts[2]
    assert all(top is None for curve in pressure.curves for top in curve.tops)
    assert pressure.warnings[0].text == frame.host.unknown["psi_full_avg10_ratio"]


def test_a_reason_from_outside_is_made_harmless() -> None:
    hostile = make_host(pressure=None, unknown={"pressure": "\x1b]52;c;x\x07[red]"})
    frame, history = play([reporting(0), reporting(1)], hosts=[hostile])
    pressure = build_host_charts(frame, history, columns=COLUMNS).charts[2]
    assert "[red]" in words(pressure)
    assert words(pressure).isprintable()


# -- memory of the host


def test_the_memory_of_the_host_is_stacked_up_to_its_total() -> None:
    frame, history = play([reporting(0), reporting(1)])
    curves = build_host_charts(frame, history, columns=COLUMNS).charts[0].curves
    for lower, upper in pairwise(curves):
        assert upper.bottoms is not None
        assert upper.bottoms[-1] == lower.tops[-1]
    assert curves[-1].tops[-1] == 1.0
    assert curves[2].latest.text == "10.0G"


def test_without_the_vms_the_host_still_shows_what_is_free() -> None:
    frame, history = play([replace(reporting(0), rss_bytes=None, qemu=None) for _ in range(2)])
    curves = curves_of(build_host_charts(frame, history, columns=COLUMNS).charts[0])
    assert curves["VMs"].tops[-1] is None
    assert curves["VMs"].latest.tone is Tone.UNKNOWN
    assert curves["free"].tops[-1] == 1.0
    assert curves["droppable"].tops[-1] is not None


def test_charts_of_no_width_have_no_columns() -> None:
    frame, history = play([reporting(0), reporting(1)])
    for page in (build_host_charts(frame, history, columns=0), build_vm_charts(frame, history, UUID, columns=0)):
        assert all(curve.tops == () for chart in page.charts for curve in chart.curves)
