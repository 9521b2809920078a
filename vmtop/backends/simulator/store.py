"""Where backups go: a server with room, a network to it, and the recovery points that it keeps."""

from collections.abc import Sequence
from typing import NamedTuple

from vmtop.backends.simulator.disk import GRANULE_PAGES, Mark
from vmtop.backends.simulator.plan import PAGES_PER_MIB, GuestPlan
from vmtop.model.kind import BackupKind

BANDWIDTH = 1100 * PAGES_PER_MIB
"""Pages per second that the network to it carries: 10 Gbit/s."""
LATENCY_S = 2e-3
"""One write there, acknowledged; our own choice for a server with disks in the same house."""
CHECKPOINT_PREFIX = "nightly-"
"""How the checkpoints of the nightly backups are called; a time follows."""
ROOM_TIMES = 3
"""The room is so many times what the guests' disks hold; our own choice."""


class Format(NamedTuple):
    """How a backup is written.

    `linux_repeats` and `windows_repeats` are the shares of a new guest's data that the store knows from others of the
    same system, `changed_repeats` that of changed data; our own choice within what was measured for images of one
    system: Jin and Miller, SYSTOR'09.
    """

    granule: int
    """Pages; what is dirty in part is read as a whole."""
    compression: float = 1.0
    """Read / sent."""
    is_deduplicated: bool = False
    linux_repeats: float = 0.0
    windows_repeats: float = 0.0
    changed_repeats: float = 0.0
    keeps_zeros: bool = False
    """Zeros that a guest wrote are sent and stored like any data."""


PLAIN = Format(granule=GRANULE_PAGES, keeps_zeros=True)
"""A qcow2 file, as libvirt writes it: all that is allocated. measured: of a guest that had written 100 MiB of zeros and
6 MiB of data, 105.9 MiB were written (tests/recordings)."""
CHUNKS = Format(
    granule=4 * PAGES_PER_MIB,
    compression=1.6,
    is_deduplicated=True,
    linux_repeats=0.35,
    windows_repeats=0.45,
    changed_repeats=0.10,
)
"""Chunks of 4 MiB as Proxmox Backup Server keeps them."""
SMALL_CHUNKS = Format(
    granule=GRANULE_PAGES,
    compression=1.6,
    is_deduplicated=True,
    linux_repeats=0.55,
    windows_repeats=0.70,
    changed_repeats=0.10,
)
"""Chunks as small as the clusters of qcow2, as with borg and fixed chunks."""


class RecoveryPoint(NamedTuple):
    """A complete backup of one guest, as of the moment when it began. Amounts are pages."""

    name: str
    kind: BackupKind
    mark: Mark
    """The moment that it shows; named like the checkpoint from which the next one can go on."""
    read: int
    sent: int
    """What went over the network. Chunks are compressed, and leave out zeros and what the store had from an earlier
    backup of the guest."""
    stored: int
    """What is new in the store: also without what it had from other guests."""
    parent: str | None
    """Name of the point that it builds on. None for a full one, and where that one was deleted."""
    is_deduplicated: bool


class Store:
    """The server. Amounts are pages."""

    __slots__ = ("_points", "bandwidth", "capacity", "is_reachable", "latency_s", "senders", "used")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        """By recovery points, and by what running backups wrote so far."""
        self.bandwidth = BANDWIDTH
        self.latency_s = LATENCY_S
        self.is_reachable = True
        self.senders = 0
        """Backups that run now and share the network."""
        self._points: dict[str, list[tuple[str, RecoveryPoint]]] = {}

    @property
    def free(self) -> int:
        """Room that is left."""
        return self.capacity - self.used

    def points(self, guest: GuestPlan) -> Sequence[RecoveryPoint]:
        """Recovery points of a guest, the oldest first."""
        return [point for _, point in self._points.get(guest.uuid, ())]

    def has(self, name: str) -> bool:
        """A recovery point of that name exists."""
        return any(point.name == name for points in self._points.values() for _, point in points)

    def add(self, guest: GuestPlan, point: RecoveryPoint) -> None:
        """Keep a recovery point; what it takes is in `used` already."""
        self._points.setdefault(guest.uuid, []).append((guest.family.name, point))

    def prune(self, guest: GuestPlan, keep: int) -> None:
        """Delete the oldest deduplicated recovery points of a guest until so many are left, as backup servers do.

        Each knows chunks of the one before. What that one stored anew replaced as much, which nobody needs any more;
        all else belongs to it from then on.
        """
        points = self._points.get(guest.uuid, [])
        while len(points) > max(1, keep) and points[0][1].is_deduplicated and points[1][1].is_deduplicated:
            (_, oldest), (family, heir) = points[:2]
            freed = min(oldest.stored, heir.stored)
            self.used -= freed
            points[:2] = [(family, heir._replace(stored=oldest.stored + heir.stored - freed, parent=None))]

    def has_chunks_of(self, family: str) -> bool:
        """Deduplicated data of some guest with this system is there."""
        return any(
            of_family == family and point.is_deduplicated
            for points in self._points.values()
            for of_family, point in points
        )

    @property
    def stored(self) -> int:
        """What all recovery points take."""
        return sum(point.stored for points in self._points.values() for _, point in points)


class Shares(NamedTuple):
    """What becomes of a page that a backup reads, on average."""

    sent: float
    stored: float


EVERYTHING = Shares(sent=1.0, stored=1.0)


def expect_shares(store: Store, guest: GuestPlan, form: Format, *, kind: BackupKind, changed: float) -> Shares:
    """Shares of what is read that go over the network and that are new in the store, 0 <= stored <= sent <= 1.

    sent = (1 - zeros) (1 - known from the guest's last backup) / compression; stored = sent (1 - known from others).
    Only full backups meet zeros, which some formats keep: guests hardly ever write new ones.

    Args:
        store: Where it goes.
        guest: Whose backup.
        form: How it is written.
        kind: Full or incremental.
        changed: Share of the disk that was written since the guest's last backup; 1 when it never had one.
    """
    if kind is BackupKind.INCREMENTAL:
        sent = 1.0 / form.compression
        return Shares(sent=sent, stored=sent * (1.0 - form.changed_repeats))
    sent = (1.0 if form.keeps_zeros else 1.0 - guest.zero_share) / form.compression
    if not form.is_deduplicated:
        return Shares(sent=sent, stored=sent)
    if any(point.is_deduplicated for point in store.points(guest)):
        sent *= changed
        return Shares(sent=sent, stored=sent * (1.0 - form.changed_repeats))
    if not store.has_chunks_of(guest.family.name):
        return Shares(sent=sent, stored=sent)
    repeats = form.windows_repeats if guest.family.is_windows else form.linux_repeats
    return Shares(sent=sent, stored=sent * (1.0 - repeats))
