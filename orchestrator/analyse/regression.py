"""What a comparison must not show: 'throughput<-5%, p99>10%, errors>0.1%'. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analyse.compare import ERRORS
from orchestrator.analyse.statistics import CONFIDENCE
from orchestrator.result import FAILED, NOT_COMPARED, PASSED, UNDECIDED, Comparison, Gate

EXAMPLE = "throughput<-5%, p99>10%, errors>0.1%"
_TERM = re.compile(r"^\s*([a-z0-9]+)\s*([<>])\s*([+-]?\d+(?:\.\d+)?)\s*%\s*$")
# By the name that people write: the comparison's metric, response time before service time.
_METRICS = {
    "throughput": ("throughput_per_s",),
    "p50": ("service_time_p50_us",),
    "p99": ("response_time_p99_us", "service_time_p99_us"),
    "errors": (ERRORS,),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """A change that is a regression: of a metric, below or above a share. text: as it was written."""

    text: str
    metric: str
    below: bool
    share: float

    def beyond(self, change: float) -> bool:
        """Say whether a change is beyond it."""
        return change < self.share if self.below else change > self.share


def limits(text: str) -> list[Limit]:
    """Read limits separated by commas. Raises ValueError."""
    return [_limit(part) for part in text.split(",")]


def _limit(text: str) -> Limit:
    match = _TERM.match(text)
    if not match:
        raise ValueError(f"{text.strip()!r} is no limit: write it as '{EXAMPLE}'")
    if match[1] not in _METRICS:
        raise ValueError(f"{match[1]!r} is not compared; there are {', '.join(_METRICS)}")
    share = float(match[3]) / 100
    if (match[2] == "<") is (share > 0) and share:
        raise ValueError(f"{text.strip()!r} would fail without any change: write it as '{EXAMPLE}'")
    return Limit(text.strip(), match[1], match[2] == "<", share)


def gates(comparisons: Sequence[Comparison], asked: Sequence[Limit]) -> list[Gate]:
    """Hold comparisons against limits, case by case.

    Failed: the estimate is beyond the limit, and the difference is significant over the metrics of its case. Undecided: it
    is beyond, and that may be noise. Change: of the ratio, or the difference in shares of all requests for errors.
    """
    cases = dict.fromkeys((c.target, c.load) for c in comparisons)
    return [
        _gate(f"{target}/{load}", _chosen(comparisons, target, load, limit), limit)
        for target, load in cases
        for limit in asked
    ]


def _chosen(comparisons: Sequence[Comparison], target: str, load: str, limit: Limit) -> Comparison:
    found = {c.metric: c for c in comparisons if (c.target, c.load) == (target, load)}
    return next(found[name] for name in _METRICS[limit.metric] if name in found)


def _gate(case: str, found: Comparison, limit: Limit) -> Gate:
    if found.conclusion == "incomparable":
        return Gate(case, limit.text, NOT_COMPARED, None, found.reason)
    change = 0.0
    if found.ratio is not None:
        change = found.ratio.estimate - 1
    elif found.difference is not None:
        change = found.difference.estimate
    if not limit.beyond(change):
        return Gate(case, limit.text, PASSED, change, found.reason)
    significant = found.p_holm is not None and found.p_holm < 1 - CONFIDENCE
    return Gate(case, limit.text, FAILED if significant else UNDECIDED, change, found.reason)
