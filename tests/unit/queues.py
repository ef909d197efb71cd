"""Simulated servers whose capacity is known: each gives the outcome of one probe, seeded. No clock, no socket.

Capacity: the highest rate at which 99 % of the response times are below LIMIT_S in the long run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SERVICE_PER_S = 1000.0
LIMIT_S = 0.05
PROBE_S, WARM_UP_S = 10.0, 1.0
HARD_LIMIT_PER_S = 700.0


@dataclass
class Server:
    """passes(draw, rate, seconds): whether a probe meets the objective. capacity: the truth."""

    capacity: float
    passes: Callable[[np.random.Generator, float, float], bool]


def _root(condition: Callable[[float], bool], low: float, high: float) -> float:
    """Find the highest value that still meets a condition."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if condition(middle) else (low, middle)
    return low


def _arrivals(draw, rate, seconds):
    n = max(20, int(rate * (seconds + WARM_UP_S)))
    return draw.exponential(1 / rate, n), int(rate * WARM_UP_S)


def _one_server(constant: bool):
    """Lindley's recursion by running sums: waiting time is how far the walk is above its lowest point."""

    def passes(draw, rate, seconds):
        gaps, warm = _arrivals(draw, min(rate, 3 * SERVICE_PER_S), seconds)
        service = np.full(gaps.size, 1 / SERVICE_PER_S) if constant else draw.exponential(1 / SERVICE_PER_S, gaps.size)
        walk = np.concatenate([[0.0], service[:-1] - gaps[1:]]).cumsum()
        response = walk - np.minimum.accumulate(walk) + service
        return bool(np.quantile(response[warm:], 0.99) < LIMIT_S)

    return passes


def mm1() -> Server:
    """Poisson arrivals, exponential service, one server: response times are exponential with rate mu - lambda."""
    return Server(SERVICE_PER_S - math.log(100) / LIMIT_S, _one_server(constant=False))


def md1() -> Server:
    """Constant service: the tail of the waiting time is C exp(-theta t), theta the root of lambda (exp(theta D) - 1) = theta."""
    d = 1 / SERVICE_PER_S

    def met(rate):
        theta = _root(lambda x: rate * math.expm1(x * d) <= x, 1e-9, 1e5)
        share = (1 - rate * d) / (rate * d * math.exp(theta * d) - 1) if theta > 1e-6 else 1.0
        return share * math.exp(-theta * (LIMIT_S - d)) < 0.01

    return Server(_root(met, 1.0, SERVICE_PER_S * 0.999), _one_server(constant=True))


def mm2() -> Server:
    """Two servers of SERVICE_PER_S / 2 each; the tail by Erlang's C."""
    mu = SERVICE_PER_S / 2

    def met(rate):
        load = rate / mu
        last = load**2 / 2 * 2 / (2 - load)
        waiting = last / (1 + load + last)
        spare = 1 - load
        tail = math.exp(-mu * LIMIT_S) * (1 + waiting * -math.expm1(-mu * LIMIT_S * spare) / spare)
        return tail < 0.01

    def passes(draw, rate, seconds):
        gaps, warm = _arrivals(draw, min(rate, 3 * SERVICE_PER_S), seconds)
        one = other = 0.0
        response = []
        add = response.append
        for at, lasting in zip(gaps.cumsum().tolist(), draw.exponential(1 / mu, gaps.size).tolist(), strict=True):
            # The one that is free sooner takes it.
            if one > other:
                one, other = other, one
            one = (at if at > one else one) + lasting
            add(one - at)
        return bool(np.quantile(response[warm:], 0.99) < LIMIT_S)

    return Server(_root(met, 1.0, SERVICE_PER_S * 0.9999), passes)


def hard_limit() -> Server:
    """Whatever is above its limit is turned away."""
    return Server(HARD_LIMIT_PER_S, lambda draw, rate, seconds: rate <= HARD_LIMIT_PER_S)


def warming_up() -> Server:
    """Half as fast during its first four probes."""
    seen = []

    def passes(draw, rate, seconds):
        seen.append(rate)
        limit = HARD_LIMIT_PER_S * (0.5 if len(seen) <= 4 else 1.0)
        return rate * math.exp(draw.normal(0, 0.01)) <= limit

    return Server(HARD_LIMIT_PER_S, passes)


def with_bad_probes(server: Server, share: float = 0.05) -> Server:
    """Some probes fail for no reason."""
    return Server(
        server.capacity,
        lambda draw, rate, seconds: server.passes(draw, rate, seconds) and draw.random() >= share,
    )
