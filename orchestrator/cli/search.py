"""The verbs that ask how much load a server can take: `saturate`, `sweep` and `scaling`."""

from __future__ import annotations

import json
from pathlib import Path
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
    OnlyTargets,
    Out,
    Quiet,
    RunFolder,
    Sets,
    Strict,
    Wait,
    WithRay,
)
from orchestrator.cli.progress import metrics_at, origin_of, show_run
from orchestrator.cli.request import WithArrivals, is_url, refuse_for_file, takes_request
from orchestrator.cli.results_show import show_scaling, stored
from orchestrator.cli.run import can_be_read_again, text_of
from orchestrator.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.spec.asked import RequestOptions
    from orchestrator.spec.checks import Loaded

CampaignOrUrl = Annotated[
    str, typer.Argument(metavar="CAMPAIGN|URL", help="A campaign file, or a server that is already up.")
]
# A search of a URL has no file but the one in its run folder.
OWN_FILE = "campaign.yaml"

app = typer.Typer()


@app.command()
@takes_request
def saturate(
    what: CampaignOrUrl,
    request: RequestOptions,
    slo: Annotated[
        str | None,
        typer.Option("--slo", metavar="TERMS", help="Objective for response time, e.g. 'p99<50ms, errors<0.1%'."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option("--precision", metavar="SHARE", help="Half the width of the confidence interval (default 3%)."),
    ] = None,
    window: Annotated[
        str | None, typer.Option("--window", metavar="DURATION", help="Length of a probe's window (default 10s).")
    ] = None,
    highest: Annotated[
        str | None, typer.Option("--highest", metavar="RATE", help="Upper limit of the search, e.g. 5000/s.")
    ] = None,
    budget: Annotated[
        int | None, typer.Option("--budget", metavar="N", help="Maximum number of probes per target (default 60).")
    ] = None,
    arrivals: WithArrivals = Arrivals.EVEN,
    agents: Agents = None,
    hosts: OnHosts = None,
    allow_target: AllowTargets = None,
    ray: WithRay = False,
    wait: Wait = None,
    out: Out = DEFAULT_OUT,
    set_: Sets = None,
    only: OnlyTargets = None,
    strict: Strict = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = None,
) -> None:
    """Find the highest rate that still meets an objective, and what limits it.

    The options of a request are for a URL; a campaign file has its own.

    Exit codes: 0 capacity found (or a lower bound), 2 wrong usage,
    4 a server cannot be reached or did not recover,
    99 even the lowest rate misses the objective, or no soak held.
    """
    metrics = metrics_at(metrics_port, metrics_address)
    start_ahead(hosts, ray)
    from orchestrator.campaign.search import run_saturation
    from orchestrator.redact import is_secret
    from orchestrator.spec import inline
    from orchestrator.spec.source import stored_source, without_secrets

    asked = inline.Search(slo, precision, window, highest, budget, agents, arrivals, allow_target or ())
    allowed = [] if is_url(what) else (allow_target or [])
    if is_url(what):
        loaded = inline.saturate(what, asked, request)
        file, sets, source = OWN_FILE, [], inline.source(loaded)
    else:
        refuse_for_file(request, *([] if arrivals is Arrivals.EVEN else ["--arrivals"]))
        sets = [*(set_ or []), *asked.overrides()]
        loaded = _searchable(Path(what), sets, allowed)
        file, source = str(Path(what).resolve()), stored_source(text_of(loaded), sets, allowed)
    kept, left_out = without_secrets(sets)
    # A URL's own file in the run folder holds what was allowed.
    origin, placed = origin_of(file, kept, only, hosts, ray, left_out, allowed), hosts_of(hosts, ray, wait)
    # The run folder lacks what can be secret, and a run is resumed from its folder.
    resumable = not is_url(what) or not (request.is_secret or is_secret(what))
    resumable = resumable and can_be_read_again(loaded, hosts)
    show_run(
        lambda show: run_saturation(loaded, source, out, show, placed, origin, resumable),
        as_json,
        quiet,
        strict=strict,
        metrics=metrics,
    )


def _searchable(file: Path, sets: Sequence[str], allowed: Sequence[str]) -> Loaded:
    """Return a campaign that has an objective to search for. Raise ConfigurationError."""
    from orchestrator.spec.inline import SEARCH_OPTIONS
    from orchestrator.spec.load import load

    loaded = load(file, sets, parts=["saturation"], options=SEARCH_OPTIONS, allowed=allowed)
    if loaded.campaign.saturation is None:
        what, fix = "no objective given", "add --slo 'p99<50ms', or a section 'saturation' to the file"
        raise ConfigurationError([Problem(str(file), what, fix)])
    return loaded


@app.command()
@takes_request
def sweep(
    what: CampaignOrUrl,
    request: RequestOptions,
    clients: Annotated[
        str, typer.Option("--clients", metavar="N,N,...", help="Client counts to try.")
    ] = "1,2,4,8,16,32",
    duration: Annotated[
        str, typer.Option("-d", "--duration", metavar="DURATION", help="Length of each window.")
    ] = "5s",
    repeat: Annotated[int, typer.Option("--repeat", metavar="N", help="Number of trials per client count.")] = 5,
    hosts: OnHosts = None,
    allow_target: AllowTargets = None,
    ray: WithRay = False,
    wait: Wait = None,
    out: Out = DEFAULT_OUT,
    set_: Sets = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = None,
) -> None:
    """Measure closed loads with different numbers of clients and fit a scaling law.

    The client counts run in random order. The options of a request are for a URL. The law is the universal scalability law.
    """
    metrics = metrics_at(metrics_port, metrics_address)
    start_ahead(hosts, ray)
    from orchestrator.campaign.run import run_campaign
    from orchestrator.spec import inline
    from orchestrator.spec.load import load

    if is_url(what):
        loaded = inline.sweep(what, clients, duration, repeat, request, allowed=allow_target or ())
    else:
        refuse_for_file(request)
        loaded = inline.swept(load(Path(what), set_ or (), allowed=allow_target or ()), clients, duration, repeat)
    typed = {"sweep": what, "clients": clients, "duration": duration, "repetitions": repeat}
    source = inline.source(loaded) if is_url(what) else json.dumps(typed, indent=2) + "\n"
    placed = hosts_of(hosts, ray, wait)
    show_run(
        lambda show: run_campaign(loaded, source, out, None, show, placed),
        as_json,
        quiet,
        show_scaling,
        metrics=metrics,
    )


@app.command()
def scaling(run_folder: RunFolder, as_json: AsJson = False) -> None:
    """Fit the universal scalability law to a stored run, such as one of 'volley sweep'.

    The run needs closed loads with different numbers of clients.
    """
    show_scaling(stored(run_folder), as_json)
