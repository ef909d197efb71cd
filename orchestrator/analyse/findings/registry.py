"""The registry of findings: the words of every code, and the one way to make a finding.

To add a finding, add a module to single/, a section to docs/reference/findings.md and a test: CONTRIBUTING.md has an
example. Entries of that package are added to REGISTRY when the package findings is imported.
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
