"""Figures of the host and of QEMU processes.

The tree in captured/hybrid-host was taken from a host where cgroup v1 counts memory and v2 measures pressure, with a VM
of a system daemon. What this host does not show (swap, other cgroups, other kernels) is written down here.
"""

import os
import shutil
from collections.abc import Mapping
from mmap import PAGESIZE
from pathlib import Path

import pytest

from vmtop.backends import procfs
from vmtop.backends.procfs import (
    RESCAN_S,
    HostReader,
    QemuFinder,
    QemuProcess,
    is_machine_cgroup,
    is_qemu_of,
    parse_cgroup,
    parse_cpu_list,
    parse_meminfo,
    parse_number,
    parse_pressure,
    parse_stat,
    parse_status,
)
from vmtop.model.sample import QemuSample
from vmtop.units import GIB, KIB, MIB

CAPTURED = Path(__file__).parent / "captured/hybrid-host"
PID, START_TICKS = 2443, 376026
UUID = "4b891907-2646-4029-bbb0-c18d0e555dbd"
MACHINE = "sys/fs/cgroup/memory/machine/qemu-1-sysd.libvirt-qemu"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the captured tree, to change at will."""
    return shutil.copytree(CAPTURED, tmp_path / "root")


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def read_qemu(root: Path) -> tuple[QemuSample, dict[str, str]]:
    unknown: dict[str, str] = {}
    sample = QemuProcess(root, PID, START_TICKS, None).read(unknown)
    assert sample is not None
    return sample, unknown


def test_host_figures_are_those_of_the_files() -> None:
    host = HostReader(CAPTURED).read("kvm1")
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
    host = HostReader(root).read("kvm1")
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
    host = HostReader(root).read("kvm1")
    for field in fields:
        assert getattr(host, field) is None
        assert missing in host.unknown[field]
    assert all(getattr(host, field) is None for field in host.unknown)


def test_a_line_that_the_kernel_lacks_leaves_none_and_a_reason_that_names_it(root: Path) -> None:
    write(root, {"proc/meminfo": "MemTotal: 1000 kB\nMemFree: 10 kB\n", "proc/vmstat": "pswpin 7\n"})
    host = HostReader(root).read("kvm1")
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
    host = HostReader(root).read("kvm1")
    assert host.ksm is not None
    assert (host.ksm.is_running, host.ksm.pages_sharing) == (True, 62185)
    assert (host.ksm.zero_pages, host.ksm.profit_bytes) == (None, None)
    assert "ksm_zero_pages" in host.unknown["zero_pages"]
    assert "general_profit" in host.unknown["profit_bytes"]


def test_a_program_that_calls_itself_ksmd_is_not_taken_for_the_kernels(root: Path) -> None:
    write(root, {"proc/37/stat": (root / "proc/37/stat").read_text().replace("S 2 ", "S 1 ")})
    host = HostReader(root).read("kvm1")
    assert host.ksm is not None
    assert host.ksm.cpu_s is None
    assert "ksmd" in host.unknown["cpu_s"]


def test_figures_are_read_anew_each_time(root: Path) -> None:
    reader = HostReader(root)
    before = reader.read("kvm1").free_bytes
    write(root, {"proc/meminfo": (root / "proc/meminfo").read_text().replace("MemFree:", "MemFree: 1")})
    assert reader.read("kvm1").free_bytes != before


def test_a_qemu_process_of_a_system_daemon_has_all_figures() -> None:
    sample, unknown = read_qemu(CAPTURED)
    assert sample.pid == PID
    assert sample.rss_bytes == int((CAPTURED / "proc/2443/status").read_text().split("VmRSS:")[1].split()[0]) * KIB
    assert (sample.swap_bytes, sample.hugetlb_bytes, sample.major_faults) == (0, 0, 0)
    assert (sample.ksm_merged_bytes, sample.ksm_zero_bytes, sample.ksm_profit_bytes) == (0, 0, 0)
    assert sample.cgroup == "/machine/qemu-1-sysd.libvirt-qemu"
    assert (sample.cgroup_bytes, sample.cgroup_swap_bytes) == (18182144, 0)
    assert sample.pressure is not None
    assert unknown == {}


def test_swap_huge_pages_faults_and_merged_pages_of_a_process(root: Path) -> None:
    status = (root / "proc/2443/status").read_text()
    stat = (root / "proc/2443/stat").read_text().split()
    stat[11] = "77"
    write(
        root,
        {
            "proc/2443/status": status.replace("VmSwap:\t       0", "VmSwap:\t     512").replace(
                "HugetlbPages:\t       0", "HugetlbPages:\t    2048"
            ),
            "proc/2443/stat": " ".join(stat),
            "proc/2443/ksm_stat": "ksm_rmap_items 9\nksm_zero_pages 5\nksm_merging_pages 100\nksm_process_profit -64\n",
        },
    )
    sample, unknown = read_qemu(root)
    assert (sample.swap_bytes, sample.hugetlb_bytes, sample.major_faults) == (512 * KIB, 2 * MIB, 77)
    assert sample.ksm_merged_bytes == 100 * PAGESIZE
    assert sample.ksm_zero_bytes == 5 * PAGESIZE
    assert sample.ksm_profit_bytes == -64
    assert unknown == {}


def test_v1_tells_swap_and_memory_together(root: Path) -> None:
    write(root, {f"{MACHINE}/memory.usage_in_bytes": "1000\n", f"{MACHINE}/memory.memsw.usage_in_bytes": "1500\n"})
    assert read_qemu(root)[0].cgroup_swap_bytes == 500
    write(root, {f"{MACHINE}/memory.memsw.usage_in_bytes": "900\n"})
    assert read_qemu(root)[0].cgroup_swap_bytes == 0, "the two are read one after the other"


def test_v1_without_swap_accounting_says_so(root: Path) -> None:
    (root / MACHINE / "memory.memsw.usage_in_bytes").unlink()
    sample, unknown = read_qemu(root)
    assert sample.cgroup_bytes == 18182144
    assert sample.cgroup_swap_bytes is None
    assert "memsw" in unknown["cgroup_swap_bytes"]


def test_v2_with_systemd_tells_memory_swap_and_pressure_of_the_machine(root: Path) -> None:
    shutil.rmtree(root / "sys/fs/cgroup")
    scope = "machine.slice/machine-qemu\\x2d1\\x2dsysd.scope"
    write(
        root,
        {
            "proc/2443/cgroup": f"0::/{scope}/libvirt/emulator\n",
            "sys/fs/cgroup/cgroup.controllers": "memory\n",
            f"sys/fs/cgroup/{scope}/memory.current": "2000\n",
            f"sys/fs/cgroup/{scope}/memory.swap.current": "300\n",
            f"sys/fs/cgroup/{scope}/memory.pressure": "some avg10=12.50 avg60=1.00 avg300=0.10 total=9\n"
            "full avg10=2.50 avg60=0.50 avg300=0.00 total=3\n",
        },
    )
    sample, unknown = read_qemu(root)
    assert sample.cgroup == f"/{scope}"
    assert (sample.cgroup_bytes, sample.cgroup_swap_bytes) == (2000, 300)
    assert sample.pressure is not None
    assert (sample.pressure.some_avg10_ratio, sample.pressure.full_avg60_ratio) == (0.125, 0.005)
    assert unknown == {}


@pytest.mark.parametrize(
    "cgroup", ["0::/user.slice/user-1000.slice/session-2.scope\n", "4:memory:/user/7\n0::/\n", "0::/\n"]
)
def test_a_cgroup_that_the_vm_shares_with_others_tells_nothing_about_the_vm(root: Path, cgroup: str) -> None:
    write(root, {"proc/2443/cgroup": cgroup, "sys/fs/cgroup/memory/user/7/memory.usage_in_bytes": "12345\n"})
    sample, unknown = read_qemu(root)
    assert (sample.cgroup_bytes, sample.cgroup_swap_bytes, sample.pressure) == (None, None, None)
    assert all("other processes" in unknown[name] for name in ("cgroup_bytes", "cgroup_swap_bytes", "pressure"))


def test_kernels_before_6_4_tell_merged_pages_in_a_file_of_its_own(root: Path) -> None:
    write(root, {"proc/2443/ksm_stat": "ksm_rmap_items 12\n", "proc/2443/ksm_merging_pages": "21468\n"})
    sample, unknown = read_qemu(root)
    assert sample.ksm_merged_bytes == 21468 * PAGESIZE
    assert (sample.ksm_zero_bytes, sample.ksm_profit_bytes) == (None, None)
    assert unknown.keys() == {"ksm_zero_bytes", "ksm_profit_bytes"}


def test_a_process_that_is_ending_has_empty_files(root: Path) -> None:
    write(root, {"proc/2443/ksm_stat": "", "proc/2443/ksm_merging_pages": ""})
    sample, unknown = read_qemu(root)
    assert (sample.ksm_merged_bytes, sample.ksm_zero_bytes, sample.ksm_profit_bytes) == (None, None, None)
    assert unknown.keys() == {"ksm_merged_bytes", "ksm_zero_bytes", "ksm_profit_bytes"}


def test_files_that_only_root_may_read_leave_none_and_say_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really_open = os.open

    def refuse(path: str, flags: int) -> int:
        if "ksm" in path:
            raise PermissionError(13, "Permission denied")
        return really_open(path, flags)

    monkeypatch.setattr(os, "open", refuse)
    sample, unknown = read_qemu(root)
    assert (sample.ksm_merged_bytes, sample.ksm_zero_bytes, sample.ksm_profit_bytes) == (None, None, None)
    assert all("root only" in unknown[f"ksm_{name}_bytes"] for name in ("merged", "zero", "profit"))
    assert sample.rss_bytes is not None


def test_a_process_that_ended_has_no_sample(root: Path) -> None:
    process = QemuProcess(root, PID, START_TICKS, None)
    shutil.rmtree(root / "proc/2443")
    assert process.read({}) is None


def test_another_process_with_the_same_number_is_not_the_vm() -> None:
    assert QemuProcess(CAPTURED, PID, START_TICKS - 1, None).read({}) is None


def test_a_process_that_is_ending_has_no_memory_and_says_so(root: Path) -> None:
    write(root, {"proc/2443/status": "Name:\tqemu\nState:\tZ (zombie)\n"})
    sample, unknown = read_qemu(root)
    assert (sample.rss_bytes, sample.swap_bytes, sample.hugetlb_bytes) == (None, None, None)
    assert {"rss_bytes", "swap_bytes", "hugetlb_bytes"} <= unknown.keys()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_files_are_closed_with_what_reads_them() -> None:
    before = open_descriptors()
    process = QemuProcess(CAPTURED, PID, START_TICKS, None)
    assert process.read({}) is not None
    assert open_descriptors() > before
    del process
    assert open_descriptors() == before


def test_without_descriptors_to_spare_files_are_opened_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "_MOST_KEPT", 0)
    before = open_descriptors()
    process = QemuProcess(CAPTURED, PID, START_TICKS, None)
    assert process.read({}) == process.read({}) == read_qemu(CAPTURED)[0]
    assert open_descriptors() == before


def test_the_pid_file_leads_to_the_process() -> None:
    process = QemuFinder(CAPTURED, [CAPTURED / "run/libvirt/qemu"]).find(UUID, "sysd", 0.0)
    assert process is not None
    assert (process.pid, process.start_ticks) == (PID, START_TICKS)


@pytest.mark.parametrize("pid_file", ["", "37", "999999", "x", "-1"])
def test_a_pid_file_that_lies_is_not_believed(root: Path, pid_file: str) -> None:
    write(root, {"run/libvirt/qemu/sysd.pid": pid_file})
    process = QemuFinder(root, [root / "run/libvirt/qemu"]).find(UUID, "sysd", 0.0)
    assert process is not None
    assert process.pid == PID, "found by its command line"


def test_a_vm_without_a_process_is_not_found() -> None:
    finder = QemuFinder(CAPTURED, [CAPTURED / "run/libvirt/qemu"])
    assert finder.find("11111111-2222-4333-8444-555555555555", "sysd", 0.0) is None


@pytest.mark.parametrize("name", ["../sysd", "/sysd", "..", "x" * 300, "\0", "sy\nsd"])
def test_a_hostile_name_leads_to_no_file(root: Path, name: str) -> None:
    write(root, {"run/libvirt/sysd.pid": str(PID), "sysd.pid": str(PID)})
    finder = QemuFinder(root, [root / "run/libvirt/qemu"])
    (root / "proc/2443").rename(root / "proc/later")
    assert finder.find(UUID, name, 0.0) is None, "this was the scan of all processes"
    (root / "proc/later").rename(root / "proc/2443")
    assert finder.find(UUID, name, 1.0) is None
    assert finder.find(UUID, "sysd", 1.0) is not None


def test_all_processes_are_searched_now_and_then_only(root: Path) -> None:
    finder = QemuFinder(root, [])
    (root / "proc/2443").rename(root / "proc/later")
    assert finder.find(UUID, "sysd", 0.0) is None
    (root / "proc/later").rename(root / "proc/2443")
    assert finder.find(UUID, "sysd", RESCAN_S - 0.1) is None
    assert finder.find(UUID, "sysd", RESCAN_S) is not None


def test_a_status_file_that_libvirt_writes_anew_is_noticed_once(root: Path) -> None:
    status_file = root / "run/libvirt/qemu/sysd.xml"
    status_file.write_text("<domstatus/>")
    os.utime(status_file, ns=(1, 1))
    process = QemuFinder(root, [status_file.parent]).find(UUID, "sysd", 0.0)
    assert process is not None
    assert process.was_touched(), "nothing is known of what was before"
    assert not process.was_touched()
    os.utime(status_file, ns=(2, 2))
    assert process.was_touched()
    status_file.unlink()
    assert not process.was_touched()


def test_the_command_of_a_process_may_look_like_anything() -> None:
    text = b"12 (a) R 1 (b)) S 7 " + b" ".join(b"%d" % number for number in range(5, 53))
    stat = parse_stat(text)
    assert (stat.parent_pid, stat.major_faults, stat.cpu_ticks, stat.start_ticks) == (7, 12, 14 + 15, 22)


def test_status_is_found_behind_a_long_list_of_groups() -> None:
    text = b"Name:\tqemu\nGroups:\t" + b"1 " * 5000 + b"\nVmRSS:\t  12 kB\n"
    memory = parse_status(text)
    assert (memory.rss_bytes, memory.swap_bytes) == (12 * KIB, None)


@pytest.mark.parametrize(
    ("text", "v1", "v2"),
    [
        (
            "0::/m.slice/machine-qemu\\x2d3\\x2da.scope/libvirt/emulator\n",
            None,
            "/m.slice/machine-qemu\\x2d3\\x2da.scope",
        ),
        ("5:cpu,memory:/machine/qemu-3-a.libvirt-qemu\n0::/\n", "/machine/qemu-3-a.libvirt-qemu", "/"),
        ("5:cpuset:/a\n", None, None),
        ("4:memory:/with:colon/emulator\n", "/with:colon", None),
    ],
)
def test_cgroup_paths_lose_the_leaves_that_libvirt_makes(text: str, v1: str | None, v2: str | None) -> None:
    cgroups = parse_cgroup(text.encode())
    assert (cgroups.v1, cgroups.v2) == (v1, v2)


@pytest.mark.parametrize(
    ("path", "is_own"),
    [
        ("/machine.slice/machine-qemu\\x2d1\\x2dweb.scope", True),
        ("/machine/qemu-1-web.libvirt-qemu", True),
        ("/prod.partition/qemu-1-web.libvirt-qemu", True),
        ("/machine.slice", False),
        ("/user.slice/user-0.slice/session-1.scope", False),
        ("/", False),
        ("/system.slice/libvirtd.service", False),
    ],
)
def test_only_cgroups_that_libvirt_makes_for_a_machine_are_its_own(path: str, is_own: bool) -> None:
    assert is_machine_cgroup(path) is is_own


def test_small_parsers() -> None:
    assert parse_cpu_list(b"0-3,8,10-11\n") == 7
    assert parse_number(b"ab 1\nb 22\nbb 3\n", b"b") == 22
    assert parse_number(b"b 22", b"b") == 22
    assert parse_number(b"ab 1\n", b"b") is None
    assert parse_meminfo(b"MemTotal:  4 kB\nHugePages_Total:  3\n") == {"MemTotal": 4 * KIB, "HugePages_Total": 3}
    pressure = parse_pressure(
        b"some avg10=99.00 avg60=1.00 avg300=0.00 total=1\nfull avg10=0.25 avg60=0.00 avg300=5.00"
    )
    assert (pressure.some_avg10_ratio, pressure.full_avg10_ratio, pressure.full_avg300_ratio) == (0.99, 0.0025, 0.05)
    assert is_qemu_of(b"qemu\0-uuid\0abc\0-m\0001", "abc")
    assert not is_qemu_of(b"qemu\0-append\0-uuid abc\0", "abc")


def test_this_host_can_be_read() -> None:
    if not Path("/proc/meminfo").exists():
        pytest.skip("no Linux here: there is no /proc/meminfo")
    host = HostReader(Path("/")).read("here")
    assert host.total_bytes is not None
    assert host.available_bytes is not None
    assert 0 < host.available_bytes <= host.total_bytes < 1024 * 1024 * GIB
    assert all(getattr(host, field, None) is None for field in host.unknown)
