"""The page of a VM's snapshots: their tree, what reverting and deleting would do, and which kinds can be taken."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from vmtop.actions.backup_plan import backup_stamp, vm_folder
from vmtop.actions.checkpoint import Clearing, choose_checkpoints
from vmtop.actions.command import Command, DeleteSnapshot, RevertSnapshot, TakeSnapshot
from vmtop.actions.guard import check
from vmtop.actions.situation import Situation
from vmtop.actions.space import pool_words
from vmtop.actions.verdict import Consistency, SnapshotPreview, Verdict
from vmtop.derive.metrics import VmMetrics
from vmtop.derive.words import duration_words
from vmtop.model.kind import SnapshotKind
from vmtop.model.storage import FolderSample, SnapshotInfo, SnapshotRequest, StorageSample
from vmtop.viewmodel.backups import checkpoint_words
from vmtop.viewmodel.formats import format_age, format_bytes
from vmtop.viewmodel.sheet import (
    Head,
    Page,
    Row,
    build_labelled,
    build_note,
    build_sheet,
    figure,
    make_page,
    plain,
    word,
)
from vmtop.viewmodel.tone import Line, Span, Tone

NO_SNAPSHOTS = "This VM has no snapshots. t takes one."

KIND_WORDS: Mapping[SnapshotKind, str] = MappingProxyType(
    {
        SnapshotKind.INTERNAL: "inside its disks",
        SnapshotKind.EXTERNAL: "live",
        SnapshotKind.DISK_ONLY: "disks alone",
    }
)

_CHOICE_WORDS: Mapping[SnapshotKind, str] = MappingProxyType(
    {
        SnapshotKind.INTERNAL: "with memory, inside its disks",
        SnapshotKind.EXTERNAL: "with memory, live",
        SnapshotKind.DISK_ONLY: "disks alone",
    }
)

ASKING = "Asking the hypervisor for disks and snapshots ..."

_LOOSE = frozenset({"disk-snapshot", "shutoff", "shut off"})
"""States in libvirt's words in which a snapshot holds no memory."""

_SNAPSHOTS = (
    Head(title="SNAPSHOT", width=60, least=14),
    Head(title="AGE", width=4, is_left=False),
    Head(title="SIZE", width=5, worth=4, is_left=False),
    Head(title="KIND", width=16, least=8, worth=3),
    Head(title="HOLDS", width=16, worth=2),
    Head(title="STATE", width=13, least=8, worth=1),
)
_CHOICES = (
    Head(title="KIND", width=34, least=16),
    Head(title="PAUSE", width=7, worth=5, is_left=False),
    Head(title="WRITES", width=6, worth=4, is_left=False),
    Head(title="FREE", width=5, worth=3, is_left=False),
    Head(title="WORTH", width=11, worth=6),
    Head(title="REVERT", width=6, worth=2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KindChoice:
    """A way to take a snapshot."""

    request: SnapshotRequest
    """As it would be asked for; names can still be changed."""
    verdict: Verdict

    @property
    def id(self) -> str:
        """Tells it from the other ways."""
        return f"{self.request.kind.value}{' quiesced' if self.request.is_quiesced else ''}"

    @property
    def words(self) -> str:
        """What it keeps, and how."""
        return _CHOICE_WORDS[self.request.kind] + (", file systems frozen" if self.request.is_quiesced else "")


def build_snapshots(storage: StorageSample, *, now_s: float, width: int, has_unicode: bool) -> Page:
    """The tree of snapshots, in lines of at most `width` cells; where the VM stands now is a leaf of it.

    The key of a line is the name of its snapshot.

    Args:
        storage: What was read of the VM.
        now_s: Wall clock of its host.
        width: Cells of a line.
        has_unicode: Characters beyond ASCII may be used.
    """
    if not storage.snapshots:
        return make_page(plain(build_note(NO_SNAPSHOTS, width)))
    tree = list(_branches(storage.snapshots, has_unicode))
    rows = [_row(branch, snapshot, now_s, has_unicode) for branch, snapshot in tree]
    title, lines = build_sheet(_SNAPSHOTS, rows, width, has_unicode)
    keys = [None if snapshot is None else snapshot.name for _, snapshot in tree]
    return make_page([(title, None), *zip(lines, keys, strict=True)])


def build_storage_facts(storage: StorageSample, *, width: int, has_unicode: bool) -> list[Line]:
    """What snapshots of this VM depend on: its disks, its agent, checkpoints of backups."""
    disks = [
        f"{disk.target} {disk.image_format}, "
        f"{format_bytes(disk.allocation_bytes)} of {format_bytes(disk.capacity_bytes)}"
        + ("" if disk.folder_free_bytes is None else f", {format_bytes(disk.folder_free_bytes)} free beside it")
        for disk in storage.disks
    ]
    agent = {
        True: "connected: file systems can be frozen",
        False: "not connected: file systems cannot be frozen",
        None: "not known",
    }[storage.has_agent]
    lines = build_labelled("disks", "; ".join(disks) or "none", width, has_unicode=has_unicode)
    lines += build_labelled("agent", agent, width)
    if storage.checkpoints:
        text = f"{checkpoint_words(storage)}; until all are gone nothing can be reverted to"
        lines += build_labelled("holds", text, width)
    for reason in dict.fromkeys(storage.unknown.values()):
        lines += build_labelled("unknown", reason, width, Tone.UNKNOWN, has_unicode=has_unicode)
    return lines


def build_consequences(name: str, uuid: str, now: Situation, *, width: int, has_unicode: bool) -> list[Line]:
    """What reverting to a snapshot and deleting it would do, or why it cannot be done."""
    asked: tuple[tuple[str, Command], ...] = (
        ("revert", RevertSnapshot(uuid=uuid, name=name)),
        ("delete", DeleteSnapshot(uuid=uuid, name=name)),
    )
    lines: list[Line] = []
    for label, command in asked:
        verdict = check(command, now)
        text, tone = "; ".join(verdict.warnings), Tone.NORMAL
        if verdict.is_refused:
            way_out = "; c deletes checkpoints" if label == "revert" and _has_ours(now) else ""
            text, tone = f"not possible: {'; '.join(verdict.refusals)}{way_out}", Tone.WARN
        lines += build_labelled(label, text, width, tone, has_unicode=has_unicode)
    return lines


def _has_ours(now: Situation) -> bool:
    return now.storage is not None and bool(choose_checkpoints(now.storage, Clearing.ALL))


def snapshot_choices(vm: VmMetrics, now: Situation) -> tuple[KindChoice, ...]:
    """The ways to take a snapshot of a VM, the one to be recommended first; those that are refused last.

    Least harm for most worth: live with memory where libvirt can revert to that, else inside the disks; else the disks
    alone, with frozen file systems where the agent answers.

    Args:
        vm: Gives its name to the snapshot.
        now: Holds the VM's storage.
    """
    storage = now.storage
    if storage is None:
        return ()
    name = f"snap-{backup_stamp(now.frame.sample.time_s)}"
    live = SnapshotRequest(name=name, kind=SnapshotKind.EXTERNAL, memory_path=memory_path(vm, storage, name))
    inside = SnapshotRequest(name=name, kind=SnapshotKind.INTERNAL)
    frozen = SnapshotRequest(name=name, kind=SnapshotKind.DISK_ONLY, is_quiesced=True)
    loose = SnapshotRequest(name=name, kind=SnapshotKind.DISK_ONLY)
    ordered = (live, inside, frozen, loose) if storage.can_revert_external else (inside, frozen, loose, live)
    choices = [
        KindChoice(
            request=request,
            verdict=check(
                TakeSnapshot(uuid=vm.uuid, request=request), replace(now, folder=_folder_of(request, storage))
            ),
        )
        for request in ordered
    ]
    return tuple(sorted(choices, key=lambda choice: choice.verdict.is_refused))


def memory_path(vm: VmMetrics, storage: StorageSample, name: str) -> str | None:
    """A file for the memory of a snapshot, beside the VM's first disk. None when that is no file."""
    path = next((disk.path for disk in storage.disks if disk.path is not None and "/" in disk.path), None)
    return None if path is None else f"{path.rpartition('/')[0]}/{vm_folder(vm.name, vm.uuid)}.{name}.mem"


def _folder_of(request: SnapshotRequest, storage: StorageSample) -> FolderSample | None:
    """What is known of the folder for the memory: it is that of a disk."""
    if request.memory_path is None:
        return None
    folder = request.memory_path.rpartition("/")[0]
    disk = next((each for each in storage.disks if each.path is not None and each.path.startswith(f"{folder}/")), None)
    free_bytes = None if disk is None else disk.folder_free_bytes
    return FolderSample(path=folder, exists=True, free_bytes=free_bytes, inner="", names=frozenset())


def build_choices(choices: Sequence[KindChoice], *, width: int, has_unicode: bool) -> Page:
    """The ways to take a snapshot; the key of a line is the `id` of a choice, and None where it is refused."""
    possible = [choice for choice in choices if not choice.verdict.is_refused]
    title, lines = build_sheet(_CHOICES, [_choice_row(choice) for choice in possible], width, has_unicode)
    page: list[tuple[Line, str | None]] = [(title, None)] if possible else []
    page += [(line, choice.id) for line, choice in zip(lines, possible, strict=True)]
    for choice in choices:
        if choice.verdict.is_refused:
            if page:
                page.append(((), None))
            page.append(((Span(choice.words, Tone.DIM), Span("  not possible", Tone.WARN)), None))
            for refusal in choice.verdict.refusals:
                page += plain(build_labelled("", refusal, width, has_unicode=has_unicode))
    return make_page(page)


_WORTH = {
    Consistency.COMPLETE: "complete",
    Consistency.FILE_SYSTEMS: "clean files",
    Consistency.CRASH: "as a crash",
}


def _choice_row(choice: KindChoice) -> Row:
    preview = choice.verdict.preview
    if not isinstance(preview, SnapshotPreview):
        return figure(choice.words), *(figure(None) for _ in _CHOICES[1:])
    return (
        figure(choice.words, Tone.NAME),
        figure(None if preview.pause_s is None else _pause_words(preview.pause_s)),
        figure(None if preview.write_bytes is None else format_bytes(preview.write_bytes)),
        figure(None if preview.free_bytes is None else format_bytes(preview.free_bytes)),
        figure(_WORTH[preview.consistency], Tone.OK if preview.consistency is Consistency.COMPLETE else Tone.NORMAL),
        figure("yes") if preview.is_revertible else figure("no", Tone.WARN),
    )


def build_choice_words(choice: KindChoice, *, width: int, has_unicode: bool) -> list[Line]:
    """What is to be known of a way to take a snapshot."""
    preview = choice.verdict.preview
    lines: list[Line] = []
    if isinstance(preview, SnapshotPreview):
        pause = "for an unknown time" if preview.pause_s is None else f"for about {_pause_words(preview.pause_s)}"
        lines += build_labelled("guest", f"stands still {pause}", width)
        if preview.pool and preview.free_bytes is not None:
            words = pool_words(preview.free_bytes, preview.pool)
            lines += build_labelled("free", words, width, has_unicode=has_unicode)
        lines += build_labelled("revert", _CONSISTENCY_WORDS[preview.consistency], width)
        if not preview.is_revertible:
            lines += build_labelled("", "this libvirt cannot revert to it; 9.9 can", width, Tone.WARN)
    for warning in choice.verdict.warnings:
        lines += build_labelled("note", warning, width, Tone.WARN, has_unicode=has_unicode)
    return lines


def _pause_words(pause_s: float) -> str:
    return f"{1000 * pause_s:.0f} ms" if pause_s < 1 else duration_words(pause_s)


_CONSISTENCY_WORDS = {
    Consistency.COMPLETE: "memory and disks of one moment: the guest goes on as if nothing had been",
    Consistency.FILE_SYSTEMS: "the guest starts from file systems that were frozen: clean files, no memory",
    Consistency.CRASH: "the guest starts as after a power failure: disks of one moment, no memory",
}


def _branches(snapshots: Sequence[SnapshotInfo], has_unicode: bool) -> Iterator[tuple[str, SnapshotInfo | None]]:
    """Every snapshot with the branch before its name, parents before children; None for where the VM stands now."""
    names = {snapshot.name for snapshot in snapshots}
    children: dict[str | None, list[SnapshotInfo | None]] = {}
    for each in snapshots:
        children.setdefault(each.parent if each.parent in names else None, []).append(each)
    for each in snapshots:
        if each.is_current:
            children.setdefault(each.name, []).append(None)
    middle, last, through = ("├─ ", "└─ ", "│  ") if has_unicode else ("|- ", "`- ", "|  ")
    waiting: list[tuple[str, str, SnapshotInfo | None]] = [("", "", root) for root in reversed(children.get(None, []))]
    seen: set[str] = set()
    while waiting:
        branch, below, snapshot = waiting.pop()
        yield branch, snapshot
        if snapshot is None or snapshot.name in seen:
            continue
        seen.add(snapshot.name)
        found = children.get(snapshot.name, [])
        for place, child in reversed(list(enumerate(found))):
            is_last = place == len(found) - 1
            waiting.append((below + (last if is_last else middle), below + ("   " if is_last else through), child))
    yield from (("", each) for each in snapshots if each.name not in seen)


def _row(branch: str, snapshot: SnapshotInfo | None, now_s: float, has_unicode: bool) -> Row:
    if snapshot is None:
        return (Span(branch, Tone.DIM), Span("now", Tone.OK)), *(figure("") for _ in _SNAPSHOTS[1:])
    (name,) = word(snapshot.name, Tone.NAME, has_unicode=has_unicode)
    is_loose = snapshot.kind is SnapshotKind.DISK_ONLY or snapshot.state in _LOOSE
    return (
        (Span(branch, Tone.DIM), name),
        figure(format_age(max(0.0, now_s - snapshot.created_s))),
        figure(None if snapshot.size_bytes is None else format_bytes(snapshot.size_bytes)),
        figure(KIND_WORDS[snapshot.kind]),
        figure("disks" if is_loose else "memory and disks"),
        word(snapshot.state, Tone.DIM, has_unicode=has_unicode),
    )
