"""Moves balloons in steps, frame by frame, and remembers what was asked of them."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace

from vmtop.actions.action import Ending, Outcome
from vmtop.actions.audit import AuditRecord, Phase
from vmtop.actions.balloon_move import (
    BalloonMove,
    Decision,
    Done,
    Lost,
    RollBack,
    Step,
    Stuck,
    begin_move,
    next_decision,
)
from vmtop.actions.command import SetBalloon
from vmtop.actions.desk import Desk
from vmtop.actions.errand import Errand
from vmtop.actions.explain import explain
from vmtop.actions.guard import check
from vmtop.actions.situation import Newest, Situation, Subject, find_subject, is_held
from vmtop.actions.size import size_text
from vmtop.actions.target import Target, Turned, ask, follow_targets
from vmtop.derive.frame import Frame
from vmtop.errors import AuditError, ControlError
from vmtop.model.policy import Policy

ANSWER_S = 35.0
"""libvirt itself gives up after 30 s where a job or a hung QEMU is in the way."""


class Mover:
    """All balloons that vmtop moves."""

    def __init__(
        self, desk: Desk, policy: Policy, situation: Callable[[SetBalloon, Newest, Errand], Situation]
    ) -> None:
        self._desk = desk
        self._policy = policy
        self._situation = situation
        self.targets: Mapping[str, Target] = {}
        """UUID -> what became of the size that was asked for, as of the last frame."""

    def begin(self, errand: Errand, command: SetBalloon, now: Situation, subject: Subject) -> Outcome | None:
        """Write down and ask for the first step of what the guard allows; on a thread.

        A move of the same balloon gives way once this one is asked for; if that fails, it goes on.
        """
        now_s = now.frame.sample.monotonic_s
        move = begin_move(subject, command.target_bytes, now_s, self._policy)
        rivals = self._hold_rivals(errand)
        try:
            if errand.outcome is not None or any(rival.is_calling for rival in rivals):
                return Outcome(Ending.REFUSED, "the move before it got no answer yet")
            for rival in rivals:
                if rival.move is not None:
                    # Whoever presses the key again goes back to where it was before the first time.
                    move = replace(move, before_bytes=rival.move.before_bytes)
                    if rival.move.is_watched:
                        # What the guest suffers from that move is no measure for this one.
                        move = replace(move, limits=rival.move.limits)
            errand.old = move.before_bytes
            self._desk.write(errand, Phase.STARTED)
            self._desk.control().set_balloon(command.uuid, move.step_bytes)
            with self._desk.changed:
                self._rest(errand, move)
                self.targets = ask(self.targets, subject, command.target_bytes, now_s)
        finally:
            if errand.move is None:
                with self._desk.changed:
                    for rival in rivals:
                        rival.is_replaced = False
                        self._desk.hold_lane(rival)
        for rival in rivals:
            # Where it was left is where this one begins, and this one knows where both began.
            self._stop(rival, rival.old, self._replaced_words(command, subject), is_waited=True)
        return None

    def _replaced_words(self, command: SetBalloon, subject: Subject) -> str:
        """What became of a move that a newer size ended."""
        size = size_text(command.target_bytes)
        here_bytes = subject.metrics.balloon_bytes
        if here_bytes is not None and abs(here_bytes - command.target_bytes) <= self._policy.balloon_same_bytes:
            return f"stopped at {size}, as it was asked to stay there"
        return f"given up for {size}, which was asked for instead"

    def _hold_rivals(self, errand: Errand) -> list[Errand]:
        """Have those that move the same balloon ask for no further step, and wait for an answer that is due."""
        with self._desk.changed:
            rivals = [
                rival
                for rival in self._desk.errands()
                if rival is not errand and rival.lane == errand.lane and rival.move is not None
            ]
            for rival in rivals:
                rival.is_replaced = True
            self._desk.hold_lane(errand)
            self._desk.changed.wait_for(lambda: not any(rival.is_calling for rival in rivals), ANSWER_S)
            return [rival for rival in rivals if not rival.is_ended]

    def leave(self) -> None:
        """End all moves where they are, since nobody will take their next steps; each can be taken back later."""
        for errand in self._desk.errands():
            if errand.move is not None:
                step = size_text(errand.move.step_bytes)
                text = f"vmtop ended meanwhile: the balloon goes on to {step} only"
                self._stop(errand, errand.move.step_bytes, text, is_waited=True)

    def follow(self, before: Frame | None, newest: Newest) -> None:
        """Take note of a new frame, and go on with all moves."""
        frame = newest.frame
        with self._desk.changed:
            moving = [errand for errand in self._desk.errands() if errand.move is not None]
            resting = [
                errand.move.uuid for errand in moving if errand.move and errand.move.reached_update_s is not None
            ]
            self.targets = follow_targets(self.targets, before, frame, self._policy, resting)
        for errand in moving:
            with self._desk.changed:
                if errand.move is None or errand.is_calling or errand.is_ended:
                    continue
                if errand.is_replaced:
                    # Readings come; it is the answer to the newer size that does not.
                    self._rest(errand, errand.move)
                    continue
                subject = find_subject(frame, errand.move.uuid)
                if subject is not None and is_held(subject.sample):
                    # Nothing is known of it for a moment, and so nothing is decided.
                    continue
                move, decision = next_decision(errand.move, subject, frame.sample.monotonic_s, self._policy)
                self._rest(errand, move)
            self._obey(errand, move, decision, newest)

    def _rest(self, errand: Errand, move: BalloonMove) -> None:
        errand.move, errand.progress = move, "moving"
        errand.deadline_s = self._desk.clock.monotonic() + self._policy.action_frame_s

    def _obey(self, errand: Errand, move: BalloonMove, decision: Decision, newest: Newest) -> None:
        match decision:
            case Step():
                self._step(errand, move, newest)
            case RollBack(reason):
                self._desk.call(errand, lambda each: self._roll_back(each, move, reason, newest.frame), ANSWER_S)
            case Done():
                self._desk.end(errand, Outcome(Ending.DONE, f"reached {size_text(move.goal_bytes)}"))
            case Stuck(at_bytes):
                self._stop(
                    errand, at_bytes, f"stuck at {size_text(at_bytes)}: the guest gives no more, and keeps trying"
                )
            case Lost(reason):
                self._stop(errand, errand.old, reason)

    def _step(self, errand: Errand, move: BalloonMove, newest: Newest) -> None:
        """Ask for the next step if the guard still allows it: what the guest uses may have grown."""
        command = SetBalloon(uuid=move.uuid, target_bytes=move.step_bytes, is_forced=errand.is_forced)
        verdict = check(command, self._situation(command, newest, errand))
        reasons = list(verdict.refusals)
        if verdict.needs_name and errand.confirmed_name != errand.vm:
            reasons.append(verdict.needs_name)
        if reasons:
            self._stop(errand, move.at_bytes, f"stopped at {size_text(move.at_bytes)}: {'; '.join(reasons)}")
            return

        def call(each: Errand) -> None:
            if each.is_over:
                return
            self._desk.control().set_balloon(move.uuid, move.step_bytes)
            with self._desk.changed:
                self._rest(each, move)

        self._desk.call(errand, call, ANSWER_S)

    def _stop(self, errand: Errand, left_bytes: int | None, text: str, *, is_waited: bool = False) -> None:
        with self._desk.changed:
            if not errand.is_ended:
                errand.new = left_bytes
        self._desk.end(errand, Outcome(Ending.FAILED, text), is_waited=is_waited)

    def _roll_back(self, errand: Errand, move: BalloonMove, reason: str, frame: Frame) -> Outcome | None:
        """Give the guest back what it had. Without asking the guard, and even without an audit: it is in need."""
        if errand.is_over:
            return None
        back, subject = size_text(move.before_bytes), find_subject(frame, move.uuid)
        seen_bytes = None if subject is None else subject.metrics.balloon_bytes
        turned = Turned(
            asked_bytes=move.goal_bytes, at_bytes=move.at_bytes if seen_bytes is None else seen_bytes, reason=reason
        )
        asked = f"asked {size_text(turned.asked_bytes)}"
        record = AuditRecord(
            id=uuid.uuid4().hex,
            phase=Phase.STARTED,
            time_s=self._desk.clock.time(),
            uri=self._desk.source.uri,
            uuid=move.uuid,
            vm=errand.vm,
            action="rollback",
            sentence=f"set the balloon of {errand.vm} back to {back}: {reason}",
            old=move.step_bytes,
            new=move.before_bytes,
        )
        note = self._note(record)
        try:
            self._desk.control().set_balloon(move.uuid, move.before_bytes)
        except ControlError as error:
            errand.new, ending = move.step_bytes, Ending.FAILED
            text = f"{asked}: {reason}, and the balloon could not be set back to {back}: {explain(error)}"
        else:
            errand.new, ending = errand.old, Ending.DONE
            text = f"{asked}, rolled back at {size_text(turned.at_bytes)} to {back}: {reason}"
            with self._desk.changed:
                if subject is not None:
                    self.targets = ask(self.targets, subject, move.before_bytes, frame.sample.monotonic_s, turned)
        ended = replace(record, phase=Phase.ENDED, time_s=self._desk.clock.time(), outcome=ending.value, text=text)
        return Outcome(Ending.FAILED, text + (self._note(ended) or note))

    def _note(self, record: AuditRecord) -> str:
        try:
            self._desk.audit.write(record)
        except AuditError as error:
            return f"; {error}"
        return ""
