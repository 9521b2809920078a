"""The snapshots of one guest: what stands on what, and how much each of them holds. Amounts are pages."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vmtop.backends.simulator.disk import Mark
from vmtop.model.kind import SnapshotKind

RUNNING, PAUSED, DISKS, SHUT_OFF = "running", "paused", "disk-snapshot", "shutoff"
"""States of a VM in a snapshot, in libvirt's words: with memory; of the disks of a running VM; of one that is off."""


@dataclass(slots=True, kw_only=True, eq=False)
class Snapshot:
    """A snapshot that exists."""

    name: str
    kind: SnapshotKind
    taken_at: int
    """Tick."""
    state: str
    """Of the VM at that moment."""
    image: str
    """File that the guest was writing to, and to which it goes back."""
    memory: int = 0
    """Guest memory that it holds."""
    registers: Mapping[str, int] | None = None
    """What else the guest needs to go on from there. None without memory."""
    parent: str | None = None
    layer: int = 0
    """Disk that was written on top of it, up to the next snapshot; for the current one the part that other snapshots
    left there when they were deleted."""

    @property
    def has_memory(self) -> bool:
        """The guest can go on from there, and need not boot."""
        return self.state in {RUNNING, PAUSED}

    @property
    def is_external(self) -> bool:
        """The guest writes to an overlay from then on; otherwise to the same file."""
        return self.kind is not SnapshotKind.INTERNAL


class SnapshotTree:
    """All snapshots of a guest, parents before children."""

    __slots__ = ("_snapshots", "current", "image", "mark")

    def __init__(self, image: str, mark: Mark) -> None:
        self._snapshots: dict[str, Snapshot] = {}
        self.current: Snapshot | None = None
        """The one on top of which the guest writes."""
        self.image = image
        """File that the guest writes to."""
        self.mark = mark
        """From then on what is written is in no `layer` yet."""

    def __iter__(self) -> Iterator[Snapshot]:
        return iter(self._snapshots.values())

    def __contains__(self, name: str) -> bool:
        return name in self._snapshots

    def find(self, name: str) -> Snapshot | None:
        """The snapshot of that name, if there is one."""
        return self._snapshots.get(name)

    def children(self, snapshot: Snapshot) -> list[Snapshot]:
        """What stands directly on a snapshot."""
        return [other for other in self if other.parent == snapshot.name]

    def size(self, snapshot: Snapshot, written: int) -> int:
        """What a snapshot takes: its memory, and the disk that was written on top of it.

        Args:
            snapshot: Whose size.
            written: Disk that was written since `mark`.
        """
        return snapshot.memory + self.delta(snapshot, written)

    def delta(self, snapshot: Snapshot, written: int) -> int:
        """Disk that was written on top of a snapshot: what a commit has to move."""
        return snapshot.layer + (written if snapshot is self.current else 0)

    def add(self, snapshot: Snapshot, written: int, mark: Mark, overlay: str | None) -> None:
        """A snapshot was taken: it stands on the current one, and becomes that itself.

        Args:
            snapshot: The new one.
            written: Disk that was written since `mark`.
            mark: Now.
            overlay: File that the guest writes to from now on. None for the same one.
        """
        if self.current is not None:
            snapshot.parent = self.current.name
            self.current.layer += written
        self._snapshots[snapshot.name] = snapshot
        self.current = snapshot
        self.image = overlay or self.image
        self.mark = mark

    def remove(self, snapshot: Snapshot, written: int, mark: Mark) -> None:
        """A snapshot was deleted: what was written on top of it belongs to its parent, or to the disk itself.

        Args:
            snapshot: Which.
            written: Disk that was written since `mark`.
            mark: Now.
        """
        del self._snapshots[snapshot.name]
        parent = None if snapshot.parent is None else self._snapshots[snapshot.parent]
        children = self.children(snapshot)
        is_current = snapshot is self.current
        if parent is not None and (children or is_current):
            parent.layer += self.delta(snapshot, written)
        if snapshot.is_external and (children or is_current):
            self._merge(self.image if is_current else children[0].image, snapshot.image)
        for child in children:
            child.parent = snapshot.parent
        if is_current:
            self.current = parent
            self.mark = mark

    def go_back(self, snapshot: Snapshot, mark: Mark, overlay: str | None) -> None:
        """The guest is at a snapshot again; what was written since, and is part of no other snapshot, is lost.

        Args:
            snapshot: Where it is.
            mark: Now.
            overlay: File that the guest writes to from now on. None for the one of that time.
        """
        for leaf in (self.current, snapshot):
            if leaf is not None and not self.children(leaf):
                leaf.layer = 0
        self.current = snapshot
        self.image = overlay or snapshot.image
        self.mark = mark

    def _merge(self, overlay: str, base: str) -> None:
        """An overlay is gone: all that was in it is in the file below."""
        for snapshot in self:
            if snapshot.image == overlay:
                snapshot.image = base
        if self.image == overlay:
            self.image = base
