"""One case over the runs of a folder, with the points at which it changed: what `volley trend` shows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from orchestrator.analyse.changes import change_points
from orchestrator.analyse.sameness import Circumstances, differences
from orchestrator.errors import StoredRunError, UsageError
from orchestrator.result import Difference, Interval, Point, Verdict
from orchestrator.slo import THROUGHPUT, TIMES
from orchestrator.stored.compare import circumstances_of
from orchestrator.stored.folder import read_summary, runs_in

METRICS = (THROUGHPUT, *TIMES)


def trend(folder: Path, case: str, metric: str, smallest_effect: float) -> list[Point]:
    """Give a case's metric (per second, or µs) over the finished runs of a folder, the oldest first.

    Raises UsageError when no run has the case, or the metric is none.
    """
    if metric not in METRICS:
        raise UsageError(f"there is no metric {metric!r}", f"the metrics are: {', '.join(METRICS)}")
    found: list[tuple[Path, dict[str, Any]]] = []
    seen: dict[str, None] = {}
    for run in runs_in(folder):
        try:
            cases = {one["case"]: one for one in read_summary(run).get("cases", [])}
        except (StoredRunError, KeyError, TypeError):
            continue  # not finished, or not ours: `volley runs` lists it
        seen |= dict.fromkeys(cases)
        if case in cases:
            found.append((run, cases[case]))
    if not found:
        known = f"the cases there are: {', '.join(seen)}" if seen else f"no finished run is in {folder}"
        raise UsageError(f"no run has the case {case!r}", known)
    return _marked(found, metric, smallest_effect, case)


def _marked(found: list[tuple[Path, dict[str, Any]]], metric: str, smallest_effect: float, case: str) -> list[Point]:
    values = [_value(one, metric) for _, one in found]
    known = [i for i, value in enumerate(values) if value is not None]
    logs = [math.log(value.estimate) for value in values if value is not None]
    starts = change_points(logs, math.log1p(smallest_effect))
    edges = [0, *starts, len(logs)]
    points = [Point(run.name, one["verdict"], value) for (run, one), value in zip(found, values, strict=True)]
    for position, start in enumerate(starts, 1):
        before, after = (logs[edges[i] : edges[i + 1]] for i in (position - 1, position))
        change = math.exp(sum(after) / len(after) - sum(before) / len(before)) - 1
        here, previous = known[start], known[start - 1]
        unlike = _unlike(found[previous][0], found[here][0], case)
        points[here] = Point(points[here].run, points[here].verdict, values[here], change, unlike)
    return points


def _unlike(before: Path, here: Path, case: str) -> list[Difference]:
    around: list[Circumstances] = [circumstances_of(run) for run in (before, here)]
    return differences(around[0], around[1], case)


def _value(case: dict[str, Any], metric: str) -> Interval | None:
    times = case["response_time_us"] or case["service_time_us"]
    plain = case["throughput_per_s"] if metric == THROUGHPUT else times.get(metric)
    return None if plain is None or case["verdict"] == Verdict.INVALID else Interval(**plain)
