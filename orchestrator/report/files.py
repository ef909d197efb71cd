"""The files of a finished run that people and tools read.

Summary.json, the tables, what CI shows, and report.html.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from orchestrator.report import pull_request, tables
from orchestrator.report.html.text import visible
from orchestrator.report.summary import to_document
from orchestrator.result import Compared, Summary, Trial
from orchestrator.stored.about import about
from orchestrator.stored.folder import RunStore
from orchestrator.stored.layout import CAMPAIGN_FILE, REPORT_FILE, SUMMARY_FILE, folders_by_number
from orchestrator.stored.reading import read_environment, read_trial


def write_results(folder: Path, summary: Summary, trials: list[Trial]) -> None:
    """Write summary.json, the tables, summary.md and junit.xml."""
    tables.write_all(folder, summary, trials, read_environment(folder))
    write_for_ci(folder, summary, trials)


def write_for_ci(folder: Path, summary: Summary, trials: list[Trial], strict: bool = False) -> None:
    """Write summary.json, summary.md and junit.xml. strict: objectives that are not passed have failed."""
    store, known = RunStore(folder), about(folder, trials)
    store.write_json(SUMMARY_FILE, to_document(summary))
    store.write_text("summary.md", pull_request.markdown(summary, known))
    store.write_text("junit.xml", pull_request.junit(summary, known, strict))


def write_page(folder: Path, summary: Summary, trials: Sequence[Trial]) -> Path:
    """Write report.html; return its path. Raise NotStored, StoredRunError.

    Apart from write_results(), because it takes longer: the result can be printed before.
    """
    # The page's modules are needed for nothing else.
    from orchestrator.report.html import run

    campaign, folders = folder / CAMPAIGN_FILE, folders_by_number(folder)
    stored = run.Stored(
        name=folder.resolve().name,
        environment=read_environment(folder),
        campaign=campaign.read_text(encoding="utf-8", errors="replace") if campaign.is_file() else "",
        read=lambda number: read_trial(folders[number])[1],
    )
    RunStore(folder).write_text(REPORT_FILE, run.page(summary, trials, stored))
    return folder / REPORT_FILE


def write_compared(path: Path, base: Path, new: Path | None, compared: Compared) -> None:
    """Write the page of a comparison. new: None where the targets of one run are compared. Raise OSError, StoredRunError."""
    from orchestrator.report.html import comparison

    runs = [comparison.Side.read(run) for run in ([base] if new is None else [base, new])]
    path.write_text(comparison.page(compared, runs), encoding="utf-8")


def compare_file(candidate: Path, compared: Compared) -> Path:
    """Return where the page of a comparison is written by default: beside the candidate's own report.html."""
    name = re.sub(r"[^\w.-]+", "-", visible(compared.baseline)).strip("-.") or "baseline"
    return candidate / f"compare-{name}.html"
