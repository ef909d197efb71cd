"""What `volley trend` prints.

One metric of a case over many runs, and what changed at its change points.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from agents.records import to_plain
from orchestrator.analyse.people import digits, several
from orchestrator.counted import counted
from orchestrator.report.differences import unlike
from orchestrator.report.format import between
from orchestrator.report.gates import signed
from orchestrator.report.when import when
from orchestrator.result import FORMAT, Point, Verdict
from orchestrator.slo import THROUGHPUT, Metric
from orchestrator.stored.layout import started_at
from orchestrator.typeset import USUAL, Column, fill, table

RUNS = Path("runs")
NOTHING = "Nothing else that was recorded changed at the same time."


def render(
    points: Sequence[Point], case: str, metric: str, now: datetime, width: int = USUAL, folder: Path = RUNS
) -> list[Any]:
    """Return the answer, the table of a trend, and what else changed at each change point. folder: of the runs."""
    from rich.text import Text

    kinds = {point.protocol for point in points}
    unit, heading = (
        (1.0, counted(kinds).per_s) if metric == THROUGHPUT else (1000.0, f"{_time(points)}{Metric(metric).label} ms")
    )
    dates = [when(started_at(Path(point.run)), now) for point in points]
    known = [point.value is not None for point in points]
    columns = [
        Column("when", dates),
        Column(heading, ["" if p.value is None else digits(p.value.estimate / unit) for p in points], right=True),
        Column("95 % interval", [between(point.value, unit) for point in points], right=True, rank=1),
        Column("change", ["" if point.change is None else signed(point.change) for point in points], right=True),
        Column("verdict", [_verdict(point, number) for point, number in zip(points, known, strict=True)]),
        Column("run", [point.run for point in points], rank=2 if any(dates) else 0),
    ]
    titles, *rows = table(columns, width)
    lines: list[Any] = [*fill(_answer(points, case, metric), width), "", titles]
    for line, point in zip(rows, points, strict=True):
        lines.append(line if point.change is None else Text(line, style="bold yellow"))
    for i, point in enumerate(points):
        if point.change is not None:
            lines += ["", *_change(points, i, width, folder)]
    return lines


def _answer(points: Sequence[Point], case: str, metric: str) -> str:
    name = "throughput" if metric == THROUGHPUT else f"{_time(points)}{Metric(metric).label}"
    changed = [point for point in points if point.change is not None]
    runs = several(len(points), "run", "runs")
    if not changed:
        missing = sum(point.value is None for point in points)
        without = f", {missing} of them without a number" if missing else ""
        return f"The {name} of {case} did not change in {runs}{without}."
    last = changed[-1]
    changes = several(len(changed), "time", "times")
    return f"The {name} of {case} changed {changes} in {runs}: last by {signed(last.change or 0.0)} in {last.run}."


def _verdict(point: Point, known: bool) -> str:
    if known or point.verdict == Verdict.INVALID:
        return str(point.verdict)
    return f"{point.verdict}, too few {counted([point.protocol]).many}"


def _change(points: Sequence[Point], position: int, width: int, folder: Path) -> list[str]:
    """Return what else changed at a change point, against the last run before it that has a number."""
    point = points[position]
    before = next((p for p in reversed(points[:position]) if p.value is not None), None)
    lines = fill(f"{signed(point.change or 0.0)} in {point.run}. Changed at the same time:", width)
    if not point.differences:
        lines = fill(f"{signed(point.change or 0.0)} in {point.run}. {NOTHING}", width)
    for line in unlike(point.differences):
        lines += fill(line, width, "  ", "    ")
    if before is not None:
        command = f"  volley compare {folder / before.run}"
        whole = f"{command} {folder / point.run}"
        lines += [whole] if len(whole) <= width else [f"{command} \\", f"    {folder / point.run}"]
    return lines


def _time(points: Sequence[Point]) -> str:
    """Return which time the points are of, as the start of a heading; empty where none has one."""
    names = dict.fromkeys(point.time for point in points if point.time)
    return f"{' or '.join(names)} " if names else ""


def document(points: Sequence[Point], case: str, metric: str) -> dict[str, object]:
    """Return what --json prints of a trend: requests per second, or µs."""
    return {
        "format": FORMAT,
        "case": case,
        "metric": metric,
        "answer": _answer(points, case, metric),
        "runs": [to_plain(point) for point in points],
    }
