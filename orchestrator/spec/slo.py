"""Objectives as people write them: 'p99 < 50ms, errors < 0.1%, [GET /cart] slower than 200ms < 1%'."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.slo import (
    ERRORS,
    NUMBER,
    THROUGHPUT,
    TIMES,
    Metric,
    Term,
    TimeName,
    share,
    shown,
    split_request,
    split_terms,
)
from orchestrator.spec.units import bytes_per_s, duration_us, rate_per_s

_TIME_NAME = r"(?:(service|response|first byte)(?:\s+time)?\s+)?"
_TERM = re.compile(rf"^\s*{_TIME_NAME}([a-z0-9.]+)\s*([<>])\s*(\S.*?)\s*$")
_SLOWER = re.compile(r"^\s*slower\s+than\s+([^<>]+?)\s*([<>])\s*(\S.*?)\s*$")
_TERM_PATTERN = (
    r"\s*(\[[^,<>\]]+(\][^,<>\]]*)*\]\s*)?"
    rf"((((service|response|first byte)(\s+time)?\s+)?({'|'.join([*TIMES, 'p99[.]9'])}))"
    rf"|{ERRORS}|{THROUGHPUT}|{Metric.TRANSFER}|slower\s+than\s+{NUMBER}[^,<>]*)"
    r"\s*[<>]\s*[0-9][^,<>]*"
)
# The form of an objective, for editors.
PATTERN = rf"^{_TERM_PATTERN}(,{_TERM_PATTERN})*$"
EXAMPLE = "p99 < 50ms, errors < 0.1%, throughput > 1000/s"
_METRICS = (*TIMES, ERRORS, Metric.SLOWER, THROUGHPUT, Metric.TRANSFER)


def terms(text: str) -> list[Term]:
    """Return the comma-separated terms of an objective; all must hold. Raise ValueError if one cannot be read."""
    return [_term(part) for part in split_terms(text)]


def terms_for(slo: Mapping[str, str], case: str) -> list[Term]:
    """Return the terms that a campaign's objectives, by glob over case names, set for a case."""
    return [term for glob, text in slo.items() if fnmatch.fnmatch(case, glob) for term in terms(text)]


def unknown_requests(found: Sequence[Term], names: Sequence[str], load: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong, and what to do, for each term about a request that a load does not have. names: those it has."""
    for term in found:
        if term.request is not None and term.request not in names:
            what = f"{shown(term.text)}: load {load!r} has no request {shown(term.request)}"
            if not names:
                yield what, "omit the name in brackets: the load has a single request"
                continue
            known = f"{', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
            yield what, f"its requests are: {known}"


def _term(text: str) -> Term:
    request, condition = split_request(text)
    return _read(text.strip(), condition, request)


def _read(text: str, condition: str, request: str | None) -> Term:
    slower = _SLOWER.match(condition)
    if slower:
        than_us = int(duration_us(slower[1]))
        return Term(text, Metric.SLOWER, slower[2] == "<", share(slower[3]), None, request, than_us)
    match = _TERM.match(condition)
    if not match:
        raise ValueError(f"{shown(text)} is not an objective: write it as '{EXAMPLE}'")
    metric, at_most, limit = match[2].replace("p99.9", "p999"), match[3] == "<", match[4]
    if metric in TIMES:
        time = None if match[1] is None else TimeName(match[1])
        return Term(text, Metric(metric), at_most, int(duration_us(limit)), time, request)
    if match[1] is not None:
        what = f"{shown(text)} is not an objective: {shown(match[2])} has no {match[1]} time"
        raise ValueError(f"{what}: omit '{match[1]}'")
    if metric == ERRORS:
        return Term(text, ERRORS, at_most, share(limit), None, request)
    if metric == THROUGHPUT:
        return Term(text, THROUGHPUT, at_most, rate_per_s(limit), None, request)
    if metric == Metric.TRANSFER:
        return Term(text, Metric.TRANSFER, at_most, bytes_per_s(limit), None, request)
    if metric == Metric.SLOWER:
        raise ValueError(f"{shown(text)} is not an objective: write it as 'slower than 200ms < 1%'")
    raise ValueError(f"no objective can be set for {shown(match[2])}: use {', '.join(m.label for m in _METRICS)}")
