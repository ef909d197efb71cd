"""The records that hosts and coordinator exchange, and that a trial's folder holds. Units are in the names.

Times named `_us` or `_ns` that are instants are CLOCK_REALTIME of the host they are about, unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from agents.cgroup import Counters
from agents.destinations import Permitted
from agents.generators.contract import Arrivals, DataOrder, Wanted
from agents.generators.handshakes import Handshakes
from agents.plain import BadRecord as BadRecord
from agents.plain import from_plain as from_plain
from agents.plain import to_plain as to_plain
from agents.room import FolderRoom
from agents.tls import PLAIN, Tls


class ServerState(StrEnum):
    """What became of the server of a trial. EXTERNAL: a URL that is already up; NONE: no container yet.

    NOT_TRIED: given up after the trials before. NOT_STARTED: a command before it failed. MISMATCH: it answered, and not as
    expected. UNKNOWN: it was not asked.
    """

    NONE = "none"
    STARTING = "starting"
    READY = "ready"
    EXTERNAL = "external"
    MISMATCH = "mismatch"
    NOT_READY = "not-ready"
    EXITED = "exited"
    NOT_TRIED = "not-tried"
    NOT_STARTED = "not-started"
    UNKNOWN = ""


class Ended(StrEnum):
    """How an agent ended.

    WATCHDOG: Volley ended it at give_up_us; RATE_BREAKER: it sent far more than its schedule; NO_SPACE: its log found no
    room.
    """

    FINISHED = "finished"
    WATCHDOG = "watchdog"
    RATE_BREAKER = "rate-breaker"
    CANCELLED = "cancelled"
    MALFORMED_LOG = "malformed-log"
    NO_SPACE = "no-space"
    DIED = "died"


class GeneratorKind(StrEnum):
    """Which generator sends the requests. COMMAND: a program of the user's that follows the contract."""

    H2LOAD = "h2load"
    PACED = "paced"
    WEBSOCKET = "websocket"
    COMMAND = "command"


class HostRole(StrEnum):
    """What a host is used for. SERVICE: side containers. COMMAND: only commands of the campaign run there."""

    SERVER = "server"
    LOAD = "load"
    SERVICE = "service"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class AssignedRequest:
    """One request of a load. weight: its share is weight / sum of weights. timeout_us: None for no limit.

    name: what pages call it. allowed: the statuses that count as success; empty: 100 to 399. wanted: of its answers' bodies.
    """

    name: str
    url: str
    method: str = "GET"
    headers: list[list[str]] = field(default_factory=list, repr=False)
    body: bytes = field(default=b"", repr=False)
    weight: float = 1.0
    timeout_us: int | None = None
    allowed: list[int] = field(default_factory=list)
    wanted: Wanted | None = None
    binary: bool = False


@dataclass(frozen=True, slots=True)
class AssignedData:
    """Rows that an agent puts into its requests: `${row.COLUMN}` becomes the text of that column.

    order: as in the contract. rows: in the order in which the agent takes them, when it goes through them in turn.
    """

    columns: list[str]
    rows: list[list[str]] = field(repr=False)
    order: DataOrder = DataOrder.CYCLE


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one agent is to do. count or duration_us is set; rate_per_s makes it the open loop (then duration_us).

    clients, count and rate_per_s are this agent's share; agents: how many share the load. window_us: [start, end) after
    T0, end None for the whole run. give_up_us: how long after T0 the agent is ended if it has not ended by itself.
    first_due_ns: due time of its first request after T0, so that all agents together form one stream.
    program: the command line of a generator of the user's. timeout_us: per request; None for no limit. verify: check the
    server's certificate. requests: the mix, or the one request with what its answers must be; url, method, headers and body
    are those of the first. data: rows for the placeholders in requests. socket: the path of the server's unix socket; ''
    for the address of the URL. permitted: where the load may go; None: to a server that Volley started itself. addresses:
    those that the generator must connect to, found on its host; none where the URL's own host is right.
    """

    agent: str
    run: str
    url: str
    clients: int
    give_up_us: int
    window_start_us: int = 0
    window_end_us: int | None = None
    count: int | None = None
    duration_us: int | None = None
    rate_per_s: float | None = None
    http2: bool = False
    websocket: bool = False
    streams: int = 1
    method: str = "GET"
    headers: list[list[str]] = field(default_factory=list)
    body: bytes = b""
    core: int | None = None
    generator: GeneratorKind = GeneratorKind.H2LOAD
    program: list[str] = field(default_factory=list)
    agents: int = 1
    arrivals: Arrivals = Arrivals.EVEN
    seed: int = 0
    first_due_ns: int = 0
    timeout_us: int | None = None
    verify: bool = False
    requests: list[AssignedRequest] = field(default_factory=list)
    data: AssignedData | None = None
    tls: Tls = PLAIN
    socket: str = ""
    permitted: Permitted | None = None
    addresses: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What one agent did, besides its counters.

    started, done: the generator's own summary; None when it printed none. rows: lines in its log.
    sockets_fewest, sockets_most: sockets that it held open, sampled while it ran; None: never sampled.
    cpu_busiest: the largest share of one core that one of its threads used over a sampling interval; where it ended before
    the first was over, its share of the whole. waiting_share: the share of the time in which its busiest thread could have
    run and had no core. body_bytes: bodies received, as the generator says. thread_cpu: by thread, the share of a core that
    it used in each sampling interval of about a second.
    released_late_us: how late the gate was opened. errors: what made the data incomplete.
    slots: the most requests that it could have under way at once. statuses: requests of the window by HTTP status; below 0:
    failures, by agents.generators.contract.Failure.
    due, missing: requests that were due in the window, and those of them without any answer. late: sent later than late_us
    after they were due. early, off_schedule: sent before they were due; due times that are not on the task's schedule.
    largest_burst, largest_due: the most requests sent, and due, within one millisecond of the window.
    waited_for_slot, connects, most_connections, retried: the generator's summary; None: it does not say.
    hung: slots of a closed loop without an answer any more at the window's end.
    drain_us: how long, at the end of a load bound by a count, fewer requests than slots were left.
    first_due_us: when its first request was due, where the generator logs that; else 0.
    checked: how many bodies the generator compared with what is expected under load; None: it compares none. unexpected:
    those of them that differ, by request of the mix; unexpected_example: what one of these was.
    opened_about: where the generator does not say how many connections it opened, about how many, from what its sockets
    had carried when they were looked at.
    handshakes: what happened on the connections of the generator websocket; None with the others.
    stopped_us: how long it was stopped from outside (a signal, a paused host) at least; two seconds are always noticed.
    no_space: the folder of its log where that was full; moved_log: the folder that had too little room for it, so that the
    log was in the temporary folder.
    """

    agent: str
    url: str
    pid: int
    version: str
    gate: str
    ended: Ended
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
    generator: GeneratorKind = GeneratorKind.H2LOAD
    late_us: int | None = None
    early: int = 0
    off_schedule: int = 0
    largest_burst: int | None = None
    largest_due: int | None = None
    waited_for_slot: int | None = None
    connects: int | None = None
    most_connections: int | None = None
    retried: int | None = None
    hung: int = 0
    drain_us: int | None = None
    first_due_us: int = 0
    unexpected: dict[int, int] = field(default_factory=dict)
    checked: int | None = None
    unexpected_example: dict[int, str] = field(default_factory=dict)
    opened_about: int | None = None
    handshakes: Handshakes | None = None
    stopped_us: int = 0
    no_space: FolderRoom | None = None
    moved_log: FolderRoom | None = None


@dataclass(frozen=True, slots=True)
class HostDescription:
    """What a host offers in its role. cores: those that its processes may use; clock_port: UDP port of the clock responder.

    h2load: its version, None where it is missing or too old; open_files: the most that a process can have;
    ephemeral_ports: how many the kernel gives to outgoing connections to one place (load hosts). docker, cgroup,
    memory_bytes: the engine's version, the cgroup version, the host's memory (server hosts).
    """

    host: str
    role: HostRole
    kernel: str
    cores: list[int]
    clock_port: int
    h2load: str | None = None
    docker: str | None = None
    cgroup: str | None = None
    memory_bytes: int | None = None
    open_files: int | None = None
    ephemeral_ports: int | None = None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What became of the server of one trial.

    state: 'ready', 'mismatch' (it answered, and not as expected), 'not-ready', 'exited', 'external' (a URL), 'not-tried'
    (given up after the trials before) or 'not-started' (a command before it failed).
    closes: it ended the connection after its one answer. body_bytes: the length of that answer's body where all must be
    like it, else None. status: of that answer; asked: method and path of its request.
    until_close: only the connection's end showed where its body ends. location: where it redirected to, without a query.
    endless: its body had not ended when the check gave it up. answer_us: how long the answer took. allowed: the statuses
    that the campaign expects; empty: all below 400. asked_to_close: requests of the load have the
    header Connection: close. locations: where requests of a mix were redirected to before the load, by their names.
    afterwards, afterwards_detail, afterwards_status: the same once more when the load was over; '' when it was not asked.
    last_line: what a container that ended has printed last.
    opening and closing: counters at the window's edges; last: when it was looked at for the last time. series: columns by
    name, a value per second of the window: at_s, cpu_us, throttled_us and major_faults of that second, memory_bytes.
    """

    state: ServerState
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
    afterwards: ServerState = ServerState.UNKNOWN
    afterwards_detail: str = ""
    status: int | None = None
    asked: str = ""
    until_close: bool = False
    location: str = ""
    endless: bool = False
    answer_us: int = 0
    allowed: list[int] = field(default_factory=list)
    afterwards_status: int | None = None
    last_line: str = ""
    asked_to_close: bool = False
    locations: dict[str, str] = field(default_factory=dict)
    series: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What became of one service of one trial.

    state: READY, NOT_READY (its health check or its port did not succeed in time), EXITED, NONE (removed); NOT_STARTED: a
    command that prepares it failed. detail: why, with the last line of its log where it exited. image: the id. restarts:
    0, unless something outside restarted it. opening, closing, last, series: as in ServerFacts, for the window of the last
    meter(). cpus, memory_bytes: its limits. exited_after_us: from its start to its end, as the engine says; None while it
    runs. oom_killed: its first process was killed for memory, as the engine says. replaced: how the container before this
    one ended, where it should have been kept; '' where it was not replaced.
    """

    name: str
    host: str
    state: ServerState
    detail: str = ""
    image: str = ""
    container: str = ""
    network: str = ""
    ready_after_us: int = 0
    running: bool = False
    exit_code: int | None = None
    restarts: int = 0
    exited_after_us: int | None = None
    oom_killed: bool = False
    opening: Counters | None = None
    closing: Counters | None = None
    last: Counters | None = None
    series: dict[str, list[float]] = field(default_factory=dict)
    cpus: float | None = None
    memory_bytes: int | None = None
    replaced: str = ""
