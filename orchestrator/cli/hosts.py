"""The verbs about the hosts of an inventory: `volley hosts ...`."""

from __future__ import annotations

import json
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.chosen_hosts import hosts_of
from orchestrator.cli.hosts_table import document, lines
from orchestrator.cli.options import HIGHEST_CALIBRATION, AsJson, Force, InventoryFile, UpTo, Wait
from orchestrator.cli.waiting import wait_s_of
from orchestrator.errors import EXIT_UNREACHABLE, HostError, Several, UsageError
from orchestrator.typeset import width

if TYPE_CHECKING:
    from agents.orders import Cleaned
    from orchestrator.campaign.hosts import Hosts
    from orchestrator.fleet.ceilings import Ceiling
    from orchestrator.spec.inventory import Inventory

# Calibration starts here.
LOWEST_CALIBRATION_PER_S = 500
# How `trust` lists a key, by what is known of it.
_KEY_STATES = {
    "trusted": "known",
    "unknown": "new",
    "other type": "new type",
    "changed": "CHANGED",
    "revoked": "REVOKED",
}

# What to do on an existing Ray cluster instead.
_INSTEAD = {
    "up": "run the campaign: its nodes are up already",
    "down": "nothing to do: Volley never stops a cluster that it did not start",
    "trust": "nothing to do: its nodes are reached through Ray, without SSH",
}

app = typer.Typer()
hosts_app = typer.Typer(
    name="hosts", help="Check, calibrate and prepare the hosts of an inventory.", no_args_is_help=True
)
app.add_typer(hosts_app)


def _load(path: Path) -> tuple[Inventory, Path]:
    from orchestrator.extras import require_ray
    from orchestrator.spec.load import load_inventory

    inventory = load_inventory(path)
    require_ray()
    return inventory, path.parent.resolve()


def _load_own(path: Path, verb: str) -> tuple[Inventory, Path]:
    """Load an inventory whose hosts are reached over SSH. Raise UsageError for one of a Ray cluster."""
    inventory, folder = _load(path)
    if inventory.ray is not None:
        raise UsageError(
            f"{path} is about a Ray cluster that is already there: 'hosts {verb}' does not apply to it",
            _INSTEAD[verb],
        )
    return inventory, folder


def _note(text: str) -> None:
    typer.echo(text, err=True)


def _hosts(inventory: Inventory) -> str:
    if inventory.ray is not None:
        return f"the nodes of the Ray cluster at {inventory.ray.address}"
    count = len(inventory.hosts)
    return "1 host" if count == 1 else f"{count} hosts"


@hosts_app.command()
def check(hosts: InventoryFile, as_json: AsJson = False) -> None:
    """Check every host; print one row for each and a fix for every problem."""
    from orchestrator.fleet import care

    inventory, folder = _load(hosts)
    _note(f"checking {_hosts(inventory)}")
    if inventory.ray is None:
        reports = care.check(inventory, folder)
    else:
        from orchestrator.fleet.existing import care as existing

        reports = existing.check(inventory, inventory.ray)
    if as_json:
        typer.echo(json.dumps([document(report) for report in reports], indent=2))
    else:
        typer.echo("\n".join(lines(reports, width())))
    errors = [report.error for report in reports if report.error is not None]
    if errors:
        raise Several(errors)
    if not all(report.ready for report in reports):
        raise typer.Exit(EXIT_UNREACHABLE)


@hosts_app.command()
def up(
    hosts: InventoryFile,
    install: Annotated[
        bool, typer.Option("--install", help="Install missing system packages on the hosts (apt).")
    ] = False,
    wait: Wait = None,
    force: Force = False,
) -> None:
    """Prepare every host and keep the fleet running between runs; stop it with 'down'."""
    from orchestrator.fleet import care

    inventory, _ = _load_own(hosts, "up")
    _note(f"preparing {_hosts(inventory)}")
    started = care.up(hosts, inventory, install, _note, force, wait_s_of(wait))
    if started.hosts:
        typer.echo(f"up: {', '.join(started.hosts)}; stop the fleet with: volley hosts down --hosts {hosts}")
    if started.errors:
        raise Several(started.errors)


@hosts_app.command()
def down(hosts: InventoryFile, force: Force = False) -> None:
    """Stop the fleet that 'up' started. The prepared environment stays on the hosts."""
    from orchestrator.fleet import care

    inventory, _ = _load_own(hosts, "down")
    name = care.down(inventory, force)
    typer.echo(f"down: {name}" if name else "no fleet of this inventory is running")


@hosts_app.command()
def clean(
    hosts: Annotated[
        Path | None, typer.Option("--hosts", metavar="INVENTORY", help="Clean these hosts (default: this machine).")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Remove only what this run left behind.")
    ] = None,
    force: Force = False,
) -> None:
    """Remove what your dead runs left behind: processes, containers and files.

    Runs that are alive are left alone, unless --force is given. Without --run,
    also remove the environment that was sent to the hosts. Works without Ray.
    """
    from orchestrator.fleet import care

    if run is not None and not run.strip():
        raise UsageError(
            "--run: the name of the run is empty", "name a run, or omit --run to clean up after all of them"
        )
    if hosts is None:
        found = {"this machine": care.clean_here(run, force)}
    else:
        inventory, folder = _load(hosts)
        _note(f"cleaning {_hosts(inventory)}")
        if inventory.ray is None:
            found = care.clean(inventory, folder, run, force)
        else:
            from orchestrator.fleet.existing import care as existing

            found = existing.clean(inventory.ray, run, force)
    errors = [error for name, cleaned in found.items() for error in _show_cleaned(name, cleaned, run)]
    if errors:
        raise Several(errors)


def _show_cleaned(host: str, cleaned: Cleaned, run: str | None) -> list[HostError]:
    """Print what was removed from a host and what was left alone; return what is an error."""
    from orchestrator.fleet.claims import used_by

    typer.echo(f"{host}: " + ", ".join(_count(n, what) for what, n in asdict(cleaned.removed).items()) + " removed")
    errors = [HostError(f"{host}: {trouble}", "start the engine, then clean again") for trouble in cleaned.trouble]
    for busy in cleaned.left:
        if run is not None:
            hint = "end it with Ctrl-C where it runs, or remove it with --force"
            errors.append(HostError(f"{host} is {used_by(busy)}: it is not dead", hint))
        else:
            typer.echo(f"  left alone: {used_by(busy)} (--force ends it)")
    return errors


def _count(number: int, plural: str) -> str:
    """Return a number of things: '1 process', '2 containers'."""
    one = {"processes": "process", "containers": "container", "files": "folder"}
    return f"{number} {one[plural] if number == 1 else 'folders' if plural == 'files' else plural}"


@hosts_app.command()
def calibrate(
    hosts: InventoryFile, up_to: UpTo = HIGHEST_CALIBRATION, wait: Wait = None, as_json: AsJson = False
) -> None:
    """Measure how much load one agent on each load host can send.

    --dry-run and the findings of later runs use the result.
    """
    show_ceilings(hosts_of(hosts, wait=wait), up_to, as_json)


def show_ceilings(hosts: Hosts, up_to: str, as_json: bool) -> None:
    """Calibrate hosts and print the result. up_to: a rate, as typed. Raise UsageError, VolleyError."""
    up_to_per_s = _up_to_per_s(up_to)
    from orchestrator.campaign.calibrate import calibrate as measure

    ceilings, file = measure(hosts, up_to_per_s, _note)
    _note(f"stored in {file}")
    if as_json:
        typer.echo(json.dumps([asdict(ceiling) for ceiling in ceilings], indent=2))
        return
    for ceiling in ceilings:
        typer.echo(_sentence(ceiling))


def _up_to_per_s(text: str) -> float:
    from orchestrator.spec.units import rate_per_s

    try:
        rate = rate_per_s(text)
    except ValueError as error:
        what, _, hint = str(error).partition(": ")
        raise UsageError(f"--up-to: {what}", hint) from None
    if rate < LOWEST_CALIBRATION_PER_S:
        raise UsageError(f"--up-to: {text} is too low", f"write a rate of at least {LOWEST_CALIBRATION_PER_S}/s")
    return rate


def _sentence(ceiling: Ceiling) -> str:
    """Return a ceiling in one sentence, in lines of at most 80 columns. --json has the rest."""
    agent = f"{ceiling.host}: one agent of {ceiling.generator}"
    if ceiling.limited_by == "generator":
        cost = f"{ceiling.cpu_us_per_request:.1f} µs of CPU each"
        return _filled(f"{agent} can send {ceiling.per_s:,.0f} {ceiling.unit} ({cost})")
    server = f"the trivial server on {ceiling.served_from} reached its limit first"
    why = server if ceiling.limited_by == "server" else "the calibration ended at --up-to"
    estimate = f"by its CPU time about {ceiling.by_cpu_per_s:,.0f} {ceiling.unit}"
    return _filled(f"{agent} can send at least {ceiling.per_s:,.0f} {ceiling.unit}, {estimate}: {why}")


def _filled(text: str) -> str:
    return textwrap.fill(text, 80, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


@hosts_app.command()
def trust(
    hosts: InventoryFile,
    yes: Annotated[bool, typer.Option("--yes", help="Record new keys without asking.")] = False,
) -> None:
    """Show the SSH keys of the hosts and record new ones after you confirm."""
    from orchestrator.fleet import care

    inventory, folder = _load_own(hosts, "trust")
    shown: set[tuple[str, str]] = set()
    while True:
        found, errors = care.keys(inventory, folder)
        for key in [key for key in found if (key.place, key.fingerprint) not in shown]:
            shown.add((key.place, key.fingerprint))
            typer.echo(f"{key.name:12} {key.place:16} {_KEY_STATES[key.state]:8} {key.fingerprint}")
        new = [key for key in found if key.state in ("unknown", "other type")]
        if not _confirmed(len(new), yes):
            break
        for key in new:
            typer.echo(f"recorded {key.name} in {key.record()}")
        # What is behind a jump host can be asked only now.
        if not any(key.hop.is_jump for key in new):
            break
    refused = [key.error for key in found if key.error is not None and key not in new]
    if errors or refused:
        raise Several([*errors, *refused])


def _confirmed(new: int, yes: bool) -> bool:
    """Return whether to record new keys; ask unless `yes`. Raises UsageError when nobody can be asked."""
    if not new or yes:
        return new > 0
    if not sys.stdin.isatty():
        raise UsageError(
            "cannot ask for confirmation: stdin is not a terminal", "compare the fingerprints, then add --yes"
        )
    return typer.confirm(f"record {new} new {'key' if new == 1 else 'keys'}?")
