"""report.html of 100 trials of eight agents: its size, how long it takes to write, and to be ready in a browser."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, rounds_of
from benchmarks.fresh import measured
from benchmarks.made_run import make_run

ROUNDS = 5
TRIALS, AGENTS = 100, 8
SIZE_MB, READY_S = 5.0, 2.0


def measure() -> list[Figure]:
    """Measure the page of one made-up run. Needs Chromium and its driver, as the tests do."""
    from tests.truth.browser import browser

    with tempfile.TemporaryDirectory(prefix="volley-bench-") as folder, browser() as window:
        run = make_run(Path(folder), TRIALS, AGENTS)
        written = rounds_of(ROUNDS, lambda: measured(__name__, "write", str(run)))
        page = run / "report.html"
        ready = []
        for _ in range(ROUNDS):
            window.open(page)
            # From the start of loading to the last plot, by the browser's own clock.
            ready.append(float(window.run("return Number(document.documentElement.dataset.drawnAfterMs)")) / 1e3)
        return [
            Figure("report.html: size", "MB", [page.stat().st_size / 1e6], at_most=SIZE_MB),
            Figure("report.html: write it", "s", written["seconds"]),
            Figure("report.html: every plot drawn", "s", ready, at_most=READY_S),
        ]


def write(run: str) -> dict[str, float]:
    """Write the page of an evaluated run, in a new process."""
    from orchestrator.report.files import write_page
    from orchestrator.stored.evaluate import evaluate_run

    finished = evaluate_run(Path(run))
    began = time.monotonic()
    write_page(finished.path, finished.summary, finished.trials)
    return {"seconds": time.monotonic() - began}
