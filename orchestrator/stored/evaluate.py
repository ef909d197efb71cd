"""The evaluation of a run, as it is stored: works on a laptop with neither Ray, Docker nor h2load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.records import from_plain
from orchestrator.analyse.capacity import Wanted, replay
from orchestrator.analyse.cases import judge, summarise
from orchestrator.analyse.objectives import terms_of
from orchestrator.analyse.precision import Precision
from orchestrator.errors import StoredRunError
from orchestrator.facts import Case
from orchestrator.result import Summary, Trial, worst
from orchestrator.search.engine import Ending
from orchestrator.slo import Term
from orchestrator.stored.folder import read_plan, read_trials


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished run: where it is, what it says, and its trials."""

    path: Path
    summary: Summary
    trials: list[Trial]


def evaluate_run(run: Path) -> Finished:
    """Evaluate a stored run anew, from facts and counters alone: no Ray, no Docker, no h2load. Raises StoredRunError."""
    document = read_plan(run)
    try:
        cases = [from_plain(Case, case) for case in document["cases"]]
        trials = [judge(facts, agents) for facts, agents in read_trials(run)]
        return Finished(run, summarise_run(document, cases, trials), trials)
    except (KeyError, TypeError, ValueError) as error:
        raise StoredRunError(f"{run / 'plan.json'} is not what 'volley run' writes: {error}") from error


def summarise_searches(document: dict[str, Any], trials: list[Trial]) -> Summary:
    """Sum up a saturation run: each target's search is played again from its trials."""
    plain = document["saturation"]
    wanted = Wanted(**{**plain, "terms": [Term(**term) for term in plain["terms"]]})
    targets = dict.fromkeys(case["target"] for case in document["cases"])
    found = [replay(name, [t for t in trials if t.facts.case.target == name], wanted) for name in targets]
    verdict = worst([one.verdict for one in found])
    failed = any(one.ending == Ending.NEVER_MET for one in found)
    return Summary(document["campaign"], verdict, "FAIL" if failed else "PASS", [], [], found)


def summarise_run(document: dict[str, Any], cases: list[Case], trials: list[Trial]) -> Summary:
    """Sum up a run; `document` is plan.json."""
    if document.get("saturation") is not None:
        return summarise_searches(document, trials)
    return summarise(
        document["campaign"],
        cases,
        trials,
        document["required_trials"],
        document["baseline"],
        document["smallest_effect"] or 0.0,
        terms_of(document),
        None if document.get("precision") is None else Precision(**document["precision"]),
    )
