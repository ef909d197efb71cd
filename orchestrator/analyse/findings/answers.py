"""Doubts about the answers: none, failed, redirected; and what the answer before the load says about the load."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator

from agents.answers import TOO_MANY
from agents.generators.contract import Protocol
from agents.records import GeneratorKind
from orchestrator.analyse.findings.registry import finding
from orchestrator.facts import TrialFacts
from orchestrator.result import Fact, Finding, FindingCode, Metrics, Severity

INFORMATION, SUSPECT, INVALID = Severity.INFORMATION, Severity.SUSPECT, Severity.INVALID

ERROR_SHARE = 0.01
# With more than this share of the errors from a rate limiter, it is what the errors are about.
MOSTLY = 0.9
# With more than this share of the failed requests never sent, it is what the failures are about.
UNSENT_OF_FAILED = 0.5
# A load is too short for answers that take longer than this share of it.
SHORT_OF_LOAD = 0.5
# Answers that send the client elsewhere.
REDIRECTS = (301, 302, 303, 307, 308)


def answer_s(facts: TrialFacts) -> float:
    """Return how long the answer before the load took."""
    return round(facts.server.answer_us / 1e6, 2)


def is_short(facts: TrialFacts) -> bool:
    """Return whether a timed load is too short for answers as slow as the one before it."""
    load_us = facts.case.load_us
    return load_us is not None and facts.server.answer_us > SHORT_OF_LOAD * load_us


def explained(facts: TrialFacts, metrics: Metrics | None) -> bool:
    """Return whether no request can have been answered: answers do not end, or take longer than the load lasts."""
    return metrics is not None and not metrics.requests.ok and (facts.server.endless or is_short(facts))


def needed_s(facts: TrialFacts) -> float | None:
    """Return how long the requests of a load take one after the other on each slot; None where time ends the load."""
    case = facts.case
    if case.requests is None:
        return None
    turns = math.ceil(case.requests / (case.clients * case.streams))
    return round(turns * facts.server.answer_us / 1e6, 1)


def failed_requests(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Report failed requests: all of them, or enough to make the rest a different workload."""
    if metrics is None:
        return
    r = metrics.requests
    share = r.error_share or 0.0
    numbers: dict[str, Fact] = {
        "ok": r.ok,
        "http_error": r.http_error,
        "failed": r.failed,
        "statuses": metrics.statuses,
    }
    if r.ok == 0:
        wording, why = _why_none(facts, r.http_error)
        yield finding(FindingCode.NO_SUCCESS, INVALID, numbers | why, wording)
    elif share > ERROR_SHARE and (unsent := _unsent(facts)) and unsent["unsent"] > UNSENT_OF_FAILED * r.failed:
        yield finding(FindingCode.ERRORS, SUSPECT, numbers | unsent | {"share": round(share, 4)}, "unsent")
    elif share > ERROR_SHARE:
        yield finding(FindingCode.ERRORS, SUSPECT, numbers | {"share": round(share, 4)}, _limited(metrics))
    elif share:
        yield finding(FindingCode.ERRORS, INFORMATION, numbers, "few")


def _why_none(facts: TrialFacts, http_errors: int) -> tuple[str, dict[str, Fact]]:
    """Return the wording that explains why no request succeeded, and its facts."""
    if http_errors:
        return "", {}
    if facts.server.endless:
        return "endless", {}
    if is_short(facts):
        return "short", {"answer_s": answer_s(facts), "load_s": round((facts.case.load_us or 0) / 1e6, 2)}
    return "", {}


def _unsent(facts: TrialFacts) -> dict[str, int]:
    """Return how many requests h2load never sent, because it does not open a connection again that ended with a request."""
    agents = [agent for agent in facts.agents if agent.generator == GeneratorKind.H2LOAD]
    counts = [(a.total, a.started, a.done) for a in agents if None not in (a.total, a.started, a.done)]
    if facts.case.requests is None or facts.case.protocol != Protocol.HTTP1 or not counts:
        return {}
    total, started, done = (sum(each or 0 for each in column) for column in zip(*counts, strict=True))
    return {"unsent": total - started, "total": total, "ended": started - done} if started > done else {}


def _limited(metrics: Metrics) -> str:
    """Return the wording for errors that are mostly those of a rate limiter."""
    r = metrics.requests
    limited = metrics.statuses.get(str(TOO_MANY), 0)
    return "limited" if limited > MOSTLY * (r.http_error + r.failed) else ""


def redirected(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find answers that redirect and that the campaign does not expect: they are cheap, and not the page."""
    if metrics is None:
        return
    seen = _redirects(facts, metrics)
    if not seen:
        return
    statuses: Counter[int] = Counter()
    requests: Counter[str] = Counter()
    for (name, status), count in seen.items():
        statuses[status] += count
        requests[name] += count
    status = max(statuses, key=lambda each: statuses[each])
    numbers: dict[str, Fact] = {
        "status": status,
        "redirected": statuses.total(),
        "share": round(statuses.total() / max(1, sum(metrics.statuses.values())), 4),
        "location": facts.server.location,
    }
    if metrics.mix:
        name = max(requests, key=lambda each: requests[each])
        numbers |= {"request": name, "location": facts.server.locations.get(name, "")}
        wording = "request" if len(requests) == 1 else "requests"
        yield finding(FindingCode.REDIRECTED, SUSPECT, numbers, f"{wording}, to" if numbers["location"] else wording)
        return
    known = facts.server.location and facts.server.status == status
    yield finding(FindingCode.REDIRECTED, SUSPECT, numbers, "" if known else "elsewhere")


def _redirects(facts: TrialFacts, metrics: Metrics) -> dict[tuple[str, int], int]:
    """Return how many answers redirect and are not expected, by request of the mix ('' without one) and status."""
    if not metrics.mix:
        return _of_statuses("", metrics.statuses, facts.server.allowed)
    planned = {request.name: request.allowed for request in facts.case.mix}
    # Requests that are counted together: what one of them allows is expected.
    own = {figures.name for figures in metrics.mix}
    shared = [status for name, allowed in planned.items() if name not in own for status in allowed]
    found: dict[tuple[str, int], int] = {}
    for figures in metrics.mix:
        found |= _of_statuses(figures.name, figures.statuses, planned.get(figures.name, shared))
    return found


def _of_statuses(name: str, statuses: dict[str, int], allowed: Collection[int]) -> dict[tuple[str, int], int]:
    counts = {status: statuses.get(str(status), 0) for status in REDIRECTS if status not in allowed}
    return {(name, status): count for status, count in counts.items() if count}
