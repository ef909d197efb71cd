"""Doubts about the arrivals of an open loop: were the requests sent when they were due?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from agents.generators.contract import Arrivals
from agents.records import GeneratorKind
from orchestrator.analyse.findings.registry import finding
from orchestrator.facts import TrialFacts
from orchestrator.result import Fact, Finding, FindingCode, Metrics, Severity

INFORMATION, SUSPECT, INVALID = Severity.INFORMATION, Severity.SUSPECT, Severity.INVALID

# Requests that found no free slot, as a share of those that were due.
OUT_OF_SLOTS_SHARE = 0.001
# Of the connections of h2load, as a share: with fewer the server, or its host, refused to take them.
OPENED_SHARE = 0.9
# Requests that were sent late, by more than half the gap between two: the arrivals are not those of the schedule.
BUNCHED_SHARE = 0.05
# Requests that were sent early, or were due at times that are not on the schedule.
WRONG_SHARE = 0.001
# A percentile of response time that holds more send lag than this, beside what every timer has, is about the generator.
LAG_SHARE, LAG_ALLOWED_US = 0.10, 1_000
# The generator's own delay is most of the median.
LAG_INVALID = 0.5
RATE_TOLERANCE = 0.02
# A Poisson process with n expected arrivals has a standard deviation of sqrt(n).
POISSON_SIGMA = 5
PERCENTILES = ("p50", "p90", "p99")


def arrivals(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """The schedule that was asked for, the due times, and when the requests were sent."""
    due = sum(agent.due or 0 for agent in facts.agents)
    if metrics is None or facts.case.rate_per_s is None:
        return
    yield from _rate(facts, metrics, due)
    if not due:
        return
    waited = sum(agent.waited_for_slot or 0 for agent in facts.agents)
    if waited > OUT_OF_SLOTS_SHARE * due:
        slots = sum(agent.slots for agent in facts.agents)
        numbers: dict[str, Fact] = {"waited": waited, "due": due, "slots": slots}
        wording = "streams" if facts.case.streams > 1 else ""
        if (opened := _opened(facts)) is not None:
            numbers, wording = numbers | opened, "unopened"
        yield finding(FindingCode.OUT_OF_SLOTS, SUSPECT, numbers, wording)
        # What follows would blame the timing of the generator for it.
        return
    yield from _lag(metrics)
    yield from _bunched(facts, due)


def _opened(facts: TrialFacts) -> dict[str, Fact] | None:
    """Return how many of its connections h2load held open at most, where a part of them never were; None otherwise.

    It opens all of them, busy or not, and a server takes only so many. paced opens those that are busy. A server that
    closes connections has taken more of them than are open at once.
    """
    sampled = [a for a in facts.agents if a.generator == GeneratorKind.H2LOAD and a.sockets_most is not None]
    clients = sum(agent.slots // max(1, facts.case.streams) for agent in sampled)
    opened = sum(max(agent.sockets_most or 0, agent.opened_about or 0) for agent in sampled)
    return {"opened": opened, "clients": clients} if opened < OPENED_SHARE * clients else None


def _rate(facts: TrialFacts, metrics: Metrics, due: int) -> Iterator[Finding]:
    """As many requests must be due as the rate says; the generator's own schedule decides that."""
    rate = facts.case.rate_per_s or 0.0
    expected = rate * metrics.window_s
    allowed = max(RATE_TOLERANCE * expected, 1.0 + len(facts.agents))
    if facts.case.arrivals == Arrivals.POISSON:
        allowed = max(allowed, POISSON_SIGMA * math.sqrt(expected))
    if abs(due - expected) > allowed:
        numbers: dict[str, Fact] = {"due": due, "expected": round(expected), "rate_per_s": rate}
        yield finding(FindingCode.RATE_NOT_REACHED, SUSPECT, numbers)


def _lag(metrics: Metrics) -> Iterator[Finding]:
    """A percentile of response time that holds the generator's own delay."""
    lag, response = metrics.send_lag_us or {}, metrics.response_time_us or {}
    for name in PERCENTILES:
        late_us, time_us = lag.get(name), response.get(name)
        if late_us is None or time_us is None or late_us <= LAG_ALLOWED_US + LAG_SHARE * time_us:
            continue
        numbers: dict[str, Fact] = {"percentile": name, "lag_us": late_us, "response_us": time_us}
        spoiled = name == "p50" and late_us > LAG_INVALID * time_us
        yield finding(FindingCode.SEND_LAG, INVALID if spoiled else SUSPECT, numbers)
        return


def _bunched(facts: TrialFacts, due: int) -> Iterator[Finding]:
    agents = [agent for agent in facts.agents if agent.late_us is not None]
    numbers: dict[str, Fact] = {
        "late": sum(agent.late or 0 for agent in agents),
        "due": due,
        "late_us": max((agent.late_us or 0 for agent in agents), default=0),
        "burst": max((agent.largest_burst or 0 for agent in agents), default=0),
        "early": sum(agent.early for agent in agents),
        "off_schedule": sum(agent.off_schedule for agent in agents),
    }
    h2load = any(agent.generator == GeneratorKind.H2LOAD for agent in agents)
    if sum(agent.late or 0 for agent in agents) > BUNCHED_SHARE * due:
        yield finding(FindingCode.BURSTY_ARRIVALS, SUSPECT, numbers, "h2load" if h2load else "")
    elif sum(agent.early for agent in agents) > WRONG_SHARE * due:
        yield finding(FindingCode.BURSTY_ARRIVALS, SUSPECT, numbers, "early")
    elif sum(agent.off_schedule for agent in agents) > WRONG_SHARE * due:
        yield finding(FindingCode.BURSTY_ARRIVALS, SUSPECT, numbers, "schedule")
