"""Facts that both towers use: cases, trials and the environment of a run.

Units are in the names. Instants are on the coordinator's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from agents.clock import MAX_SLEW, OffsetBound
from agents.destinations import Permitted
from agents.generators.contract import Arrivals, Model, Protocol
from agents.hostmeter import HostUse
from agents.records import (
    AgentFacts,
    AssignedData,
    AssignedRequest,
    GeneratorKind,
    HostDescription,
    ServerFacts,
    ServiceFacts,
)
from agents.tls import PLAIN, Tls


class When(StrEnum):
    """When a command of the campaign runs, relative to the trial."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class HostClock:
    """The bound on one host's clock offset, before and after a trial. after: None when no load ran.

    unbounded: why a load that ran has no bound after it; until_ns: until when the clock of such a host may have drifted.
    """

    host: str
    before: OffsetBound
    after: OffsetBound | None = None
    unbounded: str = ""
    until_ns: int | None = None

    @property
    def half_width_ns(self) -> int:
        """The largest possible error of the offset, with MAX_SLEW of drift where it was not compared again."""
        drift_ns = 0 if self.until_ns is None else int(MAX_SLEW * max(0, self.until_ns - self.before.at_ns))
        return self.before.half_width_ns + drift_ns


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request of a mix, without what can hold secrets. path: as written, with its placeholders.

    name: what pages call it. weight: its share is weight / sum of weights. allowed: the statuses that count as success;
    empty: 100 to 399.
    """

    name: str
    method: str
    path: str
    weight: float
    allowed: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CaseService:
    """A service that a case's target needs, as planned. lifetime: trial, block or run. cpus, memory_bytes: its limits."""

    name: str
    lifetime: str
    cpus: float | None = None
    memory_bytes: int | None = None
    cpuset: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One target under one load, as planned: totals over all agents, without objectives and statistics.

    requests or duration_us is set. external: the target is a URL that is already up. clients: in the open loop the most
    connections. program: the command line of a generator of the user's. timeout_us: per request. seed: of random arrivals.
    time_limits_us: of the case's objectives; the requests that took as long are counted for each. agents_asked: what the
    campaign asks for, where the load has fewer clients or requests than that, so that `agents` is less. mix: the requests
    of a load that has several, in the order of their indexes in a log; empty for a load of one request.
    services: those that the target needs, each after those that it depends on. unix_socket: the server is behind one.
    """

    name: str
    target: str
    load: str
    model: Model
    protocol: Protocol
    clients: int
    streams: int
    agents: int
    requests: int | None
    rate_per_s: float | None
    duration_us: int | None
    warm_up_us: int
    tail_us: int
    cpus: float | None
    memory_bytes: int | None
    external: bool = False
    cpuset: str | None = None
    generator: GeneratorKind = GeneratorKind.H2LOAD
    program: list[str] = field(default_factory=list)
    arrivals: Arrivals = Arrivals.EVEN
    timeout_us: int | None = None
    seed: int = 0
    time_limits_us: list[int] = field(default_factory=list)
    agents_asked: int | None = None
    mix: list[PlannedRequest] = field(default_factory=list)
    services: list[CaseService] = field(default_factory=list)
    unix_socket: bool = False

    @property
    def load_us(self) -> int | None:
        """Return how long the load lasts: warm-up, duration and tail; None when a number of requests ends it."""
        if self.duration_us is None:
            return None
        return self.warm_up_us + self.duration_us + self.tail_us


@dataclass(frozen=True, slots=True)
class Traffic:
    """What all agents of one trial send. requests: the mix, or the one request of the load; all go to one server.

    It is never stored, and its repr leaves out what can hold secrets. verify: check the server's certificate. data: rows for
    the placeholders in requests, in the order of the file. socket: the path of the server's unix socket; '' for the
    addresses of the URLs. permitted: where the requests may go; None: to a server that Volley started itself.
    """

    requests: list[AssignedRequest]
    protocol: Protocol
    verify: bool = False
    data: AssignedData | None = field(default=None, repr=False)
    tls: Tls = PLAIN
    socket: str = ""
    permitted: Permitted | None = None

    @property
    def urls(self) -> list[str]:
        """Return the URL of each request."""
        return [request.url for request in self.requests]


@dataclass(frozen=True, slots=True)
class CommandDone:
    """A finished command of the campaign. status: None when it was ended at its timeout.

    The command line is not kept because it can hold secrets. output: the last part of its output.
    """

    when: When
    host: str
    status: int | None
    lasted_us: int
    output: str


@dataclass(frozen=True, slots=True)
class Degraded:
    """What a trial lost that continued with the agents that were left (on_agent_loss: degrade).

    planned: the case before the loss. agents: those without a result. share: of the load, 0 to 1. after_us: when the
    first loss was noticed, from T0; None before T0. why: in sentences.
    """

    planned: Case
    agents: list[str]
    share: float
    after_us: int | None
    why: list[str]


@dataclass(frozen=True, slots=True)
class TrialFacts:
    """Everything observed in one trial, except the counters.

    error: why no load ran; None when it ran. window_end_us: None when the window is the whole load.
    shared_host: the server and the agents were on one machine. accepted_keys: hosts whose new SSH key was
    accepted without verification. stages_us: duration of each stage of the trial, in order; 'load' is the load.
    hosts: resource use of each host during the load. ceilings_per_s: calibrated maximum rate of one agent, by
    load host. commands: the campaign's commands around the trial. tries: why earlier attempts did not count.
    idle_hosts: load hosts that could run agents of this case, and have none.
    lost: the hosts that were lost in the trial, in sentences; the trial has numbers if that was after its load.
    degraded: set if the trial continued without some of its agents; `case` is then what the others drove.
    services: what became of each service that the case needs.
    """

    number: int
    block: int
    case: Case
    started_at_ns: int
    t0_ns: int | None
    window_start_us: int | None
    window_end_us: int | None
    server: ServerFacts
    agents: list[AgentFacts]
    clocks: list[HostClock]
    shared_host: bool
    error: str | None = None
    accepted_keys: list[str] = field(default_factory=list)
    stages_us: dict[str, int] = field(default_factory=dict)
    hosts: list[HostUse] = field(default_factory=list)
    ceilings_per_s: dict[str, float] = field(default_factory=dict)
    commands: list[CommandDone] = field(default_factory=list)
    tries: list[str] = field(default_factory=list)
    idle_hosts: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    degraded: Degraded | None = None
    services: list[ServiceFacts] = field(default_factory=list)

    @property
    def spoiled(self) -> bool:
        """Whether an agent was stopped, or its log was full: requests that are missing say nothing about the server."""
        return any(agent.stopped_us or agent.no_space is not None for agent in self.agents)


@dataclass(frozen=True, slots=True)
class Environment:
    """The software and the hosts of a run. kernel, machine, cores and governor are the coordinator's.

    governor: None where the kernel has no frequency scaling. images, service_images: image digest by target, and by service.
    """

    volley: str
    python: str
    kernel: str
    machine: str
    cores: int
    governor: str | None
    hosts: list[HostDescription]
    images: dict[str, str]
    service_images: dict[str, str] = field(default_factory=dict)
