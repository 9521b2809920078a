"""The table of keys."""

import re
import string
import subprocess
import sys
from collections import Counter

import pytest
from textual.keys import _character_to_key

from vmtop.errors import UsageError
from vmtop.tui.app import VmtopApp
from vmtop.tui.keymap import (
    KEYS,
    SCREENS,
    Key,
    Pointed,
    Scope,
    apply_keymap,
    bindings,
    hints,
    page_hints,
    scroll_keys,
    table_hints,
)
from vmtop.tui.screens.audit import AuditScreen
from vmtop.tui.screens.backups import BackupsScreen
from vmtop.tui.screens.balloon import BalloonScreen
from vmtop.tui.screens.clear import ClearScreen
from vmtop.tui.screens.confirm import ConfirmScreen
from vmtop.tui.screens.detail import DetailScreen
from vmtop.tui.screens.faults import FaultsScreen
from vmtop.tui.screens.help import HelpScreen
from vmtop.tui.screens.jobs import JobsScreen
from vmtop.tui.screens.main import MainScreen
from vmtop.tui.screens.period import PeriodScreen
from vmtop.tui.screens.snapshots import KindsScreen, SnapshotsScreen
from vmtop.tui.screens.undo import UndoScreen
from vmtop.viewmodel.columns import column
from vmtop.viewmodel.status import build_page_status


def test_every_binding_has_an_id_of_its_own_and_says_what_it_does() -> None:
    assert [key_id for key_id, count in Counter(key.id for key in KEYS).items() if count > 1] == []
    for key in KEYS:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", key.id), key.id
        assert key.description, key.id
        assert key.tooltip.endswith("."), key.id


@pytest.mark.parametrize("scopes", SCREENS)
def test_no_key_does_two_things_on_one_screen(scopes: frozenset[Scope]) -> None:
    counts = Counter(name for key in KEYS if key.scope in scopes for name in key.keys.split(","))
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.id)
def test_every_action_exists_where_its_key_works(key: Key) -> None:
    owners = {
        Scope.EVERYWHERE: (VmtopApp,),
        Scope.TABLE: (MainScreen,),
        Scope.MOVE: (MainScreen, HelpScreen, DetailScreen, ConfirmScreen),
        Scope.PAGE: (HelpScreen, DetailScreen),
        Scope.DETAIL: (DetailScreen,),
        Scope.VM: (MainScreen, DetailScreen),
        Scope.BALLOON: (MainScreen, DetailScreen, BalloonScreen),
        Scope.UNDO: (MainScreen, DetailScreen, UndoScreen),
        Scope.CARD: (ConfirmScreen,),
        Scope.CHOICE: (PeriodScreen, ClearScreen),
        Scope.LIST: (JobsScreen, SnapshotsScreen, KindsScreen, BackupsScreen, AuditScreen, FaultsScreen),
        Scope.PICK: (JobsScreen, KindsScreen, FaultsScreen),
        Scope.JOBS: (JobsScreen,),
        Scope.SNAPSHOTS: (SnapshotsScreen,),
        Scope.BACKUPS: (BackupsScreen,),
        Scope.CHECKPOINTS: (SnapshotsScreen, BackupsScreen),
        Scope.FAULTS: (FaultsScreen,),
    }
    for owner in owners[key.scope]:
        assert callable(getattr(owner, f"action_{key.action.partition('(')[0]}", None)), owner


def test_keys_of_the_textual_framework_that_we_do_not_explain_are_gone() -> None:
    ours = {name for key in KEYS for name in key.keys.split(",")}
    assert set(VmtopApp._merged_bindings.key_to_bindings) <= ours  # type: ignore[union-attr] # a class has them


def test_own_keys_replace_the_usual_ones() -> None:
    keys = {key.id: key for key in apply_keymap({"quit": "y,ctrl+q"})}
    assert keys["quit"].keys == "y,ctrl+q"
    assert keys["quit"].label == "y ctrl+q"
    assert keys["help"] in KEYS


def test_an_unknown_id_is_reported_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"no binding 'sort-usde'.*Did you mean 'sort-used'"):
        apply_keymap({"sort-usde": "x"})


@pytest.mark.parametrize(
    ("keymap", "complaint"),
    [
        ({"reverse": "d"}, "[keys] reverse: the key 'd' is that of 'delay' already"),
        ({"quit": "question_mark"}, "[keys] quit: the key 'question_mark' is that of 'help' already"),
        ({"quit": "?"}, "[keys] quit: the key 'question_mark' is that of 'help' already"),
        ({"switch-parts": "down"}, "[keys] switch-parts: the key 'down' is that of 'move-down' already"),
        ({"reverse": "o", "delay": "o"}, "the key 'o' is that of"),
        ({"delay": "ctrl+c"}, "[keys] delay: the key 'ctrl+c' is that of 'interrupt' already"),
        ({"filter": "ctrl+m"}, "[keys] filter: the key 'enter' is that of 'open' already"),
        ({"interrupt": "x"}, "there is no binding 'interrupt'"),
        ({"quit": ""}, "[keys] quit: there is no key ''"),
        ({"quit": "q,"}, "[keys] quit: there is no key ''"),
        ({"quit": "quit"}, "[keys] quit: there is no key 'quit'"),
        ({"quit": "f99"}, "there is no key 'f99'"),
        ({"quit": "cmd+q"}, "there is no key 'cmd+q'"),
        ({"quit": "shift+q"}, "there is no key 'shift+q'"),
        ({"quit": "ctrl+"}, "there is no key 'ctrl+'"),
    ],
)
def test_keys_that_clash_or_do_not_exist_are_refused(keymap: dict[str, str], complaint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        apply_keymap(keymap)


def test_two_bindings_can_swap_keys_and_other_screens_can_have_the_same_key() -> None:
    keys = {key.id: key for key in apply_keymap({"reverse": "d", "delay": "r", "next-vm": "n, /", "sort-name": "n"})}
    assert (keys["reverse"].keys, keys["delay"].keys, keys["next-vm"].keys) == ("d", "r", "n,slash")
    assert keys["next-vm"].label == "n /"


def test_every_key_of_the_table_could_be_chosen_by_a_person() -> None:
    keymap = {key.id: key.keys for key in KEYS if not key.is_fixed}
    assert [key.keys for key in apply_keymap(keymap)] == [key.keys for key in KEYS]


def test_keys_are_named_as_textual_names_them() -> None:
    for character in set(string.punctuation) - set(",+"):
        rebound = {key.id: key for key in apply_keymap({"pause": f"alt+{character}"})}
        assert rebound["pause"].keys == f"alt+{_character_to_key(character)}"


def test_keys_can_be_checked_without_textual() -> None:
    program = "import sys, vmtop.tui.keymap; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_hints_show_one_key_each() -> None:
    shown = hints(KEYS, Scope.EVERYWHERE, Scope.TABLE)
    assert ("/", "filter") in shown
    assert all(" " not in key for key, _ in shown)


def test_bindings_carry_id_and_tooltip() -> None:
    assert {binding.id for binding in bindings(Scope.PAGE)} == {"back"}  # type: ignore[union-attr] # they are Bindings


def test_keys_that_sort_name_columns_that_exist() -> None:
    found = [match[1] for key in KEYS if (match := re.fullmatch(r"sort_by\('(.+)'\)", key.action))]
    assert [column(column_id).id for column_id in found] == ["used", "name", "swap-in"]


def words_of(shown: list[tuple[str, str]]) -> str:
    return "  ".join(f"{key} {word}" for key, word in shown)


def test_at_80_columns_the_keys_that_act_are_in_sight_and_the_help_stays() -> None:
    shown = table_hints(KEYS, Pointed.VM, drop=("faults",))
    line = "".join(span.text for span in build_page_status(shown, width=80)).rstrip()
    assert line == "Enter open  b balloon  s snapshot  k backup  j jobs  A audit  q quit  ? help"
    narrow = "".join(span.text for span in build_page_status(shown, width=60)).rstrip()
    assert narrow == "Enter open  b balloon  s snapshot  k backup  j jobs  ? help"


def test_hints_are_for_what_is_under_the_cursor() -> None:
    assert "balloon" not in words_of(table_hints(KEYS, Pointed.HOST)[:6])
    assert words_of(table_hints(KEYS, Pointed.MARKED)).startswith("b balloon  - less  + more  U unmark")
    urgent = table_hints(KEYS, Pointed.VM, first=("undo",))
    assert words_of(urgent).startswith("Enter open  u undo  b balloon")
    assert words_of(urgent).count("undo") == 1
    assert "F faults" not in words_of(table_hints(KEYS, Pointed.VM, drop=("faults",)))
    assert words_of(page_hints(KEYS, Pointed.VM)).startswith("Esc back  Tab view  b balloon")


@pytest.mark.parametrize("pointed", Pointed)
def test_every_hint_has_its_word(pointed: Pointed) -> None:
    for key, word in (*table_hints(KEYS, pointed, first=("clear-filter", "period")), *page_hints(KEYS, pointed)):
        assert key
        assert word


def test_hints_follow_own_keys() -> None:
    keys = apply_keymap({"balloon": "f5", "page-down": "y"})
    assert ("f5", "balloon") in table_hints(keys, Pointed.VM)
    assert scroll_keys(keys) == ("PgUp", "y")
