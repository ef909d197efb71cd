"""The open model's schedule: when each request was due, rebuilt from the log; response time and send lag from it.

h2load fires C connections, each at R/C requests per second, staggered so that together they are due every 1/R s. The log
does not say which connection a row belongs to, so sorted starts are matched by rank with the sorted due times. For one
connection this is exact; for several the mean is exact and the tail of the lag a lower bound, because matching in order
minimises the spread.

The due times repeat with the period C/R once all connections are up. Each of the C slots of a period is anchored at its
earliest start over the whole run, since h2load never fires early: so a connection that came up late by a timer's tick is
not a request that was late.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.histogram import HdrCounts, Ints

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
    """One agent's open-model result over the requests *due* inside the window.

    response and lag are in µs. missing: due inside the window and never logged; each is in `response` at the time it had
    been waiting when the observation ended, a lower bound. lower_bound: connections were busy when requests were due, so
    that the rank matching understates the tail.
    """

    response: HdrCounts
    lag: HdrCounts
    due: int
    missing: int
    late: int
    lower_bound: bool


def due_times_us(starts_us: Ints, load: OpenLoad, until_us: int) -> Ints:
    """Rebuild the due times from sorted starts (µs, shape (n,)): shape (m,), m >= n, up to `until_us`.

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
    start_us: Ints, service_us: Ints, load: OpenLoad, window: tuple[int, int], observed_until_us: int
) -> Scheduled:
    """Match rows with due times and give response time and lag of those due in `window`, [start, end) in µs.

    start_us and service_us are all rows of the run that were sent, in any order, shape (n,); `observed_until_us` is when
    the last request could still have been seen.
    """
    order = np.argsort(start_us, kind="stable")
    start, service = start_us[order], service_us[order]
    due = due_times_us(start, load, max(window[1], int(start[-1]) + 1))
    lag = np.maximum(start - due[: start.size], 0)
    inside = (due >= window[0]) & (due < window[1])
    seen = inside[: start.size]
    response, lags = HdrCounts(), HdrCounts()
    response.record(lag[seen] + service[seen])
    lags.record(lag[seen])
    waiting = np.maximum(observed_until_us - due[start.size :][inside[start.size :]], 0)
    response.record(waiting)
    late = int((lag[seen] > 2 * TICK_US).sum()) + int(waiting.size)
    total = int(inside.sum())
    return Scheduled(
        response=response,
        lag=lags,
        due=total,
        missing=int(waiting.size),
        late=late,
        lower_bound=load.connections > 1 and late > LATE_SHARE * max(total, 1),
    )
