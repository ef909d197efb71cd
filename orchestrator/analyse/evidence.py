"""How far was a probe from the objective that came nearest to failing? Pure.

The objectives that are about a share of the requests: percentiles, errors, and keeping up.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.analyse.backlog import KEEPS_UP, due_of, left_behind
from orchestrator.analyse.precision import value_of
from orchestrator.result import Metrics, RequestFigures, Trial
from orchestrator.search.records import Evidence
from orchestrator.slo import ERRORS, Metric, Term, TimeName


def must_keep_up(terms: Sequence[Term]) -> float:
    """Return the share of the due requests that must be answered: less where the objective allows more errors."""
    return min(KEEPS_UP, 1 - max((term.limit for term in terms if _of_all_errors(term)), default=0.0))


def _of_all_errors(term: Term) -> bool:
    return term.metric == ERRORS and term.request is None


# What a term is about: all requests of a trial, or one of its mix.
Subject = Metrics | RequestFigures


def evidence(trial: Trial, terms: Sequence[Term]) -> Evidence | None:
    """Return the evidence of a probe.

    None without a load, and where a limit's requests were not counted (a run of an earlier version).
    """
    metrics = trial.metrics
    shares = [term for term in terms if term.allowed_share is not None]
    if metrics is None or not shares:
        return None
    found = [_of_term(metrics, term) for term in shares]
    if any(each is None for each in found):
        return None
    kept = Evidence(left_behind(trial), due_of(trial), 1 - must_keep_up(terms))
    all_ = [each for each in (*found, kept) if each is not None and each.requests > 0]
    return max(all_, key=_nearness, default=None)


def subject_of(metrics: Metrics, term: Term) -> Subject | None:
    """Return what a term is about; None for a request that has no numbers of its own."""
    if term.request is None:
        return metrics
    return next((request for request in metrics.mix if request.name == term.request), None)


def measured(metrics: Metrics, term: Term) -> float | None:
    """Return what a term is about; None if it was withheld or falls on a request without a successful answer."""
    subject = subject_of(metrics, term)
    if subject is None or term.metric in subject.beyond:
        return None
    if term.metric == ERRORS:
        return subject.requests.error_share
    if term.metric == Metric.SLOWER:
        found = _violations(subject, term)
        total = subject.requests.ok + subject.requests.unsuccessful
        return None if found is None or not total else found / total
    if term.time is TimeName.FIRST_BYTE:
        return subject.objective_first_byte_us.get(term.metric)
    return subject.objective_time_us.get(term.metric) or _shown(subject, term)


def _shown(subject: Subject, term: Term) -> float | None:
    if isinstance(subject, Metrics):
        return value_of(subject, term.metric)
    return (subject.response_time_us or subject.service_time_us).get(term.metric)


def _nearness(each: Evidence) -> float:
    # A half more: of many requests none says more than of few.
    return (each.violations + 0.5) / (each.requests * each.allowed)


def _violations(subject: Subject, term: Term) -> int | None:
    """Return how many requests did not meet a term; None where they were not counted."""
    if term.metric == ERRORS:
        return subject.requests.unsuccessful
    counted = subject.first_byte_slower if term.time is TimeName.FIRST_BYTE else subject.slower
    limit_us = term.time_limit_us
    if limit_us is None or limit_us not in counted:
        return None
    return counted[limit_us] + subject.requests.unsuccessful


def _of_term(metrics: Metrics, term: Term) -> Evidence | None:
    subject, allowed = subject_of(metrics, term), term.allowed_share
    violations = None if subject is None else _violations(subject, term)
    if subject is None or violations is None or allowed is None:
        return None
    return Evidence(float(violations), float(subject.requests.ok + subject.requests.unsuccessful), allowed)
