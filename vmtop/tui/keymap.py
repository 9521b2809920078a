"""The table of all keys, from which bindings, help and hints are made, and which of them are worth a hint where.

Screens leave out hints that make no sense as things stand, and the card that asks before the end words its own.

Importing this module does not import Textual: keys are checked without a screen, too.
"""

import string
import unicodedata
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from types import MappingProxyType
from typing import TYPE_CHECKING

from vmtop.errors import UsageError
from vmtop.wording import nearest

if TYPE_CHECKING:
    from textual.binding import BindingType


class Scope(StrEnum):
    """Where a key works."""

    EVERYWHERE = "everywhere"
    TABLE = "table"
    """On the main screen."""
    MOVE = "move"
    """On every screen of ours that has rows."""
    PAGE = "page"
    """On screens that lie above the main one."""
    DETAIL = "detail"
    """On the page of a VM or of the host."""
    VM = "vm"
    """On the main screen and on the page of a VM."""
    BALLOON = "balloon"
    """There, and on the card of a balloon."""
    UNDO = "undo"
    """There, and on the card of what is taken back."""
    CARD = "card"
    """On every card that says what would be done."""
    CHOICE = "choice"
    """On cards that leave a choice."""
    LIST = "list"
    """On the pages of jobs, snapshots, backups, the audit and faults."""
    PICK = "pick"
    """On those whose lines do something."""
    JOBS = "jobs"
    SNAPSHOTS = "snapshots"
    BACKUPS = "backups"
    CHECKPOINTS = "checkpoints"
    """On the pages of snapshots and backups."""
    FAULTS = "faults"


SCREENS = (
    frozenset({Scope.EVERYWHERE, Scope.TABLE, Scope.MOVE, Scope.VM, Scope.BALLOON, Scope.UNDO}),
    frozenset({Scope.EVERYWHERE, Scope.PAGE, Scope.MOVE, Scope.DETAIL, Scope.VM, Scope.BALLOON, Scope.UNDO}),
    frozenset({Scope.EVERYWHERE, Scope.MOVE, Scope.CARD, Scope.CHOICE, Scope.BALLOON, Scope.UNDO}),
    *(
        frozenset({Scope.EVERYWHERE, Scope.MOVE, Scope.LIST, Scope.PICK, *each})
        for each in (
            (Scope.JOBS,),
            (Scope.SNAPSHOTS, Scope.CHECKPOINTS),
            (Scope.BACKUPS, Scope.CHECKPOINTS),
            (Scope.FAULTS,),
        )
    ),
)
"""What works together: on the main screen, on the pages above it, on cards, and on lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One thing that keys do."""

    id: str
    """Name under which a person can bind other keys, in the table [keys] of the configuration."""
    keys: str
    """Keys as Textual names them, comma-separated."""
    label: str
    """The keys as people read them."""
    action: str
    description: str
    """What they do, in a few words."""
    tooltip: str
    """The same in a sentence, for the help."""
    scope: Scope
    hint: str = ""
    """One word for the status line; empty where it is not shown there."""
    is_priority: bool = False
    """Works even while a text is typed, as far as that does not take the key."""
    is_fixed: bool = False
    """Nobody can bind other keys to it."""


KEYS = (
    Key(
        id="quit",
        keys="q,f10,ctrl+q",
        label="q F10",
        action="quit",
        description="quit",
        tooltip="End vmtop and give the terminal back as it was; it asks first while something goes on, and a second "
        "time ends it.",
        scope=Scope.EVERYWHERE,
        hint="quit",
        is_priority=True,
    ),
    Key(
        id="interrupt",
        keys="ctrl+c",
        label="Ctrl+C",
        action="quit",
        description="quit, too",
        tooltip="The same, whatever other keys are bound to: it asks first while something goes on, and a second time "
        "ends it.",
        scope=Scope.EVERYWHERE,
        is_priority=True,
        is_fixed=True,
    ),
    Key(
        id="help",
        keys="question_mark,f1,h",
        label="? F1 h",
        action="show_help",
        description="help",
        tooltip="Show every key, and every column with its meaning, unit and source.",
        scope=Scope.EVERYWHERE,
        hint="help",
    ),
    Key(
        id="pause",
        keys="Z",
        label="Z",
        action="toggle_pause",
        description="pause the view",
        tooltip="Hold the view still. Reading goes on; once more shows the present again.",
        scope=Scope.EVERYWHERE,
        hint="pause",
    ),
    Key(
        id="redraw",
        keys="ctrl+l",
        label="Ctrl+L",
        action="redraw",
        description="redraw",
        tooltip="Draw the whole screen anew, after something else has written on it.",
        scope=Scope.EVERYWHERE,
    ),
    Key(
        id="suspend",
        keys="ctrl+z",
        label="Ctrl+Z",
        action="suspend_process",
        description="suspend",
        tooltip="Go back to the shell; its command fg brings vmtop back.",
        scope=Scope.EVERYWHERE,
    ),
    Key(
        id="move-up",
        keys="up",
        label="Up",
        action="move_rows(-1)",
        description="one row up",
        tooltip="One row up; from the first VM to the host.",
        scope=Scope.MOVE,
    ),
    Key(
        id="move-down",
        keys="down",
        label="Down",
        action="move_rows(1)",
        description="one row down",
        tooltip="One row down; the wheel of the mouse scrolls without moving the cursor.",
        scope=Scope.MOVE,
    ),
    Key(
        id="page-up",
        keys="pageup",
        label="PgUp",
        action="move_pages(-1)",
        description="one page up",
        tooltip="As many rows up as fit the screen.",
        scope=Scope.MOVE,
    ),
    Key(
        id="page-down",
        keys="pagedown",
        label="PgDn",
        action="move_pages(1)",
        description="one page down",
        tooltip="As many rows down as fit the screen.",
        scope=Scope.MOVE,
        hint="more",
    ),
    Key(
        id="first",
        keys="home",
        label="Home",
        action="move_to_end(-1)",
        description="first row",
        tooltip="To the first row.",
        scope=Scope.MOVE,
    ),
    Key(
        id="last",
        keys="end",
        label="End",
        action="move_to_end(1)",
        description="last row",
        tooltip="To the last row.",
        scope=Scope.MOVE,
    ),
    Key(
        id="columns-left",
        keys="left",
        label="Left",
        action="move_columns(-1)",
        description="scroll to the left",
        tooltip="Show the column to the left of those shown.",
        scope=Scope.TABLE,
    ),
    Key(
        id="columns-right",
        keys="right",
        label="Right",
        action="move_columns(1)",
        description="scroll to the right",
        tooltip="Show the column to the right of those shown; names stay.",
        scope=Scope.TABLE,
    ),
    Key(
        id="open",
        keys="enter",
        label="Enter",
        action="open_page",
        description="page of the VM or host",
        tooltip="Everything about the VM under the cursor in words and charts; on the header, about the host.",
        scope=Scope.TABLE,
        hint="open",
    ),
    Key(
        id="filter",
        keys="slash",
        label="/",
        action="ask_filter",
        description="filter by name",
        tooltip="Show only VMs whose name holds what you type; /between slashes/ it is a regular expression.",
        scope=Scope.TABLE,
        hint="filter",
    ),
    Key(
        id="clear-filter",
        keys="escape",
        label="Esc",
        action="clear_filter",
        description="clear the filter",
        tooltip="Show all VMs again.",
        scope=Scope.TABLE,
        hint="all VMs",
    ),
    Key(
        id="sort-left",
        keys="less_than_sign",
        label="<",
        action="move_sort(-1)",
        description="sort by the column to the left",
        tooltip="Sort by the column to the left of the one that sorts now.",
        scope=Scope.TABLE,
    ),
    Key(
        id="sort-right",
        keys="greater_than_sign",
        label=">",
        action="move_sort(1)",
        description="sort by the column to the right",
        tooltip="Sort by the column to the right of the one that sorts now.",
        scope=Scope.TABLE,
        hint="sort",
    ),
    Key(
        id="reverse",
        keys="r",
        label="r",
        action="reverse_sort",
        description="reverse the order",
        tooltip="Sort the other way round; so does a second click on the head of the column.",
        scope=Scope.TABLE,
        hint="reverse",
    ),
    Key(
        id="sort-used",
        keys="M",
        label="M",
        action="sort_by('used')",
        description="sort by used memory",
        tooltip="VMs that use most memory first.",
        scope=Scope.TABLE,
    ),
    Key(
        id="sort-name",
        keys="N",
        label="N",
        action="sort_by('name')",
        description="sort by name",
        tooltip="VMs by name, A first.",
        scope=Scope.TABLE,
    ),
    Key(
        id="sort-swap",
        keys="S",
        label="S",
        action="sort_by('swap-in')",
        description="sort by swap",
        tooltip="VMs that read most from their own swap first.",
        scope=Scope.TABLE,
    ),
    Key(
        id="delay",
        keys="d",
        label="d",
        action="ask_delay",
        description="set the delay",
        tooltip="Set the time between two readings, in seconds.",
        scope=Scope.TABLE,
        hint="delay",
    ),
    Key(
        id="mark",
        keys="space",
        label="Space",
        action="toggle_mark",
        description="mark the VM",
        tooltip="Mark the VM under the cursor, or take its mark away; actions are for all marked VMs together.",
        scope=Scope.TABLE,
        hint="mark",
    ),
    Key(
        id="unmark-all",
        keys="U",
        label="U",
        action="clear_marks",
        description="unmark all",
        tooltip="Mark no VM any more.",
        scope=Scope.TABLE,
        hint="unmark",
    ),
    Key(
        id="balloon-down",
        keys="minus",
        label="-",
        action="step_balloon(-1)",
        description="balloon: a step down",
        tooltip="Take a step of memory from the VM, or from the marked ones; a card says what that means before "
        "anything is done, and there the key goes further.",
        scope=Scope.BALLOON,
        hint="less",
    ),
    Key(
        id="balloon-up",
        keys="plus",
        label="+",
        action="step_balloon(1)",
        description="balloon: a step up",
        tooltip="Give a step of memory back to the VM, or to the marked ones, likewise.",
        scope=Scope.BALLOON,
        hint="more",
    ),
    Key(
        id="balloon",
        keys="b",
        label="b",
        action="ask_balloon",
        description="balloon: type a size",
        tooltip="Set the balloon of the VM, or of the marked ones: to 2G, by -512M or +10%, to the floor or to max.",
        scope=Scope.BALLOON,
        hint="balloon",
    ),
    Key(
        id="period",
        keys="p",
        label="p",
        action="ask_period",
        description="statistics period",
        tooltip="Have a guest that sends no figures send them, and say whether that ends with vmtop.",
        scope=Scope.VM,
        hint="period",
    ),
    Key(
        id="undo",
        keys="u",
        label="u",
        action="undo",
        description="undo",
        tooltip="Take the last change of a balloon or period back, also one of an earlier run; on the card the key "
        "takes back one more.",
        scope=Scope.UNDO,
        hint="undo",
    ),
    Key(
        id="confirm",
        keys="enter",
        label="Enter",
        action="confirm",
        description="do it",
        tooltip="On a card: do what it says.",
        scope=Scope.CARD,
        hint="do it",
    ),
    Key(
        id="leave",
        keys="escape",
        label="Esc",
        action="go_back",
        description="leave it",
        tooltip="On a card: do nothing.",
        scope=Scope.CARD,
        hint="leave it",
    ),
    Key(
        id="force",
        keys="ctrl+f",
        label="Ctrl+F",
        action="toggle_force",
        description="insist",
        tooltip="On a card: insist, or not; on a balloon although figures are old or do not come, on a backup although "
        "the host is short of memory.",
        scope=Scope.CARD,
        hint="insist",
    ),
    Key(
        id="choice",
        keys="tab",
        label="Tab",
        action="choose_next",
        description="change the choice",
        tooltip="On a card with a choice: choose the next one.",
        scope=Scope.CHOICE,
        hint="change",
    ),
    Key(
        id="jobs",
        keys="j",
        label="j",
        action="show_jobs",
        description="jobs",
        tooltip="Show the jobs that run and those that ended: backups, snapshots, migrations and the like.",
        scope=Scope.VM,
        hint="jobs",
    ),
    Key(
        id="snapshots",
        keys="s",
        label="s",
        action="show_snapshots",
        description="snapshots of the VM",
        tooltip="Show the snapshots of the VM: take one, revert to one, delete one.",
        scope=Scope.VM,
        hint="snapshot",
    ),
    Key(
        id="backups",
        keys="k",
        label="k",
        action="show_backups",
        description="backups of the VM",
        tooltip="Show to which points in time the VM can be put back, and start a backup (k for keep a copy).",
        scope=Scope.VM,
        hint="backup",
    ),
    Key(
        id="audit",
        keys="A",
        label="A",
        action="show_audit",
        description="who did what",
        tooltip="Show what was changed with vmtop: when, by whom, from what to what, and how it ended.",
        scope=Scope.VM,
        hint="audit",
    ),
    Key(
        id="faults",
        keys="F",
        label="F",
        action="show_faults",
        description="inject a fault",
        tooltip="On a simulated host: show what can be made to go wrong with the VM or the host, to train on.",
        scope=Scope.VM,
        hint="faults",
    ),
    Key(
        id="close",
        keys="escape,backspace",
        label="Esc",
        action="go_back",
        description="close the list",
        tooltip="From a list back to where it was opened.",
        scope=Scope.LIST,
        hint="back",
    ),
    Key(
        id="choose",
        keys="enter",
        label="Enter",
        action="choose",
        description="choose the line",
        tooltip="On a list: open the page of a job's VM, let a VM go on that an I/O error stopped, take the kind of "
        "snapshot, inject the fault.",
        scope=Scope.PICK,
        hint="choose",
    ),
    Key(
        id="job-cancel",
        keys="x",
        label="x",
        action="cancel_job",
        description="cancel the job",
        tooltip="On the list of jobs: cancel the job under the cursor; a card says first what that means.",
        scope=Scope.JOBS,
        hint="cancel",
    ),
    Key(
        id="job-limit",
        keys="t",
        label="t",
        action="limit_job",
        description="throttle the job",
        tooltip="On the list of jobs: limit the rate of the backup, or of the job of a disk, under the cursor, or lift "
        "the limit.",
        scope=Scope.JOBS,
        hint="throttle",
    ),
    Key(
        id="snapshot-take",
        keys="t",
        label="t",
        action="take_snapshot",
        description="take a snapshot",
        tooltip="On the list of snapshots: choose a kind, with what it means for the guest, and take a snapshot.",
        scope=Scope.SNAPSHOTS,
        hint="take",
    ),
    Key(
        id="snapshot-revert",
        keys="r",
        label="r",
        action="revert_snapshot",
        description="revert to the snapshot",
        tooltip="On the list of snapshots: throw away the present state of the VM for that of the snapshot.",
        scope=Scope.SNAPSHOTS,
        hint="revert",
    ),
    Key(
        id="snapshot-delete",
        keys="x,delete",
        label="x Del",
        action="delete_snapshot",
        description="delete the snapshot",
        tooltip="On the list of snapshots: delete the one under the cursor; the VM goes on as it is.",
        scope=Scope.SNAPSHOTS,
        hint="delete",
    ),
    Key(
        id="backup-full",
        keys="f",
        label="f",
        action="start_backup(False)",
        description="full backup",
        tooltip="On the list of backups: copy all disks of the VM into the folder.",
        scope=Scope.BACKUPS,
        hint="full",
    ),
    Key(
        id="backup-incremental",
        keys="i",
        label="i",
        action="start_backup(True)",
        description="incremental backup",
        tooltip="On the list of backups: copy what changed since the last one.",
        scope=Scope.BACKUPS,
        hint="incremental",
    ),
    Key(
        id="backup-limit",
        keys="t",
        label="t",
        action="ask_limit",
        description="limit the next backup",
        tooltip="On the list of backups: set how fast the next one may copy; the list of jobs limits a running one.",
        scope=Scope.BACKUPS,
        hint="limit",
    ),
    Key(
        id="backup-folder",
        keys="o",
        label="o",
        action="ask_folder",
        description="choose the backup folder",
        tooltip="On the list of backups: choose the folder on the VM's host where they lie.",
        scope=Scope.BACKUPS,
        hint="folder",
    ),
    Key(
        id="backup-verify",
        keys="v",
        label="v",
        action="verify",
        description="check the backups",
        tooltip="On the list of backups: have qemu-img check all files of the VM's backups, and keep what it finds.",
        scope=Scope.BACKUPS,
        hint="verify",
    ),
    Key(
        id="checkpoints-clear",
        keys="c",
        label="c",
        action="clear_checkpoints",
        description="delete checkpoints",
        tooltip="On the lists of backups and snapshots: delete the checkpoints that backups left, all or all but the "
        "newest; a card says first what that means.",
        scope=Scope.CHECKPOINTS,
        hint="checkpoints",
    ),
    Key(
        id="faults-end",
        keys="e",
        label="e",
        action="end_faults",
        description="end all faults",
        tooltip="On the list of faults: undo all that were injected, as far as they can be undone.",
        scope=Scope.FAULTS,
        hint="end all",
    ),
    Key(
        id="back",
        keys="escape,enter,backspace",
        label="Esc",
        action="go_back",
        description="back",
        tooltip="From a page back to the table.",
        scope=Scope.PAGE,
        hint="back",
    ),
    Key(
        id="previous-vm",
        keys="left",
        label="Left",
        action="turn_page(-1)",
        description="page of the previous VM",
        tooltip="On the page of a VM: to the page of the VM above it in the table.",
        scope=Scope.DETAIL,
    ),
    Key(
        id="next-vm",
        keys="right",
        label="Right",
        action="turn_page(1)",
        description="page of the next VM",
        tooltip="On the page of a VM: to the page of the VM below it in the table.",
        scope=Scope.DETAIL,
        hint="next",
    ),
    Key(
        id="switch-parts",
        keys="tab",
        label="Tab",
        action="switch_parts",
        description="words, charts or both",
        tooltip="On a page: show words, charts or both.",
        scope=Scope.DETAIL,
        hint="view",
    ),
)


def bindings(*scopes: Scope) -> "list[BindingType]":
    """The bindings of a screen, or of the app, for Textual."""
    from textual.binding import Binding

    return [
        Binding(
            key.keys,
            key.action,
            key.description,
            show=False,
            key_display=key.label,
            priority=key.is_priority,
            tooltip=key.tooltip,
            id=key.id,
        )
        for key in KEYS
        if key.scope in scopes
    ]


def apply_keymap(keymap: Mapping[str, str]) -> tuple[Key, ...]:
    """The table with a person's own keys (id -> keys, comma-separated).

    Raises:
        UsageError: an id is none of ours, no keyboard has such a key, or one key would do two things on one screen.
    """
    known = [key.id for key in KEYS if not key.is_fixed]
    for unknown in sorted(keymap.keys() - set(known)):
        raise UsageError(f"configuration: [keys]: there is no binding {unknown!r}. {nearest(unknown, known)}")
    keys = tuple(_rebind(key, keymap[key.id]) if key.id in keymap else key for key in KEYS)
    for one, other in combinations(keys, 2):
        both = set(one.keys.split(",")) & set(other.keys.split(","))
        if both and any({one.scope, other.scope} <= screen for screen in SCREENS):
            changed, taken = (one, other) if one.id in keymap else (other, one)
            raise UsageError(
                f"configuration: [keys] {changed.id}: the key {min(both)!r} is that of {taken.id!r} already"
            )
    return keys


_MODIFIERS = {"ctrl", "alt", "shift", "super", "hyper", "meta"}
_ALIASES = {"ctrl+i": "tab", "ctrl+m": "enter", "ctrl+left_square_bracket": "escape"}
"""A terminal sends the same for both, and Textual calls it by the second name."""
_SHORT_NAMES = {
    "solidus": "slash",
    "reverse_solidus": "backslash",
    "commercial_at": "at",
    "hyphen_minus": "minus",
    "plus_sign": "plus",
    "low_line": "underscore",
}
"""Unicode's names of characters -> those of Textual."""


def _character_name(character: str) -> str:
    """A character as Textual names its key."""
    if character.isalnum():
        return character
    name = unicodedata.name(character, character).lower().replace("-", "_").replace(" ", "_")
    return _SHORT_NAMES.get(name, name)


_NAMES = {
    *("up", "down", "left", "right", "home", "end", "pageup", "pagedown", "insert", "delete"),
    *("enter", "escape", "tab", "backspace", "space"),
    *(f"f{number}" for number in range(1, 25)),
    *map(_character_name, string.punctuation),
}
"""Keys with names; letters and digits are called what they are."""


def _rebind(key: Key, text: str) -> Key:
    written = [part.strip() for part in text.split(",")]
    names = dict.fromkeys(_parse_key(part, key.id) for part in written)
    return replace(key, keys=",".join(names), label=" ".join(written))


def _parse_key(text: str, binding_id: str) -> str:
    """The name that Textual has for a key.

    Raises:
        UsageError: there is no such key.
    """
    *modifiers, last = text.split("+") if len(text) > 1 else [text]
    name = _character_name(last) if len(last) == 1 else last
    whole = "+".join((*modifiers, name))
    is_key = name in _NAMES or (len(last) == 1 and last.isprintable())
    is_shifted_character = modifiers == ["shift"] and len(last) == 1
    if not is_key or is_shifted_character or not set(modifiers) <= _MODIFIERS:
        raise UsageError(
            f"configuration: [keys] {binding_id}: there is no key {text!r}; "
            "write keys as in 'q', 'Q', '/', 'f10', 'ctrl+x' or 'pageup', with commas between them"
        )
    return _ALIASES.get(whole, whole)


def hints(keys: Iterable[Key], *scopes: Scope) -> list[tuple[str, str]]:
    """The first key and the word for the status line, of those that have one; the help comes last, where it stays."""
    found = [key for scope in scopes for key in keys if key.hint and key.scope is scope]
    return [_hint(key) for key in sorted(found, key=lambda key: key.id == HELP_ID)]


class Pointed(StrEnum):
    """What the next key would be for."""

    VM = "vm"
    MARKED = "marked"
    """Several VMs."""
    HOST = "host"


HELP_ID = "help"
_ACTING: Mapping[Pointed, tuple[str, ...]] = MappingProxyType(
    {
        Pointed.VM: ("balloon", "snapshots", "backups", "jobs", "audit", "quit", "undo"),
        Pointed.MARKED: ("balloon", "balloon-down", "balloon-up", "unmark-all", "jobs", "audit", "quit", "undo"),
        Pointed.HOST: ("jobs", "audit", "quit", "undo"),
    }
)
_TABLE = ("filter", "sort-right", "reverse", "mark", "balloon-down", "balloon-up", "pause", "delay", "faults")
_PAGE = ("next-vm", "balloon-down", "balloon-up", "pause", "faults")


def table_hints(
    keys: Iterable[Key], pointed: Pointed, *, first: Sequence[str] = (), drop: Container[str] = ()
) -> list[tuple[str, str]]:
    """Hints for the main screen, the most useful first.

    Args:
        keys: all keys.
        pointed: what is under the cursor.
        first: ids that are worth more than others now.
        drop: ids of what makes no sense now.
    """
    opening = () if pointed is Pointed.MARKED else ("open",)
    return _pick(keys, (*opening, *first, *_ACTING[pointed], *_TABLE), drop)


def page_hints(
    keys: Iterable[Key], pointed: Pointed, *, first: Sequence[str] = (), drop: Container[str] = ()
) -> list[tuple[str, str]]:
    """Hints for the page of a VM or of the host, likewise."""
    return _pick(keys, ("back", "switch-parts", *first, *_ACTING[pointed], *_PAGE), drop)


def scroll_keys(keys: Iterable[Key]) -> tuple[str, str]:
    """What shows the lines before those in sight, and those after."""
    by_id = {key.id: key.label.split()[0] for key in keys}
    return by_id["page-up"], by_id["page-down"]


def _pick(keys: Iterable[Key], ids: Sequence[str], drop: Container[str]) -> list[tuple[str, str]]:
    by_id = {key.id: key for key in keys}
    return [_hint(by_id[each]) for each in dict.fromkeys((*ids, HELP_ID)) if each not in drop]


def _hint(key: Key) -> tuple[str, str]:
    return key.label.split()[0], key.hint
