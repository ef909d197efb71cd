"""Objectives such as 'p99 < 50ms' and shares such as '3%'. Both towers know them; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Metric(StrEnum):
    """What an objective can be set for: a time of a case, its share of failed requests, its throughput."""

    P50 = "p50"
    P90 = "p90"
    P95 = "p95"
    P99 = "p99"
    P999 = "p999"
    MEAN = "mean"
    MAX = "max"
    ERRORS = "errors"
    THROUGHPUT = "throughput"

    @property
    def label(self) -> str:
        """The name as people write it: p99.9, not p999."""
        return "p99.9" if self is Metric.P999 else str(self)


class TimeName(StrEnum):
    """Which time an objective or a gate names; without a name it is response time in the open loop, else service time."""

    SERVICE = "service"
    RESPONSE = "response"


ERRORS, THROUGHPUT = Metric.ERRORS, Metric.THROUGHPUT
QUANTILES = {Metric.P50: 0.5, Metric.P90: 0.9, Metric.P95: 0.95, Metric.P99: 0.99, Metric.P999: 0.999}
# Every time that a trial and a case have, by name. No other module lists them.
TIMES = (*QUANTILES, Metric.MEAN, Metric.MAX)

# The start of a text that names a time: 'service p99', 'response time max'.
NAMED_TIME = r"(?:(service|response)(?:\s+time)?\s+)?"
# A number as people write it.
NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?"
# Longer values are shortened in messages.
MOST_CHARACTERS = 60
_SHARE = re.compile(rf"\s*({NUMBER})\s*%\s*")


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on a case.

    limit: µs for times, a share for errors, requests per second for throughput. text: as written. time: the one that
    the text names, if it names one.
    """

    text: str
    metric: Metric
    at_most: bool
    limit: float
    time: TimeName | None = None

    def met_by(self, value: float | None) -> bool:
        """Return whether a value meets the condition. An unknown value does not."""
        if value is None:
            return False
        return value < self.limit if self.at_most else value > self.limit


def rate_text(per_s: float | None) -> str:
    """Return a rate per second without its unit, with four significant digits: 1,320; below 10 with a decimal: 2.5."""
    if per_s is None:
        return "n/a"
    if per_s >= 10_000:
        per_s = float(f"{per_s:.3e}")
    return f"{per_s:,.0f}" if per_s == 0 or per_s >= 9.95 else f"{per_s:.1f}"


def shown(value: object) -> str:
    """Return a value of a file as an error message quotes it, shortened if it is long."""
    if value is None or isinstance(value, dict | list | tuple):
        return "an empty value" if value is None else "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return str(value).lower()
    try:
        text = repr(value)
    except ValueError:  # an int with more digits than Python converts
        return "a number with thousands of digits"
    return text if len(text) <= MOST_CHARACTERS else f"{text[:12]}...{text[-6:]} ({len(text)} characters)"


def share(value: object) -> float:
    """Return a share such as '3%' as a fraction of one. Raise ValueError if it is not a share above zero."""
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{shown(value)} is not a percentage: write it as '3%'")
    part = Decimal(match[1]) / 100
    if not 0 < part <= 1000:
        raise ValueError(f"{shown(value)} is out of range: write a percentage above 0% and up to 100000%")
    return float(part)
