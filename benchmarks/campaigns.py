"""Evaluate stored runs of 20, 200 and 2,000 trials: `volley report`, and what `volley resume` does with one trial left.

The bounds are of CPU time: one thread does it all, and other programs do not change it much.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, rounds_of
from benchmarks.fresh import measured, verb
from benchmarks.made_run import make_run

SIZES = (20, 200, 2000)
ROUNDS = 5
REPORT_S, REPORT_MB, RESUME_S = 5.0, 150.0, 8.0


def measure() -> list[Figure]:
    """Measure all sizes."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="volley-bench-") as folder:
        for size in SIZES:
            run = str(make_run(Path(folder), size))
            bounded = size == max(SIZES)
            report = rounds_of(ROUNDS, lambda run=run: verb("report", run))  # type: ignore[misc]
            resume = rounds_of(ROUNDS, lambda run=run: measured(__name__, "finish", run))  # type: ignore[misc]
            name = f"{size:,} trials"
            figures += [
                Figure(f"{name}: report", "s", report["wall_s"]),
                Figure(f"{name}: report, CPU", "s", report["cpu_s"], REPORT_S if bounded else None),
                Figure(f"{name}: report, most memory", "MB", report["peak_mb"], REPORT_MB if bounded else None),
                Figure(f"{name}: resume, its evaluation", "s", resume["wall_s"]),
                Figure(f"{name}: resume, its evaluation, CPU", "s", resume["cpu_s"], RESUME_S if bounded else None),
                Figure(f"{name}: resume, most memory", "MB", resume["peak_mb"]),
            ]
    return figures


def finish(run: str) -> dict[str, float]:
    """Do what `volley resume` does with a run beside its last trial: read, judge that trial, evaluate, write results."""
    from orchestrator.report.files import write_results
    from orchestrator.stored.evaluate import Judgements, evaluate_run
    from orchestrator.stored.layout import trial_folders

    path = Path(run)
    last = trial_folders(path)[-1]
    aside = path / last.name
    last.rename(aside)
    judgements = Judgements()
    done = judgements.of_run(path)
    aside.rename(last)
    began = time.monotonic()
    finished = evaluate_run(path, judgements)
    write_results(path, finished.summary, finished.trials)
    assert len(finished.trials) == len(done) + 1
    return {"end_s": time.monotonic() - began}
