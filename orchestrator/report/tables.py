"""trials.csv, trials.parquet, cases.csv, comparisons.csv: one row per trial, case and comparison.

Units are in names.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from agents.records import to_plain
from orchestrator.result import CaseResult, Comparison, Interval, Saturation, Summary, Trial
from orchestrator.slo import TIMES

# One row of a table, by column.
Row = dict[str, str | float | None]
_REQUESTS = ("ok", "http_error", "failed", "censored")


def write_all(folder: Path, summary: Summary, trials: list[Trial]) -> None:
    """Write every table of a run into its folder."""
    rows = trial_rows(trials)
    _write_csv(rows, folder / "trials.csv")
    _write_parquet(rows, folder / "trials.parquet")
    if summary.saturation:
        _write_csv(probe_rows(summary.saturation), folder / "saturation.csv")
        return
    _write_csv(case_rows(summary.cases), folder / "cases.csv")
    if summary.comparisons:
        _write_csv(comparison_rows(summary.comparisons), folder / "comparisons.csv")


def trial_rows(trials: Sequence[Trial]) -> list[Row]:
    """Return one row per planned trial, in order."""
    return [trial_row(trial) for trial in trials]


def trial_row(trial: Trial) -> Row:
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
    for name in _REQUESTS:
        row[name] = getattr(metrics.requests, name) if metrics else None
    for prefix, times in (
        ("service_time", metrics.service_time_us if metrics else {}),
        ("response_time", (metrics.response_time_us or {}) if metrics else {}),
        ("send_lag", (metrics.send_lag_us or {}) if metrics else {}),
    ):
        for name in TIMES:
            row[f"{prefix}_{name}_us"] = times.get(name)
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
    return row


def case_rows(cases: Sequence[CaseResult]) -> list[Row]:
    """Return one row per case: estimate, low and high of each number."""
    rows = []
    for case in cases:
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
        for name in _REQUESTS:
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
        rows.append(row)
    return rows


def probe_rows(searches: Sequence[Saturation]) -> list[Row]:
    """Return one row per probe: the curve of each target."""
    rows: list[Row] = []
    for search in searches:
        for probe in search.curve:
            plain = {"target": search.target, "slo": search.slo, **to_plain(probe)}
            times = {f"response_time_{name}_us": value for name, value in plain.pop("response_time_us").items()}
            rows.append({**plain, "failed": "; ".join(probe.failed), "verdict": str(probe.verdict), **times})
    return rows


def comparison_rows(comparisons: Sequence[Comparison]) -> list[Row]:
    """Return one row per comparison."""
    return [
        {
            "metric": c.metric,
            "load": c.load,
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


def as_csv(rows: Sequence[Row]) -> str:
    """Return rows as CSV with a header. Columns are those of all rows, in the order in which they appear first."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _write_csv(rows: Sequence[Row], path: Path) -> None:
    path.write_text(as_csv(rows), encoding="utf-8")


def _write_parquet(rows: Sequence[Row], path: Path) -> None:
    # Takes a tenth of a second to import, which only a finished run has to spend.
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    # By way of CSV, because arrays of Python values would import pandas, which takes longer than all the rest.
    kinds = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64()}
    types = {name: kinds[_kind([row.get(name) for row in rows])] for name in _columns(rows)}
    options = arrow_csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=False)
    parsing = arrow_csv.ParseOptions(newlines_in_values=True)
    text = io.BytesIO(as_csv(rows).encode())
    table = arrow_csv.read_csv(text, parse_options=parsing, convert_options=options) if rows else pa.table({})
    parquet.write_table(table, path, compression="zstd")


def _kind(values: Sequence[str | float | None]) -> str:
    """Return what a column holds. Only numbers can be missing, so one without any value is a column of numbers."""
    known = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in known):
        return "text"
    return "whole" if known and all(isinstance(value, int) for value in known) else "number"
