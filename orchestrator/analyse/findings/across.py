"""Doubts that only show between the trials of a case: what should have been the same was not."""

from __future__ import annotations

from typing import Any

from orchestrator.analyse.objectives import interval_of
from orchestrator.analyse.precision import Precision, width
from orchestrator.facts import TrialFacts
from orchestrator.result import CaseFinding, CaseResult, Severity, Trial


def host_changed(trials: list[Trial]) -> list[CaseFinding]:
    """Kernel or governor of a host, or the image's digest, differ between repetitions: these are no repetitions."""
    known: dict[str, str | None] = {}
    different: dict[str, Any] = {}
    numbers = []
    for trial in trials:
        for what, value in _constants(trial.facts).items():
            if known.setdefault(what, value) != value:
                different[what] = [known[what], value]
                numbers.append(trial.facts.number)
    if not different:
        return []
    hint = "run it again on hosts that stay as they are: these trials are not repetitions of one thing"
    return [CaseFinding("host-changed", Severity.SUSPECT, sorted(set(numbers)), different, hint)]


def not_precise(case: CaseResult, precision: Precision | None) -> list[CaseFinding]:
    """An adaptive campaign ended, and this case's interval is wider than asked, or there is none."""
    if precision is None or not case.used:
        return []
    reached = width(interval_of(case, precision.metric))
    if reached is not None and reached < precision.narrower_than:
        return []
    told = {
        "metric": precision.metric,
        "asked": precision.narrower_than,
        "reached": None if reached is None else round(reached, 4),
        "repetitions": case.trials,
    }
    hint = "more repetitions ('at_most', 'budget') or longer trials make it narrower"
    if reached is None:
        hint = "there is no interval: too few requests for this percentile, or fewer than two valid trials"
    return [CaseFinding("not-precise", Severity.INFORMATION, [], told, hint)]


def _constants(facts: TrialFacts) -> dict[str, str | None]:
    """What must not change, as far as it was seen."""
    found: dict[str, str | None] = {}
    for use in facts.hosts:
        found[f"kernel of {use.host}"] = use.kernel
        found[f"governor of {use.host}"] = use.governor
    if facts.server.image:
        found["image"] = facts.server.image
    return found
