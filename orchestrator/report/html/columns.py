"""A case over time: the counters of all its trials added up, joined into columns of equal length."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agents.histogram import Ints, Sparse, highest_equivalent_us, highest_us, rank_of, total
from agents.recorder import CLASSES, OK
from orchestrator.report.html.collect import Drawn
from orchestrator.result import SHAPE_PER_DECADE

# A load that a number of requests ends has a last interval that may be too short to be a rate.
_SLIVER = 0.1
# As in the tables: fewer requests than this have no p99.
_BEHIND_P99 = 1000


@dataclass(frozen=True, slots=True)
class Columns:
    """A case over time. A column is width_s long; at_s: where each begins; end_s: where the last one ends, with the window.

    answered_per_s: successful answers of one trial, the mean over the trials. errors_per_s: HTTP errors and failed requests.
    p50_us, p99_us: service time of successful answers, of all trials added up. heat: their number by bucket and column,
    shape (buckets, columns); lowest_bucket: the first bucket, as in result.Shape.
    """

    width_s: int
    at_s: list[int]
    end_s: float
    answered_per_s: list[float]
    errors_per_s: list[float]
    p50_us: list[float | None]
    p99_us: list[float | None]
    heat: list[list[int]]
    lowest_bucket: int


def columns(drawn: Drawn, most: int) -> Columns:
    """Return a case in at most this many columns."""
    interval_s = max(series.interval_s for series in drawn.series.values())
    parts: dict[str, dict[int, list[Sparse]]] = {name: {} for name in CLASSES}
    seconds = [k * s.interval_s for s in drawn.series.values() for k, _ in s.intervals() if k >= 0]
    width_s = interval_s * math.ceil((max(seconds, default=0) + interval_s) / interval_s / most)
    for name, series in drawn.series.items():
        for k, sparse in series.intervals():
            if k >= 0:
                parts[name].setdefault(k * series.interval_s // width_s, []).append(sparse)
    every = sorted({k for of_class in parts.values() for k in of_class})
    lengths = {k: drawn.measured_s(k * width_s, width_s) for k in every}
    kept = [k for k in every if lengths[k] >= _SLIVER * width_s * drawn.number]
    seen = [_percentiles_and_buckets(parts[OK].get(k, [])) for k in kept]
    heat, lowest = _matrix([buckets for _, _, buckets in seen])
    last_s = (kept[-1] + 1) * width_s if kept else 0
    return Columns(
        width_s,
        [k * width_s for k in kept],
        min(last_s, max(drawn.windows_s, default=last_s)),
        [_count(parts, k, [OK]) / lengths[k] for k in kept],
        [_count(parts, k, [name for name in CLASSES if name != OK]) / lengths[k] for k in kept],
        [p50 for p50, _, _ in seen],
        [p99 for _, p99, _ in seen],
        heat,
        lowest,
    )


def _count(parts: Mapping[str, Mapping[int, list[Sparse]]], column: int, classes: Sequence[str]) -> int:
    return sum(sparse.n for name in classes for sparse in parts[name].get(column, []))


def _percentiles_and_buckets(intervals: list[Sparse]) -> tuple[float | None, float | None, dict[int, int]]:
    """Return p50 and p99 of the sum of some intervals, in µs, and its counts by bucket."""
    if not intervals:
        return None, None, {}
    counts = total(intervals)
    if not (n := int(counts.sum())):
        return None, None, {}
    sums = np.cumsum(counts)
    p50, p99 = (_at(sums, rank_of(q, n)) for q in (0.5, 0.99))
    index = np.flatnonzero(counts)
    values_us = np.maximum(1, highest_equivalent_us(index))
    buckets = np.floor(np.log10(values_us) * SHAPE_PER_DECADE + 1e-9).astype(np.int64)
    found: Counter[int] = Counter()
    for bucket, count in zip(buckets.tolist(), counts[index].tolist(), strict=True):
        found[bucket] += count
    return p50, p99 if n >= _BEHIND_P99 else None, found


def _at(sums: Ints, rank: int) -> float:
    return float(max(1, highest_us(int(sums.searchsorted(rank)))))


def _matrix(seen: Sequence[Mapping[int, int]]) -> tuple[list[list[int]], int]:
    every = {bucket for buckets in seen for bucket in buckets}
    if not every:
        return [], 0
    return [[buckets.get(b, 0) for buckets in seen] for b in range(min(every), max(every) + 1)], min(every)
