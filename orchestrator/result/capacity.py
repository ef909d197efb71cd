"""What a search for capacity came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from agents.generators.contract import Arrivals, Protocol
from orchestrator.result.finding import Verdict
from orchestrator.result.trial import Interval, Times
from orchestrator.search.records import Ending, Kind, LimitedBy
from orchestrator.slo import Term


class Bottleneck(StrEnum):
    """What a server or one of its services ran out of, as far as they were metered."""

    MEMORY = "memory"
    ENDED = "ended"
    NO_ANSWER = "no answer"
    CPU_QUOTA = "cpu quota"
    CPU_QUOTA_OF_HOST = "cpu quota of host"
    CPU_LIMIT = "cpu limit"
    HOST_CPU = "host cpu"
    CPU_OF_PROCESSES = "cpu of processes"
    ADMISSION = "admission"
    CONNECTIONS = "connections"
    CONCURRENCY = "concurrency"
    NOT_METERED = "not metered"
    SERVICE_MEMORY = "service memory"
    SERVICE_ENDED = "service ended"
    SERVICE_CPU_QUOTA = "service cpu quota"
    SERVICE_HOST_CPU = "service host cpu"


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of a search for capacity. failed: the objectives that it did not meet.

    limited_by: what other than the server failed, so that the probe does not count. resource: the
    bottleneck in words. answered_per_s: successful answers to requests that were due in the window,
    as they came; a growing backlog that was answered after the window is not in it.
    """

    trial: int
    kind: Kind
    rate_per_s: float
    passed: bool
    limited_by: LimitedBy | None
    failed: list[str]
    throughput_per_s: float | None
    response_time_us: Times
    error_share: float | None
    resource: str | None
    verdict: Verdict
    bottleneck: Bottleneck | None = None
    answered_per_s: float | None = None
    window_s: float | None = None
    arrivals: Arrivals = Arrivals.EVEN


@dataclass(frozen=True, slots=True)
class Saturation:
    """How much load one target takes under an objective. Rates per second.

    terms: the objective, one by one.
    confirmed: a soak at the interval's lower end held and a step above it did not. held_per_s: the
    highest rate that passed. gave_way: the objective that failed first; bottleneck, resource: what
    the server ran out of there, and in words. start_per_s: the closed-loop throughput at which the
    search began. soak_failed_per_s: the lowest rate at which a soak failed. took_s: all of its trials.
    url: of a target that was already up. statuses: requests of all probes by HTTP status ('-1': no answer). protocol: of the
    load; None: not stored.
    """

    target: str
    slo: str
    terms: list[Term]
    ending: Ending
    capacity_per_s: Interval | None
    confirmed: bool
    held_per_s: float | None
    limited_by: LimitedBy | None
    gave_way: str | None
    resource: str | None
    probes: int
    start_per_s: float
    curve: list[Probe]
    verdict: Verdict
    bottleneck: Bottleneck | None = None
    soak_failed_per_s: float | None = None
    soak_s: float | None = None
    took_s: float | None = None
    url: str = ""
    statuses: dict[str, int] = field(default_factory=dict)
    protocol: Protocol | None = None
