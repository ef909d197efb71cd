"""What the verbs that fire loads have in common: options, hosts, progress, exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import results as cli_results
from orchestrator.errors import EXIT_FAILED, EXIT_INVALID, EXIT_OK, EXIT_UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.campaign.session import Hosts, Show
    from orchestrator.stored.evaluate import Finished

Inventories = Annotated[
    Path | None, typer.Option("--hosts", metavar="INVENTORY", help="Hosts over SSH, from an inventory file (YAML).")
]
Out = Annotated[Path, typer.Option("--out", help="Folder in which the run's own folder is made.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a value of the campaign.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print summary.json to stdout and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


def hosts_of(inventory: Path | None) -> Hosts:
    """Give the hosts of a run: this machine, or those of an inventory. Raises ConfigurationError."""
    from orchestrator.campaign.session import Hosts
    from orchestrator.spec.load import load_inventory

    return Hosts() if inventory is None else Hosts(load_inventory(inventory), inventory.parent.resolve())


def show_run(
    do: Callable[[Show], Finished],
    as_json: bool,
    quiet: bool,
    shown: Callable[[Finished, bool], None] = cli_results.show,
) -> None:
    """Do it with progress, print what came of it, and leave with its exit code."""
    from orchestrator.report.progress import Progress

    progress = Progress(quiet)
    try:
        finished = do(progress.show)
    finally:
        progress.close()
    shown(finished, as_json)
    if not quiet:
        typer.echo(f"results: {finished.path}", err=True)
    code = exit_code(finished)
    if code != EXIT_OK:
        raise typer.Exit(code)


def exit_code(finished: Finished) -> int:
    """INVALID is 3; but where the only trouble is that something did not start, it is 4. An objective not met is 99."""
    if finished.summary.saturation:
        endings = {one.ending for one in finished.summary.saturation}
        if endings & {"not recovered", "not started"}:
            return EXIT_UNREACHABLE
        return EXIT_FAILED if "never met" in endings else EXIT_OK
    if finished.summary.verdict != "INVALID":
        return EXIT_FAILED if finished.summary.outcome == "FAIL" else EXIT_OK
    spoiling = {f.code for case in finished.summary.cases for f in case.findings if f.severity == "invalid"}
    not_started = {"server-not-ready", "server-exited", "not-run", "command-failed"}
    measured = any(trial.metrics is not None for trial in finished.trials)
    return EXIT_UNREACHABLE if spoiling <= not_started and not measured else EXIT_INVALID
