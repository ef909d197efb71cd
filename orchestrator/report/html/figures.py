"""Plots as plotly's JSON, made without plotly's Python: a figure has views, and a group switches views together.

Every text that is not a constant goes through plotted(), because plotly takes text for HTML.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from orchestrator.analyse.people import count, digits
from orchestrator.counted import REQUESTS, Counted
from orchestrator.report import curve
from orchestrator.report.curve import State
from orchestrator.report.html.text import plotted, visible

Json = dict[str, Any]

# Readable on white and on black.
PALETTE = ("#3b82f6", "#f59e0b", "#10b981", "#ec4899", "#8b5cf6", "#06b6d4", "#ef4444", "#84cc16")
GOOD, BAD, QUIET = "#16a34a", "#dc2626", "#8b949e"
# Fewer points than these would hardly be seen as a line.
_FEWEST_FOR_A_LINE = 5
# The share of an axis of ratios that the label of 1 takes.
_NEAR_ONE = 0.09
# An axis of more decades than these has powers of ten only.
_MOST_DECADES = 2
_MOST_RATIOS = 6
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "triangle-down")


@dataclass(frozen=True, slots=True)
class View:
    """One state of a plot."""

    name: str
    data: list[Json]
    layout: Json


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot of a page.

    about: what it shows, for people who cannot see it. group: plots whose views are switched together.
    """

    id: str
    about: str
    views: list[View]
    height: int = 380
    group: str = ""
    notes: list[str] = field(default_factory=list)

    def plain(self) -> Json:
        """Return what the page's script reads."""
        return {
            "id": self.id,
            "group": self.group,
            "height": self.height,
            "views": [asdict(replace(view, name=visible(view.name))) for view in self.views],
        }


def colour(index: int) -> str:
    """Return the colour of a case."""
    return PALETTE[index % len(PALETTE)]


def faint(colour_: str) -> str:
    """Return a colour as a band."""
    red, green, blue = (int(colour_[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"


def line(name: str, x: Sequence[float], y: Sequence[float | None], colour_: str, hover: str, **more: Any) -> Json:
    """Return a line. hover: the value with its unit, in plotly's notation; the name stands before it."""
    shown = plotted(name)
    return {
        "type": "scatter",
        "mode": "lines" if len(x) >= _FEWEST_FOR_A_LINE else "lines+markers",
        "name": shown,
        "x": list(x),
        "y": [rounded(value) for value in y],
        "line": {"color": colour_, "width": 2},
        "hovertemplate": f"{hover}<extra>%{{fullData.name}}</extra>",
        **more,
    }


def band(x: Sequence[float], low: Sequence[float | None], high: Sequence[float | None], colour_: str) -> Json:
    """Return the area between two lines; where one has no value, the area ends."""
    both = [
        (at, rounded(a), rounded(b)) for at, a, b in zip(x, low, high, strict=True) if a is not None and b is not None
    ]
    there = [at for at, _, _ in both]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": there + there[::-1],
        "y": [a for _, a, _ in both] + [b for _, _, b in both][::-1],
        "fill": "toself",
        "fillcolor": faint(colour_),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def rounded(value: float | None) -> float | None:
    """Return a number with four significant digits: a plot shows no more."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.4g}")


def axis(title: str, **more: Any) -> Json:
    """Return an axis."""
    return {"title": {"text": title}, **more}


def ends(values: Sequence[float], room: float = 0.08) -> tuple[float, float]:
    """Return the ends of a logarithmic axis, with some room."""
    above_zero = [value for value in values if value > 0] or [1.0]
    low, high = min(above_zero), max(above_zero)
    factor = (high / low) ** room if high > low * 1.001 else 1.2
    return low / factor, high * factor


def logarithmic(title: str, low: float, high: float, label: str = "") -> Json:
    """Return a logarithmic axis with round numbers. label: a unit after each."""
    at = curve.ticks(low, high)
    names = [f"{count(tick) if tick >= 1000 else f'{tick:g}'}{label}" for tick in at]
    ranged = [math.log10(low), math.log10(high)]
    return axis(title, type="log", range=ranged, tickvals=at, ticktext=names)


def capacity_curve(drawn: curve.Curve, texts: Sequence[str], name: str) -> Figure:
    """Return the curve of a search: its probes, the objective's line, the interval's band. texts: of each point."""
    data: list[Json] = []
    marks = {State.MET: (GOOD, "circle"), State.NOT_MET: (BAD, "x"), State.NOT_COUNTED: (QUIET, "circle-open")}
    for state, (shade, symbol) in marks.items():
        points = [(point, text) for point, text in zip(drawn.points, texts, strict=True) if point.state == state]
        if points:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": str(state),
                    "x": [point.x_per_s for point, _ in points],
                    "y": [point.y for point, _ in points],
                    "marker": {"color": shade, "symbol": symbol, "size": 10},
                    "customdata": [plotted(text) for _, text in points],
                    "hovertemplate": "%{x:,.0f}/s: %{y:.3g}<br>%{customdata}<extra></extra>",
                }
            )
    # Explicit ranges: plotly's own include the line and the band, which have no end on a logarithmic axis.
    across = ends([point.x_per_s for point in drawn.points] or [1.0])
    up = ends([max(1e-3, point.y) for point in drawn.points] + [drawn.limit or 1.0])
    shapes: list[Json] = []
    capacity = drawn.capacity
    if drawn.limit is not None:
        label = f"objective {drawn.limit:g}"
        dashed = {"color": QUIET, "dash": "dash", "width": 2}
        data.append(line(label, across, [drawn.limit] * 2, QUIET, label, mode="lines") | {"line": dashed})
    if capacity is not None and capacity.low is not None and capacity.high is not None:
        label = f"capacity {count(capacity.estimate)}/s ({count(capacity.low)} to {count(capacity.high)}/s)"
        data.append(line(label, [capacity.estimate] * 2, up, PALETTE[0], label, mode="lines"))
        shapes.append(
            {"type": "rect", "x0": capacity.low, "x1": capacity.high, "y0": 0, "y1": 1, "yref": "paper"}
            | {"fillcolor": PALETTE[0], "opacity": 0.18, "line": {"width": 0}, "layer": "below"}
        )
    y = logarithmic(drawn.label, *up) if drawn.logarithmic else axis(drawn.label, rangemode="tozero")
    layout = {"xaxis": logarithmic(f"{drawn.sent.many} due per second", *across), "yaxis": y, "shapes": shapes}
    hidden = [f"{drawn.hidden} probes without an answer are not shown."] if drawn.hidden else []
    return Figure(name, f"{drawn.label} against rate", [View("", data, layout)], 440, notes=hidden)


@dataclass(frozen=True, slots=True)
class Ratio:
    """One row of a forest plot. better: whether the candidate is; None where that is not settled."""

    label: str
    low: float
    estimate: float
    high: float
    better: bool | None
    text: str


def forest(rows: Sequence[Ratio], across: tuple[float, float], name: str, about: str) -> Figure:
    """Return ratios with their intervals around 1, the first at the top. across: the ends of the axis."""
    shades = {True: GOOD, False: BAD, None: QUIET}
    data = []
    for row in rows:
        shown = {key: min(max(value, across[0]), across[1]) for key, value in (("low", row.low), ("high", row.high))}
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [shown["low"], row.estimate, shown["high"]],
                "y": [plotted(row.label)] * 3,
                "line": {"color": shades[row.better], "width": 3},
                "marker": {"color": shades[row.better], "size": [1, 11, 1], "symbol": "square"},
                "customdata": [plotted(row.text)] * 3,
                "hovertemplate": "%{customdata}<extra></extra>",
                "showlegend": False,
            }
        )
    same = {"type": "line", "x0": 1, "x1": 1, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": QUIET, "width": 1}}
    layout = {
        "xaxis": _ratios(*across),
        "yaxis": {"autorange": "reversed", "type": "category", "automargin": True, "showgrid": False},
        "shapes": [same | {"layer": "below"}],
        "hovermode": "closest",
        "margin": {"t": 10, "r": 16, "b": 36, "l": 10},
    }
    return Figure(name, about, [View("", data, layout)], 70 + 34 * len(rows))


def _ratios(low: float, high: float) -> Json:
    """Return a logarithmic axis of ratios, with 1 among its numbers."""
    ranged = [math.log10(low), math.log10(high)]
    length = ranged[1] - ranged[0]
    if length > _MOST_DECADES:
        step = math.ceil(length / _MOST_RATIOS)
        at = [10.0**n for n in range(math.ceil(ranged[0]), math.floor(ranged[1]) + 1) if n % step == 0]
    else:
        at = curve.ticks(low, high)
    ticks = sorted([*(tick for tick in at if abs(math.log10(tick)) > _NEAR_ONE * length), 1.0])
    return axis("", type="log", range=ranged, tickvals=ticks, ticktext=[f"{tick:g}×" for tick in ticks])


def across_of(rows: Sequence[Ratio]) -> tuple[float, float]:
    """Return the ends of the axis of forest plots: all intervals and 1, but not without end."""
    low, high = ends([1.0, 0.9, 1.1, *(value for row in rows for value in (row.low, row.estimate, row.high))])
    least, most = (edge(row.estimate for row in rows) for edge in (min, max))
    return max(low, min(0.1, least / 3)), min(high, max(10.0, most * 3))


def scaling_plot(
    clients: Sequence[int],
    per_s: Sequence[float],
    law: tuple[Sequence[float], Sequence[float]] | None,
    name: str,
    sent: Counted = REQUESTS,
) -> Figure:
    """Return throughput by the number of clients, with the law's curve where it fits."""
    measured = line("measured", clients, per_s, PALETTE[0], "%{x} clients: %{y:,.4r} " + sent.per_s)
    data = [measured | {"mode": "markers", "marker": {"size": 10, "color": PALETTE[0]}}]
    if law is not None:
        data.append(line("universal scalability law", *law, PALETTE[1], "%{x:.0f} clients: %{y:,.4r} " + sent.per_s))
    layout = {
        "xaxis": axis("clients", rangemode="tozero"),
        "yaxis": axis(f"{sent.many} per second", rangemode="tozero"),
    }
    return Figure(name, "throughput by number of clients", [View("", data, layout)], 400)


def interval_text(low: float | None, high: float | None) -> str:
    """Return an interval of ratios."""
    return "no interval" if low is None or high is None else f"95 % interval {digits(low)}–{digits(high)}×"
