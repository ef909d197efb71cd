"""The verbs that check files and this machine: `validate`, `doctor` and `schema`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.chosen_hosts import hosts_of
from orchestrator.cli.hosts import show_ceilings
from orchestrator.cli.options import HIGHEST_CALIBRATION, Sets, UpTo
from orchestrator.errors import EXIT_UNREACHABLE

if TYPE_CHECKING:
    from orchestrator.fleet.survey import Check

app = typer.Typer()

MARKS = {"ok": "ok  ", "warning": "warn", "failure": "FAIL"}


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A campaign or inventory file (YAML).")],
    set_: Sets = None,
) -> None:
    """Validate a campaign or inventory file and list every problem."""
    from orchestrator.spec.load import is_inventory, load, load_inventory

    if is_inventory(file):
        inventory = load_inventory(file)
        typer.echo(f"{file}: ok, {len(inventory.hosts)} hosts")
        return
    from orchestrator.plan import make_plan

    plan = make_plan(load(file, set_ or ()).campaign)
    typer.echo(f"{file}: ok, {len(plan.cases)} cases, {len(plan.trials)} trials, plan {plan.digest[:12]}")


@app.command()
def doctor(
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure how much load one agent on this machine can send.")
    ] = False,
    up_to: UpTo = HIGHEST_CALIBRATION,
) -> None:
    """Check this machine (h2load, Docker, cores, limits) and print a fix for every problem."""
    from orchestrator.fleet.doctor import examine

    if calibrate:
        show_ceilings(hosts_of(None), up_to, as_json=False)
        return
    checks = examine()
    width = max(len(check.name) for check in checks)
    for check in checks:
        typer.echo(_line(check, width))
    if any(check.state == "failure" for check in checks):
        raise typer.Exit(EXIT_UNREACHABLE)


def _line(check: Check, width: int) -> str:
    fix = f"\n{'':6}{'':<{width}}  -> {check.fix}" if check.fix else ""
    return f"{MARKS[check.state]}  {check.name:<{width}}  {check.found}{fix}"


class FileKind(StrEnum):
    """The files that users write."""

    CAMPAIGN = "campaign"
    INVENTORY = "inventory"


@app.command()
def schema(
    kind: Annotated[FileKind, typer.Argument(help="Which schema to print.")] = FileKind.CAMPAIGN,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the reference of all keys instead.")] = False,
) -> None:
    """Print the JSON Schema of campaign or inventory files, for editors."""
    if markdown:
        from orchestrator.spec.reference import campaign_reference, inventory_reference

        typer.echo(inventory_reference() if kind is FileKind.INVENTORY else campaign_reference(), nl=False)
        return
    from orchestrator.spec.schema import campaign_schema, inventory_schema

    made = inventory_schema() if kind is FileKind.INVENTORY else campaign_schema()
    typer.echo(json.dumps(made, indent=2))
