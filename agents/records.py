"""The records that hosts and coordinator exchange, and that a trial's folder holds. Units are in the names.

Times named `_us` or `_ns` that are instants are CLOCK_REALTIME of the host they are about, unless a name says otherwise.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agents.clock import OffsetBound
from agents.hostmeter import HostUse
from agents.meter import Counters

T = TypeVar("T")


class BadRecord(ValueError):
    """What came is not the record that was agreed."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one agent is to do. requests or duration_us is set; rate_per_s makes it the open model (then requests too).

    clients and requests are this agent's share. window_us: [start, end) after T0, end None for the whole run.
    give_up_us: how long after T0 the agent is ended if it has not ended by itself.
    """

    agent: str
    run: str
    url: str
    clients: int
    give_up_us: int
    window_start_us: int = 0
    window_end_us: int | None = None
    requests: int | None = None
    duration_us: int | None = None
    rate_per_s: float | None = None
    http2: bool = False
    streams: int = 1
    method: str = "GET"
    headers: list[list[str]] = field(default_factory=list)
    body: bytes = b""
    core: int | None = None


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What one agent did, besides its counters.

    ended: 'finished', 'watchdog' (ended by us at give_up_us), 'rate-breaker', 'cancelled' or 'died'.
    started, done: h2load's own summary; None when it printed none. rows: lines in its log.
    sockets_fewest, sockets_most: established connections, sampled while it ran; None: never sampled.
    cpu_busiest: the largest share of one core that one of its threads used over a sampling interval; where it ended before
    the first was over, its share of the whole. waiting_share: the share of the time in which its busiest thread could have
    run and had no core. body_bytes: bodies received, as h2load says. thread_cpu: by thread, the share of a core that it used
    in each sampling interval of about a second.
    released_late_us: how late the gate was opened. errors: what made the data incomplete.
    """

    agent: str
    url: str
    pid: int
    version: str
    gate: str
    ended: str
    exit_status: int | None
    released_late_us: int
    planned: int | None
    rows: int
    before: int
    after: int
    never_sent: int
    boundary: int
    crossing: int
    statuses: dict[int, int]
    first_start_us: int
    last_end_us: int
    total: int | None
    started: int | None
    done: int | None
    errored: int | None
    request_failures: int
    failed_connects: int
    sockets_fewest: int | None
    sockets_most: int | None
    cpu_us: int
    cpu_busiest: float
    clock_moved_ns: int
    slots: int
    protocol: str | None
    due: int | None
    missing: int | None
    late: int | None
    lower_bound: bool
    errors: list[str]
    output: str
    waiting_share: float = 0.0
    body_bytes: int | None = None
    thread_cpu: dict[int, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What became of the server of one trial.

    state: 'ready', 'mismatch' (it answered, and not as expected), 'not-ready', 'exited', 'external' (a URL), 'not-tried'
    (given up after the trials before) or 'not-started' (a command before it failed).
    closes: it ended the connection after its one answer. body_bytes: the length of that answer's body where all must be
    like it, else None. afterwards, afterwards_detail: state once more when the load was over; '' when it was not asked.
    opening and closing: counters at the window's edges; last: when it was looked at for the last time. series: columns by
    name, a value per second of the window: at_s, cpu_us, throttled_us and major_faults of that second, memory_bytes.
    """

    state: str
    detail: str = ""
    image: str = ""
    container: str = ""
    network: str = ""
    ready_after_us: int = 0
    running: bool = True
    exit_code: int | None = None
    restarts: int = 0
    opening: Counters | None = None
    closing: Counters | None = None
    last: Counters | None = None
    closes: bool = False
    body_bytes: int | None = None
    afterwards: str = ""
    afterwards_detail: str = ""
    series: dict[str, list[float]] = field(default_factory=dict)


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
    model: str
    protocol: str
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


@dataclass(frozen=True, slots=True)
class CommandDone:
    """A command of the campaign that was run. when: 'before' or 'after'; status None: it was ended, its time was over.

    Its text is not kept, it can hold secrets; output: the end of what it printed.
    """

    when: str
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


def to_plain(record: Any) -> dict[str, Any]:
    """Turn a record into dictionaries, lists and scalars."""
    return dataclasses.asdict(record)


def from_plain(kind: type[T], plain: Any, where: str = "") -> T:
    """Build a record strictly: unknown, missing and wrongly typed fields raise BadRecord, which says where."""
    where = where or kind.__name__
    if not isinstance(plain, dict):
        raise BadRecord(f"{where}: a {type(plain).__name__} where a record was expected")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(plain) - set(fields))
    if unknown:
        raise BadRecord(f"{where}: unknown field {unknown[0]!r}")
    values = {}
    for name, spec in fields.items():
        if name in plain:
            values[name] = _value(hints[name], plain[name], f"{where}.{name}")
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise BadRecord(f"{where}: field {name!r} is missing")
    return kind(**values)


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _value(next(a for a in arguments if a is not type(None)), value, where)
    if origin is list and isinstance(value, list):
        return [_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        # JSON has no whole-number keys.
        return {
            (int(k) if arguments[0] is int else k): _value(arguments[1], v, f"{where}[{k}]") for k, v in value.items()
        }
    if dataclasses.is_dataclass(hint):
        return from_plain(hint, value, where)  # type: ignore[arg-type]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and origin is None and type(value) is hint:
        return value
    raise BadRecord(f"{where}: {type(value).__name__} {str(value)[:40]!r} where {hint} was expected")
