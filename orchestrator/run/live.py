"""Live figures of a load, merged over all agents: rates, percentiles of the last seconds, CPU of each host. No host here."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agents.live import AgentCounts, merged, quantile_us, since
from orchestrator.facts import Case

if TYPE_CHECKING:
    from agents.load_host import Progress

# Percentiles are of this long. A second alone has too few requests for a p99 at most rates.
RECENT_S = 10.0
# An agent whose log was not read for so long has ended, or hangs: it counts as sending nothing.
SILENT_S = 3.5
APART_S = 0.5
QUANTILES = {"p50_us": 0.5, "p99_us": 0.99}
_NONE = AgentCounts(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Figures:
    """One look at a load. rates: per second, over the last second or so; percentiles: None with too few requests.

    response: times count from when a request was due. busy: by host, the share of its cores' time that was used.
    """

    rows: int
    answered_per_s: float
    failed_per_s: float
    p50_us: float | None = None
    p99_us: float | None = None
    response: bool = False
    busy: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Agent:
    counts: AgentCounts = _NONE
    answered_per_s: float = 0.0
    failed_per_s: float = 0.0
    changed_s: float = 0.0


class LiveMeter:
    """Turns the counts of one load, as its hosts report them about once a second, into figures."""

    def __init__(self) -> None:
        self._agents: dict[str, _Agent] = {}
        # Counters since T0, by when they were read.
        self._times: deque[tuple[float, dict[int, int]]] = deque([(0.0, {})])

    def figures(self, at_s: float, hosts: Mapping[str, Progress], busy: Mapping[str, float | None]) -> Figures:
        """Return the figures at_s after T0. hosts: by host, how far its agents are; busy: of server hosts."""
        for progress in hosts.values():
            for name, counts in progress.counts.items():
                self._take_in(self._agents.setdefault(name, _Agent()), counts, at_s)
        active = [agent for agent in self._agents.values() if at_s - agent.changed_s <= SILENT_S]
        times = [progress.times for progress in hosts.values() if progress.times is not None]
        recent = self._recent(at_s, merged(each.counts for each in times))
        shares = {name: progress.busy_share for name, progress in hosts.items()} | {**busy}
        return Figures(
            rows=sum(sum(progress.rows.values()) for progress in hosts.values()),
            answered_per_s=sum(agent.answered_per_s for agent in active),
            failed_per_s=sum(agent.failed_per_s for agent in active),
            response=any(each.response for each in times),
            busy={name: share for name, share in shares.items() if share is not None},
            **{name: quantile_us(recent, quantile) for name, quantile in QUANTILES.items()},
        )

    def _take_in(self, agent: _Agent, counts: AgentCounts, at_s: float) -> None:
        """Update the rates of an agent, if its log was read since the last look."""
        lasted_s = (counts.at_us - agent.counts.at_us) / 1e6
        if lasted_s <= 0:
            return
        agent.answered_per_s = (counts.answered - agent.counts.answered) / lasted_s
        agent.failed_per_s = (counts.failed - agent.counts.failed) / lasted_s
        agent.counts, agent.changed_s = counts, at_s

    def _recent(self, at_s: float, counts: dict[int, int]) -> dict[int, int]:
        """Return what was counted in the last seconds."""
        while len(self._times) > 1 and at_s - self._times[1][0] >= RECENT_S:
            self._times.popleft()
        before = self._times[0][1]
        # However often somebody looks, a bounded number is kept.
        if at_s - self._times[-1][0] >= APART_S:
            self._times.append((at_s, counts))
        return since(counts, before)


def phase_of(case: Case, at_s: float) -> str:
    """Return what a load is doing at_s after T0, in a word."""
    if case.duration_us is None:
        return "sending"
    ends = (("warm-up", case.warm_up_us), ("window", case.duration_us), ("tail", case.tail_us))
    end_s = 0.0
    for name, lasting_us in ends:
        end_s += lasting_us / 1e6
        if at_s < end_s:
            return name
    return "waiting for the last responses"
