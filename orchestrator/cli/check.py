"""The verbs that check files and this machine: `validate`, `doctor` and `schema`."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.chosen_hosts import hosts_of
from orchestrator.cli.hosts import show_ceilings
from orchestrator.cli.hosts_table import problem_lines
from orchestrator.cli.options import HIGHEST_CALIBRATION, AllowTargets, AsJson, Sets, UpTo
from orchestrator.errors import EXIT_UNREACHABLE, UsageError
from orchestrator.typeset import Column, fill, table, width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.fleet.doctor import Examination
    from orchestrator.fleet.fixing import Fixes
    from orchestrator.fleet.survey import Check

app = typer.Typer()


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A campaign or inventory file (YAML).")],
    set_: Sets = None,
    allow_target: AllowTargets = None,
) -> None:
    """Validate a campaign or inventory file and list every problem."""
    from orchestrator.spec.document import read_document
    from orchestrator.spec.load import is_inventory, load, load_inventory
    from orchestrator.spec.wording import several

    document = read_document(file)
    if is_inventory(document):
        if set_:
            raise UsageError(f"--set changes a campaign, and {file} is an inventory", "edit the file")
        inventory = load_inventory(document)
        cluster = inventory.ray
        hosts = several(len(inventory.hosts), "host") if cluster is None else f"the Ray cluster at {cluster.address}"
        typer.echo(f"{file} is valid: {hosts}")
        return
    from orchestrator.campaign.allowed import warnings_of
    from orchestrator.plan import make_plan
    from orchestrator.spec.enough import too_few
    from orchestrator.spec.reach import notes

    loaded = load(document, set_ or (), allowed=allow_target or ())
    campaign = loaded.campaign
    plan = make_plan(campaign)
    for warning in (*notes(loaded.plain), *too_few(campaign), *warnings_of(campaign)):
        typer.echo("\n".join(fill(f"warning: {warning}", width(), rest="  ")), err=True)
    cases, trials = several(len(plan.cases), "case"), several(len(plan.trials), "trial")
    needed = {service.name for case in plan.cases for service in case.services}
    services = f"{several(len(needed), 'service')}, " if needed else ""
    for name in campaign.services:
        if name not in needed:
            text = f"warning: services.{name}: no target needs it, so it is not started. Add it to 'needs' of a target."
            typer.echo("\n".join(fill(text, width(), rest="  ")), err=True)
    typer.echo(f"{file} is valid: {cases}, {services}{trials}, plan {plan.digest[:12]}")


@app.command()
def doctor(
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure how much load one agent on this machine can send.")
    ] = False,
    up_to: UpTo = HIGHEST_CALIBRATION,
    fix: Annotated[
        bool, typer.Option("--fix", help="Install what is missing (apt), and start the Docker engine.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show what is in order, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check this machine (h2load, Docker, cores, limits) and print a fix for every problem.

    What runs that have ended left on this machine, such as containers, is removed.
    """
    from orchestrator.fleet.doctor import examine

    if fix and calibrate:
        raise UsageError(
            "--fix and --calibrate are two steps", "run: volley doctor --fix, then: volley doctor --calibrate"
        )
    if up_to != HIGHEST_CALIBRATION and not calibrate:
        raise UsageError("--up-to limits a calibration", "add --calibrate, or omit --up-to")
    if calibrate:
        show_ceilings(hosts_of(None), up_to, as_json)
        return
    found, failed = examine(_note), False
    if fix:
        failed = not _fixed(found.fixes)
        found = examine(_note)
    if as_json:
        typer.echo(json.dumps(doctor_document(found), indent=2))
    else:
        typer.echo("\n".join(doctor_lines(found.checks, width(), everything=everything, fixes=found.fixes)))
    if failed or not found.ready:
        raise typer.Exit(EXIT_UNREACHABLE)


def _note(text: str) -> None:
    typer.echo(text, err=True)


def _fixed(fixes: Fixes) -> bool:
    """Do what can be done, and say so before; return whether nothing is missing then."""
    from orchestrator.fleet.fixing import carry_out, run_script

    if fixes.lacks_apt:
        _note("--fix: this machine has no apt-get, so nothing can be installed")
    if not fixes:
        _note("--fix: nothing to install or start")
        return not fixes.lacks_apt
    _note(f"--fix: {fixes.words}")
    return carry_out(fixes, run_script) and not fixes.lacks_apt


def doctor_document(found: Examination) -> dict[str, Any]:
    """Return what was found on this machine as JSON, in the words of `hosts check --json`."""
    return {
        "ready": found.ready,
        "checks": [asdict(check) for check in found.checks],
        "fixes": {"packages": list(found.fixes.packages), "engine": found.fixes.engine},
    }


def doctor_lines(
    checks: Sequence[Check], columns: int, *, everything: bool = False, fixes: Fixes | None = None
) -> list[str]:
    """Return the problems with their fixes, failures first; one line where there are none.

    everything: all checks. fixes: what --fix could do.
    """
    failures = [check for check in checks if check.state == "failure"]
    warnings = [check for check in checks if check.state == "warning"]
    sound = [check for check in checks if check.state == "ok"]
    made = fill(_doctor_answer(failures, warnings, sound), columns)
    for check in (*failures, *warnings):
        made += ["", *problem_lines(check, columns)]
    if fixes:
        made += ["", *fill(f"'volley doctor --fix' can do this here: {fixes.words}", columns, rest="  ")]
    if everything:
        made += ["", *table([Column("", [c.name for c in sound]), Column("", [c.found for c in sound])], columns)]
    elif failures or warnings:
        names = ", ".join(dict.fromkeys(check.name for check in sound))
        made += ["", *fill(f"No problem with: {names}", columns, rest="  ")]
    return made


def _doctor_answer(failures: Sequence[Check], warnings: Sequence[Check], sound: Sequence[Check]) -> str:
    """Return whether this machine can be used."""
    if failures:
        return f"This machine is not ready: {_counted(len(failures), 'problem')} to fix."
    if warnings:
        return f"This machine can be used, but numbers may suffer: {_counted(len(warnings), 'warning')}."
    found = {check.name: check.found for check in sound}
    known = {
        "cores": "{} cores",
        "memory": "{}",
        "h2load": "h2load {}",
        "docker engine": "Docker {}",
    }
    facts = [form.format(found[name].partition(" (")[0]) for name, form in known.items() if name in found]
    return f"This machine is ready: {', '.join(facts)}."


def _counted(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


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
