"""Doubts about the connections of a load over WebSocket."""

from __future__ import annotations

from collections.abc import Iterator

from agents.generators.handshakes import MISSING, NO_RESPONSE, TOO_LATE, Handshakes
from orchestrator.analyse.findings.registry import finding
from orchestrator.analyse.people import count
from orchestrator.facts import TrialFacts
from orchestrator.result import Facts, Finding, FindingCode, Metrics, Severity

# Fewer are counted, and change nothing.
SUSPECT_SHARE = 0.01
_SWITCHED = 101
_NAMES = {
    NO_RESPONSE: "no response",
    TOO_LATE: "no response in time",
    MISSING: "no response before the end of the load",
    _SWITCHED: "101 that does not fit the handshake",
}


def handshakes(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find handshakes that failed, and messages that no message asked for."""
    counted = sum((agent.handshakes for agent in facts.agents if agent.handshakes is not None), Handshakes())
    failed = sum(counted.refused.values())
    attempts = failed + counted.opened
    if failed:
        severity = Severity.SUSPECT if failed >= SUSPECT_SHARE * attempts else Severity.INFORMATION
        numbers: Facts = {"failed": failed, "attempts": attempts, "detail": statuses_in_words(counted)}
        yield finding(FindingCode.HANDSHAKES_FAILED, severity, numbers, "" if severity is Severity.SUSPECT else "few")
    if counted.unasked:
        yield finding(FindingCode.UNASKED_MESSAGES, Severity.INVALID, {"messages": counted.unasked})


def statuses_in_words(counted: Handshakes) -> str:
    """Return the responses to handshakes that failed: '403: 3, no response: 2'."""
    return ", ".join(
        f"{_NAMES.get(status, str(status))}: {count(number)}"
        for status, number in sorted(counted.refused.items(), reverse=True)
    )
