"""What a host shows of its load while it lasts: counts since T0, and times in coarse counters.

They are only shown, once a second, and never stored: the result comes from the exact counters (histogram.py).
A counter is 1.6 % wide, and a host sends one set for all its agents. Counters are added up, never their percentiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# 64 counters for each doubling, from 1 µs to 2^36 µs.
BITS = 6
COUNTERS = 37 << BITS


@dataclass(frozen=True, slots=True)
class AgentCounts:
    """What one agent's log held when it was read at_us after T0. answered: with a status below 400; failed: the rest."""

    at_us: int
    answered: int
    failed: int


@dataclass(frozen=True, slots=True)
class LiveTimes:
    """Times of all requests since T0: counters that are not zero, by index. response: from when a request was due."""

    response: bool
    counts: dict[int, int] = field(default_factory=dict)


def upper_us(index: int) -> float:
    """Return the upper edge of a counter."""
    return (1 << (index >> BITS)) * (1 + ((index & ((1 << BITS) - 1)) + 1) / (1 << BITS))


def merged(parts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Return the sum of counters."""
    total: dict[int, int] = {}
    for part in parts:
        for index, count in part.items():
            total[index] = total.get(index, 0) + count
    return total


def since(now: Mapping[int, int], before: Mapping[int, int]) -> dict[int, int]:
    """Return what was counted since `before`."""
    return {index: more for index, count in now.items() if (more := count - before.get(index, 0)) > 0}


def quantile_us(counts: Mapping[int, int], quantile: float) -> float | None:
    """Return the quantile of counters; None with fewer than 10 / (1 - quantile) values, which say too little about it."""
    total = sum(counts.values())
    if total < 10 / (1 - quantile) * 0.999999:
        return None
    rank, passed = quantile * total, 0
    for index in sorted(counts):
        passed += counts[index]
        if passed >= rank:
            return upper_us(index)
    return None
