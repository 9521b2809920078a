"""What was asked of balloons, and what became of it: libvirt tells sizes, but never targets. Pure.

Balloons that move without being asked are noticed, too: another program or person did it, or the guest itself.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from vmtop.actions.situation import Subject, find_subject
from vmtop.derive.condition import is_off
from vmtop.derive.frame import Frame
from vmtop.model.policy import Policy
from vmtop.model.sample import VmSample

LAG_S = 2.0
"""libvirt tells a balloon's size up to 1 s late, and a reading takes its time."""


class TargetState(StrEnum):
    """Where a balloon is with what was asked of it."""

    MOVING = "moving"
    STUCK = "stuck"
    """It does not get on; the guest's driver keeps trying."""
    REACHED = "reached"
    MOVED = "moved"
    """It moved otherwise than vmtop asked: somebody else did it, or the guest itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """A move that was rolled back."""

    asked_bytes: int
    """Where it was to go."""
    at_bytes: int
    """Where the balloon was when it turned round."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a row says of one balloon."""

    asked_bytes: int | None
    """None when vmtop never asked, and somebody else moved it."""
    at_bytes: int
    """Where the balloon is."""
    from_bytes: int
    """Where it was before."""
    state: TargetState
    since_s: float
    """Monotonic time at which the state began; for a balloon that moves, that of its last progress."""
    asked_s: float
    domain_id: int | None
    """The run of the VM that was asked."""
    turned: Turned | None = None
    """The move that was rolled back, when it goes back from one. None when an operator asked for this size."""


def ask(
    targets: Mapping[str, Target],
    subject: Subject,
    asked_bytes: int,
    now_s: float,
    turned: Turned | None = None,
) -> Mapping[str, Target]:
    """Remember that a balloon was asked to go somewhere at the monotonic time `now_s`; `turned`: back from there."""
    at_bytes = subject.metrics.balloon_bytes
    if at_bytes is None:
        return targets
    target = Target(
        asked_bytes=asked_bytes,
        at_bytes=at_bytes,
        from_bytes=at_bytes,
        state=TargetState.MOVING,
        since_s=now_s,
        asked_s=now_s,
        domain_id=subject.sample.domain_id,
        turned=turned,
    )
    return {**targets, subject.metrics.uuid: target}


def follow_targets(
    targets: Mapping[str, Target],
    previous: Frame | None,
    frame: Frame,
    policy: Policy,
    resting: Collection[str] = (),
) -> Mapping[str, Target]:
    """Bring all targets up to a frame; those of VMs that are gone, off or started anew are dropped.

    Args:
        targets: As they were after the previous frame.
        previous: That frame. None for the first one; nothing is said to have moved then.
        frame: The newest frame.
        policy: How near is reached, how long is stuck, how long what is over is shown.
        resting: VMs whose balloons wait between two steps; they are not stuck.
    """
    now_s = frame.sample.monotonic_s
    before = {} if previous is None else {vm.uuid: vm for vm in previous.sample.vms}
    followed: dict[str, Target] = {}
    for uuid, known in targets.items():
        target = known
        subject = find_subject(frame, uuid)
        if subject is None or is_off(subject.sample) or subject.sample.domain_id != target.domain_id:
            continue
        at_bytes = subject.metrics.balloon_bytes
        if uuid in resting and target.state is TargetState.MOVING:
            target = replace(target, since_s=now_s)
        moved = target if at_bytes is None else _follow(target, at_bytes, now_s, policy)
        is_over = moved.state in (TargetState.REACHED, TargetState.MOVED)
        shown_s = policy.target_shown_s if moved.turned is None else policy.turned_shown_s
        if not is_over or now_s - moved.since_s <= shown_s:
            followed[uuid] = moved
    for vm in frame.sample.vms:
        if vm.uuid not in followed and _has_moved(before.get(vm.uuid), vm, policy):
            followed[vm.uuid] = _foreign(before[vm.uuid].balloon_bytes or 0, vm, now_s)
    return followed


def _follow(target: Target, at_bytes: int, now_s: float, policy: Policy) -> Target:
    same_bytes = policy.balloon_same_bytes
    asked_bytes = target.asked_bytes
    target_was_bytes, target = target.at_bytes, replace(target, at_bytes=at_bytes)
    moved_bytes = abs(at_bytes - target_was_bytes)
    if asked_bytes is None:
        return replace(target, since_s=now_s) if moved_bytes > same_bytes else target
    if abs(at_bytes - asked_bytes) <= same_bytes:
        return _become(target, TargetState.REACHED, now_s)
    nearer_bytes = abs(target_was_bytes - asked_bytes) - abs(at_bytes - asked_bytes)
    # Whoever was seen where it should be is not late any more.
    is_late = target.state is not TargetState.REACHED and now_s - target.asked_s <= LAG_S
    is_astray = nearer_bytes < -same_bytes and not is_late
    if is_astray or target.state is TargetState.MOVED:
        return _become(replace(target, from_bytes=target_was_bytes), TargetState.MOVED, now_s) if is_astray else target
    if nearer_bytes > same_bytes:
        return replace(target, state=TargetState.MOVING, since_s=now_s)
    if target.state is TargetState.MOVING and now_s - target.since_s >= policy.balloon_stuck_s:
        return _become(target, TargetState.STUCK, now_s)
    return target


def _become(target: Target, state: TargetState, now_s: float) -> Target:
    return target if target.state is state else replace(target, state=state, since_s=now_s)


def _has_moved(before: VmSample | None, vm: VmSample, policy: Policy) -> bool:
    """A balloon moved that vmtop did not ask, in the same run of the VM, and nothing else explains it."""
    if before is None or before.balloon_bytes == vm.balloon_bytes or is_off(vm):
        return False
    if before.domain_id != vm.domain_id or before.maximum_bytes != vm.maximum_bytes:
        return False
    facts, facts_before = vm.facts, before.facts
    if facts is None or facts_before is None or facts.has_autodeflate:
        return False
    if before.balloon_bytes is None or vm.balloon_bytes is None:
        return False
    plugged_bytes = facts.virtio_mem_bytes - facts_before.virtio_mem_bytes
    return abs(vm.balloon_bytes - before.balloon_bytes - plugged_bytes) > policy.balloon_same_bytes


def _foreign(from_bytes: int, vm: VmSample, now_s: float) -> Target:
    return Target(
        asked_bytes=None,
        at_bytes=vm.balloon_bytes or 0,
        from_bytes=from_bytes,
        state=TargetState.MOVED,
        since_s=now_s,
        asked_s=now_s,
        domain_id=vm.domain_id,
    )
