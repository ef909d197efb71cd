"""HDR counters: 1 µs to 2^36 - 1 µs at three significant digits, exactly mergeable.

The bucket arithmetic is HdrHistogram's (lowest 1, three digits, so 2048 sub-buckets), vectorised;
the public implementation is the oracle in the tests. Beside the counters travel the exact minimum,
maximum, sum and sum of squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

LOWEST_US = 1
HIGHEST_US = 2**36 - 1
SIGNIFICANT_DIGITS = 3
SUB_BUCKETS = 2048
COUNTERS = 27 * (SUB_BUCKETS // 2)  # indices 0 .. 27647; 2^36 - 1 falls into the last one

Ints = npt.NDArray[np.int64]

# v*v summed over one block must fit into 63 bits: blocks of 2^18 values below 2^22 µs do.
_BLOCK = 1 << 18
_SQUARE_SAFE_US = 1 << 22


def index_of(values_us: Ints) -> Ints:
    """Return the counter of each value: shape (n,), int64, 0 <= value <= HIGHEST_US.

    Source: HdrHistogram's bucket layout; floor(log2 v) is read from the exponent of the value as a
    float64.
    """
    exponent: Ints = (values_us.astype(np.float64).view(np.int64) >> 52) - 1033
    np.maximum(exponent, 0, out=exponent)
    shifted: Ints = values_us >> exponent
    exponent <<= 10
    shifted += exponent
    return shifted


def highest_equivalent_us(index: Ints | int) -> Ints:
    """Return the largest value of the counter, in µs."""
    i = np.asarray(index, dtype=np.int64)
    bucket = np.maximum((i >> 10) - 1, 0)
    sub = np.where(i < SUB_BUCKETS, i, (i & 1023) + 1024)
    highest: Ints = ((sub + 1) << bucket) - 1
    return highest


def rank_of(quantile: float, total: int) -> int:
    """Return the nearest rank max(1, ceil(q*n)), with q as the decimal that was written, not its binary approximation."""
    exact = Fraction(str(quantile))
    return max(1, -int(-exact * total // 1))


@dataclass(slots=True)
class HdrCounts:
    """Counters of one class of requests, with exact side sums.

    `counts` has shape (COUNTERS,), int64. `overflow` counts values above HIGHEST_US, which are in
    no counter but do count in minimum, maximum, total and squares. minimum_us and maximum_us are
    meaningless while the histogram is empty.
    """

    counts: Ints = field(default_factory=lambda: np.zeros(COUNTERS, dtype=np.int64))
    overflow: int = 0
    minimum_us: int = 0
    maximum_us: int = 0
    total_us: int = 0
    squares_us2: int = 0

    @property
    def n(self) -> int:
        """The number of recorded values, overflow included."""
        return int(self.counts.sum()) + self.overflow

    def record(self, values_us: Ints, index: Ints | None = None) -> None:
        """Add values in µs, shape (n,), int64. index: index_of(values_us), if the caller has it already.

        Raises ValueError for a negative value; nothing is recorded then.
        """
        if values_us.size == 0:
            return
        low, high = int(values_us.min()), int(values_us.max())
        if low < 0:
            raise ValueError(f"a time cannot be negative: {low} µs")
        empty = self.n == 0
        self.minimum_us = low if empty else min(self.minimum_us, low)
        self.maximum_us = max(self.maximum_us, high)
        for start in range(0, values_us.size, _BLOCK):
            block = values_us[start : start + _BLOCK]
            block_index = None if index is None else index[start : start + _BLOCK]
            if high > HIGHEST_US:
                block_index = None
                over = block[block > HIGHEST_US]
                self.overflow += int(over.size)
                self.total_us += sum(int(v) for v in over)
                self.squares_us2 += sum(int(v) ** 2 for v in over)
                block = block[block <= HIGHEST_US]
            self.total_us += int(block.sum())
            self.squares_us2 += _sum_of_squares(block, high)
            self.counts += np.bincount(index_of(block) if block_index is None else block_index, minlength=COUNTERS)

    def __add__(self, other: HdrCounts) -> HdrCounts:
        """Return the merged counters. Merging is associative and commutative; HdrCounts() is the identity."""
        if other.n == 0:
            low = self.minimum_us
        elif self.n == 0:
            low = other.minimum_us
        else:
            low = min(self.minimum_us, other.minimum_us)
        return HdrCounts(
            counts=self.counts + other.counts,
            overflow=self.overflow + other.overflow,
            minimum_us=low,
            maximum_us=max(self.maximum_us, other.maximum_us),
            total_us=self.total_us + other.total_us,
            squares_us2=self.squares_us2 + other.squares_us2,
        )

    def without(self, other: HdrCounts) -> HdrCounts:
        """Return the counters less those of a part of them. The maximum is that of the highest counter left."""
        counts = self.counts - other.counts
        left = np.flatnonzero(counts)
        highest = int(highest_equivalent_us(int(left[-1]))) if left.size else 0
        return HdrCounts(
            counts=counts,
            overflow=self.overflow - other.overflow,
            minimum_us=self.minimum_us,
            maximum_us=min(self.maximum_us, highest),
            total_us=self.total_us - other.total_us,
            squares_us2=self.squares_us2 - other.squares_us2,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HdrCounts):
            return NotImplemented
        return bool(np.array_equal(self.counts, other.counts)) and self._sums() == other._sums()

    def _sums(self) -> tuple[int, int, int, int, int]:
        return (self.overflow, self.minimum_us, self.maximum_us, self.total_us, self.squares_us2)

    def quantile_us(self, quantile: float) -> int:
        """Return the nearest-rank quantile in µs: the highest equivalent value of its counter, at most the exact maximum.

        A rank in the overflow yields the exact maximum. Raises ValueError when empty
        or outside (0, 1].
        """
        if not 0 < quantile <= 1:
            raise ValueError(f"a quantile must be in (0, 1], not {quantile}")
        n = self.n
        if n == 0:
            raise ValueError("an empty histogram has no quantile")
        return self.value_at(rank_of(quantile, n))

    def value_at(self, rank: int) -> int:
        """Return the value of a rank, from 1 for the smallest, in µs: the highest equivalent value of its counter."""
        index = int(np.searchsorted(np.cumsum(self.counts), rank))
        if index >= COUNTERS:
            return self.maximum_us
        return min(int(highest_equivalent_us(index)), self.maximum_us)

    def mean_us(self) -> float:
        """Return the exact mean in µs. Raises ValueError when empty."""
        if self.n == 0:
            raise ValueError("an empty histogram has no mean")
        return self.total_us / self.n

    def standard_deviation_us(self) -> float:
        """Return the exact sample standard deviation in µs. Raises ValueError with fewer than two values."""
        n = self.n
        if n < 2:
            raise ValueError("a standard deviation needs at least two values")
        return math.sqrt((self.squares_us2 * n - self.total_us**2) / (n * (n - 1)))

    def share_above(self, value_us: int) -> float:
        """Return the share of values in counters above that of `value_us`, overflow included; 0 when empty."""
        if self.n == 0:
            return 0.0
        if value_us > HIGHEST_US:
            return self.overflow / self.n
        index = int(index_of(np.array([value_us], dtype=np.int64))[0])
        return (int(self.counts[index + 1 :].sum()) + self.overflow) / self.n


def _sum_of_squares(block: Ints, high: int) -> int:
    """Return the exact sum of v^2 for at most _BLOCK values up to HIGHEST_US."""
    if high < _SQUARE_SAFE_US:
        return int(np.dot(block, block))
    upper, lower = block >> 18, block & ((1 << 18) - 1)
    return (int(np.dot(upper, upper)) << 36) + (int(np.dot(upper, lower)) << 19) + int(np.dot(lower, lower))
