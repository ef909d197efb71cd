"""The curve of a search for capacity: rate against the objective that failed first.

Drawn for a terminal and for a page.

The terminal's is drawn by hand: the one maintained library with both axes exits when a shape lies
off its canvas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from orchestrator.counted import REQUESTS, Counted, counted
from orchestrator.report.layout import wrapped
from orchestrator.result import Interval, Probe, Saturation
from orchestrator.search.records import Kind
from orchestrator.slo import ERRORS, TIMES, Metric, Term, TimeName

WIDTH, HEIGHT = 70, 14
_LEAST = 20
# The lowest curve that shows anything, and the lines of its axis and legend.
LOWEST, BESIDE = 5, 4


class State(StrEnum):
    """How a probe is marked."""

    MET = "met"
    NOT_MET = "not met"
    NOT_COUNTED = "not counted"


MARKS = {State.MET: "●", State.NOT_MET: "×", State.NOT_COUNTED: "·"}
COLOURS = {State.MET: "green", State.NOT_MET: "red", State.NOT_COUNTED: "bright_black"}
_BAND, _LINE = "░", "─"
_LEFT = 7
# On a logarithmic axis: these times powers of ten.
_STEPS = (1, 2, 5)
_MOST_TICKS = 6


@dataclass(frozen=True, slots=True)
class Point:
    """A probe on the curve. y: ms, or % of all requests, by the curve's metric."""

    x_per_s: float
    y: float
    state: State
    probe: Probe


@dataclass(frozen=True, slots=True)
class Curve:
    """What is drawn: the points, the objective's limit, the capacity.

    label: of the y axis, with its unit.
    logarithmic: the y axis is; the x axis always is. hidden: probes without a value, because
    nothing was answered. sent: what the rates are of.
    """

    target: str
    label: str
    limit: float | None
    points: list[Point]
    capacity: Interval | None
    logarithmic: bool
    hidden: int
    sent: Counted = REQUESTS


def curve_of(search: Saturation) -> Curve:
    """Return what to draw.

    The objective that failed first, else the first one about a time, else p99 alone.
    """
    term = _shown(search)
    metric = Metric.P99 if term is None else term.metric
    share = metric == ERRORS
    # Light loads show whether the server has recovered, and nothing about the rate.
    probes = [probe for probe in search.curve if probe.kind != Kind.REFERENCE]
    points = []
    for probe in probes:
        value = probe.error_share if share else probe.response_time_us.get(metric)
        # The axis of rates is logarithmic. A file that somebody changed can hold any number.
        if value is not None and 0 < probe.rate_per_s < math.inf:
            points.append(Point(probe.rate_per_s, value * 100 if share else value / 1000, state_of(probe), probe))
    limit = None if term is None else term.limit * 100 if share else term.limit / 1000
    sent = counted([search.protocol])
    label = f"{sent.many} that failed, %" if share else f"response time {metric.label}, ms"
    hidden = len(probes) - len(points)
    return Curve(search.target, label, limit, points, search.capacity_per_s, not share, hidden, sent)


def state_of(probe: Probe) -> State:
    """Return how a probe is marked."""
    if probe.limited_by is not None:
        return State.NOT_COUNTED
    return State.MET if probe.passed else State.NOT_MET


def _shown(search: Saturation) -> Term | None:
    # A probe has the times of all requests together, and no time to the first byte.
    of_all = [term for term in search.terms if term.request is None and term.time is not TimeName.FIRST_BYTE]
    drawable = [term for term in of_all if term.metric in (*TIMES, ERRORS)]
    first = [term for term in drawable if term.text == search.gave_way]
    return next(iter([*first, *(term for term in drawable if term.metric in TIMES), *drawable]), None)


def drawn(curve: Curve, columns: int = WIDTH + _LEFT + 1, lines: int = HEIGHT) -> Any:
    """Return the curve drawn with characters, for rich.

    columns: at most, of the terminal. lines: its height without axis and legend.

    An empty text where there is nothing to draw yet.
    """
    from rich.text import Text

    if not curve.points:
        return Text()
    width = max(_LEAST, min(WIDTH, columns - _LEFT - 1))
    rates = [math.log10(point.x_per_s) for point in curve.points]
    heights = [_height(curve, point.y) for point in curve.points]
    limits = [] if curve.limit is None else [_height(curve, curve.limit)]
    across, up = _Axis.over(rates, width), _Axis.over(heights + limits, lines)
    rows = [[" "] * width for _ in range(lines)]
    for at in limits:
        rows[up.cell(at)] = [_LINE] * width
    if curve.capacity is not None and curve.capacity.low and curve.capacity.high:
        first, last = (across.cell(math.log10(rate)) for rate in (curve.capacity.low, curve.capacity.high))
        for row in rows:
            row[first : last + 1] = [_BAND] * (last + 1 - first)
    # Met is drawn last: where two probes share a cell, the server still met the objective there.
    for state in (State.NOT_COUNTED, State.NOT_MET, State.MET):
        for point, rate, up_at in zip(curve.points, rates, heights, strict=True):
            if point.state == state:
                rows[up.cell(up_at)][across.cell(rate)] = MARKS[state]
    names = {up.cell(at): name for at, name in _levels(curve, up)}
    drawing = [
        f"{names.get(i, ''):>{_LEFT}}{'┤' if i in names else '│'}{''.join(rows[i])}".rstrip() for i in range(lines)
    ]
    text = Text("\n".join([*reversed(drawing), *_below(across)]))
    for state, mark in MARKS.items():
        text.highlight_regex(mark, COLOURS[state])
    return text.append(f"\n{_legend(curve, columns)}")


@dataclass(frozen=True, slots=True)
class _Axis:
    """Numbers from low to high on this many cells.

    Numbers outside fall on the first or last one.
    """

    low: float
    high: float
    cells: int

    @staticmethod
    def over(values: Sequence[float], cells: int) -> _Axis:
        """Return an axis with room around some values, also where they are all equal."""
        room = 0.06 * (max(values) - min(values)) or 0.05
        return _Axis(min(values) - room, max(values) + room, cells)

    def cell(self, value: float) -> int:
        share = (value - self.low) / (self.high - self.low)
        return min(self.cells - 1, max(0, int(share * self.cells)))


def _below(across: _Axis) -> list[str]:
    """Return the x axis and its names; a name that would run into the one before is left out."""
    axis, names = ["─"] * across.cells, [" "] * (_LEFT + 1)
    for rate in ticks(10**across.low, 10**across.high):
        at, name = across.cell(math.log10(rate)), f"{rate:,g}"
        # A name at the right end must not make the line longer.
        begins = min(_LEFT + 1 + at - len(name) // 2, _LEFT + 1 + across.cells - len(name))
        if begins > len(names) or len(names) == _LEFT + 1:
            axis[at] = "┬"
            names += [" "] * (begins - len(names)) + list(name)
    return [f"{' ' * _LEFT}└{''.join(axis)}", "".join(names)]


def _legend(curve: Curve, columns: int) -> str:
    states = [f"{mark} {state}" for state, mark in MARKS.items() if any(p.state == state for p in curve.points)]
    limit = [] if curve.limit is None else [f"─ {curve.limit:,g}, the objective"]
    band = [] if curve.capacity is None else [f"{_BAND} the capacity"]
    gone = [f"{curve.hidden} probes without an answer are not shown"] if curve.hidden else []
    return "\n".join(
        line
        for parts in ([f"{curve.label}, against {curve.sent.many} due per second"], [*states, *limit, *band, *gone])
        for line in wrapped("; ".join(parts), columns, "    ")
    )


def _height(curve: Curve, y: float) -> float:
    return math.log10(max(y, 1e-3)) if curve.logarithmic else y


def _levels(curve: Curve, up: _Axis) -> list[tuple[float, str]]:
    if curve.logarithmic:
        return [(math.log10(at), f"{at:,g}") for at in ticks(10**up.low, 10**up.high)]
    return [(at, f"{at:.3g}") for at in (max(0.0, up.low), (max(0.0, up.low) + up.high) / 2, up.high)]


def ticks(low: float, high: float) -> list[float]:
    """Return a handful of round numbers within.

    1, 2 and 5 times powers of ten, or finer where those are too few.
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    rounds = [step * 10.0**decade for decade in decades for step in _STEPS]
    within = [at for at in rounds if low <= at <= high]
    if len(within) < 3:
        size = 10.0 ** math.floor(math.log10(high - low))
        size = size / 2 if (high - low) / size < 3 else size
        within = [at * size for at in range(math.ceil(low / size), math.floor(high / size) + 1)]
    return within[:: math.ceil(len(within) / _MOST_TICKS)]
