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


def target_spans(target: Target, width: int) -> Line:
    """The words of a row, in exactly `width` cells, a gap at the end included."""
    words = _SHORTER[target.state]
    filled = [each.format(asked=_asked(target), at=size_text(target.at_bytes)) for each in words]
    text = next((each for each in filled if len(each) < width), filled[-1])
    return (Span(fit(text, width - 1), _TONES[target.state]), Span(" ", Tone.NORMAL))


def target_words(target: Target, now_s: float) -> str:
    """A sentence for the page of the VM; `now_s` is the monotonic time of its figures."""
    asked, at = _asked(target), size_text(target.at_bytes)
    since = duration_words(max(0.0, now_s - target.since_s))
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
    return _TONES[target.state]


def _asked(target: Target) -> str:
    return "nothing" if target.asked_bytes is None else size_text(target.asked_bytes)
