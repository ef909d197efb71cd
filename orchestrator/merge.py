"""Merge the counters of a trial's agents by addition. Percentiles are computed once, from the merged counters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from agents.histogram import HdrCounts
from agents.mix import RequestCounts, plus
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

    unanswered: the part of response that is of requests without an answer. first_byte, received_bytes, mix: as in
    AgentResult. parts: one for each agent.
    """

    service: dict[str, HdrCounts] = field(default_factory=lambda: {name: HdrCounts() for name in CLASSES})
    series: dict[str, Series] = field(default_factory=lambda: {name: Series() for name in CLASSES})
    response: HdrCounts | None = None
    lag: HdrCounts | None = None
    unanswered: HdrCounts | None = None
    first_byte: HdrCounts = field(default_factory=HdrCounts)
    received_bytes: int | None = None
    mix: dict[int, RequestCounts] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)

    def add(self, result: AgentResult) -> None:
        """Add the counters of one agent."""
        for name in CLASSES:
            self.service[name] += result.service[name]
            self.series[name] += result.series[name]
        self.response = plus(self.response, result.response)
        self.lag = plus(self.lag, result.lag)
        self.unanswered = plus(self.unanswered, result.unanswered)
        self.first_byte += result.first_byte
        if result.received_bytes is not None:
            self.received_bytes = (self.received_bytes or 0) + result.received_bytes
        for number, own in result.mix.items():
            total = self.mix.setdefault(number, RequestCounts())
            total += own
        self.parts.append(Part(result.facts, result.service[OK]))


def merge(results: Iterable[AgentResult]) -> Merged:
    """Return the sum of all results; without results, empty counters. Each is needed only until it was added."""
    merged = Merged()
    for result in results:
        merged.add(result)
    return merged
