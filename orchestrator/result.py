"""The hinge: what a trial, a case and a comparison are once they have been evaluated. Everything before makes it,
everything after reads it; on disk it is trial.json, summary.json and the tables.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.facts import TrialFacts
from orchestrator.slo import Term

FORMAT = 1
# What became of a gate.
PASSED, FAILED, UNDECIDED, NOT_COMPARED = "passed", "failed", "undecided", "not compared"
# Names in files -> quantiles. A percentile with fewer than 10/(1-q) requests behind it is withheld.
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


class Verdict(StrEnum):
    """Can the number be trusted? Ordered from good to bad."""

    VALID = "VALID"
    SUSPECT = "SUSPECT"
    INVALID = "INVALID"


class Severity(StrEnum):
    """What a finding does to the verdict: nothing, SUSPECT, INVALID."""

    INFORMATION = "information"
    SUSPECT = "suspect"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Finding:
    """A machine-readable doubt about one trial."""

    code: str
    severity: Severity
    facts: dict[str, Any]
    hint: str


@dataclass(frozen=True, slots=True)
class Requests:
    """What became of the requests that count. For a load bound by requests ok + http_error + failed is what was planned.

    censored: at most so many started inside the window and were not over when the observation ended.
    """

    ok: int = 0
    http_error: int = 0
    failed: int = 0
    censored: int = 0

    @property
    def error_share(self) -> float | None:
        """Requests that did not succeed over all that are accounted for; None without any."""
        total = self.ok + self.http_error + self.failed
        return (self.http_error + self.failed) / total if total else None


@dataclass(frozen=True, slots=True)
class ServerCost:
    """What the server used inside the window; None: not metered, or there was nothing to divide by.

    requests_per_cpu_s: answers for each second of CPU time, which is the throughput of one full core.
    requests_per_s_per_mib: throughput by peak memory.
    """

    cpu_us_per_request: float | None = None
    requests_per_cpu_s: float | None = None
    requests_per_s_per_mib: float | None = None
    cpu_s: float | None = None
    throttled_ratio: float | None = None
    throttled_s: float | None = None
    peak_memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    oom_kills: int | None = None
    major_faults: int | None = None
    restarts: int | None = None


@dataclass(frozen=True, slots=True)
class AgentLine:
    """One agent's part, kept beside the merged result. Times in µs; skew is first start minus T0."""

    agent: str
    requests: int
    throughput_per_s: float
    p50_us: int | None
    p99_us: int | None
    start_skew_us: int | None
    cpu_busiest: float
    share_of_tail: float | None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of a load with several: its own throughput and times."""

    path: str
    ok: int
    throughput_per_s: float
    service_us: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Metrics:
    """One trial's numbers, from merged counters. Times in µs by name of QUANTILES and 'max' and 'mean'; None: withheld.

    statuses: requests of the window by HTTP status ('-1': the stream failed).
    endpoints: one each when the load has several paths, else none.
    lag_us: send lag (open model). lower_bound_from: quantiles above this are lower bounds (requests that never ended).
    series: [second, ok, http_error, failed, p50_us, p99_us] of service time per interval.
    concurrency: mean requests under way in a timed closed load, from service times (Little's law); None for others.
    """

    throughput_per_s: float
    window_s: float
    requests: Requests
    statuses: dict[str, int]
    service_us: dict[str, float | None]
    response_us: dict[str, float | None] | None
    lag_us: dict[str, float | None] | None
    lower_bound_from: float | None
    server: ServerCost
    endpoints: list[Endpoint]
    agents: list[AgentLine]
    series_interval_s: int
    series: list[list[float | None]]
    concurrency: float | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """An evaluated trial. metrics is None when no load was fired."""

    facts: TrialFacts
    metrics: Metrics | None
    findings: list[Finding]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate over trials with its 95 % interval; low and high are None when there are too few trials for one."""

    estimate: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class CaseFinding:
    """A finding with the trials that have it; the facts are those of the first."""

    code: str
    severity: Severity
    trials: list[int]
    facts: dict[str, Any]
    hint: str


@dataclass(frozen=True, slots=True)
class CaseEndpoint:
    """One path of a case over its trials."""

    path: str
    throughput_per_s: Interval | None
    service_time_us: dict[str, Interval | None]


@dataclass(frozen=True, slots=True)
class Objective:
    """An objective and what became of it. limit: µs, a share, or per second. measured None: not known, and so not met."""

    text: str
    metric: str
    limit: float
    measured: Interval | None
    passed: bool


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case over its trials. The numbers come from the trials that are not INVALID; counts are over all that ran.

    trials: planned. used: behind the numbers. start_skew_us: the largest stretch between the first requests of the
    agents of one trial; clock_bound_us: the loosest bound on a host's clock. None where there was nothing to measure.
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
    endpoints: list[CaseEndpoint] = field(default_factory=list)
    findings: list[CaseFinding] = field(default_factory=list)
    slo: list[Objective] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that makes two runs incomparable. kind: image, limits, load, target, hosts or versions; both values."""

    kind: str
    key: str
    baseline: str
    candidate: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidate over baseline for one metric under one load: two targets of a run, or one target of two runs.

    ratio: of the metric; for error_share, which can be zero, `difference` instead, in shares of all requests.
    p_value: of the permutation test. p_holm: of the t-test (paired by block inside a run, Welch's between runs), adjusted
    for the metrics that were compared (Holm); it decides. All are None when they cannot be compared. differences: why not.
    """

    metric: str
    load: str
    baseline: str
    candidate: str
    ratio: Interval | None
    p_value: float | None
    conclusion: str
    reason: str
    p_holm: float | None = None
    difference: Interval | None = None
    target: str = ""
    differences: list[Difference] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Gate:
    """What became of a limit in one case. state: 'passed', 'failed', 'undecided' or 'not compared'; change: a share."""

    case: str
    limit: str
    state: str
    change: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Compared:
    """What `volley compare` says. alone: cases that only one of the runs has."""

    baseline: str
    candidate: str
    comparisons: list[Comparison]
    alone: list[str]
    gates: list[Gate]
    between_runs: bool = True

    @property
    def outcome(self) -> str | None:
        """FAIL when a gate failed, PASS when none did; None without gates, or where none could be looked at."""
        if not self.gates or all(gate.state == NOT_COMPARED for gate in self.gates):
            return None
        return "FAIL" if any(gate.state == FAILED for gate in self.gates) else "PASS"

    @property
    def comparable(self) -> bool:
        """Say whether anything could be compared, and every gate be looked at."""
        some = any(c.conclusion != "incomparable" for c in self.comparisons)
        return some and not any(gate.state == NOT_COMPARED for gate in self.gates)


@dataclass(frozen=True, slots=True)
class Point:
    """One run. value None: INVALID, or withheld; change: since the stretch before, as a share, where something new begins.

    differences: what else is not as it was in the run before, where something new begins.
    """

    run: str
    verdict: str
    value: Interval | None
    change: float | None = None
    differences: list[Difference] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of a search for capacity. times_us: response times; failed: the objectives that it did not meet.

    kind: 'probe', 'reference' (has the server recovered?), 'soak' or 'above'. limited_by: what made it say nothing of the
    server. resource: what the server had none left of.
    """

    trial: int
    kind: str
    rate_per_s: float
    passed: bool
    limited_by: str | None
    failed: list[str]
    throughput_per_s: float | None
    times_us: dict[str, float | None]
    error_share: float | None
    resource: str | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Saturation:
    """How much load one target takes under an objective. Rates per second. terms: the objective, one by one.

    ending: 'capacity', 'always met', 'never met', 'limited', 'budget', 'not recovered', 'not started' or 'unfinished'
    (orchestrator/search/engine.py).
    confirmed: a soak at the interval's lower end held and a step above it did not. held_per_s: the highest rate that passed.
    gave_way: the objective that failed first, resource: what the server had none left of there. start_per_s: what it
    answered as fast as it could, in a closed model, where the search began.
    """

    target: str
    slo: str
    terms: list[Term]
    ending: str
    capacity_per_s: Interval | None
    confirmed: bool
    held_per_s: float | None
    limited_by: str | None
    gave_way: str | None
    resource: str | None
    probes: int
    start_per_s: float
    curve: list[Probe]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Summary:
    """The whole run on one page: summary.json."""

    campaign: str
    verdict: Verdict
    outcome: str | None
    cases: list[CaseResult]
    comparisons: list[Comparison]
    saturation: list[Saturation] = field(default_factory=list)


def worst(verdicts: list[Verdict]) -> Verdict:
    """Give the worst of some verdicts; none at all is INVALID, for then nothing was measured."""
    order = list(Verdict)
    return max(verdicts, key=order.index, default=Verdict.INVALID)
