"""What `volley trend` prints.

One metric of a case over many runs, and what changed at its change points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.records import to_plain
from orchestrator.report.comparison import unlike
from orchestrator.report.format import with_interval
from orchestrator.report.rows import table
from orchestrator.result import FORMAT, Point
from orchestrator.slo import THROUGHPUT, Metric


def render(points: Sequence[Point], case: str, metric: str) -> list[Any]:
    """Return the table of a trend, and what else changed at each change point."""
    from rich.text import Text

    unit, heading = (1.0, "req/s") if metric == THROUGHPUT else (1000.0, f"{_time(points)}{Metric(metric).label} ms")
    rows = table("run", "verdict", heading, "change")
    for point in points:
        change = "" if point.change is None else f"{point.change:+.1%}"
        rows.add_row(point.run, point.verdict, with_interval(point.value, unit), Text(change, style="bold yellow"))
    changed = [point for point in points if point.change is not None]
    plural = "" if len(changed) == 1 else "s"
    lines = [f"{case}: {len(changed)} change point{plural} in {len(points)} runs"]
    for point in changed:
        others = unlike(point.differences) or ["nothing else that was recorded"]
        lines += [f"{point.run}: {point.change:+.1%}; changed at the same time:", *(f"  {line}" for line in others)]
    return [rows, *lines]


def _time(points: Sequence[Point]) -> str:
    """Return which time the points are of, as the start of a heading; empty where none has one."""
    names = dict.fromkeys(point.time for point in points if point.time)
    return f"{' or '.join(names)} " if names else ""


def document(points: Sequence[Point], case: str, metric: str) -> dict[str, object]:
    """Return what --json prints of a trend: requests per second, or µs."""
    return {"format": FORMAT, "case": case, "metric": metric, "runs": [to_plain(point) for point in points]}
