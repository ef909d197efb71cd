"""How requests left compared with their schedule: late, early, in bursts, off the schedule. In bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agents.histogram import Ints

BIN_US = 1_000
# Requests of two minutes can be under way at once before one is too old for its bin.
_BINS = 1 << 17
# A send this late distorts the arrivals of any load; a slow load allows half the gap between two requests.
LATE_US = 1_000
LATE_OF_GAP = 0.5
# Timers wake a little early and clocks are read one after the other.
EARLY_US = 500


@dataclass(frozen=True, slots=True)
class Schedule:
    """One agent's part of an open loop. first_due_us: its first due time after T0; stream_rate_per_s: over all agents.

    t0_us: T0 on the load host's wall clock.
    """

    rate_per_s: float
    stream_rate_per_s: float
    even: bool
    t0_us: int
    first_due_us: float

    @property
    def late_us(self) -> int:
        """Return the send lag above which a request counts as late."""
        return max(LATE_US, round(LATE_OF_GAP * 1e6 / self.stream_rate_per_s))


@dataclass(slots=True)
class Arrivals:
    """Counts over the requests that were due in the window. Lags and bursts are of those that were sent.

    largest_burst, largest_due: the most requests sent, and due, in one millisecond. off_schedule: due times that are not on
    the even schedule of the task.
    """

    due: int = 0
    sent: int = 0
    late: int = 0
    early: int = 0
    off_schedule: int = 0
    largest_burst: int = 0
    largest_due: int = 0


class ArrivalCheck:
    """Adds requests, in chunks of any size and order, to the counts."""

    def __init__(self, schedule: Schedule) -> None:
        self.counts = Arrivals()
        self._schedule = schedule
        self._base = 0
        self._starts = np.zeros(_BINS, dtype=np.int64)
        self._dues = np.zeros(_BINS, dtype=np.int64)

    def add(self, due_us: Ints, start_us: Ints) -> None:
        """Add requests that were due in the window; start_us 0: never sent. Both of shape (n,)."""
        counts, schedule = self.counts, self._schedule
        counts.due += int(due_us.size)
        sent = start_us > 0
        lag_us = start_us[sent] - due_us[sent]
        counts.sent += int(lag_us.size)
        counts.late += int((lag_us > schedule.late_us).sum())
        counts.early += int((lag_us < -EARLY_US).sum())
        if schedule.even:
            turn = (due_us - schedule.t0_us - schedule.first_due_us) * schedule.rate_per_s / 1e6
            off_us = np.abs(turn - np.round(turn)) * 1e6 / schedule.rate_per_s
            counts.off_schedule += int((off_us > LATE_US).sum())
        self._count(self._starts, start_us[sent])
        self._count(self._dues, due_us)

    def _count(self, bins: npt.NDArray[np.int64], instants_us: Ints) -> None:
        if instants_us.size == 0:
            return
        k = (instants_us - self._schedule.t0_us) // BIN_US
        if (beyond := int(k.max()) - self._base - _BINS + 1) > 0:
            self._forget(beyond + _BINS // 4)
        k = k[k >= self._base] - self._base
        if k.size:
            lowest = int(k.min())
            counted = np.bincount(k - lowest)
            bins[lowest : lowest + counted.size] += counted

    def _forget(self, oldest: int) -> None:
        """Take the oldest bins into the counts and make room for as many new ones."""
        self.close()
        keep = max(0, _BINS - oldest)
        for bins in (self._starts, self._dues):
            bins[:keep] = bins[_BINS - keep :].copy() if keep else 0
            bins[keep:] = 0
        self._base += oldest

    @property
    def late_us(self) -> int:
        """Return the send lag above which a request counts as late."""
        return self._schedule.late_us

    def close(self) -> Arrivals:
        """Take the bins into the counts and return those. Can be called more than once."""
        self.counts.largest_burst = max(self.counts.largest_burst, int(self._starts.max()))
        self.counts.largest_due = max(self.counts.largest_due, int(self._dues.max()))
        return self.counts
