"""`vmtop audit`: who did what."""

import argparse
from dataclasses import asdict

from vmtop.actions.alive import read_running
from vmtop.command_line.place import Place
from vmtop.viewmodel.audit import build_audit_text, pair_records


def run_audit(place: Place, wanted: argparse.Namespace) -> int:
    """Show the last actions, of all sources, the newest first."""
    records = place.audit.read()
    entries = [each for each in pair_records(records) if wanted.vm in {None, each.last.vm, each.last.uuid}][
        : wanted.count
    ]
    if wanted.json:
        place.console.write_object(
            wanted.command, file=str(place.audit.path), actions=[asdict(each.last) for each in entries]
        )
        return 0
    now_s, alive = place.clock.time(), read_running(records)
    running = {each.began.id: now_s - each.began.time_s for each in entries if each.began.id in alive}
    console = place.console
    width = console.width if console.is_screen else None
    console.write_lines(build_audit_text(entries, width=width, has_unicode=console.has_unicode, running=running))
    return 0
