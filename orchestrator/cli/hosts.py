"""volley hosts: the verbs about the hosts of an inventory."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.errors import EXIT_UNREACHABLE, Several, UsageError

if TYPE_CHECKING:
    from orchestrator.fleet.care import HostReport, Survey
    from orchestrator.spec.inventory import Inventory

app = typer.Typer(
    name="hosts", help="The hosts of an inventory: check, calibrate, up, down, clean, trust.", no_args_is_help=True
)
Hosts = Annotated[Path, typer.Option("--hosts", metavar="INVENTORY", help="An inventory file (YAML).")]
MOST_PER_S = 512_000.0
UpTo = Annotated[float, typer.Option("--up-to", metavar="RATE", min=500, help="Calibrate no further than this rate.")]
# Beyond this many columns a table is continued below.
COLUMNS = 6


def _load(path: Path) -> tuple[Inventory, Path]:
    from orchestrator.spec.load import load_inventory

    return load_inventory(path), path.parent.resolve()


def _say(text: str) -> None:
    typer.echo(text, err=True)


@app.command()
def check(
    hosts: Hosts, as_json: Annotated[bool, typer.Option("--json", help="One document on stdout.")] = False
) -> None:
    """Look at every host: one table, and each shortfall with the command that mends it."""
    from orchestrator.fleet import care

    inventory, folder = _load(hosts)
    _say(f"looking at {len(inventory.hosts)} hosts")
    reports = care.check(inventory, folder)
    if as_json:
        typer.echo(json.dumps([_document(report) for report in reports], indent=2))
    else:
        _table(reports)
    errors = [report.error for report in reports if report.error is not None]
    if errors:
        raise Several(errors)
    if not all(report.ready for report in reports):
        raise typer.Exit(EXIT_UNREACHABLE)


def _document(report: HostReport) -> dict[str, Any]:
    survey = report.survey
    return {
        "host": report.host,
        "address": report.address,
        "roles": report.roles,
        "ready": report.ready,
        "error": None if report.error is None else report.error.message,
        "found": {} if survey is None else asdict(survey.host),
        "clock": None if survey is None else asdict(survey.clock),
        "checks": [] if survey is None else [asdict(check) for check in survey.checks],
        "environment_sent": survey is not None and survey.environment_sent,
    }


def _table(reports: list[HostReport]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=240, highlight=False, soft_wrap=True)
    for start in range(0, len(reports), COLUMNS):
        part = reports[start : start + COLUMNS]
        table = Table("", *(report.host for report in part), box=box.MARKDOWN)
        table.add_row("address", *(report.address for report in part))
        table.add_row("roles", *(", ".join(report.roles) for report in part))
        for name, cell in ROWS.items():
            table.add_row(name, *("-" if report.survey is None else cell(report.survey) for report in part))
        table.add_row("ready", *("yes" if report.ready else "NO" for report in part))
        console.print(table)
    for report in reports:
        for check in report.survey.checks if report.survey else []:
            if check.state != "ok":
                console.print(f"{check.state}: {report.host}: {check.name}: {check.found}\n  -> {check.fix}")


def _clock(survey: Survey) -> str:
    return f"{survey.clock.offset_ns / 1e6:+.2f} ± {survey.clock.half_width_ns / 1e6:.2f} ms"


def _tool(answer: object) -> str:
    return answer if isinstance(answer, str) else "-"


def _gib(value: int | None) -> str:
    return "-" if value is None else f"{value / 2**30:.1f} GiB"


ROWS: dict[str, Callable[[Survey], str]] = {
    "round trip": lambda s: f"{s.clock.round_trip_ns / 1e6:.2f} ms",
    "system": lambda s: s.host.os,
    "kernel": lambda s: s.host.kernel,
    "python": lambda s: ".".join(str(part) for part in s.host.python),
    "h2load": lambda s: _tool(s.host.h2load).rpartition("/")[2],
    "docker engine": lambda s: _tool(s.host.docker),
    "cores": lambda s: str(len(s.host.cores)),
    "memory": lambda s: _gib(s.host.memory_bytes),
    "governor": lambda s: s.host.governor or "-",
    "time service": lambda s: s.host.time_service or "-",
    "clock offset": _clock,
    "open files": lambda s: str(s.host.open_files),
    "listen backlog": lambda s: str(s.host.somaxconn or "-"),
    "ephemeral ports": lambda s: "-".join(str(port) for port in s.host.ephemeral_ports or []),
    "free disk": lambda s: _gib(s.host.home_free_bytes),
    "environment": lambda s: "sent" if s.environment_sent else "not sent yet",
}


@app.command()
def up(
    hosts: Hosts,
    install: Annotated[bool, typer.Option("--install", help="Install missing system packages there (apt).")] = False,
) -> None:
    """Bring every host to the pinned environment and keep a fleet up that runs join; 'down' ends it."""
    from orchestrator.fleet import care

    inventory, _ = _load(hosts)
    _say(f"bringing {len(inventory.hosts)} hosts up")
    started = care.up(hosts, inventory, install, _say)
    if started.hosts:
        typer.echo(f"up: {', '.join(started.hosts)}; end it with: volley hosts down --hosts {hosts}")
    if started.errors:
        raise Several(started.errors)


@app.command()
def down(hosts: Hosts) -> None:
    """End the fleet that 'up' started; what was sent to the hosts stays there for the next time."""
    from orchestrator.fleet import care

    inventory, _ = _load(hosts)
    name = care.down(inventory)
    typer.echo(f"down: {name}" if name else "no fleet of this inventory is up")


@app.command()
def clean(
    hosts: Annotated[
        Path | None, typer.Option("--hosts", metavar="INVENTORY", help="Those hosts; else this one.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="Only what this run has left.")] = None,
) -> None:
    """Remove what runs have left: processes, containers, files; without --run also what was sent. Works without Ray."""
    from orchestrator.fleet import care

    if hosts is None:
        found = {"this machine": care.clean_here(run)}
    else:
        inventory, folder = _load(hosts)
        _say(f"cleaning {len(inventory.hosts)} hosts")
        found = care.clean(inventory, folder, run)
    for name, removed in found.items():
        typer.echo(f"{name}: " + ", ".join(f"{count} {what}" for what, count in asdict(removed).items()) + " removed")


@app.command()
def calibrate(
    hosts: Hosts,
    up_to: UpTo = MOST_PER_S,
    as_json: Annotated[bool, typer.Option("--json", help="One document on stdout.")] = False,
) -> None:
    """Find out what one agent on each load host can send; --dry-run and the findings then use it."""
    from orchestrator.campaign.session import Hosts as Chosen

    inventory, folder = _load(hosts)
    show_ceilings(Chosen(inventory, folder), up_to, as_json)


def show_ceilings(hosts: Any, up_to: float, as_json: bool) -> None:
    """Calibrate some hosts and print what was found; shared with `volley doctor --calibrate`."""
    from orchestrator.campaign.calibrate import calibrate as find

    found, file = find(hosts, up_to, _say)
    _say(f"kept in {file}")
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    for each in found:
        if each.limited_by == "generator":
            what = f"one agent can send {each.per_s:.0f} req/s, then h2load itself gives way"
        else:
            server = f"the trivial server on {each.served_from} gave way"
            why = server if each.limited_by == "server" else "--up-to ends there"
            what = f"one agent can send {each.per_s:.0f} req/s or more: {why}; by its CPU time {each.by_cpu_per_s:.0f}"
        typer.echo(f"{each.host}: {what} ({each.cpu_us_per_request:.1f} µs of CPU per request, h2load {each.h2load})")


@app.command()
def trust(
    hosts: Hosts,
    yes: Annotated[bool, typer.Option("--yes", help="Record every new key without asking.")] = False,
) -> None:
    """Record the hosts' SSH keys, after you have compared the fingerprints."""
    from orchestrator.fleet import care

    inventory, folder = _load(hosts)
    found, errors = care.keys(inventory, folder)
    new = [key for key in found if not key.known and not key.changed]
    for key in found:
        state = "known" if key.known else "CHANGED" if key.changed else "new"
        typer.echo(f"{key.host.name:12} {key.host.address:16} {state:8} {key.fingerprint}")
    if new and not yes:
        if not sys.stdin.isatty():
            raise UsageError("nobody is there to say yes", "compare the fingerprints, then run it with --yes")
        yes = typer.confirm(f"record {len(new)} new keys?")
    for key in new if yes else []:
        key.record()
        typer.echo(f"recorded {key.host.name} in {key.host.known_hosts}")
    changed = [key.host.changed_key(key.fingerprint) for key in found if key.changed]
    if errors or changed:
        raise Several([*errors, *changed])
