"""How many connections the probes of a search may open. Pure.

Enough that a server which meets the objectives never runs out of them, and not so many that a probe
above the capacity overwhelms the server more than it must.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from agents.records import GeneratorKind
from orchestrator.result import Trial
from orchestrator.search.records import Answer, LimitedBy
from orchestrator.slo import Metric, Term, judges_first_byte, time_limits_us
from orchestrator.spec.generator import choose, most_clients
from orchestrator.spec.loads import Load

# The closed loop at the beginning has this many, and no probe has fewer: the server has shown that it
# can serve them.
FEWEST = 32
# This many times as many requests may be under way as are on average.
HEADROOM = 2.0


class Connections:
    """The connections of one target's probes. Learns from every trial; the same trials give the same numbers."""

    def __init__(self, terms: Sequence[Term], most: int, agents: int, streams: int, socket: bool = False) -> None:
        """Start without a trial. most: what the load allows, over all agents. streams: on each connection.

        socket: the server is behind a unix socket.
        """
        self._slowest_us = float(max(time_limits_us(terms), default=0))
        self._most, self._agents, self._streams, self._socket = most, agents, streams, socket
        self._first_byte = judges_first_byte(terms)
        self._first_us = 0.0
        self._usual_us: float | None = None
        # Of a rate whose probe ran out of connections: how many the next one has at least.
        self._more: dict[float, int] = {}

    @property
    def usual_us(self) -> float:
        """Return the shortest median service time of any trial so far; 0 before the first."""
        return self._usual_us or 0.0

    def of_estimate(self) -> int:
        """Return the clients of the closed loop."""
        return max(self._agents, min(FEWEST, self._most))

    def at(self, rate: float) -> int:
        """Return the connections of a probe. rate: per second.

        By Little's law: the requests under way at the time that an answer took in the closed loop, or that the objectives
        allow.
        """
        under_way = HEADROOM * rate * max(self._first_us, self._slowest_us) / 1e6
        # By chance more are under way now and then: five standard deviations of as many arrivals.
        slots = math.ceil(under_way + 5 * math.sqrt(under_way))
        wanted = max(FEWEST, math.ceil(slots / self._streams), self._more.get(rate, 0))
        return max(self._agents, min(wanted, self._most))

    def paced_by_h2load(self, load: Load) -> int:
        """Return the clients of an open load: those that it has, or more where h2load needs them to send it evenly."""
        assert load.clients is not None
        generator = choose(load, self._agents, self._socket, self._first_byte)
        if generator is not GeneratorKind.H2LOAD:
            return load.clients
        free = load.model_copy(update={"clients": None})
        return min(self._most, max(load.clients, most_clients(free, generator, self._agents, self._slowest_us)))

    def learn(self, trial: Trial, answer: Answer) -> None:
        """Take in the result of a trial."""
        metrics, case = trial.metrics, trial.facts.case
        if metrics is None:
            return
        times = metrics.service_time_us
        usual_us = times.get(Metric.P50) or times.get(Metric.MEAN)
        if usual_us is not None:
            self._first_us = self._first_us or usual_us
            self._usual_us = usual_us if self._usual_us is None else min(self._usual_us, usual_us)
        if answer.limited_by is LimitedBy.CONNECTIONS and case.rate_per_s is not None:
            by_time = HEADROOM * case.rate_per_s * (times.get(Metric.MEAN) or 0.0) / 1e6 / self._streams
            self._more[case.rate_per_s] = max(2 * case.clients, math.ceil(by_time))
