"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_OUT = Path("runs")

CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN", help="A campaign file (YAML).")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
RunsFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder that holds the runs.")]
InventoryFile = Annotated[Path, typer.Option("--hosts", metavar="INVENTORY", help="An inventory file (YAML).")]
OnHosts = Annotated[
    Path | None,
    typer.Option("--hosts", metavar="INVENTORY", help="Use the hosts of this inventory (YAML)."),
]
WithRay = Annotated[
    bool, typer.Option("--ray", help="On this machine alone, too, reach the hosts through Ray, as --hosts does.")
]
Out = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Create the run's folder in this folder.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Replace a value of the campaign, e.g. loads.steady.clients=80."),
]
OnlyCases = Annotated[
    str | None, typer.Option("--only", metavar="GLOB", help="Run only the cases that match, e.g. 'flask/*'.")
]
OnlyTargets = Annotated[
    str | None, typer.Option("--only", metavar="GLOB", help="Search only the targets that match, e.g. 'flask*'.")
]
Agents = Annotated[int | None, typer.Option("--agents", metavar="N", help="Number of generator processes (default 2).")]
AllowTargets = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-target",
        metavar="HOST",
        help="Allow load on this host name, address or network. This machine, private networks and the hosts of the "
        "inventory need no permission. Can be repeated.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout and nothing else.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Fail (99) where an objective or a gate is undecided or not judged, too.")
]
ReportUrl = Annotated[
    str | None,
    typer.Option(
        "--report-url", metavar="URL", envvar="VOLLEY_REPORT_URL", help="Link to this full report from --markdown."
    ),
]
MarkdownFile = Annotated[
    Path | None, typer.Option("--markdown", metavar="FILE", help="Write a Markdown page for a pull request.")
]
JUnitFile = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write a JUnit file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Do not show progress.")]
Wait = Annotated[
    str | None,
    typer.Option(
        "--wait",
        metavar="[DURATION]",
        help="If another run uses the hosts, wait for it: as long as it takes, or at most e.g. 30m.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Also end a run that is under way.")]
LIVE = "Live metrics"
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        metavar="PORT",
        help="Serve live metrics for Prometheus on this port (0: any free port).",
        rich_help_panel=LIVE,
    ),
]
MetricsAddress = Annotated[
    str | None,
    typer.Option(
        "--metrics-address",
        metavar="ADDRESS",
        help="Address of the live metrics (default 127.0.0.1).",
        rich_help_panel=LIVE,
    ),
]
UpTo = Annotated[str, typer.Option("--up-to", metavar="RATE", help="Highest rate to try, at least 500/s.")]
HIGHEST_CALIBRATION = "512000/s"
