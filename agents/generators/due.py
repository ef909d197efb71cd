"""When each request of an open loop is due, and which request of the mix it is. Both follow from the seed alone."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, count

SECOND_NS = 1_000_000_000


def even(rate_per_s: float, first_due_ns: int = 0) -> Iterator[int]:
    """Yield due times in ns after T0: first_due_ns + floor(k * 1e9 / rate_per_s).

    Each comes from k itself, so that rounding does not add up.
    """
    for k in count():
        yield first_due_ns + int(k * SECOND_NS / rate_per_s)


def poisson(rate_per_s: float, seed: int) -> Iterator[int]:
    """Yield due times in ns after T0, with exponential gaps of mean 1 / rate_per_s, the first one after T0 as well."""
    # A stream of its own: with the mix's numbers, long gaps would always meet the same request.
    gap = random.Random(f"arrivals {seed}").expovariate
    at_s = 0.0
    while True:
        at_s += gap(rate_per_s)
        yield int(at_s * SECOND_NS)


def mix(weights: Sequence[float], seed: int) -> Callable[[], int] | None:
    """Return a function that draws the index of the next request by weight; None when there is only one request."""
    if len(weights) == 1:
        return None
    bounds = list(accumulate(weights))
    total, last = bounds[-1], len(bounds) - 1
    draw = random.Random(seed).random

    def choose() -> int:
        return min(bisect(bounds, draw() * total), last)

    return choose
