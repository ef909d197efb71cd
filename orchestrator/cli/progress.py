"""How a run is shown while it lasts and when it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from orchestrator.cli.commit import commit_of
from orchestrator.cli.exit import exit_code
from orchestrator.cli.results_show import show as show_results
from orchestrator.cli.results_show import write_page
from orchestrator.errors import EXIT_OK

if TYPE_CHECKING:
    from orchestrator.report.progress import Happening
    from orchestrator.stored.documents import Origin
    from orchestrator.stored.evaluate import Finished


def show_run(
    execute: Callable[[Callable[[Happening], None]], Finished],
    as_json: bool,
    quiet: bool,
    show: Callable[[Finished, bool], None] = show_results,
    strict: bool = False,
) -> None:
    """Execute a run with progress on stderr, print its results, and exit with its code.

    execute: calls its argument for each event; show: prints the finished run, as JSON if its second argument is true.
    strict: objectives that are not passed have failed.
    """
    from orchestrator.report.progress import Progress

    progress = Progress(quiet)
    try:
        finished = execute(progress.show)
    finally:
        progress.close()
    if strict:
        finished = judged_strictly(finished)
        from orchestrator.report.files import write_for_ci

        write_for_ci(finished.path, finished.summary, finished.trials, strict)
    show(finished, as_json)
    # After the results: the page takes longer than they do.
    write_page(finished)
    if as_json and not quiet:
        typer.echo(f"results: {finished.path}", err=True)
    code = exit_code(finished, strict)
    if code != EXIT_OK:
        raise typer.Exit(code)


def origin_of(file: str, overrides: Sequence[str], only: str | None, hosts: Path | None, ray: bool) -> Origin:
    """Return the command that planned a run, so that it can be resumed. hosts: the inventory file."""
    from orchestrator.stored.documents import Origin

    inventory = None if hosts is None else str(hosts.resolve())
    return Origin(file, list(overrides), only, inventory, ray, commit_of(Path(file)))


def judged_strictly(finished: Finished) -> Finished:
    """Return a run whose outcome is FAIL unless every objective passed."""
    from dataclasses import replace

    from orchestrator.analyse.objectives import strictly

    return replace(finished, summary=strictly(finished.summary))
