"""The verbs about stored runs: `report`, `runs` and `trend`. They need no Ray, Docker or h2load."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.exit import exit_code
from orchestrator.cli.options import (
    DEFAULT_OUT,
    AsJson,
    JUnitFile,
    MarkdownFile,
    ReportUrl,
    RunFolder,
    RunsFolder,
    Strict,
)
from orchestrator.cli.progress import judged_strictly
from orchestrator.cli.results_compare import SmallestEffect, smallest_effect_of, write
from orchestrator.cli.results_show import has_report, print_out, show, show_all, stored, write_page
from orchestrator.errors import UsageError
from orchestrator.typeset import width

app = typer.Typer()


@app.command()
def report(
    run_folder: RunFolder,
    strict: Strict = False,
    junit: JUnitFile = None,
    markdown: MarkdownFile = None,
    report_url: ReportUrl = None,
    as_json: AsJson = False,
    open_: Annotated[bool, typer.Option("--open", help="Open report.html in the default browser.")] = False,
) -> None:
    """Show a stored run, computed again from its counters, and write its report.html.

    Exit codes: 0 ok; with --strict those of 'volley run --strict'.
    """
    finished = stored(run_folder)
    if strict:
        finished = judged_strictly(finished)
    if junit is not None or markdown is not None:
        from orchestrator.report import pull_request
        from orchestrator.stored.about import about

        known = about(run_folder, finished.trials)
        if junit is not None:
            write(junit, pull_request.junit(finished.summary, known, strict))
        if markdown is not None:
            write(markdown, pull_request.markdown(finished.summary, known, report_url))
    # The page takes a moment: the results are shown before it is there.
    show(finished, as_json, has_report(finished) or os.access(finished.path, os.W_OK))
    page = write_page(finished)
    if open_ and page is not None:
        _open(page)
    if strict and (code := exit_code(finished, strict)):
        raise typer.Exit(code)


def _open(page: Path) -> None:
    """Open a page in the default browser. Raise UsageError where there is none."""
    import webbrowser

    try:
        opened = webbrowser.get().open(page.resolve().as_uri())
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        raise UsageError(
            f"no web browser was found to open {page}", "copy this one file to a machine with a browser, or set BROWSER"
        )


@app.command("show")
def show_run(
    run_folder: RunFolder,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every trial, agent, host, finding and comparison.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the page of a stored run; with --all every detail of it."""
    finished = stored(run_folder)
    if everything and not as_json:
        show_all(finished)
    else:
        show(finished, as_json, has_report(finished))


@app.command()
def runs(
    folder: RunsFolder = DEFAULT_OUT,
    last: Annotated[
        int | None, typer.Option("--last", "-n", metavar="N", min=1, help="Only the newest N runs (default: all).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs in a folder, newest first, with verdict and result."""
    from datetime import datetime

    from orchestrator.report import listing
    from orchestrator.stored.listing import list_runs

    listed = list_runs(folder, last)
    if as_json:
        print_out(listing.document(listed))
    elif listed:
        print_out(listing.render(listed, datetime.now().astimezone(), width()))
    else:
        typer.echo(f"no runs in {folder}\n  -> make one: volley bench URL", err=True)


@app.command()
def trend(
    case: Annotated[str, typer.Argument(metavar="CASE", help="A case, e.g. 'flask/steady'.")],
    folder: RunsFolder = DEFAULT_OUT,
    metric: Annotated[
        str, typer.Option("--metric", metavar="METRIC", help="throughput, or a time: p50, p99.9, mean, max, ...")
    ] = "throughput",
    smallest_effect: SmallestEffect = None,
    as_json: AsJson = False,
) -> None:
    """Show a case over all runs in a folder, and where it changed.

    Every change is shown together with what else changed at the same time.
    """
    from datetime import datetime

    from orchestrator.report import trend as page
    from orchestrator.stored.compare import SMALLEST_EFFECT
    from orchestrator.stored.trend import trend as follow

    metric = metric.replace("p99.9", "p999")
    points = follow(folder, case, metric, smallest_effect_of(smallest_effect) or SMALLEST_EFFECT)
    if as_json:
        print_out(page.document(points, case, metric))
    else:
        print_out(page.render(points, case, metric, datetime.now().astimezone(), width(), folder))
