"""Which points in time a VM can be put back to."""

from dataclasses import replace

import pytest

from vmtop.derive.recovery import derive_points, last_good, point_at
from vmtop.model.kind import BackupKind
from vmtop.model.recovery import BackupRecord, DiskCopy, RecoveryPoint, StoredBackup


def stamp(hour: int) -> str:
    return f"20260105T{hour:02}0000Z"


def backup(hour: int, since: int | None = None, disks: str = "vda", *, is_done: bool = True) -> StoredBackup:
    kind = BackupKind.FULL if since is None else BackupKind.INCREMENTAL
    copies = tuple(
        DiskCopy(target=disk, file=f"{stamp(hour)}.{disk}", image_format="qcow2", capacity_bytes=1)
        for disk in disks.split()
    )
    record = BackupRecord(
        stamp=stamp(hour),
        time_s=hour * 3600,
        uuid="u",
        name="web",
        kind=kind,
        since=None if since is None else stamp(since),
        checkpoint=None,
        disks=copies,
        is_done=is_done,
        checked_s=1,
    )
    return StoredBackup(folder="/b", record=record, missing=(), size_bytes=10)


def damaged(each: StoredBackup) -> StoredBackup:
    return replace(each, record=replace(each.record, damage="f is damaged"))


def hours(point: RecoveryPoint) -> list[int]:
    return [each.record.time_s // 3600 for each in point.chain]


def test_each_backup_is_a_point_with_the_chain_that_it_takes() -> None:
    points = derive_points([backup(3, 2), backup(1), backup(2, 1), backup(4), backup(5, 4)])
    assert [hours(point) for point in points] == [[1], [1, 2], [1, 2, 3], [4], [4, 5]]
    assert all(point.problem is None and point.is_verified for point in points)


@pytest.mark.parametrize(
    ("backups", "problem"),
    [
        ([backup(3, 2)], f"the backup {stamp(2)} on which {stamp(3)} stands is not there"),
        ([backup(1, is_done=False), backup(3, 1)], f"{stamp(1)} never ended"),
        ([replace(backup(1, is_done=False), is_written=True)], f"{stamp(1)} is still being written"),
        (
            [replace(backup(1, is_done=False), is_written=None)],
            f"{stamp(1)} was not finished when it was last written down; whether it still runs cannot be seen",
        ),
        ([damaged(backup(1)), backup(3, 1)], f"{stamp(1)}: f is damaged"),
        ([replace(backup(1), missing=("f",)), backup(3, 1)], f"{stamp(1)}: f is not there"),
        ([backup(1), backup(3, 1, "vda vdb")], f"{stamp(1)} does not have vdb"),
        ([backup(2, 3), backup(3, 2)], f"{stamp(2)} and {stamp(3)} stand on each other"),
    ],
)
def test_a_chain_that_is_broken_anywhere_says_where(backups: list[StoredBackup], problem: str) -> None:
    point = derive_points(backups)[-1]
    assert point.problem == problem
    assert not point.is_verified


def test_the_last_good_point_passes_over_bad_ones() -> None:
    points = derive_points([backup(1), backup(2, 1), backup(4, 3)])
    good = last_good(points)
    assert good is not None
    assert hours(good) == [1, 2]
    assert last_good(derive_points([backup(4, 3)])) is None


def test_the_point_of_a_time_is_the_newest_before_it() -> None:
    points = derive_points([backup(1), backup(2, 1), backup(4, 2)])
    at_three = point_at(points, 3 * 3600)
    assert at_three is not None
    assert hours(at_three) == [1, 2]
    assert point_at(points, 60) is None


def test_a_point_whose_files_were_never_checked_is_not_verified() -> None:
    full = backup(1)
    unchecked = replace(full, record=replace(full.record, checked_s=None))
    (_, point) = derive_points([unchecked, backup(2, 1)])
    assert (point.problem, point.is_verified) == (None, False)
