from typing import get_args

import pytest

from tests.actions.scenes import ID
from tests.builders import make_frame, make_job, make_vm
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
from vmtop.actions.runner import DEADLINES_S
from vmtop.model.kind import SnapshotKind
from vmtop.model.sample import JobKind
from vmtop.model.storage import SnapshotRequest
from vmtop.units import GIB, MIB
from vmtop.viewmodel.outcome import ACTION_WORDS

QUIET = SnapshotRequest(name="s1", kind=SnapshotKind.DISK_ONLY, is_quiesced=True)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (SetBalloon(uuid=ID, target_bytes=2 * GIB), "set the balloon of web-1 to 2.0G, from 4.0G"),
        (SetStatsPeriod(uuid=ID, period_s=5), "have web-1 send its memory figures every 5 s"),
        (SetStatsPeriod(uuid=ID, period_s=0), "have web-1 send its memory figures no more"),
        (
            TakeSnapshot(uuid=ID, request=QUIET),
            "take snapshot s1 of web-1, of its disks alone, file systems frozen",
        ),
        (RevertSnapshot(uuid=ID, name="s1"), "throw away the present state of web-1 for that of its snapshot s1"),
        (DeleteSnapshot(uuid=ID, name="s1"), "delete the snapshot s1 of web-1"),
        (StartBackup(uuid=ID, folder="/b"), "back up all disks of web-1 to /b"),
        (
            StartBackup(uuid=ID, folder="/b", is_incremental=True, bytes_per_s=50 * MIB),
            "back up what changed since the last backup of web-1 to /b, at most 50M/s for each disk",
        ),
        (CancelJob(uuid=ID), "cancel the backup of web-1"),
        (LimitJob(uuid=ID, bytes_per_s=20 * MIB), "limit the backup of web-1 to 20M/s for each disk"),
        (LimitJob(uuid=ID, bytes_per_s=0), "let the backup of web-1 run as fast as it can"),
        (ResumeVm(uuid=ID), "let web-1 go on"),
        (CancelJob(uuid=ID, disk="vda"), "cancel the job of vda of web-1"),
        (CancelJob(uuid=ID, disk="vda", kind=JobKind.BLOCK_COPY), "cancel the block copy of vda of web-1"),
        (
            LimitJob(uuid=ID, bytes_per_s=20 * MIB, disk="vda", kind=JobKind.BLOCK_COMMIT),
            "limit the block commit of vda of web-1 to 20M/s",
        ),
        (
            LimitJob(uuid=ID, bytes_per_s=0, disk="vda", kind=JobKind.BLOCK_COMMIT),
            "let the block commit of vda of web-1 run as fast as it can",
        ),
    ],
)
def test_a_command_says_what_it_is(command: Command, sentence: str) -> None:
    assert command.sentence(make_frame([make_vm(name="web-1", jobs=(make_job(),))]).vms[0]) == sentence


def test_a_cancel_names_the_job_that_was_confirmed() -> None:
    vm = make_frame([make_vm(name="web-1", jobs=(make_job(),))]).vms[0]
    assert CancelJob(uuid=ID, kind=JobKind.SNAPSHOT).sentence(vm) == "cancel the snapshot of web-1"


@pytest.mark.parametrize("kind", get_args(Command))
def test_every_command_has_a_deadline_and_a_word_that_people_use(kind: type[Command]) -> None:
    assert DEADLINES_S[kind] > 0
    assert ACTION_WORDS[kind.action]
