"""Room that backups which began will still take: free space is there for one of them only. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from vmtop.actions.size import size_text
from vmtop.actions.verdict import BackupPreview


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a backup was going to write when it was allowed."""

    device: int
    """File system."""
    least_bytes: int
    """For sure; 0 where nothing is known."""
    most_bytes: int | None
    """None where that is not known."""


class Promise(NamedTuple):
    """What is still to be written."""

    least_bytes: int
    """For sure."""
    most_bytes: int | None
    """None where that is not known."""


NOTHING = Promise(0, 0)


def make_claim(device: int | None, preview: BackupPreview) -> Claim | None:
    """What a backup claims that may begin now. None where its file system is not known."""
    if device is None:
        return None
    return Claim(device=device, least_bytes=preview.least_bytes or 0, most_bytes=preview.write_bytes)


def still_to_write(claim: Claim, written_bytes: int, left_bytes: int | None) -> Promise:
    """What of a claim was not written yet.

    Args:
        claim: Of a backup that goes on.
        written_bytes: What its files take by now; free space is less by that already.
        left_bytes: Its job's total less what is processed, parts of disks without data included. None where no job
            tells.
    """
    known = [left_bytes] if left_bytes is not None else []
    if claim.most_bytes is not None:
        known.append(claim.most_bytes - written_bytes)
    most_bytes = max(0, min(known)) if known else None
    least_bytes = max(0, claim.least_bytes - written_bytes)
    return Promise(least_bytes if most_bytes is None else min(least_bytes, most_bytes), most_bytes)


def add_promises(promises: Iterable[Promise]) -> Promise:
    """All of them together."""
    least_bytes, most_bytes = 0, 0
    is_known = True
    for each in promises:
        least_bytes += each.least_bytes
        is_known = is_known and each.most_bytes is not None
        most_bytes += each.most_bytes or 0
    return Promise(least_bytes, most_bytes if is_known else None)


def promise_words(promise: Promise) -> str:
    """Which part of free space is promised: ", of which 8.0G are promised to other backups"; empty for nothing."""
    if promise == NOTHING:
        return ""
    least, most = size_text(promise.least_bytes), "?" if promise.most_bytes is None else size_text(promise.most_bytes)
    amount = f"{least} to {most}"
    if promise.most_bytes is None:
        amount = f"at least {least}"
    elif not promise.least_bytes:
        amount = f"up to {most}"
    elif least == most:
        amount = least
    return f", of which {amount} are promised to other backups"
