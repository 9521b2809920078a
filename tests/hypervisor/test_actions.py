"""The whole way of an action, from an operator to real guests: guard, audit, libvirt, and what becomes of it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import libvirt
import pytest

from tests.hypervisor.guest import Guest
from tests.hypervisor.guest_image import find_command, run
from tests.hypervisor.guest_spec import GuestSpec
from tests.hypervisor.lab import HostLab
from tests.hypervisor.waiting import wait_until
from vmtop.actions.action import Action, Ending
from vmtop.actions.audit import Audit, AuditRecord, Phase, read_identity
from vmtop.actions.backup_plan import vm_folder
from vmtop.actions.command import (
    CancelJob,
    Command,
    DeleteSnapshot,
    LimitJob,
    ResumeVm,
    RevertSnapshot,
    SetBalloon,
    SetStatsPeriod,
    StartBackup,
    TakeSnapshot,
)
from vmtop.actions.desk import Source
from vmtop.actions.ledger import Ledger
from vmtop.actions.recorder import Recorder
from vmtop.actions.runner import Runner, undo_command
from vmtop.actions.situation import Subject, find_subject
from vmtop.actions.target import Target, TargetState
from vmtop.actions.verdict import BalloonPreview
from vmtop.backends.backup_folder import read_backups
from vmtop.backends.base import Control
from vmtop.backends.clock import SystemClock
from vmtop.backends.libvirt_read import LibvirtBackend
from vmtop.command_line.session import FrameReader, ReadOnlySource
from vmtop.derive.job import JobMetrics
from vmtop.derive.metrics import UsedSource
from vmtop.model.kind import BackupKind, SnapshotKind
from vmtop.model.policy import DEFAULT_POLICY, Policy
from vmtop.model.sample import FinishedJob, JobKind, VmState
from vmtop.model.storage import SnapshotRequest
from vmtop.pipeline import Pipeline
from vmtop.units import KIB, MIB

FRAME_S = 0.2
AT_ONCE_S = 8.0
"""Far below the 30 s for which libvirt lets an act wait, and enough for two busy cores."""
SLOW_BYTES_PER_S = 2 * MIB
ATTEMPTS = 15
CANCELLED = "nothing of it is left"
STORED_MIB = 192
"""So much takes QEMU longer to copy than vmtop to set a limit, most of the time."""
WEB_MIB = 256


class Door:
    """The way to a hypervisor, which knows whether anybody went through."""

    def __init__(self, backend: LibvirtBackend) -> None:
        self.uri = backend.uri
        self.capability = backend.capability
        self.began_s = backend.began_s
        self.is_opened = False
        self.read_storage, self.read_folder = backend.read_storage, backend.read_folder
        self._backend = backend

    def open_control(self) -> Control:
        self.is_opened = True
        return self._backend.open_control()

    def read_last_job(self, uuid: str) -> FinishedJob | None:
        return self._backend.read_last_job(uuid)


class Operator:
    """One run of vmtop, without its screen."""

    def __init__(
        self,
        lab: HostLab,
        audit: Path,
        policy: Policy = DEFAULT_POLICY,
        *,
        is_readonly: bool = False,
        keeps_records: bool = True,
    ) -> None:
        clock = SystemClock()
        self.lab = lab
        self.backend = LibvirtBackend(lab.uri)
        self.door = Door(self.backend)
        self.reader = FrameReader(Pipeline(self.backend, policy, clock), clock, FRAME_S)
        self.audit = Audit(audit, read_identity({}), lambda line: None)
        source: Source = ReadOnlySource(self.door) if is_readonly else self.door
        self.runner = Runner(
            source,
            self.audit,
            self.reader.newest,
            policy,
            clock,
            ledger=Ledger(audit.parent / "open"),
            on_backup=Recorder(clock) if keeps_records else lambda _: None,
        )
        self.sizes: list[int | None] = []
        """Of the balloon of whom an action is about, in all frames meanwhile."""

    def look(self) -> None:
        newest = self.reader.newest()
        assert newest is not None
        self.runner.tick(newest)

    def look_until(self, condition: Callable[[], bool], what: str) -> None:
        def is_so() -> bool:
            self.look()
            return condition()

        wait_until(is_so, what)

    def subject(self, guest: Guest) -> Subject:
        subject = find_subject(self.reader.frame(), guest.uuid)
        assert subject is not None
        return subject

    def state(self, guest: Guest) -> VmState:
        return self.subject(guest).sample.state

    def submit(self, command: Command, name: str = "") -> Action:
        self.sizes = []
        return self.runner.submit(command, confirmed_name=name)

    def end(self, action: Action) -> Action:
        """What became of it, in the end."""

        def ended() -> Action | None:
            self.look()
            subject = find_subject(self.reader.frame(), action.command.uuid)
            self.sizes.append(None if subject is None else subject.metrics.balloon_bytes)
            now = self.runner.action(action.id)
            return now if now is not None and now.is_over else None

        return wait_until(ended, f"the end of: {action.sentence}", deadline_s=60)

    def do(self, command: Command, name: str = "") -> tuple[Ending, str]:
        return outcome_of(self.end(self.submit(command, name)))

    def undo(self) -> tuple[Ending, str]:
        (change, *_) = self.runner.undoable()
        action = self.runner.submit(undo_command(change), undoes=change.id)
        return outcome_of(self.end(action))

    def begin_backup(self, guest: Guest, folder: Path) -> Action:
        """One that is seen to run. Where QEMU was quicker than the limit, as on a busy machine, it is made anew."""
        for _ in range(ATTEMPTS):
            action = self.submit(back_up(guest, folder, bytes_per_s=SLOW_BYTES_PER_S))
            self.wait_for_backup(guest, action)
            if not self.is_over(action):
                return action
            forget_backups(guest, folder)
        raise AssertionError(f"no backup of {ATTEMPTS} could be limited: {self.runner.action(action.id)}")

    def wait_for_backup(self, guest: Guest, action: Action) -> None:
        self.look_until(lambda: self.is_limited(guest) or self.is_over(action), "the backup to run, or to be over")

    def is_limited(self, guest: Guest) -> bool:
        """A backup runs, and goes so slowly that it will for a while."""
        jobs = self.subject(guest).sample.jobs
        return is_limited(guest) and any(job.kind is JobKind.BACKUP for job in jobs)

    def progress_of(self, action: Action) -> str:
        now = self.runner.action(action.id)
        return "" if now is None else now.progress

    def is_over(self, action: Action) -> bool:
        now = self.runner.action(action.id)
        return now is not None and now.is_over

    def records(self, action: Action) -> list[AuditRecord]:
        return [record for record in self.audit.read() if record.id == action.id]

    def last_records(self) -> tuple[AuditRecord, ...]:
        """Those of the action that ended last, or that was refused."""
        records = self.audit.read()
        return tuple(record for record in records if record.id == records[-1].id)

    def close(self) -> None:
        self.runner.close()
        self.backend.close()


@pytest.fixture
def operator(own_lab: HostLab, tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(own_lab, tmp_path / "audit.jsonl")
    yield operator
    operator.close()


@pytest.fixture(scope="class")
def guests(own_lab: HostLab) -> Iterator[list[Guest]]:
    specs = (
        GuestSpec(name="web $HOME", memory_mib=WEB_MIB, truth_every_s=0.2),
        GuestSpec(name="silent", memory_mib=128, swap_mib=96, stats_period_s=None, truth_every_s=0.2),
    )
    with own_lab.running(*specs) as guests:
        yield guests


@pytest.fixture(scope="class")
def store(own_lab: HostLab) -> Iterator[Guest]:
    """Its kernel runs, and its disk holds data."""
    spec = GuestSpec(name="store $HOME", memory_mib=96, disk_content_mib=STORED_MIB)
    with own_lab.running(spec) as (store,):
        store.order("disk && dd if=/dev/urandom of=/disk/data bs=1M count=16 && sync")
        yield store


def outcome_of(action: Action) -> tuple[Ending, str]:
    assert action.outcome is not None
    return action.outcome.ending, action.outcome.text


def virsh(guest: Guest, lab: HostLab, command: str, *more: str) -> str:
    return run(find_command("virsh"), "-c", lab.uri, command, guest.uuid, *more)


def virsh_balloon_bytes(guest: Guest, lab: HostLab) -> int:
    match = re.search(r"^actual (\d+)$", virsh(guest, lab, "dommemstat"), re.MULTILINE)
    assert match is not None
    return int(match[1]) * KIB


def balloon(guest: Guest, mib: float, *, is_forced: bool = False) -> SetBalloon:
    return SetBalloon(uuid=guest.uuid, target_bytes=int(mib * MIB), is_forced=is_forced)


def back_up(guest: Guest, folder: Path, *, bytes_per_s: int | None = None) -> StartBackup:
    # Forced, for other tests may have brought this host under pressure.
    return StartBackup(uuid=guest.uuid, folder=str(folder), bytes_per_s=bytes_per_s, is_forced=True)


def assert_refused(operator: Operator, command: Command, why: str, name: str = "") -> None:
    """Refused, written down with its reason and without a begin, and libvirt was not even asked."""
    action = operator.end(operator.submit(command, name))
    ending, text = outcome_of(action)
    assert ending is Ending.REFUSED
    assert re.search(why, text), text
    (record,) = operator.records(action)
    assert (record.phase, record.outcome, record.text) == (Phase.ENDED, "refused", text)
    assert not operator.door.is_opened


def is_limited(guest: Guest) -> bool:
    """Its backup goes so slowly that it will for a while."""
    return bool(guest.domain.blockJobInfo("vda").get("bandwidth") == SLOW_BYTES_PER_S // MIB)


def is_idle(guest: Guest) -> bool:
    """No job runs on it; libvirt knows for a moment that one does, and not which."""
    with suppress(libvirt.libvirtError):
        return bool(guest.domain.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE)
    return False


def inner_folder(folder: Path, guest: Guest) -> Path:
    return folder / vm_folder(guest.name, guest.uuid)


def forget_backups(guest: Guest, folder: Path) -> None:
    for file in inner_folder(folder, guest).iterdir():
        file.unlink()
    for checkpoint in guest.domain.listAllCheckpoints():
        checkpoint.delete()


class TestBalloons:
    @pytest.fixture
    def web(self, guests: list[Guest], operator: Operator) -> Guest:
        """Its kernel uses some 60 MiB, so that its floor is at about 125."""
        self.wait_for_figures(operator, guests[0])
        return guests[0]

    @pytest.fixture
    def silent(self, guests: list[Guest], operator: Operator) -> Guest:
        """Has swap, and sends no figures."""
        self.wait_for_definition(operator, guests[1])
        return guests[1]

    def wait_for_definition(self, operator: Operator, guest: Guest) -> None:
        operator.look_until(lambda: operator.subject(guest).sample.facts is not None, "its definition")

    def wait_for_figures(self, operator: Operator, guest: Guest) -> None:
        """Until it has sent some since vmtop began to look."""

        def update_s() -> int:
            update = operator.subject(guest).update
            return 0 if update is None else update.figures.last_update_s

        first_s = update_s()
        operator.look_until(
            lambda: update_s() > first_s and operator.subject(guest).metrics.used_source is UsedSource.USABLE,
            "new figures",
        )

    def target(self, operator: Operator, guest: Guest) -> Target | None:
        return operator.runner.targets().get(guest.uuid)

    def test_a_balloon_goes_down_in_steps_and_up_again_as_guest_and_virsh_say(
        self, operator: Operator, web: Guest, own_lab: HostLab
    ) -> None:
        before = web.wait_for_truth()
        small = balloon(web, 150)
        verdict = operator.runner.judge(small)
        assert isinstance(verdict.preview, BalloonPreview)
        assert (verdict.refusals, verdict.needs_name) == ((), "")
        assert verdict.preview.floor_bytes is not None
        assert verdict.preview.floor_bytes <= 150 * MIB

        assert operator.do(small) == (Ending.DONE, "reached 150M")
        truth = web.wait_for_truth()
        assert before.total_bytes - truth.total_bytes == 106 * MIB
        assert verdict.preview.usable_after_bytes is not None
        assert abs(truth.available_bytes - verdict.preview.usable_after_bytes) < 4 * MIB
        assert virsh_balloon_bytes(web, own_lab) == 150 * MIB
        assert 192 * MIB in operator.sizes, "it rests there until the guest told how it takes it"
        target = self.target(operator, web)
        assert target is not None
        assert (target.state, target.asked_bytes, target.at_bytes) == (TargetState.REACHED, 150 * MIB, 150 * MIB)

        assert operator.do(balloon(web, WEB_MIB)) == (Ending.DONE, f"reached {WEB_MIB}M")
        web.wait_for_truth(lambda truth: truth.total_bytes == before.total_bytes)
        assert virsh_balloon_bytes(web, own_lab) == WEB_MIB * MIB
        down, up = [record for record in operator.audit.read() if record.phase is Phase.ENDED]
        assert (down.old, down.new, down.outcome) == (WEB_MIB * MIB, 150 * MIB, "done")
        assert (up.old, up.new, up.outcome) == (150 * MIB, WEB_MIB * MIB, "done")
        assert web.wait_for_truth().oom_kills == 0

    def test_below_the_floor_the_name_has_to_be_typed_and_it_must_be_the_right_one(
        self, operator: Operator, web: Guest, own_lab: HostLab
    ) -> None:
        below = balloon(web, 100)
        for name in ("", "web", "WEB $HOME"):
            assert_refused(operator, below, r"100M is \d+M below the safe floor of \d+M: the name of the VM", name)
        assert virsh_balloon_bytes(web, own_lab) == WEB_MIB * MIB

        assert operator.do(below, web.name) == (Ending.DONE, "reached 100M")
        assert virsh_balloon_bytes(web, own_lab) == 100 * MIB
        assert operator.undo() == (Ending.DONE, f"reached {WEB_MIB}M")
        assert virsh_balloon_bytes(web, own_lab) == WEB_MIB * MIB

    @pytest.mark.parametrize(
        ("mib", "why"),
        [
            (WEB_MIB + 1, "257M is above its maximum of 256M"),
            (1 << 40, "above its maximum"),
            (0, "cannot be left without memory"),
            (-5, "cannot be left without memory"),
        ],
    )
    def test_a_size_that_cannot_be_never_reaches_libvirt(
        self, operator: Operator, web: Guest, own_lab: HostLab, mib: int, why: str
    ) -> None:
        assert_refused(operator, balloon(web, mib, is_forced=True), why, web.name)
        assert virsh_balloon_bytes(web, own_lab) == WEB_MIB * MIB

    def test_a_guest_without_device_or_driver_is_left_alone_even_by_force(
        self, operator: Operator, own_lab: HostLab
    ) -> None:
        bare = GuestSpec(name="no driver", memory_mib=32, boots=False)
        specs = (bare, GuestSpec(name="no device", memory_mib=32, boots=False, balloon="none"))
        with own_lab.running(*specs) as (no_driver, no_device):
            for guest in (no_driver, no_device):
                self.wait_for_definition(operator, guest)
            assert_refused(operator, balloon(no_driver, 24, is_forced=True), "no balloon driver was seen", "no driver")
            assert_refused(operator, balloon(no_device, 24, is_forced=True), "no balloon device", "no device")
            assert_refused(operator, SetStatsPeriod(uuid=no_device.uuid, period_s=1), "no balloon device")

    def test_a_change_can_be_undone_by_the_next_run_of_the_program(
        self, operator: Operator, web: Guest, own_lab: HostLab
    ) -> None:
        before = web.wait_for_truth()
        assert operator.do(balloon(web, 160)) == (Ending.DONE, "reached 160M")
        web.wait_for_truth(lambda truth: truth.total_bytes == before.total_bytes - 96 * MIB)
        operator.close()

        successor = Operator(own_lab, operator.audit.path)
        try:
            (change,) = successor.runner.undoable()
            assert (change.uuid, change.old, change.new) == (web.uuid, WEB_MIB * MIB, 160 * MIB)
            assert successor.undo() == (Ending.DONE, f"reached {WEB_MIB}M")
            assert successor.runner.undoable() == ()
            started, ended = successor.last_records()
            assert started.undoes == ended.undoes == change.id
        finally:
            successor.close()
        web.wait_for_truth(lambda truth: truth.total_bytes == before.total_bytes)
        assert virsh_balloon_bytes(web, own_lab) == WEB_MIB * MIB

    def test_a_balloon_that_somebody_else_moves_is_noticed(
        self, operator: Operator, web: Guest, own_lab: HostLab
    ) -> None:
        operator.look()
        virsh(web, own_lab, "setmem", "160M", "--live")
        operator.look_until(lambda: self.target(operator, web) is not None, "the move to be noticed")
        operator.look_until(lambda: operator.subject(web).metrics.balloon_bytes == 160 * MIB, "its end")
        target = self.target(operator, web)
        assert target is not None
        assert (target.state, target.asked_bytes, target.at_bytes) == (TargetState.MOVED, None, 160 * MIB)

        # libvirt tells the size up to 1 s late, so those that came meanwhile do not go with it.
        self.wait_for_figures(operator, web)
        assert operator.do(balloon(web, 150)) == (Ending.DONE, "reached 150M")
        virsh(web, own_lab, "setmem", f"{WEB_MIB}M", "--live")

        def is_moved() -> bool:
            target = self.target(operator, web)
            return target is not None and target.state is TargetState.MOVED

        operator.look_until(is_moved, "the move away from what was asked for")
        target = self.target(operator, web)
        assert target is not None
        assert (target.asked_bytes, target.from_bytes) == (150 * MIB, 150 * MIB)
        operator.look_until(lambda: operator.subject(web).metrics.balloon_bytes == WEB_MIB * MIB, "its end")

    def test_a_guest_whose_figures_stopped_is_refused_and_by_force_a_balloon_that_stands_still_is_called_stuck(
        self, operator: Operator, web: Guest, own_lab: HostLab
    ) -> None:
        web.order("rmmod virtio_balloon")
        operator.look_until(lambda: operator.subject(web).metrics.is_stale is True, "the figures to be old")
        assert_refused(operator, balloon(web, 150), r"figures stopped coming \(the last are \d+ s old\)")
        assert virsh_balloon_bytes(web, own_lab) == WEB_MIB * MIB

        ending, text = operator.do(balloon(web, 150, is_forced=True), web.name)
        assert (ending, text) == (Ending.FAILED, "stuck at 256M: the guest gives no more, and keeps trying")
        started, ended = operator.last_records()
        assert (started.is_forced, ended.new) == (True, WEB_MIB * MIB)
        virsh(web, own_lab, "setmem", f"{WEB_MIB}M", "--live")
        web.order("load virtio_balloon")
        self.wait_for_figures(operator, web)
        assert virsh_balloon_bytes(web, own_lab) == WEB_MIB * MIB

    def test_a_silent_guest_is_refused_until_it_has_a_period_which_an_undo_takes_back(
        self, operator: Operator, silent: Guest, own_lab: HostLab
    ) -> None:
        def period() -> str:
            match = re.search(r"<stats period='(\d+)'/>", virsh(silent, own_lab, "dumpxml"))
            return "none" if match is None else match[1]

        assert period() == "none"
        assert_refused(operator, balloon(silent, 120), "the guest does not tell what it uses")
        ending, _ = operator.do(SetStatsPeriod(uuid=silent.uuid, period_s=1))
        assert (ending, period()) == (Ending.DONE, "1")
        self.wait_for_figures(operator, silent)
        truth, usable = (
            silent.wait_for_truth(),
            re.search(r"^usable (\d+)$", virsh(silent, own_lab, "dommemstat"), re.M),
        )
        assert usable is not None
        assert abs(int(usable[1]) * KIB - truth.available_bytes) < 2 * MIB
        metrics = operator.subject(silent).metrics
        assert metrics.balloon_bytes is not None
        assert metrics.used_bytes is not None
        assert abs(metrics.balloon_bytes - metrics.used_bytes - truth.available_bytes) < 4 * MIB
        ending, text = operator.do(SetStatsPeriod(uuid=silent.uuid, period_s=9))
        assert ending is Ending.REFUSED
        assert "its period is 1 s, and another program may rely on it" in text

        ending, _ = operator.undo()
        assert (ending, period()) == (Ending.DONE, "none")
        started, ended = operator.last_records()
        assert (started.old, started.new, ended.outcome) == (1, 0, "done")
        operator.look_until(lambda: operator.subject(silent).metrics.used_source is UsedSource.HOST, "it to be silent")

    def test_a_guest_that_begins_to_swap_gets_its_memory_back_by_itself(
        self, operator: Operator, silent: Guest, own_lab: HostLab
    ) -> None:
        assert operator.do(SetStatsPeriod(uuid=silent.uuid, period_s=1))[0] is Ending.DONE
        silent.order("hog 50 same 300")
        self.wait_for_figures(operator, silent)
        before = silent.wait_for_truth()
        action = operator.end(operator.submit(balloon(silent, 84), silent.name))

        ending, text = outcome_of(action)
        assert ending is Ending.FAILED
        assert re.fullmatch(
            r"asked .*, rolled back at .* to 128M: the guest (reads .*/s from its swap|keeps .*)", text
        ), text
        after = silent.wait_for_truth(lambda truth: truth.total_bytes == before.total_bytes)
        assert after.swapped_out_pages > before.swapped_out_pages
        assert after.oom_kills == 0
        assert virsh_balloon_bytes(silent, own_lab) == 128 * MIB
        assert [(record.action, record.phase, record.outcome) for record in operator.audit.read()[2:]] == [
            ("balloon", Phase.STARTED, None),
            ("rollback", Phase.STARTED, None),
            ("rollback", Phase.ENDED, "done"),
            ("balloon", Phase.ENDED, "failed"),
        ]
        assert [change.action for change in operator.runner.undoable()] == ["period"], "nothing to undo of a balloon"
        silent.order("hog 0")


class TestBackups:
    @pytest.fixture
    def folder(self, own_lab: HostLab, store: Guest) -> Path:
        """Where backups go."""
        return self.open_folder(own_lab, store, own_lab.folder / f"backups-{time.monotonic_ns()}")

    def open_folder(self, lab: HostLab, store: Guest, folder: Path) -> Path:
        """Make it with its inner folder: the daemon of the lab is no root, which could write anywhere."""
        inner = inner_folder(folder, store)
        lab.daemon.start_beside("mkdir", "-p", str(inner))
        wait_until(inner.exists, "the folder for backups")
        return folder

    def files(self, folder: Path, store: Guest) -> list[str]:
        return sorted(path.name.partition(".")[2] for path in inner_folder(folder, store).iterdir())

    def assert_nothing_left(self, folder: Path, store: Guest) -> None:
        """Neither files and records nor checkpoints and bitmaps."""
        assert self.files(folder, store) == []
        assert store.domain.listAllCheckpoints() == []
        assert "bitmaps" not in run(find_command("qemu-img"), "info", "-U", str(store.files.disk))

    def test_while_a_backup_runs_other_jobs_are_refused_at_once_and_a_cancelled_one_leaves_nothing(
        self, operator: Operator, store: Guest, folder: Path
    ) -> None:
        backup = operator.begin_backup(store, folder)
        snapshot = TakeSnapshot(uuid=store.uuid, request=SnapshotRequest(name="late", kind=SnapshotKind.DISK_ONLY))
        for command in (
            snapshot,
            back_up(store, folder),
            RevertSnapshot(uuid=store.uuid, name="x"),
            DeleteSnapshot(uuid=store.uuid, name="x"),
        ):
            began_s = time.monotonic()
            ending, text = operator.do(command)
            assert time.monotonic() - began_s < AT_ONCE_S
            assert ending is Ending.REFUSED
            assert "a job runs on store $HOME already: backup" in text
        assert operator.runner.judge(balloon(store, 95)).refusals == (), "a balloon may be moved"

        assert operator.do(LimitJob(uuid=store.uuid, bytes_per_s=MIB))[0] is Ending.DONE

        def running() -> JobMetrics:
            (job,) = operator.reader.frame().jobs.running
            return job

        operator.look_until(lambda: running().job.limit_bytes_per_s == MIB, "the limit to be told")
        assert running().job.disks == 1
        assert (running().rate_bytes_per_s or 0.0) <= MIB, "the rate forgets what was before the limit"
        assert operator.do(CancelJob(uuid=store.uuid))[0] is Ending.DONE
        assert outcome_of(operator.end(backup)) == (Ending.CANCELLED, CANCELLED)
        self.assert_nothing_left(folder, store)
        started, ended = operator.records(backup)
        assert (started.phase, ended.outcome, ended.text) == (Phase.STARTED, "cancelled", CANCELLED)
        assert store.domain.listAllSnapshots() == []

    def test_a_folder_without_enough_room_is_refused(self, operator: Operator, store: Guest, own_lab: HostLab) -> None:
        with own_lab.small_folder(4) as small:
            ending, text = operator.do(back_up(store, small))
            assert ending is Ending.REFUSED
            assert re.search(r"4.0M are free in .*, and \d+M are needed", text), text
            assert list(small.iterdir()) == []

    def test_a_target_that_fills_up_stops_the_guest_which_then_may_be_resumed(
        self, own_lab: HostLab, store: Guest, tmp_path: Path
    ) -> None:
        """libvirt tells only what is allocated: compressed data takes more in a backup, so the guard warns at most."""
        careless_policy = Policy(space_margin_bytes=0, space_margin_ratio=0.0)
        # The small folder belongs to another user namespace, in which nobody but QEMU can write.
        careless = Operator(own_lab, tmp_path / "audit", careless_policy, keeps_records=False)
        resume = ResumeVm(uuid=store.uuid)
        try:
            with own_lab.small_folder(40) as small, ThreadPoolExecutor(1) as pool:
                self.open_folder(own_lab, store, small)
                warnings = careless.runner.judge(back_up(store, small)).warnings
                assert warnings == (
                    "up to 192M are written, and 40M are free; when the folder fills up, the VM stands still",
                )
                backup = careless.begin_backup(store, small)
                assert careless.do(resume) == (Ending.REFUSED, "store $HOME is not paused: it is running")
                # What it overwrites is copied first, and that is not limited.
                writing = pool.submit(
                    store.order, "dd if=/dev/zero of=/disk/more bs=1M count=48 && sync && rm /disk/more"
                )
                ending, text = outcome_of(careless.end(backup))
                assert (ending, text.partition(";")[0]) == (Ending.FAILED, "No space left on device")
                self.assert_nothing_left(small, store)

                careless.look_until(lambda: careless.state(store) is VmState.PAUSED, "it to stand still")
                assert careless.subject(store).sample.state_reason == "I/O error"
                assert careless.runner.judge(resume).warnings == (
                    "make room first, else it stands still again at once",
                )
                assert careless.do(resume)[0] is Ending.DONE
                writing.result()
        finally:
            careless.close()

    def test_a_vm_that_was_paused_on_purpose_is_not_resumed(self, operator: Operator, store: Guest) -> None:
        store.domain.suspend()
        operator.look_until(lambda: operator.state(store) is VmState.PAUSED, "it to be paused")
        ending, text = operator.do(ResumeVm(uuid=store.uuid))
        store.domain.resume()
        assert ending is Ending.REFUSED
        assert text.endswith("was not paused by an I/O error (user), so that may be meant"), text

    def test_a_backup_survives_a_daemon_that_is_killed_and_ends_well(
        self, store: Guest, folder: Path, own_lab: HostLab, tmp_path: Path
    ) -> None:
        operator = Operator(own_lab, tmp_path / "audit", Policy(action_frame_s=1.0))
        try:
            backup = operator.begin_backup(store, folder)
            own_lab.daemon.kill()
            ending, text = operator.do(CancelJob(uuid=store.uuid))
            assert ending is Ending.FAILED
            assert re.match("the connection to libvirt was lost meanwhile|no libvirt daemon at", text), text
            (refusal,) = operator.runner.judge(back_up(store, folder)).refusals
            assert refusal == f"a job runs on {store.name} already: backup", refusal

            def pending() -> bool:
                operator.look()
                now = operator.runner.action(backup.id)
                return now is not None and now.outcome is not None and now.outcome.ending is Ending.PENDING

            wait_until(pending, "nobody to know how it gets on")
            own_lab.daemon.start()
            operator.look_until(lambda: operator.reader.pipeline.reading.failure is None, "it to be read again")
            (job,) = operator.subject(store).sample.jobs
            assert job.kind is JobKind.BACKUP
            assert operator.do(LimitJob(uuid=store.uuid, bytes_per_s=0))[0] is Ending.DONE
            assert outcome_of(operator.end(backup)) == (Ending.DONE, f"done: {STORED_MIB}M copied")
            assert self.files(folder, store) == ["full.vda.qcow2", "json"]
            assert [record.outcome for record in operator.records(backup)] == [None, "pending", "done"]
        finally:
            own_lab.daemon.recover()
            operator.close()
            forget_backups(store, folder)

    @pytest.fixture
    def orphan(self, own_lab: HostLab, store: Guest, folder: Path, tmp_path: Path) -> str:
        """Id of a backup that runs, and whose vmtop has ended."""
        first = Operator(own_lab, tmp_path / "audit")
        backup = first.begin_backup(store, folder)
        first.close()
        return backup.id

    @pytest.fixture
    def heir(self, own_lab: HostLab, tmp_path: Path) -> Iterator[Operator]:
        """The next vmtop."""
        heir = Operator(own_lab, tmp_path / "audit")
        heir.runner.take_over()
        yield heir
        heir.close()

    def inherited(self, heir: Operator, backup_id: str) -> Action:
        def found() -> Action | None:
            heir.look()
            return heir.runner.action(backup_id)

        return wait_until(found, "the backup to be taken over")

    def let_it_end(self, store: Guest, lab: HostLab) -> None:
        """With nobody looking, as fast as it can."""
        virsh(store, lab, "blockjob", "vda", "--bandwidth", "0")
        wait_until(lambda: is_idle(store), "the backup to be over")

    def test_a_backup_whose_vmtop_ended_is_seen_to_by_the_next(
        self, orphan: str, heir: Operator, store: Guest, folder: Path
    ) -> None:
        action = self.inherited(heir, orphan)
        heir.look_until(
            lambda: heir.progress_of(action) == "copying; an earlier vmtop began it", "it to be known again"
        )
        assert heir.do(LimitJob(uuid=store.uuid, bytes_per_s=0))[0] is Ending.DONE
        text = f"done: {STORED_MIB}M copied; an earlier vmtop began it"
        assert outcome_of(heir.end(action)) == (Ending.DONE, text)
        assert self.files(folder, store) == ["full.vda.qcow2", "json"]
        assert [record.outcome for record in heir.records(action)] == [None, "done"]
        forget_backups(store, folder)

    def test_a_backup_that_ended_well_while_no_vmtop_ran_is_a_recovery_point(
        self, orphan: str, heir: Operator, store: Guest, folder: Path, own_lab: HostLab
    ) -> None:
        self.let_it_end(store, own_lab)
        action = self.inherited(heir, orphan)
        assert outcome_of(heir.end(action)) == (
            Ending.DONE,
            f"done: {STORED_MIB}M copied; an earlier vmtop began it",
        )
        (backup,) = heir.backend.read_backups(str(folder), store.uuid).backups
        assert (backup.record.is_done, backup.record.checked_s is not None) == (True, True)
        (checkpoint,) = (each.getName() for each in store.domain.listAllCheckpoints())
        assert checkpoint == backup.record.checkpoint, "the next backup may go on from it"
        forget_backups(store, folder)

    def runs_or_ended(self, store: Guest, program: subprocess.Popen[str]) -> bool:
        return is_limited(store) or program.poll() is not None

    def test_a_killed_command_leaves_the_end_of_its_backup_to_the_next(
        self, store: Guest, folder: Path, own_lab: HostLab, tmp_path: Path
    ) -> None:
        def command(*words: str) -> subprocess.Popen[str]:
            program = [sys.executable, "-m", "vmtop", "-c", own_lab.uri, "backup", store.name, "--to", str(folder)]
            environ = os.environ | {"XDG_STATE_HOME": str(tmp_path)}
            pipe = subprocess.PIPE
            return subprocess.Popen([*program, "--yes", *words], env=environ, stdout=pipe, stderr=pipe, text=True)

        for _ in range(ATTEMPTS):
            killed = command("--rate", "2M")
            wait_until(partial(self.runs_or_ended, store, killed), "the backup to run")
            killed.kill()
            killed.communicate()
            if is_limited(store):
                break
            forget_backups(store, folder)
        self.let_it_end(store, own_lab)
        assert [backup.record.is_done for backup in read_backups(str(folder)).backups] == [False]

        following = command("--incremental")
        told, said = following.communicate(timeout=60)
        assert f"{store.name}: backup: done: {STORED_MIB}M copied; an earlier vmtop began it" in said
        assert following.returncode == 0, told + said
        backups = read_backups(str(folder)).backups
        assert [(each.record.kind, each.record.is_done) for each in backups] == [
            (BackupKind.FULL, True),
            (BackupKind.INCREMENTAL, True),
        ]
        assert list((tmp_path / "vmtop" / "open").iterdir()) == []
        forget_backups(store, folder)

    def test_of_a_backup_that_was_cancelled_while_no_vmtop_ran_nothing_is_left(
        self, orphan: str, heir: Operator, store: Guest, folder: Path, own_lab: HostLab
    ) -> None:
        virsh(store, own_lab, "domjobabort")
        wait_until(lambda: is_idle(store), "the backup to be over")
        action = self.inherited(heir, orphan)
        why = "the backup failed, or never began, for none of its files is there; an earlier vmtop began it"
        assert outcome_of(heir.end(action)) == (Ending.FAILED, why)
        self.assert_nothing_left(folder, store)

    def test_a_vm_that_is_destroyed_during_a_backup_leaves_nothing_as_soon_as_it_runs_again(
        self, operator: Operator, store: Guest, folder: Path
    ) -> None:
        backup = operator.begin_backup(store, folder)
        (checkpoint,) = (each.getName() for each in store.domain.listAllCheckpoints())
        store.shut_off()
        ending, text = outcome_of(operator.end(backup))
        assert ending is Ending.FAILED
        assert text.startswith(
            "the backup failed, and nobody said why: the VM may have ended meanwhile; "
            f"its checkpoint {checkpoint} is deleted as soon as the VM runs, for it cannot be now: "
        )
        assert self.files(folder, store) == []

        store.start()
        operator.look_until(lambda: store.domain.listAllCheckpoints() == [], "the checkpoint to be gone")
        self.assert_nothing_left(folder, store)
        operator.look_until(lambda: operator.audit.read()[-1].phase is Phase.ENDED, "the end of that")
        assert [(record.action, record.outcome) for record in operator.last_records()] == [
            ("clear", None),
            ("clear", "done"),
        ]


def test_who_may_only_read_changes_nothing_whatever_he_asks_for(own_lab: HostLab, tmp_path: Path) -> None:
    with own_lab.running(GuestSpec(name="untouched", memory_mib=32, boots=False)) as (guest,):
        reader = Operator(own_lab, tmp_path / "audit", is_readonly=True)
        commands = (
            balloon(guest, 24, is_forced=True),
            SetStatsPeriod(uuid=guest.uuid, period_s=7, is_forced=True),
            TakeSnapshot(uuid=guest.uuid, request=SnapshotRequest(name="s", kind=SnapshotKind.DISK_ONLY)),
            RevertSnapshot(uuid=guest.uuid, name="s"),
            DeleteSnapshot(uuid=guest.uuid, name="s"),
            back_up(guest, tmp_path),
            CancelJob(uuid=guest.uuid),
            LimitJob(uuid=guest.uuid, bytes_per_s=MIB),
            ResumeVm(uuid=guest.uuid),
        )
        before = guest.domain.XMLDesc()
        for command in commands:
            assert_refused(reader, command, "^vmtop may change nothing here: it is read-only$", guest.name)
        assert len(reader.audit.read()) == len(commands)
        assert guest.domain.XMLDesc() == before
        reader.close()
