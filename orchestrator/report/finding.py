"""How a page words a finding: what happened, what to do, its code and the trials that have it."""

from __future__ import annotations

from orchestrator.result import CaseFinding, CaseResult, Severity


def spoiling(case: CaseResult) -> list[CaseFinding]:
    """Return the findings of a case that affect its verdict."""
    return [finding for finding in case.findings if finding.severity is not Severity.INFORMATION]


def words(finding: CaseFinding) -> str:
    """Return what happened and what to do about it."""
    return f"{finding.sentence} {finding.hint}"


def tag(finding: CaseFinding, case: CaseResult) -> str:
    """Return the code with the number of trials: 'shared-host, 3 of 3 trials'."""
    return f"{finding.code}, {len(finding.trials)} of {case.trials} trial{'' if case.trials == 1 else 's'}"
