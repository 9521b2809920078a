"""One command from its card to its outcome, for a person or for a program."""

import argparse
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, NamedTuple

from vmtop.actions.action import Action, Ending
from vmtop.actions.command import CancelJob, Command, DeleteCheckpoints, SetBalloon, StartBackup
from vmtop.actions.copier import CHECKING, COPYING
from vmtop.actions.situation import find_subject
from vmtop.actions.size import size_text
from vmtop.actions.verdict import Verdict
from vmtop.command_line.interrupt import noted_interrupts
from vmtop.command_line.place import Console, Place
from vmtop.command_line.session import Session
from vmtop.derive.words import duration_words
from vmtop.model.sample import JobKind
from vmtop.viewmodel.card import Entry, build_card, make_entries
from vmtop.viewmodel.jobs import describe_job
from vmtop.viewmodel.outcome import outcome_notice
from vmtop.viewmodel.tone import Span, Tone

SIMULATED = "SIMULATED host: nothing of this is real, and it begins anew with each command"
NOTHING_DONE = "nothing was done"
LOOK_S = 0.1
"""How often it is looked whether an action ended, or somebody wants it to."""
CARD_ROWS = 1_000
"""A terminal scrolls."""


class Performance(NamedTuple):
    """What became of a command that was asked for."""

    command: Command
    vm: str
    """Name, raw."""
    sentence: str
    """What was asked for, raw."""
    verdict: Verdict
    """What the guard said last."""
    action: Action | None
    """None when nothing was handed to the runner."""
    exit_code: int
    """0 when it is done, or when it could be done and was not to be."""


def act(place: Place, session: Session, command: Command, wanted: argparse.Namespace, note: str = "") -> int:
    """Do what is wanted, print what became of it, and return the exit code; `note` stands below its card."""
    done = perform(place, session, command, wanted, note=note)
    if wanted.json:
        place.console.write_object(wanted.command, **describe_source(session), **describe(done, wanted))
    return done.exit_code


def perform(
    place: Place,
    session: Session,
    command: Command,
    wanted: argparse.Namespace,
    undoes: str | None = None,
    note: str = "",
) -> Performance:
    """Show the card, ask, hand over to the runner, and wait; prints all but JSON.

    Args:
        place: Where it is printed and asked.
        session: Whose VM it is about.
        command: What is to be done.
        wanted: How: dry_run, yes, confirm, json.
        undoes: Id of the action that this one takes back.
        note: More to be known of it; foreign text.
    """
    console, runner = place.console, session.runner
    verdict = runner.judge(command)
    entry = make_entries((command,), session.reader.frame(), {command: verdict})[0]
    unasked = Performance(command, entry.name, entry.sentence, verdict, None, 1)
    is_agreed = bool(verdict.already) or (wanted.yes and (verdict.is_refused or not verdict.needs_name))
    is_asking = not (wanted.dry_run or is_agreed or wanted.confirm)
    if not wanted.json or (is_asking and console.can_ask):
        _show_card(console, session, entry, note, is_note=wanted.json)
    if wanted.dry_run or (is_asking and verdict.is_refused):
        return unasked._replace(exit_code=verdict.refusal_code if verdict.is_refused else 0)
    name = wanted.confirm
    if is_asking:
        name, refusal = _ask(console, entry.name, verdict)
        if refusal:
            console.note(refusal)
            return unasked
    action = runner.submit(command, confirmed_name=name, undoes=undoes)
    with noted_interrupts() as interrupt:
        while _goes_on(session, action) and not interrupt.number:
            action = _look(place, session, action)
        if interrupt.number and _goes_on(session, action):
            console.note(f"interrupted: {_STOPS.get(type(command), _leave)(place, session, action)}")
        elif action.outcome is not None and not wanted.json and action.outcome.text != verdict.already:
            is_done = action.outcome.ending is Ending.DONE
            (console.write if is_done else console.note)(outcome_notice(action, action.outcome).text)
    last = runner.action(action.id) or action
    end_code = 1 if last.outcome is None else last.outcome.exit_code
    code = interrupt.exit_code if interrupt.number else end_code
    return unasked._replace(verdict=last.verdict or verdict, action=last, exit_code=code)


def settle(place: Place, session: Session, vm_uuid: str) -> None:
    """See to what an earlier vmtop left of this VM, unless that still goes on.

    Raises:
        KeyboardInterrupt: somebody does not want to wait; the next vmtop sees to it.
    """
    with noted_interrupts() as interrupt:
        for found in session.runner.take_over_of(vm_uuid):
            action, give_up_s = found, place.clock.monotonic() + session.policy.action_frame_s
            while _is_settling(action, place.clock.monotonic() < give_up_s) and not interrupt.number:
                action = _look(place, session, action)
            if action.outcome is not None:
                place.console.note(outcome_notice(action, action.outcome).text)
    for problem in session.runner.problems:
        place.console.note(problem)
    if interrupt.number:
        raise KeyboardInterrupt


def _is_settling(action: Action, has_time: bool) -> bool:
    """It is about to end; a check of files takes as long as it takes."""
    if action.is_over or action.progress.startswith(COPYING):
        return False
    return has_time or action.progress == CHECKING


def _show_card(console: Console, session: Session, entry: Entry, note: str, *, is_note: bool) -> None:
    frame = session.reader.frame()
    if frame.sample.is_simulated:
        (console.note if is_note else console.write)(SIMULATED)
    notes = [(Span(note, Tone.DIM),)] if note else []
    card = build_card(
        (entry,), frame, width=console.width, rows=CARD_ROWS, has_unicode=console.has_unicode, notes=notes
    )
    console.write_lines(card, is_note=is_note)


def _ask(console: Console, name: str, verdict: Verdict) -> tuple[str, str]:
    """The name as it was typed, and why nothing is done; empty where it is to be done."""
    if not console.can_ask:
        how = f"--confirm {shlex.quote(name)}" if verdict.needs_name else "--yes"
        why = verdict.needs_name or "nobody is there to be asked"
        return "", f"{NOTHING_DONE}: {why}; {how} does it unasked"
    if verdict.needs_name:
        typed = console.ask("Type the name of the VM to do it:")
        return typed, "" if typed == name else f"{NOTHING_DONE}: that is not its name"
    return "", "" if console.agrees("Do it?") else NOTHING_DONE


def _look(place: Place, session: Session, action: Action) -> Action:
    """Keep the source read for a moment; tells how the action stands then."""
    place.clock.sleep(LOOK_S)
    newest = session.reader.newest()
    if newest is not None:
        session.runner.tick(newest)
    action = session.runner.action(action.id) or action
    if not action.is_over:
        place.console.progress(f"{action.vm}: {_progress(session, action)} ({duration_words(action.elapsed_s)})")
    return action


def _goes_on(session: Session, action: Action) -> bool:
    """Its outcome is still to come: nobody called it pending, or it is a backup that is known to run or be checked."""
    if action.outcome is None or action.is_over or not isinstance(action.command, StartBackup):
        return action.outcome is None
    if action.progress == CHECKING:
        return True
    newest = session.reader.newest()
    if newest is None or newest.age_s > session.policy.action_frame_s:
        return False
    running = newest.frame.jobs.running
    return any(each.uuid == action.command.uuid and each.job.kind is JobKind.BACKUP for each in running)


def _wait(place: Place, session: Session, action: Action) -> Action:
    while action.outcome is None:
        action = _look(place, session, action)
    return action


def _progress(session: Session, action: Action) -> str:
    command = action.command
    if isinstance(command, SetBalloon):
        target = session.runner.targets().get(command.uuid)
        if target is not None and target.asked_bytes is not None:
            return f"asked {size_text(target.asked_bytes)}, at {size_text(target.at_bytes)}"
    if isinstance(command, StartBackup):
        for each in session.reader.frame().jobs.running:
            if each.uuid == command.uuid and each.job.kind is JobKind.BACKUP:
                return describe_job(each)
    return action.progress or "ending"


def _leave(_place: Place, _session: Session, action: Action) -> str:
    return f"{action.vm}: what was asked for goes on without vmtop; `vmtop jobs` shows it"


def _stop_move(place: Place, session: Session, action: Action) -> str:
    """Have a balloon stay where it is; with that the audit knows where, and an undo goes back to the begin."""
    subject = find_subject(session.reader.frame(), action.command.uuid)
    if subject is None or subject.metrics.balloon_bytes is None:
        return f"{action.vm}: the balloon stays on its way: nobody knows where it is"
    here_bytes = subject.metrics.balloon_bytes
    stay = SetBalloon(uuid=action.command.uuid, target_bytes=here_bytes, is_forced=True)
    end = _wait(place, session, session.runner.submit(stay, confirmed_name=action.vm)).outcome
    if end is not None and end.ending is not Ending.DONE:
        return f"{action.vm}: the balloon could not be stopped: {end.text}"
    return f"{action.vm}: the balloon stays at {size_text(here_bytes)}; `vmtop undo` takes that back"


def _cancel_backup(place: Place, session: Session, action: Action) -> str:
    """Cancel a backup as soon as it runs, and wait until nothing of it is left."""
    place.console.note(f"{action.vm}: cancelling the backup ...")
    cancel, is_asked = CancelJob(uuid=action.command.uuid, kind=JobKind.BACKUP), False
    while _goes_on(session, action):
        if not is_asked and not session.runner.judge(cancel).is_refused:
            is_asked = True
            end = _wait(place, session, session.runner.submit(cancel)).outcome
            if end is not None and end.ending is not Ending.DONE:
                return f"{action.vm}: the backup goes on, as it could not be cancelled: {end.text}"
        action = _look(place, session, action)
    return f"{action.vm}: {'nobody knows how it ended' if action.outcome is None else action.outcome.text}"


def _leave_rest(_place: Place, _session: Session, action: Action) -> str:
    return f"{action.vm}: checkpoints that were not deleted yet may stay"


_STOPS: Mapping[type[Command], Callable[[Place, Session, Action], str]] = MappingProxyType(
    {SetBalloon: _stop_move, StartBackup: _cancel_backup, DeleteCheckpoints: _leave_rest}
)
"""What an interrupt does to what is under way; tells what it came to."""


def describe_source(session: Session) -> dict[str, Any]:
    """Of which source a JSON object tells."""
    sample = session.reader.frame().sample
    return {"uri": sample.uri, "simulated": sample.is_simulated}


def describe(done: Performance, wanted: argparse.Namespace) -> dict[str, Any]:
    """What became of a command, for JSON."""
    verdict, action = done.verdict, done.action
    outcome = None if action is None or action.outcome is None else action.outcome
    return {
        "uuid": done.command.uuid,
        "vm": done.vm,
        "action": done.command.action,
        "sentence": done.sentence,
        "dry_run": wanted.dry_run,
        "refusals": list(verdict.refusals),
        "already": verdict.already,
        "warnings": list(verdict.warnings),
        "needs_name": verdict.needs_name,
        "preview": None if verdict.preview is None else asdict(verdict.preview),
        "outcome": None if outcome is None else outcome.ending.value,
        "text": "" if outcome is None else outcome.text,
        "elapsed_s": None if action is None else round(action.elapsed_s, 3),
    }
