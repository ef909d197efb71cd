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
INFRASTRUCTURE = {
    FindingCode.HOST_LOST,
    FindingCode.AGENT_LOST,
    FindingCode.NO_SPACE,
    FindingCode.CLOCK_STEP,
    FindingCode.COMMAND_FAILED,
}
# An agent that the watchdog ended may have had a slow server; the user cancelled the other.
_NOT_THE_HOSTS = (Ended.WATCHDOG, Ended.CANCELLED)
_OF_THE_SERVER = {
    FindingCode.SERVER_OOM_KILL,
    FindingCode.SERVER_MEMORY_THRASH,
    FindingCode.SERVER_NOT_READY,
    FindingCode.SERVER_EXITED,
    FindingCode.SERVER_RESTARTED,
    FindingCode.SERVER_UNRESPONSIVE,
    FindingCode.SERVICE_OOM_KILL,
    FindingCode.SERVICE_EXITED,
    FindingCode.SERVICE_NOT_READY,
    FindingCode.RESPONSE_MISMATCH,
    FindingCode.UNASKED_MESSAGES,
    FindingCode.NO_SUCCESS,
}
# Besides those: the server hung, or closed the connections on which requests were under way.
_BY_THE_SERVER = _OF_THE_SERVER | {
    FindingCode.NOT_RUN,
    FindingCode.HUNG_SLOTS,
    FindingCode.CLIENTS_LOST,
    FindingCode.REQUESTS_LOST,
}


def no_fault_of_the_server(trial: Trial) -> str | None:
    """Return why a trial can be retried: hosts or agents made it INVALID; None: it counts."""
    invalid = [finding for finding in trial.findings if finding.severity is Severity.INVALID]
    # Without the rows of a full log there may be no success in it either.
    proofs = _OF_THE_SERVER - {FindingCode.NO_SUCCESS} if trial.facts.spoiled else _OF_THE_SERVER
    if any(finding.code in proofs for finding in invalid):
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


def failed_by_the_server(trial: Trial) -> bool:
    """Return whether a trial is INVALID for what the server did: it was killed, exited, hung or answered wrongly.

    A load that the watchdog had to end counts: the server may have been too slow to answer it. Connections that were lost
    do not count where an agent was stopped, or found no room for its log: that explains them.
    """
    if no_fault_of_the_server(trial) is not None and trial.facts.spoiled:
        return False
    return any(
        finding.code in _BY_THE_SERVER or finding.facts.get("ended") == Ended.WATCHDOG
        for finding in trial.findings
        if finding.severity is Severity.INVALID
    )


def of_case(trials: Sequence[Trial], required: int) -> Verdict:
    """Return the worst of the trials that are not INVALID.

    INVALID when fewer than `required` remain. At most SUSPECT when the server failed in one of the others: what remains
    are the trials in which it happened not to.
    """
    remaining = [trial.verdict for trial in trials if trial.verdict is not Verdict.INVALID]
    if len(remaining) < required:
        return Verdict.INVALID
    failed = any(trial.verdict is Verdict.INVALID and failed_by_the_server(trial) for trial in trials)
    return Verdict.SUSPECT if failed or Verdict.SUSPECT in remaining else Verdict.VALID
