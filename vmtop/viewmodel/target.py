"""What was asked of a balloon and what became of it: a cell of the table, and a sentence."""

from collections.abc import Mapping
from types import MappingProxyType

from vmtop.actions.size import size_text
from vmtop.actions.target import Target, TargetState
from vmtop.derive.words import duration_words
from vmtop.viewmodel.formats import fit
from vmtop.viewmodel.tone import Line, Span, Tone

_TONES: Mapping[TargetState, Tone] = MappingProxyType(
    {
        TargetState.MOVING: Tone.NOTE,
        TargetState.STUCK: Tone.WARN,
        TargetState.REACHED: Tone.OK,
        TargetState.MOVED: Tone.NOTE,
    }
)

_SHORTER: Mapping[TargetState, tuple[str, ...]] = MappingProxyType(
    {
        TargetState.MOVING: ("asked {asked}, at {at}", "{at} to {asked}", "to {asked}"),
        TargetState.STUCK: ("asked {asked}, stuck at {at}", "stuck at {at}", "stuck"),
        TargetState.REACHED: ("reached {at}", "reached"),
        TargetState.MOVED: ("moved to {at} by another", "moved to {at}", "moved"),
    }
)
"""The same in fewer and fewer words."""

_TURNED = (
    "asked {asked}, rolled back at {at}: {reason}",
    *("asked {asked}, rolled back at {at}", "rolled back at {at}", "asked {asked}, back", "rolled back"),
)
_TURNED_ENDS: Mapping[TargetState, str] = MappingProxyType(
    {
        TargetState.MOVING: "at {at} on the way back to {asked}",
        TargetState.STUCK: "stuck at {at} on the way back to {asked}",
        TargetState.REACHED: "back at {at}, {since} ago",
    }
)
"""What became of the way back; a balloon that somebody else moved meanwhile is not on it any more."""


def target_spans(target: Target, width: int) -> Line:
    """The words of a row, in exactly `width` cells, a gap at the end included."""
    filled = [each.format(asked=_asked(target), at=size_text(target.at_bytes)) for each in _SHORTER[target.state]]
    if _is_turned(target):
        filled = _turned_words(target)
    text = next((each for each in filled if len(each) < width), filled[-1])
    return (Span(fit(text, width - 1), target_tone(target)), Span(" ", Tone.NORMAL))


def target_words(target: Target, now_s: float) -> str:
    """A sentence for the page of the VM; `now_s` is the monotonic time of its figures."""
    asked, at = _asked(target), size_text(target.at_bytes)
    since = duration_words(max(0.0, now_s - target.since_s))
    if _is_turned(target):
        return f"{_turned_words(target)[0]}; {_TURNED_ENDS[target.state].format(asked=asked, at=at, since=since)}"
    match target.state:
        case TargetState.MOVING:
            return f"asked {asked}, at {at}; on its way for {duration_words(max(0.0, now_s - target.asked_s))}"
        case TargetState.STUCK:
            return f"asked {asked}, stuck at {at} for {since}: the guest gives no more, and its driver keeps trying"
        case TargetState.REACHED:
            return f"reached {at}, {since} ago"
        case TargetState.MOVED:
            before = "" if target.asked_bytes is None else f"; vmtop had asked for {asked}"
            return (
                f"moved from {size_text(target.from_bytes)} to {at} by somebody else or the guest, {since} ago{before}"
            )


def target_tone(target: Target) -> Tone:
    """What the state of a target means."""
    return Tone.WARN if _is_turned(target) else _TONES[target.state]


def _is_turned(target: Target) -> bool:
    return target.turned is not None and target.state in _TURNED_ENDS


def _turned_words(target: Target) -> list[str]:
    """What became of the move that was rolled back, in fewer and fewer words."""
    turned = target.turned
    if turned is None:
        return []
    asked, at = size_text(turned.asked_bytes), size_text(turned.at_bytes)
    return [each.format(asked=asked, at=at, reason=turned.reason) for each in _TURNED]


def _asked(target: Target) -> str:
    return "nothing" if target.asked_bytes is None else size_text(target.asked_bytes)
