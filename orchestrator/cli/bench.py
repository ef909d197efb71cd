"""The verb `bench`: a load on a URL, without a campaign file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agents.generators.contract import Arrivals
from orchestrator.cli.chosen_hosts import hosts_of, start_ahead
from orchestrator.cli.options import (
    DEFAULT_OUT,
    Agents,
    AllowTargets,
    AsJson,
    MetricsAddress,
    MetricsPort,
    OnHosts,
    Out,
    Quiet,
    Strict,
    Wait,
    WithRay,
)
from orchestrator.cli.progress import metrics_at, show_run
from orchestrator.cli.request import WithArrivals, takes_request

if TYPE_CHECKING:
    from orchestrator.spec.asked import RequestOptions

app = typer.Typer()


@app.command()
@takes_request
def bench(
    url: Annotated[str, typer.Argument(metavar="URL", help="A server that is already up.")],
    request: RequestOptions,
    clients: Annotated[
        int | None,
        typer.Option(
            "-c",
            "--clients",
            metavar="N",
            help="Number of connections, over all agents (default 40). Open loop: the most connections "
            "(default: as many as are needed).",
        ),
    ] = None,
    requests: Annotated[
        int | None, typer.Option("-n", "--requests", metavar="N", help="Stop after this many requests.")
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option("-d", "--duration", metavar="DURATION", help="Length of the window, e.g. 1m30s (default 3s)."),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option("--rate", metavar="RATE", help="Open loop: requests due, e.g. 500, 500/s or 30000/min."),
    ] = None,
    arrivals: WithArrivals = Arrivals.EVEN,
    agents: Agents = None,
    repeat: Annotated[int, typer.Option("--repeat", metavar="N", help="Number of trials.")] = 3,
    slo: Annotated[
        str | None,
        typer.Option(
            "--slo", metavar="TERMS", help="Objectives, e.g. 'p99<50ms, errors<0.1%'; exit code 99 on failure."
        ),
    ] = None,
    hosts: OnHosts = None,
    allow_target: AllowTargets = None,
    ray: WithRay = False,
    wait: Wait = None,
    out: Out = DEFAULT_OUT,
    strict: Strict = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = None,
) -> None:
    """Measure a server that is already up. Needs no campaign file.

    Exit codes: as of 'volley run'.
    """
    metrics = metrics_at(metrics_port, metrics_address)
    start_ahead(hosts, ray)
    from orchestrator.campaign.run import run_campaign
    from orchestrator.spec import inline

    asked = inline.Bench(
        url, clients, repeat, requests, duration, rate, arrivals, agents, request, slo, allow_target or ()
    )
    loaded = inline.bench(asked)
    placed, source = hosts_of(hosts, ray, wait), inline.source(loaded)
    show_run(
        lambda show: run_campaign(loaded, source, out, None, show, placed),
        as_json,
        quiet,
        strict=strict,
        metrics=metrics,
    )
