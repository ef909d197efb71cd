"""The results of all load hosts, on the coordinator's clock."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agents.records import AgentFacts
from orchestrator.redact import cleaned

if TYPE_CHECKING:
    from agents.wire import AgentResult


@dataclass(frozen=True, slots=True)
class OnOurClock:
    """A collection of results whose instants are converted while they are read, and whose texts are cleaned.

    of_hosts: the results of each host, and how far its clock is ahead of ours, in µs. without: agents that are left out.
    """

    of_hosts: Sequence[tuple[Collection[AgentResult], int]]
    without: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[AgentResult]:
        """Return the results host by host."""
        for results, offset_us in self.of_hosts:
            for result in (each for each in results if each.facts.agent not in self.without):
                yield replace(result, facts=cleaned(_on_our_clock(result.facts, offset_us)))

    def __len__(self) -> int:
        """Return the number of agents."""
        return sum(len(results) for results, _ in self.of_hosts) - len(self.without)

    def __contains__(self, item: object) -> bool:
        """Compare with each result."""
        return any(result == item for result in self)


def _on_our_clock(facts: AgentFacts, offset_us: int) -> AgentFacts:
    if not facts.first_start_us:
        return facts
    return replace(
        facts,
        first_start_us=facts.first_start_us - offset_us,
        last_end_us=facts.last_end_us - offset_us,
        first_due_us=facts.first_due_us - offset_us if facts.first_due_us else 0,
    )
