"""Is the number good enough? Objectives against the estimates of a case. Pure; docs/adr/0020 has the reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.analyse import people
from orchestrator.counted import counted
from orchestrator.result import (
    CaseRequest,
    CaseResult,
    GateState,
    Interval,
    Objective,
    Outcome,
    Saturation,
    Summary,
    Time,
    Verdict,
    outcome_of,
)
from orchestrator.search.records import Ending
from orchestrator.slo import ERRORS, QUANTILES, THROUGHPUT, TIMES, Metric, Term, TimeName

INVALID = "the result is INVALID"
NO_RESPONSE_TIME = "a closed loop has no response time"
NO_ANSWERS = "no request was answered"
NO_NUMBERS = "this request has no numbers of its own"
NO_FIRST_BYTE = "this generator does not report the first byte of every answer: use generator: paced"
NO_BYTES = "this generator does not report the bytes it received: use generator: paced"
TOO_FEW = "too few requests for this percentile"


# What a term is about: all requests of a case, or one of its mix.
Subject = CaseResult | CaseRequest


def objectives(case: CaseResult, terms: Sequence[Term]) -> list[Objective]:
    """Judge each term by the case's estimate and its interval over the trials.

    Response time in the open loop, service time in the closed loop, unless the term names one. Requests without a
    successful answer count as slower than any limit, so that a server never meets an objective by failing fast.
    """
    return [_judged(case, term) for term in terms]


@dataclass(frozen=True, slots=True)
class _Found:
    """What an objective came to. reason: what decided where the number alone did not."""

    state: GateState
    measured: Interval | None
    reason: str = ""


def _judged(case: CaseResult, term: Term) -> Objective:
    subject = subject_of(case, term)
    found = _found_none(case) if subject is None else _found(case, subject, term)
    passed, time = found.state is GateState.PASSED, time_of(case, term)
    reason = counted([None if case.planned is None else case.planned.protocol]).said(found.reason)
    return Objective(
        term.text, term.metric, term.limit, found.measured, passed, reason, found.state, time, term.request
    )


def _found_none(case: CaseResult) -> _Found:
    reason = INVALID if case.verdict is Verdict.INVALID else NO_NUMBERS
    return _Found(GateState.NOT_JUDGED, None, reason)


def subject_of(case: CaseResult, term: Term) -> Subject | None:
    """Return what a term is about; None for a request that has no numbers of its own."""
    if term.request is None:
        return case
    return next((request for request in case.mix if request.name == term.request), None)


def _found(case: CaseResult, subject: Subject, term: Term) -> _Found:
    value = measured(subject, term)
    if term.time == TimeName.RESPONSE and subject.response_time_us is None:
        return _Found(GateState.NOT_JUDGED, None, NO_RESPONSE_TIME)
    if term.metric in subject.beyond:
        share = people.percent(subject.requests.error_share)
        return _Found(GateState.FAILED, None, f"{share} of requests had no successful answer")
    if case.verdict is Verdict.INVALID:
        return _Found(GateState.NOT_JUDGED, value, INVALID)
    if case.load_lost is not None:
        return _Found(GateState.NOT_JUDGED, value, f"{people.percent(case.load_lost)} of the load was lost")
    if value is not None:
        return _Found(state_of(value, term), value)
    if term.time is TimeName.FIRST_BYTE and not any(subject.objective_first_byte_us.values()) and subject.requests.ok:
        return _Found(GateState.NOT_JUDGED, None, NO_FIRST_BYTE)
    if term.metric is Metric.TRANSFER and subject.requests.ok:
        return _Found(GateState.NOT_JUDGED, None, NO_BYTES)
    return _from_others(subject, term)


def state_of(value: Interval, term: Term) -> GateState:
    """Return the state of an objective by an estimate and its interval; without an interval the estimate decides.

    An estimate beyond the limit whose interval reaches back within it is undecided. An estimate within the limit passes.
    """
    if term.met_by(value.estimate):
        return GateState.PASSED
    best = value.low if term.at_most else value.high
    return GateState.UNDECIDED if best is not None and term.met_by(best) else GateState.FAILED


def _from_others(case: Subject, term: Term) -> _Found:
    """Judge a percentile that was withheld by times that bound it: lower percentiles, and the maximum."""
    own = QUANTILES.get(term.metric)
    if own is None:
        return _Found(GateState.NOT_JUDGED, None, NO_ANSWERS)
    lower = [metric for metric, q in QUANTILES.items() if q < own]
    # The tightest bound that is known decides.
    below = next(((m, v) for m in reversed(lower) if (v := _value(case, term, m)) is not None), None)
    most = _value(case, term, Metric.MAX)
    above = None if most is None or _may_be_censored(case, own) else (Metric.MAX, most)
    proof, disproof = (above, below) if term.at_most else (below, above)
    if proof is not None and term.met_by(proof[1].estimate):
        return _Found(GateState.PASSED, None, f"{_bound(*proof)} proves it")
    if disproof is not None and (state := state_of(disproof[1], term)) is not GateState.PASSED:
        return _Found(
            state, None, f"{_bound(*disproof)} {'disproves' if state is GateState.FAILED else 'speaks against'} it"
        )
    return _Found(GateState.NOT_JUDGED, None, TOO_FEW if case.requests.ok else NO_ANSWERS)


def _may_be_censored(case: Subject, quantile: float) -> bool:
    """Return whether a quantile may fall on a request that had not ended when the observation did."""
    r = case.requests
    return r.censored > (1 - quantile) * (r.ok + r.unsuccessful + r.censored)


def _bound(metric: Metric, value: Interval) -> str:
    return f"{'the maximum' if metric is Metric.MAX else metric.label} of {people.milliseconds(value.estimate)}"


def measured(case: Subject, term: Term) -> Interval | None:
    """Return what a term is about; None if it was withheld, not measured, or falls on a request that failed."""
    if term.metric == ERRORS:
        share = case.requests.error_share
        return None if share is None else Interval(share, None, None)
    if term.metric is Metric.SLOWER:
        return None if term.than_us is None else case.slower_share.get(term.than_us)
    if term.metric is Metric.TRANSFER:
        return case.received_bytes_per_s
    return case.throughput_per_s if term.metric == THROUGHPUT else _value(case, term, term.metric)


def _value(case: Subject, term: Term, metric: Metric) -> Interval | None:
    """Return a time as the term judges it."""
    if metric in case.beyond:
        return None
    if term.time is TimeName.FIRST_BYTE:
        return case.objective_first_byte_us.get(metric)
    if case.response_time_us is not None and time_of(case, term) is Time.SERVICE:
        return case.objective_service_time_us.get(metric)
    if time_of(case, term) is Time.RESPONSE and case.response_time_us is None:
        return None
    return case.objective_time_us.get(metric) or interval_of(case, metric)


_TIMES = {TimeName.SERVICE: Time.SERVICE, TimeName.RESPONSE: Time.RESPONSE, TimeName.FIRST_BYTE: Time.FIRST_BYTE}


def time_of(case: Subject, term: Term) -> Time | None:
    """Return which time a term is about; None for throughput and errors."""
    if term.metric not in TIMES:
        return None
    if term.time is not None:
        return _TIMES[term.time]
    return Time.SERVICE if case.response_time_us is None else Time.RESPONSE


def interval_of(case: Subject, metric: Metric) -> Interval | None:
    """Return throughput or a time of a case by name: response time in the open loop."""
    if metric == THROUGHPUT:
        return case.throughput_per_s
    return (case.response_time_us or case.service_time_us).get(metric)


def state_of_search(search: Saturation) -> GateState:
    """Return whether a target holds some rate within its objective.

    UNDECIDED: a rate passed, but no soak confirmed the answer.
    """
    if search.ending in (Ending.NEVER_MET, Ending.NOT_SUSTAINED):
        return GateState.FAILED
    if search.ending in (Ending.NOT_RECOVERED, Ending.NOT_STARTED, Ending.UNFINISHED) or search.held_per_s is None:
        return GateState.NOT_JUDGED
    settled = search.confirmed or search.ending in (Ending.ALWAYS_MET, Ending.LIMITED)
    return GateState.PASSED if settled else GateState.UNDECIDED


def states(summary: Summary) -> list[GateState]:
    """Return the state of every objective of a run."""
    searched = [state_of_search(search) for search in summary.saturation]
    return [*searched, *(objective.state for case in summary.cases for objective in case.slo)]


def outcome(cases: Sequence[CaseResult]) -> Outcome | None:
    """Return PASS when every objective passed, FAIL when one failed; None without any, or where one is open."""
    return outcome_of([objective.state for case in cases for objective in case.slo])


def strictly(summary: Summary) -> Summary:
    """Return a summary whose outcome is FAIL unless every objective passed; None still, without objectives."""
    return replace(summary, outcome=outcome_of(states(summary), strict=True))
