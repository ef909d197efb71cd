"""What a load has counted so far, for people and monitors that watch it: counts by class, and times in coarse buckets.

The counts are totals since T0, not differences, so that a message that is lost costs nothing. The exact histograms come
when the load is over.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

# The coordinator imports this module for its records; only what counts needs numpy.
if TYPE_CHECKING:
    from agents.histogram import HdrCounts, Ints
    from agents.recorder import Recorder

# Upper ends of the buckets in µs: ten for each power of ten (Renard's preferred numbers), from 10 µs to 100 s.
_STEPS = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0)
BOUNDS_US = (*(round(10.0**power * step, 3) for power in range(1, 8) for step in _STEPS), 100_000_000.0)


@dataclass(frozen=True, slots=True)
class Buckets:
    """Times by bucket. counts: how many are up to each of BOUNDS_US and above the one before, and last those beyond.

    It is empty while nothing was counted. total_us: the exact sum.
    """

    counts: list[int] = field(default_factory=list)
    total_us: int = 0

    @property
    def n(self) -> int:
        """The number of times."""
        return sum(self.counts)

    def __add__(self, other: Buckets) -> Buckets:
        return Buckets(_each(operator.add, self.counts, other.counts), self.total_us + other.total_us)

    def at_least(self, other: Buckets) -> Buckets:
        """Return the larger of both in each bucket: what never falls."""
        return Buckets(_each(max, self.counts, other.counts), max(self.total_us, other.total_us))


@dataclass(frozen=True, slots=True)
class LiveCounts:
    """The requests of the window so far, as they will count in the result, and the rows of the log.

    ok: the service times of the successful answers. response: response times, where the generator logs due times. failed:
    those that have a row; requests that never ended are known only when the load is over. rows: of the log, warm-up and
    tail included.
    """

    ok: Buckets = field(default_factory=Buckets)
    http_error: int = 0
    failed: int = 0
    response: Buckets = field(default_factory=Buckets)
    rows: int = 0

    def __add__(self, other: LiveCounts) -> LiveCounts:
        return LiveCounts(
            self.ok + other.ok,
            self.http_error + other.http_error,
            self.failed + other.failed,
            self.response + other.response,
            self.rows + other.rows,
        )

    def at_least(self, other: LiveCounts) -> LiveCounts:
        """Return the larger of each count: what never falls."""
        return LiveCounts(
            self.ok.at_least(other.ok),
            max(self.http_error, other.http_error),
            max(self.failed, other.failed),
            self.response.at_least(other.response),
            max(self.rows, other.rows),
        )


def _each(function: Callable[[int, int], int], one: list[int], other: list[int]) -> list[int]:
    """Combine counts one by one; no counts at all are as many zeros."""
    if not one or not other:
        return one or other
    return [function(a, b) for a, b in zip(one, other, strict=True)]


def buckets_of(h: HdrCounts | None) -> Buckets:
    """Return the times of a histogram by bucket. A counter belongs to the bucket of its lowest value."""
    import numpy as np

    if h is None:
        return Buckets()
    counts = np.add.reduceat(h.counts, _starts()).tolist()
    counts[-1] += h.overflow
    return Buckets(counts, h.total_us) if any(counts) else Buckets()


@functools.cache
def _starts() -> Ints:
    """Return the first counter of each bucket, shape (len(BOUNDS_US) + 1,)."""
    import numpy as np

    from agents.histogram import index_of

    # A counter that holds a bound holds values up to 0.1 % above it: it counts as below, all of it.
    last = index_of(np.floor(np.array(BOUNDS_US)).astype(np.int64))
    return np.concatenate([np.zeros(1, dtype=np.int64), last + 1])


def counted(recorder: Recorder) -> LiveCounts:
    """Return what a recorder has counted. Call it from the thread that adds rows."""
    from agents.recorder import HTTP_ERROR, OK, STREAM_FAILED

    service, tally = recorder.service, recorder.tally
    return LiveCounts(
        ok=buckets_of(service[OK]),
        http_error=_n(service[HTTP_ERROR]),
        failed=_n(service[STREAM_FAILED]) + tally.never_sent + tally.boundary,
        response=buckets_of(recorder.response),
        rows=tally.rows,
    )


def _n(h: HdrCounts) -> int:
    return int(h.counts.sum()) + h.overflow
