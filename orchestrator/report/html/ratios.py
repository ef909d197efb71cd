"""Comparisons as forest plots: one for each pair of servers under a load, all on the same axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analyse.people import digits
from orchestrator.report.html.figures import Figure, Ratio, across_of, forest, interval_text
from orchestrator.result import ComparedMetric, Comparison, Conclusion

# More pairs than these are in the table only.
MOST = 12
_BETTER = {Conclusion.FASTER: True, Conclusion.SLOWER: False}


@dataclass(frozen=True, slots=True)
class Pair:
    """A candidate against its baseline under a load."""

    heading: str
    figure: Figure


def pairs(comparisons: Sequence[Comparison], between_runs: bool) -> list[Pair]:
    """Return a plot for each pair that could be compared."""
    grouped: dict[str, list[Ratio]] = {}
    for c in comparisons:
        heading = f"{c.target}/{c.load}" if between_runs else f"{c.candidate} compared with {c.baseline}, load {c.load}"
        if (row := _row(c)) is not None:
            grouped.setdefault(heading, []).append(row)
    across = across_of([row for rows in grouped.values() for row in rows]) if grouped else (0.5, 2.0)
    return [
        Pair(heading, forest(rows, across, f"forest-{i}", f"{heading}: ratios with their intervals"))
        for i, (heading, rows) in enumerate(grouped.items())
    ][:MOST]


def _row(c: Comparison) -> Ratio | None:
    if c.ratio is None or c.ratio.estimate <= 0:
        return None
    low, high = c.ratio.low or c.ratio.estimate, c.ratio.high or c.ratio.estimate
    side = "more is better" if c.metric is ComparedMetric.THROUGHPUT else "less is better"
    text = f"{c.metric.label}: {c.ratio.estimate:.3g}×, {interval_text(c.ratio.low, c.ratio.high)}: {c.conclusion} ({side})"
    return Ratio(
        f"{c.metric.label}  {digits(c.ratio.estimate)}×", low, c.ratio.estimate, high, _BETTER.get(c.conclusion), text
    )
