"""One cell of the table of truth: the load, what was reported, what the server's record says, and how far they are apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.generators.contract import Arrivals
from agents.histogram import HdrCounts
from agents.recorder import OK
from orchestrator.merge import merge
from orchestrator.result import Trial
from tests.truth.behaviours import BEHAVIOURS, WEBSOCKET, Cell
from tests.truth.harness import Hiccups, hiccups, run
from tests.truth.reference import Truth, nearest_rank, truth, truth_of_closed
from tests.truth.zoo import serve

# Acceptance 1 of the open loop: share of the truth, and µs.
BOUNDS = {"p50": (0.02, 100.0), "p90": (0.02, 100.0), "p99": (0.05, 500.0)}
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
FLOOR_RATE_PER_S = 700
# Above this the bounds would begin to mean nothing: half the delay that a timer of 10 ms would add is 5 ms.
MOST_FLOOR_US = 500.0
Times = dict[str, float]


@dataclass(frozen=True)
class Pair:
    """The same percentiles as Volley reports them and as the record has them, in µs."""

    reported: Times
    true: Times

    def off(self, floor: Times) -> list[str]:
        """Return the percentiles that are further from the truth than the bounds, when answers cost `floor` on top."""
        return [name for name in self.true if not 0 <= self._above(name, floor) <= 1]

    def _above(self, name: str, floor: Times) -> float:
        """Return where the report lies between what is allowed below (0) and above (1)."""
        share, allowed_us = BOUNDS[name]
        allowed_us += share * self.true[name]
        difference_us = self.reported[name] - self.true[name]
        return (difference_us + allowed_us) / (2 * allowed_us + floor.get(name, 0.0))


@dataclass(frozen=True)
class Result:
    """A measured cell. machine: how this machine ran, by a witness beside the load."""

    cell: Cell
    trial: Trial
    truth: Truth
    statuses: dict[int, int]
    response: Pair
    service: Pair
    machine: Hiccups

    @property
    def due(self) -> int:
        """Return how many requests were due, as Volley reports it; of a closed loop how many it has rows of."""
        agents = self.trial.facts.agents
        return sum(agent.rows if self.cell.behaviour.count is not None else agent.due or 0 for agent in agents)

    @property
    def counts_agree(self) -> bool:
        """Return whether every request is reported as what the record says of it."""
        return self.due == self.truth.planned and self.statuses == self.truth.statuses

    def off(self, floor: Times) -> list[str]:
        """Return what lies outside the bounds, in words; nothing when all is well."""
        found = [] if self.counts_agree else ["counts"]
        found += [f"response {name}" for name in self.response.off(floor)]
        return found + [f"service {name}" for name in self.service.off(floor)]


def measure(cell: Cell) -> Result:
    """Load a server of the zoo and compare the report with its record."""
    behaviour = cell.behaviour
    with serve(behaviour.kind, **behaviour.parameters) as server, hiccups() as witness:
        url = server.url.replace("http", "ws", 1) if behaviour.websocket else server.url
        trial, output = run(url, agents=cell.agents, **cell.load)
    record, merged = server.record(), merge(output.agents)
    true = truth(output, record) if behaviour.count is None else truth_of_closed(output, record)
    assert (merged.response is None) is (behaviour.count is not None)
    statuses: dict[int, int] = {}
    for agent in output.agents:
        for status, count in agent.facts.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    response = Pair({} if merged.response is None else _reported(merged.response), _true(true.response_us))
    service = Pair(_reported(merged.service[OK]), _true(true.service_us))
    return Result(cell, trial, true, statuses, response, service, witness)


def _reported(counts: HdrCounts) -> Times:
    # From the counters: pages withhold the p99 of a thousand requests, which is compared all the same.
    return {name: float(counts.quantile_us(q)) for name, q in QUANTILES.items()} if counts.n else {}


def _true(values: NDArray[np.float64]) -> Times:
    return {name: nearest_rank(values, q) for name, q in QUANTILES.items()} if values.size else {}


def floor(agents: int = 1, websocket: bool = False) -> Times:
    """Return what an answer without delay takes from sending to receiving, in µs: the share that no record contains.

    It grows with the agents that share this machine's cores. It loosens the bounds, so it is capped at MOST_FLOOR_US.
    """
    name = f"{WEBSOCKET if websocket else ''}no delay"
    service = measure(Cell(BEHAVIOURS[name], FLOOR_RATE_PER_S, agents, Arrivals.EVEN)).service
    return {name: min(value - service.true[name], MOST_FLOOR_US) for name, value in service.reported.items()}
