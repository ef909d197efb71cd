"""The verbs that carry out a campaign file: `run` and `resume`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.chosen_hosts import hosts_of, start_ahead
from orchestrator.cli.options import (
    DEFAULT_OUT,
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

    loaded = load(campaign, set_ or ())
    if dry_run:
        _show_plan(loaded, only, hosts, as_json)
        return
    source = source_of(campaign, set_ or ())
    origin, placed = origin_of(str(campaign.resolve()), set_ or (), only, hosts, ray), hosts_of(hosts, ray, wait)
    show_run(
        lambda show: run_campaign(loaded, source, out, only, show, placed, origin),
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


def source_of(campaign: Path, overrides: Sequence[str]) -> str:
    """Return a campaign file as it was written, with the values that replaced some of it as comments."""
    return campaign.read_text(encoding="utf-8") + "".join(f"# --set {override}\n" for override in overrides)


@app.command()
def resume(
    run_folder: RunFolder,
    wait: Wait = None,
    strict: Strict = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = None,
) -> None:
    """Resume an interrupted run or search.

    Finished trials are kept; a changed campaign or image is refused.
    """
    from orchestrator.campaign.resume import resume as resume_run

    metrics, wait_s = metrics_at(metrics_port, metrics_address), wait_s_of(wait)
    show_run(lambda show: resume_run(run_folder, show, wait_s), as_json, quiet, strict=strict, metrics=metrics)
