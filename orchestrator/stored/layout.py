"""Where things are in a folder of runs and in the folder of one run."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

CAMPAIGN_FILE, PLAN_FILE, ENVIRONMENT_FILE = "campaign.yaml", "plan.json", "environment.json"
JOURNAL_FILE, SUMMARY_FILE, REPORT_FILE = "journal.jsonl", "summary.json", "report.html"
TRIALS, TRIES = "trials", "tries"
TRIAL_FILE, AGENTS_FILE = "trial.json", "agents.msgpack"
_STAMP = re.compile(r"-(\d{8}T\d{6}Z)(?:-(\d+))?$")


def trial_folders(run: Path) -> list[Path]:
    """Return the folders of the complete trials of a run, in order. Drafts are hidden files."""
    return sorted(path for path in (run / TRIALS).glob("*") if not path.name.startswith("."))


def folders_by_number(run: Path) -> dict[int, Path]:
    """Return the folders of the complete trials of a run by the number that begins their name: 0007-flask-steady."""
    numbered = ((path.name.partition("-")[0], path) for path in trial_folders(run))
    return {int(number): path for number, path in numbered if number.isdecimal()}


def runs_in(folder: Path) -> list[Path]:
    """Return the runs in a folder, the oldest first."""
    return sorted((plan.parent for plan in folder.glob(f"*/{PLAN_FILE}")), key=_age)


def started_at(run: Path) -> datetime | None:
    """Return when a run began, from its name; None where the name has no time."""
    stamp = _STAMP.search(run.resolve().name)
    try:
        return None if stamp is None else datetime.strptime(stamp[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _age(run: Path) -> tuple[str, int]:
    """Return the time in a run's name. The second run of one second has a number after it."""
    stamp = _STAMP.search(run.name)
    return (stamp[1], int(stamp[2] or 0)) if stamp else ("", 0)
