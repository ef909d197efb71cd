"""Simulated servers of known capacity for searches by the hundred: what one probe answers, seeded. No clock, no socket.

Of a queue the outcomes of some probes are tabulated once, from simulated requests, for a grid of rates and both lengths
of a probe; a search then draws from them. Queues judge a probe as Volley does: a percentile of the response times of all
requests due in the window, each measured from its due time, and at least 99 % of them answered by the end of the tail.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from orchestrator.search.records import Answer, Evidence

Probed = Callable[[np.random.Generator, float, float, float], Answer]

KEEPS_UP = 0.99
TAIL_S, WARM_UP_S = 1.0, 1.0
PROBE_S, SOAK = 10.0, 3.0
# A probe holds at least so many requests that may violate the objective. SOAK: its length, in probes.
VIOLATIONS = 30
HARD_LIMIT_PER_S = 700.0
# The share of requests that servers without a queue may lose.
ALLOWED = 0.01
# Simulated probes for each rate of the table, and the rates as shares of what the queue can serve at most.
REPLICAS = 150
SHARES = np.concatenate([np.arange(0.3, 0.7, 0.04), np.arange(0.7, 1.08, 0.01)])


@dataclass(frozen=True)
class Server:
    """probed(draw, rate per s, seconds, seconds since the search began). capacity: the truth after so many seconds.

    probe_s: how long a probe of it lasts.
    """

    probed: Probed
    capacity: Callable[[float], float]
    probe_s: float = PROBE_S


@dataclass(frozen=True)
class Queue:
    """A queue of `workers` that share 1000/s, and its objective.

    squared_cv: of the service times; 0 constant, 1 exponential, above it hyperexponential with balanced means. even: of
    arrivals; Poisson where not.
    """

    workers: int
    squared_cv: float
    even: bool
    quantile: float = 0.99
    limit_s: float = 0.05

    def responses(self, draw: np.random.Generator, rate: float, seconds: float, replicas: int) -> np.ndarray:
        """Return response times, shape (requests due in the window, replicas), in s; by Kiefer and Wolfowitz's recursion."""
        warm, n = int(rate * WARM_UP_S), max(20, int(rate * seconds))
        gaps = (
            np.full((warm + n, replicas), 1 / rate) if self.even else draw.exponential(1 / rate, (warm + n, replicas))
        )
        service = self._service(draw, (warm + n, replicas))
        if self.workers == 1:
            walk = np.concatenate([np.zeros((1, replicas)), service[:-1] - gaps[1:]]).cumsum(axis=0)
            return (walk - np.minimum.accumulate(walk, axis=0) + service)[warm:]
        left = np.zeros((self.workers, replicas))
        response = np.empty_like(service)
        column = np.arange(replicas)
        for i in range(warm + n):
            left -= gaps[i]
            np.maximum(left, 0.0, out=left)
            first = left.argmin(axis=0)
            response[i] = left[first, column] + service[i]
            left[first, column] = response[i]
        return response[warm:]

    def _service(self, draw: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        mean = self.workers / 1000.0
        if self.squared_cv == 0:
            return np.full(shape, mean)
        if self.squared_cv == 1:
            return draw.exponential(mean, shape)
        # Two exponentials of balanced means: as in Whitt, The Queueing Network Analyzer (1983), 3.
        share = (1 + math.sqrt((self.squared_cv - 1) / (self.squared_cv + 1))) / 2
        fast = draw.random(shape) < share
        return draw.exponential(1.0, shape) * np.where(fast, mean / 2 / share, mean / 2 / (1 - share))

    def violations(self, response: np.ndarray, rate: float, seconds: float) -> np.ndarray:
        """Return (slow, not answered in time) as shares of the requests for each replica, shape (2, replicas)."""
        answered_by = np.arange(response.shape[0])[:, None] / rate + response
        return np.array([(response >= self.limit_s).mean(axis=0), (answered_by > seconds + TAIL_S).mean(axis=0)])


@functools.cache
def table(queue: Queue, seconds: float) -> np.ndarray:
    """Return the outcomes of probes of a length, shape (SHARES, 2, REPLICAS): see Queue.violations."""
    rows = []
    for i, share in enumerate(SHARES):
        draw, rate = np.random.default_rng([i, int(seconds)]), share * 1000.0
        rows.append(queue.violations(queue.responses(draw, rate, seconds, REPLICAS), rate, seconds))
    return np.array(rows)


def judged(requests: float, *terms: tuple[float, float]) -> Answer:
    """Return the answer of a probe. terms: the share that violates each objective, and the share that it allows."""
    worst, allowed = max(terms, key=lambda term: (term[0] * requests + 0.5) / term[1])
    passed = all(share <= allowed for share, allowed in terms)
    return Answer(passed, evidence=Evidence(worst * requests, requests, allowed))


def erlang_tail(queue: Queue, rate: float) -> float:
    """Return the share of response times above the limit of M/M/c: Erlang's C, as in Gross and Harris, 2.3."""
    c, mu, t = queue.workers, 1000.0 / queue.workers, queue.limit_s
    load = rate / mu
    terms = [1.0]
    for k in range(1, c):
        terms.append(terms[-1] * load / k)
    last = terms[-1] * load / c * c / (c - load)
    waits = last / (sum(terms) + last)
    spare = c - 1 - load
    # The waiting time is exponential with the rate (c - load) mu, the service time with mu.
    mixed = t * mu if abs(spare) < 1e-9 else -math.expm1(-mu * spare * t) / spare
    return math.exp(-mu * t) * (1 + waits * mixed)


@functools.cache
def true_capacity(queue: Queue) -> float:
    """Return the rate per s at which the percentile of a run without end is the limit.

    Exact for M/M/c, by long simulated runs for others.
    """
    low, high = 200.0, 999.0
    if queue.squared_cv == 1 and not queue.even:
        for _ in range(50):
            rate = (low + high) / 2
            low, high = (rate, high) if erlang_tail(queue, rate) < 1 - queue.quantile else (low, rate)
        return low
    for step in range(14):
        rate = math.sqrt(low * high)
        draw = np.random.default_rng(step)
        response = queue.responses(draw, rate, 400.0, 12)[int(rate * 40) :]
        low, high = (rate, high) if np.quantile(response, queue.quantile) < queue.limit_s else (low, rate)
    return math.sqrt(low * high)


def queue(*arguments: object, **changes: object) -> Server:
    """Return a queue as a server; the arguments are Queue's."""
    made = Queue(*arguments, **changes)  # type: ignore[arg-type]
    truth = true_capacity(made)

    def probed(draw: np.random.Generator, rate: float, seconds: float, _: float) -> Answer:
        rows = table(made, seconds)
        # Between two rates of the table, the nearer one is drawn more often.
        at = float(np.interp(rate / 1000.0, SHARES, np.arange(SHARES.size)))
        row = min(int(at + draw.random()), SHARES.size - 1)
        slow, late = rows[row, :, draw.integers(REPLICAS)]
        return judged(rate * seconds, (float(slow), 1 - made.quantile), (float(late), 1 - KEEPS_UP))

    return Server(probed, lambda at: truth, max(PROBE_S, VIOLATIONS / (1 - made.quantile) / 1000.0))


def turning_away(limit: Callable[[float, float], float], capacity: Callable[[float], float], sigma: float) -> Server:
    """A server that turns away what is above limit(seconds, at), which differs from probe to probe by a deviation of its logarithm."""

    def probed(draw: np.random.Generator, rate: float, seconds: float, at: float) -> Answer:
        here = limit(seconds, at) * math.exp(draw.normal(0, sigma))
        return judged(rate * seconds, (max(0.0, 1 - here / rate), ALLOWED))

    return Server(probed, capacity)


def noisy(sigma: float) -> Server:
    """A limit that differs from probe to probe. The truth is the rate of which ALLOWED is turned away in the long run."""
    limit = HARD_LIMIT_PER_S * (1 - ALLOWED)
    draws = limit * np.exp(sigma * np.random.default_rng(0).normal(size=100_000))
    low, high = 0.5 * limit, 1.5 * limit
    for _ in range(40):
        rate = (low + high) / 2
        low, high = (rate, high) if np.maximum(0.0, 1 - draws / rate).mean() <= ALLOWED else (low, rate)
    truth = low
    return turning_away(lambda seconds, at: limit, lambda at: truth, sigma)


def drifting(share: float, over_s: float, sigma: float = 0.01) -> Server:
    """A limit that moves by a share of itself, evenly over so many seconds."""

    def limit(at: float) -> float:
        return HARD_LIMIT_PER_S * (1 + share * min(1.0, at / over_s))

    return turning_away(lambda seconds, at: limit(at) * (1 - ALLOWED), limit, sigma)


def degrading(after_s: float, to: float, sigma: float = 0.01) -> Server:
    """A limit that falls to a share of itself after a while: a cache is full, a core is throttled."""

    def limit(at: float) -> float:
        return HARD_LIMIT_PER_S * (1.0 if at < after_s else to)

    return turning_away(lambda seconds, at: limit(at) * (1 - ALLOWED), limit, sigma)


def tiring(to: float, good_s: float = 15.0, sigma: float = 0.01) -> Server:
    """Good for a while at any rate up to its limit, and not for longer: what a soak finds and a probe does not."""
    return turning_away(
        lambda seconds, at: HARD_LIMIT_PER_S * (1 - ALLOWED) * (1.0 if seconds < good_s else to),
        lambda at: HARD_LIMIT_PER_S * to,
        sigma,
    )


def losing(clump: int, steepness: float) -> Server:
    """Loses a share ALLOWED * (rate / limit)^steepness of the requests, in clumps: Poisson many, each of `clump`."""

    def probed(draw: np.random.Generator, rate: float, seconds: float, _: float) -> Answer:
        requests = rate * seconds
        share = min(1.0, ALLOWED * (rate / HARD_LIMIT_PER_S) ** steepness)
        lost = min(requests, clump * draw.poisson(share * requests / clump))
        return judged(requests, (lost / requests, ALLOWED))

    return Server(probed, lambda at: HARD_LIMIT_PER_S)


def cold(probes: int, to: float = 0.5, sigma: float = 0.01) -> Server:
    """Half as fast during its first probes."""
    seen: list[float] = []

    def limit(seconds: float, at: float) -> float:
        seen.append(at)
        return HARD_LIMIT_PER_S * (1 - ALLOWED) * (to if len(seen) <= probes else 1.0)

    return turning_away(limit, lambda at: HARD_LIMIT_PER_S, sigma)


def metastable(to: float = 0.6, sigma: float = 0.01) -> Server:
    """Once overloaded it answers nothing in time, until the load drops below `to` of its limit."""
    slow = [False]

    def probed(draw: np.random.Generator, rate: float, seconds: float, _: float) -> Answer:
        seen = rate * math.exp(draw.normal(0, sigma))
        slow[0] = (slow[0] and seen > HARD_LIMIT_PER_S * to) or seen > HARD_LIMIT_PER_S
        return judged(rate * seconds, (1.0 if slow[0] else 0.0, ALLOWED))

    return Server(probed, lambda at: HARD_LIMIT_PER_S)
