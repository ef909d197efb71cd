"""Compare two stored runs, or the targets of one. Needs no Ray, no Docker and no h2load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.analyse import regression
from orchestrator.analyse.compare import Side, compare, compare_runs
from orchestrator.analyse.regression import Limit
from orchestrator.analyse.sameness import Circumstances, differences
from orchestrator.errors import UsageError
from orchestrator.result import Compared, Comparison
from orchestrator.stored.documents import CampaignPlan
from orchestrator.stored.evaluate import Finished, evaluate_run
from orchestrator.stored.history import variation
from orchestrator.stored.reading import read_environment, read_plan

SMALLEST_EFFECT = 0.03
SAME_RUN = "both sides are the same run"


def compare_stored(
    base: Path, new: Path, smallest_effect: float | None, allowed: frozenset[str], asked: list[Limit]
) -> Compared:
    """Compare the cases that two runs have in common.

    smallest_effect: a share; None for that of the new run's campaign. allowed: kinds of difference to accept, because
    they are what is compared. Raises StoredRunError, and UsageError when the runs have no case in common.
    """
    sides = evaluate_run(base), evaluate_run(new)
    around = [replace(circumstances_of(side.path), urls=_urls(side), generators=_generators(side)) for side in sides]
    cases = [{case.case: case for case in side.summary.cases} for side in sides]
    common = [name for name in cases[1] if name in cases[0]]
    if not common:
        raise UsageError(
            f"{base.name} and {new.name} have no case in common",
            f"one has {', '.join(cases[0])}; the other {', '.join(cases[1])}",
        )
    effect = smallest_effect or _smallest_effect(new) or SMALLEST_EFFECT
    found: list[Comparison] = []
    for name in common:
        unlike = [d for d in differences(around[0], around[1], name) if d.kind not in allowed]
        old, now = (Side.of(s.path.name, c[name], s.trials) for s, c in zip(sides, cases, strict=True))
        past = variation((base, new), around[0], name, allowed)
        found += compare_runs(old, now, effect, unlike, past, regression.wanted_metrics(asked))
    alone = sorted(set(cases[0]) ^ set(cases[1]))
    same = base.resolve() == new.resolve()
    if same:
        found = [replace(c, reason=SAME_RUN) for c in found]
    return Compared(base.name, new.name, found, alone, regression.gates(found, asked), same_run=same)


def compare_targets(run: Path, baseline: str | None, smallest_effect: float | None, asked: list[Limit]) -> Compared:
    """Compare the targets of one run with one of them, paired by block. Raises StoredRunError, UsageError."""
    plan = read_plan(run)
    if not isinstance(plan, CampaignPlan):
        raise UsageError(
            f"{run.name} is a search for capacity: it has no cases to compare", "name the run of a campaign"
        )
    finished = evaluate_run(run)
    targets = list(dict.fromkeys(case.target for case in finished.summary.cases))
    chosen = baseline or plan.baseline or targets[0]
    if chosen not in targets:
        raise UsageError(f"{run.name} has no target {chosen!r}", f"the targets are: {', '.join(targets)}")
    if len(targets) < 2:
        raise UsageError(f"{run.name} has one target only", "name a second run: volley compare BASE NEW")
    effect = smallest_effect or plan.smallest_effect or SMALLEST_EFFECT
    wanted = regression.wanted_metrics(asked)
    comparisons = compare(finished.trials, finished.summary.cases, chosen, effect, wanted)
    others = ", ".join(target for target in targets if target != chosen)
    return Compared(chosen, others, comparisons, [], regression.gates(comparisons, asked), between_runs=False)


def circumstances_of(run: Path) -> Circumstances:
    """Return how a run's numbers came to be, as far as its folder records it. Raises StoredRunError."""
    plan = read_plan(run)
    return Circumstances({case.name: case for case in plan.cases}, plan.parts, read_environment(run))


def _smallest_effect(run: Path) -> float | None:
    plan = read_plan(run)
    return plan.smallest_effect if isinstance(plan, CampaignPlan) else None


def _generators(finished: Finished) -> dict[str, str]:
    """Return what sent each case: paced may have taken the place of h2load."""
    found: dict[str, set[str]] = {}
    for case in (trial.facts.case for trial in finished.trials if trial.facts.agents):
        found.setdefault(case.name, set()).add(str(case.generator))
    return {name: ", ".join(sorted(generators)) for name, generators in found.items()}


def _urls(finished: Finished) -> dict[str, str]:
    """Return the URLs of external targets, by target."""
    facts = [trial.facts for trial in finished.trials if trial.facts.case.external]
    return {trial.case.target: agent.url for trial in facts for agent in trial.agents[:1]}
