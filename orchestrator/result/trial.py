"""One trial's numbers, from merged counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.facts import TrialFacts
from orchestrator.result.finding import Finding, Verdict


class Time(StrEnum):
    """Which time a number is of. Response time exists in the open loop only."""

    SERVICE = "service time"
    RESPONSE = "response time"
    FIRST_BYTE = "time to first byte"


# Times in µs by name: those of slo.TIMES. None: withheld, too few requests are behind it.
Times = dict[str, float | None]

# How times are distributed, coarse enough to draw and to store: counts by bucket, SHAPE_PER_DECADE buckets for each power
# of ten. Bucket b holds the times from 10^(b / SHAPE_PER_DECADE) µs up to where bucket b + 1 begins. Shapes add up.
Shape = dict[int, int]
SHAPE_PER_DECADE = 20


# The names that trial.json had first: it keeps them beside the present ones, because format 1 stays
# readable.
FORMER_NAMES = {"service_us": "service_time_us", "response_us": "response_time_us", "lag_us": "send_lag_us"}


def with_former_names(metrics: Mapping[str, object]) -> dict[str, object]:
    """Return plain metrics with the former names of their times, and of the requests of their mix, as well."""
    plain = {**metrics, **{old: metrics[new] for old, new in FORMER_NAMES.items() if new in metrics}}
    if isinstance(mix := metrics.get("mix"), list):
        plain["mix"] = [with_former_names(request) for request in mix]
        plain["endpoints"] = [former_endpoint(request) for request in mix]
    return plain


def former_endpoint(request: Mapping[str, Any]) -> dict[str, object]:
    """Return a request of a mix as format 1 had it first: a path with its throughput and service times."""
    times = request["service_time_us"]
    known = {"path": request["name"], "throughput_per_s": request["throughput_per_s"], "service_time_us": times}
    return {**known, "ok": request["requests"]["ok"], "service_us": times}


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate over trials with its 95 % interval.

    Low and high are None when there are too few trials for one.
    """

    estimate: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Requests:
    """What became of the requests that count.

    In a load bound by requests, ok + http_error + failed is what was planned.

    censored: upper bound on the requests that started inside the window and had not ended when the
    observation did.
    """

    ok: int = 0
    http_error: int = 0
    failed: int = 0
    censored: int = 0

    @property
    def unsuccessful(self) -> int:
        """HTTP errors and failed requests."""
        return self.http_error + self.failed

    @property
    def error_share(self) -> float | None:
        """Requests that did not succeed over all that are accounted for; None without any."""
        total = self.ok + self.unsuccessful
        return self.unsuccessful / total if total else None


@dataclass(frozen=True, slots=True)
class ServerCost:
    """What the server used inside the window; None: not metered, or there was nothing to divide by.

    requests_per_cpu_s: answers for each second of CPU time, which is the throughput of one full
    core. requests_per_s_per_mib: throughput by peak memory.
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
    """One agent's part, kept beside the merged result. p50 and p99 are of service time.

    Skew is the first start minus T0, or minus the first due time in the open loop.
    """

    agent: str
    requests: int
    throughput_per_s: float
    p50_us: int | None
    p99_us: int | None
    start_skew_us: int | None
    cpu_busiest: float
    share_of_tail: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFigures:
    """One request of a load with several, or all that have no counters of their own. The fields are those of Metrics.

    share: of all requests that count. unexpected: answers that differ from what is expected, of those that were compared.
    """

    name: str
    requests: Requests
    share: float | None
    throughput_per_s: float
    statuses: dict[str, int]
    service_time_us: Times
    response_time_us: Times | None
    first_byte_us: Times | None
    received_bytes_per_s: float | None
    unexpected: int
    objective_time_us: Times
    objective_service_time_us: Times
    objective_first_byte_us: Times
    beyond: list[str]
    slower: dict[int, int]
    first_byte_slower: dict[int, int]


@dataclass(frozen=True, slots=True)
class Metrics:
    """One trial's numbers, from merged counters.

    statuses: requests of the window by HTTP status ('-1': the stream failed). mix: one each
    when the load has several requests, else none. response_time_us, send_lag_us: open loop only.
    first_byte_us: from send to the first byte of a successful answer; None where the generator does not log it.
    received_bytes: of the bodies of successful answers, None where it is not known.
    lower_bound_from: quantiles above this are lower bounds, because some requests never ended.
    series: [second, ok, http_error, failed, p50_us, p99_us] of service time per interval.
    concurrency: mean requests under way in a timed closed load, from service times (Little's law);
    None for others.
    objective_time_us: what objectives are judged by: percentiles over all requests, where one without
    a successful answer is slower than any limit; objective_service_time_us: the same of service time, in the open loop,
    where the first is response time. beyond: those that fall on such requests.
    slower: successful answers that did not meet a time limit of the case, by limit in µs; first_byte_slower: those whose
    first byte did not.
    service_time_shape, response_time_shape: of the successful answers; the second in the open loop only.
    services: what each service of the target used inside the window, by name.
    """

    throughput_per_s: float
    window_s: float
    requests: Requests
    statuses: dict[str, int]
    service_time_us: Times
    response_time_us: Times | None
    send_lag_us: Times | None
    lower_bound_from: float | None
    server: ServerCost
    mix: list[RequestFigures]
    agents: list[AgentLine]
    series_interval_s: int
    series: list[list[float | None]]
    concurrency: float | None = None
    objective_time_us: Times = field(default_factory=dict)
    objective_service_time_us: Times = field(default_factory=dict)
    beyond: list[str] = field(default_factory=list)
    slower: dict[int, int] = field(default_factory=dict)
    service_time_shape: Shape = field(default_factory=dict)
    response_time_shape: Shape = field(default_factory=dict)
    first_byte_us: Times | None = None
    received_bytes: int | None = None
    received_bytes_per_s: float | None = None
    objective_first_byte_us: Times = field(default_factory=dict)
    first_byte_slower: dict[int, int] = field(default_factory=dict)
    services: dict[str, ServerCost] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """An evaluated trial. metrics is None when no load was fired."""

    facts: TrialFacts
    metrics: Metrics | None
    findings: list[Finding]
    verdict: Verdict

    @property
    def is_whole(self) -> bool:
        """Whether its numbers are of the load that was asked for: it is not INVALID, and lost no part of its load."""
        return self.verdict is not Verdict.INVALID and self.facts.degraded is None
