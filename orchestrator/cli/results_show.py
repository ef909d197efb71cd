"""Print stored runs: tables for people, one JSON document for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from orchestrator.stored.evaluate import Finished

# A table is as wide as its contents, never cut to the terminal.
WIDE = 240


def stored(run_folder: Path) -> Finished:
    """Return a stored run, evaluated from its counters. Raise StoredRunError."""
    from orchestrator.stored.evaluate import evaluate_run

    return evaluate_run(run_folder)


def show(finished: Finished, as_json: bool) -> None:
    """Print the results of a run."""
    from orchestrator.report.summary import to_document
    from orchestrator.report.terminal import render

    print_out(to_document(finished.summary) if as_json else render(finished.summary))


def show_scaling(finished: Finished, as_json: bool) -> None:
    """Print how each target of a run scales with its clients."""
    from orchestrator.analyse.scaling import scaling
    from orchestrator.report.scaling import document, render

    targets = dict.fromkeys(trial.facts.case.target for trial in finished.trials)
    fits = [scaling(target, finished.trials) for target in targets]
    print_out(document(fits) if as_json else [piece for fit in fits for piece in render(fit)])


def print_out(what: dict[str, Any] | list[Any]) -> None:
    """Print a JSON document, or pieces of a page for people."""
    if isinstance(what, dict):
        typer.echo(json.dumps(what, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    # Codes of findings stand in brackets, which rich would take for its markup.
    console = Console(width=WIDE, highlight=False, soft_wrap=True, markup=False)
    for piece in what:
        console.print(piece)
