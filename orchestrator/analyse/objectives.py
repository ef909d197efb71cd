"""Is the number good enough? Objectives against the estimates of a case. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.analyse import people
from orchestrator.result import CaseResult, Interval, Objective, Outcome
from orchestrator.slo import ERRORS, THROUGHPUT, Metric, Term


def objectives(case: CaseResult, terms: Sequence[Term]) -> list[Objective]:
    """Judge each term by the case's estimate.

    Response time in the open loop, service time in the closed loop. Requests without a successful answer count as slower
    than any limit, so that a server never meets an objective by failing fast.
    """
    judged = []
    for term in terms:
        value = measured(case, term)
        estimate = None if value is None else value.estimate
        reason = _beyond(case) if term.metric in case.beyond else ""
        judged.append(Objective(term.text, term.metric, term.limit, value, term.met_by(estimate), reason))
    return judged


def _beyond(case: CaseResult) -> str:
    return f"{people.percent(case.requests.error_share)} of requests had no successful answer"


def measured(case: CaseResult, term: Term) -> Interval | None:
    """Return what a term is about; None if it was withheld, not measured, or falls on a request that failed."""
    if term.metric == ERRORS:
        share = case.requests.error_share
        return None if share is None else Interval(share, None, None)
    if term.metric == THROUGHPUT:
        return case.throughput_per_s
    if term.metric in case.beyond:
        return None
    return case.objective_time_us.get(term.metric) or interval_of(case, term.metric)


def interval_of(case: CaseResult, metric: Metric) -> Interval | None:
    """Return throughput or a time of a case by name: response time in the open loop."""
    if metric == THROUGHPUT:
        return case.throughput_per_s
    return (case.response_time_us or case.service_time_us).get(metric)


def outcome(cases: Sequence[CaseResult]) -> Outcome | None:
    """Return PASS when every objective is met, FAIL when one is not, None without any."""
    met = [objective.passed for case in cases for objective in case.slo]
    if not met:
        return None
    return Outcome.PASS if all(met) else Outcome.FAIL
