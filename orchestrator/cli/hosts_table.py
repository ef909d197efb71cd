"""What `volley hosts check` prints: a row per host, and every problem with its fix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from orchestrator.typeset import USUAL, Column, fill, table

if TYPE_CHECKING:
    from orchestrator.fleet.care import HostReport, Survey
    from orchestrator.fleet.survey import Check


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


def lines(reports: list[HostReport], width: int = USUAL) -> list[str]:
    """Return the table, a row for each host, and every problem of the hosts that were reached, with its fix."""
    columns = [
        Column("host", [report.host for report in reports], most=12),
        Column("state", [_state(report) for report in reports]),
        Column("cores", _cells(reports, lambda s: str(len(s.host.cores))), right=True),
        Column("memory", _cells(reports, lambda s: _gib(s.host.memory_bytes)), right=True),
        Column("kernel", _cells(reports, lambda s: s.host.kernel), most=12),
        Column("h2load", _cells(reports, lambda s: _version(s.host.h2load))),
        Column("clock", _cells(reports, lambda s: f"± {s.clock.half_width_ns / 1e6:.2f} ms"), right=True),
        Column("docker", _cells(reports, lambda s: _version(s.host.docker)), rank=1),
        Column("roles", [", ".join(report.roles) for report in reports], rank=2),
        Column("address", [report.address for report in reports], rank=3),
        Column("round trip", _cells(reports, lambda s: f"{s.clock.round_trip_ns / 1e6:.2f} ms"), right=True, rank=4),
        Column("offset", _cells(reports, lambda s: f"{s.clock.offset_ns / 1e6:+.2f} ms"), right=True, rank=5),
        Column("disk free", _cells(reports, lambda s: _gib(s.host.home_free_bytes)), right=True, rank=6),
        Column("system", _cells(reports, lambda s: s.host.os), rank=7),
        Column("python", _cells(reports, lambda s: ".".join(map(str, s.host.python))), rank=8),
    ]
    return [*fill(_answer(reports), width), "", *table(columns, width), *_problems(reports, width)]


def _answer(reports: list[HostReport]) -> str:
    """Return how many hosts a run could use."""
    ready = sum(report.ready for report in reports)
    if ready == len(reports):
        return "The host is ready." if ready == 1 else f"All {ready} hosts are ready."
    return f"{ready} of {len(reports)} host{'' if len(reports) == 1 else 's'} can be used."


def _state(report: HostReport) -> str:
    if report.survey is None:
        return "not reached"
    if not report.ready:
        return "not ready"
    return "ready" if all(check.state == "ok" for check in report.survey.checks) else "ready, see below"


def _problems(reports: list[HostReport], width: int) -> list[str]:
    """Return the problems, failures first: those that make a host unusable."""
    found = [
        (check.state != "failure", report.host, check)
        for report in reports
        for check in (report.survey.checks if report.survey else [])
        if check.state != "ok"
    ]
    made: list[str] = []
    for _, host, check in sorted(found, key=lambda each: each[0]):
        made += ["", *problem_lines(check, width, host)]
    return made


def problem_lines(check: Check, width: int, host: str = "") -> list[str]:
    """Return a problem with its fix."""
    kind = "Problem" if check.state == "failure" else "Warning"
    where = f"{host}: " if host else ""
    return [
        *fill(f"{kind}  {where}{check.name}: {check.found}", width, rest=" " * 9),
        *fill(f"-> {check.fix}", width, " " * 9, " " * 12),
    ]


def _cells(reports: list[HostReport], cell: Callable[[Survey], str]) -> list[str]:
    """Return a column; what is not known of a host is empty."""
    return ["" if report.survey is None else cell(report.survey) for report in reports]


def _version(answer: object) -> str:
    """Return the version in a tool's answer: '1.64.0' of 'h2load nghttp2/1.64.0'."""
    return answer.rpartition("/")[2] if isinstance(answer, str) else ""


def _gib(value: int | None) -> str:
    return "" if value is None else f"{value / 2**30:.1f} GiB"
