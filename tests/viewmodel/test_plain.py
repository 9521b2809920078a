"""Text, CSV and JSON: the names that others build on, and nothing in them that can do harm."""

import csv
import io
import json
import re
import time
from datetime import datetime
from typing import Any

import pytest

from tests.builders import make_frame, make_host, make_job, make_off_vm, make_sample, make_vm, vm_uuid
from tests.viewmodel.golden import check_golden
from tests.viewmodel.scenes import HOSTILE_NAMES, hostile_frame, troubled_frame
from vmtop.derive.frame import Frame, derive_frame
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import JobKind
from vmtop.units import GIB
from vmtop.viewmodel.plain import format_csv, format_csv_header, format_json, format_text
from vmtop.viewmodel.ui_state import UiState

STATE = UiState()
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TOP_NAMES = ("schema", "time", "backend", "uri", "simulated", "host", "vms")
HOST_NAMES = [
    "total_bytes",
    "available_bytes",
    "free_bytes",
    "cache_bytes",
    "swap_total_bytes",
    "swap_used_bytes",
    "swap_in_bytes_per_s",
    "swap_out_bytes_per_s",
    "psi_some_avg10_ratio",
    "psi_full_avg10_ratio",
    "ksm_saved_bytes",
    "overcommit_configured_ratio",
    "overcommit_current_ratio",
    "level",
    "cause",
    "unknown",
]
VM_NAMES = [
    "name",
    "uuid",
    "state",
    "maximum_bytes",
    "balloon_bytes",
    "used_bytes",
    "cache_bytes",
    "free_bytes",
    "rss_bytes",
    "host_swap_bytes",
    "ksm_merged_bytes",
    "ksm_saved_bytes",
    "guest_swap_in_bytes_per_s",
    "guest_swap_out_bytes_per_s",
    "guest_major_faults_per_s",
    "host_major_faults_per_s",
    "psi_some_avg10_ratio",
    "guest_age_s",
    "jobs",
    "unknown",
]


def parsed(frame: Frame, state: UiState = STATE) -> dict[str, Any]:
    line = format_json(frame, state)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    whole: dict[str, Any] = json.loads(line)
    return whole


def read_csv(frame: Frame, state: UiState = STATE) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(format_csv_header(state) + format_csv(frame, state))))


def make_bare_frame() -> Frame:
    """A host and VMs of which next to nothing is known."""
    bare = make_vm(
        maximum_bytes=None, balloon_bytes=None, rss_bytes=None, guest=None, qemu=None, facts=None, jobs=(make_job(),)
    )
    host = make_host(
        total_bytes=None, available_bytes=None, free_bytes=None, pressure=None, ksm=None, swap_in_bytes=None
    )
    return derive_frame(None, make_sample(bare, make_off_vm(maximum_bytes=None), host=host), DEFAULT_POLICY)


FRAMES = (make_frame(3), make_frame([]), troubled_frame(), hostile_frame(), make_bare_frame())


def test_json_has_the_names_that_others_build_on() -> None:
    whole = parsed(make_frame(3))
    assert set(TOP_NAMES) <= whole.keys()
    assert whole["schema"] == 1
    assert set(HOST_NAMES) <= whole["host"].keys()
    for vm in whole["vms"]:
        assert set(VM_NAMES) <= vm.keys()


def test_json_has_the_same_names_for_every_vm_and_host() -> None:
    wholes = [parsed(frame) for frame in FRAMES]
    assert len({tuple(whole["host"]) for whole in wholes}) == 1
    assert len({tuple(vm) for whole in wholes for vm in whole["vms"]}) == 1


@pytest.mark.parametrize("frame", FRAMES, ids=["fleet", "empty", "trouble", "hostile", "bare"])
def test_every_null_has_its_reason_and_every_reason_its_null(frame: Frame) -> None:
    whole = parsed(frame)
    for each in (whole["host"], *whole["vms"], *(job for vm in whole["vms"] for job in vm["jobs"])):
        nulls = {name for name, value in each.items() if value is None}
        assert set(each["unknown"]) == nulls
        assert all(isinstance(reason, str) and reason for reason in each["unknown"].values())


def test_json_says_the_reason_that_was_found_and_not_just_any() -> None:
    vms = {vm["name"]: vm for vm in parsed(troubled_frame())["vms"]}
    assert vms["no-period"]["unknown"]["cache_bytes"].startswith("the statistics period is 0")
    assert vms["old-figures"]["unknown"]["guest_swap_in_bytes_per_s"] == "the guest's figures are stale"
    assert vms["web-1"]["unknown"] == {"hung_s": "QEMU does not hang"}
    assert {reason for vm in vms.values() if vm["condition"] == "off" for reason in vm["unknown"].values()} == {"off"}


@pytest.mark.parametrize("frame", FRAMES, ids=["fleet", "empty", "trouble", "hostile", "bare"])
def test_json_units_are_those_of_the_names(frame: Frame) -> None:
    whole = parsed(frame)
    assert RFC3339.fullmatch(whole["time"])
    assert datetime.fromisoformat(whole["time"]).timestamp() == frame.sample.time_s
    for each in (whole["host"], *whole["vms"]):
        for name, value in each.items():
            if value is not None and name.endswith("_bytes"):
                assert type(value) is int, name
            if value is not None and "psi_" in name:
                assert 0 <= value <= 1, name


def test_json_tells_the_figures_as_they_are() -> None:
    frame = make_frame(3, is_simulated=True)
    whole = parsed(frame)
    assert whole["simulated"] is True
    assert whole["host"]["level"] == "calm"
    assert whole["host"]["psi_some_avg300_ratio"] == 0.0
    by_name = {vm["name"]: vm for vm in whole["vms"]}
    for vm in frame.vms:
        shown = by_name[vm.name]
        assert shown["used_bytes"] == vm.used_bytes
        assert shown["condition"] == vm.condition.value
        assert shown["used_source"] == (vm.used_source and vm.used_source.value)
        assert shown["guest_swap_in_bytes_per_s"] == vm.guest_swap_in_bytes_per_s


def test_json_says_which_jobs_run() -> None:
    vm = make_vm(jobs=(make_job(), make_job(kind=JobKind.SNAPSHOT, processed_bytes=None, total_bytes=None)))
    backup, snapshot = parsed(make_frame([vm]))["vms"][0]["jobs"]
    assert backup == {
        "kind": "backup",
        "elapsed_s": 12.0,
        "processed_bytes": 3 * GIB,
        "total_bytes": 10 * GIB,
        "unknown": {},
    }
    assert snapshot["kind"] == "snapshot"
    assert set(snapshot["unknown"]) == {"processed_bytes", "total_bytes"}


def test_json_is_ascii_and_gives_hostile_names_back_unharmed() -> None:
    line = format_json(hostile_frame(), UiState(sort_column="uuid"))
    assert line.rstrip("\n").isascii()
    assert line.rstrip("\n").isprintable()
    assert [vm["name"] for vm in json.loads(line)["vms"]] == list(HOSTILE_NAMES)


def test_json_and_csv_follow_the_order_and_the_filter() -> None:
    frame = make_frame(20)
    state = UiState(sort_column="name", is_reversed=True, filter_text="/-001[0-3]/")
    expected = ["vm-0013", "vm-0012", "vm-0011", "vm-0010"]
    assert [vm["name"] for vm in parsed(frame, state)["vms"]] == expected
    assert [row["name"] for row in read_csv(frame, state)] == expected


def test_csv_has_a_row_for_each_vm_with_the_figures_of_json_and_nothing_for_null() -> None:
    frame = troubled_frame()
    vms = {vm["uuid"]: vm for vm in parsed(frame)["vms"]}
    rows = read_csv(frame)
    assert len(rows) == len(vms)
    for row in rows:
        vm = vms[row["uuid"]]
        assert row["time"] == "2023-11-14T22:13:25.000Z"
        for name, text in row.items():
            value = vm.get(name)
            if name in {"time", "jobs"}:
                continue
            if value is None:
                assert text == "", name
            elif isinstance(value, bool):
                assert text == str(value).lower(), name
            elif isinstance(value, str):
                assert text == value, name
            else:
                assert float(text) == value, name
    assert {row["jobs"] for row in rows} == {"", "backup 30%", "snapshot"}


def test_csv_holds_hostile_names_in_one_harmless_cell_each() -> None:
    frame = hostile_frame()
    rows = read_csv(frame, UiState(sort_column="uuid"))
    assert [row["uuid"] for row in rows] == [vm_uuid(number) for number in range(1, len(HOSTILE_NAMES) + 1)]
    assert all(row["name"].isprintable() for row in rows)
    assert all(None not in row for row in rows)
    names = dict(zip(HOSTILE_NAMES, (row["name"] for row in rows), strict=True))
    assert names["[red]x[/]"] == "[red]x[/]"
    assert names["=cmd|' /C calc'!A0"] == "'=cmd|' /C calc'!A0"
    assert names['","injected'] == '","injected'


def test_csv_of_chosen_columns_has_their_figures() -> None:
    state = UiState(columns=("used%", "rss", "used"))
    assert format_csv_header(state) == "time,name,used_ratio,used_source,is_stale,rss_bytes,used_bytes\n"
    row = read_csv(make_frame([make_vm()]), state)[0]
    assert row["rss_bytes"] == str(3 * GIB)


@pytest.mark.parametrize("has_unicode", [True, False], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_text_of_a_host_in_trouble_looks_so(width: int, has_unicode: bool) -> None:
    text = format_text(troubled_frame(is_simulated=True), UiState(has_unicode=has_unicode), width=width)
    check_golden(f"text-{width}-{'unicode' if has_unicode else 'ascii'}.txt", text)
    assert all(len(line) <= width for line in text.splitlines())
    assert has_unicode or text.isascii()


def test_the_text_of_hostile_names_looks_so() -> None:
    check_golden("text-hostile.txt", format_text(hostile_frame(), UiState(sort_column="uuid"), width=80))
    check_golden(
        "text-hostile-ascii.txt", format_text(hostile_frame(), UiState(sort_column="uuid", has_unicode=False), width=80)
    )


def test_text_without_a_width_shows_every_column() -> None:
    text = format_text(make_frame(3), STATE)
    assert "UUID" in text
    assert vm_uuid(1) in text


def test_text_says_that_a_filter_cannot_be_used() -> None:
    assert "all VMs are shown: the regular expression cannot be used: a ( is never closed" in format_text(
        make_frame(3), UiState(filter_text="/(")
    )


def test_a_thousand_vms_are_printed_in_a_moment() -> None:
    frame = make_frame(1000)
    for print_frame in (format_json, format_csv, format_text):
        began_s = time.thread_time()
        print_frame(frame, STATE)
        # Some 25 to 50 ms; the limit only tells a loop within a loop from a loop.
        assert time.thread_time() - began_s < 1.0
