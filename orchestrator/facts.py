"""What the coordinator knows of a case and of a trial. Units are in the names; instants are on the coordinator's clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from agents.clock import OffsetBound
from agents.hostmeter import HostUse
from agents.records import AgentFacts, ServerFacts


class Model(StrEnum):
    """How a load is driven."""

    CLOSED = "closed"
    OPEN = "open"


class Protocol(StrEnum):
    """What the generator speaks."""

    HTTP1 = "http1"
    HTTP2 = "http2"


class When(StrEnum):
    """When a command of the campaign runs, relative to the trial."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class HostClock:
    """The bound on one host's offset before and after the trial; after is None when the trial never ran."""

    host: str
    before: OffsetBound
    after: OffsetBound | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One target under one load, as planned: totals over all agents. SLOs and statistics are not part of it.

    external: the target is a URL that is already up.
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

    @property
    def load_us(self) -> int | None:
        """Return how long the load lasts: warm-up, duration and tail; None when a number of requests ends it."""
        if self.duration_us is None:
            return None
        return self.warm_up_us + self.duration_us + self.tail_us


@dataclass(frozen=True, slots=True)
class Traffic:
    """What all agents of one trial send: the same request to every URL. urls: one per endpoint, at least one.

    It is never stored, and its repr leaves out what can hold secrets.
    """

    urls: list[str]
    method: str
    headers: list[list[str]] = field(default_factory=list, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class CommandDone:
    """A command of the campaign that was run. when: 'before' or 'after'; status None: it was ended, its time was over.

    Its text is not kept, it can hold secrets; output: the end of what it printed.
    """

    when: When
    host: str
    status: int | None
    lasted_us: int
    output: str


@dataclass(frozen=True, slots=True)
class TrialFacts:
    """Everything that was seen of one trial, except the counters. Instants are on the coordinator's clock.

    error: why no load was fired, when it was not. window_end_us None: the whole run.
    shared_host: the server and the agents were on one machine. accepted_keys: hosts whose SSH keys nobody vouched for.
    stages_us: how long each stage of the trial took, in order; the load itself is 'load'. hosts: what each host did
    meanwhile. ceilings_per_s: by load host, what calibration found one agent there to be able to send. commands: what the
    campaign had run around it. tries: why it was tried before and not counted.
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
