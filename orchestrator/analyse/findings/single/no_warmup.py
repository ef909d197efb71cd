"""The window begins with the first request of the run."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.analyse.findings import measurement
from orchestrator.analyse.findings.registry import finding
from orchestrator.analyse.findings.template import Entry, Wording
from orchestrator.facts import TrialFacts
from orchestrator.result import Finding, FindingCode, Metrics, Severity

CODE = FindingCode("no-warmup")
ENTRY = Entry(
    CODE,
    (Severity.INFORMATION,),
    {
        "": Wording(
            "There was no warm-up: the first requests count as well.",
            "Use a load with 'duration', which has a warm-up.",
        )
    },
)
AFTER = measurement.too_few_samples


def rule(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Report a load without a warm-up."""
    if facts.t0_ns is not None and facts.case.warm_up_us == 0:
        yield finding(CODE, Severity.INFORMATION)
