"""Evaluate a stored run from its folder alone: no Ray, no Docker, no h2load."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from agents.wire import AgentResult
from orchestrator.analyse.capacity import replay
from orchestrator.analyse.cases import judge, summarise
from orchestrator.facts import TrialFacts
from orchestrator.result import Outcome, Summary, Trial, worst
from orchestrator.search.records import Ending
from orchestrator.stored.documents import CampaignPlan, SearchPlan
from orchestrator.stored.reading import read_plan, read_trials


@dataclass(frozen=True, slots=True)
class Finished:
    """An evaluated run: its folder, its summary and its trials."""

    path: Path
    summary: Summary
    trials: list[Trial]


@dataclass(slots=True)
class Judgements:
    """The trials judged so far, by number, so that each is judged once.

    Judging is pure: facts that were read back unchanged need no second judgement. Facts that differ from those
    that were judged are judged again.
    """

    _by_number: dict[int, Trial] = field(default_factory=dict)

    def of(self, facts: TrialFacts, results: list[AgentResult]) -> Trial:
        """Return the judged trial."""
        known = self._by_number.get(facts.number)
        if known is None or known.facts != facts:
            known = self._by_number[facts.number] = judge(facts, results)
        return known

    def of_run(self, run: Path) -> list[Trial]:
        """Return every stored trial of a run, judged. Raises StoredRunError."""
        return [self.of(facts, results) for facts, results in read_trials(run)]


def evaluate_run(run: Path, judgements: Judgements | None = None) -> Finished:
    """Evaluate a run from what its folder holds. Raises StoredRunError.

    judgements: those already made of this run; without them every trial is judged from its facts and counters.
    """
    plan = read_plan(run)
    trials = (judgements or Judgements()).of_run(run)
    return Finished(run, summarise_run(plan, trials), trials)


def summarise_run(plan: CampaignPlan | SearchPlan, trials: list[Trial]) -> Summary:
    """Return the summary of a campaign or of a search."""
    return summarise_searches(plan, trials) if isinstance(plan, SearchPlan) else summarise_campaign(plan, trials)


def summarise_campaign(plan: CampaignPlan, trials: list[Trial]) -> Summary:
    """Return the summary of a campaign."""
    return summarise(
        plan.campaign,
        plan.cases,
        trials,
        plan.required_trials,
        plan.baseline,
        plan.smallest_effect or 0.0,
        plan.slo,
        plan.precision,
    )


def summarise_searches(plan: SearchPlan, trials: list[Trial]) -> Summary:
    """Return the summary of a search run: each target's search is replayed from its trials."""
    targets = dict.fromkeys(case.target for case in plan.cases)
    searches = [replay(name, [t for t in trials if t.facts.case.target == name], plan.saturation) for name in targets]
    verdict = worst([search.verdict for search in searches])
    failed = any(search.ending == Ending.NEVER_MET for search in searches)
    return Summary(plan.campaign, verdict, Outcome.FAIL if failed else Outcome.PASS, [], [], searches)
