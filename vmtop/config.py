"""Settings and policy from TOML files and the environment.

Later ones win: /etc/vmtop/config.toml, $XDG_CONFIG_HOME/vmtop/config.toml, `VMTOP_*` variables, the command line. Every
mistake is reported with the file (or variable) and the key, and nothing is guessed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from vmtop.errors import UsageError
from vmtop.model.policy import DEFAULT_POLICY, Policy, check_policy
from vmtop.wording import nearest

SYSTEM_FILE = Path("/etc/vmtop/config.toml")
LEAST_DELAY_S = 0.1
"""Shorter pauses only measure the monitor itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a person may set once and for all. Keys of the file carry these names; so do `VMTOP_*` variables."""

    connect: str | None = None
    """Connection URI; None leaves it to LIBVIRT_DEFAULT_URI, then qemu:///system."""
    delay: float = 2.0
    """Seconds between two readings."""
    sort: str = "used"
    """Id of the column that sorts."""
    columns: tuple[str, ...] = ()
    """Ids of the columns to show; empty shows what fits."""
    glyphs: str = "auto"
    """unicode, ascii, or auto: by the locale."""
    theme: str = "auto"
    """dark, light, or auto: the terminal's own colours."""
    mouse: bool = True
    """Take the mouse; without it the terminal's own selection works."""
    readonly: bool = False
    """Never change a VM."""
    backup_folder: str = ""
    """Where backups of VMs go and are looked for: an absolute path on their host; empty has the screen ask for it."""
    keys: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Id of a binding -> its keys, comma-separated, in the table [keys]."""


_CHOICES = {"glyphs": ("auto", "unicode", "ascii"), "theme": ("auto", "dark", "light")}

_OF_THE_TESTS = ("VMTOP_TEST_", "VMTOP_NO_SKIPS")
"""Variables that begin so steer the tests of vmtop, which also run the program itself."""

Target = TypeVar("Target", Settings, Policy)


def user_file(environ: Mapping[str, str]) -> Path:
    """Where a person's own configuration is looked for."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or "/") / ".config")
    return Path(base) / "vmtop" / "config.toml"


def read_config(environ: Mapping[str, str], system_file: Path = SYSTEM_FILE) -> tuple[Settings, Policy]:
    """Read both files and the environment; a file that does not exist is no mistake.

    Raises:
        UsageError: a file cannot be read, is no TOML, or holds an unknown key or a wrong value.
    """
    settings, policy = Settings(), DEFAULT_POLICY
    for path in (system_file, user_file(environ)):
        text = _read_text(path)
        if text is not None:
            settings, policy = parse_config(text, str(path), settings, policy)
    return parse_environ(environ, settings), policy


def parse_config(text: str, where: str, settings: Settings, policy: Policy) -> tuple[Settings, Policy]:
    """Lay one file's text over what is set already.

    Raises:
        UsageError: no TOML, an unknown key or a wrong value; names `where` and the key.
    """
    import tomllib  # most people have no file

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: this is no TOML: {error}") from None
    limits = document.pop("policy", {})
    if not isinstance(limits, dict):
        raise UsageError(f"{where}: policy must be a table, written [policy]")
    settings = _lay_over(settings, document, where)
    return settings, check_policy(_lay_over(policy, limits, f"{where}: [policy]"), f"{where}: [policy]")


def parse_environ(environ: Mapping[str, str], settings: Settings) -> Settings:
    """Lay `VMTOP_*` variables over the settings; numbers and yes/no are written as in TOML, lists with commas.

    Raises:
        UsageError: a variable holds a wrong value, or is none that we know.
    """
    names = {f"VMTOP_{item.name.upper()}": item.name for item in fields(Settings) if item.name != "keys"}
    found: dict[str, object] = {}
    for variable in sorted(environ):
        if not variable.startswith("VMTOP_") or variable.startswith(_OF_THE_TESTS):
            continue
        if variable not in names:
            raise UsageError(f"environment: there is no variable {variable!r}. {nearest(variable, names)}")
        name, text = names[variable], environ[variable]
        default = getattr(Settings(), name)
        if isinstance(default, bool):
            found[name] = _parse_bool(text, variable)
        elif isinstance(default, float):
            found[name] = parse_number(text, variable)
        elif isinstance(default, tuple):
            found[name] = [part.strip() for part in text.split(",") if part.strip()]
        else:
            found[name] = text
    return _lay_over(settings, found, "environment (VMTOP_*)")


def parse_number(text: str, where: str) -> float:
    """Turn text into a number.

    Raises:
        UsageError: it is none.
    """
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{where}: {text!r} is no number") from None


def check_delay(seconds: float, where: str) -> float:
    """Return a pause between readings that makes sense, or say why it does not.

    Raises:
        UsageError: below `LEAST_DELAY_S`, above a day, or not a number.
    """
    if not LEAST_DELAY_S <= seconds <= 86400:
        raise UsageError(f"{where}: a delay of {seconds:g} s makes no sense; give {LEAST_DELAY_S:g} to 86400")
    return seconds


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the configuration cannot be read: {error}") from None


def _parse_bool(text: str, where: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
    if text.lower() not in words:
        raise UsageError(f"{where}: {text!r} is neither true nor false")
    return words[text.lower()]


def _lay_over(target: Target, found: Mapping[str, object], where: str) -> Target:
    """Replace fields of `target` by what was found, after checking each against the type of the default."""
    known = [item.name for item in fields(target)]
    changes: dict[str, Any] = {}
    for key, value in found.items():
        if key not in known:
            raise UsageError(f"{where}: there is no key {key!r}. {nearest(key, known)}")
        changes[key] = _checked(key, value, getattr(type(target)(), key), f"{where}: {key}")
    return replace(target, **changes)


def _checked(key: str, value: object, default: object, where: str) -> object:
    if isinstance(default, bool):
        return _expect(value, isinstance(value, bool), where, "true or false")
    if isinstance(default, int | float):
        is_number = (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
        )
        number = _expect(value, is_number, where, "a number, not below 0")
        if isinstance(default, int):
            return _expect(number, isinstance(number, int), where, "a whole number")
        return check_delay(float(number), where) if key == "delay" else float(number)
    if isinstance(default, tuple):
        is_list = isinstance(value, list) and all(isinstance(part, str) for part in value)
        return tuple(_expect(value, is_list, where, "a list of texts"))
    if isinstance(default, Mapping):
        is_table = isinstance(value, dict) and all(isinstance(part, str) for part in value.values())
        return MappingProxyType(_expect(value, is_table, where, "a table of texts"))
    text = _expect(value, isinstance(value, str), where, "a text")
    choices = _CHOICES.get(key)
    if choices is not None and text not in choices:
        raise UsageError(f"{where}: {text!r} is none of {', '.join(choices)}")
    return text


def _expect(value: Any, is_good: bool, where: str, what: str) -> Any:
    if not is_good:
        raise UsageError(f"{where}: {value!r} is not {what}")
    return value
