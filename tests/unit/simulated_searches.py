"""Searches of simulated servers, and what comes of many of them. Beside them a linear ramp."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from orchestrator.search.engine import Search
from orchestrator.search.records import Bounds, Found, Kind
from tests.unit import simulated_servers as servers
from tests.unit.simulated_servers import Server

PRECISION = 0.03
# The seconds that a light load takes, and those between two loads.
LIGHT_S, BETWEEN_S = 3.0, 4.0

SERVERS: dict[str, Callable[[], Server]] = {
    "hard limit": lambda: servers.noisy(0.0),
    "noise 2 %": lambda: servers.noisy(0.02),
    "noise 3 %": lambda: servers.noisy(0.03),
    "noise 5 %": lambda: servers.noisy(0.05),
    "noise 7 %": lambda: servers.noisy(0.07),
    "noise 10 %": lambda: servers.noisy(0.1),
    "M/M/1": lambda: servers.queue(1, 1, False),
    "D/M/1": lambda: servers.queue(1, 1, True),
    "M/D/1": lambda: servers.queue(1, 0, False),
    "D/D/1": lambda: servers.queue(1, 0, True),
    "M/M/8": lambda: servers.queue(8, 1, False, 0.99, 0.1),
    "D/M/8": lambda: servers.queue(8, 1, True, 0.99, 0.1),
    "M/M/16": lambda: servers.queue(16, 1, False, 0.99, 0.2),
    "D/M/16": lambda: servers.queue(16, 1, True, 0.99, 0.2),
    "M/H2/1": lambda: servers.queue(1, 9, False),
    "D/H2/1": lambda: servers.queue(1, 9, True),
    "M/M/1 p99.9": lambda: servers.queue(1, 1, False, 0.999),
    "D/M/1 p99.9": lambda: servers.queue(1, 1, True, 0.999),
    "errors": lambda: servers.losing(1, 20),
    "errors, clumps of 20": lambda: servers.losing(20, 6),
    "errors, clumps of 200": lambda: servers.losing(200, 20),
    "drift +10 %": lambda: servers.drifting(0.1, 400),
    "drift -10 %": lambda: servers.drifting(-0.1, 400),
    "degrades after 200 s": lambda: servers.degrading(200, 0.8),
    "good for 10 s only": lambda: servers.tiring(0.7),
    "cold start": lambda: servers.cold(4),
    "metastable": servers.metastable,
}


@dataclass
class Outcome:
    """What came of one search. right: whether the interval holds the capacity at the end, or in the last soak."""

    found: Found
    right: bool
    search: Search


def searched(name: str, seed: int) -> Outcome:
    """Search for the capacity of one of SERVERS."""
    server, draw, at = SERVERS[name](), np.random.default_rng(seed), 0.0
    # The estimate that it starts from is of a closed load: off by a factor of two at worst.
    start = server.capacity(0.0) * draw.uniform(0.5, 2.0)
    search = Search(Bounds(start, lowest=10.0, highest=1e6, precision=PRECISION, recovers=name == "metastable"))
    truths: list[float] = []
    while (asked := search.ask()) is not None:
        assert len(search.history) < 300
        seconds = {Kind.SOAK: servers.SOAK * server.probe_s, Kind.REFERENCE: LIGHT_S}.get(asked.kind, server.probe_s)
        answer = server.probed(draw, asked.rate_per_s, seconds, at)
        if asked.kind is Kind.SOAK:
            truths = [server.capacity(at), server.capacity(at + seconds)]
        at += seconds + BETWEEN_S
        search.tell(answer)
    found = search.found()
    low, high = found.low, found.high
    right = (
        low is not None and high is not None and any(low <= truth <= high for truth in [*truths, server.capacity(at)])
    )
    return Outcome(found, right, search)


@dataclass
class Coverage:
    """What came of many searches of one server."""

    name: str
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def right(self) -> int:
        """How many intervals hold the capacity."""
        return sum(each.right for each in self.outcomes)

    @property
    def stated(self) -> int:
        """How many state an interval at all."""
        return sum(each.found.low is not None for each in self.outcomes)

    @property
    def confirmed_and_wrong(self) -> int:
        """How many are confirmed and do not hold it."""
        return sum(each.found.confirmed and not each.right for each in self.outcomes)

    @property
    def probes(self) -> float:
        """The mean number of probes."""
        return float(np.mean([each.found.probes for each in self.outcomes]))

    def line(self) -> str:
        """Return it as a row of a table."""
        halves = [
            (each.found.high - each.found.low) / (each.found.high + each.found.low)
            for each in self.outcomes
            if each.found.low is not None and each.found.high is not None
        ]
        n, endings = len(self.outcomes), Counter(str(each.found.ending) for each in self.outcomes)
        ends = ", ".join(f"{ending} {count}" for ending, count in endings.most_common())
        half = f"±{np.median(halves):5.1%}" if halves else "     -"
        return (
            f"{self.name:22} in the interval {self.right / n:4.0%} of {n}, confirmed and wrong "
            f"{self.confirmed_and_wrong / n:4.0%}, {half}, {self.probes:4.1f} probes; {ends}"
        )


def covered(name: str, seeds: range) -> Coverage:
    """Search one of SERVERS with every seed."""
    return Coverage(name, [searched(name, seed) for seed in seeds])


def ramp(name: str, seed: int, tries: int) -> tuple[bool, int]:
    """Ramp up linearly with the same precision, and return (right, probes).

    Steps of twice the half-width, each tried so often; it ends when most fail. It knows how wide a step has to be,
    which the search does not; where in a step the capacity lies is chance.
    """
    server, draw, at = SERVERS[name](), np.random.default_rng(seed), 0.0
    step = 2 * PRECISION * server.capacity(0.0)
    rate, probes = step * draw.uniform(0.5, 1.5), 0
    while rate < 3 * server.capacity(0.0):
        passed = 0
        for _ in range(tries):
            passed += server.probed(draw, rate, server.probe_s, at).passed
            at += server.probe_s + BETWEEN_S
        probes += tries
        if passed <= tries // 2:
            break
        rate += step
    return rate - step <= server.capacity(at) <= rate, probes


def bisection(name: str, seed: int, tries: int) -> tuple[bool, int]:
    """Halve an interval of a factor of four around the capacity until it is narrow enough, and return (right, probes)."""
    server, draw, at = SERVERS[name](), np.random.default_rng(seed), 0.0
    low = server.capacity(0.0) * draw.uniform(0.3, 0.9)
    high, probes = 4 * low, 0
    while high / low > (1 + PRECISION) / (1 - PRECISION):
        middle, passed = (low * high) ** 0.5, 0
        for _ in range(tries):
            passed += server.probed(draw, middle, server.probe_s, at).passed
            at += server.probe_s + BETWEEN_S
        probes += tries
        low, high = (middle, high) if passed > tries // 2 else (low, middle)
    return low <= server.capacity(at) <= high, probes
