"""The questions, answers and results of a search for capacity."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a probe is for.

    ESTIMATE: closed loop, before the search; its throughput is where the search begins. REFERENCE:
    a light load that shows whether the server has recovered. SOAK: longer than a probe, at the
    lower end of the interval. ABOVE: beyond the upper end.
    """

    ESTIMATE = "estimate"
    PROBE = "probe"
    REFERENCE = "reference"
    SOAK = "soak"
    ABOVE = "above"


class Ending(StrEnum):
    """How a search ended.

    NOT_SUSTAINED: probes passed, but no soak did. LIMITED: by something other than the server.
    BUDGET: the probes ran out. UNFINISHED: interrupted, can be continued.
    """

    CAPACITY = "capacity"
    ALWAYS_MET = "always met"
    NEVER_MET = "never met"
    NOT_SUSTAINED = "not sustained"
    LIMITED = "limited"
    BUDGET = "budget"
    NOT_RECOVERED = "not recovered"
    NOT_STARTED = "not started"
    UNFINISHED = "unfinished"


class LimitedBy(StrEnum):
    """What other than the server made a probe fail, so that it says nothing about the server.

    CONNECTIONS: every connection was busy when requests were due, and more can be opened: the same
    rate is asked for again. CLIENTS: the same, but the load's `clients` allows no more. UNOPENED: the server took a part of
    the connections that the generator opens for this rate; with more it would take no more.
    """

    GENERATOR = "generator"
    CONNECTIONS = "connections"
    CLIENTS = "clients"
    UNOPENED = "unopened"
    NETWORK = "network"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class Ask:
    """The next trial: its rate per second, and what it is for."""

    kind: Kind
    rate_per_s: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """How far a probe was from the objective that came nearest to failing.

    violations: of `requests`, how many did not meet it. allowed: the share of them that it allows.
    """

    violations: float
    requests: float
    allowed: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the trial showed. limited_by: what other than the server made it fail.

    It then does not count. evidence: None where no objective is about a share of requests.
    """

    passed: bool
    limited_by: LimitedBy | None = None
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where to search: rates per second. Starts at a fraction of `start`.

    Never below lowest or above highest.

    precision: half the width of the wanted interval, as a share. budget: maximum number of probes.
    recovers: after a failed probe a light load must pass first; False where each probe has a fresh
    server.
    """

    start: float
    lowest: float
    highest: float
    precision: float = 0.03
    budget: int = 60
    recovers: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search. Rates per second.

    estimate, low, high: of the capacity, None when there is none. confirmed: a soak at `low`
    passed, and a step above `high` failed. held: the highest rate that passed. limited_by: what
    reached its limit before the server. soak_failed: the lowest rate at which a soak failed.
    """

    ending: Ending
    estimate: float | None
    low: float | None
    high: float | None
    confirmed: bool
    held: float | None
    limited_by: LimitedBy | None
    probes: int
    soak_failed: float | None = None
