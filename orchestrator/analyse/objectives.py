"""Is the number good enough? Objectives against the estimates of a case. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.result import CaseResult, Interval, Objective, Outcome
from orchestrator.slo import ERRORS, THROUGHPUT, Metric, Term


def objectives(case: CaseResult, terms: Sequence[Term]) -> list[Objective]:
    """Judge each term by the case's estimate.

    Response time in the open loop, service time in the closed loop.
    """
    judged = []
    for term in terms:
        value = measured(case, term)
        estimate = None if value is None else value.estimate
        judged.append(Objective(term.text, term.metric, term.limit, value, term.met_by(estimate)))
    return judged


def measured(case: CaseResult, term: Term) -> Interval | None:
    """Return what a term is about; None if it was withheld or not measured."""
    if term.metric == ERRORS:
        share = case.requests.error_share
        return None if share is None else Interval(share, None, None)
    return interval_of(case, term.metric)


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
