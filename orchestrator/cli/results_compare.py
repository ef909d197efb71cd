"""The verb `compare`: two stored runs, or the targets of one. It needs no Ray, Docker or h2load."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.exit import compare_exit_code
from orchestrator.cli.options import AsJson, JUnitFile, MarkdownFile, ReportUrl, Strict
from orchestrator.cli.results_show import print_out
from orchestrator.errors import UsageError
from orchestrator.slo import share
from orchestrator.typeset import width

if TYPE_CHECKING:
    from orchestrator.analyse.regression import Limit
    from orchestrator.result import Compared

app = typer.Typer()

SmallestEffect = Annotated[
    str | None,
    typer.Option("--smallest-effect", metavar="SHARE", help="Ignore differences smaller than this (default 3%)."),
]


class Kind(StrEnum):
    """What may differ between two runs."""

    IMAGE = "image"
    LIMITS = "limits"
    LOAD = "load"
    TARGET = "target"
    HOSTS = "hosts"
    VERSIONS = "versions"


@app.command()
def compare(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="The folder of a run.")],
    new: Annotated[
        Path | None,
        typer.Argument(metavar="NEW", help="The folder of another run. Without it, compare the targets of BASE."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="TARGET", help="With one run: the target to compare the others with."),
    ] = None,
    allow: Annotated[
        list[Kind] | None,
        typer.Option("--allow", help="Accept this difference between two runs, because you want to compare it."),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            "--fail-if",
            metavar="LIMITS",
            help="Fail on a regression, e.g. 'throughput<-5%, p99>10%, errors>0.1%'. Any of p50, p90, p95, p99, p99.9, "
            "max, throughput and errors; 'service p99' and 'response p99' name the time.",
        ),
    ] = None,
    smallest_effect: SmallestEffect = None,
    strict: Strict = False,
    junit: JUnitFile = None,
    markdown: MarkdownFile = None,
    report_url: ReportUrl = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write the page here (default: compare-BASE.html in the last run)."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two runs, or the targets of one run.

    Shows each change with its confidence interval, its p-value,
    and whether it exceeds the smallest effect of interest.

    Exit codes: 0 ok, 2 wrong usage,
    3 nothing, or not everything in --fail-on, could be compared,
    99 a regression (--strict: or a gate that did not pass).
    """
    began, when = time.monotonic(), datetime.now(UTC)
    compared = _compared(base, new, baseline, allow or [], _limits(fail_on), smallest_effect_of(smallest_effect))
    compared = replace(compared, strict=strict)
    took_s = time.monotonic() - began
    if junit is not None or markdown is not None:
        from orchestrator.report import comparison_ci

        if junit is not None:
            write(junit, comparison_ci.junit(compared, when, took_s))
        if markdown is not None:
            write(markdown, comparison_ci.markdown(compared, when, report_url))
    from orchestrator.report import comparison

    print_out(comparison.document(compared) if as_json else comparison.render(compared, width()))
    _write_page(html, base, new, compared)
    if code := compare_exit_code(compared):
        raise typer.Exit(code)


def _compared(
    base: Path, new: Path | None, baseline: str | None, allow: list[Kind], limits: list[Limit], effect: float | None
) -> Compared:
    from orchestrator.stored.compare import compare_stored, compare_targets

    if new is None:
        if allow:
            raise UsageError("--allow applies to two runs", "add the folder of a second run, or omit --allow")
        return compare_targets(base, baseline, effect, limits)
    if baseline is not None:
        raise UsageError("--baseline applies to a single run", "omit it: the first run is the baseline")
    return compare_stored(base, new, effect, frozenset(map(str, allow)), limits)


def _limits(fail_on: str | None) -> list[Limit]:
    """Return the limits of --fail-on. Raise UsageError."""
    from orchestrator.analyse.regression import limits

    try:
        return [] if fail_on is None else limits(fail_on)
    except ValueError as error:
        what, _, hint = str(error).partition(": ")
        raise UsageError(f"--fail-on: {what}", hint) from None


def smallest_effect_of(text: str | None) -> float | None:
    """Return the share given to --smallest-effect. Raise UsageError."""
    try:
        return None if text is None else share(text)
    except ValueError as error:
        what, _, hint = str(error).partition(": ")
        raise UsageError(f"--smallest-effect: {what}", hint) from None


def _write_page(chosen: Path | None, base: Path, new: Path | None, compared: Compared) -> None:
    """Write the page. Raise UsageError where a chosen file cannot be written; the default place may be read-only."""
    from orchestrator.report.files import compare_file, write_compared

    path = chosen or compare_file(new or base, compared)
    try:
        write_compared(path, base, new, compared)
    except OSError as error:
        if chosen is not None:
            raise UsageError(f"{path} cannot be written: {error.strerror}", "write to a folder that exists") from None
        typer.echo(f"warning: {path} cannot be written: {error.strerror}; choose another file with --html", err=True)
        return
    typer.echo(f"page: {path}", err=True)


def write(path: Path, text: str) -> None:
    """Write a file that the user named. Raise UsageError."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "write to a folder that exists") from None
