"""Backups and snapshots as jobs: they take storage, buffers and page cache, and a snapshot stops its guest."""

from collections.abc import Sequence

from vmtop.backends.simulator.guest import Guest, Job
from vmtop.backends.simulator.host import Host
from vmtop.backends.simulator.plan import PAGES_PER_MIB
from vmtop.backends.simulator.reclaim import make_room
from vmtop.model.sample import JobKind
from vmtop.units import KIB, PAGE_BYTES

BUFFER_PAGES = 128 * PAGES_PER_MIB
"""Memory that a running backup holds on the host."""
CACHED_SHARE = 0.2
"""Share of what a backup reads that stays in the host's page cache; with O_DIRECT it would be none."""
BACKUP_RATE = 200 * PAGES_PER_MIB
SNAPSHOT_RATE = 250 * PAGES_PER_MIB
"""Most that one job moves in a second. Real backups ran at 44 to 387 MiB/s (logs of vzdump); a real snapshot with
memory took 1 s for 230 MiB."""

WARM_SHARE = 0.2
"""Share of its disk that a guest rewrites again and again; the rest hardly changes."""
GRANULE_PAGES = 64 * KIB // PAGE_BYTES
"""A bit of the dirty bitmap stands for this much. Source: QEMU docs/interop/bitmaps.rst (64 KiB for qcow2)."""


def dirty_pages(guest: Guest, tick: int) -> int:
    """Disk that an incremental backup would have to read: what was written since the last good backup.

    Rewrites of the same place count once: d = H w / (H + w), with w written in all and H the part that is rewritten.
    """
    if guest.bitmap_from is None:
        return _disk_pages(guest)
    warm = int(WARM_SHARE * _disk_pages(guest))
    written = int(guest.plan.write_bytes_per_s * (tick - guest.bitmap_from)) // PAGE_BYTES
    dirty = warm * written // (warm + written) if written else 0
    return -(-dirty // GRANULE_PAGES) * GRANULE_PAGES


def start_backup(guest: Guest, host: Host, guests: Sequence[Guest], tick: int, *, will_fail: bool = False) -> bool:
    """Begin a full backup, or an incremental one where there is a bitmap. False when the host has no memory for it."""
    missing = BUFFER_PAGES - (host.free - host.least)
    if missing > 0 and make_room(host, guests, missing) < missing:
        return False
    host.free -= BUFFER_PAGES
    host.backup_buffers += BUFFER_PAGES
    total = dirty_pages(guest, tick)
    guest.job = Job(kind=JobKind.BACKUP, started_at=tick, total=total, fails_after=total // 2 if will_fail else None)
    return True


def start_snapshot(guest: Guest, tick: int) -> None:
    """Begin an internal snapshot with memory: the guest stands still until all of its memory is written."""
    guest.job = Job(kind=JobKind.SNAPSHOT, started_at=tick, total=guest.used)
    guest.pause("creating snapshot")


def end_job(guest: Guest, host: Host, *, is_good: bool) -> None:
    """Let go of what a job held. A backup that failed keeps its bitmap: the next one reads all that this one would."""
    job, guest.job = guest.job, None
    if job is None:
        return
    if job.kind is JobKind.SNAPSHOT:
        guest.resume()
        return
    host.backup_buffers -= BUFFER_PAGES
    host.free += BUFFER_PAGES
    if is_good:
        guest.bitmap_from = job.started_at


def run_jobs(host: Host, guests: Sequence[Guest], tick: int) -> list[Guest]:
    """One second of all jobs; tells whose failed."""
    failed = []
    share = host.pool.left_for_backups() // max(1, len(guests))
    for guest in guests:
        job = guest.job
        # The first second goes into setting it up.
        if job is None or job.started_at == tick or guest.hung_since <= tick:
            continue
        rate = BACKUP_RATE if job.kind is JobKind.BACKUP else SNAPSHOT_RATE
        moved = min(rate, share, job.total - job.done)
        job.done += moved
        host.pool.busy_now += moved
        if job.kind is JobKind.BACKUP:
            cached = max(0, min(int(CACHED_SHARE * moved), host.free - host.low))
            host.cache += cached
            host.free -= cached
        if job.fails_after is not None and job.done >= job.fails_after:
            failed.append(guest)
            end_job(guest, host, is_good=False)
        elif job.done == job.total:
            end_job(guest, host, is_good=True)
    return failed


def _disk_pages(guest: Guest) -> int:
    return guest.plan.disk_bytes // PAGE_BYTES
