"""Kernel samepage merging: ksmd finds equal pages, and writes part them again."""

from collections.abc import Sequence

from vmtop.backends.simulator.guest import Guest
from vmtop.backends.simulator.plan import GuestPlan, Kind
from vmtop.units import GIB, MIB, PAGE_BYTES

SCAN_S = 3e-6
"""CPU time for one scanned page: 13,500 pages/s took under 4 % of a core (field note)."""
PASSES = 2
"""A page is merged when two scans in a row find it unchanged. Source: kernel Documentation admin-guide/mm/ksm.rst."""

SELF_SHARE = 0.06
"""Share of a guest's memory that equals other memory of the same guest; in all, sharing stays below 15 % and most of
it is within a guest. Source: Barker et al., USENIX ATC'12."""
ZERO_SHARE = 0.5
WINDOWS_ZERO_SHARE = 0.8
"""Share of a guest's unused but backed memory that holds only zeros; Windows writes zeros to free pages."""
MOST_COMMON_SHARE = 0.5

COMMON_PARTING = 1 / 7200
SELF_PARTING = 1 / 1200
ZERO_PARTING = 1 / 300
PATCH_PARTING = 1 / 60
"""Share of the merged pages that are written in a second: code of the family, a guest's own, empty, code that is being
replaced by an update. Our own choice; the order (code lives long, free memory is reused soon) is what matters."""
ACTIVITY = {Kind.IDLE: 0.2, Kind.DB: 2.0, Kind.BATCH: 1.5, Kind.BURSTY: 1.5}
"""How much faster than a steady guest others write."""

MOST_USERS = 256
"""Users of one merged page. Source: max_page_sharing, kernel Documentation admin-guide/mm/ksm.rst."""
RMAP_ITEM_BYTES = 64
"""Bookkeeping for each scanned page. Source: general_profit, kernel Documentation admin-guide/mm/ksm.rst."""
VOLATILE_SHARE = 0.02
"""Share of the candidates that change too fast to be merged; our own choice."""

SLICES = 8
"""Guests take turns, an eighth of them in each tick; the step is exact for any length."""

TUNE_S = 60
TUNE_BOOST = 300
TUNE_DECAY = -50
TUNE_PAGES = (64, 1250)
TUNE_THRESHOLD_SHARE = 0.2
TUNE_LEAST_BYTES = 2048 * MIB
TUNE_SLEEP_S = 0.01
TUNE_SLEEP_AT_BYTES = 16 * GIB
"""Source: the script ksmtuned and /etc/ksmtuned.conf (Kenigsberg, 2009)."""


def zero_share(plan: GuestPlan) -> float:
    """Share of the guest's unused but backed memory that holds only zeros."""
    return WINDOWS_ZERO_SHARE if plan.family.is_windows else ZERO_SHARE


class Group:
    """Running guests of one family at one patch level, which hold the same pages of code."""

    __slots__ = ("members", "merged", "top")

    def __init__(self) -> None:
        self.members: list[Guest] = []
        self.merged = 0
        self.top = 0
        """Pages kept for all: as many as the member with the most has merged."""


class Sharing:
    """KSM of the host. Amounts are pages."""

    __slots__ = (
        "_groups",
        "_is_settled",
        "_scanned",
        "_self_merged",
        "_self_saved",
        "_zero_merged",
        "candidates",
        "cpu_s",
        "cpu_s_before",
        "full_scans",
        "is_running",
        "pages_to_scan",
        "saved",
        "sleep_s",
    )

    def __init__(self, total: int, *, is_running: bool) -> None:
        self.is_running = is_running
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
        self._self_merged = self._self_saved = self._zero_merged = 0
        self._groups: dict[tuple[str, int], Group] = {}
        self._is_settled = True

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
        return int(VOLATILE_SHARE * self.candidates)

    @property
    def unshared(self) -> int:
        """Candidates that were scanned and are unlike any other."""
        return max(0, self.candidates - self.shared - self.sharing - self.volatile)

    def join(self, guest: Guest) -> None:
        """Count a guest that started."""
        self._group(guest).members.append(guest)

    def leave(self, guest: Guest) -> None:
        """Forget a guest whose process ended."""
        self._merge(guest, 0, 0, 0)
        self._group(guest).members.remove(guest)

    def trim(self, guest: Guest) -> None:
        """Drop merged pages that are no longer resident: empty ones first."""
        gone = guest.merged - guest.resident
        zero = max(0, guest.ksm_zero - gone)
        gone -= guest.ksm_zero - zero
        own = max(0, guest.ksm_self - gone)
        gone -= guest.ksm_self - own
        self._merge(guest, own, zero, guest.ksm_common - gone)

    def settle(self) -> int:
        """Bring `saved` up to date; tells by how much it changed, which is what the host wins or loses."""
        if self._is_settled:
            return 0
        self._is_settled = True
        for group in self._groups.values():
            group.top = max((member.ksm_common for member in group.members), default=0)
        change = self.sharing - self.saved
        self.saved += change
        return change

    def start_merged(self, guests: Sequence[Guest]) -> int:
        """Be as after hours of scanning; tells what that saves."""
        self.candidates = _count_candidates(guests)
        for guest in guests:
            self._step(guest, 1e9, 0)
        return self.settle()

    def scan(self, guests: Sequence[Guest], tick: int, spare: int) -> int:
        """One second of ksmd and of writes to merged pages; tells by how much the saved memory changed.

        Args:
            guests: Those with a process.
            tick: Now; tells whose turn it is.
            spare: Memory that the host can give to pages that part. Writers wait for more.
        """
        turn = tick % SLICES
        if turn == 0:
            self.candidates = _count_candidates(guests)
        rate = self.scan_rate
        self.cpu_s_before = self.cpu_s
        self.cpu_s += rate * SCAN_S
        self._scanned += rate
        if self.candidates and self._scanned >= self.candidates:
            self.full_scans += 1
            self._scanned -= self.candidates
        for guest in guests[turn::SLICES]:
            spare -= self._step(guest, float(SLICES), spare)
        return self.settle()

    def tune(self, total: int, free: int, committed: int) -> None:
        """What ksmtuned does every minute.

        Args:
            total: Memory of the host.
            free: Free memory and page cache of the host.
            committed: Resident memory of all QEMU processes.
        """
        threshold = max(int(TUNE_THRESHOLD_SHARE * total), TUNE_LEAST_BYTES // PAGE_BYTES)
        change = TUNE_BOOST if free < threshold else TUNE_DECAY
        self.pages_to_scan = min(TUNE_PAGES[1], max(TUNE_PAGES[0], self.pages_to_scan + change))
        self.is_running = committed + threshold > total or free < threshold

    def _group(self, guest: Guest) -> Group:
        return self._groups.setdefault((guest.plan.family.name, guest.patch_level), Group())

    def _merge(self, guest: Guest, own: int, zero: int, common: int) -> None:
        self._is_settled = False
        self._self_merged += own - guest.ksm_self
        self._self_saved += own // 2 - guest.ksm_self // 2
        self._zero_merged += zero - guest.ksm_zero
        self._group(guest).merged += common - guest.ksm_common
        guest.ksm_self, guest.ksm_zero, guest.ksm_common = own, zero, common

    def _step(self, guest: Guest, seconds: float, spare: int) -> int:
        """Let one guest's merged pages approach their balance; tells how many parted.

        Merging at rate rho = R / (2 N) against parting at rate delta: m* = potential rho / (rho + delta).
        """
        plan = guest.plan
        if plan.has_hugepages or plan.has_nosharepages:
            return 0
        rate = self.scan_rate / (PASSES * self.candidates) if self.candidates else 0.0
        resident = guest.resident
        activity = ACTIVITY.get(plan.kind, 1.0)
        own_potential = SELF_SHARE * resident
        zero_potential = zero_share(plan) * max(0, resident - guest.used)
        common_potential = 0.0
        common_parting = COMMON_PARTING * activity
        if guest.is_patching:
            common_parting = PATCH_PARTING
        elif len(self._group(guest).members) > 1:
            common_potential = min(plan.family.common_pages, MOST_COMMON_SHARE * (resident - zero_potential))
        own = _approach(guest.ksm_self, own_potential, rate, SELF_PARTING * activity, seconds)
        zero = _approach(guest.ksm_zero, zero_potential, rate, ZERO_PARTING * activity, seconds)
        common = _approach(guest.ksm_common, common_potential, rate, common_parting, seconds)
        zero = min(zero, resident)
        own = min(own, resident - zero)
        common = min(common, resident - zero - own)
        parted = max(0, guest.ksm_self - own) + max(0, guest.ksm_zero - zero) + max(0, guest.ksm_common - common)
        if parted > spare:
            return 0
        self._merge(guest, own, zero, common)
        if guest.is_patching and common == 0:
            self._group(guest).members.remove(guest)
            guest.patch_level += 1
            guest.is_patching = False
            self._group(guest).members.append(guest)
        return parted


def _count_candidates(guests: Sequence[Guest]) -> int:
    return sum(guest.resident for guest in guests if not guest.plan.has_hugepages and not guest.plan.has_nosharepages)


def _approach(merged: int, potential: float, rate: float, parting: float, seconds: float) -> int:
    """Go from `merged` towards the balance of merging and parting.

    The exponential is replaced by 1 / (1 + x + x^2 / 2), which has the same balance, never overshoots, and gives the
    same bits with every C library.
    """
    total = rate + parting
    balance = potential * rate / total
    x = total * seconds
    return int(balance + (merged - balance) / (1.0 + x + x * x / 2.0))
