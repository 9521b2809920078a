"""What can be done without a screen: `vmtop balloon web-1 2G`, and so on.

Reading order: `parser` (words -> what is wanted), `place` and `session` (what commands work with), `act` (card,
question, runner, outcome), then a module for each kind of command, and `run`, which calls them. Nothing of this is
imported unless a command is given.
"""

from collections.abc import Mapping
from types import MappingProxyType

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "balloon": "change how much memory a VM has",
        "snapshot": "take, list, revert to and delete snapshots of a VM",
        "backup": "copy the disks of a VM, or what changed on them, into a folder",
        "recovery": "list the recovery points in a backup folder",
        "restore": "build an image from backups, in a new file",
        "jobs": "show, cancel and throttle jobs of VMs",
        "undo": "take back the last changes of balloons and statistics periods",
        "audit": "show who did what with vmtop",
    }
)
"""Name -> what it does."""
