"""The verb `bench`: a load on a URL, without a campaign file."""

from __future__ import annotations

from typing import Annotated

import typer

from agents.generators.contract import Arrivals
from orchestrator.cli.chosen_hosts import hosts_of, start_ahead
from orchestrator.cli.options import DEFAULT_OUT, Agents, AsJson, OnHosts, Out, Quiet, WithRay
from orchestrator.cli.progress import show_run

app = typer.Typer()


@app.command()
def bench(
    url: Annotated[str, typer.Argument(metavar="URL", help="A server that is already up.")],
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
    arrivals: Annotated[
        Arrivals,
        typer.Option("--arrivals", help="Open loop: requests are due evenly or at random times (Poisson)."),
    ] = Arrivals.EVEN,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="DURATION", help="A request without an answer after this time has failed."),
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(
            "--generator",
            metavar="NAME",
            help="What sends the requests: h2load, paced, or a command that follows the generator contract.",
        ),
    ] = None,
    http2: Annotated[bool, typer.Option("--http2/--http1", help="The protocol.")] = False,
    streams: Annotated[
        int, typer.Option("-m", "--streams", metavar="N", help="Concurrent streams per connection (HTTP/2).")
    ] = 1,
    agents: Agents = None,
    repeat: Annotated[int, typer.Option("--repeat", metavar="N", help="Number of trials.")] = 3,
    header: Annotated[
        list[str] | None,
        typer.Option("-H", "--header", metavar="HEADER", help="Send this header, as 'NAME: VALUE'."),
    ] = None,
    expect_status: Annotated[
        int | None,
        typer.Option("--expect-status", metavar="STATUS", help="Status code the server must return (default: < 400)."),
    ] = None,
    hosts: OnHosts = None,
    ray: WithRay = False,
    out: Out = DEFAULT_OUT,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure a server that is already up. Needs no campaign file."""
    start_ahead(hosts, ray)
    from orchestrator.campaign.run import run_campaign
    from orchestrator.spec import inline

    loaded = inline.bench(
        inline.Bench(
            url=url,
            clients=clients,
            repeat=repeat,
            requests=requests,
            duration=duration,
            rate=rate,
            arrivals=arrivals,
            timeout=timeout,
            generator=generator,
            http2=http2,
            streams=streams,
            agents=agents,
            headers=header or (),
            expect_status=expect_status,
        )
    )
    placed, source = hosts_of(hosts, ray), inline.source(loaded)
    show_run(lambda show: run_campaign(loaded, source, out, None, show, placed), as_json, quiet)
