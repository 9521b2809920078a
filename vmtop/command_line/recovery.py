"""`vmtop recovery` and `vmtop restore`: what lies in a backup folder, and images from it. They need no hypervisor."""

import argparse
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vmtop.actions.action import Ending
from vmtop.actions.audit import AuditRecord, Phase
from vmtop.actions.size import size_text
from vmtop.actions.verification import verify_backups
from vmtop.backends.backup_folder import read_backups
from vmtop.backends.qemu_image import check_restore, restore_image
from vmtop.command_line.consent import check_confirmed
from vmtop.command_line.interrupt import noted_interrupts
from vmtop.command_line.place import Place
from vmtop.command_line.session import unknown_vm
from vmtop.derive.recovery import derive_points, last_good, point_at
from vmtop.derive.words import duration_words
from vmtop.errors import ControlError, RefusedError, UsageError
from vmtop.model.recovery import DiskCopy, RecoveryPoint, StoredBackup
from vmtop.viewmodel.backups import Recovery, build_backups
from vmtop.viewmodel.formats import format_ratio, format_time


@dataclass(frozen=True, slots=True, kw_only=True)
class _Restore:
    """An image that is to be built."""

    point: RecoveryPoint
    disk: DiskCopy
    to_path: str
    """Absolute."""

    @property
    def chain(self) -> list[tuple[str, str]]:
        """Path and format of each file, the full backup first."""
        return [
            (str(Path(backup.folder, copy.file)), copy.image_format)
            for backup in self.point.chain
            for copy in backup.record.disks
            if copy.target == self.disk.target
        ]

    @property
    def sentence(self) -> str:
        """What is asked for."""
        record = self.point.backup.record
        return f"restore {self.disk.target} of {record.name} as of {record.stamp} to {self.to_path}"


def run_recovery(place: Place, wanted: argparse.Namespace) -> int:
    """List the recovery points of a folder."""
    console, now_s = place.console, place.clock.time()
    backups, problems = read_backups(wanted.folder)
    vms = _by_vm(backups)
    if wanted.vm is not None:
        vms = {each: vms[each] for each in _find_vm(vms, wanted.vm, wanted.folder)}
    if wanted.verify:
        wanted_ones = [backup for each in vms.values() for backup in each]
        verification = verify_backups(wanted_ones, place.clock.time, console.progress)
        vms = _by_vm(verification.backups)
        for complaint in verification.complaints:
            console.note(complaint)
    points = {each: derive_points(found) for each, found in vms.items()}
    if wanted.json:
        objects = [_vm_object(each, found, now_s) for each, found in points.items()]
        console.write_object(wanted.command, folder=str(Path(wanted.folder).absolute()), vms=objects, problems=problems)
        return 0
    for found in points.values():
        record, good = found[-1].backup.record, last_good(found)
        state = "nothing here can be restored"
        if good is not None:
            age = duration_words(max(0.0, now_s - good.backup.record.time_s))
            state = f"the last good backup is {age} old{'' if good.is_verified else ', and not verified'}"
        console.write(f"{record.name} ({record.uuid}): {state}")
        page = build_backups(Recovery(points=found), now_s=now_s, width=console.width, has_unicode=console.has_unicode)
        console.write_lines(page.lines)
    if not points:
        console.write(f"there are no backups of vmtop in {wanted.folder}")
    for problem in problems:
        console.note(problem)
    return 0


def run_restore(place: Place, wanted: argparse.Namespace) -> int:
    """Build an image from a chain of backups."""
    console, restore = place.console, _plan(wanted)
    check_confirmed(wanted, restore.point.backup.record.name)
    is_asking = not (wanted.dry_run or wanted.yes or wanted.confirm)
    if not wanted.json or (is_asking and console.can_ask):
        _show_card(place, restore, is_note=wanted.json)
    if wanted.dry_run:
        check_restore(restore.chain, restore.to_path, restore.disk.capacity_bytes)
        return _tell(place, restore, wanted, None, "all its files are there, and whole")
    if is_asking and not console.can_ask:
        raise RefusedError("nothing was done: nobody is there to be asked; --yes does it unasked")
    if is_asking and not console.agrees("Do it?"):
        raise RefusedError("nothing was done")
    began_s = place.clock.monotonic()
    record = AuditRecord(
        id=uuid.uuid4().hex,
        phase=Phase.STARTED,
        time_s=place.clock.time(),
        uri=Path(restore.point.backup.folder).as_uri(),
        uuid=restore.point.backup.record.uuid,
        vm=restore.point.backup.record.name,
        action="restore",
        sentence=restore.sentence,
    )
    place.audit.write(record)
    text, ending, code = "", Ending.FAILED, 1
    try:
        code, text = _build(place, restore)
        ending = Ending.FAILED if code else Ending.DONE
    except ControlError as error:
        text = str(error)
        raise
    finally:
        now_s, took_s = place.clock.time(), round(place.clock.monotonic() - began_s, 3)
        text = text or "vmtop was interrupted"
        ended = replace(record, phase=Phase.ENDED, time_s=now_s, outcome=ending.value, text=text, duration_s=took_s)
        place.audit.write(ended)
    return _tell(place, restore, wanted, ending, text, code)


def _build(place: Place, restore: _Restore) -> tuple[int, str]:
    """Exit code, and what became of it."""

    def show(ratio: float) -> None:
        if interrupt.number:
            raise KeyboardInterrupt
        place.console.progress(f"{format_ratio(ratio)} {restore.sentence}")

    with noted_interrupts() as interrupt:
        try:
            size_bytes = restore_image(restore.chain, restore.to_path, show, capacity_bytes=restore.disk.capacity_bytes)
        except (ControlError, KeyboardInterrupt):
            # A terminal sends Ctrl+C to qemu-img, too, which then fails.
            if not interrupt.number:
                raise
            return interrupt.exit_code, "interrupted; nothing of it is left"
    return 0, f"{restore.to_path} is complete: {size_text(size_bytes)}"


def _tell(
    place: Place, restore: _Restore, wanted: argparse.Namespace, ending: Ending | None, text: str, code: int = 0
) -> int:
    record = restore.point.backup.record
    if wanted.json:
        place.console.write_object(
            wanted.command,
            uuid=record.uuid,
            vm=record.name,
            disk=restore.disk.target,
            point=_point_object(restore.point),
            files=[path for path, _ in restore.chain],
            to=restore.to_path,
            dry_run=wanted.dry_run,
            outcome=None if ending is None else ending.value,
            text=text,
        )
    elif ending is Ending.FAILED:
        place.console.note(text)
    else:
        place.console.write(text)
    return code


def _plan(wanted: argparse.Namespace) -> _Restore:
    """Find the point in time and the disk that are asked for.

    Raises:
        UnknownVmError: the folder has no backup of this VM.
        RefusedError: there is no good backup of that time.
        UsageError: several VMs or disks could be meant.
    """
    vms = _by_vm(read_backups(wanted.folder)[0])
    found = _find_vm(vms, wanted.vm, wanted.folder)
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} VMs in {wanted.folder} were called {wanted.vm!r}; give a UUID: {', '.join(found)}"
        )
    points = derive_points(vms[found[0]])
    good = last_good(points)
    point = good if wanted.at is None else point_at(points, wanted.at)
    if point is None and wanted.at is None:
        raise RefusedError(f"no backup of {wanted.vm} can be restored: {points[-1].problem}")
    if point is None:
        raise RefusedError(f"the first backup of {wanted.vm} is of {format_time(points[0].backup.record.time_s)}")
    if point.problem is not None:
        other = "none can" if good is None else f"the last that can is {good.backup.record.stamp}"
        raise RefusedError(f"{point.backup.record.stamp} cannot be restored: {point.problem}; {other}")
    disks = {disk.target: disk for disk in point.backup.record.disks}
    if wanted.disk is None and len(disks) > 1:
        raise UsageError(f"{wanted.vm} has several disks; choose one with --disk: {', '.join(disks)}")
    target = wanted.disk or next(iter(disks))
    if target not in disks:
        raise UsageError(f"{wanted.vm} has no disk {target!r}; there are: {', '.join(disks)}")
    return _Restore(point=point, disk=disks[target], to_path=str(Path(wanted.to).absolute()))


def _show_card(place: Place, restore: _Restore, *, is_note: bool) -> None:
    write = place.console.note if is_note else place.console.write
    record = restore.point.backup.record
    age = duration_words(max(0.0, place.clock.time() - record.time_s))
    sizes = sum(backup.size_bytes for backup in restore.point.chain)
    write(restore.sentence[0].upper() + restore.sentence[1:])
    write(f"  as it was        {format_time(record.time_s)}, {age} ago")
    write(f"  reads            at most {size_text(sizes)}, and checks it first")
    for path, _ in restore.chain:
        write(f"                   {path}")
    if restore.disk.capacity_bytes is not None:
        write(f"  the disk has     {size_text(restore.disk.capacity_bytes)}")


def _by_vm(backups: Sequence[StoredBackup]) -> dict[str, list[StoredBackup]]:
    """UUID -> its backups."""
    found: dict[str, list[StoredBackup]] = {}
    for backup in backups:
        found.setdefault(backup.record.uuid, []).append(backup)
    return found


def _find_vm(vms: Mapping[str, Sequence[StoredBackup]], text: str, folder: str) -> list[str]:
    """UUIDs of the VMs of this name or UUID."""
    found = [text.lower()] if text.lower() in vms else []
    found = found or [each for each, backups in vms.items() if any(b.record.name == text for b in backups)]
    if not found:
        names = tuple(backup.record.name for backups in vms.values() for backup in backups)
        raise unknown_vm(text, folder, names)
    return found


def _point_object(point: RecoveryPoint) -> dict[str, Any]:
    record = point.backup.record
    return {
        "stamp": record.stamp,
        "time_s": record.time_s,
        "kind": record.kind.value,
        "chain": [backup.record.stamp for backup in point.chain],
        "folder": point.backup.folder,
        "disks": [disk.target for disk in record.disks],
        "size_bytes": point.backup.size_bytes,
        "verified": point.is_verified,
        "problem": point.problem,
    }


def _vm_object(vm_uuid: str, points: Sequence[RecoveryPoint], now_s: float) -> dict[str, Any]:
    good = last_good(points)
    return {
        "uuid": vm_uuid,
        "vm": points[-1].backup.record.name,
        "last_good_age_s": None if good is None else round(now_s - good.backup.record.time_s, 3),
        "points": [_point_object(each) for each in points],
    }
