"""Folders of stored runs, of which one file at a time is another."""

from __future__ import annotations

import fnmatch
import json
import shutil
from pathlib import Path

from orchestrator.report import listing
from orchestrator.report.summary import to_document
from orchestrator.report.terminal import render
from orchestrator.stored.checksums import CHECKSUMS_FILE
from orchestrator.stored.evaluate import evaluate_run
from orchestrator.stored.layout import AGENTS_FILE, runs_in, started_at, trial_folders
from orchestrator.stored.listing import list_runs
from orchestrator.stored.reading import read_environment, read_trial
from tests.conftest import ROOT

FIXTURES = ROOT / "tests" / "fixtures" / "format1"
BENCH, SEARCH = "bench-20261126T005555Z", "saturate-saturation-20261126T005609Z"
# Read by nobody again but people.
UNREAD = {"campaign.yaml", "journal.jsonl"}


class Runs:
    """Stored runs in a folder of their own. corpus: 'FILE, newline, content' for each file that is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "runs"
        self._known: dict[str, bytes] = {}
        for run in (BENCH, SEARCH):
            shutil.copytree(FIXTURES / run, self.folder / run, dirs_exist_ok=True)
        for path in sorted(self.folder.rglob("*.*")):
            if path.is_file() and path.name not in UNREAD and path.suffix != ".txt":
                self._known[path.relative_to(self.folder).as_posix()] = path.read_bytes()
        self._made: Path | None = None

    def corpus(self) -> list[bytes]:
        """Return an input for each file."""
        return [f"{name}\n".encode() + content for name, content in self._known.items()]

    def frames(self) -> list[bytes]:
        """Return the results of agents."""
        return [content for name, content in self._known.items() if name.endswith(AGENTS_FILE)]

    def read(self, data: bytes) -> None:
        """Show the runs with one file replaced: the first line names it, the rest is its content."""
        name, _, content = data.partition(b"\n")
        files = list(self._known)
        matching = fnmatch.filter(files, name.decode(errors="replace")[:80]) or [files[len(content) % len(files)]]
        chosen = self.folder / matching[0]
        chosen.write_bytes(content)
        try:
            self._show(self.folder / Path(matching[0]).parts[0])
        finally:
            chosen.write_bytes(self._known[matching[0]])

    def _show(self, run: Path) -> None:
        """Do what `runs` and `show --json` and `show` do."""
        listed = list_runs(self.folder)
        assert len(listed) == len(runs_in(self.folder))
        json.dumps(listing.document(listed))
        read_environment(run)
        finished = evaluate_run(run)
        json.dumps(to_document(finished.summary))
        render(finished.summary, 80, finished.trials)
        started_at(run)

    def checksums(self) -> bytes:
        """Return the checksums of a trial."""
        return (self._trial() / CHECKSUMS_FILE).read_bytes()

    def read_checksums(self, data: bytes) -> None:
        """Read a trial with other checksums."""
        (self._trial() / CHECKSUMS_FILE).write_bytes(data)
        read_trial(self._trial())

    def _trial(self) -> Path:
        if self._made is None:
            from benchmarks.made_run import make_run

            made = self.folder.parent / "made"
            made.mkdir(exist_ok=True)
            self._made = trial_folders(make_run(made, 1))[0]
        return self._made
