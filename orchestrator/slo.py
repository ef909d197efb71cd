"""Objectives such as 'p99 < 50ms' and shares such as '3%'. Both towers know them; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
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
    SLOWER = "slower"
    TRANSFER = "transfer"

    @property
    def label(self) -> str:
        """The name as people write it: p99.9, not p999."""
        return {Metric.P999: "p99.9", Metric.SLOWER: "slower than"}.get(self, str(self))


class TimeName(StrEnum):
    """Which time an objective or a gate names; without a name it is response time in the open loop, else service time."""

    SERVICE = "service"
    RESPONSE = "response"
    FIRST_BYTE = "first byte"


ERRORS, THROUGHPUT = Metric.ERRORS, Metric.THROUGHPUT
# What more load improves, so that no search can be for them.
RATES = (Metric.THROUGHPUT, Metric.TRANSFER)
QUANTILES = {Metric.P50: 0.5, Metric.P90: 0.9, Metric.P95: 0.95, Metric.P99: 0.99, Metric.P999: 0.999}
# Every time that a trial and a case have, by name. No other module lists them.
TIMES = (*QUANTILES, Metric.MEAN, Metric.MAX)

# The start of a text that names a time: 'service p99', 'response time max'.
NAMED_TIME = r"(?:(service|response)(?:\s+time)?\s+)?"
# A number as people write it.
NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?"
# Longer values are shortened in messages.
MOST_CHARACTERS = 60
_NAMED = re.compile(r"\s*\[(.+)\]\s*([^\]]*)", re.DOTALL)
_SHARE = re.compile(rf"\s*({NUMBER})\s*%\s*")


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on a case.

    limit: µs for times, a share for errors and for requests slower than than_us, requests per second for throughput, bytes
    per second for transfer. text: as written. time: the one that the text names, if it names one. request: the name of the
    request of the mix that it is about; None for all.
    """

    text: str
    metric: Metric
    at_most: bool
    limit: float
    time: TimeName | None = None
    request: str | None = None
    than_us: int | None = None

    @property
    def time_limit_us(self) -> int | None:
        """How long an answer may take; None for a term that is not about times."""
        return round(self.limit) if self.metric in TIMES else self.than_us

    @property
    def allowed_share(self) -> float | None:
        """The share of the requests that may miss the limit: of a percentile, of errors, of slow requests; else None."""
        if self.metric in QUANTILES:
            return 1 - QUANTILES[self.metric]
        return self.limit if self.metric in (Metric.ERRORS, Metric.SLOWER) else None

    def met_by(self, value: float | None) -> bool:
        """Return whether a value meets the condition. An unknown value does not."""
        if value is None:
            return False
        return value < self.limit if self.at_most else value > self.limit


def split_terms(text: str) -> list[str]:
    """Return the terms of an objective, which commas separate; those in the name of a request do not."""
    parts, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and depth <= 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def split_request(text: str) -> tuple[str | None, str]:
    """Return the name of the request that a term begins with, in brackets, and the rest; None where it names none."""
    match = _NAMED.match(text)
    return (match[1].strip(), match[2]) if match else (None, text)


def time_limits_us(terms: Sequence[Term]) -> list[int]:
    """Return every limit on a time that the terms have, in µs, in order."""
    return sorted({limit for term in terms if (limit := term.time_limit_us) is not None})


def judges_first_byte(terms: Sequence[Term]) -> bool:
    """Return whether an objective is about the time to the first byte."""
    return any(term.time is TimeName.FIRST_BYTE for term in terms)


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


def legible(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return text that a user typed as a message names it, without quotes: printable, and of `most` characters."""
    clean = "".join(each if each.isprintable() else "?" for each in text[: most + 1])
    return clean if len(clean) <= most else f"{clean[: most - 3]}..."


def share(value: object) -> float:
    """Return a share such as '3%' as a fraction of one. Raise ValueError if it is not a share above zero."""
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{shown(value)} is not a percentage: write it as '3%'")
    part = Decimal(match[1]) / 100
    if not 0 < part <= 1000:
        raise ValueError(f"{shown(value)} is out of range: write a percentage above 0% and up to 100000%")
    return float(part)
