"""Two stored runs against each other, or the targets of one: what `volley compare` shows. No Ray, no Docker, no h2load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from agents.records import from_plain
from orchestrator.analyse import regression
from orchestrator.analyse.compare import Side, compare, compare_runs
from orchestrator.analyse.regression import Limit
from orchestrator.analyse.sameness import Circumstances, differences
from orchestrator.errors import StoredRunError, UsageError
from orchestrator.facts import Case
from orchestrator.result import Compared, Comparison
from orchestrator.stored.evaluate import Finished, evaluate_run
from orchestrator.stored.folder import read_environment, read_plan

SMALLEST_EFFECT = 0.03


def compare_stored(
    base: Path, new: Path, smallest_effect: float | None, allowed: frozenset[str], asked: list[Limit]
) -> Compared:
    """Compare the cases that two runs have in common. allowed: kinds of difference that are what is being compared.

    Raises StoredRunError, and UsageError when they have no case in common.
    """
    sides = evaluate_run(base), evaluate_run(new)
    around = [replace(circumstances_of(side.path), urls=_urls(side)) for side in sides]
    cases = [{case.case: case for case in side.summary.cases} for side in sides]
    common = [name for name in cases[1] if name in cases[0]]
    if not common:
        raise UsageError(
            f"{base.name} and {new.name} have no case in common",
            f"one has {', '.join(cases[0])}; the other {', '.join(cases[1])}",
        )
    effect = smallest_effect or read_plan(new).get("smallest_effect") or SMALLEST_EFFECT
    found: list[Comparison] = []
    for name in common:
        unlike = [d for d in differences(around[0], around[1], name) if d.kind not in allowed]
        old, now = (Side.of(s.path.name, c[name], s.trials) for s, c in zip(sides, cases, strict=True))
        found += compare_runs(old, now, effect, unlike)
    alone = sorted(set(cases[0]) ^ set(cases[1]))
    return Compared(base.name, new.name, found, alone, regression.gates(found, asked))


def compare_targets(run: Path, baseline: str | None, smallest_effect: float | None, asked: list[Limit]) -> Compared:
    """Compare the targets of one run with one of them, paired by block. Raises StoredRunError, UsageError."""
    finished, plan = evaluate_run(run), read_plan(run)
    targets = list(dict.fromkeys(case.target for case in finished.summary.cases))
    chosen = baseline or plan.get("baseline") or targets[0]
    if chosen not in targets:
        raise UsageError(f"{run.name} has no target {chosen!r}", f"the targets are: {', '.join(targets)}")
    if len(targets) < 2:
        raise UsageError(f"{run.name} has one target only", "give a second run: volley compare BASE NEW")
    effect = smallest_effect or plan.get("smallest_effect") or SMALLEST_EFFECT
    found = compare(finished.trials, finished.summary.cases, chosen, effect)
    others = ", ".join(target for target in targets if target != chosen)
    return Compared(chosen, others, found, [], regression.gates(found, asked), between_runs=False)


def circumstances_of(run: Path) -> Circumstances:
    """Gather what a run's folder says of how its numbers came to be. Raises StoredRunError."""
    plan = read_plan(run)
    try:
        cases = {case["name"]: from_plain(Case, case) for case in plan["cases"]}
    except (KeyError, TypeError, ValueError) as error:
        raise StoredRunError(f"{run / 'plan.json'} is not what 'volley run' writes: {error}") from error
    return Circumstances(cases, plan.get("parts", {}), read_environment(run))


def _urls(finished: Finished) -> dict[str, str]:
    """Give the URLs of targets that were up already, by target."""
    facts = [trial.facts for trial in finished.trials if trial.facts.case.external]
    return {one.case.target: agent.url for one in facts for agent in one.agents[:1]}
