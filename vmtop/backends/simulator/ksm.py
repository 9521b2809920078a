"""Kernel samepage merging: ksmd finds equal pages, and writes part them again."""

from collections.abc import Sequence
from enum import IntEnum

from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.plan import PAGES_PER_GIB, GuestPlan
from vmtop.units import GIB, MIB, PAGE_BYTES

SCAN_S = 1e-6
"""CPU time for one scanned page. measured: 1.5 s for 1,430,000 pages when all that can be merged was (Linux 6.18); in
the field 13,500 pages/s took under 4 % of a core, which includes merging."""
PASSES = 2
"""A page is merged when two scans in a row find it unchanged. Source: kernel Documentation admin-guide/mm/ksm.rst."""

SELF_SHARE = 0.06
"""Share of a guest's memory that equals other memory of the same guest; in all, sharing stays below 15 % and most of
it is within a guest. Source: Barker et al., USENIX ATC'12."""
ZERO_SHARE = 0.5
WINDOWS_ZERO_SHARE = 0.8
"""Share of a guest's unused but backed memory that holds only zeros; Windows writes zeros to free pages."""
MOST_COMMON_SHARE = 0.75
"""Most of a guest's memory in use that its family's common pages can be. measured: 108 of 148 MiB in two guests that
ran the same program (tests/recordings)."""

COMMON_PARTING = 1 / 7200
SELF_PARTING = 1 / 1200
ZERO_PARTING = 1 / 300
PATCH_PARTING = 1 / 60
"""Share of the merged pages that are written in a second: code of the family, a guest's own, empty, and all of them
while an update is installed (it replaces code, starts programs anew and writes files into empty memory). Our own
choice; the order (code lives long, free memory is reused soon) is what matters."""

MOST_USERS = 256
"""Users of one merged page. Source: max_page_sharing, kernel Documentation admin-guide/mm/ksm.rst."""
RMAP_ITEM_BYTES = 64
"""Bookkeeping for each scanned page. Source: general_profit, kernel Documentation admin-guide/mm/ksm.rst."""
VOLATILE_SHARE = 0.02
"""Share of the candidates that change too fast to be merged; our own choice."""

UNMERGED = PAGES_PER_GIB
"""Pages that are parted in a second while `run` is 2; our own choice, about what copying memory in one thread takes."""
UNMERGE_PATIENCE_S = 5
"""Without memory for this long the OOM killer ends whoever wrote 2, and `run` becomes 0.
Source: set_current_oom_origin in run_store, mm/ksm.c."""

GUESTS_PER_TICK = 2
MOST_TURNS = 8
"""Guests take turns: about so many in each tick, or an eighth of them where that is more; the step is exact for any
length."""
FRACTIONS = 8
"""Less than a page becomes a whole one in as many of so many turns as it is eighths of one, so that slow merging and
parting go on."""

TUNE_S = 60
TUNE_BOOST = 300
TUNE_DECAY = -50
TUNE_PAGES = (64, 1250)
TUNE_THRESHOLD_SHARE = 0.2
TUNE_LEAST_BYTES = 2048 * MIB
TUNE_SLEEP_S = 0.01
TUNE_SLEEP_AT_BYTES = 16 * GIB
"""Source: the script ksmtuned and /etc/ksmtuned.conf (Kenigsberg, 2009)."""


class Run(IntEnum):
    """What ksmd was told. Source: /sys/kernel/mm/ksm/run, kernel Documentation admin-guide/mm/ksm.rst."""

    STOP = 0
    """It sleeps; what is merged stays until it is written."""
    MERGE = 1
    UNMERGE = 2
    """It sleeps, and every merged page becomes a page of its own, whether or not the host has the memory."""


def zero_share(plan: GuestPlan) -> float:
    """Share of the guest's unused but backed memory that holds only zeros."""
    return WINDOWS_ZERO_SHARE if plan.family.is_windows else ZERO_SHARE


class Group:
    """Running guests of one family at one patch level, which hold the same pages of code."""

    __slots__ = ("is_settled", "members", "merged", "top")

    def __init__(self) -> None:
        self.members: list[Guest] = []
        self.merged = 0
        self.is_settled = True
        """`top` is up to date."""
        self.top = 0
        """Pages kept for all: as many as the member with the most has merged."""


class Sharing:
    """KSM of the host. Amounts are pages."""

    __slots__ = (
        "_groups",
        "_is_settled",
        "_known_share",
        "_scanned",
        "_self_merged",
        "_self_saved",
        "_starving_s",
        "_zero_merged",
        "candidates",
        "cpu_s",
        "cpu_s_before",
        "full_scans",
        "pages_to_scan",
        "run",
        "saved",
        "sleep_s",
    )

    def __init__(self, total: int, *, is_running: bool) -> None:
        self.run = Run.MERGE if is_running else Run.STOP
        self.pages_to_scan = TUNE_PAGES[1]
        self.sleep_s = max(TUNE_SLEEP_S, TUNE_SLEEP_S * TUNE_SLEEP_AT_BYTES / (total * PAGE_BYTES))
        self.candidates = 0
        """Resident pages that ksmd may merge."""
        self.saved = 0
        """Memory that the host does not need thanks to sharing, as of the last `settle`."""
        self.full_scans = 0
        self.cpu_s = self.cpu_s_before = 0.0
        """CPU time of ksmd, now and a tick ago."""
        self._scanned = 0.0
        self._known_share = 0.0
        """Share of the candidates that ksmd has looked at since it began or all was unmerged."""
        self._starving_s = 0
        self._self_merged = self._self_saved = self._zero_merged = 0
        self._groups: dict[tuple[str, int], Group] = {}
        self._is_settled = True

    @property
    def is_running(self) -> bool:
        """Whether ksmd merges pages now."""
        return self.run is Run.MERGE

    @property
    def scan_rate(self) -> float:
        """Pages that ksmd looks at in a second: a batch, then a pause."""
        return self.pages_to_scan / (self.sleep_s + self.pages_to_scan * SCAN_S) if self.is_running else 0.0

    @property
    def shared(self) -> int:
        """Pages that are kept. One whose other users are gone stays a KSM page with one user until it is written."""
        kept_zero = -(-self._zero_merged // MOST_USERS)
        return self._self_merged - self._self_saved + kept_zero + sum(group.top for group in self._groups.values())

    @property
    def sharing(self) -> int:
        """Users of kept pages beyond the first: what is saved."""
        merged = self._self_merged + self._zero_merged + sum(group.merged for group in self._groups.values())
        return merged - self.shared

    @property
    def volatile(self) -> int:
        """Candidates that change too fast."""
        return int(VOLATILE_SHARE * self._known_share * self.candidates)

    @property
    def unshared(self) -> int:
        """Candidates that were scanned and are unlike any other."""
        return max(0, int(self._known_share * self.candidates) - self.shared - self.sharing - self.volatile)

    @property
    def next_unmerged(self) -> int:
        """Pages that `unmerge` will part next if there is memory for them."""
        return min(UNMERGED, self.shared + self.sharing)

    def join(self, guest: Guest) -> None:
        """Count a guest that started."""
        self._group(guest).members.append(guest)

    def leave(self, guest: Guest) -> None:
        """Forget a guest whose process ended."""
        self._merge(guest, 0, 0, 0)
        self._group(guest).members.remove(guest)

    def trim(self, guest: Guest) -> None:
        """Drop merged pages that are no longer resident: empty ones first."""
        self._part(guest, guest.merged - guest.resident)

    def settle(self) -> int:
        """Bring `saved` up to date; tells by how much it changed, which is what the host wins or loses."""
        if self._is_settled:
            return 0
        self._is_settled = True
        merged = self._self_merged + self._zero_merged
        for group in self._groups.values():
            if not group.is_settled:
                group.is_settled = True
                group.top = max([member.ksm_common for member in group.members], default=0)
            merged += group.merged
        change = merged - self.shared - self.saved
        self.saved += change
        return change

    def start_merged(self, guests: Sequence[Guest]) -> int:
        """Be as after hours of scanning; tells what that saves."""
        self.candidates = _count_candidates(guests)
        self._known_share = 1.0
        for guest in guests:
            self._step(guest, self._merge_rate, 1e9, 0.0, 0)
        return self.settle()

    def scan(self, guests: Sequence[Guest], tick: int, spare: int) -> int:
        """One second of ksmd and of writes to merged pages; tells by how much the saved memory changed.

        Args:
            guests: Those with a process.
            tick: Now; tells whose turn it is.
            spare: Memory that the host can give to pages that part. Writers wait for more.
        """
        turns = min(MOST_TURNS, max(1, len(guests) // GUESTS_PER_TICK))
        turn = tick % turns
        if turn == 0:
            self.candidates = _count_candidates(guests)
        rate = self.scan_rate
        self.cpu_s_before = self.cpu_s
        self.cpu_s += rate * SCAN_S
        if self.candidates:
            self._scanned += rate
            self._known_share = min(1.0, self._known_share + rate / self.candidates)
            if self._scanned >= self.candidates:
                self.full_scans += 1
                self._scanned -= self.candidates
        merge_rate, fraction = self._merge_rate, tick // turns % FRACTIONS / FRACTIONS
        for guest in guests[turn::turns]:
            spare -= self._step(guest, merge_rate, float(turns), fraction, spare)
        return self.settle()

    def unmerge(self, guests: Sequence[Guest], room: int) -> int:
        """One second of parting all that is merged, one guest after the other; tells by how much `saved` changed.

        Gives up, with `run` 0, where the host had no memory for it several seconds long.

        Args:
            guests: Those with a process.
            room: Memory that the host can give to pages that part.
        """
        self._known_share = self._scanned = 0.0
        self.cpu_s_before = self.cpu_s
        left = min(self.next_unmerged, max(0, room))
        is_starving = left == 0 < self.next_unmerged
        self._starving_s = self._starving_s + 1 if is_starving else 0
        if self._starving_s == UNMERGE_PATIENCE_S:
            self._starving_s = 0
            self.run = Run.STOP
        for guest in guests:
            if left == 0:
                break
            parted = min(left, guest.merged)
            left -= parted
            self._part(guest, parted)
        return self.settle()

    def tune(self, total: int, free: int, committed: int) -> None:
        """What ksmtuned does every minute. An operator who unmerges has stopped it first: it would write 1 or 0.

        Args:
            total: Memory of the host.
            free: Free memory and page cache of the host.
            committed: Resident memory of all QEMU processes.
        """
        threshold = max(int(TUNE_THRESHOLD_SHARE * total), TUNE_LEAST_BYTES // PAGE_BYTES)
        if self.run is Run.UNMERGE:
            return
        if committed + threshold < total and free > threshold:
            self.run = Run.STOP
            return
        change = TUNE_BOOST if free < threshold else TUNE_DECAY
        self.pages_to_scan = min(TUNE_PAGES[1], max(TUNE_PAGES[0], self.pages_to_scan + change))
        self.run = Run.MERGE

    def _group(self, guest: Guest) -> Group:
        key = (guest.plan.family.name, guest.patch_level)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group()
        return group

    def _merge(self, guest: Guest, own: int, zero: int, common: int) -> None:
        self._is_settled = False
        self._self_merged += own - guest.ksm_self
        self._self_saved += own // 2 - guest.ksm_self // 2
        self._zero_merged += zero - guest.ksm_zero
        if common != guest.ksm_common:
            group = self._group(guest)
            group.merged += common - guest.ksm_common
            group.is_settled = False
        guest.ksm_self, guest.ksm_zero, guest.ksm_common = own, zero, common

    def _part(self, guest: Guest, pages: int) -> None:
        """Take so many pages out of what a guest shares: empty ones first, those of its family last."""
        zero = min(pages, guest.ksm_zero)
        own = min(pages - zero, guest.ksm_self)
        common = pages - zero - own
        self._merge(guest, guest.ksm_self - own, guest.ksm_zero - zero, guest.ksm_common - common)

    @property
    def _merge_rate(self) -> float:
        """Share of what could be merged that is found in a second: rho = R / (2 N)."""
        return self.scan_rate / (PASSES * self.candidates) if self.candidates else 0.0

    def _step(self, guest: Guest, rate: float, seconds: float, fraction: float, spare: int) -> int:
        """Let one guest's merged pages approach their balance; tells how many parted.

        Merging at rate rho against parting at rate delta: m* = potential rho / (rho + delta).
        """
        if not guest.is_mergeable:
            return 0
        plan, activity = guest.plan, guest.activity
        resident = guest.backed - guest.host_swapped
        own_potential = SELF_SHARE * resident
        zero_potential = zero_share(plan) * max(0, resident - guest.current + guest.free)
        common_potential = 0.0
        if guest.is_patching:
            own_parting = zero_parting = common_parting = PATCH_PARTING
        else:
            own_parting, zero_parting = SELF_PARTING * activity, ZERO_PARTING * activity
            common_parting = COMMON_PARTING * activity
            if len(self._group(guest).members) > 1:
                common_potential = min(plan.family.common_pages, MOST_COMMON_SHARE * (resident - zero_potential))
        before_own, before_zero, before_common = guest.ksm_self, guest.ksm_zero, guest.ksm_common
        zero = min(resident, _approach(before_zero, zero_potential, rate, zero_parting, seconds, fraction))
        left = resident - zero
        own = min(left, _approach(before_own, own_potential, rate, own_parting, seconds, fraction))
        left -= own
        common = min(left, _approach(before_common, common_potential, rate, common_parting, seconds, fraction))
        parted = max(0, before_own - own) + max(0, before_zero - zero) + max(0, before_common - common)
        if parted > max(0, spare):
            return 0
        self._merge(guest, own, zero, common)
        if guest.is_patching and common == 0:
            self._group(guest).members.remove(guest)
            guest.patch_level += 1
            guest.is_patching = False
            self._group(guest).members.append(guest)
        return parted


def _count_candidates(guests: Sequence[Guest]) -> int:
    return sum(guest.resident for guest in guests if guest.is_mergeable)


def _approach(merged: int, potential: float, rate: float, parting: float, seconds: float, fraction: float) -> int:
    """Go from `merged` towards the balance of merging and parting.

    The exponential is replaced by 1 / (1 + x + x^2 / 2), which has the same balance, never overshoots, and gives the
    same bits with every C library.
    """
    total = rate + parting
    balance = potential * rate / total
    x = total * seconds
    return int(balance + (merged - balance) / (1.0 + x + x * x / 2.0) + fraction)
