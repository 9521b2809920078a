"""Figures of the host."""

import os
from mmap import PAGESIZE
from pathlib import Path

import pytest

from tests.backends.captured_host import CAPTURED, copy_host, write
from vmtop.backends.procfs_host import SETTINGS_S, HostReader, read_here
from vmtop.model.sample import HostSample
from vmtop.units import GIB, KIB, MIB


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_host(tmp_path)


def read_host(root: Path) -> HostSample:
    return HostReader(root).read("kvm1", 0.0)


def test_host_figures_are_those_of_the_files() -> None:
    host = read_host(CAPTURED)
    lines = dict(line.split(":") for line in (CAPTURED / "proc/meminfo").read_text().splitlines())
    kib = {name: int(rest.removesuffix(" kB")) for name, rest in lines.items()}
    assert host.name == "kvm1"
    assert host.cpus == 2
    assert host.total_bytes == kib["MemTotal"] * KIB
    assert host.available_bytes == kib["MemAvailable"] * KIB
    assert host.free_bytes == kib["MemFree"] * KIB
    assert host.cache_bytes == (kib["Cached"] + kib["Buffers"] + kib["SReclaimable"]) * KIB
    assert (host.swap_total_bytes, host.swap_used_bytes, host.swap_in_bytes, host.swap_out_bytes) == (0, 0, 0, 0)
    assert (host.hugepages_total_bytes, host.hugepages_free_bytes) == (0, 0)
    assert host.pressure is not None
    assert host.ksm is not None
    assert host.ksm.pages_to_scan == 100
    assert host.ksm.sleep_s == 0.02
    assert host.ksm.is_running is False
    assert host.ksm.cpu_s == 195 / os.sysconf("SC_CLK_TCK")
    assert host.unknown == {}


def test_swap_and_huge_pages_are_counted_in_bytes(root: Path) -> None:
    vmstat = (root / "proc/vmstat").read_text()
    meminfo = (
        "MemTotal: 1000 kB\nSwapTotal: 900 kB\nSwapFree: 300 kB\n"
        "HugePages_Total: 8\nHugePages_Free: 3\nHugepagesize: 2048 kB\n"
    )
    write(
        root,
        {
            "proc/meminfo": meminfo,
            "proc/vmstat": vmstat.replace("pswpin 0", "pswpin 12").replace("pswpout 0", "pswpout 34"),
        },
    )
    host = read_host(root)
    assert (host.swap_total_bytes, host.swap_used_bytes) == (900 * KIB, 600 * KIB)
    assert (host.swap_in_bytes, host.swap_out_bytes) == (12 * PAGESIZE, 34 * PAGESIZE)
    assert (host.hugepages_total_bytes, host.hugepages_free_bytes) == (16 * MIB, 6 * MIB)


@pytest.mark.parametrize(
    ("missing", "fields"),
    [
        ("proc/pressure/memory", ["pressure"]),
        ("proc/vmstat", ["swap_in_bytes", "swap_out_bytes"]),
        ("proc/meminfo", ["total_bytes", "available_bytes", "swap_used_bytes", "hugepages_free_bytes"]),
        ("sys/devices/system/cpu/online", ["cpus"]),
        ("sys/kernel/mm/ksm/pages_sharing", ["ksm"]),
    ],
)
def test_a_file_that_is_not_there_leaves_none_and_a_reason_that_names_it(
    root: Path, missing: str, fields: list[str]
) -> None:
    (root / missing).unlink()
    host = read_host(root)
    for field in fields:
        assert getattr(host, field) is None
        assert missing in host.unknown[field]
    assert all(getattr(host, field) is None for field in host.unknown)


def test_a_line_that_the_kernel_lacks_leaves_none_and_a_reason_that_names_it(root: Path) -> None:
    write(root, {"proc/meminfo": "MemTotal: 1000 kB\nMemFree: 10 kB\n", "proc/vmstat": "pswpin 7\n"})
    host = read_host(root)
    assert host.total_bytes == 1000 * KIB
    assert host.available_bytes is None
    assert host.unknown["available_bytes"] == "this kernel's /proc/meminfo has no MemAvailable"
    assert host.swap_in_bytes == 7 * PAGESIZE
    assert host.swap_out_bytes is None
    assert host.unknown["swap_out_bytes"] == "this kernel's /proc/vmstat has no pswpout"


def test_ksm_of_an_old_kernel_lacks_only_what_it_does_not_tell(root: Path) -> None:
    for name in ("ksm_zero_pages", "general_profit"):
        (root / "sys/kernel/mm/ksm" / name).unlink()
    write(root, {"sys/kernel/mm/ksm/run": "1\n", "sys/kernel/mm/ksm/pages_sharing": "62185\n"})
    host = read_host(root)
    assert host.ksm is not None
    assert (host.ksm.is_running, host.ksm.pages_sharing) == (True, 62185)
    assert (host.ksm.zero_pages, host.ksm.profit_bytes) == (None, None)
    assert "ksm_zero_pages" in host.unknown["zero_pages"]
    assert "general_profit" in host.unknown["profit_bytes"]


def test_a_program_that_calls_itself_ksmd_is_not_taken_for_the_kernels(root: Path) -> None:
    write(root, {"proc/37/stat": (root / "proc/37/stat").read_text().replace("S 2 ", "S 1 ")})
    host = read_host(root)
    assert host.ksm is not None
    assert host.ksm.cpu_s is None
    assert "ksmd" in host.unknown["cpu_s"]


@pytest.mark.parametrize("text", ["", "\n", "odd", "\xff: \xff kB\n", "some avg10=x\n", "MemTotal:\n", "\0" * 9])
@pytest.mark.parametrize(
    "name",
    [
        "proc/meminfo",
        "proc/vmstat",
        "proc/pressure/memory",
        "proc/37/stat",
        "sys/devices/system/cpu/online",
        "sys/kernel/mm/ksm/pages_sharing",
        "sys/kernel/mm/ksm/run",
    ],
)
def test_a_file_that_says_nothing_sensible_costs_its_own_figures_only(root: Path, name: str, text: str) -> None:
    reader = HostReader(root)
    write(root, {name: text.encode("latin-1")})
    host = reader.read("kvm1", 0.0)
    assert host.unknown
    for field in host.unknown:
        assert getattr(host, field, getattr(host.ksm, field, None)) is None
    healthy = read_host(CAPTURED)
    for field in ("total_bytes", "swap_in_bytes", "pressure", "cpus"):
        assert field in host.unknown or getattr(host, field) == getattr(healthy, field)


def test_everything_else_that_the_kernel_tells_of_sharing_is_kept_as_it_is_printed(root: Path) -> None:
    write(
        root,
        {
            "sys/kernel/mm/ksm/advisor_mode": "[none] scan-time\n",
            "sys/kernel/mm/ksm/smart_scan": "1\n",
            "sys/kernel/mm/ksm/of_a_later_kernel": "\xff 7\n".encode("latin-1"),
        },
    )
    reader = HostReader(root)
    host = reader.read("kvm1", 0.0)
    assert host.ksm is not None
    assert host.ksm.more == {"advisor_mode": "[none] scan-time", "of_a_later_kernel": "\ufffd 7", "smart_scan": "1"}

    write(root, {"sys/kernel/mm/ksm/smart_scan": "0\n"})

    def smart_scan(now_s: float) -> str | None:
        ksm = reader.read("kvm1", now_s).ksm
        return None if ksm is None else ksm.more["smart_scan"]

    assert smart_scan(SETTINGS_S - 0.1) == "1", "settings change rarely, and each costs a call"
    assert smart_scan(SETTINGS_S) == "0"


def test_where_we_are_is_told_by_name_and_memory(root: Path) -> None:
    here = read_here(root)
    assert here.name == "kvm1"
    assert here.total_bytes == read_host(root).total_bytes
    write(root, {"proc/meminfo": "", "proc/sys/kernel/hostname": b"\xff"})
    assert read_here(root).total_bytes is None


def test_figures_are_read_anew_each_time(root: Path) -> None:
    reader = HostReader(root)
    before = reader.read("kvm1", 0.0).free_bytes
    write(root, {"proc/meminfo": (root / "proc/meminfo").read_text().replace("MemFree:", "MemFree: 1")})
    assert reader.read("kvm1", 0.0).free_bytes != before


def test_this_host_can_be_read() -> None:
    if not Path("/proc/meminfo").exists():
        pytest.skip("no Linux here: there is no /proc/meminfo")
    host = read_host(Path("/"))
    assert host.total_bytes is not None
    assert host.available_bytes is not None
    assert 0 < host.available_bytes <= host.total_bytes < 1024 * 1024 * GIB
    assert all(getattr(host, field, None) is None for field in host.unknown)
