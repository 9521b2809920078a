"""The head of the screen: what it says, in which order, and what goes first when there is no room."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import (
    START_MONOTONIC_S,
    make_frame,
    make_guest,
    make_host,
    make_ksm,
    make_pressure,
    make_qemu,
    make_vm,
    vm_uuid,
)
from tests.viewmodel.golden import check_golden
from tests.viewmodel.scenes import hostile_frame, text_of, troubled_frame
from vmtop.derive.frame import Frame
from vmtop.model.failure import Failure
from vmtop.model.sample import KsmSample
from vmtop.units import GIB, MIB
from vmtop.viewmodel.formats import line_width
from vmtop.viewmodel.summary import build_summary, summary_rows
from vmtop.viewmodel.tone import Line, Tone
from vmtop.viewmodel.ui_state import UiState

URI = "qemu:///system"
FAILURE = Failure(
    text="cannot reach libvirtd at /run/libvirt/libvirt-sock: Connection refused; is it running?",
    since_monotonic_s=START_MONOTONIC_S + 7,
    attempts=5,
    retry_s=4.0,
    exit_code=3,
)


def summary_of(
    frame: Frame | None,
    failure: Failure | None = None,
    *,
    width: int = 120,
    rows: int = 8,
    age_s: float = 1.0,
    has_unicode: bool = True,
    is_paused: bool = False,
    is_readonly: bool | None = True,
    source: str = URI,
) -> tuple[Line, ...]:
    now_s = START_MONOTONIC_S + age_s if frame is None else frame.sample.monotonic_s + age_s
    return build_summary(
        frame,
        failure,
        UiState(has_unicode=has_unicode, is_paused=is_paused),
        width=width,
        rows=rows,
        now_monotonic_s=now_s,
        source=source,
        is_readonly=is_readonly,
    )


def words(lines: tuple[Line, ...]) -> str:
    return "\n".join(text_of(line).rstrip() for line in lines) + "\n"


@pytest.mark.parametrize("has_unicode", [True, False], ids=["unicode", "ascii"])
@pytest.mark.parametrize(("width", "height"), [(60, 15), (60, 24), (80, 24), (120, 40), (200, 50)])
def test_the_head_of_a_host_in_trouble_looks_so(width: int, height: int, has_unicode: bool) -> None:
    lines = summary_of(
        troubled_frame(is_simulated=True), width=width, rows=summary_rows(height), has_unicode=has_unicode
    )
    kind = "unicode" if has_unicode else "ascii"
    check_golden(f"summary-{width}x{height}-{kind}.txt", words(lines))


@pytest.mark.parametrize(("width", "height"), [(60, 15), (80, 24), (120, 40)])
def test_the_head_of_a_host_that_does_not_answer_looks_so(width: int, height: int) -> None:
    lines = summary_of(troubled_frame(), FAILURE, width=width, rows=summary_rows(height), age_s=36.0)
    check_golden(f"summary-failure-{width}x{height}.txt", words(lines))


@given(
    st.integers(1, 250), st.integers(1, 10), st.booleans(), st.sampled_from(["calm", "trouble", "hostile", "failed"])
)
@settings(max_examples=80, deadline=None)
def test_the_head_fits_in_any_room_and_its_first_line_is_the_verdict(
    width: int, rows: int, has_unicode: bool, scene: str
) -> None:
    frames = {"calm": make_frame(12), "hostile": hostile_frame()}
    frame = frames.get(scene) or troubled_frame()
    failure = FAILURE if scene == "failed" else None
    lines = summary_of(frame, failure, width=width, rows=rows, has_unicode=has_unicode)
    assert 1 <= len(lines) <= rows
    for line in lines:
        assert line_width(line) <= width
        assert text_of(line).isprintable()
        assert has_unicode or text_of(line).isascii()
    if width >= 20:
        first = "NO ANSWER" if failure else "CALM" if scene != "trouble" else "SOFT"
        assert text_of(lines[0]).startswith(first)


def test_the_level_has_its_cause_beside_it() -> None:
    line = summary_of(troubled_frame())[0]
    assert line[0] == ("SOFT", Tone.WARN)
    assert "2 GiB available (3.1 %), soft is below 2.5 GiB" in text_of(line)


def test_a_level_that_nothing_tells_is_unknown_and_not_calm() -> None:
    frame = make_frame(1, host=make_host(total_bytes=None, available_bytes=None, swap_in_bytes=None, pressure=None))
    line = summary_of(frame)[0]
    assert line[0] == ("UNKNOWN", Tone.UNKNOWN)
    assert "CALM" not in words(summary_of(frame))


def test_who_is_in_trouble_comes_worst_first_with_the_figure_that_shows_it() -> None:
    who = text_of(summary_of(troubled_frame(), width=300)[1])
    expected = ("crashed: crashed", "hung: hung 34 s", "swapping: db-1 in 12.0M/s", "starved: db-2 99% used")
    assert who.startswith("; ".join(expected))
    assert "tight: mail 93% used" in who
    assert "4 without guest figures" in who
    assert "jobs: " in words(summary_of(troubled_frame(), width=300))


def test_many_in_the_same_trouble_are_counted_and_the_worst_are_named() -> None:
    guests = [make_guest(usable_bytes=number * 10 * MIB, free_bytes=MIB, cache_bytes=MIB) for number in range(1, 7)]
    frame = make_frame([make_vm(uuid=vm_uuid(n), name=f"vm-{n}", guest=guest) for n, guest in enumerate(guests)])
    assert "tight: vm-0 100% used, vm-1 100% used, vm-2 99% used +3" in words(summary_of(frame))
    assert "tight: vm-0 100% used +5" in words(summary_of(frame, width=30))


def test_a_host_without_trouble_says_that_all_is_well_and_only_of_those_that_tell() -> None:
    well = make_vm(), make_vm(uuid=vm_uuid(2))
    silent = make_vm(uuid=vm_uuid(3), guest=None)
    assert text_of(summary_of(make_frame(well))[1]) == "all 2 VMs are well"
    said = text_of(summary_of(make_frame([*well, silent]))[1])
    assert said == "nothing wrong in the 2 VMs that tell; 1 without guest figures"
    assert text_of(summary_of(make_frame([silent]))[1]) == "nothing is known to be wrong; 1 without guest figures"
    assert text_of(summary_of(make_frame([]))[1]) == "no VM is running"


def test_vms_that_wait_for_host_memory_are_named() -> None:
    waiting = make_vm(name="slow", qemu=make_qemu(pressure=make_pressure(some_ratio=0.12)))
    assert "waiting for host memory: slow 12%" in words(summary_of(make_frame([waiting])))


def test_simulated_is_said_in_however_little_room() -> None:
    for width, rows in ((30, 1), (60, 3), (80, 6), (200, 8)):
        assert "SIMULATED" in words(summary_of(troubled_frame(is_simulated=True), width=width, rows=rows))
    assert "SIMULATED" not in words(summary_of(troubled_frame()))


def test_the_connection_and_what_it_allows_are_said() -> None:
    shown = words(summary_of(troubled_frame()))
    assert f"kvm1  {URI}  RO  16 of 17 VMs  read 1s ago" in shown
    assert f"{URI}  RW  16 of" in words(summary_of(troubled_frame(), is_readonly=False))
    assert f"{URI}  16 of" in words(summary_of(troubled_frame(), is_readonly=None))


def test_a_long_connection_gives_way_to_what_stands_beside_it() -> None:
    uri = f"qemu+ssh://root@{'very-' * 20}long.example.com/system"
    lines = summary_of(troubled_frame(), width=80, rows=6, source=uri)
    said = text_of(lines[-1])
    assert said.startswith("kvm1  qemu+ssh://root@very-")
    assert said.rstrip().endswith("…  RO  16 of 17 VMs  read 1s ago")


def test_a_paused_view_says_so() -> None:
    assert "PAUSED" in words(summary_of(make_frame(2), age_s=34.0, is_paused=True, width=80, rows=3))


def test_figures_that_get_no_younger_are_called_old() -> None:
    assert "OLD 12 s" in words(summary_of(make_frame(2), age_s=12.0))
    assert "OLD" not in words(summary_of(make_frame(2), age_s=5.0))


def test_a_failure_says_how_long_what_next_and_how_old_the_figures_are() -> None:
    lines = summary_of(make_frame(2), FAILURE, age_s=36.0)
    expected = "NO ANSWER for 34 s, tried 5 times, next try within 4 s; the figures are 36 s old"
    assert text_of(lines[0]) == expected
    assert FAILURE.text in words(lines)
    assert "CALM" in words(lines)


def test_before_the_first_figures_it_says_what_it_waits_for_or_why_there_are_none() -> None:
    assert words(summary_of(None)) == f"Waiting for the first figures of {URI}\n"
    lines = summary_of(None, FAILURE, age_s=41.0, width=60)
    assert text_of(lines[0]).startswith(f"NO ANSWER from {URI} for 34 s, tried 5")
    assert "figures are" not in words(lines)
    assert FAILURE.text in words(lines).replace("\n", " ")


def test_the_bar_of_memory_is_true_to_scale_and_sharing_lies_beyond_its_end() -> None:
    ksm = make_ksm(pages_shared=1000, pages_sharing=16 * GIB // 4096, zero_pages=0)
    vm = make_vm(rss_bytes=48 * GIB, qemu=make_qemu(rss_bytes=48 * GIB))
    frame = make_frame([vm], host=make_host(available_bytes=24 * GIB, free_bytes=8 * GIB, ksm=ksm))
    lines = summary_of(frame, width=200, has_unicode=False)
    line = next(text_of(line) for line in lines if text_of(line).startswith("Memory"))
    drawn = line.removeprefix("Memory 64.0G ").split("   ")[0]
    shares = [drawn.count(sign) / len(drawn) for sign in "#%=.+"]
    # 32 GiB of VMs, 8 of other, 16 that can be dropped, 8 free, and 16 shared away beyond the 64.
    assert shares == pytest.approx([32 / 80, 8 / 80, 16 / 80, 8 / 80, 16 / 80], abs=0.02)
    for said in ("# VMs 32.0G", "% other 8.00G", "= droppable 16.0G", ". free 8.00G", "+ shared 16.0G"):
        assert said in line


def test_what_is_not_known_of_the_host_is_a_question_mark() -> None:
    host = make_host(
        free_bytes=None, swap_total_bytes=None, swap_used_bytes=None, pressure=None, ksm=None, swap_in_bytes=None
    )
    shown = words(summary_of(make_frame(2, host=host), width=200))
    for said in ("where it is, is not known", "Swap ? of ?", "in ?", "some ?", "full ?", "KSM saves ?", "ksmd ?"):
        assert said in shown


@pytest.mark.parametrize(
    ("ksm", "said"),
    [
        (make_ksm(is_running=False, pages_sharing=0, pages_shared=0), "KSM off"),
        (make_ksm(is_running=False), "KSM saves 781M  profit 700M   ksmd off"),
        (make_ksm(profit_bytes=-5 * MIB), "profit -5.00M"),
    ],
)
def test_sharing_is_told_with_its_profit_and_whether_it_goes_on(ksm: KsmSample, said: str) -> None:
    assert said in words(summary_of(make_frame(2, host=make_host(ksm=ksm)), width=200))


def test_a_host_without_swap_says_so() -> None:
    host = make_host(swap_total_bytes=0, swap_used_bytes=0)
    assert "Swap none" in words(summary_of(make_frame(2, host=host)))


@pytest.mark.parametrize(("height", "rows"), [(1, 1), (10, 2), (15, 4), (24, 6), (32, 8), (50, 8), (200, 8)])
def test_the_head_takes_its_share_of_the_screen(height: int, rows: int) -> None:
    assert summary_rows(height) == rows


def test_figures_of_other_width_leave_the_rest_in_its_place() -> None:
    one = make_frame(2, host=make_host(swap_in_bytes=0, swap_out_bytes=0))
    other = make_frame(2, host=make_host(swap_used_bytes=7 * GIB, pressure=make_pressure(some_ratio=0.5)))
    for width in (80, 120, 200):
        lines = [words(summary_of(frame, width=width)) for frame in (one, other)]
        for word in ("Swap", "Pressure", "KSM", "Overcommit", "kvm1"):
            places = [next(line.index(word) for line in text.splitlines() if word in line) for text in lines]
            assert places[0] == places[1], word


def test_what_is_past_is_said_in_the_tone_of_old_figures() -> None:
    lines = summary_of(troubled_frame(), FAILURE, age_s=36.0)[2:]
    assert {span.tone for line in lines for span in line if span.text.strip()} == {Tone.STALE, Tone.SIMULATED}
    present = {span.tone for line in summary_of(troubled_frame(), age_s=1.0) for span in line}
    assert Tone.STALE not in present


def test_where_room_is_short_what_stands_in_brackets_goes_before_anything_is_cut() -> None:
    first = text_of(summary_of(troubled_frame(), width=50, rows=4)[0])
    assert "SOFT  2 GiB available, soft is below 2.5 GiB" in first


def test_a_cause_that_does_not_fit_goes_on_in_a_line_of_its_own() -> None:
    lines = [text_of(line) for line in summary_of(troubled_frame(), width=40, rows=6)]
    assert " ".join((lines[0].replace(" SIMULATED", "") + lines[1]).split()) == (
        "SOFT 2 GiB available (3.1 %), soft is below 2.5 GiB"
    )


def test_on_a_single_line_a_cause_that_is_cut_says_so() -> None:
    (line,) = summary_of(troubled_frame(), width=40, rows=1)
    assert "…" in text_of(line)
