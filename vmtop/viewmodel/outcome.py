"""What became of actions, in a line each."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from vmtop.actions.action import Action, Ending, Outcome
from vmtop.derive.words import duration_words
from vmtop.viewmodel.sheet import build_note
from vmtop.viewmodel.status import Notice
from vmtop.viewmodel.tone import Line, Tone

ACTION_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "balloon": "balloon",
        "period": "statistics period",
        "snapshot": "snapshot",
        "revert": "revert",
        "snapshot-delete": "delete snapshot",
        "backup": "backup",
        "checkpoint-delete": "delete checkpoints",
        "cancel": "cancel",
        "limit": "limit",
        "resume": "resume",
        "rollback": "balloon set back",
        "clear": "delete checkpoint",
        "restore": "restore",
    }
)
"""Kind of a command, as the audit calls it -> what people call it."""

ENDING_TONES: Mapping[Ending, Tone] = MappingProxyType(
    {
        Ending.DONE: Tone.OK,
        Ending.FAILED: Tone.HARD,
        Ending.REFUSED: Tone.WARN,
        Ending.PENDING: Tone.WARN,
        Ending.CANCELLED: Tone.WARN,
    }
)


WITHOUT_US: Mapping[str, str] = MappingProxyType(
    {
        "balloon": "the balloon stays where it is by then; u takes that back, now or later",
        "backup": "the copying goes on, and the next vmtop sees to its end",
    }
)
"""Kind of a command -> what becomes of it when vmtop ends."""
_ALONE = "it goes on, and nobody sees how it ends"


def outcome_notice(action: Action, outcome: Outcome) -> Notice:
    """How an action ended: "web-1: balloon: reached 2.0G"."""
    word = "" if outcome.ending in {Ending.DONE, Ending.FAILED} else f"{outcome.ending}: "
    text = f"{action.vm}: {ACTION_WORDS[action.command.action]}: {word}{outcome.text}"
    return Notice(text, ENDING_TONES[outcome.ending])


def progress_notice(actions: Sequence[Action]) -> Notice:
    """What goes on: "web-1: balloon: moving for 12 s"."""
    *others, last = actions
    more = f" (and {len(others)} more)" if others else ""
    word = ACTION_WORDS[last.command.action]
    return Notice(f"{last.vm}: {word}: {last.progress} for {duration_words(last.elapsed_s)}{more}", Tone.NOTE)


def build_farewell(actions: Sequence[Action], *, width: int, has_unicode: bool) -> tuple[Line, ...]:
    """What goes on, and what becomes of it when vmtop ends."""
    lines: list[Line] = []
    for action in actions:
        what = ACTION_WORDS[action.command.action]
        text = f"{action.vm}: {what}: {action.progress} for {duration_words(action.elapsed_s)}"
        lines += build_note(text, width, Tone.NORMAL, has_unicode=has_unicode)
        lines += build_note(f"  {WITHOUT_US.get(action.command.action, _ALONE)}", width, has_unicode=has_unicode)
    return tuple(lines)
