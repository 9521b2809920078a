"""The last values of every figure, with gaps where there was nothing to know, in bounded memory."""

import pytest

from tests.builders import START_MONOTONIC_S, make_frame, make_guest, make_host, make_off_vm, make_vm, make_vms, vm_uuid
from vmtop.derive.frame import Frame
from vmtop.derive.series import HOST_SERIES, VM_SERIES, History
from vmtop.units import GIB, KIB


def frame_at(at_s: float, *vm_numbers: int, host_free_bytes: int | None = GIB) -> Frame:
    vms = [make_vm(uuid=vm_uuid(number), balloon_bytes=number * GIB) for number in vm_numbers]
    return make_frame(vms, at_s=at_s, host=make_host(free_bytes=host_free_bytes))


def filled(*frames: Frame, capacity: int = 100) -> History:
    history = History(capacity)
    for frame in frames:
        history.add(frame)
    return history


def test_values_come_back_oldest_first_on_one_time_axis() -> None:
    history = filled(*(frame_at(at_s, 1, 2) for at_s in (1, 2, 3)))
    series = history.vm(vm_uuid(2))
    assert series.times_s == tuple(START_MONOTONIC_S + at_s for at_s in (1, 2, 3))
    assert set(series.values) == set(VM_SERIES)
    assert series.values["balloon_bytes"] == (2 * GIB,) * 3
    assert {len(values) for values in series.values.values()} == {3}


def test_values_are_exact_enough_for_a_chart() -> None:
    frame = make_frame(9)
    history = filled(frame)
    for vm in frame.vms:
        series = history.vm(vm.uuid)
        for name in VM_SERIES:
            assert series.values[name][0] == pytest.approx(getattr(vm, name), rel=1e-6)
    for name in HOST_SERIES:
        assert history.host().values[name][0] == pytest.approx(getattr(frame.host, name), rel=1e-6)


def test_what_is_unknown_is_a_gap() -> None:
    history = filled(frame_at(1, 1), frame_at(2, 1, host_free_bytes=None), frame_at(3, 1))
    assert history.host().values["free_bytes"] == (GIB, None, GIB)


def test_a_vm_that_was_not_there_has_gaps_in_its_place() -> None:
    history = filled(frame_at(1, 1), frame_at(2, 2, 1), frame_at(3, 2), frame_at(4, 1, 2))
    assert history.vm(vm_uuid(1)).values["balloon_bytes"] == (GIB, GIB, None, GIB)
    assert history.vm(vm_uuid(2)).values["balloon_bytes"] == (None, 2 * GIB, 2 * GIB, 2 * GIB)
    assert history.vm(vm_uuid(3)).values["balloon_bytes"] == (None,) * 4


def test_a_vm_that_is_off_has_gaps() -> None:
    history = filled(make_frame([make_off_vm(uuid=vm_uuid(1))]))
    assert history.vm(vm_uuid(1)).values["used_bytes"] == (None,)


def test_stale_figures_of_a_guest_draw_no_line_and_those_of_the_host_do() -> None:
    stale = make_vm(guest=make_guest(last_update_s=1))
    values = filled(make_frame([stale])).vm(vm_uuid(1)).values
    assert values["used_bytes"] == (None,)
    assert values["cache_bytes"] == (None,)
    assert values["rss_bytes"] == (3 * GIB,)


def test_the_oldest_points_give_way() -> None:
    history = filled(*(frame_at(at_s, 1) for at_s in range(10)), capacity=3)
    assert history.host().times_s == tuple(START_MONOTONIC_S + at_s for at_s in (7, 8, 9))


def test_going_back_in_time_forgets_what_came_later() -> None:
    history = filled(*(frame_at(at_s, 1) for at_s in (1, 2, 3, 2)))
    assert history.host().times_s == (START_MONOTONIC_S + 1, START_MONOTONIC_S + 2)


def test_an_empty_history_has_series_without_points() -> None:
    history = History()
    for series in (history.host(), history.vm(vm_uuid(1))):
        assert series.times_s == ()
        assert set(series.values.values()) == {()}


def test_many_vms_keep_fewer_points_instead_of_more_memory() -> None:
    few, many = make_vms(10), make_vms(500)
    history = History(100, most_bytes=512 * KIB)
    for at_s in range(100):
        history.add(make_frame(many if at_s < 50 else few, at_s=at_s))
        points = len(history.host().times_s)
        if at_s == 49:
            assert 15 < points <= 20
    assert points > 50


def test_a_reader_keeps_its_points_while_others_are_added() -> None:
    history = filled(frame_at(1, 1))
    series = history.vm(vm_uuid(1))
    history.add(frame_at(2, 1))
    assert len(series.times_s) == 1
    assert len(history.vm(vm_uuid(1)).times_s) == 2
