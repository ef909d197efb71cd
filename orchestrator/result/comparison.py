"""Two targets of a run, or two runs, against each other; a case over many runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from agents.generators.contract import Protocol
from orchestrator.result.finding import GateState, Outcome, Verdict, outcome_of
from orchestrator.result.trial import Interval, Time
from orchestrator.slo import Metric


class Conclusion(StrEnum):
    """What a comparison came to, against the smallest effect of interest.

    DIFFERS_HERE: the trials of two runs differ, but runs of one server may differ as much.
    """

    FASTER = "faster"
    SLOWER = "slower"
    DIFFERS_HERE = "differs in this sample"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"
    INCOMPARABLE = "incomparable"


class DifferenceKind(StrEnum):
    """What differs between two runs, as --allow names it."""

    IMAGE = "image"
    LIMITS = "limits"
    LOAD = "load"
    TARGET = "target"
    HOSTS = "hosts"
    VERSIONS = "versions"


class ComparedMetric(StrEnum):
    """What is compared, with its unit."""

    THROUGHPUT = "throughput_per_s"
    SERVICE_P50 = "service_time_p50_us"
    SERVICE_P90 = "service_time_p90_us"
    SERVICE_P95 = "service_time_p95_us"
    SERVICE_P99 = "service_time_p99_us"
    SERVICE_P999 = "service_time_p999_us"
    SERVICE_MAX = "service_time_max_us"
    RESPONSE_P50 = "response_time_p50_us"
    RESPONSE_P90 = "response_time_p90_us"
    RESPONSE_P95 = "response_time_p95_us"
    RESPONSE_P99 = "response_time_p99_us"
    RESPONSE_P999 = "response_time_p999_us"
    RESPONSE_MAX = "response_time_max_us"
    ERRORS = "error_share"

    @property
    def label(self) -> str:
        """The name on pages, without the unit."""
        return self.metric.label if self.time is None else f"{self.time} {self.metric.label}"

    @property
    def time(self) -> Time | None:
        """Which time it is; None for throughput and errors."""
        return next((time for time in Time if self.startswith(time.replace(" ", "_"))), None)

    @property
    def metric(self) -> Metric:
        """The name that it has in objectives, for both times."""
        if self.time is None:
            return Metric.ERRORS if self is ComparedMetric.ERRORS else Metric.THROUGHPUT
        return Metric(self.split("_")[2])


def compared_time(time: Time, metric: Metric) -> ComparedMetric | None:
    """Return what compares a time; None for the mean, which is not compared."""
    return next((each for each in ComparedMetric if (each.time, each.metric) == (time, metric)), None)


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that makes two runs incomparable, with both values."""

    kind: DifferenceKind
    key: str
    baseline: str
    candidate: str


@dataclass(frozen=True, slots=True)
class BetweenRuns:
    """The standard deviation from run to run that a comparison of two runs includes.

    deviation: of the logarithm, for errors of the share of all requests. degrees: of freedom. runs: past runs that it was
    taken from; 0: assumed.
    """

    deviation: float
    degrees: float
    runs: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidate over baseline for one metric under one load.

    Two targets of a run, or one target of two runs.

    ratio: of the metric; for error_share, which can be zero, `difference` instead, in shares of all
    requests. p_value: of the permutation test. p_holm: of the t-test (paired by block inside a run,
    Welch's between runs, with the variation between_runs), adjusted for the metrics that were
    compared (Holm); it decides. All are None when they cannot be compared, and differences says why
    not. trials: pairs, or trials on the smaller side. smallest_effect: a share; of errors, a share of all requests.
    needed: how many trials would settle an inconclusive comparison; None: more than is reasonable, or not asked.
    protocol: of the load; None: not stored.
    baseline_value, candidate_value: of each side's trials: geometric means, of errors the mean share.
    """

    metric: ComparedMetric
    load: str
    baseline: str
    candidate: str
    ratio: Interval | None
    p_value: float | None
    conclusion: Conclusion
    reason: str
    p_holm: float | None = None
    difference: Interval | None = None
    target: str = ""
    differences: list[Difference] = field(default_factory=list)
    between_runs: BetweenRuns | None = None
    trials: int | None = None
    smallest_effect: float | None = None
    needed: int | None = None
    baseline_value: float | None = None
    candidate_value: float | None = None
    protocol: Protocol | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """What became of a limit in one case. change, interval: shares, None where it was not compared."""

    case: str
    limit: str
    state: GateState
    change: float | None
    reason: str
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """What `volley compare` shows. alone: cases that only one of the runs has. same_run: both sides are one folder."""

    baseline: str
    candidate: str
    comparisons: list[Comparison]
    alone: list[str]
    gates: list[Gate]
    between_runs: bool = True
    same_run: bool = False
    strict: bool = False

    @property
    def outcome(self) -> Outcome | None:
        """FAIL when a gate failed, PASS when all passed; None without gates, and where one is undecided or not judged.

        strict: FAIL where one is not passed.
        """
        return outcome_of([gate.state for gate in self.gates], self.strict)

    @property
    def comparable(self) -> bool:
        """Whether something could be compared, and every gate could be judged."""
        some = any(c.conclusion is not Conclusion.INCOMPARABLE for c in self.comparisons)
        return some and not any(gate.state is GateState.NOT_JUDGED for gate in self.gates)


@dataclass(frozen=True, slots=True)
class Point:
    """One run of a trend. value None: INVALID, or withheld. time: None of throughput.

    change: against the level before, as a share, in the first run of a new level; differences: what
    else changed there.
    """

    run: str
    verdict: Verdict
    value: Interval | None
    change: float | None = None
    differences: list[Difference] = field(default_factory=list)
    time: Time | None = None
    protocol: Protocol | None = None
