"""Doubts that only show between the trials of a case: something that must stay the same changed."""

from __future__ import annotations

from orchestrator.analyse.findings.registry import case_finding
from orchestrator.analyse.objectives import interval_of
from orchestrator.analyse.precision import Precision, width
from orchestrator.facts import TrialFacts
from orchestrator.result import CaseFinding, CaseResult, Facts, FindingCode, Severity, Trial


def host_changed(trials: list[Trial]) -> list[CaseFinding]:
    """Find hosts or images that differ between repetitions: kernel, governor, image digest."""
    known: dict[str, str | None] = {}
    different: dict[str, list[str | None]] = {}
    numbers = set()
    for trial in trials:
        for what, value in _constants(trial.facts).items():
            if known.setdefault(what, value) != value:
                different[what] = [known[what], value]
                numbers.add(trial.facts.number)
    if not different:
        return []
    return [case_finding(FindingCode.HOST_CHANGED, Severity.SUSPECT, sorted(numbers), dict(different))]


def not_precise(case: CaseResult, precision: Precision | None) -> list[CaseFinding]:
    """Find an interval that is wider than an adaptive campaign requested, or missing."""
    if precision is None or not case.used:
        return []
    reached = width(interval_of(case, precision.metric))
    if reached is not None and reached < precision.narrower_than:
        return []
    facts: Facts = {
        "metric": precision.metric,
        "asked": precision.narrower_than,
        "reached": None if reached is None else round(reached, 4),
        "repetitions": case.trials,
    }
    wording = "no interval" if reached is None else ""
    return [case_finding(FindingCode.NOT_PRECISE, Severity.INFORMATION, [], facts, wording)]


def _constants(facts: TrialFacts) -> dict[str, str | None]:
    """Return what must not change between repetitions, by name, as far as it was seen."""
    constants: dict[str, str | None] = {}
    for use in facts.hosts:
        constants[f"kernel of {use.host}"] = use.kernel
        constants[f"governor of {use.host}"] = use.governor
    if facts.server.image:
        constants["image"] = facts.server.image
    return constants
