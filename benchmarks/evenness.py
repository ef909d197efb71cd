"""How even arrivals are, from a server's record of them, and the highest rate at which they still are. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

QUANTILES = (0.5, 0.9, 0.99)
BURST_NS = 1_000_000
# What counts as an even rate: nearly all requests were sent, each close to its time.
LEAST_SHARE = 0.99
MOST_OFF_US = 1_000.0


@dataclass(frozen=True, slots=True)
class Evenness:
    """Arrivals in a window against an even rate. Quantiles are those of QUANTILES, in µs.

    gap_off_us: distance of the gaps between arrivals from 1/rate. schedule_off_us: distance of arrivals from the schedule.
    largest_burst: the most arrivals within any one millisecond.
    """

    arrivals: int
    achieved_per_s: float
    gap_off_us: tuple[float, ...]
    schedule_off_us: tuple[float, ...]
    largest_burst: int


def evenness(arrived_ns: NDArray[np.int64], window_s: float, rate_per_s: float) -> Evenness:
    """Return how even the sorted arrivals of one window are, shape (n,). Raise ValueError for fewer than two."""
    if arrived_ns.size < 2:
        raise ValueError(f"{arrived_ns.size} requests arrived in the window: at least 2 are needed")
    return Evenness(
        arrivals=int(arrived_ns.size),
        achieved_per_s=arrived_ns.size / window_s,
        gap_off_us=quantiles(gap_deviations_us(arrived_ns, rate_per_s)),
        schedule_off_us=quantiles(schedule_deviations_us(arrived_ns, rate_per_s)),
        largest_burst=largest_burst(arrived_ns),
    )


def gap_deviations_us(arrived_ns: NDArray[np.int64], rate_per_s: float) -> NDArray[np.float64]:
    """Return |gap - 1/rate| of sorted arrivals of shape (n,): shape (n - 1,)."""
    deviations: NDArray[np.float64] = np.abs(np.diff(arrived_ns) / 1e3 - 1e6 / rate_per_s)
    return deviations


def schedule_deviations_us(arrived_ns: NDArray[np.int64], rate_per_s: float) -> NDArray[np.float64]:
    """Return |arrival k - (start + k/rate)| of sorted arrivals, shape (n,).

    The start is the one with the smallest median deviation to either side, so that a constant delay costs nothing. A rate
    that is not kept adds up: the k-th arrival is then early or late by all requests before it.
    """
    off_us = (arrived_ns - arrived_ns[0]) / 1e3 - np.arange(arrived_ns.size) * 1e6 / rate_per_s
    deviations: NDArray[np.float64] = np.abs(off_us - np.median(off_us))
    return deviations


def largest_burst(arrived_ns: NDArray[np.int64], within_ns: int = BURST_NS) -> int:
    """Return the most sorted arrivals, shape (n,), in any half-open interval of this length; 0 without arrivals."""
    if arrived_ns.size == 0:
        return 0
    ends = np.searchsorted(arrived_ns, arrived_ns + within_ns, side="left")
    return int((ends - np.arange(arrived_ns.size)).max())


def quantiles(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Return the QUANTILES of values, shape (n,), by nearest rank."""
    return tuple(float(value) for value in np.quantile(values, QUANTILES, method="inverted_cdf"))


def is_even(found: Evenness, rate_per_s: float) -> bool:
    """Return whether the rate was reached and 99 % of the requests were within MOST_OFF_US of the schedule."""
    return found.achieved_per_s >= LEAST_SHARE * rate_per_s and found.schedule_off_us[-1] <= MOST_OFF_US


def highest(holds: Callable[[float], bool], first: float, lowest: float, most: float, ratio: float) -> float | None:
    """Return the highest rate that holds, to within `ratio`; None when not even one of at least `lowest` does.

    Doubles from `first` (or halves when that does not hold), then bisects in the logarithm. holds: asked once per rate; it
    is taken to hold for every lower rate.
    """
    rate, good, bad = first, None, None
    while good is None or bad is None:
        if holds(rate):
            good = rate
            if rate >= most:
                return good
            rate = min(rate * 2, most) if bad is None else rate
        else:
            bad = rate
            if rate <= lowest:
                return None
            rate = max(rate / 2, lowest) if good is None else rate
    while bad / good > ratio:
        middle = math.sqrt(good * bad)
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good
