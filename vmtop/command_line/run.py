"""From what is wanted to the function that does it."""

import argparse
from collections.abc import Callable, Mapping
from types import MappingProxyType

from vmtop.command_line.change import run_backup, run_balloon, run_snapshot, run_undo
from vmtop.command_line.history import run_audit
from vmtop.command_line.jobs import run_jobs
from vmtop.command_line.place import Place
from vmtop.command_line.recovery import run_recovery, run_restore
from vmtop.command_line.session import Session

_WITH_SOURCE: Mapping[str, Callable[[Place, Session, argparse.Namespace], int]] = MappingProxyType(
    {"balloon": run_balloon, "snapshot": run_snapshot, "backup": run_backup, "jobs": run_jobs, "undo": run_undo}
)
_WITHOUT_SOURCE: Mapping[str, Callable[[Place, argparse.Namespace], int]] = MappingProxyType(
    {"recovery": run_recovery, "restore": run_restore, "audit": run_audit}
)


def run_command(place: Place, wanted: argparse.Namespace) -> int:
    """Do what is wanted; returns the exit code.

    Raises:
        VmtopError: it cannot be done; has its exit code.
    """
    alone = _WITHOUT_SOURCE.get(wanted.command)
    if alone is not None:
        return alone(place, wanted)
    session = place.open_session()
    try:
        return _WITH_SOURCE[wanted.command](place, session, wanted)
    finally:
        session.close()
