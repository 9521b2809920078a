"""Thresholds and limits with default, unit and the reason of the value."""

from dataclasses import dataclass, fields
from itertools import pairwise

from vmtop.errors import UsageError
from vmtop.units import GIB, MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When vmtop calls something a problem."""

    watch_times: float = 4.0
    """Below this many times `min_free_bytes(total)` of available memory the host is at watch.

    Four, two, one and a half: polling and a slow balloon need more room than the thresholds that ESXi uses inside its
    kernel (there 4, 1, 0.64 and 0.32 times the same amount).
    """
    soft_times: float = 2.0
    hard_times: float = 1.0
    critical_times: float = 0.5

    leave_times: float = 1.25
    """A better level is entered only above this many times the threshold of the present one: no flapping."""
    leave_samples: int = 3
    """... and only after this many samples in a row."""

    psi_soft_full_ratio: float = 0.01
    psi_soft_some_ratio: float = 0.05
    psi_hard_full_ratio: float = 0.05
    psi_hard_some_ratio: float = 0.20
    psi_critical_full_ratio: float = 0.20
    """Pressure (10 s mean) that raises the level; GLib warns at 3.5 to 5 % some and 5 % full, oomd kills at 60 %."""

    swap_in_soft_bytes_per_s: float = 1 * MIB
    swap_in_hard_bytes_per_s: float = 16 * MIB
    """Host swap-in that raises the level: reading pages back is what guests feel. Swap that merely is used is cold."""
    swap_free_hard_ratio: float = 0.10
    """With less swap left than this, and little memory available, the host is at hard: the OOM killer is near."""
    escalate_samples: int = 2
    """Pressure or swap-in counts at once when memory is short, else after this many samples: it may come from a
    limit on one cgroup."""

    stale_periods: float = 3.0
    """Guest figures are stale when they did not advance for this many statistics periods ..."""
    stale_least_s: float = 5.0
    """... but not before this time: samples and guests are not in step."""

    guest_tight_ratio: float = 0.10
    """A guest is tight when less than this share of its memory is usable."""
    guest_starved_ratio: float = 0.04
    """A ballooned guest with less usable memory than this share is starved: its next allocation swaps or is killed."""
    guest_starved_bytes: int = 32 * MIB
    """... or with less than this amount."""
    guest_swapping_bytes_per_s: float = 0.25 * MIB
    """A guest that reads more than this from its swap is swapping."""
    guest_thrash_bytes_per_s: float = 1 * MIB
    """A guest that reads and writes more than this at once is thrashing ..."""
    thrash_s: float = 30.0
    """... when it goes on this long."""
    wanted_used_times: float = 1.3
    wanted_spare_bytes: int = 64 * MIB
    wanted_cache_ratio: float = 0.25
    """A guest wants what it uses and 30 % more (at least this many bytes), and a quarter of its cache: what it would
    miss."""
    idle_ratio: float = 0.25
    """A VM is idle in memory when more than this share of what it holds is not wanted."""

    job_rate_halflife_s: float = 30.0
    """The rate of a job, and so the time that is left, forgets half of what was in this time: disks go in bursts."""
    job_stalled_s: float = 30.0
    """A job without progress for this long is stalled ..."""
    job_burst_bytes: int = 32 * MIB
    """... unless its limit lets it move no more than this in that time: QEMU copies a piece at full speed, and then
    waits until its limit allows the next one. Measured: pieces of 16 MiB on a disk that was limited to 2 MiB/s."""
    job_end_wait_s: float = 5.0
    """How long the outcome of a job that is gone may be told late, before its end counts as unknown."""

    overhead_bytes: int = 120 * MIB
    overhead_ratio: float = 0.005
    """What QEMU itself needs besides the guest's memory: a constant and a share of the maximum. An estimate; it is
    used for the memory that a VM never touched, and in no other figure."""

    floor_margin_bytes: int = 64 * MIB
    floor_margin_ratio: float = 0.10
    """No balloon should leave a guest less than it uses and this margin: the bytes, or the share of what it uses, if
    that is more. A tenth is above the 4 % at which a guest counts as starved: a VM at its floor is not in trouble."""
    floor_slack_ratio: float = 0.25
    """Who asks for the floor gets this share of the margin above it: the floor moves a little with every reading."""
    action_frame_s: float = 30.0
    """An action is not judged by a reading that is older than this: the VM may be another by now."""
    balloon_same_bytes: int = 1 * MIB
    """A balloon this near to what was asked for has reached it; libvirt and the driver count in KiB and 4 KiB pages."""
    balloon_stuck_s: float = 5.0
    """A balloon that did not move for so long is stuck: real ones move 50 MiB in 0.1 s, and libvirt tells 1 s late."""
    balloon_key_ratio: float = 0.10
    balloon_key_least_bytes: int = 64 * MIB
    """What one press of a key takes or gives: this share of the VM's maximum in whole multiples of these bytes."""
    balloon_step_ratio: float = 0.10
    balloon_step_least_bytes: int = 64 * MIB
    """Largest step of a balloon that takes memory: this share of its size, but no less than these bytes, so that the
    guest's next figures come in time to stop it."""
    balloon_stop_ratio: float = 0.5
    """A move is rolled back when less than this share of the floor's margin is left usable: half, so that a move to the
    very floor is not undone by the next small allocation."""
    balloon_faults_per_s: float = 300.0
    balloon_faults_times: float = 3.0
    """... or when the guest has more major faults than this, and that many times more than before the move, in two
    sets of its figures: a real one that thrashed had 500 to 900; programs that read files through memory have some all
    the time, and a burst of them when a part of the page cache is gone."""
    balloon_swap_times: float = 2.0
    """... or when it swaps so many times more than before the move: a guest that swapped anyway began nothing."""
    balloon_cache_ratio: float = 0.25
    """A balloon that takes more than this share of a guest's page cache is of medium risk: nobody tells how much of it
    is read again, and that may be most of it."""
    stats_period_s: int = 5
    """How often a guest is to send its figures when an operator has it do so: what virt-manager sets, too."""
    target_shown_s: float = 60.0
    """How long a row says that its balloon reached what was asked for, or that somebody else moved it."""
    turned_shown_s: float = 600.0
    """How long it says that a move was rolled back: whoever asked for it may look elsewhere meanwhile."""
    snapshot_bytes_per_s: float = 230 * MIB
    """Rate at which a guest's memory goes into an internal snapshot, in which time it stands still. Measured: 1 s for
    230 MiB; a slow disk takes longer."""
    snapshot_live_pause_s: float = 0.3
    snapshot_disk_pause_s: float = 0.1
    """Measured pauses of a snapshot with memory that is copied while the guest runs, and of one of the disks alone."""
    pause_warn_s: float = 1.0
    """Longer pauses are warned of: clusters and databases begin to miss the VM."""
    space_margin_ratio: float = 0.05
    space_margin_bytes: int = 256 * MIB
    """Left free beside a snapshot or backup: this share of what is written and these bytes. A full disk pauses VMs."""
    held_patience_s: float = 5.0
    """An action waits this long for a reading in which nothing else holds the VM: longer than a pause between two."""
    job_unseen_s: float = 30.0
    """A backup that was begun and not seen running within this time has ended, even when nobody told how."""


DEFAULT_POLICY = Policy()

_FALLING = ("watch_times", "soft_times", "hard_times", "critical_times")
_FROM_ONE = {
    *("leave_times", "leave_samples", "escalate_samples", "wanted_used_times"),
    *("balloon_faults_times", "balloon_swap_times"),
}
_ABOVE_ZERO = {
    *("critical_times", "stale_periods", "stale_least_s", "job_rate_halflife_s", "action_frame_s", "balloon_stuck_s"),
    *(
        "balloon_step_ratio",
        "balloon_step_least_bytes",
        "balloon_key_least_bytes",
        "snapshot_bytes_per_s",
        "job_unseen_s",
    ),
}


def check_policy(policy: Policy, where: str) -> Policy:
    """Return a policy that can be worked with, or say why it cannot.

    Raises:
        UsageError: a value is out of its range, or a worse level begins before a better one; begins with `where`.
    """
    for name in (item.name for item in fields(policy)):
        value = getattr(policy, name)
        if name in _FROM_ONE:
            if value < 1:
                raise UsageError(f"{where}: {name}: {value:g} is below 1")
            continue
        if name in _ABOVE_ZERO and value <= 0:
            raise UsageError(f"{where}: {name}: {value:g} is not above 0")
        if name.endswith("_ratio") and not 0 <= value <= 1:
            raise UsageError(f"{where}: {name}: {value:g} is no share; give 0 to 1")
    for better, worse in pairwise(_FALLING):
        above, below = getattr(policy, better), getattr(policy, worse)
        if below >= above:
            raise UsageError(f"{where}: {worse}: {below:g} is not below {better} ({above:g})")
    return policy


def min_free_bytes(total_bytes: int) -> int:
    """Memory that a host of this size should keep free, the unit of the level ladder.

    6 % of the first 4 GiB, 4 % up to 12 GiB, 2 % up to 28 GiB, 1 % of the rest: the sliding scale of ESXi's
    Mem.MinFreePct, so that a large host need not keep gigabytes idle. 28 GiB give 901 MiB, 128 GiB give 1925 MiB.
    """
    slices = ((4 * GIB, 6), (8 * GIB, 4), (16 * GIB, 2))
    amount, rest = 0, total_bytes
    for size, percent in slices:
        part = min(rest, size)
        amount += part * percent // 100
        rest -= part
    return amount + rest // 100
