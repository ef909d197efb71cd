"""Is the number good enough? Objectives against the estimates of a case. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.result import CaseResult, Interval, Objective
from orchestrator.slo import ERRORS, THROUGHPUT, Term

PASS, FAIL = "PASS", "FAIL"


def objectives(case: CaseResult, terms: Sequence[Term]) -> list[Objective]:
    """Judge each term by the case's estimate: response time where it has one (open model), else service time."""
    found = []
    for term in terms:
        value = measured(case, term)
        estimate = None if value is None else value.estimate
        found.append(Objective(term.text, term.metric, term.limit, value, term.met_by(estimate)))
    return found


def measured(case: CaseResult, term: Term) -> Interval | None:
    """What a term is about; None: withheld, or nothing was measured."""
    if term.metric == ERRORS:
        share = case.requests.error_share
        return None if share is None else Interval(share, None, None)
    return interval_of(case, term.metric)


def interval_of(case: CaseResult, metric: str) -> Interval | None:
    """Give throughput or a time of a case by name; response time where it has one."""
    if metric == THROUGHPUT:
        return case.throughput_per_s
    return (case.response_time_us or case.service_time_us).get(metric)


def outcome(cases: Sequence[CaseResult]) -> str | None:
    """PASS when every objective of every case is met, FAIL when one is not; None when there is none."""
    met = [objective.passed for case in cases for objective in case.slo]
    if not met:
        return None
    return PASS if all(met) else FAIL


def terms_of(document: Mapping[str, object]) -> dict[str, list[Term]]:
    """Read plan.json's objectives, by case. Raises ValueError, TypeError when they are not what 'volley run' writes."""
    slo = document.get("slo", {})
    if not isinstance(slo, dict):
        raise ValueError("'slo' is no map of cases")
    return {str(case): [Term(**term) for term in terms] for case, terms in slo.items()}
