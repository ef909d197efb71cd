"""Doubts about how a trial was conducted: commands around it, and how often it had to be tried."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.facts import TrialFacts
from orchestrator.result import Finding, Metrics, Severity


def commands_failed(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """A command did not end well: before a trial, it was not what it should be; after it, the next may not be."""
    for done in facts.commands:
        if done.status == 0:
            continue
        how = "it was ended: its time was over" if done.status is None else f"exit status {done.status}"
        numbers = {"when": done.when, "host": done.host, "how": how, "said": done.output.strip()[-160:]}
        if done.when == "before":
            yield Finding("command-failed", Severity.INVALID, numbers, "mend the command; no load was fired")
        else:
            yield Finding("command-failed", Severity.SUSPECT, numbers, "what it should have put in order, it has not")


def retried(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """It was tried before, and hosts or agents were lost."""
    if facts.tries:
        hint = "the failed tries are kept in the run's folder, under tries/"
        yield Finding("retried", Severity.INFORMATION, {"failed_tries": facts.tries}, hint)
