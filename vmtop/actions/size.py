"""Sizes of balloons as operators type and read them."""

import math
import re

from vmtop.derive.metrics import VmMetrics
from vmtop.errors import UsageError
from vmtop.model.policy import Policy
from vmtop.units import GIB, KIB, MIB, TIB

ACCEPTED = "write a size (4G, 512M), a change (-512M, +10%), floor or max"
_FLOOR = "floor"

_UNITS = {"K": KIB, "M": MIB, "G": GIB, "T": TIB}
_SIZE = re.compile(
    r"(?P<sign>[+-]?)\s*(?P<number>\d{1,15}(\.\d{1,6})?|\.\d{1,6})\s*(?P<unit>%|[KMGT](iB)?)", re.IGNORECASE
)
_AMBIGUOUS = re.compile(r"[+-]?\s*[\d.]+\s*([KMGT]?B)?", re.IGNORECASE)


def size_text(amount_bytes: int) -> str:
    """An amount as an operator would type it, in about three digits: "2.0G", "1.25G", "512M"."""
    size = abs(amount_bytes)
    if size < MIB:
        return f"{amount_bytes // KIB}K"
    if 10 * MIB <= size < GIB:
        return f"{amount_bytes / MIB:.0f}M"
    unit = "T" if size >= TIB else "G" if size >= GIB else "M"
    whole, decimals = f"{amount_bytes / _UNITS[unit]:.2f}".split(".")
    return f"{whole}.{decimals.removesuffix('0')}{unit}"


def floor_bytes(vm: VmMetrics, policy: Policy) -> int | None:
    """Least that a balloon should leave: what the VM uses and a margin; no more than its maximum, up to a whole MiB.

    None when it is not known what the VM uses.
    """
    if vm.used_bytes is None:
        return None
    floor = -(-(vm.used_bytes + margin_bytes(vm.used_bytes, policy)) // MIB) * MIB
    return floor if vm.maximum_bytes is None else min(floor, vm.maximum_bytes)


def margin_bytes(used_bytes: int, policy: Policy) -> int:
    """What a guest that uses so much should have left."""
    return max(policy.floor_margin_bytes, int(policy.floor_margin_ratio * used_bytes))


def _above_floor(vm: VmMetrics, policy: Policy) -> int | None:
    floor = floor_bytes(vm, policy)
    if floor is None or vm.used_bytes is None:
        return None
    slack = int(policy.floor_slack_ratio * margin_bytes(vm.used_bytes, policy)) // MIB * MIB
    return floor + slack if vm.maximum_bytes is None else min(floor + slack, vm.maximum_bytes)


def explain_floor(text: str, vm: VmMetrics, policy: Policy) -> str:
    """Say why "floor" is not the very floor; empty for any other text, and where it is."""
    floor, above = floor_bytes(vm, policy), _above_floor(vm, policy)
    if text.strip().lower() != _FLOOR or floor is None or above is None or above == floor:
        return ""
    return f'"{_FLOOR}" is {size_text(above - floor)} above the safe floor, which moves with what the guest uses'


MOST_BYTES_PER_S = 1 << 50
"""libvirt takes no limits from 2^63 on, and says so when the backup runs already."""


def parse_rate(text: str) -> int:
    """Turn a typed limit, "100M" or "100M/s", into bytes per second; 0 for "none".

    Raises:
        UsageError: it is none.
    """
    typed = text.strip()
    if typed.lower() == "none":
        return 0
    match = _SIZE.fullmatch(typed.removesuffix("/s"))
    rate = 0
    if match is not None and not match["sign"] and match["unit"] != "%":
        rate = math.floor(float(match["number"]) * _UNITS[match["unit"][0].upper()])
    if rate > MOST_BYTES_PER_S:
        raise UsageError(f"{typed!r}: no disk is so fast; write none for no limit")
    if not rate:  # less than a byte would be no limit
        raise UsageError(f"{typed!r} is no rate: write 100M for 100 MiB a second, or none for no limit")
    return rate


def parse_target(text: str, vm: VmMetrics, policy: Policy) -> int:
    """Turn what was typed into a balloon size in bytes, a whole number of KiB.

    Changes count from the balloon's present size. "floor" is a little above the safe floor, which moves with what the
    guest uses, and is looked at again before anything is done. Whether the size is allowed is the guard's question.

    Raises:
        UsageError: the text is no size, or needs a figure that is not known.
    """
    typed = text.strip()
    named = {_FLOOR: (_above_floor(vm, policy), "used_bytes"), "max": (vm.maximum_bytes, "maximum_bytes")}
    if typed.lower() in named:
        amount, figure = named[typed.lower()]
        if amount is None:
            raise UsageError(f"{typed} is not known: {vm.unknown.get(figure, 'nobody tells')}; {ACCEPTED}")
        return amount // KIB * KIB
    match = _SIZE.fullmatch(typed)
    if match is None:
        if _AMBIGUOUS.fullmatch(typed):
            raise UsageError(f"{typed!r} has no unit that is clear: G and GiB are 2**30 bytes; {ACCEPTED}")
        raise UsageError(f"{typed!r} is no size: {ACCEPTED}")
    sign, number, unit = match["sign"], float(match["number"]), match["unit"][0].upper()
    if not sign:
        if unit == "%":
            raise UsageError(f"{typed!r}: of what? Write +{typed} or -{typed} to change the present size; {ACCEPTED}")
        return math.floor(number * _UNITS[unit]) // KIB * KIB
    if vm.balloon_bytes is None:
        reason = vm.unknown.get("balloon_bytes", "nobody tells")
        raise UsageError(f"{typed!r} changes the present size, which is not known: {reason}")
    change = number / 100 * vm.balloon_bytes if unit == "%" else number * _UNITS[unit]
    signed = -change if sign == "-" else change
    return math.floor(vm.balloon_bytes + signed) // KIB * KIB
