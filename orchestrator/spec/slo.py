"""Objectives as people write them: 'p99 < 50ms, errors < 0.1%, throughput > 1000/s'."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping

from orchestrator.slo import ERRORS, NAMED_TIME, THROUGHPUT, TIMES, Metric, Term, TimeName, share, shown
from orchestrator.spec.units import duration_us, rate_per_s

_TERM = re.compile(rf"^\s*{NAMED_TIME}([a-z0-9.]+)\s*([<>])\s*(\S.*?)\s*$")
_TERM_PATTERN = (
    rf"\s*((((service|response)(\s+time)?\s+)?({'|'.join([*TIMES, 'p99[.]9'])}))|{ERRORS}|{THROUGHPUT})"
    r"\s*[<>]\s*[0-9][^,<>]*"
)
# The form of an objective, for editors.
PATTERN = rf"^{_TERM_PATTERN}(,{_TERM_PATTERN})*$"
EXAMPLE = "p99 < 50ms, errors < 0.1%, throughput > 1000/s"


def terms(text: str) -> list[Term]:
    """Return the comma-separated terms of an objective; all must hold. Raise ValueError if one cannot be read."""
    return [_term(part) for part in text.split(",")]


def terms_for(slo: Mapping[str, str], case: str) -> list[Term]:
    """Return the terms that a campaign's objectives, by glob over case names, set for a case."""
    return [term for glob, text in slo.items() if fnmatch.fnmatch(case, glob) for term in terms(text)]


def _term(text: str) -> Term:
    match = _TERM.match(text)
    if not match:
        raise ValueError(f"{shown(text.strip())} is not an objective: write it as '{EXAMPLE}'")
    metric, at_most, limit = match[2].replace("p99.9", "p999"), match[3] == "<", match[4]
    if metric in TIMES:
        time = None if match[1] is None else TimeName(match[1])
        return Term(text.strip(), Metric(metric), at_most, int(duration_us(limit)), time)
    if match[1] is not None:
        what = f"{shown(text.strip())} is not an objective: {shown(match[2])} has no {match[1]} time"
        raise ValueError(f"{what}: omit '{match[1]}'")
    if metric == ERRORS:
        return Term(text.strip(), ERRORS, at_most, share(limit))
    if metric == THROUGHPUT:
        return Term(text.strip(), THROUGHPUT, at_most, rate_per_s(limit))
    raise ValueError(
        f"no objective can be set for {shown(match[2])}: use {', '.join(m.label for m in (*TIMES, ERRORS, THROUGHPUT))}"
    )
