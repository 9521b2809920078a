"""`vmtop jobs`: what runs, what ended, and how to end or slow it."""

import argparse
from dataclasses import asdict

from vmtop.actions.audit import UNDOABLE
from vmtop.actions.command import CancelJob, Command, LimitJob, ResumeVm
from vmtop.command_line.act import SIMULATED, act, describe_source
from vmtop.command_line.consent import check_confirmed
from vmtop.command_line.place import Place
from vmtop.command_line.session import Session
from vmtop.derive.frame import Frame
from vmtop.derive.job import JobMetrics, job_began_s
from vmtop.errors import UsageError
from vmtop.viewmodel.audit import Entry, build_audit, pair_records
from vmtop.viewmodel.jobs import describe_job

MOST_ENDED = 10
"""Ended actions that are shown."""


def run_jobs(place: Place, session: Session, wanted: argparse.Namespace) -> int:
    """Show jobs, or do something about the one of a VM."""
    is_acting = wanted.cancel or wanted.limit is not None or wanted.resume
    if is_acting and wanted.vm is None:
        raise UsageError("which VM? Name it; see vmtop jobs --help")
    if wanted.disk is not None and not wanted.cancel and wanted.limit is None:
        raise UsageError("--disk says whose job is meant by --cancel or --limit; see vmtop jobs --help")
    vm = None if wanted.vm is None else session.find_vm(wanted.vm).metrics
    if is_acting and vm is not None:
        check_confirmed(wanted, vm.name)
        return act(place, session, _command(vm.uuid, session.reader.frame(), wanted), wanted)
    return _show(place, session, None if vm is None else vm.uuid, wanted)


def _command(uuid: str, frame: Frame, wanted: argparse.Namespace) -> Command:
    if wanted.resume:
        return ResumeVm(uuid=uuid)
    meant = (each.job for each in frame.jobs.running if each.uuid == uuid and each.job.disk == wanted.disk)
    job = next(meant, None)
    kind, began_s = (None, None) if job is None else (job.kind, job_began_s(job, frame.sample.time_s))
    if wanted.cancel:
        return CancelJob(uuid=uuid, kind=kind, disk=wanted.disk, began_s=began_s)
    return LimitJob(uuid=uuid, bytes_per_s=wanted.limit, kind=kind, disk=wanted.disk, began_s=began_s)


def _show(place: Place, session: Session, uuid: str | None, wanted: argparse.Namespace) -> int:
    console, frame = place.console, session.reader.frame()
    if frame.jobs.running:
        # How fast they are, and so how long it takes, only a second reading tells.
        place.clock.sleep(session.reader.delay_s)
        frame = session.reader.frame()
    running = [each for each in frame.jobs.running if uuid in {None, each.uuid}]
    ended = _ended(place, frame, uuid)
    if wanted.json:
        jobs = [_job_object(each) for each in running]
        past = [asdict(each.last) for each in ended]
        console.write_object(wanted.command, **describe_source(session), running=jobs, ended=past)
        return 0
    if frame.sample.is_simulated:
        console.write(SIMULATED)
    console.write(*(f"{each.name}: {describe_job(each)}" for each in running))
    if not running:
        console.write("no job runs" if uuid is None else f"no job runs on {wanted.vm}")
    if ended:
        console.write("", "What vmtop did last:")
        console.write_lines(build_audit(ended, width=console.width, has_unicode=console.has_unicode).lines)
    return 0


def _ended(place: Place, frame: Frame, uuid: str | None) -> list[Entry]:
    """The last snapshots, backups and the like of this source; balloons are no jobs."""
    entries = [
        each
        for each in pair_records(place.audit.read())
        if each.last.uri == frame.sample.uri and each.last.action not in {*UNDOABLE, "rollback"}
    ]
    return [each for each in entries if uuid in {None, each.last.uuid}][:MOST_ENDED]


def _job_object(each: JobMetrics) -> dict[str, object]:
    job = {**asdict(each.job), "kind": each.job.kind.value}
    figures = ("uuid", "name", "done_ratio", "rate_bytes_per_s", "left_s", "still_s", "is_stalled", "is_ready")
    return {**{figure: getattr(each, figure) for figure in figures}, **job}
