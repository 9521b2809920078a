"""Sizes and how people write them. Inside vmtop every amount of memory is a whole number of bytes."""

import re

from vmtop.errors import UsageError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

PAGE_BYTES = 4 * KIB
"""The usual page: of x86-64, of most arm64 kernels, and of simulated hosts. A real host is asked for its own."""

_FACTORS = {"": 1, "b": 1, "k": KIB, "m": MIB, "g": GIB, "t": TIB}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?\s*", re.IGNORECASE | re.ASCII)


def parse_size(text: str) -> int:
    """Turn "4GiB", "512M" or "1048576" into bytes; every unit is binary, as in QEMU and virsh.

    Raises:
        UsageError: the text is no size.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no size: write a number with K, M, G or T, such as 512M or 4GiB")
    number, unit = match.groups()
    return round(float(number) * _FACTORS[unit.lower()])
