"""The files of a finished run that people and tools read.

Summary.json, the tables, what CI shows, report.html.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.report import html, pull_request, tables
from orchestrator.report.summary import to_document
from orchestrator.result import Summary, Trial
from orchestrator.stored.folder import RunStore
from orchestrator.stored.layout import REPORT_FILE, SUMMARY_FILE
from orchestrator.stored.reading import read_environment


def write_results(folder: Path, summary: Summary, trials: list[Trial]) -> None:
    """Write summary.json, the tables, summary.md and junit.xml, and for a search report.html."""
    store = RunStore(folder)
    store.write_json(SUMMARY_FILE, to_document(summary))
    tables.write_all(folder, summary, trials)
    store.write_text("summary.md", pull_request.markdown(summary))
    store.write_text("junit.xml", pull_request.junit(summary))
    if summary.saturation:
        store.write_text(REPORT_FILE, html.page(summary, read_environment(folder)))
