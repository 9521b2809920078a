"""What a run of vmtop does about what another one left: backups, checkpoints, statistics periods."""

import os
from pathlib import Path

import pytest

from tests.actions.rig import Rig
from tests.actions.scenes import ID
from tests.builders import make_facts, make_job
from vmtop.actions.action import Action, Ending, Outcome
from vmtop.actions.command import SetStatsPeriod, StartBackup
from vmtop.actions.heir import LOOK_S
from vmtop.actions.ledger import Ledger
from vmtop.actions.recorder import Recorder
from vmtop.actions.runner import Runner
from vmtop.backends.backup_folder import read_backups
from vmtop.errors import ControlError
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import FinishedJob, JobKind
from vmtop.units import GIB

STAMP = "20231114T221320Z"
COPY_S = 600


class Runs:
    """One run of vmtop after another on the same machine, with the same audit and ledger."""

    def __init__(self, folder: Path) -> None:
        self.rig = Rig(folder)
        self.rig.is_local = True
        self.rig.see()
        self.open_folder = folder / "open"
        self.backup_folder = folder / "backup"
        self.backup_folder.mkdir()
        self.ledger = Ledger(None)
        self.start()

    def start(self, *, takes_over: bool = True) -> None:
        """Another run."""
        self.ledger = Ledger(self.open_folder)
        rig = self.rig
        rig.runner = Runner(
            rig.source,
            rig.audit,
            rig.newest,
            DEFAULT_POLICY,
            rig.clock,
            ledger=self.ledger,
            on_backup=Recorder(rig.clock),
            spawn=lambda work: work(),
        )
        if takes_over:
            rig.runner.take_over()

    def kill(self) -> None:
        """The end of the present run, of which it notices nothing."""
        self.ledger.leave()

    @property
    def action(self) -> Action:
        (action,) = self.rig.runner.actions()
        return action

    @property
    def files(self) -> list[Path]:
        folder = self.backup_folder / "web-1-00000000"
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def back_up(self) -> None:
        """Begin a backup and see it run."""
        self.rig.runner.submit(StartBackup(uuid=ID, folder=str(self.backup_folder)))
        (asked,) = [call for call in self.rig.asked() if call[0] == "start_backup"]
        for path in asked[2].targets.values():
            Path(path).write_bytes(b"a part of a disk")
        self.rig.vm["jobs"] = (make_job(elapsed_s=0.0),)
        self.rig.second()
        assert self.action.progress == "copying"

    def copy(self) -> None:
        """The copying goes on to its end, with nobody looking."""
        self.rig.clock.sleep(COPY_S)
        self.rig.vm["jobs"] = ()
        for file in self.files:
            os.utime(file, (self.rig.clock.time(), self.rig.clock.time()))

    def ended(self, *, is_good: bool = True, elapsed_s: float = COPY_S) -> FinishedJob:
        return FinishedJob(
            uuid=ID,
            name="web-1",
            kind=JobKind.BACKUP,
            is_good=is_good,
            error=None if is_good else "Operation canceled",
            ended_s=self.rig.clock.time(),
            elapsed_s=elapsed_s,
            processed_bytes=3 * GIB,
        )

    def open_entries(self) -> list[Path]:
        return sorted(self.open_folder.iterdir())

    def calls(self) -> list[str]:
        return [call[0] for call in self.rig.asked()]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    # What lies in the files of these tests is no image.
    monkeypatch.setattr("vmtop.actions.recorder.check_image", lambda *_: None)
    return Runs(tmp_path)


def test_a_backup_that_goes_on_is_followed_by_the_next_run(runs: Runs, tmp_path: Path) -> None:
    runs.back_up()
    runs.kill()
    runs.start()
    assert runs.rig.runner.actions() == ()
    runs.rig.vm["jobs"] = (make_job(elapsed_s=2.0),)
    runs.rig.second(2)
    assert runs.action.progress == "copying; an earlier vmtop began it"
    assert runs.action.sentence == f"back up all disks of web-1 to {runs.backup_folder}"
    runs.rig.end_backup(is_good=True)
    runs.rig.second()
    assert runs.action.outcome == Outcome(Ending.DONE, "done: 3.0G copied; an earlier vmtop began it")
    (backup,), _ = read_backups(str(runs.backup_folder))
    assert backup.record.is_done
    assert runs.open_entries() == []


def test_the_audit_pairs_the_begin_of_one_run_with_the_end_of_another(runs: Runs) -> None:
    runs.back_up()
    runs.kill()
    runs.start()
    runs.rig.second(2)
    runs.rig.end_backup(is_good=True)
    runs.rig.second()
    started, ended = runs.rig.records()
    assert (started.id, started.outcome) == (ended.id, None)
    assert ended.outcome == "done"


def test_a_backup_that_ended_while_nobody_looked_is_kept_when_all_speaks_for_it(runs: Runs) -> None:
    runs.back_up()
    runs.kill()
    runs.copy()
    runs.rig.source.last_job = runs.ended()
    runs.start()
    runs.rig.second(2)
    assert runs.action.outcome == Outcome(Ending.DONE, "done: 3.0G copied; an earlier vmtop began it")
    (backup,), _ = read_backups(str(runs.backup_folder))
    assert backup.record.is_done
    assert runs.calls() == ["start_backup"]
    assert runs.open_entries() == []


@pytest.mark.parametrize("elapsed_s", [COPY_S - 120.0, COPY_S + 120.0])
def test_the_end_of_another_backup_proves_nothing(runs: Runs, elapsed_s: float) -> None:
    runs.back_up()
    runs.kill()
    runs.copy()
    runs.rig.source.last_job = runs.ended(elapsed_s=elapsed_s)
    runs.start()
    runs.rig.second(2)
    why = "the backup is gone, and nobody told how it ended: its files may be incomplete; an earlier vmtop began it"
    assert runs.action.outcome == Outcome(Ending.FAILED, why)
    (backup,), _ = read_backups(str(runs.backup_folder))
    assert not backup.record.is_done, "its files are the operator's"
    assert runs.calls() == ["start_backup", "delete_checkpoint"], "no later backup may go on from it"


def test_of_a_backup_without_files_nothing_is_left(runs: Runs) -> None:
    runs.back_up()
    runs.kill()
    runs.copy()
    for file in runs.files:
        if file.suffix != ".json":
            file.unlink()
    runs.rig.source.last_job = runs.ended(is_good=False)
    runs.start()
    runs.rig.second(2)
    why = "the backup failed, or never began, for none of its files is there; an earlier vmtop began it"
    assert runs.action.outcome == Outcome(Ending.FAILED, why)
    assert (runs.files, runs.open_entries()) == ([], [])
    assert runs.calls() == ["start_backup", "delete_checkpoint"]


def test_a_run_that_was_killed_before_libvirt_was_asked_leaves_nothing(runs: Runs) -> None:
    runs.rig.control.errors["start_backup"] = ControlError("killed")
    runs.rig.control.before_call = lambda _: runs.kill()
    runs.rig.runner.submit(StartBackup(uuid=ID, folder=str(runs.backup_folder)))
    runs.rig.control.before_call = lambda _: None
    assert [file.name for file in runs.files] == [f"{STAMP}.json"]
    runs.start()
    runs.rig.second(2)
    assert runs.action.outcome is not None and runs.action.outcome.ending is Ending.FAILED
    assert (runs.files, runs.open_entries()) == ([], [])


def test_another_backup_that_runs_now_is_not_taken_for_it(runs: Runs) -> None:
    runs.back_up()
    runs.kill()
    runs.copy()
    runs.rig.clock.sleep(1000)
    runs.rig.vm["jobs"] = (make_job(elapsed_s=7.0),)
    runs.start()
    runs.rig.second(100)
    assert runs.action.outcome is None, "it may be ours, on a clock that was set"
    assert runs.action.progress == "waiting for another backup of this VM to end; an earlier vmtop began it"
    runs.rig.vm["jobs"] = ()
    runs.rig.second(2)
    assert runs.action.outcome is not None and runs.action.outcome.text.startswith("the backup is gone")


def test_a_vm_that_is_gone_leaves_nothing_to_wait_for(runs: Runs) -> None:
    runs.back_up()
    runs.kill()
    runs.copy()
    runs.rig.source.last_job = ControlError("Domain not found", 42)
    runs.start()
    runs.rig.second(2)
    assert runs.action.outcome is not None and runs.action.outcome.text.startswith("the backup is gone")
    assert runs.open_entries() == []


def test_a_folder_that_is_not_mounted_is_waited_for(runs: Runs, tmp_path: Path) -> None:
    runs.back_up()
    runs.kill()
    runs.copy()
    runs.rig.source.last_job = runs.ended()
    away = runs.backup_folder.rename(tmp_path / "away")
    runs.start()
    runs.rig.second(5)
    assert runs.action.outcome is None
    assert "cannot be looked into: No such file or directory" in runs.action.progress
    assert runs.calls() == ["start_backup"]
    away.rename(runs.backup_folder)
    runs.rig.second(int(LOOK_S))
    assert runs.action.outcome == Outcome(Ending.DONE, "done: 3.0G copied; an earlier vmtop began it")


def test_before_it_is_known_whether_it_runs_nothing_is_concluded(runs: Runs) -> None:
    runs.back_up()
    runs.kill()
    runs.rig.vm |= {"jobs": (), "facts": None, "unknown": {"facts": "libvirt was not asked yet"}}
    runs.start()
    runs.rig.second(5)
    assert (runs.action.outcome, runs.calls()) == (None, ["start_backup"])
    runs.rig.vm |= {"jobs": (make_job(elapsed_s=6.0),), "facts": make_facts(), "unknown": {}}
    runs.rig.second()
    assert runs.action.progress == "copying; an earlier vmtop began it"


def test_a_backup_whose_files_are_written_still_goes_on(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.back_up()
    runs.kill()
    runs.rig.vm["jobs"] = ()
    monkeypatch.setattr("vmtop.actions.copier.is_any_written", lambda _: True)
    runs.start()
    runs.rig.second(5)
    assert (runs.action.outcome, runs.calls()) == (None, ["start_backup"])


def test_another_backup_that_ends_while_it_is_looked_for_is_not_taken_for_it(runs: Runs) -> None:
    runs.back_up()
    runs.kill()
    runs.copy()
    runs.rig.source.last_job = ControlError("QEMU does not answer", 68)
    runs.start()
    runs.rig.second(2)
    runs.rig.finished = (runs.ended(elapsed_s=1.0),)
    runs.rig.second(2)
    assert runs.action.outcome is None


def test_while_nobody_tells_how_it_ended_it_is_asked_again(runs: Runs) -> None:
    runs.back_up()
    runs.kill()
    runs.copy()
    runs.rig.source.last_job = ControlError("QEMU does not answer", 68)
    runs.start()
    runs.rig.second(2)
    assert runs.action.outcome is None
    assert runs.action.progress.startswith("nobody tells how it ended: QEMU does not answer")
    runs.rig.source.last_job = runs.ended()
    runs.rig.second(int(LOOK_S))
    assert runs.action.outcome == Outcome(Ending.DONE, "done: 3.0G copied; an earlier vmtop began it")


def test_what_another_run_sees_to_is_left_to_it_until_it_ends(runs: Runs) -> None:
    runs.back_up()
    first = runs.ledger
    runs.start()
    runs.rig.second(5)
    assert runs.rig.runner.actions() == ()
    first.leave()
    runs.rig.vm["jobs"] = (make_job(elapsed_s=LOOK_S + 3),)
    runs.rig.second(int(LOOK_S) + 1)
    assert runs.action.progress == "copying; an earlier vmtop began it"


def test_what_concerns_one_vm_is_taken_over_at_once_and_nothing_else(runs: Runs) -> None:
    runs.back_up()
    runs.kill()
    runs.start(takes_over=False)
    runs.rig.second(int(LOOK_S))
    assert runs.rig.runner.take_over_of("another-vm") == ()
    (action,) = runs.rig.runner.take_over_of(ID)
    assert action == runs.action
    assert action.progress == "looking how it stands; an earlier vmtop began it"


def test_a_checkpoint_that_could_not_be_deleted_is_deleted_by_the_next_run(runs: Runs) -> None:
    runs.back_up()
    runs.rig.control.errors["delete_checkpoint"] = ControlError("the domain is not running", 55)
    runs.rig.end_backup(is_good=False, error="No space left on device")
    runs.rig.second()
    assert (
        runs.action.outcome is not None
        and f"its checkpoint vmtop-{STAMP} is deleted as soon" in runs.action.outcome.text
    )
    runs.kill()
    del runs.rig.control.errors["delete_checkpoint"]
    runs.start()
    runs.rig.second(2)
    assert runs.rig.asked()[-1] == ("delete_checkpoint", ID, f"vmtop-{STAMP}")
    assert runs.open_entries() == []
    assert runs.rig.records()[-1].sentence == f"delete the checkpoint vmtop-{STAMP} of web-1, whose backup failed"


def test_what_cannot_be_taken_over_is_told(runs: Runs) -> None:
    runs.back_up()
    runs.kill()
    (entry,) = runs.open_entries()
    entry.write_text("{")
    runs.start()
    runs.rig.second(2)
    assert runs.rig.runner.problems == (
        f"{entry}: what an earlier vmtop left to be seen to cannot be used: it is no JSON",
    )


# -- statistics periods


def silent(runs: Runs) -> None:
    runs.rig.vm["facts"] = make_facts(stats_period_s=0)
    runs.rig.see()


def set_period(runs: Runs, period_s: int = 5) -> None:
    """What the VM has from now on, whoever set it."""
    runs.rig.vm["facts"] = make_facts(stats_period_s=period_s)
    runs.rig.see()


PERIOD = SetStatsPeriod(uuid=ID, period_s=5)


def test_a_passing_period_is_put_back_at_the_end(runs: Runs) -> None:
    silent(runs)
    runs.rig.runner.submit(PERIOD, is_passing=True)
    set_period(runs)
    assert len(runs.open_entries()) == 1
    (back,) = runs.rig.runner.put_back()
    assert runs.rig.asked() == [("set_stats_period", ID, 5), ("set_stats_period", ID, 0)]
    assert runs.open_entries() == []
    assert runs.rig.records()[-1].undoes == runs.rig.records()[0].id
    assert runs.rig.runner.put_back() == (), "once is enough"
    assert back.id == runs.rig.records()[-1].id


def test_a_passing_period_of_a_killed_run_is_put_back_by_the_next(runs: Runs) -> None:
    silent(runs)
    runs.rig.runner.submit(PERIOD, is_passing=True)
    set_period(runs)
    runs.kill()
    runs.start()
    runs.rig.second(2)
    assert runs.rig.asked() == [("set_stats_period", ID, 5), ("set_stats_period", ID, 0)]
    assert runs.open_entries() == []


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_period_that_somebody_else_set_since_is_left_alone(runs: Runs, is_killed: bool) -> None:
    silent(runs)
    runs.rig.runner.submit(PERIOD, is_passing=True)
    set_period(runs, 10)
    if is_killed:
        runs.kill()
        runs.start()
        runs.rig.second(2)
    else:
        assert runs.rig.runner.put_back() == ()
    assert runs.rig.asked() == [("set_stats_period", ID, 5)]
    assert runs.open_entries() == []


def test_a_period_that_is_not_seen_yet_is_asked_for_again(runs: Runs) -> None:
    silent(runs)
    runs.rig.runner.submit(PERIOD, is_passing=True)
    assert runs.rig.runner.put_back() == ()
    assert runs.rig.runner.is_to_put_back, "libvirt was not asked again since"
    set_period(runs)
    assert len(runs.rig.runner.put_back()) == 1
    assert not runs.rig.runner.is_to_put_back
    assert runs.rig.asked() == [("set_stats_period", ID, 5), ("set_stats_period", ID, 0)]


def test_a_period_that_was_never_set_is_forgotten_by_the_next_run(runs: Runs) -> None:
    silent(runs)
    runs.rig.runner.submit(PERIOD, is_passing=True)
    runs.kill()
    runs.start()
    runs.rig.second(2)
    assert (runs.calls(), runs.open_entries()) == (["set_stats_period"], [])


def test_a_vm_of_which_too_little_is_known_is_looked_at_again(runs: Runs) -> None:
    silent(runs)
    runs.rig.runner.submit(PERIOD, is_passing=True)
    runs.kill()
    runs.rig.vm |= {"facts": None, "unknown": {"facts": "libvirt was not asked yet"}}
    runs.start()
    runs.rig.second(2)
    assert (len(runs.open_entries()), runs.calls()) == (1, ["set_stats_period"])
    runs.rig.vm["unknown"] = {}
    set_period(runs)
    runs.rig.second(int(LOOK_S) + 1)
    assert (runs.open_entries(), runs.calls()) == ([], ["set_stats_period"] * 2)


def test_a_period_that_could_not_be_put_back_is_left_to_the_next_run(runs: Runs) -> None:
    silent(runs)
    runs.rig.runner.submit(PERIOD, is_passing=True)
    set_period(runs)
    runs.rig.control.errors["set_stats_period"] = ControlError("the connection was lost")
    runs.rig.runner.put_back()
    assert len(runs.open_entries()) == 1
    del runs.rig.control.errors["set_stats_period"]
    runs.kill()
    runs.start()
    runs.rig.second(2)
    assert runs.rig.asked()[-1] == ("set_stats_period", ID, 0)
    assert runs.open_entries() == []


def test_a_period_that_was_refused_is_not_put_back(runs: Runs) -> None:
    silent(runs)
    runs.rig.age_s = 600.0
    runs.rig.runner.submit(PERIOD, is_passing=True)
    runs.rig.age_s = 0.0
    set_period(runs)
    assert runs.rig.runner.put_back() == ()
    assert runs.calls() == []


def test_a_period_that_is_to_stay_stays(runs: Runs) -> None:
    silent(runs)
    runs.rig.runner.submit(PERIOD)
    set_period(runs)
    assert runs.rig.runner.put_back() == ()
    runs.kill()
    runs.start()
    runs.rig.second(2)
    assert runs.calls() == ["set_stats_period"]


def test_without_a_promise_on_disk_nothing_is_set(runs: Runs) -> None:
    silent(runs)
    runs.open_folder.parent.chmod(0o700)
    runs.open_folder.write_text("no folder")
    action = runs.rig.runner.submit(PERIOD, is_passing=True)
    outcome = runs.rig.runner.actions()[0].outcome
    assert outcome is not None and outcome.ending is Ending.REFUSED
    assert "what vmtop has to see to later cannot be written down" in outcome.text
    assert (runs.calls(), action.vm) == ([], "web-1")
