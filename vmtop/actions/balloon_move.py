"""A balloon on its way: small steps, and back again when the guest does not take them well. Pure.

A step down is asked for only after the guest sent figures since the one before, and they are good: a guest that reads
from its swap goes back at once. One that writes to it may do so for one statistics period in each step, and so may one
that reads its page cache again; all of that beyond what it did before the move. Steps up, and moves of guests that send
no figures, go at once.
"""

from dataclasses import dataclass, replace

from vmtop.actions.situation import Subject
from vmtop.actions.size import floor_bytes, margin_bytes, size_text
from vmtop.actions.strain import Limits, fault_words, strain_limits, swap_in_words, swap_out_words
from vmtop.derive.condition import is_off
from vmtop.derive.metrics import UsedSource, VmMetrics
from vmtop.derive.words import percent_words
from vmtop.model.policy import Policy
from vmtop.units import KIB, MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class BalloonMove:
    """What has to be remembered of a move from one frame to the next."""

    uuid: str
    domain_id: int | None
    """The run of the VM in which it began."""
    before_bytes: int
    """Where it goes back to."""
    start_bytes: int
    """Where the balloon was when it began."""
    goal_bytes: int
    step_bytes: int
    """What was asked for last."""
    at_bytes: int
    """Nearest that the balloon came to that so far."""
    moved_s: float
    """Monotonic time at which it came nearer last, or the step was asked for."""
    is_watched: bool
    """The guest sends figures and is judged by them."""
    least_usable_bytes: int
    """With less usable memory the move is rolled back. 0 when the operator accepted a size below the floor."""
    limits: Limits
    """What the guest may suffer."""
    begun_update_s: int
    """`last_update_s` of the guest's figures when it began: those say nothing about the move."""
    reached_update_s: int | None = None
    """`last_update_s` of the guest's figures when the step was reached. None until it is."""
    is_settling: bool = False
    """The guest wrote to its swap in this step. One burst is cold memory that makes room; nobody waits for it."""
    heavy_update_s: int | None = None
    """`last_update_s` of the first of those figures, without a gap until now, in which the guest waited for too many
    pages. One burst is cache that is read again. None while it does not."""


@dataclass(frozen=True, slots=True)
class Step:
    """Ask for this size."""

    target_bytes: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is to be done now."""


@dataclass(frozen=True, slots=True)
class RollBack:
    """Ask for the size from before: the guest does not take it well."""

    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """The balloon is where it should be, and the guest is well as far as it tells."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """The balloon does not get on; the guest's driver keeps trying."""

    at_bytes: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The VM is not what it was: nothing is left to move."""

    reason: str


_SILENT = "the guest's figures stopped coming"

Decision = Step | Wait | RollBack | Done | Stuck | Lost


def begin_move(subject: Subject, target_bytes: int, now_s: float, policy: Policy) -> BalloonMove:
    """Plan a move of a VM whose balloon size is known; `step_bytes` is what has to be asked for first.

    Args:
        subject: The VM as it is.
        target_bytes: Where the balloon is to go, as `balloon_bytes` counts.
        now_s: The monotonic clock of the frame.
        policy: Sizes of steps and limits.

    Raises:
        ValueError: the present size is not known; the guard refuses such a move.
    """
    vm, facts = subject.metrics, subject.sample.facts
    present_bytes = vm.balloon_bytes
    if present_bytes is None:
        raise ValueError("a balloon of unknown size cannot be moved")
    is_told = vm.used_source in (UsedSource.USABLE, UsedSource.CACHES) and not vm.is_stale
    is_watched = bool(
        target_bytes < present_bytes and is_told and subject.update is not None and facts and facts.stats_period_s
    )
    floor = floor_bytes(vm, policy)
    is_below_floor = floor is None or target_bytes < floor
    margin = 0 if is_below_floor else margin_bytes(vm.used_bytes or 0, policy)
    return BalloonMove(
        uuid=vm.uuid,
        domain_id=subject.sample.domain_id,
        before_bytes=present_bytes,
        start_bytes=present_bytes,
        goal_bytes=target_bytes,
        step_bytes=_next_step(present_bytes, target_bytes, policy) if is_watched else target_bytes,
        at_bytes=present_bytes,
        moved_s=now_s,
        is_watched=is_watched,
        least_usable_bytes=int(policy.balloon_stop_ratio * margin),
        limits=strain_limits(vm, policy),
        begun_update_s=_update_s(subject),
    )


def next_decision(
    move: BalloonMove, subject: Subject | None, now_s: float, policy: Policy
) -> tuple[BalloonMove, Decision]:
    """Look at a move in a new frame.

    Args:
        move: As it was after the frame before.
        subject: The VM in this frame. None when it is gone.
        now_s: The monotonic clock of the frame.
        policy: Sizes of steps and limits.

    Returns:
        The move to remember, and what to do; after all but `Step` and `Wait` the move is over.
    """
    lost = _lost(move, subject)
    if lost is not None or subject is None:
        return move, Lost(lost or "the VM is gone")
    if move.is_watched and _has_news(move, subject):
        trouble = _trouble(move, subject)
        if trouble is not None:
            return move, RollBack(trouble)
        move = _note_faults(move, subject)
    elif move.is_watched and subject.metrics.is_stale:
        return move, RollBack(_SILENT)
    move = _follow(move, subject, now_s, policy)
    if abs(move.at_bytes - move.step_bytes) > policy.balloon_same_bytes:
        is_stuck = now_s - move.moved_s >= policy.balloon_stuck_s
        return move, Stuck(move.at_bytes) if is_stuck else Wait()
    return _go_on(move, subject, now_s, policy) if move.is_watched else (move, Done())


def _go_on(move: BalloonMove, subject: Subject, now_s: float, policy: Policy) -> tuple[BalloonMove, Decision]:
    """A step is reached: see figures that the guest sent since before the next one."""
    update_s = _update_s(subject)
    if move.reached_update_s is None:
        return replace(move, reached_update_s=update_s), Wait()
    if update_s <= move.reached_update_s or move.heavy_update_s is not None:
        return move, Wait()
    writes = swap_out_words(subject.metrics, move.limits)
    if writes is not None:
        if move.is_settling:
            return move, RollBack(writes)
        return replace(move, reached_update_s=update_s, is_settling=True), Wait()
    if move.step_bytes == move.goal_bytes:
        return move, Done()
    step_bytes = _next_step(move.step_bytes, move.goal_bytes, policy)
    return replace(move, step_bytes=step_bytes, moved_s=now_s, reached_update_s=None, is_settling=False), Step(
        step_bytes
    )


def _update_s(subject: Subject) -> int:
    """When the guest sent its last figures, on the clock of the VM's host; 0 for never."""
    return 0 if subject.update is None else subject.update.figures.last_update_s


def _next_step(present_bytes: int, goal_bytes: int, policy: Policy) -> int:
    most_bytes = max(policy.balloon_step_least_bytes, int(policy.balloon_step_ratio * present_bytes) // MIB * MIB)
    return max(goal_bytes, (present_bytes - most_bytes) // KIB * KIB)


def _lost(move: BalloonMove, subject: Subject | None) -> str | None:
    if subject is None:
        return "the VM is gone"
    if is_off(subject.sample):
        return f"the VM is {subject.sample.state}"
    if subject.sample.domain_id != move.domain_id:
        return "the VM was started anew"
    return None


def _follow(move: BalloonMove, subject: Subject, now_s: float, policy: Policy) -> BalloonMove:
    """Take note of progress; a balloon that went further than asked for is there, too."""
    present_bytes = subject.metrics.balloon_bytes
    if present_bytes is None:
        return move
    is_down = move.step_bytes <= move.start_bytes
    present_bytes = max(present_bytes, move.step_bytes) if is_down else min(present_bytes, move.step_bytes)
    nearer_bytes = abs(move.at_bytes - move.step_bytes) - abs(present_bytes - move.step_bytes)
    is_there = abs(present_bytes - move.step_bytes) <= policy.balloon_same_bytes
    if nearer_bytes > policy.balloon_same_bytes or (is_there and nearer_bytes > 0):
        return replace(move, at_bytes=present_bytes, moved_s=now_s)
    return move


def _has_news(move: BalloonMove, subject: Subject) -> bool:
    """The guest sends figures, and sent some since the move began."""
    return not subject.metrics.is_stale and _update_s(subject) > move.begun_update_s


def _trouble(move: BalloonMove, subject: Subject) -> str | None:
    """Why the guest does not take the move well. None while it does."""
    vm = subject.metrics
    swapping = swap_in_words(vm, move.limits)
    if swapping is not None:
        return swapping
    is_lasting = move.heavy_update_s is not None and _update_s(subject) > move.heavy_update_s
    waiting = fault_words(vm, move.limits) if is_lasting else None
    if waiting is not None:
        return waiting
    usable_bytes = _usable_bytes(vm, subject)
    if usable_bytes is not None and usable_bytes < move.least_usable_bytes:
        left = percent_words(usable_bytes / vm.balloon_bytes) if vm.balloon_bytes else "nothing"
        return f"the guest has {size_text(usable_bytes)} left to use ({left})"
    return None


def _note_faults(move: BalloonMove, subject: Subject) -> BalloonMove:
    """Remember since which figures the guest waits for too many pages."""
    if fault_words(subject.metrics, move.limits) is None:
        return move if move.heavy_update_s is None else replace(move, heavy_update_s=None)
    return move if move.heavy_update_s is not None else replace(move, heavy_update_s=_update_s(subject))


def _usable_bytes(vm: VmMetrics, subject: Subject) -> int | None:
    """What the guest said that it could use, when it said so."""
    update = subject.update
    if vm.used_bytes is None or vm.used_source is UsedSource.HOST or update is None or update.balloon_bytes is None:
        return None
    return max(0, update.balloon_bytes - vm.used_bytes)
