"""Randomness without memory: each draw is a hash of who, when and what for.

No draw depends on how many were made before, so a guest's demand stays the same whatever an operator does, in which
order guests are updated, and which other guests exist.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import TypeVar

HOST_UID = 0
"""Who draws when it is not a guest; guests count from 1."""

_MASK = (1 << 64) - 1
_LOW_21_BITS = (1 << 21) - 1

Item = TypeVar("Item")


class Channel(IntEnum):
    """What a draw is for. New ones go to the end: a changed number changes every world."""

    SIZE = 1
    KIND = 2
    FAMILY = 3
    NAME = 4
    UUID_HIGH = 5
    UUID_LOW = 6
    UTILISATION = 7
    HOT_SHARE = 8
    PHASE = 9
    LEAK_RATE = 10
    FILE_SET = 11
    FILE_HOT = 12
    READ_RATE = 13
    WRITE_RATE = 14
    DISK = 15
    FREE_PAGE_REPORTING = 16
    TOUCHED = 17
    DRIVER = 18
    BURST_GAP = 19
    BURST_LENGTH = 20
    BURST_SIZE = 21
    DRIFT = 22
    RESTART = 23
    FAULT = 24
    VICTIM = 25
    BACKUP = 26
    HISTORY = 27
    STALE = 28
    ZERO_SHARE = 29
    FREEZE = 30
    BUFFER = 31
    STUN = 32


class Dice:
    """All randomness of one world."""

    __slots__ = ("_start",)

    def __init__(self, seed: int) -> None:
        self._start = seed * 0x9E3779B97F4A7C15

    def bits(self, uid: int, tick: int, channel: int) -> int:
        """64 random bits. Source: the finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA'14), applied twice."""
        z = self._start + uid * 0xD1B54A32D192ED03 + tick * 0x8CB92BA72F3D8DD7 + channel * 0xDB4F0B9175AE2165
        return _mix(_mix(z & _MASK))

    def uniform(self, uid: int, tick: int, channel: int) -> float:
        """A number in [0, 1)."""
        return (self.bits(uid, tick, channel) >> 11) / (1 << 53)

    def between(self, low: float, high: float, uid: int, channel: int, tick: int = 0) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.uniform(uid, tick, channel)

    def normal(self, uid: int, tick: int, channel: int) -> float:
        """About normal with mean 0 and deviation 1: the sum of three uniform numbers, never beyond 3.

        The three come from one hash, 21 bits each, which is enough for demand in whole pages and three times as fast.
        """
        bits = self.bits(uid, tick, channel)
        total = (bits & _LOW_21_BITS) + (bits >> 21 & _LOW_21_BITS) + (bits >> 42 & _LOW_21_BITS)
        return 2.0 * total / (1 << 21) - 3.0

    def choice(self, weighted: Sequence[tuple[Item, float]], uid: int, channel: int) -> Item:
        """One of the items, each with its share; the last takes what rounding leaves."""
        point = self.uniform(uid, 0, channel) * sum(share for _, share in weighted)
        for item, share in weighted:
            point -= share
            if point < 0:
                return item
        return weighted[-1][0]


def _mix(z: int) -> int:
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
    return z ^ z >> 31
