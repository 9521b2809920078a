"""The host's page merging, switched on for a test and put back however the test ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.hypervisor.guest_image import locked
from tests.hypervisor.keeper import Keeper

KSM: Final = Path("/sys/kernel/mm/ksm")

UNMERGE: Final = "2"
"""Value of `run` that undoes all merging, and forgets dead processes, whose pages are counted as shared until then."""


def missing_for_ksm() -> str | None:
    """Say why this process cannot switch the host's KSM on, or None if it can."""
    if not KSM.is_dir():
        return "this host's kernel has no KSM"
    if not os.access(KSM / "run", os.W_OK):
        return f"only root may write to {KSM}"
    return None


@contextmanager
def host_ksm(*, pages_to_scan: int = 5000, sleep_ms: int = 20, folder: Path = KSM) -> Iterator[Path]:
    """Let the host merge pages; waits while another test run of this user does, for the settings are the host's.

    Args:
        pages_to_scan: how many pages it looks at before it sleeps.
        sleep_ms: for how long it sleeps.
        folder: where the settings are.

    Yields:
        The folder, which also has the kernel's figures; see Documentation/admin-guide/mm/ksm.rst.
    """
    wanted = {"sleep_millisecs": sleep_ms, "pages_to_scan": pages_to_scan, "run": 1}
    # The keeper holds the lock too: nobody shall take our settings for the host's before they are put back.
    with locked("ksm") as lock, Keeper(inherited_files=[lock]) as keeper:
        if int((folder / "pages_shared").read_text()) == 0:
            keeper.write_at_end([(folder / "run", UNMERGE)])
        keeper.write_at_end([(folder / name, (folder / name).read_text()) for name in wanted])
        for name, value in wanted.items():
            (folder / name).write_text(str(value))
        yield folder
