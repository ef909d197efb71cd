"""A histogram per second of a run, in bounded memory, whatever its length.

Seconds that are over are kept sparse. Above LONGEST intervals neighbours are added together, two by two, so that the
interval becomes 2 s, 4 s and so on: exact at every step, and two series can always be merged at the longer interval.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from agents.columns import LONGEST
from agents.histogram import COUNTERS, HIGHEST_US, Ints, Sparse, index_of, total

_LIVE = 4
# So many agents' counters of an interval wait until they are added up: one pass over all of them is cheaper than many.
_WAITING = 64


@dataclass(slots=True)
class Series:
    """Counters per interval; interval k is [k, k + 1) * interval_s after the series' origin. k may be negative."""

    interval_s: int = 1
    sealed: dict[int, Sparse] = field(default_factory=dict)
    _live: dict[int, Ints] = field(default_factory=dict)
    _waiting: dict[int, list[Sparse]] = field(default_factory=dict)

    def record(self, relative_us: Ints, values_us: Ints, index: Ints | None = None) -> None:
        """Add values at times relative to the origin, both in µs and of shape (n,); overflow goes to the last counter."""
        if relative_us.size == 0:
            return
        if index is None or int(values_us.max()) > HIGHEST_US:
            index = index_of(np.minimum(values_us, HIGHEST_US))
        interval = relative_us // (self.interval_s * 1_000_000)
        first, last = int(interval.min()), int(interval.max())
        if first == last:
            self._add(first, np.bincount(index, minlength=COUNTERS))
        elif last - first < 16:
            key = (interval - first) * COUNTERS + index
            table = np.bincount(key, minlength=(last - first + 1) * COUNTERS).reshape(-1, COUNTERS)
            for k in range(last - first + 1):
                if table[k].any():
                    self._add(first + k, table[k])
        else:
            for k in np.unique(interval).tolist():
                self._add(k, np.bincount(index[interval == k], minlength=COUNTERS))
        while len(self._live) > _LIVE:
            self._seal(min(self._live))
        while len(self.sealed) + len(self._live) > LONGEST:
            self._coarsen()

    def _add(self, k: int, counts: npt.NDArray[np.integer]) -> None:
        if k in self._live:
            self._live[k] += counts
        else:
            self._live[k] = counts.astype(np.int64)

    def _seal(self, k: int) -> None:
        sparse = Sparse.of(self._live.pop(k))
        self.sealed[k] = self.sealed[k] + sparse if k in self.sealed else sparse

    def _coarsen(self) -> None:
        self.close()
        coarse: dict[int, Sparse] = {}
        for k, sparse in self.sealed.items():
            coarse[k // 2] = coarse[k // 2] + sparse if k // 2 in coarse else sparse
        self.sealed = coarse
        self.interval_s *= 2

    def close(self) -> None:
        """Make every interval sparse."""
        for k in list(self._live):
            self._seal(k)
        for k in list(self._waiting):
            self._add_up(k)

    def _add_up(self, k: int) -> None:
        parts = self._waiting.pop(k) + ([self.sealed[k]] if k in self.sealed else [])
        self.sealed[k] = parts[0] if len(parts) == 1 else Sparse.of(total(parts))

    def __iadd__(self, other: Series) -> Series:
        """Add a series in place, at the longer of the two intervals: what folds many agents into one sum."""
        while self.interval_s < other.interval_s:
            self._coarsen()
        for k, sparse in _at(other, self.interval_s).sealed.items():
            waiting = self._waiting.setdefault(k, [])
            waiting.append(sparse)
            if len(waiting) >= _WAITING:
                self._add_up(k)
        return self

    def __add__(self, other: Series) -> Series:
        """Merge at the longer of the two intervals: associative, commutative, Series() is the identity."""
        merged = Series()
        merged += self
        merged += other
        merged.close()
        return merged

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Series):
            return NotImplemented
        self.close()
        other.close()
        return self.interval_s == other.interval_s and self.sealed == other.sealed

    def intervals(self) -> Iterable[tuple[int, Sparse]]:
        """Return (k, counters) in order of time."""
        self.close()
        return sorted(self.sealed.items())


def _at(series: Series, interval_s: int) -> Series:
    series.close()
    if series.interval_s == interval_s:
        return series
    copy = Series(series.interval_s, dict(series.sealed))
    while copy.interval_s < interval_s:
        copy._coarsen()
    return copy
