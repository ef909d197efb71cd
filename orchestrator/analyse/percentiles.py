"""Percentiles as they are shown, and as objectives are judged by them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.histogram import HIGHEST_US, HdrCounts, index_of, rank_of
from orchestrator.facts import Case
from orchestrator.result import QUANTILES, Requests, Times
from orchestrator.slo import Metric


@dataclass(frozen=True, slots=True)
class Judged:
    """What objectives are judged by: fields of Metrics, those of the times without 'objective' in their names."""

    time_us: Times
    service_time_us: Times
    first_byte_us: Times
    beyond: list[str]
    slower: dict[int, int]
    first_byte_slower: dict[int, int]


def judged(
    case: Case,
    requests: Requests,
    service: HdrCounts,
    response: HdrCounts | None,
    unanswered: HdrCounts | None,
    first_byte: HdrCounts,
) -> Judged:
    """Return what objectives are judged by, of all requests or of one of the mix.

    The first byte is judged only where that of every successful answer is known.
    """
    answered = successes(service, response, unanswered)
    time_us, beyond = objective_times(answered, requests)
    with_first_byte = first_byte.n > 0 and first_byte.n == service.n
    limits_us = case.time_limits_us
    return Judged(
        time_us,
        {} if response is None else objective_times(service, requests)[0],
        objective_times(first_byte, requests)[0] if with_first_byte else {},
        beyond,
        {limit_us: at_least(answered, limit_us) for limit_us in limits_us},
        {limit_us: at_least(first_byte, limit_us) for limit_us in limits_us} if with_first_byte else {},
    )


def successes(service: HdrCounts, response: HdrCounts | None, unanswered: HdrCounts | None) -> HdrCounts:
    """Return the times of the successful answers: response time in the open loop, service time in the closed loop."""
    if response is None:
        return service
    return response if unanswered is None else response.without(unanswered)


def objective_times(answered: HdrCounts, requests: Requests) -> tuple[Times, list[str]]:
    """Return the percentiles that objectives are judged by, in µs, and the names of those that have no value.

    A request without a successful answer counts as slower than any limit, so that failing fast never makes a percentile
    better. A percentile that falls on such a request has no value: no limit is met. None: withheld, as in times().
    """
    total = answered.n + requests.unsuccessful
    values: Times = {}
    beyond: list[str] = []
    for name, q in QUANTILES.items():
        rank = rank_of(q, total)
        values[name] = None
        if total and rank > answered.n:
            beyond.append(name)
        elif total * (1 - q) >= 10 - 1e-9:
            values[name] = float(answered.value_at(rank))
    values[Metric.MAX] = float(answered.maximum_us) if answered.n else None
    values[Metric.MEAN] = answered.mean_us() if answered.n else None
    if requests.unsuccessful:
        beyond.append(Metric.MAX)
    return values, beyond


def at_least(h: HdrCounts, limit_us: int) -> int:
    """Return how many values do not meet a limit: those of which a percentile, as value_at() gives it, is not below it."""
    if h.n == 0 or h.maximum_us < limit_us:
        return 0
    if limit_us > HIGHEST_US:
        return h.overflow
    first = int(index_of(np.array([limit_us], dtype=np.int64))[0])
    return int(h.counts[first:].sum()) + h.overflow


def times(h: HdrCounts) -> Times:
    """Return percentiles with at least 10/(1-q) requests behind them, exact maximum and mean; µs."""
    n = h.n
    values: Times = {}
    for name, q in QUANTILES.items():
        shown = shown_quantile(h, q)
        values[str(name)] = None if shown is None else float(shown)
    values[Metric.MAX] = float(h.maximum_us) if n else None
    values[Metric.MEAN] = h.mean_us() if n else None
    return values


def shown_quantile(h: HdrCounts, q: float) -> int | None:
    """Return a quantile in µs; None with fewer than 10/(1-q) requests behind it."""
    return h.quantile_us(q) if h.n * (1 - q) >= 10 - 1e-9 else None
