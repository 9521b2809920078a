"""`vmtop audit`: who did what."""

import argparse
from dataclasses import asdict

from vmtop.command_line.place import Place
from vmtop.viewmodel.audit import build_audit, pair_records


def run_audit(place: Place, wanted: argparse.Namespace) -> int:
    """Show the last actions, of all sources, the newest first."""
    entries = [each for each in pair_records(place.audit.read()) if wanted.vm in {None, each.last.vm, each.last.uuid}][
        : wanted.count
    ]
    if wanted.json:
        records = [asdict(each.last) for each in entries]
        place.console.write_object(wanted.command, file=str(place.audit.path), actions=records)
        return 0
    page = build_audit(entries, width=place.console.width, has_unicode=place.console.has_unicode)
    place.console.write_lines(page.lines)
    return 0
