"""The verb `export`: a stored run for other tools. It needs no Ray, Docker or h2load."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import RunFolder
from orchestrator.cli.results_show import show, stored
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.report.tables import Table

app = typer.Typer()


class Format(StrEnum):
    """Formats that other tools read."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"
    OPENMETRICS = "openmetrics"
    HLOG = "hlog"


class TableName(StrEnum):
    """The tables of a run."""

    TRIALS = "trials"
    CASES = "cases"
    COMPARISONS = "comparisons"
    SERIES = "series"
    SERVICES = "services"
    SATURATION = "saturation"


@app.command()
def export(
    run_folder: RunFolder,
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            help="csv, parquet: a table. json: the summary. openmetrics: cases with histograms. hlog: histograms.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FILE", help="Write to this file; hlog: to this folder (default RUN/hlog)."
        ),
    ] = None,
    table: Annotated[
        TableName | None, typer.Option("--table", help="Which table, as csv or parquet (default: trials).")
    ] = None,
) -> None:
    """Export a stored run for other tools.

    Every format but hlog goes to stdout unless --out names a file.
    hlog writes one file per trial.
    """
    if table is not None and format_ not in (Format.CSV, Format.PARQUET):
        raise UsageError(f"--table applies to csv and parquet, not to {format_}", "omit --table")
    if format_ is Format.HLOG:
        from orchestrator.report import hlog
        from orchestrator.stored.reading import read_trials

        for path in hlog.write(out or run_folder / "hlog", read_trials(run_folder)):
            typer.echo(str(path))
    elif format_ is Format.PARQUET:
        _parquet(_table(run_folder, table), out)
    elif format_ is Format.JSON and out is None:
        show(stored(run_folder), as_json=True)
    else:
        _text(_as_text(run_folder, format_, table), out)


def _as_text(run_folder: Path, format_: Format, table: TableName | None) -> str:
    if format_ is Format.JSON:
        import json

        from orchestrator.report.summary import to_document

        return json.dumps(to_document(stored(run_folder).summary), indent=2, ensure_ascii=False) + "\n"
    if format_ is Format.CSV:
        from orchestrator.report.tables import as_csv

        return as_csv(_table(run_folder, table))
    from orchestrator.metrics.stored import document

    return document(run_folder)


def _table(run_folder: Path, name: TableName | None) -> Table:
    from orchestrator.report.tables import tables_of
    from orchestrator.stored.reading import read_environment

    finished = stored(run_folder)
    return tables_of(finished.summary, finished.trials, read_environment(run_folder))[name or TableName.TRIALS]


def _text(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
    else:
        _write(out, text.encode())


def _parquet(table: Table, out: Path | None) -> None:
    if out is None and sys.stdout.isatty():
        raise UsageError("parquet is not text: it cannot be shown on a terminal", "name a file: --out trials.parquet")
    import io

    from orchestrator.report.tables import write_parquet

    content = io.BytesIO()
    write_parquet(table, content)
    if out is None:
        sys.stdout.buffer.write(content.getvalue())
        sys.stdout.buffer.flush()
    else:
        _write(out, content.getvalue())


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", "name a file in a folder that exists"
        ) from error
    typer.echo(str(path))
