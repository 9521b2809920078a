"""The laboratory keeps its promises, so that a test that fails in it tells something about vmtop."""

import fcntl
import mmap
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

import psutil
import pytest

from tests.hypervisor.conftest import StartGuests
from tests.hypervisor.errors import LabError
from tests.hypervisor.guest import Guest
from tests.hypervisor.guest_image import cache_folder, locked, missing
from tests.hypervisor.guest_spec import GuestFiles, GuestSpec, Hog, build_domain_xml
from tests.hypervisor.ksm import KSM, host_ksm, missing_for_ksm
from tests.hypervisor.lab import HostLab, host_lab
from tests.hypervisor.truth import FIELDS, PAGE_BYTES, parse_done, parse_truth
from tests.hypervisor.waiting import wait_until

MIB = 1 << 20
PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def guest(lab: HostLab) -> Iterator[Guest]:
    """One guest for several tests; each leaves it as it found it."""
    with lab.running(GuestSpec(name="all-round", swap_mib=64, disk_mib=96, truth_every_s=0.5)) as (guest,):
        yield guest


class TestRecords:
    WHOLE = "truth " + " ".join(f"{word}={number}" for number, word in enumerate(FIELDS, start=1)) + "\n"

    def test_every_field_of_a_report_is_read(self) -> None:
        (truth,) = parse_truth(self.WHOLE)

        assert [getattr(truth, field) for field in FIELDS.values()] == list(range(1, len(FIELDS) + 1))
        assert truth.page_cache_bytes == truth.buffers_bytes + truth.cached_bytes + truth.swap_cached_bytes
        assert truth.swapped_out_bytes == truth.swapped_out_pages * PAGE_BYTES

    def test_a_report_cut_off_anywhere_is_left_out(self) -> None:
        for length in range(1, len(self.WHOLE)):
            assert len(parse_truth(self.WHOLE + self.WHOLE[:length])) == 1, self.WHOLE[:length]
            assert parse_truth(self.WHOLE[:length] + self.WHOLE) == [], self.WHOLE[:length]

    def test_the_end_of_an_order_is_read_only_from_a_whole_line(self) -> None:
        assert parse_done(f"done 1 0\n{self.WHOLE}done 2 127\ndone 3 0") == {1: 0, 2: 127}


class TestSpecs:
    FILES = GuestFiles(kernel=Path("/k"), initramfs=Path("/i"), pid=Path("/p"), folder=Path("/f"))

    def parse_domain(self, spec: GuestSpec) -> ElementTree.Element:
        return ElementTree.fromstring(build_domain_xml(spec, self.FILES))  # noqa: S314 - our own XML

    @pytest.mark.parametrize("name", ["a<b>&\"c'", "[red]x[/]", "ναμε 漢字", "-" * 255])
    def test_any_name_survives_in_the_xml(self, name: str) -> None:
        assert self.parse_domain(GuestSpec(name=name)).findtext("name") == name

    def test_orders_reach_the_kernel_command_line_in_quotes(self) -> None:
        spec = GuestSpec(name="a", hog=Hog(mib=5, content="zero", touch_every_s=0.25), orders=("echo a && true",))
        command_line = self.parse_domain(spec).findtext("os/cmdline") or ""

        assert command_line.endswith(' -- "report 1" "load virtio_balloon" "hog 5 zero 250" "echo a && true"')

    @pytest.mark.parametrize("orders", [('echo "a"',), ("echo a\necho b",), ("true",) * 40, ("x" * 3000,)])
    def test_orders_that_the_kernel_would_garble_are_refused(self, orders: tuple[str, ...]) -> None:
        with pytest.raises(ValueError, match="command line"):
            build_domain_xml(GuestSpec(name="a", orders=orders), self.FILES)

    def test_what_is_written_to_a_disk_fits_on_it(self) -> None:
        assert GuestSpec(name="a").needed_disk_mib == 0
        assert GuestSpec(name="a", cache_mib=40, dirty_mib_per_s=10).needed_disk_mib > 50
        assert GuestSpec(name="a", cache_mib=40, disk_mib=500).needed_disk_mib == 500


def test_a_missing_command_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda command, path: None if "qemu" in command else command)

    assert missing() == "real guests need: sudo apt-get install qemu-system-x86 qemu-utils"


def test_waiting_ends_at_the_deadline() -> None:
    with pytest.raises(LabError, match="in vain for the moon"):
        wait_until(lambda: None, "the moon", deadline_s=0.05)


class TestGuest:
    def test_it_reports_the_memory_that_it_was_given(self, guest: Guest) -> None:
        first = guest.wait_for_truth()
        second = guest.wait_for_truth()

        assert second.sequence > first.sequence
        assert second.uptime_s > first.uptime_s
        assert abs(second.time_s - time.time()) < 10
        assert guest.spec.memory_mib - 40 < second.total_bytes / MIB < guest.spec.memory_mib
        assert second.free_bytes < second.available_bytes < second.total_bytes

    def test_a_hog_takes_memory_and_gives_it_back(self, guest: Guest) -> None:
        before = guest.wait_for_truth()

        guest.order("hog 30 random 0")
        held = guest.wait_for_truth(lambda truth: before.available_bytes - truth.available_bytes > 29 * MIB)
        guest.order("hog 0")
        after = guest.wait_for_truth(lambda truth: before.available_bytes - truth.available_bytes < 5 * MIB)

        assert held.swapped_out_pages == before.swapped_out_pages
        assert held.oom_kills == after.oom_kills == 0

    def test_a_hog_larger_than_memory_swaps(self, guest: Guest) -> None:
        guest.order("hog 90 same 200")
        first = guest.wait_for_truth(lambda truth: truth.swapped_out_pages > 1000)
        later = guest.wait_for_truth(
            lambda truth: truth.swapped_in_pages > first.swapped_in_pages and truth.major_faults > first.major_faults
        )
        guest.order("hog 0")
        rest = guest.wait_for_truth(lambda truth: truth.swap_total_bytes - truth.swap_free_bytes < MIB)

        assert later.swap_total_bytes > later.swap_free_bytes
        assert rest.oom_kills == 0

    def test_a_file_fills_the_page_cache_until_it_is_dropped(self, guest: Guest) -> None:
        guest.order("drop")
        before = guest.wait_for_truth()

        guest.order("cache 20")
        full = guest.wait_for_truth(lambda truth: truth.page_cache_bytes - before.page_cache_bytes > 19 * MIB)
        guest.order("drop")
        guest.wait_for_truth(lambda truth: truth.page_cache_bytes - before.page_cache_bytes < MIB)

        assert before.available_bytes - full.available_bytes < 10 * MIB

    def test_dirtying_writes_to_the_disk_again_and_again(self, guest: Guest) -> None:
        def written_bytes() -> int:
            return int(guest.domain.blockStats("vda")[3])

        guest.order("dirty 2")
        before = written_bytes()
        wait_until(lambda: written_bytes() - before > 5 * MIB, "5 MiB to be written")
        guest.order("dirty 0")

    def test_a_failing_order_says_why(self, guest: Guest) -> None:
        with pytest.raises(LabError, match=r"exited with 127: (.|\n)*no-such-command: not found"):
            guest.order("no-such-command")
        guest.order("true")

    def test_it_hangs_and_goes_on(self, guest: Guest) -> None:
        guest.hang()
        assert guest.pid is not None
        assert psutil.Process(guest.pid).status() == psutil.STATUS_STOPPED
        assert guest.domain.isActive()
        guest.wake()
        guest.wait_for_truth()


class TestLab:
    def test_guests_differ_in_what_the_balloon_tells(self, lab: HostLab, start_guests: StartGuests) -> None:
        small, mute = start_guests(
            GuestSpec(name="small", current_mib=110), GuestSpec(name="mute", has_balloon_driver=False)
        )

        def balloon(guest: Guest) -> dict[str, int]:
            stats = guest.domain.connect().domainListGetStats([guest.domain])
            return {key: value for key, value in stats[0][1].items() if key.startswith("balloon.")}

        wait_until(lambda: balloon(small)["balloon.current"] == 110 * 1024, "the balloon to be inflated")
        truth = small.wait_for_truth(lambda truth: truth.total_bytes < 76 * MIB)
        wait_until(
            lambda: balloon(small)["balloon.available"] * 1024 == truth.total_bytes,
            "libvirt to report the same MemTotal",
        )
        assert balloon(mute)["balloon.last-update"] == 0
        mute.order("load virtio_balloon")
        wait_until(lambda: balloon(mute)["balloon.last-update"], "the driver to report")

    def test_guests_live_on_when_the_daemon_is_killed(self, lab: HostLab, guest: Guest) -> None:
        pid, number = guest.pid, guest.domain.ID()

        lab.daemon.kill()
        assert lab.daemon.pid is None
        guest.wait_for_truth()
        lab.daemon.start()

        assert (guest.pid, guest.domain.ID()) == (pid, number)

    def test_a_hung_daemon_goes_on(self, lab: HostLab) -> None:
        lab.daemon.hang()
        assert lab.daemon.pid is not None
        assert psutil.Process(lab.daemon.pid).status() == psutil.STATUS_STOPPED
        lab.daemon.wake()

        assert lab.connect().isAlive()

    def test_a_shut_off_guest_starts_again(self, lab: HostLab) -> None:
        empty = GuestSpec(name="empty", memory_mib=32, boots=False, paused=True)
        with lab.running(empty) as (guest,):
            first = guest.pid
            guest.shut_off()
            assert guest.pid is None
            assert not guest.domain.isActive()
            guest.start()
            assert guest.pid not in (None, first)

    def test_a_fleet_is_paused_and_leaves_nothing(self, lab: HostLab) -> None:
        with lab.paused_fleet(3) as fleet:
            pids = [guest.pid for guest in fleet]
            states = {guest.domain.state()[0] for guest in fleet}
        libvirt = lab.daemon.libvirt

        assert states == {libvirt.VIR_DOMAIN_PAUSED}
        assert len(set(pids)) == 3
        assert not any(pid is None or psutil.pid_exists(pid) for pid in pids)
        assert not [domain for domain in lab.connect().listAllDomains() if domain.name().startswith("fleet")]

    def test_guests_are_removed_whatever_a_test_did_to_them(self, lab: HostLab) -> None:
        with lab.paused_fleet(3) as (hung, destroyed, undefined):
            hung.hang()
            destroyed.domain.destroy()
            undefined.domain.undefine()
            undefined.domain.destroy()
            lab.daemon.hang()

        assert hung.pid is None
        assert not {"fleet-001", "fleet-002", "fleet-003"} & lab.guests.keys()
        assert not hung.files.folder.exists()

    def test_two_labs_do_not_meet(self, lab: HostLab) -> None:
        twin = GuestSpec(name="twin", memory_mib=32, boots=False, paused=True)
        with host_lab() as other, other.running(twin) as (theirs,), lab.running(twin) as (ours,):
            assert other.uri != lab.uri
            assert ours.uuid != theirs.uuid
            assert other.qemu_pids() == {"twin": theirs.pid}
            assert ours.pid != theirs.pid

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    def test_nothing_is_left_when_the_test_run_is_ended_by(self, real_guests: None, number: signal.Signals) -> None:
        program = (
            "import signal\n"
            "from tests.hypervisor.lab import host_lab\n"
            "with host_lab() as lab, lab.paused_fleet(1) as (guest,):\n"
            "    print(lab.folder, lab.daemon.pid, guest.pid, flush=True)\n"
            "    signal.pause()\n"
        )
        with run_python(program) as run:
            assert run.stdout is not None
            folder, *pids = run.stdout.readline().split()
            assert all(psutil.pid_exists(int(pid)) for pid in pids)
            run.send_signal(number)
            run.wait(60)

        wait_until(lambda: not Path(folder).exists(), f"{folder} to be removed")
        assert not any(psutil.pid_exists(int(pid)) for pid in pids)


class TestKsm:
    SETTINGS: ClassVar = {"run": "0\n", "pages_to_scan": "100\n", "sleep_millisecs": "20\n"}

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Stands in for /sys/kernel/mm/ksm, with a lock of its own."""
        monkeypatch.setenv("VMTOP_TEST_CACHE", str(tmp_path / "cache"))
        for name, value in {**self.SETTINGS, "pages_shared": "0\n"}.items():
            (tmp_path / name).write_text(value)
        return tmp_path

    def read_settings(self, folder: Path) -> dict[str, str]:
        return {name: (folder / name).read_text() for name in self.SETTINGS}

    @pytest.mark.skipif(missing_for_ksm() is not None, reason=str(missing_for_ksm()))
    def test_the_host_merges_pages_and_forgets_it_again(self) -> None:
        def count_shared() -> int:
            return int((KSM / "pages_shared").read_text())

        with locked("ksm"):
            before, shared_before = self.read_settings(KSM), count_shared()
        with mmap.mmap(-1, 4 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.write(b"same" * MIB)
            memory.madvise(mmap.MADV_MERGEABLE)
            with host_ksm():
                wait_until(lambda: count_shared() > shared_before, "pages to be merged")
            with locked("ksm"):
                assert self.read_settings(KSM) == before
                assert shared_before > 0 or count_shared() == 0

    def test_settings_are_put_back_after_a_failure(self, folder: Path) -> None:
        def fail() -> None:
            with host_ksm(pages_to_scan=7, sleep_ms=1, folder=folder):
                assert self.read_settings(folder) == {"run": "1", "pages_to_scan": "7", "sleep_millisecs": "1"}
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert self.read_settings(folder) == self.SETTINGS

    def test_settings_are_put_back_when_the_test_run_is_killed(self, folder: Path) -> None:
        program = (
            "import pathlib, signal\n"
            "from tests.hypervisor.ksm import host_ksm\n"
            f"with host_ksm(folder=pathlib.Path({str(folder)!r})):\n"
            "    print('on', flush=True)\n"
            "    signal.pause()\n"
        )
        with run_python(program) as run:
            assert run.stdout is not None
            assert run.stdout.readline() == "on\n"
            assert (folder / "run").read_text() == "1"
            run.kill()

        # Whoever gets the lock after that run finds the host's own settings.
        with locked("ksm"):
            assert self.read_settings(folder) == self.SETTINGS

    def test_only_one_test_run_at_a_time_has_it(self, folder: Path) -> None:
        with host_ksm(folder=folder), (cache_folder() / "ksm.lock").open("w") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with (cache_folder() / "ksm.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def run_python(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
