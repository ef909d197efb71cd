"""The verbs that ask how much load a server can take: `saturate` and `sweep`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli import results as cli_results
from orchestrator.cli.common import AsJson, Inventories, Out, Quiet, Sets, hosts_of, show_run
from orchestrator.errors import UsageError

What = Annotated[str, typer.Argument(metavar="CAMPAIGN|URL", help="A campaign file, or a server that is already up.")]
# What a sweep takes over of a load.
KEPT = ("protocol", "streams", "paths", "method", "headers", "body_file")

# A search of a URL has no file but the one in its own folder.
OWN_FILE = "campaign.yaml"

app = typer.Typer()


@app.command()
def saturate(
    what: What,
    slo: Annotated[str | None, typer.Option("--slo", help="Such as 'p99<50ms, errors<0.1%'; of response time.")] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="Half the width of the interval; 3% by default.")
    ] = None,
    window: Annotated[str | None, typer.Option("--window", help="Length of a probe's window; 10s by default.")] = None,
    highest: Annotated[
        str | None, typer.Option("--highest", metavar="RATE", help="Do not look above, e.g. 5000/s.")
    ] = None,
    budget: Annotated[
        int | None, typer.Option("--budget", help="The most probes of one target; 60 by default.")
    ] = None,
    agents: Annotated[int | None, typer.Option("--agents", help="h2load processes; 2 by default.")] = None,
    hosts: Inventories = None,
    out: Out = cli_results.DEFAULT_OUT,
    set_: Sets = None,
    only: Annotated[str | None, typer.Option("--only", metavar="GLOB", help="Only the targets that match.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find the highest rate that still meets an objective, with an interval, and what gives way first.

    Exit codes: 0 a capacity, or at least so much; 2 wrong usage or configuration; 4 a server cannot be reached, or did not
    come back; 99 not even the lowest rate meets the objective.
    """
    from orchestrator.campaign.origin import Origin
    from orchestrator.campaign.search import run_saturation
    from orchestrator.spec.load import from_plain, load

    given = {"slo": slo, "precision": precision, "window": window, "highest": highest, "budget": budget}
    chosen = {key: value for key, value in given.items() if value is not None}
    inventory = None if hosts is None else str(hosts.resolve())
    if "://" in what:
        plain: dict[str, Any] = {
            "campaign": "saturate",
            "targets": {"url": {"url": what}},
            "loads": {"load": {"clients": 100, "duration": "3s"}},
            "saturation": chosen,
            **({} if agents is None else {"agents": agents}),
        }
        if slo is None:
            raise UsageError("what has to be met is not said", "say it: --slo 'p99<50ms, errors<0.1%'")
        loaded, source = from_plain(plain), json.dumps(plain, indent=2) + "\n"
        origin = Origin(OWN_FILE, [], only, inventory)
    else:
        sets = [*(set_ or []), *([f"saturation.{key}={value}" for key, value in chosen.items()])]
        sets += [] if agents is None else [f"agents={agents}"]
        loaded = load(Path(what), sets, parts=["saturation"])
        source = Path(what).read_text(encoding="utf-8") + "".join(f"# --set {override}\n" for override in sets)
        origin = Origin(str(Path(what).resolve()), sets, only, inventory)
    if loaded.campaign.saturation is None:
        raise UsageError(
            f"{what} does not say what has to be met", "say it: --slo 'p99<50ms', or saturation: in the file"
        )
    placed = hosts_of(hosts)
    show_run(lambda show: run_saturation(loaded, source, out, show, placed, origin), as_json, quiet)


@app.command()
def sweep(
    what: What,
    clients: Annotated[
        str, typer.Option("--clients", metavar="N,N,...", help="Numbers of clients of the closed loads.")
    ] = "1,2,4,8,16,32",
    duration: Annotated[str, typer.Option("-d", "--duration", help="Length of each window.")] = "5s",
    repeat: Annotated[int, typer.Option("--repeat", help="Trials of each.")] = 5,
    hosts: Inventories = None,
    out: Out = cli_results.DEFAULT_OUT,
    set_: Sets = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Drive closed loads with more and more clients, in random order, and fit the universal scalability law."""
    from orchestrator.campaign.run import run_campaign
    from orchestrator.spec.load import from_plain, load, with_loads

    numbers = clients.split(",")
    if not all(number.strip().isdigit() and int(number) for number in numbers):
        raise UsageError(f"--clients {clients!r} is no list of numbers", "write it as --clients 1,2,4,8")
    if "://" in what:
        first: dict[str, Any] = {"clients": 1, "duration": duration, "agents": 1}
        loaded = from_plain({"campaign": "sweep", "targets": {"url": {"url": what}}, "loads": {"c1": first}})
    else:
        loaded = load(Path(what), set_ or [])
    template = next(iter(loaded.plain["loads"].values()))
    kept = {key: template[key] for key in KEPT if key in template}
    agents = template.get("agents", loaded.campaign.agents)
    loads = {
        f"c{int(n)}": kept | {"clients": int(n), "duration": duration, "agents": min(agents, int(n))} for n in numbers
    }
    swept = with_loads(loaded, loads, repeat)
    shown = (
        json.dumps({"sweep": what, "clients": clients, "duration": duration, "repetitions": repeat}, indent=2) + "\n"
    )
    placed = hosts_of(hosts)
    show_run(lambda show: run_campaign(swept, shown, out, None, show, placed), as_json, quiet, cli_results.show_scaling)
