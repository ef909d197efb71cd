"""The registry of findings: the words of every code, and the one way to make a finding.

To add a finding: a member of result.FindingCode; an Entry in words/; a rule that yields
finding(CODE, severity, facts) and stands in RULES of findings/__init__.py; a section in
docs/findings.md; a test that provokes it.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.analyse.findings.template import Entry, Wording
from orchestrator.analyse.findings.words import generator, measurement, server, services
from orchestrator.result import CaseFinding, Facts, Finding, FindingCode, Severity

REGISTRY: dict[FindingCode, Entry] = {
    entry.code: entry for entry in (*server.ENTRIES, *services.ENTRIES, *generator.ENTRIES, *measurement.ENTRIES)
}


def finding(code: FindingCode, severity: Severity, facts: Facts | None = None, wording: str = "") -> Finding:
    """Return a finding about one trial. wording: which of the code's wordings fits.

    Raise KeyError if there is none.
    """
    sentence, fix = _render(_wording(code, wording), facts or {})
    return Finding(code, severity, facts or {}, fix, sentence)


def case_finding(
    code: FindingCode, severity: Severity, trials: Sequence[int], facts: Facts, wording: str = ""
) -> CaseFinding:
    """Return a finding that only shows between the trials of a case."""
    sentence, fix = _render(_wording(code, wording), facts)
    return CaseFinding(code, severity, list(trials), facts, fix, sentence)


def _wording(code: FindingCode, name: str) -> Wording:
    return REGISTRY[code].wordings[name]


def _render(wording: Wording, facts: Facts) -> tuple[str, str]:
    return wording.render(facts)
