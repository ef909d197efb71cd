"""Doubts about how a trial was run: the commands around it, and its agents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.analyse.findings.registry import finding
from orchestrator.facts import Case, TrialFacts, When
from orchestrator.result import Fact, Facts, Finding, FindingCode, Metrics, Severity


def commands_failed(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find failed commands. If one failed before the trial, no load was sent.

    After it the next trial may be affected.
    """
    for done in facts.commands:
        if done.status == 0:
            continue
        how = "it ran into its timeout" if done.status is None else f"exit status {done.status}"
        said = done.output.strip()[-160:]
        numbers: Facts = {"when": done.when, "host": done.host, "how": how, "said": said}
        severity = Severity.INVALID if done.when == When.BEFORE else Severity.SUSPECT
        yield finding(FindingCode.COMMAND_FAILED, severity, numbers, f"{done.when}, output" if said else done.when)


def agents_used(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Report agents that the load is too small for, and load hosts without an agent."""
    yield from about_agents(facts.case, facts.idle_hosts)


def about_agents(case: Case, idle_hosts: Sequence[str]) -> Iterator[Finding]:
    """Yield what is noteworthy about the agents of a case. idle_hosts: load hosts that have none of them."""
    if case.agents_asked is not None:
        numbers: dict[str, Fact] = {"agents": case.agents, "asked": case.agents_asked}
        by_requests = case.requests is not None and case.requests < case.clients
        yield finding(FindingCode.FEWER_AGENTS, Severity.INFORMATION, numbers, "requests" if by_requests else "clients")
    if idle_hosts:
        yield finding(FindingCode.IDLE_HOSTS, Severity.INFORMATION, {"hosts": list(idle_hosts), "agents": case.agents})
