"""How a page words findings: what happened, what to do, the code, the trials. Equal ones of several cases are one entry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.analyse.ranges import together, without_numbers
from orchestrator.result import CaseFinding, CaseResult, FindingCode, Saturation, Severity, Trial

_ORDER = (Severity.INVALID, Severity.SUSPECT, Severity.INFORMATION)


def spoiling(case: CaseResult) -> list[CaseFinding]:
    """Return the findings of a case that affect its verdict."""
    return [finding for finding in case.findings if finding.severity is not Severity.INFORMATION]


def words(finding: CaseFinding) -> str:
    """Return what happened and what to do about it."""
    return f"{finding.sentence} {finding.hint}"


def tag(finding: CaseFinding, case: CaseResult) -> str:
    """Return the code with the number of trials: 'shared-host, 3 of 3 trials'."""
    return f"{finding.code}, {len(finding.trials)} of {case.trials} trial{'' if case.trials == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A finding of one case or several. sentence: with ranges where their numbers differ."""

    code: FindingCode
    severity: Severity
    cases: list[str]
    sentence: str
    hint: str
    found: int
    trials: int

    @property
    def tag(self) -> str:
        """The code with the number of trials: 'shared-host, 3 of 3 trials'."""
        return f"{self.code}, {self.found} of {self.trials} trial{'' if self.trials == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Found:
    """A finding of one case, or of the probes of one target. trials: how many it has."""

    name: str
    finding: CaseFinding
    trials: int


def entries(cases: Iterable[CaseResult], severities: Sequence[Severity]) -> list[Entry]:
    """Return the findings of these severities, the worst first; those that differ only in numbers share an entry."""
    return _entries([Found(case.case, found, case.trials) for case in cases for found in case.findings], severities)


def entries_of_probes(searches: Iterable[Saturation], trials: Sequence[Trial]) -> list[Entry]:
    """Return the doubts about the probes that carry the answers of searches: those that passed."""
    found = []
    for search in searches:
        passed = {probe.trial for probe in search.curve if probe.passed and probe.limited_by is None}
        own = [t for t in trials if t.facts.number in passed and t.facts.case.target == search.target]
        for trial in own:
            for one in trial.findings:
                as_case = CaseFinding(one.code, one.severity, [trial.facts.number], one.facts, one.hint, one.sentence)
                found.append(Found(search.target, as_case, len(own)))
    return _entries(found, (Severity.INVALID, Severity.SUSPECT))


def _entries(all_found: Iterable[Found], severities: Sequence[Severity]) -> list[Entry]:
    alike: dict[tuple[str, ...], list[Found]] = {}
    for each in all_found:
        finding = each.finding
        harmless = finding.severity is Severity.INFORMATION
        key = (finding.code, str(harmless), without_numbers(finding.sentence), finding.hint)
        alike.setdefault(key, []).append(each)
    made = [_entry(found) for found in alike.values()]
    return sorted((e for e in made if e.severity in severities), key=lambda entry: _ORDER.index(entry.severity))


def _entry(found: Sequence[Found]) -> Entry:
    first = found[0].finding
    trials = {each.name: each.trials for each in found}
    return Entry(
        first.code,
        min((each.finding.severity for each in found), key=_ORDER.index),
        list(trials),
        together([each.finding.sentence for each in found]),
        first.hint,
        sum(len(each.finding.trials) for each in found),
        sum(trials.values()),
    )
