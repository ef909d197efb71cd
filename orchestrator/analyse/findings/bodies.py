"""Doubts about the bodies of answers, of which the generator compared a sample under load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from orchestrator.analyse.findings.registry import finding
from orchestrator.facts import TrialFacts
from orchestrator.result import Fact, Finding, FindingCode, Metrics, Severity

# A wrong answer is no measurement of the right one. Fewer may be single faults.
INVALID_SHARE = 0.01


def unexpected(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find answers with an allowed status whose body was not the expected one."""
    checked = sum(agent.checked or 0 for agent in facts.agents)
    wrong: Counter[int] = Counter()
    for agent in facts.agents:
        wrong.update(agent.unexpected)
    if metrics is None or not checked or not wrong.total():
        return
    index, _ = wrong.most_common(1)[0]
    examples = (a.unexpected_example[index] for a in facts.agents if index in a.unexpected_example)
    example = next(examples, "the generator kept no example")
    share = wrong.total() / checked
    numbers: dict[str, Fact] = {"when": "under load", "share": round(share, 6), "checked": checked, "example": example}
    wording = "sample"
    if index < len(facts.case.mix):
        numbers["request"], wording = facts.case.mix[index].name, "sample, request"
    severity = Severity.INVALID if share >= INVALID_SHARE else Severity.SUSPECT
    yield finding(FindingCode.RESPONSE_MISMATCH, severity, numbers, wording)
