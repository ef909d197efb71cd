"""The verbs that carry out a campaign file: `run` and `resume`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.chosen_hosts import hosts_of, start_ahead
from orchestrator.cli.options import (
    DEFAULT_OUT,
    AllowTargets,
    AsJson,
    CampaignFile,
    MetricsAddress,
    MetricsPort,
    OnHosts,
    OnlyCases,
    Out,
    Quiet,
    RunFolder,
    Sets,
    Strict,
    Wait,
    WithRay,
)
from orchestrator.cli.progress import metrics_at, origin_of, show_run
from orchestrator.cli.waiting import wait_s_of

if TYPE_CHECKING:
    from orchestrator.spec.checks import Loaded

app = typer.Typer()


@app.command()
def run(
    campaign: CampaignFile,
    hosts: OnHosts = None,
    ray: WithRay = False,
    wait: Wait = None,
    out: Out = DEFAULT_OUT,
    set_: Sets = None,
    only: OnlyCases = None,
    allow_target: AllowTargets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and start nothing.")] = False,
    strict: Strict = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = None,
) -> None:
    """Run a campaign: start the servers, send the load, judge and compare the results.

    Exit codes: 0 ok, 2 wrong usage, 3 a result is INVALID
    or an objective was not judged, 4 cannot place, reach or start,
    99 an objective failed (--strict: or is not known to be met),
    130/143 interrupted.
    """
    metrics = metrics_at(metrics_port, metrics_address)
    if not dry_run:
        start_ahead(hosts, ray)
    from orchestrator.campaign.run import run_campaign
    from orchestrator.spec.load import load
    from orchestrator.spec.source import stored_source, without_secrets

    loaded = load(campaign, set_ or (), allowed=allow_target or ())
    if dry_run:
        _show_plan(loaded, only, hosts, as_json)
        return
    source = stored_source(text_of(loaded), set_ or (), allow_target or ())
    kept, left_out = without_secrets(set_ or ())
    origin = origin_of(str(campaign.resolve()), kept, only, hosts, ray, left_out, allow_target or ())
    placed = hosts_of(hosts, ray, wait)
    resumable = can_be_read_again(loaded, hosts)
    show_run(
        lambda show: run_campaign(loaded, source, out, only, show, placed, origin if resumable else None),
        as_json,
        quiet,
        strict=strict,
        metrics=metrics,
    )


def _show_plan(loaded: Loaded, only: str | None, hosts: Path | None, as_json: bool) -> None:
    from orchestrator.campaign.dry_run import as_document, as_lines

    placed = hosts_of(hosts)
    if as_json:
        typer.echo(json.dumps(as_document(loaded, only, placed), indent=2))
    else:
        typer.echo("\n".join(as_lines(loaded, only, placed)))


def text_of(loaded: Loaded) -> str:
    """Return a campaign file as it was written."""
    return "" if loaded.document is None else loaded.document.text


def can_be_read_again(loaded: Loaded, inventory: Path | None) -> bool:
    """Return whether a run can be resumed: what came through a pipe is gone."""
    piped = loaded.document is not None and loaded.document.is_pipe
    return not piped and (inventory is None or inventory.is_file())


@app.command()
def resume(
    run_folder: RunFolder,
    wait: Wait = None,
    allow_target: AllowTargets = None,
    strict: Strict = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = None,
) -> None:
    """Resume an interrupted run or search.

    Finished trials are kept; a changed campaign or image is refused.
    What --allow-target allowed at the start stays allowed.
    """
    from orchestrator.campaign.resume import resume as resume_run

    metrics, wait_s = metrics_at(metrics_port, metrics_address), wait_s_of(wait)
    allowed = allow_target or ()
    show_run(lambda show: resume_run(run_folder, show, wait_s, allowed), as_json, quiet, strict=strict, metrics=metrics)
