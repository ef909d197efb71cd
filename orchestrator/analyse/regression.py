"""Limits for a comparison, such as 'throughput<-5%, p99>10%, errors>0.1%'.

What counts as a regression. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analyse.statistics import CONFIDENCE
from orchestrator.result import ComparedMetric, Comparison, Conclusion, Gate, GateState, Interval, Time
from orchestrator.slo import NAMED_TIME, Metric, TimeName, shown

EXAMPLE = "throughput<-5%, p99>10%, errors>0.1%"
# As of shares elsewhere.
MOST_SHARE = 1000
_TERM = re.compile(rf"^\s*{NAMED_TIME}([a-z0-9.]+)\s*([<>])\s*([+-]?\d+(?:\.\d+)?)\s*%\s*$")
_TIMES = {TimeName.SERVICE: Time.SERVICE, TimeName.RESPONSE: Time.RESPONSE}
# The names that people write.
METRICS = tuple(dict.fromkeys(each.metric for each in ComparedMetric))


@dataclass(frozen=True, slots=True)
class Limit:
    """A change of a metric, below or above a share, that is a regression. text: as written.

    metrics: the first of them that a case has is the one that is limited.
    """

    text: str
    metrics: tuple[ComparedMetric, ...]
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
        raise ValueError(f"{shown(text.strip())} is not a limit: write it as '{EXAMPLE}'")
    name, share = match[2].replace("p99.9", "p999"), float(match[4]) / 100
    if name not in METRICS:
        raise ValueError(f"unknown metric {shown(match[2])}: use {', '.join(metric.label for metric in METRICS)}")
    metrics = _metrics(Metric(name), None if match[1] is None else TimeName(match[1]))
    if not metrics:
        raise ValueError(f"{shown(text.strip())} is not a limit: {name} has no {match[1]} time; omit '{match[1]}'")
    if abs(share) > MOST_SHARE:
        raise ValueError(f"{shown(text.strip())} is out of range: write a percentage up to {MOST_SHARE * 100:.0f}%")
    if (match[3] == "<") is (share > 0) and share:
        raise ValueError(f"{shown(text.strip())} would fail without any change: write it as '{EXAMPLE}'")
    return Limit(text.strip(), metrics, match[3] == "<", share)


def _metrics(metric: Metric, named: TimeName | None) -> tuple[ComparedMetric, ...]:
    """Return what is compared under a name; response time comes before service time."""
    own = [each for each in ComparedMetric if each.metric is metric]
    if named is not None:
        return tuple(each for each in own if each.time is _TIMES[named])
    return tuple(sorted(own, key=lambda each: each.time is not Time.RESPONSE))


def wanted_metrics(asked: Sequence[Limit]) -> set[ComparedMetric]:
    """Return what must be compared for these limits, beside what always is."""
    return {metric for limit in asked for metric in limit.metrics}


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


def _chosen(comparisons: Sequence[Comparison], target: str, load: str, limit: Limit) -> Comparison | None:
    by_metric = {c.metric: c for c in comparisons if (c.target, c.load) == (target, load)}
    return next((by_metric[metric] for metric in limit.metrics if metric in by_metric), None)


def _gate(case: str, comparison: Comparison | None, limit: Limit) -> Gate:
    if comparison is None:
        return Gate(case, limit.text, GateState.NOT_JUDGED, None, "a closed loop has no response time")
    if comparison.conclusion is Conclusion.INCOMPARABLE:
        return Gate(case, limit.text, GateState.NOT_JUDGED, None, comparison.reason)
    found = change_of(comparison)
    return Gate(case, limit.text, _state(comparison, limit, found.estimate), found.estimate, comparison.reason, found)


def _state(comparison: Comparison, limit: Limit, change: float) -> GateState:
    if not limit.beyond(change):
        return GateState.PASSED
    significant = comparison.p_holm is not None and comparison.p_holm < 1 - CONFIDENCE
    if significant and comparison.conclusion is not Conclusion.DIFFERS_HERE:
        return GateState.FAILED
    return GateState.UNDECIDED


def change_of(comparison: Comparison) -> Interval:
    """Return the change of a metric with its interval, as shares; without an error on either side there is none."""
    ratio = comparison.ratio
    if ratio is None:
        return comparison.difference or Interval(0.0, None, None)
    low, high = (None if bound is None else bound - 1 for bound in (ratio.low, ratio.high))
    return Interval(ratio.estimate - 1, low, high)
