"""Evaluate a stored run from its folder alone: no Ray, no Docker, no h2load."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from agents.wire import AgentResult
from orchestrator.analyse.capacity import replay
from orchestrator.analyse.cases import judge, summarise
from orchestrator.analyse.objectives import state_of_search
from orchestrator.errors import StoredRunError
from orchestrator.facts import TrialFacts
from orchestrator.merge import Merged
from orchestrator.result import Summary, Trial, outcome_of, worst
from orchestrator.slo import legible
from orchestrator.stored.documents import CampaignPlan, SearchPlan
from orchestrator.stored.layout import AGENTS_FILE, TRIAL_FILE
from orchestrator.stored.reading import read_plan, read_trial, stored_trials


@dataclass(frozen=True, slots=True)
class Finished:
    """An evaluated run: its folder, its summary and its trials."""

    path: Path
    summary: Summary
    trials: list[Trial]


# When and with what size the files of a trial were last written.
_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(slots=True)
class Judgements:
    """The trials judged so far, so that each is judged once; their counters are not kept.

    Judging is pure: facts that were read back unchanged need no second judgement. Facts that differ from those
    that were judged are judged again. A stored trial is read once, and again when its files were written since.
    """

    _by_number: dict[int, Trial] = field(default_factory=dict)
    _by_folder: dict[Path, tuple[_Stamp, Trial]] = field(default_factory=dict)

    def of(self, facts: TrialFacts, results: Iterable[AgentResult] | Merged) -> Trial:
        """Return the judged trial."""
        known = self._by_number.get(facts.number)
        if known is None or known.facts != facts:
            known = self._by_number[facts.number] = judge(facts, results)
        return known

    def of_run(self, run: Path) -> list[Trial]:
        """Return every stored trial of a run, judged. Raises StoredRunError."""
        return [self._of_folder(folder) for folder in stored_trials(run)]

    def _of_folder(self, folder: Path) -> Trial:
        stamp = _stamp(folder)
        known = self._by_folder.get(folder)
        if stamp is not None and known is not None and known[0] == stamp:
            return known[1]
        facts, merged = read_trial(folder)
        try:
            trial = self.of(facts, merged)
        except (ArithmeticError, ValueError) as error:
            # What Volley wrote was judged before it was stored.
            what = f"{folder} cannot be judged: {legible(str(error), 300)}"
            raise StoredRunError(what, "restore it from a copy, or delete that trial's folder") from error
        if stamp is not None:
            self._by_folder[folder] = stamp, trial
        return trial


def _stamp(folder: Path) -> _Stamp | None:
    """Return what changes when a stored trial is written; None when a file is missing, which reading it will report."""
    try:
        files = [(folder / name).stat() for name in (TRIAL_FILE, AGENTS_FILE)]
    except OSError:
        return None
    return tuple((file.st_ino, file.st_size, file.st_mtime_ns) for file in files)


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
    outcome = outcome_of([state_of_search(search) for search in searches])
    return Summary(plan.campaign, verdict, outcome, [], [], searches)
