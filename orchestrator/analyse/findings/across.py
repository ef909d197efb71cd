"""Doubts that only show between the trials of a case: what should have been the same was not."""

from __future__ import annotations

from typing import Any

from agents.records import TrialFacts
from orchestrator.result import CaseFinding, Severity, Trial


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


def _constants(facts: TrialFacts) -> dict[str, str | None]:
    """What must not change, as far as it was seen."""
    found: dict[str, str | None] = {}
    for use in facts.hosts:
        found[f"kernel of {use.host}"] = use.kernel
        found[f"governor of {use.host}"] = use.governor
    if facts.server.image:
        found["image"] = facts.server.image
    return found
