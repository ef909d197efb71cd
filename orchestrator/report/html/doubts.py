"""The doubts about a run: each finding with what it means, its facts in words, and a fix."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.analyse.people import digits, several
from orchestrator.result import CaseFinding, Fact, Finding, Severity, Summary, Trial

# The reference page of the findings. A wheel has no docs/ and holds a copy (pyproject.toml).
_IN_A_WHEEL = Path(__file__).parent / "assets" / "findings.md"
_IN_A_CHECKOUT = Path(__file__).parents[3] / "docs" / "reference" / "findings.md"
_SECTION = re.compile(r"^### (.+)$", re.MULTILINE)
# Units at the end of a fact's name.
_UNITS = {"_us": " µs", "_ms": " ms", "_ns": " ns", "_s": " s", "_bytes": " bytes", "_per_s": "/s", "_mib": " MiB"}
_MOST_TRIALS = 12
_ORDER = (Severity.INVALID, Severity.SUSPECT, Severity.INFORMATION)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a finding was made: a case with its trials, what happened there, and the facts in words."""

    where: str
    sentence: str
    facts: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Doubt:
    """One code at one severity, with every place that has it. The words are those of the first place."""

    code: str
    severity: Severity
    sentence: str
    hint: str
    meaning: list[str]
    places: list[Place]


def of_summary(summary: Summary) -> list[Doubt]:
    """Return the findings of all cases, the worst first."""
    return _grouped(
        (
            finding,
            f"{case.case}: {len(finding.trials)} of {several(case.trials, 'trial', 'trials')}{_numbers(finding.trials)}",
        )
        for case in summary.cases
        for finding in case.findings
    )


def of_trials(trials: Sequence[Trial]) -> list[Doubt]:
    """Return the findings of a search's trials: each code once for a target, with the words of its worst trial."""
    found: dict[tuple[str, str], tuple[Finding, list[int]]] = {}
    for trial in trials:
        for finding in trial.findings:
            key = trial.facts.case.target, str(finding.code)
            worst, numbers = found.get(key, (finding, []))
            worse = _ORDER.index(finding.severity) < _ORDER.index(worst.severity)
            found[key] = finding if worse else worst, [*numbers, trial.facts.number]
    return _grouped(
        (finding, f"{target}: {several(len(numbers), 'trial', 'trials')}{_numbers(numbers)}")
        for (target, _), (finding, numbers) in found.items()
    )


def _grouped(found: Iterable[tuple[Finding | CaseFinding, str]]) -> list[Doubt]:
    """Return one doubt for each code and severity, the worst first.

    What is a note in one case and makes another SUSPECT has different words: a VALID case must not seem to be doubted.
    """
    alike: dict[tuple[str, Severity], list[tuple[Finding | CaseFinding, str]]] = {}
    for finding, where in found:
        alike.setdefault((str(finding.code), finding.severity), []).append((finding, where))
    doubts = []
    for (code, severity), those in alike.items():
        first, _ = those[0]
        places = [Place(where, finding.sentence, facts_in_words(finding.facts)) for finding, where in those]
        doubts.append(Doubt(code, severity, first.sentence, first.hint, meanings().get(code, []), places))
    return sorted(doubts, key=lambda doubt: _ORDER.index(doubt.severity))


def _numbers(trials: Sequence[int]) -> str:
    if not trials or len(trials) > _MOST_TRIALS:
        return ""
    return f" ({', '.join(map(str, trials))})"


def facts_in_words(facts: Mapping[str, Fact]) -> list[tuple[str, str]]:
    """Return facts as a person reads them: no internal names, rounded, with units."""
    return [_in_words(name, value) for name, value in facts.items() if value is not None]


def _in_words(name: str, value: Fact) -> tuple[str, str]:
    unit = next((ending for ending in sorted(_UNITS, key=len, reverse=True) if name.endswith(ending)), "")
    label = (name.removesuffix(unit) if unit else name).replace("_", " ")
    if isinstance(value, bool):
        return label, "yes" if value else "no"
    if isinstance(value, (int, float)):
        return label, f"{digits(value)}{_UNITS.get(unit, '')}"
    if isinstance(value, Mapping):
        return label, ", ".join(f"{key}: {digits(number)}" for key, number in value.items())
    return label, value if isinstance(value, str) else ", ".join(part or "none" for part in value or ())


@functools.cache
def meanings() -> dict[str, list[str]]:
    """Return what docs/reference/findings.md says about each code: paragraphs of plain text."""
    page = _IN_A_WHEEL if _IN_A_WHEEL.exists() else _IN_A_CHECKOUT
    parts = _SECTION.split(page.read_text(encoding="utf-8"))
    found = {}
    for code, body in zip(parts[1::2], parts[2::2], strict=True):
        text = re.split(r"^## ", body, maxsplit=1, flags=re.MULTILINE)[0]
        found[code.strip()] = [" ".join(part.replace("`", "").split()) for part in text.split("\n\n") if part.strip()]
    return found
