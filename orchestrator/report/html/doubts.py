"""The doubts about a run: each finding with what it means, its facts in words, and a fix."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.analyse.people import digits, several
from orchestrator.result import Fact, Severity, Summary, Trial

_SECTION = re.compile(r"^### (.+)$", re.MULTILINE)
# Units at the end of a fact's name.
_UNITS = {"_us": " µs", "_ms": " ms", "_ns": " ns", "_s": " s", "_bytes": " bytes", "_per_s": "/s", "_mib": " MiB"}
_MOST_TRIALS = 12


@dataclass(frozen=True, slots=True)
class Doubt:
    """One finding of a page. where: the cases that have it, with the trials."""

    code: str
    severity: Severity
    where: str
    sentence: str
    hint: str
    facts: list[tuple[str, str]]
    meaning: list[str]


def of_summary(summary: Summary) -> list[Doubt]:
    """Return the findings of all cases, the worst first."""
    found = []
    for case in summary.cases:
        for finding in case.findings:
            number = f"{len(finding.trials)} of {several(case.trials, 'trial', 'trials')}{_numbers(finding.trials)}"
            words = finding.sentence, finding.hint
            found.append(_doubt(finding.code, finding.severity, f"{case.case}: {number}", words, finding.facts))
    return _sorted(found)


def of_trials(trials: Sequence[Trial]) -> list[Doubt]:
    """Return the findings of a search's probes, each code once for a target, with the worst trial's words."""
    found: dict[tuple[str, str], tuple[Doubt, list[int]]] = {}
    for trial in trials:
        for f in trial.findings:
            key = trial.facts.case.target, str(f.code)
            doubt = _doubt(f.code, f.severity, trial.facts.case.target, (f.sentence, f.hint), f.facts)
            known, numbers = found.get(key, (doubt, []))
            worse = list(Severity).index(doubt.severity) > list(Severity).index(known.severity)
            found[key] = doubt if worse else known, [*numbers, trial.facts.number]
    return _sorted(
        Doubt(
            d.code,
            d.severity,
            f"{d.where}: {several(len(n), 'trial', 'trials')}{_numbers(n)}",
            d.sentence,
            d.hint,
            d.facts,
            d.meaning,
        )
        for d, n in found.values()
    )


def _sorted(found: Iterable[Doubt]) -> list[Doubt]:
    order = (Severity.INVALID, Severity.SUSPECT, Severity.INFORMATION)
    return sorted(found, key=lambda doubt: order.index(doubt.severity))


def _numbers(trials: Sequence[int]) -> str:
    if not trials or len(trials) > _MOST_TRIALS:
        return ""
    return f" ({', '.join(map(str, trials))})"


def _doubt(code: str, severity: Severity, where: str, words: tuple[str, str], facts: Mapping[str, Fact]) -> Doubt:
    return Doubt(str(code), severity, where, *words, facts_in_words(facts), meanings().get(str(code), []))


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
    """Return what docs/findings.md says about each code: paragraphs of plain text."""
    parts = _SECTION.split((Path(__file__).parent / "assets" / "findings.md").read_text(encoding="utf-8"))
    found = {}
    for code, body in zip(parts[1::2], parts[2::2], strict=True):
        text = re.split(r"^## ", body, maxsplit=1, flags=re.MULTILINE)[0]
        found[code.strip()] = [" ".join(part.replace("`", "").split()) for part in text.split("\n\n") if part.strip()]
    return found
