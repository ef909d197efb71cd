"""An open loop by h2load: when each request was due, rebuilt from the log; response time and send lag from it.

h2load paces C connections, each at R/C requests per second, staggered so that together they are due every 1/R s. The log
does not say which connection a row belongs to, so sorted starts are matched by rank with the sorted due times. For one
connection this is exact; for several the mean is exact and the tail of the lag a lower bound, because matching in order
minimises the spread.

The due times repeat with the period C/R once all connections are up. Each of the C slots of a period is anchored at its
earliest start over the whole run, since h2load never sends early: so a connection that came up late by a timer's tick is
not a request that was late.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.arrivals import BIN_US, LATE_OF_GAP, LATE_US
from agents.histogram import HdrCounts, Ints
from agents.recorder import Window
from agents.rows import Rows
from agents.success import Success

# h2load's --rps timer ticks no finer than this; a lag up to it is the generator's own granularity.
TICK_US = 10_000
# Above this share of requests later than two ticks, connections were busy when they were due.
LATE_SHARE = 0.001


@dataclass(frozen=True, slots=True)
class OpenLoad:
    """What one agent was told to send: `connections` times `rate_per_s / connections`."""

    rate_per_s: float
    connections: int


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One agent's open loop over the requests *due* inside the window.

    response, unanswered and lag are in µs. response is of the successful answers, and of what was due and never logged, at
    its age; unanswered is of the latter alone.
    missing: due inside the window and never logged. waited: those, and the requests that were later than h2load's timer
    explains: no slot was free. lower_bound: connections were busy when requests were due, so that the
    rank matching understates the tail. uneven: requests sent further than late_us from an even schedule, what h2load's timer
    does included; largest_burst: the most sent within one millisecond.
    """

    response: HdrCounts
    unanswered: HdrCounts
    lag: HdrCounts
    due: int
    missing: int
    waited: int
    lower_bound: bool
    uneven: int
    late_us: int
    largest_burst: int


def due_times_us(starts_us: Ints, load: OpenLoad, until_us: int) -> Ints:
    """Return the due times rebuilt from sorted starts (µs, shape (n,)): shape (m,), m >= n, up to `until_us`.

    Raises ValueError when there is no start to anchor the schedule at.
    """
    if starts_us.size == 0:
        raise ValueError("no request was sent: there is no schedule to rebuild")
    slots = load.connections
    gap_us = 1e6 / load.rate_per_s
    period_us = slots * gap_us
    # Ranks below `slots` are the first request of each connection: they are when that connection came up.
    count = max(starts_us.size, int((until_us - int(starts_us[0])) / gap_us) + slots + 1)
    rank = np.arange(starts_us.size, dtype=np.int64)
    turn, slot = np.divmod(rank, slots)
    relative = (starts_us - starts_us[0]) - turn * period_us
    anchor = np.full(slots, np.inf)
    np.minimum.at(anchor, slot, relative)
    # A slot that never fired is due where its neighbours say.
    unseen = ~np.isfinite(anchor)
    anchor[unseen] = np.arange(slots)[unseen] * gap_us
    every = np.arange(count, dtype=np.int64)
    turn, slot = np.divmod(every, slots)
    due = starts_us[0] + np.floor(anchor[slot] + turn * period_us).astype(np.int64)
    due.sort()
    keep = (due < until_us) | (every < starts_us.size)
    kept: Ints = due[keep]
    return kept


def reconstruct(
    rows: Rows, load: OpenLoad, window: tuple[int, int], observed_until_us: int, success: Success | None = None
) -> Scheduled:
    """Match rows with due times and return response time and lag of those due in `window`, [start, end) in µs.

    rows: all rows of the run that were sent, in any order; `observed_until_us` is when the last request could still have
    been seen. success: which answers are successes.
    """
    order = np.argsort(rows.start_us, kind="stable")
    start, service = rows.start_us[order], rows.service_us[order]
    due = due_times_us(start, load, max(window[1], int(start[-1]) + 1))
    lag = np.maximum(start - due[: start.size], 0)
    inside = (due >= window[0]) & (due < window[1])
    seen = inside[: start.size]
    answered = seen & (success or Success()).of(rows)[order]
    response, unanswered, lags = HdrCounts(), HdrCounts(), HdrCounts()
    response.record(lag[answered] + service[answered])
    lags.record(lag[seen])
    waiting = np.maximum(observed_until_us - due[start.size :][inside[start.size :]], 0)
    response.record(waiting)
    unanswered.record(waiting)
    late = int((lag[seen] > 2 * TICK_US).sum()) + int(waiting.size)
    total = int(inside.sum())
    late_us = max(LATE_US, round(LATE_OF_GAP * 1e6 / load.rate_per_s))
    return Scheduled(
        response=response,
        unanswered=unanswered,
        lag=lags,
        due=total,
        missing=int(waiting.size),
        waited=late,
        lower_bound=load.connections > 1 and late > LATE_SHARE * max(total, 1),
        uneven=uneven(start[seen], load.rate_per_s, late_us),
        late_us=late_us,
        largest_burst=largest_burst(start[seen]),
    )


def uneven(starts_us: Ints, rate_per_s: float, late_us: int) -> int:
    """Return how many of sorted starts, shape (n,), lie further than late_us from the even schedule that fits them best."""
    if starts_us.size < 2:
        return 0
    off_us = starts_us - starts_us[0] - np.arange(starts_us.size) * 1e6 / rate_per_s
    return int((np.abs(off_us - np.median(off_us)) > late_us).sum())


def largest_burst(starts_us: Ints) -> int:
    """Return the most of sorted starts, shape (n,), that lie in one millisecond."""
    if starts_us.size == 0:
        return 0
    return int(np.unique((starts_us - starts_us[0]) // BIN_US, return_counts=True)[1].max())


class RebuiltSchedule:
    """Keeps every row of an open loop by h2load, since its schedule can only be rebuilt from all of them: 24 bytes each."""

    def __init__(self, load: OpenLoad, window: Window, success: Success | None = None) -> None:
        self._load, self._window, self._success = load, window, success
        self._chunks: list[Rows] = []

    def add(self, rows: Rows) -> None:
        """Add parsed rows; those that were never sent have no start."""
        self._chunks.append(rows.where(rows.start_us > 0))

    def result(self, last_end_us: int) -> Scheduled | None:
        """Return the schedule over the window; None without any row. last_end_us: when the last request ended."""
        window = self._window
        if window.end_us is None or not sum(len(rows) for rows in self._chunks):
            return None
        rows = Rows(
            np.concatenate([rows.start_us for rows in self._chunks]),
            np.concatenate([rows.status for rows in self._chunks]),
            np.concatenate([rows.service_us for rows in self._chunks]),
        )
        until_us = max(last_end_us, window.end_us)
        return reconstruct(rows, self._load, (window.start_us, window.end_us), until_us, self._success)
