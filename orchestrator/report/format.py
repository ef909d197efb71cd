"""Numbers on pages: estimates with their intervals, times in milliseconds, rates per second, objectives."""

from __future__ import annotations

import re

from orchestrator.analyse.people import UNKNOWN, digits, percent
from orchestrator.counted import REQUESTS, Counted
from orchestrator.result import CaseResult, Interval, Objective, Time
from orchestrator.slo import ERRORS, NAMED_TIME, QUANTILES, THROUGHPUT, TIMES, Metric, split_request, split_terms

# An interval across a factor of more than this is not shown: two trials that differ a little can have one of 10^12.
WIDEST, TOO_WIDE = 1_000, "too wide"
_TIME = re.compile(rf"^\s*(?:first byte\s+|{NAMED_TIME})")
_SLOWER = re.compile(r"\s*slower\s+than\s+([0-9.eE+]+)\s*([a-zµ]+)\s*([<>])\s*([0-9.eE+]+)\s*(\S*)\s*")
_OBJECTIVE = re.compile(r"\s*(p?[a-z0-9.]+)\s*([<>]=?)\s*([0-9.eE+]+)\s*(\S*)\s*")


def estimate(value: Interval | None, unit: float = 1.0) -> str:
    """Return an estimate alone, divided by `unit`."""
    return UNKNOWN if value is None else digits(value.estimate / unit)


def with_interval(value: Interval | None, unit: float = 1.0) -> str:
    """Return an estimate with its interval, both divided by `unit`: 12.3 (11.9–12.7)."""
    if value is None or value.low is None or value.high is None:
        return estimate(value, unit)
    interval = "interval too wide" if too_wide(value) else between(value, unit)
    return f"{digits(value.estimate / unit)} ({interval})"


def between(value: Interval | None, unit: float = 1.0) -> str:
    """Return an interval alone, divided by `unit`: 11.9–12.7. Empty where there is none."""
    if value is None or value.low is None or value.high is None:
        return ""
    return TOO_WIDE if too_wide(value) else f"{digits(value.low / unit)}–{digits(value.high / unit)}"


def too_wide(value: Interval) -> bool:
    """Return whether an interval says nothing: it spans more than a factor of WIDEST, as that of two unlike trials does."""
    return value.low is not None and value.high is not None and value.low > 0 and value.high / value.low > WIDEST


def milliseconds(us: float | None) -> str:
    """Return microseconds as a number of milliseconds, without the unit."""
    return UNKNOWN if us is None else digits(us / 1000)


def ratio(value: float) -> str:
    """Return a ratio with two decimals, or three significant digits where that is shorter: 1.69, 0.0123, 12.3."""
    return f"{value:.2f}" if 0.1 <= value < 9.995 else digits(value)


def times(value: Interval) -> str:
    """Return the interval of a ratio: 1.44–1.99×."""
    return TOO_WIDE if too_wide(value) else f"{ratio(value.low or 0.0)}–{ratio(value.high or 0.0)}×"


def points(value: Interval) -> str:
    """Return the interval of a difference of shares in percentage points: -0.1 to +0.4."""
    return f"{signed(100 * (value.low or 0.0))} to {signed(100 * (value.high or 0.0))}"


def signed(value: float) -> str:
    """Return a number with its sign: +0.4, -0.1."""
    return f"+{digits(value)}" if value > 0 else digits(value)


def objective(text: str) -> str:
    """Return objectives as a person writes them: 'p99<200ms, errors<0.1%' as 'p99 < 200 ms and errors < 0.1 %'."""
    *most, last = [_term(part) for part in split_terms(text)]
    return f"{', '.join(most)} and {last}" if most else last


def _term(text: str) -> str:
    request, text = split_request(text)
    if request is not None:
        return f"{request}: {_term(text)}"
    if slower := _SLOWER.fullmatch(text):
        than, unit, sign, number, share = slower.groups()
        return f"slower than {than} {unit.replace('us', 'µs')} {sign} {number} {share}"
    if text.lstrip().startswith("first byte"):
        return f"first byte {_term(_TIME.sub('', text))}"
    match = _OBJECTIVE.fullmatch(text)
    if match is None:
        return text.strip()
    metric, sign, number, unit = match.groups()
    unit = unit.replace("us", "µs")
    gap = "" if not unit or unit.startswith("/") else " "
    sign = {"<=": "≤", ">=": "≥"}.get(sign, sign)
    return f"{metric.replace('p999', 'p99.9')} {sign} {number}{gap}{unit}"


def shown_time(case: CaseResult) -> tuple[Time, dict[str, Interval | None]]:
    """Return which time of a case is shown first and judged, and its values.

    Response time in the open loop.
    """
    if case.response_time_us is not None:
        return Time.RESPONSE, case.response_time_us
    return Time.SERVICE, case.service_time_us


def page_times(case: CaseResult, time: Time) -> dict[str, Interval | None]:
    """Return the times of a case as pages show them: the maximum is that of all trials, and not a mean of maxima."""
    if time is Time.RESPONSE:
        values, longest_us = case.response_time_us or {}, case.response_time_longest_us
    else:
        values, longest_us = case.service_time_us, case.service_time_longest_us
    return values if longest_us is None else {**values, Metric.MAX: Interval(longest_us, None, None)}


def objective_text(case: CaseResult, objective_: Objective) -> str:
    """Return an objective in words, with the time that it is about."""
    if objective_.metric not in TIMES:
        return objective(objective_.text)
    request, text = split_request(objective_.text)
    of = f"{request}: " if request is not None else ""
    return f"{of}{objective_.time or shown_time(case)[0]} {objective(_TIME.sub('', text))}"


def _between_percent(value: Interval) -> str:
    if value.low is None or value.high is None:
        return ""
    low, high = digits(100 * value.low), digits(100 * value.high)
    return "" if low == high else f" ({low}–{high} %)"


def measured(objective_: Objective, sent: Counted = REQUESTS) -> str:
    """Return what was measured, in the unit of the objective. sent: what the case is counted in."""
    if objective_.reason:
        return objective_.reason
    if objective_.measured is None:
        return f"not known: too few {sent.many}" if objective_.metric in QUANTILES else UNKNOWN
    if objective_.metric == THROUGHPUT:
        return f"{with_interval(objective_.measured)} {sent.per_s}"
    if objective_.metric == Metric.TRANSFER:
        return f"{with_interval(objective_.measured, 1e6)} MB/s"
    if objective_.metric in (ERRORS, Metric.SLOWER):
        return percent(objective_.measured.estimate) + _between_percent(objective_.measured)
    return f"{with_interval(objective_.measured, 1000)} ms"
