"""How a run is shown while it lasts and when it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from orchestrator.cli.commit import commit_of
from orchestrator.cli.exit import exit_code
from orchestrator.cli.results_show import show as show_results
from orchestrator.cli.results_show import write_page
from orchestrator.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from orchestrator.metrics.live import Happening as Measured
    from orchestrator.metrics.live import LiveMetrics
    from orchestrator.report.progress import Happening as Shown
    from orchestrator.stored.documents import Origin
    from orchestrator.stored.evaluate import Finished

    class Happening(Shown, Measured, Protocol):
        """What progress and live metrics need to know of an event."""


def show_run(
    execute: Callable[[Callable[[Happening], None]], Finished],
    as_json: bool,
    quiet: bool,
    show: Callable[[Finished, bool], None] = show_results,
    strict: bool = False,
    metrics: MetricsAt | None = None,
) -> None:
    """Execute a run with progress on stderr, print its results, and exit with its code.

    execute: calls its argument for each event; show: prints the finished run, as JSON if its second argument is true.
    strict: objectives that are not passed have failed. metrics: where to serve live metrics meanwhile, None for nowhere.
    """
    from orchestrator.report.progress import Progress

    with _observing(metrics, quiet) as observer:
        progress = Progress(quiet)

        def see(event: Happening) -> None:
            # Events without a text are for observers only.
            if event.text:
                progress.show(event)
            if observer is not None:
                observer.show(event)

        try:
            finished = execute(see)
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
        if observer is not None:
            _deliver(observer, quiet)
    code = exit_code(finished, strict)
    if code != EXIT_OK:
        raise typer.Exit(code)


HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class MetricsAt:
    """Where live metrics are served."""

    address: str
    port: int


def metrics_at(port: int | None, address: str | None) -> MetricsAt | None:
    """Return where to serve live metrics, None for nowhere. Raise UsageError for what is not a port, or missing."""
    if port is None:
        if address is not None:
            raise UsageError("--metrics-address needs a port", "add --metrics-port PORT, for example 9464")
        return None
    if not 0 <= port <= HIGHEST_PORT:
        raise UsageError(
            f"--metrics-port: {port} is not a port", f"write a number up to {HIGHEST_PORT}; 0 takes any free port"
        )
    return MetricsAt(address or "127.0.0.1", port)


@contextmanager
def _observing(metrics: MetricsAt | None, quiet: bool) -> Iterator[LiveMetrics | None]:
    """Yield what else takes in the events of a run: the live metrics, served until the block ends."""
    if metrics is None:
        yield None
        return
    from orchestrator.metrics.serve import serving

    with serving(metrics.address, metrics.port) as (url, live):
        if not quiet:
            typer.echo(f"live metrics: {url}", err=True)
        yield live


def _deliver(live: LiveMetrics, quiet: bool) -> None:
    """Wait until the monitor that has watched the run has fetched its last counts."""
    # Output that waits in a buffer would look as if the run had not ended.
    sys.stdout.flush()
    patience_s = live.patience_s()
    if not patience_s:
        return
    if not quiet:
        typer.echo(f"live metrics: waiting up to {patience_s:.0f} s for the last scrape", err=True)
    if not live.wait_for_scrape(patience_s) and not quiet:
        typer.echo("live metrics: the last counts were not scraped; they are in the run's folder", err=True)


def origin_of(
    file: str,
    overrides: Sequence[str],
    only: str | None,
    hosts: Path | None,
    ray: bool,
    left_out: Sequence[str] = (),
    allowed: Sequence[str] = (),
) -> Origin:
    """Return the command that planned a run, so that it can be resumed.

    hosts: the inventory file. left_out: the paths of --set values that are secret, and not stored. allowed: as given to
    --allow-target.
    """
    from orchestrator.stored.documents import Origin

    inventory = None if hosts is None else str(hosts.resolve())
    return Origin(file, list(overrides), only, inventory, ray, commit_of(Path(file)), list(left_out), list(allowed))


def judged_strictly(finished: Finished) -> Finished:
    """Return a run whose outcome is FAIL unless every objective passed."""
    from dataclasses import replace

    from orchestrator.analyse.objectives import strictly

    return replace(finished, summary=strictly(finished.summary))
