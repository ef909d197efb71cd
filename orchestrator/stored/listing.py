"""The runs of a folder, each in one line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import StoredRunError
from orchestrator.result import Outcome, Verdict
from orchestrator.stored.documents import CampaignPlan
from orchestrator.stored.layout import SUMMARY_FILE, runs_in, trial_folders
from orchestrator.stored.reading import read_plan, read_summary


@dataclass(frozen=True, slots=True)
class ListedRun:
    """One run of a folder. verdict: None while it is unfinished. planned: None for a search, which plans no trials.

    problem: why the run cannot be read; None for one that can.
    """

    path: Path
    done: int
    planned: int | None = None
    verdict: Verdict | None = None
    outcome: Outcome | None = None
    problem: str | None = None

    @property
    def state(self) -> str:
        """Return the state of the run in words: 'VALID PASS', 'unfinished', 'unreadable: ...'."""
        if self.problem is not None:
            return f"unreadable: {self.problem}"
        return "unfinished" if self.verdict is None else " ".join(filter(None, (self.verdict, self.outcome)))


def list_runs(folder: Path) -> list[ListedRun]:
    """Return the runs in a folder, the oldest first. One that cannot be read does not hide the others."""
    return [_listed(run) for run in runs_in(folder)]


def _listed(run: Path) -> ListedRun:
    done = len(trial_folders(run))
    try:
        plan = read_plan(run)
        summary = read_summary(run) if (run / SUMMARY_FILE).exists() else None
    except StoredRunError as error:
        return ListedRun(run, done, problem=error.message)
    planned = len(plan.trials) if isinstance(plan, CampaignPlan) else None
    if summary is None:
        return ListedRun(run, done, planned)
    return ListedRun(run, done, planned, summary.verdict, summary.outcome)
