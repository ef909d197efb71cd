"""The SSH key of an unknown host was accepted."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.analyse.findings import generator
from orchestrator.analyse.findings.registry import finding
from orchestrator.analyse.findings.template import Entry, Wording
from orchestrator.facts import TrialFacts
from orchestrator.result import Finding, FindingCode, Metrics, Severity

CODE = FindingCode("host-key-accepted")
ENTRY = Entry(
    CODE,
    (Severity.INFORMATION,),
    {
        "": Wording(
            "The SSH keys of these hosts were accepted without a check: {hosts:names}.",
            "Compare fingerprints with: volley hosts trust",
        )
    },
)
AFTER = generator.network


def rule(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Report hosts whose keys were unknown and accepted (host_keys: accept-new)."""
    if facts.accepted_keys:
        yield finding(CODE, Severity.INFORMATION, {"hosts": facts.accepted_keys})
