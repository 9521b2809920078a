import pytest

from vmtop.actions.promise import NOTHING, Claim, Promise, add_promises, make_claim, promise_words, still_to_write
from vmtop.actions.verdict import BackupPreview
from vmtop.units import GIB


def claim(least: int = 5, most: int | None = 20) -> Claim:
    return Claim(device=1, least_bytes=least * GIB, most_bytes=None if most is None else most * GIB)


def promise(least: int, most: int | None) -> Promise:
    return Promise(least * GIB, None if most is None else most * GIB)


@pytest.mark.parametrize(
    ("claimed", "written", "left", "expected"),
    [
        (claim(), 0, None, promise(5, 20)),
        (claim(), 2, None, promise(3, 18)),
        (claim(), 2, 10, promise(3, 10)),
        (claim(), 2, 1, promise(1, 1)),
        (claim(), 7, 12, promise(0, 12)),
        (claim(), 30, None, promise(0, 0)),
        (claim(0, None), 2, None, promise(0, None)),
        (claim(0, None), 2, 4, promise(0, 4)),
    ],
)
def test_what_is_still_to_be_written_is_what_neither_files_nor_job_have_behind_them(
    claimed: Claim, written: int, left: int | None, expected: Promise
) -> None:
    assert still_to_write(claimed, written * GIB, None if left is None else left * GIB) == expected


def test_promises_add_up_and_one_that_is_unknown_makes_the_most_unknown() -> None:
    assert add_promises([]) == NOTHING
    assert add_promises([promise(1, 2), promise(3, 4)]) == promise(4, 6)
    assert add_promises([promise(1, 2), promise(3, None)]) == promise(4, None)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (NOTHING, ""),
        (promise(8, 8), ", of which 8.0G are promised to other backups"),
        (promise(8, 20), ", of which 8.0G to 20.0G are promised to other backups"),
        (promise(0, 20), ", of which up to 20.0G are promised to other backups"),
        (promise(8, None), ", of which at least 8.0G are promised to other backups"),
    ],
)
def test_promises_are_told_in_words(given: Promise, words: str) -> None:
    assert promise_words(given) == words


def test_a_backup_claims_what_its_preview_tells_where_its_file_system_is_known() -> None:
    preview = BackupPreview(
        write_bytes=20 * GIB,
        least_bytes=None,
        free_bytes=None,
        promised_least_bytes=0,
        promised_most_bytes=0,
        files=(),
        since=None,
    )
    assert make_claim(1, preview) == claim(0, 20)
    assert make_claim(None, preview) is None
