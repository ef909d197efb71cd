"""The ramp that finds the ceiling of a generator, as ask and tell. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

from agents.records import AgentFacts, GeneratorKind
from orchestrator.analyse.findings.generator import GENERATOR_INVALID, GENERATOR_SUSPECT, wanted_share
from orchestrator.result import Metrics, Trial

FIRST_PER_S = 500.0
# Quadrupling needs half as many steps as doubling, and three halvings leave the same precision: 2 ** 0.25.
GROWTH = 4.0
REFINEMENTS = 3
# A step may fail because of one bad second of the machine, so it is tried this often.
TRIES = 2
# A step is short: a pause of 20 ms at its edge is already 2 %.
RATE_KEPT = 0.05
# paced is at its limit when it sends more than this late while it has free slots.
LATE_SHARE = 0.05
# With more late sends than this share, a bad second explains nothing.
CERTAINLY_LATE_SHARE = 0.5
# Nor with fewer answers than this share of what was due.
CERTAIN_SHARE = 0.7
SLOWER, SLOWER_US = 2.0, 500.0
# Generators that send each request when it is due, and write a row for each that was.
KEEP_SCHEDULE = (GeneratorKind.PACED, GeneratorKind.WEBSOCKET)


class Limit(StrEnum):
    """What ended a ramp. NOTHING: the highest rate held, so the ceiling is a lower bound."""

    GENERATOR = "generator"
    SERVER = "server"
    NOTHING = "nothing"


@dataclass(slots=True)
class Ramp:
    """A ramp that quadruples the rate until a step fails, then halves the gap a few times, on a logarithmic scale.

    ask() returns the next rate, None at the end; tell() takes what made the step fail, None when it held.
    """

    most_per_s: float
    best_per_s: float = 0.0
    limited_by: Limit = Limit.GENERATOR
    _failed_per_s: float = math.inf
    _failures: int = 0
    _refined: int = 0
    _next: float | None = field(default=FIRST_PER_S)

    def ask(self) -> float | None:
        """Return the rate of the next step, per second."""
        return self._next

    def tell(self, failure: Limit | None, certain: bool = False) -> None:
        """Take the result of the last step that ask() returned. certain: a failure that is not tried again."""
        assert self._next is not None
        if failure is None:
            self.best_per_s, self._failures = self._next, 0
        else:
            self._failures += 1
            if self._failures < TRIES and not certain:
                return
            self._failed_per_s, self.limited_by, self._failures = self._next, failure, 0
        self._next = self._choose()

    def _choose(self) -> float | None:
        if math.isinf(self._failed_per_s):
            if self.best_per_s >= self.most_per_s:
                self.limited_by = Limit.NOTHING  # a lower bound
                return None
            return min(self.best_per_s * GROWTH, self.most_per_s)
        if not self.best_per_s or self._refined == REFINEMENTS:
            return None
        self._refined += 1
        return math.sqrt(self.best_per_s * self._failed_per_s)


def failure(trial: Trial, base_p50_us: float | None) -> Limit | None:
    """Return what made a step fail; None when it held.

    base_p50_us: median service time of the first step, None there.
    """
    metrics = trial.metrics
    agents = trial.facts.agents
    if metrics is None or not any(agent.rows for agent in agents):
        return Limit.SERVER
    busy = max(wanted_share(_under_load(agent)) for agent in agents)
    if busy > GENERATOR_SUSPECT or _sends_late(agents):
        return Limit.GENERATOR
    p50 = metrics.service_time_us["p50"]
    slower = base_p50_us is not None and (p50 is None or p50 > SLOWER * base_p50_us + SLOWER_US)
    return Limit.SERVER if slower or not _is_kept(agents, metrics) else None


def is_certain(trial: Trial) -> bool:
    """Return whether a step that failed would fail again: the generator filled its core, or far too much went wrong."""
    metrics, agents = trial.metrics, trial.facts.agents
    if metrics is None:
        return False
    due, answered = sum(agent.due or 0 for agent in agents), metrics.requests.ok + metrics.requests.http_error
    full = any(agent.cpu_busiest > GENERATOR_INVALID for agent in agents)
    return full or answered < CERTAIN_SHARE * due or _sends_late(agents, CERTAINLY_LATE_SHARE)


def cpu_share(agent: AgentFacts) -> float:
    """Return the share of a core that an agent used under load, without what it needed to start.

    paced starts a Python interpreter before T0: 0.1 s, which is much of a step and nothing in a trial.
    """
    sampled = [shares for shares in agent.thread_cpu.values() if shares]
    return sum(sum(shares) / len(shares) for shares in sampled) if sampled else agent.cpu_busiest


def _under_load(agent: AgentFacts) -> AgentFacts:
    """Return an agent with the CPU time of its load alone."""
    return replace(agent, cpu_us=round(cpu_share(agent) * (agent.last_end_us - agent.first_start_us)))


def _sends_late(agents: list[AgentFacts], allowed: float = LATE_SHARE) -> bool:
    """Return whether paced sent too many requests late by itself. h2load's are as uneven as its timer at any rate."""
    timed = [a for a in agents if a.generator in KEEP_SCHEDULE and a.late_us is not None]
    late, due = sum(agent.late or 0 for agent in timed), sum(agent.due or 0 for agent in timed)
    # A request that waits for a slot is late because of the server.
    waited = any(agent.waited_for_slot for agent in timed)
    return not waited and late > allowed * due


def _is_kept(agents: list[AgentFacts], metrics: Metrics) -> bool:
    """Return whether the rate was kept.

    h2load: as many rows as were due. paced has a row for each request that was due: as many answers.
    """
    due = sum(agent.due or 0 for agent in agents)
    if not due:
        return False
    if any(agent.generator in KEEP_SCHEDULE for agent in agents):
        return metrics.requests.ok + metrics.requests.http_error >= (1 - RATE_KEPT) * due
    sent = sum(agent.rows - agent.before - agent.after for agent in agents)
    return abs(sent / due - 1) <= RATE_KEPT
