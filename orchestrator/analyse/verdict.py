"""From findings to a verdict: of a trial, of a case. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agents.records import Ended, ServerState
from orchestrator.result import CaseFinding, Finding, FindingCode, Severity, Trial, Verdict, worst

_VERDICTS = {
    Severity.INFORMATION: Verdict.VALID,
    Severity.SUSPECT: Verdict.SUSPECT,
    Severity.INVALID: Verdict.INVALID,
}

# Hosts, agents and commands that failed, which says nothing about the server.
INFRASTRUCTURE = {FindingCode.AGENT_LOST, FindingCode.CLOCK_STEP, FindingCode.COMMAND_FAILED}
# An agent that the watchdog ended may have had a slow server; the user cancelled the other.
_NOT_THE_HOSTS = (Ended.WATCHDOG, Ended.CANCELLED)
_OF_THE_SERVER = {
    FindingCode.SERVER_OOM_KILL,
    FindingCode.SERVER_MEMORY_THRASH,
    FindingCode.SERVER_NOT_READY,
    FindingCode.SERVER_EXITED,
    FindingCode.SERVER_RESTARTED,
    FindingCode.SERVER_UNRESPONSIVE,
    FindingCode.RESPONSE_MISMATCH,
    FindingCode.NO_SUCCESS,
}


def no_fault_of_the_server(trial: Trial) -> str | None:
    """Return why a trial can be retried: hosts or agents made it INVALID; None: it counts."""
    invalid = [finding for finding in trial.findings if finding.severity is Severity.INVALID]
    if any(finding.code in _OF_THE_SERVER for finding in invalid):
        return None
    if trial.facts.server.state == ServerState.NOT_TRIED and trial.facts.error:
        return trial.facts.error
    for finding in invalid:
        if finding.code in INFRASTRUCTURE and finding.facts.get("ended") not in _NOT_THE_HOSTS:
            where = finding.facts.get("error") or finding.facts.get("agent") or finding.facts.get("host")
            return finding.code + (f" ({where})" if where else "")
    return None


def of_findings(findings: Sequence[Finding | CaseFinding]) -> Verdict:
    """Return INVALID when the number is wrong or incomplete, SUSPECT when it may be."""
    return worst([Verdict.VALID, *(_VERDICTS[finding.severity] for finding in findings)])


def of_case(trials: list[Verdict], required: int) -> Verdict:
    """Return the worst of the trials that are not INVALID.

    INVALID when fewer than `required` remain.
    """
    remaining = [verdict for verdict in trials if verdict is not Verdict.INVALID]
    if len(remaining) < required:
        return Verdict.INVALID
    return Verdict.SUSPECT if Verdict.SUSPECT in remaining else Verdict.VALID
