"""Runs of two targets that are made of made-up trials, as documents and notebooks name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import made_run
from orchestrator.facts import Environment
from orchestrator.report.files import write_results
from orchestrator.stored.documents import to_document
from orchestrator.stored.evaluate import evaluate_run
from orchestrator.stored.folder import RunStore
from orchestrator.stored.layout import ENVIRONMENT_FILE


def shop_run(parent: Path, monkeypatch: pytest.MonkeyPatch, stamp: str = "20261126T172352Z", trials: int = 6) -> Path:
    """Make runs/shop-STAMP under a folder: flask and fastapi under the steady load, finished."""
    monkeypatch.setattr(made_run, "TARGETS", ("flask", "fastapi"))
    made = made_run.make_run(parent / "made", trials)
    run = parent / "runs" / f"shop-{stamp}"
    run.parent.mkdir(exist_ok=True)
    made.rename(run)
    environment = Environment("0.1.0", "3.11.7", "6.1", "x86_64", 4, None, [], {})
    RunStore(run).write_json(ENVIRONMENT_FILE, to_document(environment))
    finished = evaluate_run(run)
    write_results(run, finished.summary, finished.trials)
    return run
