"""Objectives as people write them: 'p99 < 50ms, errors < 0.1%, throughput > 1000/s'."""

from __future__ import annotations

import re

from orchestrator.slo import ERRORS, THROUGHPUT, TIMES, Term
from orchestrator.spec.units import duration_us, rate_per_s, share

_TERM = re.compile(r"^\s*([a-z0-9.]+)\s*([<>])\s*(\S.*?)\s*$")
EXAMPLE = "p99 < 50ms, errors < 0.1%, throughput > 1000/s"


def terms(text: str) -> list[Term]:
    """Read terms separated by commas; all must hold. Raises ValueError."""
    return [_term(part) for part in text.split(",")]


def _term(text: str) -> Term:
    match = _TERM.match(text)
    if not match:
        raise ValueError(f"{text.strip()!r} is no objective: write it as '{EXAMPLE}'")
    metric, at_most, limit = match[1].replace("p99.9", "p999"), match[2] == "<", match[3]
    if metric in TIMES:
        return Term(text.strip(), metric, at_most, duration_us(limit))
    if metric == ERRORS:
        return Term(text.strip(), metric, at_most, share(limit))
    if metric == THROUGHPUT:
        return Term(text.strip(), metric, at_most, rate_per_s(limit))
    raise ValueError(
        f"{match[1]!r} is nothing to set an objective for; there are {', '.join((*TIMES, ERRORS, THROUGHPUT))}"
    )
