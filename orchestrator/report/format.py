"""Numbers on pages: estimates with their intervals, times in milliseconds, rates per second."""

from __future__ import annotations

from orchestrator.analyse.people import UNKNOWN, digits, percent
from orchestrator.result import CaseResult, Interval, Objective, Time
from orchestrator.slo import ERRORS, THROUGHPUT


def estimate(value: Interval | None, unit: float = 1.0) -> str:
    """Return an estimate alone, divided by `unit`."""
    return UNKNOWN if value is None else digits(value.estimate / unit)


def with_interval(value: Interval | None, unit: float = 1.0) -> str:
    """Return an estimate with its interval, both divided by `unit`: 12.3 (11.9–12.7)."""
    if value is None or value.low is None or value.high is None:
        return estimate(value, unit)
    return f"{digits(value.estimate / unit)} ({digits(value.low / unit)}–{digits(value.high / unit)})"


def milliseconds(us: float | None) -> str:
    """Return microseconds as a number of milliseconds, without the unit."""
    return UNKNOWN if us is None else digits(us / 1000)


def shown_time(case: CaseResult) -> tuple[Time, dict[str, Interval | None]]:
    """Return which time of a case is shown first and judged, and its values.

    Response time in the open loop.
    """
    if case.response_time_us is not None:
        return Time.RESPONSE, case.response_time_us
    return Time.SERVICE, case.service_time_us


def objective_text(case: CaseResult, objective: Objective) -> str:
    """Return an objective as it was written, with the time that it is about."""
    if objective.metric in (ERRORS, THROUGHPUT):
        return objective.text
    return f"{shown_time(case)[0]} {objective.text}"


def measured(objective: Objective) -> str:
    """Return what was measured, in the unit of the objective."""
    if objective.reason:
        return objective.reason
    if objective.measured is None:
        return UNKNOWN
    if objective.metric == THROUGHPUT:
        return f"{with_interval(objective.measured)} req/s"
    if objective.metric == ERRORS:
        return percent(objective.measured.estimate)
    return f"{with_interval(objective.measured, 1000)} ms"
