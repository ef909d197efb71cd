"""From findings to a verdict: of a trial, of a case. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.result import CaseFinding, Finding, Severity, Verdict, worst

_VERDICTS = {
    Severity.INFORMATION: Verdict.VALID,
    Severity.SUSPECT: Verdict.SUSPECT,
    Severity.INVALID: Verdict.INVALID,
}


def of_findings(findings: Sequence[Finding | CaseFinding]) -> Verdict:
    """INVALID when the number is wrong or incomplete, SUSPECT when it may be."""
    return worst([Verdict.VALID, *(_VERDICTS[finding.severity] for finding in findings)])


def of_case(trials: list[Verdict], required: int) -> Verdict:
    """As good as what remains without the INVALID trials; INVALID when fewer than `required` remain."""
    remaining = [verdict for verdict in trials if verdict is not Verdict.INVALID]
    if len(remaining) < required:
        return Verdict.INVALID
    return Verdict.SUSPECT if Verdict.SUSPECT in remaining else Verdict.VALID
