"""What keys and typed sizes ask of balloons."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vmtop.actions.command import SetBalloon
from vmtop.actions.situation import find_subject
from vmtop.actions.size import parse_target
from vmtop.actions.target import Target, TargetState
from vmtop.derive.frame import Frame
from vmtop.errors import UsageError
from vmtop.model.policy import Policy


class BalloonPlan(NamedTuple):
    """Sizes to ask for."""

    commands: tuple[SetBalloon, ...]
    complaint: str
    """Why there is none for some VM; foreign text. Empty when there is one for each."""


def read_bases(frame: Frame, uuids: Sequence[str], targets: Mapping[str, Target]) -> Mapping[str, int]:
    """UUID -> bytes from which steps count: where the balloon is, or where it is on its way to."""
    bases = {}
    for uuid in uuids:
        subject, target = find_subject(frame, uuid), targets.get(uuid)
        size_bytes = None if subject is None else subject.metrics.balloon_bytes
        if target is not None and target.state is TargetState.MOVING:
            size_bytes = target.asked_bytes
        if size_bytes is not None:
            bases[uuid] = size_bytes
    return bases


def step_bytes(maximum_bytes: int, policy: Policy) -> int:
    """What one press of a key takes or gives."""
    least_bytes = policy.balloon_key_least_bytes
    return max(1, round(policy.balloon_key_ratio * maximum_bytes / least_bytes)) * least_bytes


def plan_steps(frame: Frame, uuids: Sequence[str], bases: Mapping[str, int], steps: int, policy: Policy) -> BalloonPlan:
    """So many steps up, or down if below zero, from `bases`; no further than a step of memory or the maximum."""
    commands, complaint = [], ""
    for uuid in uuids:
        subject = find_subject(frame, uuid)
        if subject is None:
            continue
        vm, base_bytes = subject.metrics, bases.get(uuid)
        if base_bytes is None or vm.maximum_bytes is None:
            reason = vm.unknown.get("balloon_bytes") or vm.unknown.get("maximum_bytes") or "it was not when this began"
            complaint = f"the size of {vm.name} is not known: {reason}"
            continue
        step = step_bytes(vm.maximum_bytes, policy)
        target_bytes = max(min(step, base_bytes), min(vm.maximum_bytes, base_bytes + steps * step))
        commands.append(SetBalloon(uuid=uuid, target_bytes=target_bytes))
    return BalloonPlan(tuple(commands), complaint)


def plan_typed(frame: Frame, uuids: Sequence[str], text: str, policy: Policy) -> BalloonPlan:
    """The size that was typed, for each VM; relative ones count from where its balloon is."""
    commands, complaint = [], ""
    for uuid in uuids:
        subject = find_subject(frame, uuid)
        if subject is None:
            continue
        try:
            target_bytes = parse_target(text, subject.metrics, policy)
        except UsageError as error:
            complaint = str(error) if len(uuids) == 1 else f"{subject.metrics.name}: {error}"
        else:
            commands.append(SetBalloon(uuid=uuid, target_bytes=target_bytes))
    return BalloonPlan(tuple(commands), complaint)
