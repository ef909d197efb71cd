"""The verbs; the only place that prints errors and sets exit codes. Heavy imports are made inside the verb."""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

# Looking for pydantic's plug-ins costs more than reading a campaign.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import typer

from orchestrator import __version__
from orchestrator.cli import exit as leaving
from orchestrator.cli import hosts as cli_hosts
from orchestrator.cli import results as cli_results
from orchestrator.cli import search as cli_saturate
from orchestrator.cli.common import AsJson, Inventories, Out, Quiet, Sets, hosts_of, show_run
from orchestrator.errors import (
    EXIT_OK,
    EXIT_UNREACHABLE,
    UsageError,
)

if TYPE_CHECKING:
    pass


app = typer.Typer(
    name="volley",
    help="Find out how fast a server really is, and when the number cannot be trusted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(cli_hosts.app)
app.add_typer(cli_results.app)
app.add_typer(cli_saturate.app)

CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN", help="A campaign file (YAML).")]
Only = Annotated[
    str | None, typer.Option("--only", metavar="GLOB", help="Only the cases that match, such as 'flask/*'.")
]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        typer.echo(f"volley {__version__}")
        raise typer.Exit


@app.command()
def run(
    campaign: CampaignFile,
    hosts: Inventories = None,
    out: Out = cli_results.DEFAULT_OUT,
    set_: Sets = None,
    only: Only = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; start nothing.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run a campaign: place, load, merge, judge, compare.

    Exit codes: 0 ok, 2 wrong usage or configuration, 3 a result is INVALID, 4 cannot place, reach or start,
    99 an objective was not met, 130/143 interrupted.
    """
    from orchestrator.campaign.origin import Origin
    from orchestrator.campaign.run import run_campaign
    from orchestrator.spec.load import load

    loaded = load(campaign, set_ or [])
    if dry_run:
        from orchestrator.campaign.dry_run import as_document, as_lines

        placed = hosts_of(hosts)
        if as_json:
            typer.echo(json.dumps(as_document(loaded, only, placed), indent=2))
        else:
            typer.echo("\n".join(as_lines(loaded, only, placed)))
        return
    source = campaign.read_text(encoding="utf-8") + "".join(f"# --set {override}\n" for override in set_ or [])
    origin = Origin(str(campaign.resolve()), set_ or [], only, None if hosts is None else str(hosts.resolve()))
    placed = hosts_of(hosts)
    show_run(lambda show: run_campaign(loaded, source, out, only, show, placed, origin), as_json, quiet)


@app.command()
def resume(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run or search that was stopped: no finished trial is repeated; a changed campaign or image is refused."""
    from orchestrator.stored.folder import read_plan

    if "saturation" in read_plan(run_folder):
        from orchestrator.campaign.search import resume_saturation as go_on
    else:
        from orchestrator.campaign.run import resume_campaign as go_on
    show_run(lambda show: go_on(run_folder, show), as_json, quiet)


@app.command()
def bench(
    url: Annotated[str, typer.Argument(help="A server that is already up.")],
    clients: Annotated[int, typer.Option("-c", "--clients", help="Connections, over all agents.")] = 40,
    requests: Annotated[int | None, typer.Option("-n", "--requests", help="End after so many requests.")] = None,
    duration: Annotated[
        str | None, typer.Option("-d", "--duration", help="Length of the window; 10s by default.")
    ] = None,
    rate: Annotated[float | None, typer.Option("--rate", help="Open model: requests due per second.")] = None,
    http2: Annotated[bool, typer.Option("--http2/--http1", help="The protocol.")] = False,
    streams: Annotated[int, typer.Option("-m", "--streams", help="Streams per connection (HTTP/2).")] = 1,
    agents: Annotated[int | None, typer.Option("--agents", help="h2load processes; 2 by default.")] = None,
    repeat: Annotated[int, typer.Option("--repeat", help="Trials.")] = 3,
    header: Annotated[list[str] | None, typer.Option("-H", "--header", metavar="'NAME: VALUE'")] = None,
    expect_status: Annotated[int | None, typer.Option("--expect-status", help="What one answer must have.")] = None,
    hosts: Inventories = None,
    out: Out = cli_results.DEFAULT_OUT,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Drive a server that is already up; no YAML needed."""
    from orchestrator.campaign.run import run_campaign
    from orchestrator.spec.load import from_plain

    if requests is not None and duration is not None:
        raise UsageError("-n and -d both bound the load", "give one of them")
    load: dict[str, Any] = {"clients": clients, "protocol": "http2" if http2 else "http1", "streams": streams}
    if requests is not None:
        load["requests"] = requests
    else:
        load["duration"] = duration or "10s"
    if rate is not None:
        load |= {"model": "open", "rate": f"{rate:g}/s"}
    if header:
        wrong = [h for h in header if ":" not in h]
        if wrong:
            raise UsageError(f"-H {wrong[0]!r} is no header", "write it as -H 'NAME: VALUE'")
        load["headers"] = {name.strip(): value.strip() for name, _, value in (h.partition(":") for h in header)}
    target: dict[str, Any] = {"url": url}
    if expect_status is not None:
        target["expect"] = {"status": expect_status}
    plain = {
        "campaign": "bench",
        "targets": {"url": target},
        "loads": {"load": load},
        "agents": min(2, clients) if agents is None else agents,
        "repetitions": repeat,
    }
    shown = json.loads(json.dumps(plain))
    # Header values can be secrets: they are not stored.
    shown["loads"]["load"].get("headers", {}).update(dict.fromkeys(load.get("headers", {}), "..."))
    loaded, placed, source = from_plain(plain), hosts_of(hosts), json.dumps(shown, indent=2) + "\n"
    show_run(lambda show: run_campaign(loaded, source, out, None, show, placed), as_json, quiet)


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A campaign or an inventory (YAML).")], set_: Sets = None
) -> None:
    """Check a campaign or an inventory file; every problem at once."""
    from orchestrator.spec.load import is_inventory, load, load_inventory

    if is_inventory(file):
        inventory = load_inventory(file)
        typer.echo(f"{file}: ok, {len(inventory.hosts)} hosts")
        return
    from orchestrator.plan import make_plan

    plan = make_plan(load(file, set_ or []).campaign)
    typer.echo(f"{file}: ok, {len(plan.cases)} cases, {len(plan.trials)} trials, plan {plan.digest[:12]}")


@app.command()
def doctor(
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Find out what one agent here can send.")] = False,
    up_to: cli_hosts.UpTo = cli_hosts.MOST_PER_S,
) -> None:
    """Look whether this machine is fit: h2load, Docker, cores, limits; each shortfall with the command that mends it."""
    from orchestrator.fleet.doctor import examine

    if calibrate:
        cli_hosts.show_ceilings(hosts_of(None), up_to, as_json=False)
        return
    checks = examine()
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark = {"ok": "ok  ", "warning": "warn", "failure": "FAIL"}[check.state]
        typer.echo(
            f"{mark}  {check.name:<{width}}  {check.found}"
            + (f"\n{'':6}{'':<{width}}  -> {check.fix}" if check.fix else "")
        )
    if any(check.state == "failure" for check in checks):
        raise typer.Exit(EXIT_UNREACHABLE)


class FileKind(StrEnum):
    """The files that people write."""

    CAMPAIGN = "campaign"
    INVENTORY = "inventory"


@app.command()
def schema(kind: Annotated[FileKind, typer.Argument(help="Of which kind of file.")] = FileKind.CAMPAIGN) -> None:
    """Print the JSON Schema of campaign or inventory files, for editors."""
    from orchestrator.spec import inventory, models

    made = inventory.schema() if kind is FileKind.INVENTORY else models.schema()
    typer.echo(json.dumps(made, indent=2))


def main() -> NoReturn:
    """Run a verb and leave with its exit code."""
    leaving.watch_signals()
    try:
        code = app(prog_name="volley", standalone_mode=False) or EXIT_OK
        leaving.raise_if_interrupted()  # which typer takes for an exit code of its own
    except BaseException as error:
        code = leaving.exit_code_of(error)
    sys.exit(code)


if __name__ == "__main__":
    main()
