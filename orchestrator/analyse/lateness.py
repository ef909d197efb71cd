"""Did requests that the generator sent late make a probe fail? Pure.

The server then got another load than the one that was asked for: a pause and a bunch after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agents.records import GeneratorKind
from orchestrator.analyse.backlog import due_of, left_behind
from orchestrator.analyse.evidence import measured, must_keep_up, subject_of
from orchestrator.result import FindingCode, Metrics, Trial
from orchestrator.slo import ERRORS, QUANTILES, Metric, Term

# A share of the limit that requests may be late without an effect on the outcome, and what any timer
# has.
LATE_SHARE, LATE_US = 0.1, 1_000.0
# Requests that were late delay others. They explain a failure in which up to this many times as many
# requests are too slow as the objective allows, and a time that is beyond the limit by up to this many
# times their lag.
EXPLAINED = 10
# A standstill spoils the second in which it ends, and perhaps the next.
SPOILED_SECONDS = 2


def explained_by_lateness(trial: Trial, terms: Sequence[Term]) -> bool:
    """Return whether requests that were sent late may be why a probe failed: why it missed each objective that it missed."""
    metrics = trial.metrics
    if metrics is None:
        return False
    if _sent_by_h2load(trial):
        # Its timer makes bunches of every load, also of those that pass. The report says so.
        return _often_late(trial)
    missed = [term for term in terms if not term.met_by(measured(metrics, term))]
    often = _often_late(trial) or any(f.code == FindingCode.BURSTY_ARRIVALS for f in trial.findings)
    if not missed:
        # It did not keep up. What is under way at the end counts twice there, as a backlog that grew evenly.
        excess = left_behind(trial) - (1 - must_keep_up(terms)) * due_of(trial)
        return often and excess <= 2 * _late(trial)
    return all(
        _errors_explained(trial, metrics, term, often)
        if term.metric in (ERRORS, Metric.SLOWER)
        else _time_explained(metrics, term, often)
        for term in missed
    )


def _late(trial: Trial) -> int:
    return sum(agent.late or 0 for agent in trial.facts.agents)


def _often_late(trial: Trial) -> bool:
    """Return whether so many requests were late that it is at the p50 or p90."""
    lags = [finding for finding in trial.findings if finding.code == FindingCode.SEND_LAG]
    return any(finding.facts.get("percentile") != Metric.P99 for finding in lags)


def _time_explained(metrics: Metrics, term: Term, often: bool) -> bool:
    """Return whether lag explains a time: it is a part of the limit, and the time would be met without it."""
    lag_us, time_us = (metrics.send_lag_us or {}).get(term.metric) or 0.0, measured(metrics, term)
    if lag_us <= max(LATE_US, LATE_SHARE * term.limit):
        return False
    if often and time_us is not None and time_us - term.limit <= EXPLAINED * lag_us:
        return True
    allowed = 1 - QUANTILES.get(term.metric, 1.0)
    most = max(EXPLAINED * allowed, 0.0011)
    lower = [metric for metric, q in QUANTILES.items() if allowed < 1 - q <= most]
    return any(term.met_by(measured(metrics, replace(term, metric=metric))) for metric in lower)


def _errors_explained(trial: Trial, metrics: Metrics, term: Term, often: bool) -> bool:
    """Return whether bunches of late requests met a limit of admission, or are those that were too slow.

    There are as many late requests as errors too many. Where few were late, there are few enough errors without
    the worst seconds as well: beyond its limit a server refuses requests in every second.
    """
    subject = subject_of(metrics, term)
    if subject is None:
        return False
    requests = subject.requests
    slow = subject.slower.get(term.than_us or 0, 0) if term.metric is Metric.SLOWER else 0
    if slow + requests.unsuccessful - term.limit * (requests.ok + requests.unsuccessful) > _late(trial):
        return False
    if often:
        return True
    if term.request is not None or term.metric is Metric.SLOWER:
        # There are no counts over time of one request, nor of slow ones.
        return False
    rows = [[count or 0.0 for count in row[1:4]] for row in metrics.series]
    kept = sorted(rows, key=lambda row: row[1] + row[2])[:-SPOILED_SECONDS]
    total, errors = sum(map(sum, kept)), sum(row[1] + row[2] for row in kept)
    return total > 0 and errors < term.limit * total


def _sent_by_h2load(trial: Trial) -> bool:
    return any(agent.generator == GeneratorKind.H2LOAD for agent in trial.facts.agents)
