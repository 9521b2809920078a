"""What the operator chose: order, filter, pause, selection. Part of every view, owned by the app, never by a widget."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class UiState:
    """The operator's choices; replaced as a whole (`dataclasses.replace`) on each change."""

    sort_column: str = "used"
    """Id of a column in `vmtop.viewmodel.columns`."""
    is_reversed: bool = False
    """Against the column's own direction (amounts: largest first; names: A to Z)."""
    filter_text: str = ""
    """Substring of the name, or a regular expression when written /between slashes/; empty shows all."""
    columns: tuple[str, ...] = ()
    """Ids of the columns to show, in order; empty means all that fit."""
    is_paused: bool = False
    cursor_uuid: str | None = None
    marked: frozenset[str] = frozenset()
    """UUIDs of the VMs that an action is for; without any it is for the one under the cursor."""
    delay_s: float = 2.0
    backup_folder: str = ""
    """Absolute path of the folder on the VMs' host to which backups go; empty until somebody chose one."""
    has_unicode: bool = True
    """Block and box characters may be used; else ASCII."""
