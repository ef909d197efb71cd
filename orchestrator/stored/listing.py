"""The runs of a folder, each in one line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.result import Verdict
from orchestrator.stored.documents import CampaignPlan
from orchestrator.stored.layout import SUMMARY_FILE, runs_in, trial_folders
from orchestrator.stored.reading import read_plan, read_summary


@dataclass(frozen=True, slots=True)
class ListedRun:
    """One run of a folder. verdict: None while it is unfinished. planned: None for a search, which plans no trials."""

    path: Path
    verdict: Verdict | None
    outcome: str | None
    done: int
    planned: int | None


def list_runs(folder: Path) -> list[ListedRun]:
    """Return the runs in a folder, the oldest first. Raises StoredRunError for a run that cannot be read."""
    return [_listed(run) for run in runs_in(folder)]


def _listed(run: Path) -> ListedRun:
    plan = read_plan(run)
    summary = read_summary(run) if (run / SUMMARY_FILE).exists() else None
    return ListedRun(
        path=run,
        verdict=None if summary is None else summary.verdict,
        outcome=None if summary is None else summary.outcome,
        done=len(trial_folders(run)),
        planned=len(plan.trials) if isinstance(plan, CampaignPlan) else None,
    )
