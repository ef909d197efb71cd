"""From trials to cases and to the summary of a run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from agents.generators.contract import Model
from agents.generators.handshakes import Handshakes
from agents.wire import AgentResult
from orchestrator.analyse import compare as comparing
from orchestrator.analyse import mix, objectives, verdict
from orchestrator.analyse.estimates import added, intervals, slower_shares
from orchestrator.analyse.findings import across, find
from orchestrator.analyse.metrics import evaluate
from orchestrator.analyse.precision import Precision
from orchestrator.analyse.ranges import together, without_numbers
from orchestrator.analyse.statistics import geometric_mean
from orchestrator.facts import Case, TrialFacts
from orchestrator.merge import Merged, merge
from orchestrator.result import (
    CaseFinding,
    CaseResult,
    Finding,
    FindingCode,
    Interval,
    Metrics,
    Requests,
    ServerCost,
    Severity,
    Summary,
    Times,
    Trial,
    Verdict,
    worst,
)
from orchestrator.slo import Metric, Term

# A case with more requests is named after its first URL.
MOST_URLS = 20
_ORDER = (Severity.INVALID, Severity.SUSPECT, Severity.INFORMATION)


def judge(facts: TrialFacts, results: Iterable[AgentResult] | Merged) -> Trial:
    """Evaluate one trial: merge counters, compute numbers, find doubts, decide the verdict.

    results: of each agent, or their sum where they were added up while they were read.
    """
    merged = results if isinstance(results, Merged) else merge(results)
    metrics = evaluate(facts, merged) if merged.parts else None
    findings = find(facts, metrics)
    return Trial(facts, metrics, findings, verdict.of_findings(findings))


def summarise(
    campaign: str,
    cases: Sequence[Case],
    trials: list[Trial],
    required: int,
    baseline: str | None,
    smallest_effect: float,
    slo: Mapping[str, Sequence[Term]] | None = None,
    precision: Precision | None = None,
) -> Summary:
    """Summarise a run. `cases` are the planned ones: each has a result, even if nothing ran."""
    results = []
    for case in cases:
        result = case_result(case, [t for t in trials if t.facts.case.name == case.name], required)
        terms = (slo or {}).get(case.name, [])
        findings = [*result.findings, *across.not_precise(result, precision)]
        results.append(replace(result, findings=findings, slo=objectives.objectives(result, terms)))
    comparisons = comparing.compare(trials, results, baseline, smallest_effect) if baseline is not None else []
    return Summary(
        campaign, worst([case.verdict for case in results]), objectives.outcome(results), results, comparisons
    )


def _sent(case: Case, trials: Iterable[Trial]) -> Case:
    """Return a case as it was planned, with the generator that sent its trials: paced may have replaced h2load."""
    generators = {trial.facts.case.generator for trial in trials if trial.facts.agents}
    return replace(case, generator=generators.pop()) if len(generators) == 1 else case


def case_result(case: Case, trials: list[Trial], required: int) -> CaseResult:
    """Summarise one case over its trials."""
    changed = across.host_changed(trials)
    used = counted(trials)
    shown = [t.metrics for t in behind(trials) if t.metrics is not None]
    return CaseResult(
        case=case.name,
        target=case.target,
        load=case.load,
        trials=len(trials),
        used=len(used),
        verdict=worst([verdict.of_case(trials, required), verdict.of_findings(changed)]),
        throughput_per_s=geometric_mean([m.throughput_per_s for m in shown]),
        service_time_us=intervals([m.service_time_us for m in shown]),
        response_time_us=intervals([m.response_time_us or {} for m in shown]) if case.model == Model.OPEN else None,
        objective_time_us=intervals([m.objective_time_us for m in shown]),
        objective_service_time_us=intervals([m.objective_service_time_us for m in shown])
        if case.model == Model.OPEN
        else {},
        beyond=sorted({name for m in shown for name in m.beyond}),
        requests=_total([t.metrics.requests for t in trials if t.metrics is not None]),
        server=_cost(trials),
        start_skew_us=max((skew for m in shown if (skew := _skew(m)) is not None), default=None),
        clock_bound_us=max((clock.half_width_ns // 1000 for t in trials for clock in t.facts.clocks), default=None),
        mix=mix.over_trials([m.mix for m in shown], [t.metrics.mix for t in trials if t.metrics is not None]),
        findings=_findings(trials, changed),
        planned=_sent(case, trials),
        urls=list(
            dict.fromkeys(url for t in trials for a in t.facts.agents if a.url for url in _urls(t.facts.case, a.url))
        ),
        statuses=added([t.metrics.statuses for t in trials if t.metrics is not None]),
        service_time_longest_us=_longest([m.service_time_us for m in shown]),
        response_time_longest_us=_longest([m.response_time_us or {} for m in shown]),
        service_time_shape=added([m.service_time_shape for m in shown]),
        response_time_shape=added([m.response_time_shape for m in shown]),
        first_byte_us=intervals([m.first_byte_us or {} for m in shown])
        if any(m.first_byte_us for m in shown)
        else None,
        received_bytes_per_s=_received(shown),
        body_bytes=_body_bytes(shown),
        objective_first_byte_us=intervals([m.objective_first_byte_us for m in shown]),
        slower_share=slower_shares(shown),
        services=_services(case, trials),
        load_lost=max((t.facts.degraded.share for t in used if t.facts.degraded is not None), default=None),
        handshakes=_handshakes(trials),
    )


def _handshakes(trials: Sequence[Trial]) -> Handshakes | None:
    """Return what happened on the connections of all trials; None where no generator counts that."""
    counted = [agent.handshakes for t in trials for agent in t.facts.agents if agent.handshakes is not None]
    return sum(counted, Handshakes()) if counted else None


def behind(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials behind a case's numbers: those that count; where none does, those that ran."""
    return counted(trials) or [trial for trial in trials if trial.metrics is not None]


def counted(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials of a case that count: not INVALID, and of the whole load.

    Only where each of them lost a part of its load, those that did.
    """
    left = [trial for trial in trials if trial.metrics is not None and trial.verdict is not Verdict.INVALID]
    return [trial for trial in left if trial.is_whole] or left


def _received(trials: Sequence[Metrics]) -> Interval | None:
    """Return the bytes of bodies per second; None where a trial does not know them, or no answer had a body."""
    known = [m.received_bytes_per_s for m in trials if m.received_bytes_per_s is not None]
    return geometric_mean(known) if len(known) == len(trials) else None


def _body_bytes(trials: Sequence[Metrics]) -> float | None:
    """Return the mean length of the bodies of successful answers."""
    known = [(m.received_bytes, m.requests.ok) for m in trials if m.received_bytes is not None]
    answers = sum(ok for _, ok in known)
    return sum(received for received, _ in known) / answers if answers else None


def _longest(trials: Sequence[Times]) -> float | None:
    """Return the longest time of one request; None where no trial knows it."""
    return max((longest for times in trials if (longest := times.get(Metric.MAX)) is not None), default=None)


def _skew(metrics: Metrics) -> int | None:
    """Return how far apart the agents of a trial started; None for a single agent."""
    skews = [line.start_skew_us for line in metrics.agents if line.start_skew_us is not None]
    return max(skews) - min(skews) if len(skews) > 1 else None


def _urls(case: Case, url: str) -> list[str]:
    """Return the URLs of the requests of a case; that of the first alone for many. url: of the first."""
    if len(case.mix) > MOST_URLS:
        return [url]
    parts = urlsplit(url)
    return [f"{parts.scheme}://{parts.netloc}{request.path}" for request in case.mix] or [url]


def _total(requests: list[Requests]) -> Requests:
    return Requests(
        ok=sum(r.ok for r in requests),
        http_error=sum(r.http_error for r in requests),
        failed=sum(r.failed for r in requests),
        censored=sum(r.censored for r in requests),
    )


def _cost(trials: list[Trial]) -> ServerCost:
    """Return mean use over the trials with numbers.

    Kills, faults and restarts are over all trials.
    """
    costs = [t.metrics.server for t in trials if t.metrics is not None]
    last = [t.facts.server.last for t in trials if t.facts.server.last is not None]
    if not last:
        return ServerCost()
    return ServerCost(
        cpu_us_per_request=_mean([c.cpu_us_per_request for c in costs]),
        requests_per_cpu_s=_mean([c.requests_per_cpu_s for c in costs]),
        requests_per_s_per_mib=_mean([c.requests_per_s_per_mib for c in costs]),
        cpu_s=_mean([c.cpu_s for c in costs]),
        throttled_ratio=_mean([c.throttled_ratio for c in costs]),
        throttled_s=_mean([c.throttled_s for c in costs]),
        peak_memory_bytes=max(c.memory_peak_bytes for c in last),
        memory_limit_bytes=max(c.memory_limit_bytes for c in last) or None,
        oom_kills=sum(c.oom_kills for c in last),
        major_faults=sum(c.major_faults for c in last),
        restarts=sum(t.facts.server.restarts for t in trials),
    )


def _services(case: Case, trials: Sequence[Trial]) -> dict[str, ServerCost]:
    """Return what each service used: means over the trials with numbers, kills over all trials."""
    found = {}
    for name in (service.name for service in case.services):
        costs = [t.metrics.services[name] for t in trials if t.metrics is not None and name in t.metrics.services]
        facts = [service for t in trials for service in t.facts.services if service.name == name]
        last = [service.last for service in facts if service.last is not None]
        if not last:
            continue
        found[name] = ServerCost(
            cpu_us_per_request=_mean([c.cpu_us_per_request for c in costs]),
            cpu_s=_mean([c.cpu_s for c in costs]),
            throttled_ratio=_mean([c.throttled_ratio for c in costs]),
            throttled_s=_mean([c.throttled_s for c in costs]),
            peak_memory_bytes=max(c.memory_peak_bytes for c in last),
            memory_limit_bytes=max(c.memory_limit_bytes for c in last) or None,
            oom_kills=sum(c.oom_kills for c in last),
            major_faults=max(c.major_faults for c in last),
            restarts=sum(bool(service.replaced) for service in facts),
        )
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def _findings(trials: list[Trial], changed: list[CaseFinding]) -> list[CaseFinding]:
    """Group the findings by code, and those about services by service; the worst first."""
    found: dict[tuple[FindingCode, object], list[tuple[Finding, int]]] = {}
    for trial in trials:
        for finding in trial.findings:
            # Services are different things that can go wrong in the same way.
            found.setdefault((finding.code, finding.facts.get("service")), []).append((finding, trial.facts.number))
    made = [*changed, *(_of_case(each) for each in found.values())]
    # Within a severity the rules' own order stays: causes come before what follows from them.
    return sorted(made, key=lambda each: _ORDER.index(each.severity))


def _of_case(found: Sequence[tuple[Finding, int]]) -> CaseFinding:
    """Return the findings of one code as one: the first with the worst severity, with the numbers of those alike."""
    first = min((finding for finding, _ in found), key=lambda finding: _ORDER.index(finding.severity))
    kind = (first.severity, without_numbers(first.sentence))
    alike = [each.sentence for each, _ in found if (each.severity, without_numbers(each.sentence)) == kind]
    numbers = list(dict.fromkeys(number for _, number in found))
    return CaseFinding(first.code, first.severity, numbers, first.facts, first.hint, together(alike))
