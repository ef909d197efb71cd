"""The trial was attempted before."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.analyse.findings import conduct
from orchestrator.analyse.findings.registry import finding
from orchestrator.analyse.findings.template import Entry, Wording
from orchestrator.facts import TrialFacts
from orchestrator.result import Finding, FindingCode, Metrics, Severity

CODE = FindingCode("retried")
ENTRY = Entry(
    CODE,
    (Severity.INFORMATION,),
    {
        "": Wording(
            "Earlier attempts at this trial failed and do not count: {failed_tries:names}.",
            "Check the failed attempts in tries/ in the run folder.",
        )
    },
)
AFTER = conduct.agents_used


def rule(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Report earlier attempts at the trial, in which hosts or agents were lost."""
    if facts.tries:
        yield finding(CODE, Severity.INFORMATION, {"failed_tries": facts.tries})
