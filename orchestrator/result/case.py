"""A case over its trials, and a whole run."""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.generators.handshakes import Handshakes
from orchestrator.facts import Case
from orchestrator.result.capacity import Saturation
from orchestrator.result.comparison import Comparison
from orchestrator.result.finding import CaseFinding, GateState, Outcome, Verdict
from orchestrator.result.trial import Interval, Requests, ServerCost, Shape, Time

# Times in µs by name, over the trials.
CaseTimes = dict[str, Interval | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRequest:
    """One request of a case's mix over its trials; the fields are those of CaseResult. share: of the case's requests.

    unexpected: answers that differ from what is expected, of those that were compared.
    """

    name: str
    requests: Requests
    share: float | None
    throughput_per_s: Interval | None
    statuses: dict[str, int]
    service_time_us: CaseTimes
    response_time_us: CaseTimes | None
    first_byte_us: CaseTimes | None
    received_bytes_per_s: Interval | None
    unexpected: int
    objective_time_us: CaseTimes
    objective_service_time_us: CaseTimes
    objective_first_byte_us: CaseTimes
    beyond: list[str]
    slower_share: dict[int, Interval]


@dataclass(frozen=True, slots=True)
class Objective:
    """An objective and what became of it. limit: µs, a share, or per second. request: of the mix, None for all requests.

    measured None: not known. reason: what decided where the number alone did not. passed: state is PASSED, kept because
    format 1 had it first. time: which time it is about; None for throughput and errors.
    """

    text: str
    metric: str
    limit: float
    measured: Interval | None
    passed: bool
    reason: str = ""
    state: GateState = GateState.NOT_JUDGED
    time: Time | None = None
    request: str | None = None


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case over its trials. The numbers come from the trials that are not INVALID.

    Counts are over all that ran.

    trials: planned. used: behind the numbers. start_skew_us: the largest stretch between the first
    requests of the agents of one trial; clock_bound_us: the loosest bound on a host's clock. None
    where there was nothing to measure. response_time_us: open loop only. objective_time_us,
    objective_service_time_us, beyond: as in Metrics,
    over the trials. planned: the case as it was planned, with the generator that sent its trials. urls: what the
    agents requested. statuses: requests of the windows by HTTP status ('-1': no answer), over all trials that ran.
    service_time_longest_us, response_time_longest_us: of one request in all trials behind the numbers; 'max' among the
    times is the mean of the trials' maxima, which comparisons need. service_time_shape, response_time_shape:
    successful answers of the trials behind the numbers, by time. load_lost: the largest share of the load that a trial
    behind the numbers lost; None where each had all of it. mix: one each for a load with several requests, else none.
    first_byte_us: None where the generator does not log it. body_bytes: of one successful answer, on average.
    slower_share: of all requests, those that did not meet a time limit of the case, by limit in µs; those without a
    successful answer are among them. services: as `server`, by name. handshakes: of a load over
    WebSocket, over all trials that ran.
    """

    case: str
    target: str
    load: str
    trials: int
    used: int
    verdict: Verdict
    throughput_per_s: Interval | None
    service_time_us: dict[str, Interval | None]
    response_time_us: dict[str, Interval | None] | None
    requests: Requests
    server: ServerCost
    start_skew_us: int | None = None
    clock_bound_us: int | None = None
    mix: list[CaseRequest] = field(default_factory=list)
    findings: list[CaseFinding] = field(default_factory=list)
    slo: list[Objective] = field(default_factory=list)
    objective_time_us: dict[str, Interval | None] = field(default_factory=dict)
    objective_service_time_us: dict[str, Interval | None] = field(default_factory=dict)
    beyond: list[str] = field(default_factory=list)
    planned: Case | None = None
    urls: list[str] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    service_time_longest_us: float | None = None
    response_time_longest_us: float | None = None
    service_time_shape: Shape = field(default_factory=dict)
    response_time_shape: Shape = field(default_factory=dict)
    load_lost: float | None = None
    first_byte_us: CaseTimes | None = None
    received_bytes_per_s: Interval | None = None
    body_bytes: float | None = None
    objective_first_byte_us: CaseTimes = field(default_factory=dict)
    slower_share: dict[int, Interval] = field(default_factory=dict)
    services: dict[str, ServerCost] = field(default_factory=dict)
    handshakes: Handshakes | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """The whole run on one page: summary.json."""

    campaign: str
    verdict: Verdict
    outcome: Outcome | None
    cases: list[CaseResult]
    comparisons: list[Comparison]
    saturation: list[Saturation] = field(default_factory=list)
