"""The ramp that finds a generator's ceiling, as ask and tell, and what makes one of its steps fail. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from orchestrator.analyse.findings.generator import GENERATOR_SUSPECT, wanted_share
from orchestrator.result import Trial

FIRST_PER_S = 500.0
REFINEMENTS = 2
# A step that fails may have met a bad second of the machine.
TRIES = 3
# A second is short: a stop of 20 ms at its edge is 2 % already.
RATE_KEPT = 0.05
SLOWER, SLOWER_US = 2.0, 500.0
GENERATOR, SERVER, NOTHING = "generator", "server", "nothing"


@dataclass(slots=True)
class Ramp:
    """Doubles the rate until a step fails, then halves the gap (on a logarithmic scale) a few times.

    ask() gives the next rate, None at the end; tell() takes what made the step fail, None when it held.
    """

    most_per_s: float
    best_per_s: float = 0.0
    limited_by: str = GENERATOR
    _failed_per_s: float = math.inf
    _failures: int = 0
    _refined: int = 0
    _next: float | None = field(default=FIRST_PER_S)

    def ask(self) -> float | None:
        """Give the rate of the next step, per second."""
        return self._next

    def tell(self, failure: str | None) -> None:
        """Take the result of the step that was asked for last."""
        assert self._next is not None
        if failure is None:
            self.best_per_s, self._failures = self._next, 0
        else:
            self._failures += 1
            if self._failures < TRIES:
                return
            self._failed_per_s, self.limited_by, self._failures = self._next, failure, 0
        self._next = self._choose()

    def _choose(self) -> float | None:
        if math.isinf(self._failed_per_s):
            if self.best_per_s * 2 > self.most_per_s:
                self.limited_by = NOTHING  # a lower bound
                return None
            return self.best_per_s * 2
        if not self.best_per_s or self._refined == REFINEMENTS:
            return None
        self._refined += 1
        return math.sqrt(self.best_per_s * self._failed_per_s)


def failure(trial: Trial, base_p50_us: float | None) -> str | None:
    """Say what made a step fail: GENERATOR or SERVER; None when it held. base_p50_us: of the first step, None there."""
    metrics = trial.metrics
    agents = trial.facts.agents
    if metrics is None or not any(agent.rows for agent in agents):
        return SERVER
    busy = max(wanted_share(agent) for agent in agents)
    if busy > GENERATOR_SUSPECT:
        return GENERATOR
    due = sum(agent.due or 0 for agent in agents)
    sent = sum(agent.rows - agent.before - agent.after for agent in agents)
    kept = due > 0 and abs(sent / due - 1) <= RATE_KEPT
    p50 = metrics.service_us["p50"]
    slower = base_p50_us is not None and (p50 is None or p50 > SLOWER * base_p50_us + SLOWER_US)
    return SERVER if not kept or slower else None
