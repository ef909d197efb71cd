"""The search for capacity beside a linear ramp and a bisection, against simulated servers whose capacity is known.

All three want the capacity within 3 % to either side. The ramp and the bisection are told what the search has to find
out: the ramp how wide a step has to be, the bisection between which rates to look.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.figures import Figure
from orchestrator.search.engine import Search
from orchestrator.search.records import Answer, Bounds, Kind
from tests.unit import queues
from tests.unit.queues import Server

PRECISION = 0.03
ROUNDS = 40
SERVERS: dict[str, Callable[[], Server]] = {
    "M/M/1": queues.mm1,
    "M/D/1": queues.md1,
    "hard limit": queues.hard_limit,
    "M/M/1, 5 % bad probes": lambda: queues.with_bad_probes(queues.mm1()),
}
RIGHT = 0.9
# Whether the capacity was inside the interval, and how many seconds of load it took.
Outcome = tuple[bool, float]


def measure() -> list[Figure]:
    """Measure every server by every way."""
    figures = []
    for server, make in SERVERS.items():
        for way, go in WAYS.items():
            outcomes = [go(make(), seed) for seed in range(ROUNDS)]
            right = sum(good for good, _ in outcomes) / ROUNDS
            limit = RIGHT if way == "search" else None
            figures += [
                Figure(f"{server}, {way}: right", "share", [right], at_least=limit),
                Figure(f"{server}, {way}: load", "s", [seconds for _, seconds in outcomes]),
            ]
    return figures


def search(server: Server, seed: int) -> Outcome:
    """Search as Volley does, from an estimate that is off by a factor of two at worst."""
    draw = np.random.default_rng(seed)
    start = server.capacity * draw.uniform(0.5, 2.0)
    engine = Search(Bounds(start=start, lowest=10.0, highest=1e6, precision=PRECISION))
    seconds = 0.0
    while (asked := engine.ask()) is not None:
        lasting_s = queues.PROBE_S * (3 if asked.kind is Kind.SOAK else 1)
        engine.tell(Answer(server.passes(draw, asked.rate_per_s, lasting_s)))
        seconds += lasting_s
    found = engine.found()
    return (found.low or 0.0) <= server.capacity <= (found.high or 0.0), seconds


def ramp(server: Server, seed: int, tries: int = 1) -> Outcome:
    """Raise the rate by equal steps until most tries fail."""
    draw, step = np.random.default_rng(seed), 2 * PRECISION * server.capacity
    rate, probes = step * draw.uniform(0.5, 1.5), 0
    while rate < 3 * server.capacity:
        probes += tries
        if sum(server.passes(draw, rate, queues.PROBE_S) for _ in range(tries)) <= tries // 2:
            break
        rate += step
    return rate - step <= server.capacity <= rate, probes * queues.PROBE_S


def bisection(server: Server, seed: int, tries: int = 1) -> Outcome:
    """Halve an interval of a factor of four around the capacity until it is narrow enough."""
    draw = np.random.default_rng(seed)
    low = server.capacity * draw.uniform(0.3, 0.9)
    high, probes = 4 * low, 0
    while high / low > (1 + PRECISION) / (1 - PRECISION):
        middle = (low * high) ** 0.5
        probes += tries
        passed = sum(server.passes(draw, middle, queues.PROBE_S) for _ in range(tries)) > tries // 2
        low, high = (middle, high) if passed else (low, middle)
    return low <= server.capacity <= high, probes * queues.PROBE_S


WAYS: dict[str, Callable[[Server, int], Outcome]] = {
    "search": search,
    "ramp": ramp,
    "ramp, three tries": lambda server, seed: ramp(server, seed, 3),
    "bisection": bisection,
    "bisection, three tries": lambda server, seed: bisection(server, seed, 3),
}
