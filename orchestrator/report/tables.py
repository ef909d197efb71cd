"""trials.csv, trials.parquet, cases.csv, requests.csv, comparisons.csv, saturation.csv: a row per trial, case and so on.

Units are in names; columns.py lists the columns, docs/reference/data.md explains them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agents.records import AgentFacts, ServerState, to_plain
from orchestrator.facts import Case, Environment
from orchestrator.report.columns import (
    CASES,
    COMPARISONS,
    MIX,
    PROBES,
    REQUESTS,
    SERIES,
    SERVICES,
    TRIALS,
    ColumnKind,
    Columns,
)
from orchestrator.result import CaseResult, Comparison, Interval, Saturation, ServerCost, Summary, Trial
from orchestrator.slo import TIMES

# One row of a table, by column.
Row = dict[str, str | float | None]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows, and the columns that every table of this kind has."""

    columns: Columns
    rows: list[Row]


def write_all(folder: Path, summary: Summary, trials: list[Trial], environment: Environment | None) -> None:
    """Write every table of a run into its folder."""
    tables = tables_of(summary, trials, environment)
    _write_csv(tables["trials"], folder / "trials.csv")
    if tables["services"].rows:
        _write_csv(tables["services"], folder / "services.csv")
    write_parquet(tables["trials"], folder / "trials.parquet")
    if summary.saturation:
        _write_csv(tables["saturation"], folder / "saturation.csv")
        return
    _write_csv(tables["cases"], folder / "cases.csv")
    if tables["requests"].rows:
        _write_csv(tables["requests"], folder / "requests.csv")
    if summary.comparisons:
        _write_csv(tables["comparisons"], folder / "comparisons.csv")


def tables_of(summary: Summary, trials: Sequence[Trial], environment: Environment | None) -> dict[str, Table]:
    """Return all tables of a run, by name. environment: None where it is not known."""
    return {
        "trials": Table(TRIALS, [trial_row(trial, environment) for trial in trials]),
        "cases": Table(CASES, case_rows(summary.cases, trials, environment)),
        "comparisons": Table(COMPARISONS, comparison_rows(summary.comparisons)),
        "series": Table(SERIES, series_rows(trials)),
        "requests": Table(MIX, request_rows(trials)),
        "services": Table(SERVICES, service_rows(trials)),
        "saturation": Table(PROBES, probe_rows(summary.saturation)),
    }


def trial_row(trial: Trial, environment: Environment | None) -> Row:
    """Return one trial as a row."""
    facts, metrics = trial.facts, trial.metrics
    row: Row = {
        "trial": facts.number,
        "block": facts.block,
        "case": facts.case.name,
        "target": facts.case.target,
        "load": facts.case.load,
        "verdict": str(trial.verdict),
        "findings": " ".join(sorted({finding.code for finding in trial.findings})),
        "started_at_ns": facts.started_at_ns,
        "throughput_per_s": metrics.throughput_per_s if metrics else None,
        "window_s": metrics.window_s if metrics else None,
    }
    for name in REQUESTS:
        row[name] = getattr(metrics.requests, name) if metrics else None
    for prefix, times in (
        ("service_time", metrics.service_time_us if metrics else {}),
        ("response_time", (metrics.response_time_us or {}) if metrics else {}),
        ("send_lag", (metrics.send_lag_us or {}) if metrics else {}),
        ("first_byte", (metrics.first_byte_us or {}) if metrics else {}),
    ):
        for name in TIMES:
            row[f"{prefix}_{name}_us"] = times.get(name)
    for name in ("received_bytes", "received_bytes_per_s"):
        row[name] = getattr(metrics, name) if metrics else None
    server = metrics.server if metrics else None
    for name in (
        "cpu_us_per_request",
        "requests_per_cpu_s",
        "requests_per_s_per_mib",
        "cpu_s",
        "throttled_ratio",
        "throttled_s",
    ):
        row[name] = getattr(server, name) if server else None
    last = facts.server.last
    row["peak_memory_bytes"] = last.memory_peak_bytes if last else None
    row["oom_kills"] = last.oom_kills if last else None
    row["major_faults"] = last.major_faults if last else None
    row["restarts"] = facts.server.restarts
    return row | _load(facts.case, facts.agents, environment)


def _load(case: Case | None, agents: Sequence[AgentFacts], environment: Environment | None) -> Row:
    """Return how a load was driven, and with what. case: as planned, None where it is not known."""
    row: Row = {"url": _words(agent.url for agent in agents)}
    if case is not None:
        row |= {
            "model": str(case.model),
            "protocol": str(case.protocol),
            "clients": case.clients,
            "streams": case.streams,
            "rate_per_s": case.rate_per_s,
            "planned_requests": case.requests,
            "duration_s": None if case.duration_us is None else case.duration_us / 1e6,
            "warm_up_s": case.warm_up_us / 1e6,
            "agents": case.agents,
            "generator": str(case.generator),
        }
    row["generator_version"] = _words(agent.version for agent in agents)
    row["volley_version"] = environment.volley if environment else ""
    row["python_version"] = environment.python if environment else ""
    return row


def _words(texts: Iterable[str]) -> str:
    """Return different texts once each, separated by spaces."""
    return " ".join(dict.fromkeys(text for text in texts if text))


def series_rows(trials: Sequence[Trial]) -> list[Row]:
    """Return one row per trial and interval of its window."""
    rows: list[Row] = []
    for trial in trials:
        if (metrics := trial.metrics) is None:
            continue
        for interval, ok, http_error, failed, p50_us, p99_us in metrics.series:
            rows.append(
                {
                    "trial": trial.facts.number,
                    "case": trial.facts.case.name,
                    "second": int(interval or 0) * metrics.series_interval_s,
                    "interval_s": metrics.series_interval_s,
                    "ok": int(ok or 0),
                    "http_error": int(http_error or 0),
                    "failed": int(failed or 0),
                    "p50_us": p50_us,
                    "p99_us": p99_us,
                }
            )
    return rows


def request_rows(trials: Sequence[Trial]) -> list[Row]:
    """Return one row per trial and request of a mix."""
    rows: list[Row] = []
    for trial in trials:
        for request in trial.metrics.mix if trial.metrics else []:
            row: Row = {
                "trial": trial.facts.number,
                "case": trial.facts.case.name,
                "request": request.name,
                "share": request.share,
                **{name: getattr(request.requests, name) for name in ("ok", "http_error", "failed")},
                "unexpected": request.unexpected,
                "statuses": " ".join(f"{status}:{number}" for status, number in request.statuses.items()),
                "throughput_per_s": request.throughput_per_s,
                "received_bytes_per_s": request.received_bytes_per_s,
            }
            for prefix, times in (
                ("service_time", request.service_time_us),
                ("response_time", request.response_time_us or {}),
                ("first_byte", request.first_byte_us or {}),
            ):
                row |= {f"{prefix}_{name}_us": times.get(name) for name in TIMES}
            rows.append(row)
    return rows


def service_rows(trials: Sequence[Trial]) -> list[Row]:
    """Return one row per trial and service of its target."""
    rows: list[Row] = []
    for trial in trials:
        lifetimes = {service.name: service.lifetime for service in trial.facts.case.services}
        for service in trial.facts.services:
            cost = ServerCost() if trial.metrics is None else trial.metrics.services.get(service.name, ServerCost())
            up = service.state != ServerState.READY or service.running
            row: Row = {
                "trial": trial.facts.number,
                "case": trial.facts.case.name,
                "service": service.name,
                "host": service.host,
                "state": str(service.state if up else ServerState.EXITED),
                "image": service.image,
                "lifetime": lifetimes.get(service.name, ""),
                "cpus": service.cpus,
                "memory_limit_bytes": service.memory_bytes,
                "exit_code": service.exit_code,
                "ready_after_s": service.ready_after_us / 1e6,
            }
            for name in ("cpu_us_per_request", "cpu_s", "throttled_ratio", "throttled_s"):
                row[name] = getattr(cost, name)
            for name in ("peak_memory_bytes", "oom_kills", "major_faults"):
                row[name] = getattr(cost, name)
            rows.append(row)
    return rows


def case_rows(cases: Sequence[CaseResult], trials: Sequence[Trial], environment: Environment | None) -> list[Row]:
    """Return one row per case: estimate, low and high of each number."""
    rows = []
    for case in cases:
        agents = [agent for trial in trials if trial.facts.case.name == case.case for agent in trial.facts.agents]
        row: Row = {
            "case": case.case,
            "target": case.target,
            "load": case.load,
            "verdict": str(case.verdict),
            "trials": case.trials,
            "used": case.used,
            **_interval("throughput_per_s", case.throughput_per_s),
        }
        for name, interval in case.service_time_us.items():
            row |= _interval(f"service_time_{name}_us", interval)
        for name, interval in (case.response_time_us or {}).items():
            row |= _interval(f"response_time_{name}_us", interval)
        for name in TIMES:
            row |= _interval(f"first_byte_{name}_us", (case.first_byte_us or {}).get(name))
        row |= _interval("received_bytes_per_s", case.received_bytes_per_s)
        for name in REQUESTS:
            row[name] = getattr(case.requests, name)
        for name in (
            "cpu_us_per_request",
            "requests_per_cpu_s",
            "requests_per_s_per_mib",
            "throttled_ratio",
            "peak_memory_bytes",
            "oom_kills",
            "restarts",
        ):
            row[name] = getattr(case.server, name)
        row["findings"] = " ".join(finding.code for finding in case.findings)
        rows.append(row | _load(case.planned, agents, environment))
    return rows


def probe_rows(searches: Sequence[Saturation]) -> list[Row]:
    """Return one row per probe: the curve of each target."""
    rows: list[Row] = []
    for search in searches:
        for probe in search.curve:
            plain = {"target": search.target, "slo": search.slo, **to_plain(probe)}
            times = {f"response_time_{name}_us": value for name, value in plain.pop("response_time_us").items()}
            texts = {name: plain[name] or "" for name in ("limited_by", "resource", "bottleneck")}
            rows.append({**plain, **texts, "failed": "; ".join(probe.failed), "verdict": str(probe.verdict), **times})
    return rows


def comparison_rows(comparisons: Sequence[Comparison]) -> list[Row]:
    """Return one row per comparison."""
    return [
        {
            "metric": c.metric,
            "load": c.load,
            "target": c.target,
            "baseline": c.baseline,
            "candidate": c.candidate,
            **_interval("ratio", c.ratio),
            "p_value": c.p_value,
            "p_holm": c.p_holm,
            **_interval("difference", c.difference),
            "conclusion": c.conclusion,
            "reason": c.reason,
        }
        for c in comparisons
    ]


def _interval(name: str, interval: Interval | None) -> dict[str, float | None]:
    if interval is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def as_csv(table: Table) -> str:
    """Return a table as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table.columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.rows)
    return text.getvalue()


def _write_csv(table: Table, path: Path) -> None:
    path.write_text(as_csv(table), encoding="utf-8")


def write_parquet(table: Table, to: Path | IO[bytes]) -> None:
    """Write a table as Parquet: text, 64-bit integers and floats, compressed with zstd."""
    # Takes a tenth of a second to import, which only a finished run has to spend.
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    # By way of CSV, because arrays of Python values would import pandas, which takes longer than all the rest.
    kinds = {
        ColumnKind.TEXT: pa.string(),
        ColumnKind.WHOLE: pa.int64(),
        ColumnKind.NUMBER: pa.float64(),
        ColumnKind.FLAG: pa.bool_(),
    }
    types = {name: kinds[kind] for name, kind in table.columns.items()}
    options = arrow_csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=False)
    parsing = arrow_csv.ParseOptions(newlines_in_values=True)
    text = io.BytesIO(as_csv(table).encode())
    written = arrow_csv.read_csv(text, parse_options=parsing, convert_options=options)
    parquet.write_table(written, to, compression="zstd")
