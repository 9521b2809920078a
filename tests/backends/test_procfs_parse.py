"""Text of kernels that the captured tree does not show."""

import pytest

from vmtop.backends.procfs_parse import (
    is_machine_cgroup,
    parse_cgroup,
    parse_cpu_list,
    parse_meminfo,
    parse_number,
    parse_pressure,
    parse_stat,
    parse_status,
    uuid_of,
)
from vmtop.units import KIB


def test_the_command_of_a_process_may_look_like_anything() -> None:
    text = b"12 (a) R 1 (b)) S 7 " + b" ".join(b"%d" % number for number in range(5, 53))
    stat = parse_stat(text)
    assert (stat.parent_pid, stat.major_faults, stat.cpu_ticks, stat.start_ticks) == (7, 12, 14 + 15, 22)


def test_status_is_found_behind_a_long_list_of_groups() -> None:
    text = b"Name:\tqemu\nGroups:\t" + b"1 " * 5000 + b"\nVmRSS:\t  12 kB\n"
    memory = parse_status(text)
    assert memory == {"rss_bytes": 12 * KIB, "swap_bytes": None, "hugetlb_bytes": None}


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
        ("4:memory:/a\x0bb\x0cc\x1cd\x85e\u2028f\rg/emulator\n0::/\n", "/a\x0bb\x0cc\x1cd\x85e\u2028f\rg", "/"),
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
    assert uuid_of(b"qemu\0-uuid\0abc\0-m\0001") == "abc"
    assert uuid_of(b"qemu\0-append\0-uuid abc\0") is None
