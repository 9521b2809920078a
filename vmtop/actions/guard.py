"""Command and situation -> verdict. Pure, and the only judge: dialogs show what it says, the runner obeys it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from vmtop.actions.backup_guard import check_backup, check_cancel, check_clear, check_limit, check_resume
from vmtop.actions.balloon_guard import check_balloon, check_period
from vmtop.actions.command import (
    CancelJob,
    Command,
    DeleteCheckpoints,
    DeleteSnapshot,
    LimitJob,
    ResumeVm,
    RevertSnapshot,
    SetBalloon,
    SetStatsPeriod,
    StartBackup,
    TakeSnapshot,
)
from vmtop.actions.situation import Situation, Subject, find_subject, is_held
from vmtop.actions.snapshot_guard import check_delete, check_revert, check_snapshot
from vmtop.actions.verdict import Verdict
from vmtop.derive.condition import is_off
from vmtop.derive.job import job_began_s
from vmtop.derive.words import duration_words
from vmtop.model.sample import Answer, VmSample, VmState


class _Rule(NamedTuple):
    check: Callable[[Any, Subject, Situation], Verdict]
    ability: str
    """Field of `Capability` that it needs."""
    may_be_off: bool = False
    may_be_paused: bool = True
    may_have_job: bool = True
    """With a job running it is still judged by its own check."""
    may_be_old: bool = False
    """Force accepts an old reading, too."""
    needs_storage: bool = False
    """It is judged by the VM's disks, snapshots and checkpoints."""


_RULES: Mapping[type[Command], _Rule] = MappingProxyType(
    {
        SetBalloon: _Rule(check_balloon, "can_balloon", may_be_paused=False, may_be_old=True),
        SetStatsPeriod: _Rule(check_period, "can_balloon"),
        TakeSnapshot: _Rule(check_snapshot, "can_snapshot", may_have_job=False, needs_storage=True),
        RevertSnapshot: _Rule(check_revert, "can_snapshot", may_be_off=True, may_have_job=False, needs_storage=True),
        DeleteSnapshot: _Rule(check_delete, "can_snapshot", may_be_off=True, may_have_job=False, needs_storage=True),
        StartBackup: _Rule(check_backup, "can_backup", may_have_job=False, needs_storage=True),
        DeleteCheckpoints: _Rule(check_clear, "can_backup", may_be_off=True, may_have_job=False, needs_storage=True),
        CancelJob: _Rule(check_cancel, "can_backup"),
        LimitJob: _Rule(check_limit, "can_backup"),
        ResumeVm: _Rule(check_resume, "can_backup"),
    }
)

NO_BACKUPS = "knows neither backups nor jobs of VMs"
_UNABLE: Mapping[str, str] = MappingProxyType(
    {"can_balloon": "has no balloons", "can_snapshot": "knows no snapshots", "can_backup": NO_BACKUPS}
)
"""Field of `Capability` -> what is to be said of a source without it."""

SAME_JOB_S = 10.0
"""A job that began no later than this after the one that was meant is the same: no two clocks go alike."""

_STANDING = {VmState.PAUSED, VmState.SUSPENDED}


def needs_storage(command: Command) -> bool:
    """It cannot be judged without the VM's disks, snapshots and checkpoints, which take time to read."""
    return _RULES[type(command)].needs_storage


def check(command: Command, now: Situation) -> Verdict:
    """Judge a command.

    What a verdict refuses must not be done; what `needs_name` asks for must have been typed. Force, where a command
    has it, is part of the command.
    """
    rule = _RULES[type(command)]
    general = refuse(command, now)
    subject = find_subject(now.frame, command.uuid)
    if subject is None or now.capability.is_readonly or not getattr(now.capability, rule.ability):
        return Verdict(refusals=general)
    verdict = rule.check(command, subject, now)
    return replace(verdict, refusals=(*general, *verdict.refusals))


def refuse(command: Command, now: Situation) -> tuple[str, ...]:
    """What speaks against any command of this kind, whatever its details; needs neither storage nor folder."""
    rule = _RULES[type(command)]
    if now.capability.is_readonly:
        return ("vmtop may change nothing here: it is read-only",)
    if not getattr(now.capability, rule.ability):
        return (f"{now.frame.sample.uri} {_UNABLE[rule.ability]}",)
    subject = find_subject(now.frame, command.uuid)
    if subject is None:
        return ("the VM is not there any more",)
    return tuple(_why_not(command, rule, subject, now))


def _why_not(command: Command, rule: _Rule, subject: Subject, now: Situation) -> list[str]:
    vm, refusals = subject.sample, []
    may_be_old = rule.may_be_old and getattr(command, "is_forced", False)
    if now.age_s > now.policy.action_frame_s and not may_be_old:
        refusals.append(f"the last reading is {duration_words(now.age_s)} old: {vm.name} may be another by now")
    if now.is_unanswered:
        refusals.append(f"an earlier action on {vm.name} got no answer yet")
    if is_off(vm) or vm.state is VmState.CRASHED:
        if not rule.may_be_off:
            refusals.append(f"{vm.name} is {vm.state}")
    elif vm.answer is Answer.HUNG:
        refusals.append(f"QEMU of {vm.name} does not answer")
    elif is_held(vm):
        refusals.append(f"another job holds {vm.name}")
    elif vm.state in _STANDING and not rule.may_be_paused:
        refusals.append(f"{vm.name} is {vm.state}: its guest would not answer until it goes on")
    if vm.jobs and not rule.may_have_job:
        refusals.append(f"a job runs on {vm.name} already: {', '.join(job.kind for job in vm.jobs)}")
    if isinstance(command, CancelJob | LimitJob) and command.kind is not None:
        refusals += _why_another(command, vm, now.frame.sample.time_s)
    return refusals


def _why_another(command: CancelJob | LimitJob, vm: VmSample, time_s: float) -> list[str]:
    """The job that was meant has ended, and another runs."""
    jobs = [job for job in vm.jobs if job.disk == command.disk]
    where = vm.name if command.disk is None else f"{command.disk} of {vm.name}"
    if jobs and command.kind not in [job.kind for job in jobs]:
        running = ", ".join(job.kind for job in jobs)
        return [f"the {command.kind} of {where} is over; what runs now is: {running}"]
    began_s = next((job_began_s(job, time_s) for job in jobs if job.kind is command.kind), None)
    if began_s is not None and command.began_s is not None and began_s - command.began_s > SAME_JOB_S:
        return [f"the {command.kind} of {where} that was meant is over; another began since"]
    return []
