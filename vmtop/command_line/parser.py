"""The words after the name of a command -> what is wanted."""

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NoReturn

from vmtop.actions.checkpoint import Clearing
from vmtop.actions.size import parse_rate
from vmtop.batch import write_output
from vmtop.command_line import COMMANDS
from vmtop.errors import UsageError
from vmtop.model.kind import SnapshotKind
from vmtop.wording import nearest

_NUMBER = re.compile(r"-[\d.]")
_BEFORE: Mapping[str, bool] = MappingProxyType(
    {
        **dict.fromkeys(("-c", "--connect", "--seed", "--vms", "--speed"), True),
        **dict.fromkeys(("--demo", "--readonly", "--ascii", "--unicode"), False),
    }
)
"""Options that stand before a command -> whether a word always follows them; one that names a scenario may follow
--demo."""
_JSON_HELP = "print one JSON object: bytes, seconds, null is unknown"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        write_output(sys.stdout, "")  # help that cannot be written is to be told, too
        super().exit(status, message)


def parse_words(words: Sequence[str]) -> argparse.Namespace:
    """Turn the name of a command and what follows it into options; `command` of them is the name.

    Raises:
        UsageError: there is no such command, or it cannot be asked like that; says why.
    """
    name = words[0]
    if name not in COMMANDS:
        raise UsageError(f"there is no command {name!r}. {nearest(name, COMMANDS)}")
    _refuse_misplaced(words)
    sentence = COMMANDS[name]
    parser = _Parser(prog=f"vmtop {name}", description=f"{sentence[:1].upper()}{sentence[1:]}.", allow_abbrev=False)
    _FILLERS[name](parser)
    # A change such as -512M would be taken for an option; with a space before it it is none.
    return parser.parse_intermixed_args(
        [f" {word}" if _NUMBER.match(word) else word for word in words[1:]], argparse.Namespace(command=name)
    )


def _refuse_misplaced(words: Sequence[str]) -> None:
    """Say how it is written when an option that chooses the source comes after the command."""
    for place, word in enumerate(words):
        option, _, value = word.partition("=")
        if option in _BEFORE:
            end = place + 1 + (_BEFORE[option] and not value)
            moved = list(words[place:end])
            if word == "--demo" and words[end:] and _is_scenario(words[end]):
                moved, end = [f"--demo={words[end]}"], end + 1
            sentence = shlex.join(["vmtop", *moved, *words[:place], *words[end:]])
            raise UsageError(f"{option} stands before the command: {sentence}")


def _is_scenario(word: str) -> bool:
    from vmtop.backends.simulator.scenario import scenario_names  # only for who mistook its place

    return word in scenario_names()


def parse_moment(text: str) -> float:
    """A moment as people write it, in seconds since 1970: 2026-01-05T12:00, "2026-01-05 12:00", 20260105T120000Z.

    Without a time zone it is meant in that of this machine.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write 2026-01-05T12:00, or 2026-01-05T12:00Z for UTC"
        ) from None


def _rate(text: str) -> int:
    try:
        return parse_rate(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    number = int(text) if text.strip().isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 1")
    return number


def _add_vm(parser: _Parser, *, is_optional: bool = False) -> None:
    count: Mapping[str, str] = {"nargs": "?"} if is_optional else {}
    parser.add_argument("vm", metavar="VM", help="its name or UUID", **count)  # type: ignore[arg-type] # a table of keywords


def _add_json(parser: _Parser) -> None:
    parser.add_argument("--json", action="store_true", help=_JSON_HELP)


def _add_consent(parser: _Parser) -> None:
    consent = parser.add_argument_group("before anything is done")
    consent.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    consent.add_argument("-y", "--yes", action="store_true", help="do not ask")
    consent.add_argument(
        "--confirm",
        metavar="NAME",
        default="",
        help="do not ask, and take this for the typed name of the VM; any other is refused",
    )
    _add_json(parser)


def _add_force(parser: _Parser, why: str) -> None:
    parser.add_argument("--force", action="store_true", help=why)


def _fill_balloon(parser: _Parser) -> None:
    _add_vm(parser)
    sizes = "4G, 512M, a change (-512M, +10%%), floor (a little above the safe floor) or max"
    parser.add_argument("size", metavar="SIZE", help=sizes)
    _add_force(parser, "even though the guest's figures are old or do not come")
    _add_consent(parser)


def _fill_snapshot(parser: _Parser) -> None:
    _add_vm(parser)
    kinds = [kind.value for kind in SnapshotKind]
    parser.add_argument("--kind", choices=kinds, help="default: the most useful that is possible")
    parser.add_argument("--name", metavar="NAME", help="default: snap- and the time")
    parser.add_argument("--quiesce", action="store_true", help="freeze file systems meanwhile (disk-only)")
    parser.add_argument("--memory-file", metavar="FILE", help="where memory goes (external); default: beside the disk")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--list", action="store_true", help="show the snapshots, and take none")
    other.add_argument("--revert", metavar="NAME", help="throw away the present state for that of a snapshot")
    other.add_argument("--delete", metavar="NAME", help="delete one snapshot")
    _add_consent(parser)


def _fill_backup(parser: _Parser) -> None:
    _add_vm(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--to", metavar="DIR", help="a folder on the host of the VM")
    what.add_argument(
        "--delete-checkpoints",
        choices=[each.value for each in Clearing],
        help="start none, and delete the checkpoints that good ones left: all, or all but the newest",
    )
    parser.add_argument("--incremental", action="store_true", help="only what changed since the last one there")
    parser.add_argument("--rate", metavar="RATE", type=_rate, help="at most so much a second for each disk: 100M")
    _add_force(parser, "even though the host is short of memory")
    _add_consent(parser)


def _fill_recovery(parser: _Parser) -> None:
    parser.add_argument("folder", metavar="DIR", help="the folder to which backups went")
    _add_vm(parser, is_optional=True)
    parser.add_argument("--verify", action="store_true", help="check all files now, and keep what was found")
    _add_json(parser)


def _fill_restore(parser: _Parser) -> None:
    _add_vm(parser)
    parser.add_argument("--from", dest="folder", metavar="DIR", required=True, help="the folder to which backups went")
    parser.add_argument("--at", metavar="TIME", type=parse_moment, help="the last backup until then; default: the last")
    parser.add_argument("--disk", metavar="DISK", help="which of several disks: vda")
    parser.add_argument("--to", metavar="FILE", required=True, help="a new file; an existing one is never overwritten")
    _add_consent(parser)


def _fill_jobs(parser: _Parser) -> None:
    _add_vm(parser, is_optional=True)
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--cancel", action="store_true", help="cancel the job of this VM")
    other.add_argument("--limit", metavar="RATE", type=_rate, help="let its backup move at most so much a second; none")
    parser.add_argument("--disk", metavar="DISK", help="cancel or limit the job of this disk instead: vda")
    other.add_argument("--resume", action="store_true", help="let a VM go on that an I/O error stopped")
    _add_consent(parser)


def _fill_undo(parser: _Parser) -> None:
    parser.add_argument("-n", "--count", metavar="N", type=_count, default=1, help="how many changes (default: 1)")
    parser.add_argument("--list", action="store_true", help="show what can be taken back, and do nothing")
    _add_force(parser, "even though the guest's figures are old or do not come")
    _add_consent(parser)


def _fill_audit(parser: _Parser) -> None:
    _add_vm(parser, is_optional=True)
    parser.add_argument("-n", "--count", metavar="N", type=_count, default=50, help="the last N actions (default: 50)")
    _add_json(parser)


_FILLERS: Mapping[str, Callable[[_Parser], None]] = MappingProxyType(
    {
        "balloon": _fill_balloon,
        "snapshot": _fill_snapshot,
        "backup": _fill_backup,
        "recovery": _fill_recovery,
        "restore": _fill_restore,
        "jobs": _fill_jobs,
        "undo": _fill_undo,
        "audit": _fill_audit,
    }
)
