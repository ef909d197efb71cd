"""Merge the counters of a trial's agents by addition. Percentiles are computed once, from the merged counters."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from operator import add

from agents.histogram import HdrCounts
from agents.recorder import CLASSES
from agents.series import Series
from agents.wire import AgentResult


@dataclass(slots=True)
class Merged:
    """The counters of a trial: service times by class, the same per second, and response time and send lag (open loop).

    unanswered: the part of response that is of requests without an answer.
    """

    service: dict[str, HdrCounts] = field(default_factory=lambda: {name: HdrCounts() for name in CLASSES})
    series: dict[str, Series] = field(default_factory=lambda: {name: Series() for name in CLASSES})
    response: HdrCounts | None = None
    lag: HdrCounts | None = None
    unanswered: HdrCounts | None = None


def merge(results: list[AgentResult]) -> Merged:
    """Return the sum of all results; without results, empty counters."""
    responses = [r.response for r in results if r.response is not None]
    unanswered = [r.unanswered for r in results if r.unanswered is not None]
    lags = [r.lag for r in results if r.lag is not None]
    return Merged(
        service={name: reduce(add, (r.service[name] for r in results), HdrCounts()) for name in CLASSES},
        series={name: reduce(add, (r.series[name] for r in results), Series()) for name in CLASSES},
        response=reduce(add, responses) if responses else None,
        lag=reduce(add, lags) if lags else None,
        unanswered=reduce(add, unanswered) if unanswered else None,
    )
