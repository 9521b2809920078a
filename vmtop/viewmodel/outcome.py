"""What became of actions, in a line each."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from vmtop.actions.action import Action, Ending, Outcome
from vmtop.derive.words import duration_words
from vmtop.viewmodel.status import Notice
from vmtop.viewmodel.tone import Tone

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
    }
)


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
