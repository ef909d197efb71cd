"""How far was a probe from the objective that came nearest to failing? Pure.

The objectives that are about a share of the requests: percentiles, errors, and keeping up.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.analyse.backlog import KEEPS_UP, due_of, left_behind
from orchestrator.analyse.precision import value_of
from orchestrator.result import Metrics, Trial
from orchestrator.search.records import Evidence
from orchestrator.slo import ERRORS, QUANTILES, Term


def must_keep_up(terms: Sequence[Term]) -> float:
    """Return the share of the due requests that must be answered: less where the objective allows more errors."""
    return min(KEEPS_UP, 1 - max((term.limit for term in terms if term.metric == ERRORS), default=0.0))


def evidence(trial: Trial, terms: Sequence[Term]) -> Evidence | None:
    """Return the evidence of a probe.

    None without a load, and where a limit's requests were not counted (a run of an earlier version).
    """
    metrics = trial.metrics
    shares = [term for term in terms if term.metric in QUANTILES or term.metric == ERRORS]
    if metrics is None or not shares or any(_is_uncounted(metrics, term) for term in shares):
        return None
    kept = Evidence(left_behind(trial), due_of(trial), 1 - must_keep_up(terms))
    all_ = [each for each in (*(_of_term(metrics, term) for term in shares), kept) if each.requests > 0]
    return max(all_, key=_nearness, default=None)


def measured(metrics: Metrics, term: Term) -> float | None:
    """Return what a term is about; None if it was withheld or falls on a request without a successful answer."""
    if term.metric == ERRORS:
        return metrics.requests.error_share
    if term.metric in metrics.beyond:
        return None
    return metrics.objective_time_us.get(term.metric) or value_of(metrics, term.metric)


def _nearness(each: Evidence) -> float:
    # A half more: of many requests none says more than of few.
    return (each.violations + 0.5) / (each.requests * each.allowed)


def _is_uncounted(metrics: Metrics, term: Term) -> bool:
    return term.metric != ERRORS and round(term.limit) not in metrics.slower


def _of_term(metrics: Metrics, term: Term) -> Evidence:
    requests = metrics.requests
    total = float(requests.ok + requests.unsuccessful)
    if term.metric == ERRORS:
        return Evidence(float(requests.unsuccessful), total, term.limit)
    return Evidence(float(metrics.slower[round(term.limit)] + requests.unsuccessful), total, 1 - QUANTILES[term.metric])
