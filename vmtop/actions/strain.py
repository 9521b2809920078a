"""How much a guest may suffer while its balloon takes memory, measured by what it suffered before. Pure."""

from dataclasses import dataclass

from vmtop.derive.metrics import VmMetrics
from vmtop.derive.words import rate_words
from vmtop.model.policy import Policy
from vmtop.units import PAGE_BYTES

_SMALL = 0.1
"""Pages of which less than this share can come from swap come from files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Rates above which a move is rolled back."""

    swap_in_bytes_per_s: float
    swap_out_bytes_per_s: float
    faults_per_s: float
    """Major faults."""


def strain_limits(vm: VmMetrics, policy: Policy) -> Limits:
    """What a guest may come to; a rate from before the move that is not known allows no more than the policy does."""
    swap_in, swap_out = vm.guest_swap_in_bytes_per_s or 0.0, vm.guest_swap_out_bytes_per_s or 0.0
    return Limits(
        swap_in_bytes_per_s=max(policy.guest_swapping_bytes_per_s, policy.balloon_swap_times * swap_in),
        swap_out_bytes_per_s=max(policy.guest_thrash_bytes_per_s, policy.balloon_swap_times * swap_out),
        faults_per_s=max(
            policy.balloon_faults_per_s, policy.balloon_faults_times * (vm.guest_major_faults_per_s or 0.0)
        ),
    )


def swap_in_words(vm: VmMetrics, limits: Limits) -> str | None:
    """Why a move goes back at once: the guest reads from its swap. None when it reads no more than it may."""
    swap_in = vm.guest_swap_in_bytes_per_s or 0.0
    return f"the guest reads {rate_words(swap_in)} from its swap" if swap_in > limits.swap_in_bytes_per_s else None


def swap_out_words(vm: VmMetrics, limits: Limits) -> str | None:
    """Why a move goes back when it goes on: the guest writes to its swap. None when it writes no more than it may."""
    swap_out = vm.guest_swap_out_bytes_per_s or 0.0
    return (
        f"the guest keeps writing {rate_words(swap_out)} to its swap"
        if swap_out > limits.swap_out_bytes_per_s
        else None
    )


def fault_words(vm: VmMetrics, limits: Limits) -> str | None:
    """Why a move goes back when it goes on: the guest waits for pages. None when for no more than it may.

    A major fault is a page from swap or from a file; without swapping it is a page that left the page cache.
    """
    faults = vm.guest_major_faults_per_s or 0.0
    if faults <= limits.faults_per_s:
        return None
    words = f"the guest keeps waiting for {faults:.0f} pages per second"
    swap_in = vm.guest_swap_in_bytes_per_s
    is_of_files = swap_in is not None and swap_in / PAGE_BYTES < _SMALL * faults
    return f"{words} that it reads from its files: its page cache got too small" if is_of_files else words


def strain_now(vm: VmMetrics, policy: Policy) -> list[str]:
    """What a guest suffers already, and what it may come to before a move is rolled back."""
    limits, found = strain_limits(vm, policy), []
    swap_in, swap_out = vm.guest_swap_in_bytes_per_s or 0.0, vm.guest_swap_out_bytes_per_s or 0.0
    faults = vm.guest_major_faults_per_s or 0.0
    if swap_in > policy.guest_swapping_bytes_per_s:
        found.append((f"reads {rate_words(swap_in)} from its swap", rate_words(limits.swap_in_bytes_per_s)))
    if swap_out > policy.guest_thrash_bytes_per_s:
        found.append((f"writes {rate_words(swap_out)} to its swap", rate_words(limits.swap_out_bytes_per_s)))
    if faults > policy.balloon_faults_per_s:
        found.append((f"waits for {faults:.0f} pages per second", f"{limits.faults_per_s:.0f}"))
    return [f"the guest {does} already; the move is rolled back above {most}" for does, most in found]
