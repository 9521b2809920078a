"""`vmtop balloon`, `snapshot`, `backup`, `undo`: what was typed -> commands."""

import argparse
from dataclasses import asdict, replace
from pathlib import Path

from vmtop.actions.audit import Undo
from vmtop.actions.checkpoint import Clearing, choose_checkpoints
from vmtop.actions.command import (
    DeleteCheckpoints,
    DeleteSnapshot,
    RevertSnapshot,
    SetBalloon,
    StartBackup,
    TakeSnapshot,
)
from vmtop.actions.runner import undo_command
from vmtop.actions.situation import Situation, Subject, find_subject
from vmtop.actions.size import explain_floor, parse_target, size_text
from vmtop.command_line.act import LOOK_S, SIMULATED, act, describe, describe_source, perform, settle
from vmtop.command_line.consent import check_confirmed
from vmtop.command_line.place import Place
from vmtop.command_line.session import Session
from vmtop.derive.guest import GuestUpdate
from vmtop.derive.rates import FIRST_READING
from vmtop.errors import RefusedError, UsageError
from vmtop.model.kind import SnapshotKind
from vmtop.model.storage import SnapshotRequest
from vmtop.viewmodel.formats import format_time
from vmtop.viewmodel.outcome import ACTION_WORDS
from vmtop.viewmodel.snapshots import build_snapshots, snapshot_choices


def run_balloon(place: Place, session: Session, wanted: argparse.Namespace) -> int:
    """Move the balloon of a VM."""
    subject = session.find_vm(wanted.vm)
    check_confirmed(wanted, subject.metrics.name)
    target_bytes = parse_target(wanted.size, subject.metrics, session.policy)
    if target_bytes < (subject.metrics.balloon_bytes or 0):
        subject = _see_rates(place, session, subject)
        target_bytes = parse_target(wanted.size, subject.metrics, session.policy)
    vm = subject.metrics
    command = SetBalloon(uuid=vm.uuid, target_bytes=target_bytes, is_forced=wanted.force)
    return act(place, session, command, wanted, note=explain_floor(wanted.size, vm, session.policy))


def _see_rates(place: Place, session: Session, subject: Subject) -> Subject:
    """Wait for a second set of the guest's figures, where some come: one tells nothing of what it swaps already."""
    facts, vm = subject.sample.facts, subject.metrics
    period_s = 0 if facts is None or subject.update is None or vm.is_stale else facts.stats_period_s or 0
    give_up_s = place.clock.monotonic() + period_s + 2 * session.reader.delay_s if period_s else 0.0
    while place.clock.monotonic() < give_up_s and subject.update is not None and not _has_rates(subject.update):
        place.console.progress(f"{vm.name}: waiting for the guest's next figures, to know whether it swaps already")
        place.clock.sleep(LOOK_S)
        subject = find_subject(session.reader.frame(), vm.uuid) or subject
    return subject


def _has_rates(update: GuestUpdate) -> bool:
    rates = update.rates
    return rates.why_none != FIRST_READING or rates.major_faults_per_s is not None


def run_backup(place: Place, session: Session, wanted: argparse.Namespace) -> int:
    """Copy disks of a VM into a folder, or delete what earlier copies left in it."""
    if wanted.delete_checkpoints is not None:
        return _delete_checkpoints(place, session, wanted)
    vm, folder = session.find_vm(wanted.vm).metrics, wanted.to
    check_confirmed(wanted, vm.name)
    if not wanted.rate and wanted.rate is not None:
        raise UsageError("--rate none: leave it out for no limit")
    if not (wanted.dry_run or session.source.capability.is_readonly):
        settle(place, session, vm.uuid)
    here = str(Path(folder).absolute())
    if session.source.read_folder(here, "") is not None:
        folder = here  # where we are means nothing on another host
    command = StartBackup(
        uuid=vm.uuid,
        folder=folder,
        is_incremental=wanted.incremental,
        bytes_per_s=wanted.rate,
        is_forced=wanted.force,
    )
    return act(place, session, command, wanted)


def _delete_checkpoints(place: Place, session: Session, wanted: argparse.Namespace) -> int:
    if wanted.incremental or wanted.rate is not None or wanted.force:
        raise UsageError("--incremental, --rate and --force are about a backup to start; leave them out here")
    vm = session.find_vm(wanted.vm).metrics
    check_confirmed(wanted, vm.name)
    clearing = Clearing(wanted.delete_checkpoints)
    names = choose_checkpoints(session.source.read_storage(vm.uuid), clearing)
    return act(place, session, DeleteCheckpoints(uuid=vm.uuid, names=names), wanted)


def run_snapshot(place: Place, session: Session, wanted: argparse.Namespace) -> int:
    """Take a snapshot, list them, revert to one, delete one."""
    subject = session.find_vm(wanted.vm)
    uuid, others = subject.metrics.uuid, (wanted.list, wanted.revert is not None, wanted.delete is not None)
    if any(others) and (wanted.kind or wanted.name or wanted.quiesce or wanted.memory_file):
        raise UsageError(
            "--kind, --name, --quiesce and --memory-file are about a snapshot to take; leave them out here"
        )
    if wanted.list:
        return _list_snapshots(place, session, subject, wanted)
    check_confirmed(wanted, subject.metrics.name)
    if wanted.revert is not None:
        return act(place, session, RevertSnapshot(uuid=uuid, name=wanted.revert), wanted)
    if wanted.delete is not None:
        return act(place, session, DeleteSnapshot(uuid=uuid, name=wanted.delete), wanted)
    return act(place, session, TakeSnapshot(uuid=uuid, request=_plan_snapshot(session, subject, wanted)), wanted)


def _plan_snapshot(session: Session, subject: Subject, wanted: argparse.Namespace) -> SnapshotRequest:
    """The best kind that is possible of those that were asked for; when none is, the guard says why."""
    frame = session.reader.frame()
    now = Situation(
        frame=frame,
        policy=session.policy,
        capability=session.source.capability,
        storage=session.source.read_storage(subject.metrics.uuid),
    )
    kind = SnapshotKind(wanted.kind) if wanted.kind else None
    if wanted.quiesce:
        kind = kind or SnapshotKind.DISK_ONLY
    requests = [choice.request for choice in snapshot_choices(subject.metrics, now)]
    fitting = [each for each in requests if kind in {None, each.kind} and (wanted.quiesce or not each.is_quiesced)]
    request = replace(fitting[0], is_quiesced=wanted.quiesce)
    if wanted.memory_file is not None:
        request = replace(request, memory_path=wanted.memory_file)
    if wanted.name is None:
        return request
    path = request.memory_path
    if path is not None and wanted.memory_file is None:
        path = path.replace(f".{request.name}.mem", f".{wanted.name.replace('/', '_')}.mem")
    return replace(request, name=wanted.name, memory_path=path)


def _list_snapshots(place: Place, session: Session, subject: Subject, wanted: argparse.Namespace) -> int:
    console, storage = place.console, session.source.read_storage(subject.metrics.uuid)
    if wanted.json:
        snapshots = [asdict(each) for each in storage.snapshots]
        vm = {"uuid": subject.metrics.uuid, "vm": subject.metrics.name}
        console.write_object(wanted.command, **describe_source(session), **vm, snapshots=snapshots)
        return 0
    sample = session.reader.frame().sample
    if sample.is_simulated:
        console.write(SIMULATED)
    if not storage.snapshots:
        console.write(f"{subject.metrics.name} has no snapshots")
        return 0
    page = build_snapshots(storage, now_s=sample.time_s, width=console.width, has_unicode=console.has_unicode)
    console.write_lines(page.lines)
    return 0


def run_undo(place: Place, session: Session, wanted: argparse.Namespace) -> int:
    """Take back the last changes."""
    console = place.console
    session.reader.frame()
    changes = session.runner.undoable()
    nothing = f"nothing that vmtop changed on {session.source.uri} is left to be taken back"
    if session.source.began_s is not None:
        nothing = f"nothing is left to be taken back: {session.source.uri} began anew with this command"
    if wanted.list:
        if wanted.json:
            console.write_object(wanted.command, **describe_source(session), changes=[asdict(each) for each in changes])
        else:
            console.write(*(_change_words(each) for each in changes) if changes else (nothing,))
        return 0
    if not changes:
        raise RefusedError(nothing)
    done = []
    for change in changes[: wanted.count]:
        check_confirmed(wanted, change.vm)
    for change in changes[: wanted.count]:
        command = undo_command(change, is_forced=wanted.force)
        done.append(perform(place, session, command, wanted, undoes=change.id))
        if done[-1].exit_code:
            break  # an older change is not taken back below a newer one that stays
    if wanted.json:
        actions = [describe(each, wanted) for each in done]
        console.write_object(wanted.command, **describe_source(session), actions=actions)
    return done[-1].exit_code


def _change_words(change: Undo) -> str:
    def words(value: int | None) -> str:
        return "?" if value is None else f"{value} s" if change.action == "period" else size_text(value)

    what = ACTION_WORDS[change.action]
    return f"{format_time(change.time_s)}  {change.vm}: {what} from {words(change.old)} to {words(change.new)}"
