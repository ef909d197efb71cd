"""The verbs that only read stored runs: they work on a laptop with neither Ray, Docker nor h2load."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.errors import EXIT_FAILED, EXIT_INVALID, EXIT_OK, UsageError

if TYPE_CHECKING:
    from orchestrator.result import Compared
    from orchestrator.stored.evaluate import Finished

DEFAULT_OUT = Path("runs")
# A table is as wide as it has to be.
WIDE = 240

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout and nothing else.")]
SmallestEffect = Annotated[
    str | None,
    typer.Option("--smallest-effect", metavar="SHARE", help="Differences below do not interest; 3% by default."),
]


class ExportFormat(StrEnum):
    """What other tools read."""

    CSV = "csv"
    JSON = "json"
    HLOG = "hlog"


class Kind(StrEnum):
    """What two runs can differ in."""

    IMAGE = "image"
    LIMITS = "limits"
    LOAD = "load"
    TARGET = "target"
    HOSTS = "hosts"
    VERSIONS = "versions"


app = typer.Typer()


@app.command()
def report(run_folder: RunFolder, as_json: AsJson = False) -> None:
    """Show a stored run, evaluated anew from its counters; needs neither Ray, Docker nor h2load."""
    from orchestrator.stored.evaluate import evaluate_run

    show(evaluate_run(run_folder), as_json)


@app.command()
def export(
    run_folder: RunFolder,
    format_: Annotated[ExportFormat, typer.Option("--format", help="What to write.")],
    out: Annotated[Path | None, typer.Option("--out", help="For hlog: the folder; RUN/hlog by default.")] = None,
) -> None:
    """Give a stored run to other tools: csv (trials) and json (summary) to stdout, hlog as one file per trial."""
    from orchestrator.stored.evaluate import evaluate_run

    if format_ is ExportFormat.HLOG:
        from orchestrator.report import hlog
        from orchestrator.stored.folder import read_trials

        for path in hlog.write(out or run_folder / "hlog", read_trials(run_folder)):
            typer.echo(str(path))
        return
    finished = evaluate_run(run_folder)
    if format_ is ExportFormat.CSV:
        from orchestrator.report.tables import trials_frame

        typer.echo(trials_frame(finished.trials).to_csv(index=False), nl=False)
        return
    show(finished, as_json=True)


@app.command()
def compare(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="A run's folder.")],
    new: Annotated[
        Path | None, typer.Argument(metavar="NEW", help="Another run; without it the targets of BASE are compared.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="TARGET", help="Inside one run: the target to compare with.")
    ] = None,
    allow: Annotated[
        list[Kind] | None,
        typer.Option("--allow", help="What may differ between two runs, because it is what you compare."),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option("--fail-on", metavar="LIMITS", help="Regressions: 'throughput<-5%, p99>10%, errors>0.1%'."),
    ] = None,
    smallest_effect: SmallestEffect = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write a JUnit file.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write a page for a pull request.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two runs, or the targets of one: change, interval, p, and whether that is more than what does not interest.

    Exit codes: 0 ok, 2 wrong usage, 3 nothing could be compared, or not what --fail-on asks for, 99 a regression.
    """
    from orchestrator.analyse import regression
    from orchestrator.report import comparison
    from orchestrator.stored.compare import compare_stored, compare_targets

    try:
        asked = [] if fail_on is None else regression.limits(fail_on)
    except ValueError as error:
        raise UsageError(f"--fail-on: {error}") from None
    effect = _share(smallest_effect)
    if new is None:
        if allow:
            raise UsageError("--allow is about two runs", "give a second run's folder")
        compared = compare_targets(base, baseline, effect, asked)
    else:
        if baseline is not None:
            raise UsageError(
                "--baseline is about the targets of one run", "leave it away: the first run is the baseline"
            )
        compared = compare_stored(base, new, effect, frozenset(map(str, allow or [])), asked)
    for path, make in ((junit, comparison.junit), (markdown, comparison.markdown)):
        if path is not None:
            _write(path, make(compared))
    _print(comparison.document(compared) if as_json else comparison.render(compared))
    if code := _compare_code(compared):
        raise typer.Exit(code)


def _compare_code(compared: Compared) -> int:
    if compared.outcome == "FAIL":
        return EXIT_FAILED
    return EXIT_OK if compared.comparable else EXIT_INVALID


@app.command()
def scaling(run_folder: RunFolder, as_json: AsJson = False) -> None:
    """Fit the universal scalability law to a run's closed loads with several numbers of clients (volley sweep makes one)."""
    from orchestrator.stored.evaluate import evaluate_run

    show_scaling(evaluate_run(run_folder), as_json)


def show_scaling(finished: Finished, as_json: bool) -> None:
    """Print how each target of a run scales."""
    from orchestrator.analyse.scaling import scaling as fit
    from orchestrator.report import scaling as shown

    targets = dict.fromkeys(trial.facts.case.target for trial in finished.trials)
    found = [fit(target, finished.trials) for target in targets]
    _print(shown.document(found) if as_json else [piece for one in found for piece in shown.render(one)])


@app.command()
def trend(
    case: Annotated[str, typer.Argument(metavar="CASE", help="Such as 'flask/steady'.")],
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = DEFAULT_OUT,
    metric: Annotated[str, typer.Option("--metric", help="throughput, or a time: p50, p99, mean, ...")] = "throughput",
    smallest_effect: SmallestEffect = None,
    as_json: AsJson = False,
) -> None:
    """Show a case over the runs of a folder, with the points at which it changed and what else changed there."""
    from orchestrator.report import comparison
    from orchestrator.stored.compare import SMALLEST_EFFECT
    from orchestrator.stored.trend import trend as follow

    points = follow(folder, case, metric, _share(smallest_effect) or SMALLEST_EFFECT)
    shown = comparison.trend_document if as_json else comparison.trend
    _print(shown(points, case, metric))


@app.command()
def runs(folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = DEFAULT_OUT) -> None:
    """List the runs of a folder, the newest last: verdict, outcome, trials done of those planned."""
    from orchestrator.stored.folder import SUMMARY_FILE, read_plan, read_summary, runs_in, trials_done

    found = runs_in(folder)
    for run in found:
        planned = len(read_plan(run).get("trials", []))
        if (run / SUMMARY_FILE).exists():
            summary = read_summary(run)
            state = " ".join(str(summary[key]) for key in ("verdict", "outcome") if summary.get(key))
        else:
            state = "unfinished"
        # A search for capacity does not know beforehand.
        of = f"/{planned}" if planned else ""
        typer.echo(f"{run}  {state}  {trials_done(run)}{of} trials")
    if not found:
        typer.echo(f"no runs in {folder}", err=True)


def _share(text: str | None) -> float | None:
    from orchestrator.spec.units import share

    try:
        return None if text is None else share(text)
    except ValueError as error:
        raise UsageError(f"--smallest-effect: {error}") from None


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", "name a file in a folder that is there"
        ) from None


def show(finished: Finished, as_json: bool) -> None:
    """Print what came of a run."""
    from orchestrator.report.summary import to_document
    from orchestrator.report.terminal import render

    _print(to_document(finished.summary) if as_json else render(finished.summary))


def _print(what: dict[str, Any] | list[Any]) -> None:
    """Print a document, or pieces for people."""
    if isinstance(what, dict):
        typer.echo(json.dumps(what, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    # Never cut to the terminal: a table without its numbers is none.
    console = Console(width=WIDE, highlight=False, soft_wrap=True)
    for piece in what:
        console.print(piece)
