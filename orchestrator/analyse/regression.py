"""Limits for a comparison, such as 'throughput<-5%, p99>10%, errors>0.1%'.

What counts as a regression. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analyse.statistics import CONFIDENCE
from orchestrator.result import ComparedMetric, Comparison, Conclusion, Gate, GateState

EXAMPLE = "throughput<-5%, p99>10%, errors>0.1%"
_TERM = re.compile(r"^\s*([a-z0-9]+)\s*([<>])\s*([+-]?\d+(?:\.\d+)?)\s*%\s*$")
# The compared metrics by the name that people write; response time comes before service time.
_METRICS = {
    "throughput": (ComparedMetric.THROUGHPUT,),
    "p50": (ComparedMetric.SERVICE_P50,),
    "p99": (ComparedMetric.RESPONSE_P99, ComparedMetric.SERVICE_P99),
    "errors": (ComparedMetric.ERRORS,),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """A change of a metric, below or above a share, that is a regression. text: as written."""

    text: str
    metric: str
    below: bool
    share: float

    def beyond(self, change: float) -> bool:
        """Return whether a change exceeds the limit."""
        return change < self.share if self.below else change > self.share


def limits(text: str) -> list[Limit]:
    """Return the comma-separated limits. Raise ValueError if one cannot be read."""
    return [_limit(part) for part in text.split(",")]


def _limit(text: str) -> Limit:
    match = _TERM.match(text)
    if not match:
        raise ValueError(f"{text.strip()!r} is not a limit: write it as '{EXAMPLE}'")
    if match[1] not in _METRICS:
        raise ValueError(f"unknown metric {match[1]!r}; use {', '.join(_METRICS)}")
    share = float(match[3]) / 100
    if (match[2] == "<") is (share > 0) and share:
        raise ValueError(f"{text.strip()!r} would fail without any change: write it as '{EXAMPLE}'")
    return Limit(text.strip(), match[1], match[2] == "<", share)


def gates(comparisons: Sequence[Comparison], wanted: Sequence[Limit]) -> list[Gate]:
    """Check comparisons against limits, case by case.

    FAILED: the estimate exceeds the limit, and the difference is significant over the metrics of
    its case. UNDECIDED: it exceeds the limit, but that may be noise, or two runs of one server may
    differ as much. change: of the ratio; for errors the difference in shares of all requests.
    """
    cases = dict.fromkeys((c.target, c.load) for c in comparisons)
    return [
        _gate(f"{target}/{load}", _chosen(comparisons, target, load, limit), limit)
        for target, load in cases
        for limit in wanted
    ]


def _chosen(comparisons: Sequence[Comparison], target: str, load: str, limit: Limit) -> Comparison:
    by_metric = {c.metric: c for c in comparisons if (c.target, c.load) == (target, load)}
    return next(by_metric[name] for name in _METRICS[limit.metric] if name in by_metric)


def _gate(case: str, comparison: Comparison, limit: Limit) -> Gate:
    if comparison.conclusion is Conclusion.INCOMPARABLE:
        return Gate(case, limit.text, GateState.NOT_COMPARED, None, comparison.reason)
    change = 0.0
    if comparison.ratio is not None:
        change = comparison.ratio.estimate - 1
    elif comparison.difference is not None:
        change = comparison.difference.estimate
    if not limit.beyond(change):
        return Gate(case, limit.text, GateState.PASSED, change, comparison.reason)
    significant = comparison.p_holm is not None and comparison.p_holm < 1 - CONFIDENCE
    significant = significant and comparison.conclusion is not Conclusion.DIFFERS_HERE
    return Gate(case, limit.text, GateState.FAILED if significant else GateState.UNDECIDED, change, comparison.reason)
