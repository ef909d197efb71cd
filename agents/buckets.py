"""HDR's buckets: which counter a value is in, and counters that keep only what is not zero.

The bucket arithmetic is HdrHistogram's (lowest 1, three digits, so 2048 sub-buckets), vectorised;
the public implementation is the oracle in the tests.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

LOWEST_US = 1
HIGHEST_US = 2**36 - 1
SIGNIFICANT_DIGITS = 3
SUB_BUCKETS = 2048
COUNTERS = 27 * (SUB_BUCKETS // 2)  # indices 0 .. 27647; 2^36 - 1 falls into the last one

Ints = npt.NDArray[np.int64]


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


def highest_us(index: int) -> int:
    """Return the largest value of one counter, in µs: highest_equivalent_us() without arrays."""
    bucket = max(0, (index >> 10) - 1)
    sub = index if index < SUB_BUCKETS else (index & 1023) + 1024
    return ((sub + 1) << bucket) - 1


def rank_of(quantile: float, total: int) -> int:
    """Return the nearest rank max(1, ceil(q*n)), with q as the decimal that was written, not its binary approximation."""
    numerator, denominator = _as_written(quantile)
    return max(1, -(-numerator * total // denominator))


@functools.cache
def _as_written(quantile: float) -> tuple[int, int]:
    return Fraction(str(quantile)).as_integer_ratio()


@dataclass(frozen=True, slots=True, eq=False)
class Sparse:
    """The counters that are not zero, in as few bytes as they need.

    narrow_index: ascending, shape (k,), uint16. narrow_count: shape (k,), the smallest unsigned type that holds them all.
    """

    narrow_index: npt.NDArray[np.uint16]
    narrow_count: npt.NDArray[np.unsignedinteger]

    @staticmethod
    def of(counts: Ints) -> Sparse:
        """Keep what is not zero of dense counters, shape (COUNTERS,)."""
        index = np.flatnonzero(counts)
        return Sparse.made(index, counts[index])

    @staticmethod
    def made(index: npt.NDArray[np.integer], count: Ints) -> Sparse:
        """Return the counters with these indices, ascending, and counts above zero; both of shape (k,)."""
        highest = int(count.max()) if count.size else 0
        return Sparse(index.astype(np.uint16), count.astype(np.min_scalar_type(highest)))

    @property
    def index(self) -> Ints:
        """The counters, shape (k,), int64."""
        return self.narrow_index.astype(np.int64)

    @property
    def count(self) -> Ints:
        """How many values each has, shape (k,), int64."""
        return self.narrow_count.astype(np.int64)

    @property
    def n(self) -> int:
        """How many values are counted."""
        return int(self.narrow_count.sum(dtype=np.int64))

    def dense(self) -> Ints:
        """Return counters of shape (COUNTERS,)."""
        return total([self])

    def __add__(self, other: Sparse) -> Sparse:
        return Sparse.of(total([self, other]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sparse):
            return NotImplemented
        same = np.array_equal(self.narrow_index, other.narrow_index)
        return bool(same and np.array_equal(self.narrow_count, other.narrow_count))


NOTHING = Sparse(np.zeros(0, dtype=np.uint16), np.zeros(0, dtype=np.uint8))


def total(parts: Iterable[Sparse]) -> Ints:
    """Return the sum of counters, dense: shape (COUNTERS,), int64."""
    counts = np.zeros(COUNTERS, dtype=np.int64)
    for part in parts:
        # No index occurs twice in a part, so plain indexing adds each count once.
        counts[part.narrow_index] += part.count
    return counts
