"""A runner with a hypervisor that a test holds in its hand: no threads, no waiting, time moves when it is told to."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.actions.scenes import ABLE, ID, make_storage
from tests.builders import PERIOD_S, START_S, make_frame, make_guest, make_vm
from tests.clocks import HandClock
from vmtop.actions.action import Action, BackupRun
from vmtop.actions.audit import Audit, AuditRecord, Identity
from vmtop.actions.runner import Runner, undo_command
from vmtop.actions.situation import Newest
from vmtop.backends.base import Control
from vmtop.backends.folder import read_folder
from vmtop.derive.frame import Frame
from vmtop.errors import ControlError
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import FinishedJob, JobKind, VmSample
from vmtop.model.storage import BackupRequest, FolderSample, SnapshotRequest, StorageSample
from vmtop.units import GIB, MIB

OPERATOR = Identity(uid=1000, user="ada", login_uid=1000, sudo_user=None, pid=42)


class FakeControl:
    """Writes down what it is asked; fails, or calls back, where a test wants it to."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.errors: dict[str, ControlError] = {}
        self.before_call: Callable[[str], None] = lambda name: None
        self.stood_s: float | None = None
        self.is_closed = False

    def _note(self, name: str, *values: Any) -> None:
        self.before_call(name)
        self.calls.append((name, *values))
        if name in self.errors:
            raise self.errors[name]

    def set_balloon(self, uuid: str, target_bytes: int) -> None:
        self._note("set_balloon", uuid, target_bytes)

    def set_stats_period(self, uuid: str, period_s: int) -> None:
        self._note("set_stats_period", uuid, period_s)

    def take_snapshot(self, uuid: str, request: SnapshotRequest) -> float | None:
        self._note("take_snapshot", uuid, request)
        return self.stood_s

    def revert_snapshot(self, uuid: str, name: str) -> None:
        self._note("revert_snapshot", uuid, name)

    def delete_snapshot(self, uuid: str, name: str) -> None:
        self._note("delete_snapshot", uuid, name)

    def start_backup(self, uuid: str, request: BackupRequest) -> None:
        self._note("start_backup", uuid, request)

    def cancel_job(self, uuid: str, disk: str | None) -> None:
        self._note("cancel_job", uuid, disk)

    def limit_job(self, uuid: str, bytes_per_s: int, disk: str | None) -> None:
        self._note("limit_job", uuid, bytes_per_s, disk)

    def delete_checkpoint(self, uuid: str, name: str) -> None:
        self._note("delete_checkpoint", uuid, name)

    def resume(self, uuid: str) -> None:
        self._note("resume", uuid)

    def close(self) -> None:
        self.is_closed = True


class FakeSource:
    """Opens one control; its folders are those of this machine where it is here."""

    def __init__(self) -> None:
        self.is_here = False
        self.storage: StorageSample | ControlError = make_storage()
        self.uri = "qemu:///system"
        self.began_s: float | None = None
        self.capability = ABLE
        self.control = FakeControl()
        self.opened = 0
        self.last_job: FinishedJob | ControlError | None = None

    def open_control(self) -> Control:
        self.opened += 1
        return self.control

    def read_last_job(self, uuid: str) -> FinishedJob | None:
        if isinstance(self.last_job, ControlError):
            raise self.last_job
        return self.last_job

    def read_storage(self, uuid: str) -> StorageSample:
        if isinstance(self.storage, ControlError):
            raise self.storage
        return self.storage

    def read_folder(self, path: str, inner: str) -> FolderSample | None:
        return read_folder(path, inner) if self.is_here else None


class Rig:
    """One VM of 4 GiB that uses 1.5 GiB, a runner, and its audit."""

    def __init__(self, folder: Path, *, is_inline: bool = True, **vm: Any) -> None:
        self.clock = HandClock()
        self.source = FakeSource()
        self.control = self.source.control
        self.audit = Audit(folder / "audit.jsonl", OPERATOR, lambda line: None)
        self.work: deque[Callable[[], None]] = deque()
        self.backups: list[BackupRun] = []
        self.vm: dict[str, Any] = {"balloon_bytes": 4 * GIB, **vm}
        self.guest: dict[str, Any] = {}
        self.used_bytes = 1536 * MIB
        self.finished: tuple[FinishedJob, ...] = ()
        self.age_s = 0.0
        self.frame: Frame | None = None
        self.see()
        self.runner = Runner(
            self.source,
            self.audit,
            self.newest,
            DEFAULT_POLICY,
            self.clock,
            on_backup=self.backups.append,
            spawn=(lambda work: work()) if is_inline else self.work.append,
        )

    @property
    def is_local(self) -> bool:
        """The VM is on this machine."""
        return self.source.is_here

    @is_local.setter
    def is_local(self, is_local: bool) -> None:
        self.source.is_here = is_local

    def newest(self) -> Newest | None:
        return None if self.frame is None else Newest(self.frame, self.age_s)

    def read(self) -> VmSample:
        sent_s = int(self.clock.now_s) // PERIOD_S * PERIOD_S
        usable_bytes = max(0, self.vm["balloon_bytes"] - self.used_bytes)
        guest = make_guest(last_update_s=START_S + sent_s, usable_bytes=usable_bytes, **self.guest)
        return make_vm(**{"name": "web-1", "guest": guest, **self.vm})

    def see(self) -> None:
        """Read the VM as it is now."""
        frame = make_frame([self.read()], at_s=self.clock.now_s, previous=self.frame, is_local=self.is_local)
        self.frame = replace(
            frame,
            sample=replace(frame.sample, finished=self.finished),
            jobs=replace(frame.jobs, finished=(*frame.jobs.finished, *self.finished)),
        )
        self.finished = ()

    def second(self, count: int = 1, *, follows: bool = True) -> None:
        """Time passes; the balloon goes where it was asked to go, and the runner gets a frame each second."""
        for _ in range(count):
            self.clock.sleep(1)
            asked = [call[2] for call in self.control.calls if call[0] == "set_balloon"]
            if follows and asked:
                self.vm["balloon_bytes"] = asked[-1]
            self.see()
            newest = self.newest()
            assert newest is not None
            self.runner.tick(newest)

    def undo(self, count: int = 1) -> list[Action]:
        """Take back the last changes, as the page of changes does."""
        return [self.runner.submit(undo_command(change), undoes=change.id) for change in self.runner.undoable()[:count]]

    def asked(self) -> list[tuple[Any, ...]]:
        return self.control.calls

    def records(self) -> list[AuditRecord]:
        return list(self.audit.read())

    def end_backup(self, *, is_good: bool | None, error: str | None = None, is_cancelled: bool = False) -> None:
        """The hypervisor tells with the next frame that the backup ended."""
        self.vm["jobs"] = ()
        self.finished = (
            FinishedJob(
                uuid=ID,
                name="web-1",
                kind=JobKind.BACKUP,
                is_good=is_good,
                error=error,
                ended_s=self.clock.time(),
                elapsed_s=0.0,
                processed_bytes=3 * GIB,
                is_cancelled=is_cancelled,
            ),
        )
