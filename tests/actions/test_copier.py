"""Which end is taken for that of a backup of ours, and what is cleared away when it does not begin."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.actions.rig import Rig
from tests.actions.scenes import ID
from tests.builders import make_job
from vmtop.actions import copier
from vmtop.actions.action import BackupRun, Ending, Outcome
from vmtop.actions.command import StartBackup
from vmtop.actions.copier import CHECKING
from vmtop.actions.recorder import Recorder
from vmtop.actions.runner import Runner
from vmtop.backends.backup_folder import read_backups
from vmtop.backends.qemu_image import CHECK_LIMIT_S
from vmtop.errors import ControlError
from vmtop.model.policy import DEFAULT_POLICY

FULL = StartBackup(uuid=ID, folder="/backup")
LOST = ControlError("the connection to libvirt was lost meanwhile. Nobody knows whether it was done")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def recorded(tmp_path: Path) -> Rig:
    """Keeps records in a folder of this machine."""
    rig = Rig(tmp_path)
    rig.is_local = True
    rig.see()
    keep = Recorder(rig.clock)

    def tell(run: BackupRun) -> None:
        rig.backups.append(run)
        keep(run)

    rig.runner = Runner(
        rig.source, rig.audit, rig.newest, DEFAULT_POLICY, rig.clock, on_backup=tell, spawn=lambda work: work()
    )
    return rig


def outcome(rig: Rig) -> Outcome | None:
    (action,) = rig.runner.actions()
    return action.outcome


def calls(rig: Rig) -> list[str]:
    return [call[0] for call in rig.asked()]


@pytest.mark.parametrize("elapsed_s", [9.0, 1.5])
def test_the_end_of_a_job_that_began_before_is_of_another(rig: Rig, elapsed_s: float) -> None:
    rig.second(20)
    rig.runner.submit(FULL)
    rig.end_backup(is_good=False)
    rig.finished = (replace(rig.finished[0], elapsed_s=elapsed_s, ended_s=rig.clock.time() + 1),)
    rig.second()
    assert (outcome(rig), calls(rig)) == (None, ["start_backup"])


@pytest.mark.parametrize("elapsed_s", [0.0, None])
def test_no_end_counts_while_a_backup_still_runs(rig: Rig, elapsed_s: float | None) -> None:
    rig.runner.submit(FULL)
    rig.end_backup(is_good=True)
    rig.finished = (replace(rig.finished[0], elapsed_s=elapsed_s),)
    rig.vm["jobs"] = (make_job(),)
    rig.second()
    assert outcome(rig) is None
    rig.vm["jobs"] = ()
    rig.second()
    assert outcome(rig) == Outcome(Ending.DONE, "done: 3.0G copied")


def test_an_end_that_is_told_before_the_call_returns_is_not_missed(rig: Rig) -> None:
    def end(name: str) -> None:
        rig.end_backup(is_good=True)
        rig.second()

    rig.control.before_call = end
    rig.runner.submit(FULL)
    assert outcome(rig) is None
    rig.second()
    assert outcome(rig) == Outcome(Ending.DONE, "done: 3.0G copied")


def test_two_programs_with_the_same_names_do_not_harm_each_other(recorded: Rig, tmp_path: Path) -> None:
    other = Rig(tmp_path / "other")
    other.is_local = True
    other.see()
    inner = tmp_path / "web-1-00000000"
    command = StartBackup(uuid=ID, folder=str(tmp_path))
    recorded.runner.submit(command)
    (file,) = [Path(path) for path in recorded.backups[0].request.targets.values()]
    before = sorted(inner.iterdir())
    second = Runner(
        other.source,
        recorded.audit,
        recorded.newest,
        DEFAULT_POLICY,
        recorded.clock,
        on_backup=Recorder(recorded.clock),
        spawn=lambda work: work(),
    )
    second.submit(command)
    (action,) = second.actions()
    text = f"{file.parent / '20231114T221320Z.json'}: there is a backup of this second already; try again"
    assert action.outcome == Outcome(Ending.FAILED, text)
    assert other.asked() == []
    assert sorted(inner.iterdir()) == before


def test_a_refused_backup_leaves_no_record_and_touches_no_checkpoint(recorded: Rig, tmp_path: Path) -> None:
    recorded.control.errors["start_backup"] = ControlError("domain moment exists", 9)
    recorded.runner.submit(StartBackup(uuid=ID, folder=str(tmp_path)))
    end = outcome(recorded)
    assert end is not None and end.ending is Ending.FAILED
    assert calls(recorded) == ["start_backup"]
    assert list((tmp_path / "web-1-00000000").iterdir()) == []


def test_a_backup_behind_a_lost_connection_is_followed_to_its_end(recorded: Rig, tmp_path: Path) -> None:
    recorded.control.errors["start_backup"] = LOST
    recorded.runner.submit(StartBackup(uuid=ID, folder=str(tmp_path)))
    assert recorded.runner.actions()[0].progress == f"copying; {LOST}"
    recorded.vm["jobs"] = (make_job(),)
    recorded.second(40)
    assert (outcome(recorded), calls(recorded)) == (None, ["start_backup"])
    recorded.end_backup(is_good=False, error="Operation canceled")
    recorded.second()
    assert outcome(recorded) == Outcome(Ending.FAILED, f"Operation canceled; {LOST}")
    assert calls(recorded) == ["start_backup", "delete_checkpoint"]


def test_a_backup_behind_a_lost_connection_that_is_never_seen_is_given_up_late(recorded: Rig, tmp_path: Path) -> None:
    recorded.control.errors["start_backup"] = LOST
    recorded.runner.submit(StartBackup(uuid=ID, folder=str(tmp_path)))
    (file,) = recorded.backups[0].request.targets.values()
    Path(file).touch()
    recorded.second(int(DEFAULT_POLICY.job_unseen_s) - 1)
    assert (outcome(recorded), calls(recorded)) == (None, ["start_backup"])
    recorded.second(3)
    end = outcome(recorded)
    assert end is not None and end.ending is Ending.FAILED
    assert end.text.endswith(str(LOST))
    (backup,), _ = read_backups(str(tmp_path / "web-1-00000000"))
    assert not backup.record.is_done, "its files may be there"


def test_a_check_of_its_files_may_take_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path, is_inline=False)
    rig.is_local = True
    rig.see()

    def work() -> None:
        while rig.work:
            rig.work.popleft()()

    rig.runner.submit(StartBackup(uuid=ID, folder=str(tmp_path)))
    work()
    for path in rig.backups[-1].request.targets.values():
        Path(path).touch()
    rig.end_backup(is_good=True)
    rig.second()
    rig.clock.sleep(CHECK_LIMIT_S)
    assert outcome(rig) is None
    seen: list[str] = []

    def tell(*_: object) -> str:
        seen.append(rig.runner.actions()[0].progress)
        return ""

    monkeypatch.setattr(copier.Copier, "_tell", tell)
    work()
    assert seen == [CHECKING]
    assert outcome(rig) == Outcome(Ending.DONE, "done: 3.0G copied")
