"""Print stored runs: pages for people, one JSON document for programs."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from orchestrator.cli.options import DEFAULT_OUT
from orchestrator.errors import NotStored

if TYPE_CHECKING:
    from orchestrator.stored.evaluate import Finished

# A line that is longer than the terminal is not cut: a path in it can be copied.
WIDE = 240
NARROWEST, WIDEST = 40, 200
_MOST_NEARBY = 5


def page_width() -> int:
    """Return the columns of a page: those of the terminal or of COLUMNS, 80 in a pipe."""
    return min(WIDEST, max(NARROWEST, shutil.get_terminal_size().columns))


def stored(run_folder: Path) -> Finished:
    """Return a stored run, evaluated from its counters. Raise StoredRunError."""
    from orchestrator.stored.evaluate import evaluate_run

    return evaluate_run(found(run_folder))


def found(run_folder: Path) -> Path:
    """Return the folder of a run, which may be given by its name alone. Raise StoredRunError that lists the runs nearby."""
    from orchestrator.errors import StoredRunError
    from orchestrator.stored.layout import runs_in

    if run_folder.exists():
        return run_folder
    if len(run_folder.parts) == 1 and (DEFAULT_OUT / run_folder).exists():
        return DEFAULT_OUT / run_folder
    folders = dict.fromkeys([run_folder.parent, DEFAULT_OUT])
    nearby = [run for folder in folders if folder.is_dir() for run in runs_in(folder)]
    if not nearby:
        raise StoredRunError(f"{run_folder} does not exist", "name a folder that 'volley run' made; see 'volley runs'")
    newest = "".join(f"\n     {run}" for run in reversed(nearby[-_MOST_NEARBY:]))
    more = f"\n     and {len(nearby) - _MOST_NEARBY} older ones" if len(nearby) > _MOST_NEARBY else ""
    raise StoredRunError(f"{run_folder} does not exist", f"the newest runs nearby are:{newest}{more}")


def show(finished: Finished, as_json: bool, has_report: bool = True) -> None:
    """Print the results of a run: the page, or its summary as JSON.

    has_report: whether report.html is there, or is written right after this.
    """
    from orchestrator.report.answer import is_sweep
    from orchestrator.report.summary import to_document
    from orchestrator.report.terminal import render

    if as_json:
        print_out(to_document(finished.summary))
    elif is_sweep(finished.summary):
        show_scaling(finished, as_json, has_report)
    else:
        print_out([*render(finished.summary, page_width(), finished.trials), *_links(finished, has_report)])


def show_all(finished: Finished) -> None:
    """Print the page of a run, and below it everything that is known of its trials."""
    from orchestrator.report.details import render as details
    from orchestrator.report.terminal import render
    from orchestrator.stored.reading import read_environment

    width = page_width()
    page = render(finished.summary, width, finished.trials)
    rest = details(finished.summary, finished.trials, read_environment(finished.path), width)
    print_out([*page, *rest, "", f"Files    {finished.path}"])


def write_page(finished: Finished) -> Path | None:
    """Write report.html of a run; return its path. None where it cannot be written: the results were shown all the same."""
    from orchestrator.report.files import write_page as write

    try:
        return write(finished.path, finished.summary, finished.trials)
    except (OSError, NotStored) as error:
        why = error.message if isinstance(error, NotStored) else f"report.html cannot be written: {error.strerror}"
        typer.echo(f"warning: {why}", err=True)
        typer.echo("  -> copy the run's folder to one that you can write to, and call volley report there", err=True)
        return None


def show_scaling(finished: Finished, as_json: bool, has_report: bool = True) -> None:
    """Print how each target of a run scales with its clients. has_report: as in show()."""
    from orchestrator.analyse.scaling import scaling
    from orchestrator.report.answer import subject
    from orchestrator.report.scaling import document, render
    from orchestrator.report.terminal import verdict

    targets = dict.fromkeys(trial.facts.case.target for trial in finished.trials)
    fits = [scaling(target, finished.trials) for target in targets]
    if as_json:
        print_out(document(fits))
        return
    names, width = {case.target: subject(case) for case in finished.summary.cases}, page_width()
    pieces: list[Any] = []
    for fit in fits:
        pieces += [*render(fit, width, names.get(fit.target, "")), ""]
    print_out([*pieces, *verdict(finished.summary, width, finished.trials), *_links(finished, has_report)])


def has_report(finished: Finished) -> bool:
    """Return whether the folder of a run has its page."""
    from orchestrator.stored.layout import REPORT_FILE

    return (finished.path / REPORT_FILE).exists()


def _links(finished: Finished, has_report: bool) -> list[str]:
    from orchestrator.report.terminal import links
    from orchestrator.search.records import Ending

    unfinished = any(search.ending is Ending.UNFINISHED for search in finished.summary.saturation)
    return links(finished.path, has_report, unfinished)


def print_out(what: dict[str, Any] | list[Any]) -> None:
    """Print a JSON document, or pieces of a page for people."""
    if isinstance(what, dict):
        typer.echo(json.dumps(what, indent=2, ensure_ascii=getattr(sys.stdout, "plain", False)))
        return
    from rich.console import Console

    # Codes of findings stand in brackets, which rich would take for its markup.
    console = Console(width=WIDE, highlight=False, soft_wrap=True, markup=False, emoji=False)
    for piece in what:
        console.print(piece)
