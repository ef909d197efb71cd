"""HDR counters: 1 µs to 2^36 - 1 µs at three significant digits, exactly mergeable.

Beside the counters travel the exact minimum, maximum, sum and sum of squares.
"""

from __future__ import annotations

import math

import numpy as np

from agents.buckets import (
    COUNTERS,
    HIGHEST_US,
    LOWEST_US,
    NOTHING,
    SIGNIFICANT_DIGITS,
    SUB_BUCKETS,
    Ints,
    Sparse,
    highest_equivalent_us,
    highest_us,
    index_of,
    rank_of,
    total,
)

__all__ = [
    "COUNTERS",
    "HIGHEST_US",
    "LOWEST_US",
    "NOTHING",
    "SIGNIFICANT_DIGITS",
    "SUB_BUCKETS",
    "HdrCounts",
    "Ints",
    "Sparse",
    "highest_equivalent_us",
    "highest_us",
    "index_of",
    "rank_of",
    "total",
]

# v*v summed over one block must fit into 63 bits: blocks of 2^18 values below 2^22 µs do.
_BLOCK = 1 << 18
_SQUARE_SAFE_US = 1 << 22


class HdrCounts:
    """Counters of one class of requests, with exact side sums.

    `overflow` counts values above HIGHEST_US, which are in no counter but do count in minimum, maximum, total and
    squares. minimum_us and maximum_us are meaningless while the histogram is empty. Counters are kept sparse until
    something is added to them: thousands of agents' results fit into memory.
    """

    __slots__ = ("_dense", "_sparse", "_sums", "maximum_us", "minimum_us", "overflow", "squares_us2", "total_us")

    def __init__(
        self,
        counts: Ints | Sparse = NOTHING,
        overflow: int = 0,
        minimum_us: int = 0,
        maximum_us: int = 0,
        total_us: int = 0,
        squares_us2: int = 0,
    ) -> None:
        """counts: sparse, or dense with the shape (COUNTERS,), int64."""
        self._sparse: Sparse | None = counts if isinstance(counts, Sparse) else None
        self._dense: Ints | None = None if isinstance(counts, Sparse) else counts
        # How many values the counters up to each of the sparse ones hold, shape (k,).
        self._sums: Ints | None = None
        self.overflow = overflow
        self.minimum_us = minimum_us
        self.maximum_us = maximum_us
        self.total_us = total_us
        self.squares_us2 = squares_us2

    @property
    def counts(self) -> Ints:
        """The counters, dense: shape (COUNTERS,), int64. Do not change them."""
        return self.sparse.dense() if self._dense is None else self._dense

    @property
    def sparse(self) -> Sparse:
        """The counters that are not zero."""
        if self._sparse is None:
            assert self._dense is not None
            self._sparse = Sparse.of(self._dense)
        return self._sparse

    @property
    def n(self) -> int:
        """The number of recorded values, overflow included."""
        sums = self._cumulated()
        return (int(sums[-1]) if sums.size else 0) + self.overflow

    def _cumulated(self) -> Ints:
        if self._sums is not None:
            return self._sums
        sums: Ints = np.cumsum(self.sparse.narrow_count, dtype=np.int64)
        # One agent of thousands is asked a few times only: its counters stay small.
        if self._dense is not None:
            self._sums = sums
        return sums

    def _own(self) -> Ints:
        """Return the dense counters in order to add to them."""
        if self._dense is None:
            self._dense = self.sparse.dense()
        self._sparse = self._sums = None
        return self._dense

    def record(self, values_us: Ints, index: Ints | None = None) -> None:
        """Add values in µs, shape (n,), int64. index: index_of(values_us), if the caller has it already.

        Raises ValueError for a negative value; nothing is recorded then.
        """
        if values_us.size == 0:
            return
        low, high = int(values_us.min()), int(values_us.max())
        if low < 0:
            raise ValueError(f"a time cannot be negative: {low} µs")
        empty = self._is_empty()
        self.minimum_us = low if empty else min(self.minimum_us, low)
        self.maximum_us = max(self.maximum_us, high)
        counts = self._own()
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
            counts += np.bincount(index_of(block) if block_index is None else block_index, minlength=COUNTERS)

    def _is_empty(self) -> bool:
        """Return whether nothing was recorded, without adding up dense counters: only values of 0 leave no maximum."""
        if self._dense is None:
            return not (self.overflow or self.sparse.narrow_count.size)
        return not (self.overflow or self.maximum_us or int(self._dense[0]))

    def __iadd__(self, other: HdrCounts) -> HdrCounts:
        """Add counters in place: what folds many agents into one sum."""
        if not other._is_empty():
            self.minimum_us = other.minimum_us if self._is_empty() else min(self.minimum_us, other.minimum_us)
            own = self._own()
            if other._dense is None:
                own[other.sparse.narrow_index] += other.sparse.count
            else:
                own += other._dense
        self.overflow += other.overflow
        self.maximum_us = max(self.maximum_us, other.maximum_us)
        self.total_us += other.total_us
        self.squares_us2 += other.squares_us2
        return self

    def copy(self) -> HdrCounts:
        """Return the same counters, to add to."""
        counts = self._sparse if self._dense is None or self._sparse is not None else self._dense.copy()
        assert counts is not None
        return HdrCounts(counts, self.overflow, self.minimum_us, self.maximum_us, self.total_us, self.squares_us2)

    def __add__(self, other: HdrCounts) -> HdrCounts:
        """Return the merged counters. Merging is associative and commutative; HdrCounts() is the identity."""
        merged = self.copy()
        merged += other
        return merged

    def without(self, other: HdrCounts) -> HdrCounts:
        """Return the counters less those of a part of them. The maximum is that of the highest counter left."""
        left = Sparse.of(self.counts - other.counts)
        highest = highest_us(int(left.narrow_index[-1])) if left.narrow_index.size else 0
        return HdrCounts(
            counts=left,
            overflow=self.overflow - other.overflow,
            minimum_us=self.minimum_us,
            maximum_us=min(self.maximum_us, highest),
            total_us=self.total_us - other.total_us,
            squares_us2=self.squares_us2 - other.squares_us2,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HdrCounts):
            return NotImplemented
        return self.sparse == other.sparse and self._sides() == other._sides()

    # Counters change, so they are no key of a dictionary.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"HdrCounts(n={self.n}, min={self.minimum_us}, max={self.maximum_us}, total={self.total_us})"

    def _sides(self) -> tuple[int, int, int, int, int]:
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
        sums = self._cumulated()
        position = int(sums.searchsorted(rank))
        if position >= sums.size:
            return self.maximum_us
        return min(highest_us(int(self.sparse.narrow_index[position])), self.maximum_us)

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
        sums = self._cumulated()
        position = int(self.sparse.narrow_index.searchsorted(np.uint16(index), side="right"))
        below = int(sums[position - 1]) if position else 0
        return (self.n - below) / self.n


def _sum_of_squares(block: Ints, high: int) -> int:
    """Return the exact sum of v^2 for at most _BLOCK values up to HIGHEST_US."""
    if high < _SQUARE_SAFE_US:
        return int(np.dot(block, block))
    upper, lower = block >> 18, block & ((1 << 18) - 1)
    return (int(np.dot(upper, upper)) << 36) + (int(np.dot(upper, lower)) << 19) + int(np.dot(lower, lower))
