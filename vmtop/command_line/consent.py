"""Consent that is given with the words of a command."""

import argparse

from vmtop.errors import RefusedError


def check_confirmed(wanted: argparse.Namespace, name: str) -> None:
    """See to it that a name that was typed is of the VM that is meant, also where none is needed.

    Raises:
        RefusedError: it is another's.
    """
    if wanted.confirm and wanted.confirm != name:
        raise RefusedError(
            f"nothing was done: --confirm {wanted.confirm!r} is not the name of the VM, which is {name!r}"
        )
