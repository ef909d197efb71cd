"""A stored run as OpenMetrics text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agents.histogram import HdrCounts
from agents.recorder import OK
from agents.totals import buckets_of
from orchestrator.analyse.cases import behind
from orchestrator.facts import Environment
from orchestrator.metrics import families
from orchestrator.metrics.families import LABELS, Load, add_times, times_family
from orchestrator.result import CaseResult, Interval, Summary, Trial, Verdict
from orchestrator.stored.evaluate import Finished, evaluate_run
from orchestrator.stored.reading import read_environment, read_trial, stored_trials

if TYPE_CHECKING:
    from prometheus_client.metrics_core import GaugeMetricFamily, Metric


def document(run: Path) -> str:
    """Return a run as OpenMetrics text. Raise StoredRunError."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.openmetrics.exposition import generate_latest

    registry = CollectorRegistry()
    registry.register(_StoredMetrics(evaluate_run(run), read_environment(run)))
    return str(generate_latest(registry).decode())


class _StoredMetrics:
    """A collector of prometheus_client."""

    def __init__(self, finished: Finished, environment: Environment | None) -> None:
        self._finished = finished
        self._environment = environment

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        finished = self._finished
        yield self._info()
        yield from _requests(finished.summary, finished.trials)
        yield from _connections(finished.summary)
        if finished.summary.saturation:
            yield _capacity(finished.summary)
            return
        yield from _results(finished.summary)
        if any(case.mix for case in finished.summary.cases):
            yield from _mix(finished.summary)
        if any(case.services for case in finished.summary.cases):
            yield from _services(finished.summary)
        yield from _times(finished)

    def _info(self) -> Metric:
        from prometheus_client.metrics_core import InfoMetricFamily

        finished, known = self._finished, self._environment
        info = InfoMetricFamily(families.INFO, "The run.")
        labels = {"campaign": finished.summary.campaign, "run": finished.path.resolve().name}
        labels["verdict"] = str(finished.summary.verdict)
        labels["outcome"] = str(finished.summary.outcome or "")
        versions = {"volley_version": known.volley, "python_version": known.python} if known else {}
        info.add_metric([], {**labels, **versions})
        return info


def _requests(summary: Summary, trials: list[Trial]) -> Iterator[Metric]:
    """Yield the requests and the trials of each case. A search has one case for each kind of probe."""
    from prometheus_client.metrics_core import CounterMetricFamily

    requests = CounterMetricFamily(
        families.REQUESTS, "Requests of all trials that ran, by outcome.", labels=[*LABELS, "outcome"]
    )
    counted = CounterMetricFamily(families.TRIALS, "Trials, by verdict.", labels=[*LABELS, "verdict"])
    for load, own in _by_load(summary, trials).items():
        total = [trial.metrics.requests for trial in own if trial.metrics is not None]
        for outcome in families.OUTCOMES:
            requests.add_metric([*load.labels, outcome], sum(getattr(each, outcome) for each in total))
        for verdict in Verdict:
            counted.add_metric([*load.labels, str(verdict)], sum(trial.verdict is verdict for trial in own))
    yield from (requests, counted)


def _connections(summary: Summary) -> Iterator[Metric]:
    """Yield the connections of loads over WebSocket; nothing without such a load."""
    from prometheus_client.metrics_core import CounterMetricFamily

    opened = CounterMetricFamily(families.CONNECTIONS, "WebSocket connections of all trials that ran.", labels=LABELS)
    failed = CounterMetricFamily(
        families.REFUSED,
        "Failed WebSocket handshakes, by HTTP status; 0, -2, -6: no response.",
        labels=[*LABELS, "status"],
    )
    known = [(case, case.handshakes) for case in summary.cases if case.handshakes is not None]
    for case, counted in known:
        labels = _load(summary, case).labels
        opened.add_metric(labels, counted.opened)
        for status, number in sorted(counted.refused.items()):
            failed.add_metric([*labels, str(status)], number)
    if known:
        yield from (opened, failed)


def _by_load(summary: Summary, trials: list[Trial]) -> dict[Load, list[Trial]]:
    found: dict[Load, list[Trial]] = {_load(summary, case): [] for case in summary.cases}
    for trial in trials:
        case = trial.facts.case
        found.setdefault(Load(summary.campaign, case.name, case.target, case.load), []).append(trial)
    return found


def _load(summary: Summary, case: CaseResult) -> Load:
    return Load(summary.campaign, case.case, case.target, case.load)


def _results(summary: Summary) -> Iterator[Metric]:
    """Yield throughput, verdict and findings of each case."""
    from prometheus_client.metrics_core import GaugeMetricFamily, StateSetMetricFamily

    throughput = GaugeMetricFamily(
        families.THROUGHPUT,
        "Successful answers per second: the estimate over trials, and the ends of its 95 % interval.",
        labels=[*LABELS, "bound"],
    )
    verdicts = StateSetMetricFamily(families.VERDICT, "Can the numbers be trusted?", labels=LABELS)
    findings = GaugeMetricFamily(families.FINDINGS, "Trials with this finding.", labels=[*LABELS, "code", "severity"])
    for case in summary.cases:
        labels = _load(summary, case).labels
        _add_interval(throughput, labels, case.throughput_per_s)
        verdicts.add_metric(labels, {str(verdict): verdict is case.verdict for verdict in Verdict})
        for finding in case.findings:
            findings.add_metric([*labels, str(finding.code), str(finding.severity)], len(finding.trials))
    yield from (throughput, verdicts, findings)
    received = GaugeMetricFamily(
        families.RECEIVED, "Bytes of the bodies of successful answers per second.", labels=[*LABELS, "bound"]
    )
    for case in summary.cases:
        _add_interval(received, _load(summary, case).labels, case.received_bytes_per_s)
    if received.samples:
        yield received


def _mix(summary: Summary) -> Iterator[Metric]:
    """Yield the requests, the throughput and the times of each request of a mix."""
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    requests = CounterMetricFamily(
        families.MIX_REQUESTS, "Requests of all trials that ran, by outcome.", labels=[*LABELS, "request", "outcome"]
    )
    throughput = GaugeMetricFamily(
        families.MIX_THROUGHPUT, "Successful answers per second.", labels=[*LABELS, "request", "bound"]
    )
    times = GaugeMetricFamily(
        families.MIX_TIME,
        "Service and response time: the estimate over trials.",
        labels=[*LABELS, "request", "time", "statistic"],
    )
    for case in summary.cases:
        for request in case.mix:
            labels = [*_load(summary, case).labels, request.name]
            for outcome in families.OUTCOMES:
                requests.add_metric([*labels, outcome], getattr(request.requests, outcome))
            _add_interval(throughput, labels, request.throughput_per_s)
            for time, values in (("service", request.service_time_us), ("response", request.response_time_us or {})):
                for name, value in values.items():
                    if value is not None:
                        times.add_metric([*labels, time, name], value.estimate / 1e6)
    yield from (requests, throughput, times)


def _services(summary: Summary) -> Iterator[Metric]:
    """Yield what the services of each case used; nothing for what was not metered."""
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    labels = [*LABELS, "service"]
    cpu = GaugeMetricFamily(families.SERVICE_CPU, "CPU time in the window, on average over trials.", labels=labels)
    memory = GaugeMetricFamily(families.SERVICE_MEMORY, "Peak memory over all trials.", labels=labels)
    throttled = GaugeMetricFamily(
        families.SERVICE_THROTTLED, "Share of the scheduling periods in which its CPU quota stopped it.", labels=labels
    )
    kills = CounterMetricFamily(families.SERVICE_KILLS, "Processes that were killed for memory.", labels=labels)
    starts = CounterMetricFamily(
        families.SERVICE_STARTS, "How often one that is kept had ended and was started again.", labels=labels
    )
    for case in summary.cases:
        for name, used in case.services.items():
            own = [*_load(summary, case).labels, name]
            for family, value in (
                (cpu, used.cpu_s),
                (memory, used.peak_memory_bytes),
                (throttled, used.throttled_ratio),
                (kills, used.oom_kills),
                (starts, used.restarts),
            ):
                if value is not None:
                    family.add_metric(own, value)
    yield from (cpu, memory, throttled, kills, starts)


def _capacity(summary: Summary) -> Metric:
    from prometheus_client.metrics_core import GaugeMetricFamily

    capacity = GaugeMetricFamily(
        families.CAPACITY,
        "The highest rate that meets the objective, and the ends of its interval.",
        labels=["campaign", "target", "objective", "confirmed", "verdict", "bound"],
    )
    for found in summary.saturation:
        labels = [summary.campaign, found.target, found.slo, str(found.confirmed).lower(), str(found.verdict)]
        _add_interval(capacity, labels, found.capacity_per_s)
    return capacity


def _add_interval(family: GaugeMetricFamily, labels: list[str], value: Interval | None) -> None:
    if value is None:
        return
    for bound, number in (("estimate", value.estimate), ("low", value.low), ("high", value.high)):
        if number is not None:
            family.add_metric([*labels, bound], number)


def _times(finished: Finished) -> Iterator[Metric]:
    """Yield the histograms of each case, over the trials behind its numbers."""
    service = times_family(
        families.SERVICE_TIME, "Service time of successful answers, of the trials behind the case's numbers."
    )
    response = times_family(
        families.RESPONSE_TIME, "Open loop: response time, of the trials behind the case's numbers."
    )
    folders = dict(zip((t.facts.number for t in finished.trials), stored_trials(finished.path), strict=True))
    for load, own in _by_load(finished.summary, finished.trials).items():
        answered, due = HdrCounts(), HdrCounts()
        for trial in behind(own):
            _, merged = read_trial(folders[trial.facts.number])
            answered += merged.service[OK]
            due += merged.response or HdrCounts()
        add_times(service, load, buckets_of(answered))
        if due.n:
            add_times(response, load, buckets_of(due))
    yield from (service, response)
