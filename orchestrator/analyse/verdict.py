"""From findings to a verdict: of a trial, of a case. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agents.records import Ended, ServerState
from orchestrator.result import CaseFinding, Finding, Severity, Trial, Verdict, worst

_VERDICTS = {
    Severity.INFORMATION: Verdict.VALID,
    Severity.SUSPECT: Verdict.SUSPECT,
    Severity.INVALID: Verdict.INVALID,
}


# Hosts, agents and commands that failed, which says nothing of the server. A load that the watchdog ended may be the
# server's doing, one that was cancelled is the user's.
INFRASTRUCTURE = {"agent-lost", "clock-step", "command-failed"}
_OTHERS_DOING = (Ended.WATCHDOG, Ended.CANCELLED)
_OF_THE_SERVER = ("server-", "response-mismatch", "no-success")


def no_fault_of_the_server(trial: Trial) -> str | None:
    """Say why a trial can be tried again: it is INVALID for what hosts or agents did. None: it counts as it is."""
    invalid = [finding for finding in trial.findings if finding.severity is Severity.INVALID]
    if any(finding.code.startswith(_OF_THE_SERVER) for finding in invalid):
        return None
    if trial.facts.server.state == ServerState.NOT_TRIED and trial.facts.error:
        return trial.facts.error
    for finding in invalid:
        if finding.code in INFRASTRUCTURE and finding.facts.get("ended") not in _OTHERS_DOING:
            told = finding.facts.get("error") or finding.facts.get("agent") or finding.facts.get("host")
            return finding.code + (f" ({told})" if told else "")
    return None


def of_findings(findings: Sequence[Finding | CaseFinding]) -> Verdict:
    """INVALID when the number is wrong or incomplete, SUSPECT when it may be."""
    return worst([Verdict.VALID, *(_VERDICTS[finding.severity] for finding in findings)])


def of_case(trials: list[Verdict], required: int) -> Verdict:
    """As good as what remains without the INVALID trials; INVALID when fewer than `required` remain."""
    remaining = [verdict for verdict in trials if verdict is not Verdict.INVALID]
    if len(remaining) < required:
        return Verdict.INVALID
    return Verdict.SUSPECT if Verdict.SUSPECT in remaining else Verdict.VALID
