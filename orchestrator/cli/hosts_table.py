"""The table of `volley hosts check`: a row per fact, a column per host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.fleet.care import HostReport, Survey

# A table with more hosts than these continues below.
COLUMNS = 6
WIDE = 240


def document(report: HostReport) -> dict[str, Any]:
    """Return the report on one host as JSON."""
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


def print_table(reports: list[HostReport]) -> None:
    """Print the reports on all hosts, and every problem with its fix."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=WIDE, highlight=False, soft_wrap=True)
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
