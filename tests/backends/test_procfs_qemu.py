"""Figures of QEMU processes, and how they are found."""

import os
import shutil
from mmap import PAGESIZE
from pathlib import Path

import pytest

from tests.backends.captured_host import CAPTURED, copy_host, write
from vmtop.backends import procfs_file
from vmtop.backends.procfs_qemu import RESCAN_S, QemuFinder, QemuProcess
from vmtop.model.sample import QemuSample
from vmtop.units import KIB, MIB

PID, START_TICKS = 2443, 376026
UUID = "4b891907-2646-4029-bbb0-c18d0e555dbd"
MACHINE = "sys/fs/cgroup/memory/machine/qemu-1-sysd.libvirt-qemu"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_host(tmp_path)


def read_qemu(root: Path) -> tuple[QemuSample, dict[str, str]]:
    unknown: dict[str, str] = {}
    sample = QemuProcess(root, PID, START_TICKS, None).read(unknown)
    assert sample is not None
    return sample, unknown


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


@pytest.mark.parametrize("text", ["", "odd", "\nVmRSS:\t x kB\n", "\nVmRSS:\t 12", "\nksm_merging_pages x\n", "a b c"])
@pytest.mark.parametrize(
    "name",
    [
        "proc/2443/status",
        "proc/2443/ksm_stat",
        "proc/2443/cgroup",
        f"{MACHINE}/memory.usage_in_bytes",
        "sys/fs/cgroup/unified/machine/qemu-1-sysd.libvirt-qemu/memory.pressure",
    ],
)
def test_a_file_that_says_nothing_sensible_costs_its_own_figures_only(root: Path, name: str, text: str) -> None:
    write(root, {name: text, "proc/2443/ksm_merging_pages": text})
    sample, unknown = read_qemu(root)
    assert sample.major_faults == 0
    assert unknown
    assert all(getattr(sample, field) is None for field in unknown)


@pytest.mark.parametrize("text", ["", "odd", "2443 (qemu", "2443 (qemu) S 1", "2443 (qemu) S" + " x" * 50])
def test_a_process_that_does_not_say_which_one_it_is_is_none(root: Path, text: str) -> None:
    process = QemuProcess(root, PID, START_TICKS, None)
    write(root, {"proc/2443/stat": text})
    assert process.read({}) is None
    assert QemuFinder(root, []).find(UUID, "sysd", 0.0) is None


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
    monkeypatch.setattr(procfs_file, "_MOST_KEPT", 0)
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


def test_a_vm_that_was_started_anew_is_found_by_its_command_line(root: Path) -> None:
    finder = QemuFinder(root, [])
    assert finder.find(UUID, "sysd", 0.0) is not None
    (root / "proc/2443").rename(root / "proc/2500")
    assert finder.find(UUID, "sysd", RESCAN_S - 0.1) is None
    process = finder.find(UUID, "sysd", RESCAN_S)
    assert process is not None
    assert process.pid == 2500


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
