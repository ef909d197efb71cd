"""Merge the counters of a trial's agents by addition. Percentiles are computed once, from the merged counters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from agents.histogram import HdrCounts
from agents.recorder import CLASSES, OK
from agents.records import AgentFacts
from agents.series import Series
from agents.wire import AgentResult


@dataclass(frozen=True, slots=True)
class Part:
    """What is kept of one agent beside the sum: its facts, and the service times of its successful answers."""

    facts: AgentFacts
    ok: HdrCounts


@dataclass(slots=True)
class Merged:
    """The counters of a trial: service times by class, the same per second, and response time and send lag (open loop).

    unanswered: the part of response that is of requests without an answer. parts: one for each agent.
    """

    service: dict[str, HdrCounts] = field(default_factory=lambda: {name: HdrCounts() for name in CLASSES})
    series: dict[str, Series] = field(default_factory=lambda: {name: Series() for name in CLASSES})
    response: HdrCounts | None = None
    lag: HdrCounts | None = None
    unanswered: HdrCounts | None = None
    parts: list[Part] = field(default_factory=list)

    def add(self, result: AgentResult) -> None:
        """Add the counters of one agent."""
        for name in CLASSES:
            self.service[name] += result.service[name]
            self.series[name] += result.series[name]
        self.response = _plus(self.response, result.response)
        self.lag = _plus(self.lag, result.lag)
        self.unanswered = _plus(self.unanswered, result.unanswered)
        self.parts.append(Part(result.facts, result.service[OK]))


def merge(results: Iterable[AgentResult]) -> Merged:
    """Return the sum of all results; without results, empty counters. Each is needed only until it was added."""
    merged = Merged()
    for result in results:
        merged.add(result)
    return merged


def _plus(total: HdrCounts | None, part: HdrCounts | None) -> HdrCounts | None:
    if part is None:
        return total
    total = HdrCounts() if total is None else total
    total += part
    return total
