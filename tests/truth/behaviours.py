"""What the table of truth measures: each behaviour of the zoo with parameters, rates that it can serve, and its load.

The rates are prime and round. Below its capacity a queue is short, so that each number is settled in two seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

from agents.generators.contract import Arrivals

WARM_UP_MS = 300
WINDOW_MS = 2_000
TAIL_MS = 300
AGENTS = (1, 4)
# What the names of behaviours towards messages begin with.
WEBSOCKET = "ws: "


@dataclass(frozen=True)
class Behaviour:
    """A server of the zoo and how it is loaded.

    kind, parameters: as in zoo.serve(). tail_ms: longer than its slowest answer, so that all are seen. timeout_ms: per request;
    None leaves Volley's default. clients: None lets the generator open what it needs. websocket: requests are messages.
    count: of the requests of a closed loop, which has no rate; None for an open loop.
    """

    name: str
    kind: str
    parameters: dict[str, float | str]
    rates_per_s: tuple[int, ...]
    tail_ms: int = TAIL_MS
    timeout_ms: int | None = None
    clients: int | None = None
    agents: tuple[int, ...] = AGENTS
    websocket: bool = False
    count: int | None = None


@dataclass(frozen=True)
class Cell:
    """One row of the table."""

    behaviour: Behaviour
    rate_per_s: int
    agents: int
    arrivals: Arrivals

    @property
    def load(self) -> dict[str, object]:
        """Return the load in the words of a campaign. Each agent has a path of its own, by which the record tells them."""
        behaviour = self.behaviour
        load: dict[str, Any] = {"apart": True}
        if behaviour.count is not None:
            load["count"] = behaviour.count
        else:
            load |= {
                "model": "open",
                "rate": f"{self.rate_per_s}/s",
                "arrivals": self.arrivals.value,
                "duration": f"{WINDOW_MS}ms",
                "warm_up": f"{WARM_UP_MS}ms",
                "tail": f"{behaviour.tail_ms}ms",
            }
        if behaviour.websocket:
            load["protocol"] = "websocket"
        if behaviour.timeout_ms is not None:
            load["timeout"] = f"{behaviour.timeout_ms}ms"
        if behaviour.clients is not None:
            load["clients"] = behaviour.clients
        return load


def cells(behaviour: Behaviour, full: bool = False) -> list[Cell]:
    """Return the rows of a behaviour: two of each rate, so that all rates together cover each pair of agents and arrivals.

    full: all four pairs at every rate.
    """
    if behaviour.count is not None:
        return [Cell(behaviour, 0, agents, Arrivals.EVEN) for agents in behaviour.agents]
    even, poisson = Arrivals.EVEN, Arrivals.POISSON
    few, many = min(behaviour.agents), max(behaviour.agents)
    halves = (((few, even), (many, poisson)), ((many, even), (few, poisson)))
    chosen: list[Cell] = []
    for place, rate in enumerate(behaviour.rates_per_s):
        pairs = chain(*halves) if full else halves[place % 2]
        chosen += [Cell(behaviour, rate, agents, arrivals) for agents, arrivals in dict.fromkeys(pairs)]
    return chosen


def _messages(
    name: str, kind: str, parameters: dict[str, float | str], rates_per_s: tuple[int, ...] = (), **load: Any
) -> Behaviour:
    """Return a behaviour towards messages over WebSocket."""
    return Behaviour(f"{WEBSOCKET}{name}", kind, parameters, rates_per_s, websocket=True, **load)


BEHAVIOURS = {
    behaviour.name: behaviour
    for behaviour in (
        Behaviour("no delay", "fixed", {"service_us": 0}, (497, 700, 997, 2011)),
        Behaviour("fixed 5 ms", "fixed", {"service_us": 5_000}, (500, 997, 2011)),
        Behaviour("fixed 150 ms", "fixed", {"service_us": 150_000}, (497, 700), tail_ms=500),
        Behaviour("one at a time, 1 ms", "one-at-a-time", {"service_us": 1_000}, (497, 500, 700)),
        Behaviour("4 workers, 3 ms", "workers", {"workers": 4, "service_us": 3_000}, (500, 997)),
        Behaviour("lognormal 20 ms", "lognormal", {"median_us": 20_000, "sigma": 0.7}, (497, 997, 2011), tail_ms=600),
        Behaviour(
            "hyperexponential",
            "hyperexponential",
            {"service_us": 2_000, "slow_us": 20_000, "share": 0.1},
            (700, 997),
            tail_ms=500,
        ),
        Behaviour("1 % slow", "slow-share", {"service_us": 1_000, "slow_us": 100_000}, (500, 2011), tail_ms=400),
        Behaviour(
            "stall 200 ms each s",
            "stall",
            {"service_us": 2_000, "pause_every_us": 1_000_000, "pause_us": 200_000, "pause_after_us": 800_000},
            (497, 997),
            tail_ms=500,
        ),
        Behaviour(
            "slow start", "slow-start", {"service_us": 1_000, "slow_us": 50_000, "slow_for_us": 2_000_000}, (500, 997)
        ),
        Behaviour(
            "phases 10/60 ms",
            "phases",
            {"first_us": 300_000, "first_service_us": 60_000, "second_us": 700_000, "second_service_us": 10_000},
            (497, 700),
        ),
        Behaviour(
            "phases, pool and queue",
            "phases-pool",
            {
                "first_us": 300_000, "first_service_us": 10_000, "second_us": 700_000, "second_service_us": 2_000,
                "workers": 4, "queue": 20,
            },
            (497, 700),
        ),
        Behaviour("shed above 600/s", "shed", {"rate_per_s": 600, "burst": 20, "service_us": 3_000}, (497, 997)),
        Behaviour("429 above 800/s", "limit", {"rate_per_s": 800, "burst": 50, "service_us": 3_000}, (700, 2011)),
        Behaviour("67 % fast 503", "mix", {"service_us": 100_000, "fail_share": 0.67, "seed": 170}, (497, 997), tail_ms=400),
        Behaviour("reset every 101", "reset-every", {"reset_every": 101, "service_us": 2_000}, (500, 997)),
        Behaviour(
            "2 connections reset", "reset-at", {"reset_at_us": 1_500_000, "service_us": 5_000}, (997, 2011)
        ),
        Behaviour("closes after 100", "close-after", {"close_after": 100, "service_us": 2_000}, (497, 2011)),
        Behaviour(
            "closes unannounced", "close-after", {"close_after": 100, "announce": 0, "service_us": 2_000}, (700, 997)
        ),
        Behaviour("closes each", "close-each", {"service_us": 2_000}, (497, 700)),
        Behaviour("closes idle, 50 ms", "idle-close", {"idle_us": 50_000, "service_us": 2_000}, (500, 997)),
        Behaviour(
            "every 5th conn. hangs",
            "hang",
            {"hang_every": 5, "hang_after": 20, "service_us": 3_000},
            (497, 997),
            timeout_ms=200,
        ),
        Behaviour(
            "1 % endless bodies",
            "endless",
            {"endless": 100, "chunk_bytes": 100, "service_us": 1_000},
            (500, 700),
            timeout_ms=200,
        ),
        _messages("no delay", "fixed", {"service_us": 0}, (997,)),
        _messages("5 ms", "fixed", {"service_us": 5_000}, (499, 2011)),
        _messages("5 ms, 1 connection", "fixed", {"service_us": 5_000}, (97,), clients=1, agents=(1,)),
        _messages("one at a time, 1 ms", "one-at-a-time", {"service_us": 1_000}, (499,)),
        _messages("lognormal 20 ms", "lognormal", {"median_us": 20_000, "sigma": 0.7}, (997,), tail_ms=600),
        _messages("reset every 101", "reset-every", {"reset_every": 101, "service_us": 2_000}, (499,)),
        _messages(
            "every 5th hangs",
            "hang",
            {"hang_every": 5, "hang_after": 20, "service_us": 3_000},
            (499,),
            timeout_ms=200,
        ),
        _messages("closed, 1 connection", "fixed", {"service_us": 2_000}, count=499, clients=1, agents=(1,)),
        _messages("closed, 13 conn.", "lognormal", {"median_us": 5_000, "sigma": 0.7}, count=1999, clients=13),
    )
}  # fmt: skip
