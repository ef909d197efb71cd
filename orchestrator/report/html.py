"""report.html of a search for capacity.

One file that needs no network, with a curve of each target to zoom into.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.facts import Environment
from orchestrator.report import curve
from orchestrator.report.capacity import SHOWN_TIMES, answers, by_rate, cells, met
from orchestrator.report.curve import State
from orchestrator.result import Probe, Saturation, Summary

_COLOURS = {State.MET: "#1a7f37", State.NOT_MET: "#cf222e", State.NOT_COUNTED: "#8c959f"}
_SYMBOLS = {State.MET: "circle", State.NOT_MET: "x", State.NOT_COUNTED: "circle-open"}
_BAND, _LINE = "#0969da", "#57606a"
HEIGHT = 460


def page(summary: Summary, environment: Environment | None) -> str:
    """Return the page.

    Names and messages come from files and servers, so the template escapes them.
    """
    import jinja2
    from plotly.offline import get_plotlyjs

    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("orchestrator.report"),
        autoescape=jinja2.select_autoescape(default=True),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template("saturation.html.jinja").render(
        summary=summary,
        searches=[_search(search, f"curve-{i}") for i, search in enumerate(summary.saturation)],
        times=SHOWN_TIMES,
        environment=environment,
        plotly=get_plotlyjs(),
    )


@dataclass(frozen=True, slots=True)
class _Search:
    """What the template shows of one search. rows: each probe with its columns."""

    result: Saturation
    answers: list[str]
    rows: list[tuple[Probe, list[str]]]
    chart: str


def _search(search: Saturation, name: str) -> _Search:
    rows = [(probe, [*cells(probe), met(probe)]) for probe in by_rate(search)]
    return _Search(search, answers(search), rows, _chart(curve.curve_of(search), name))


def _chart(drawn: curve.Curve, name: str) -> str:
    """Return the curve as a piece of HTML: probes, the objective's line, the interval's band."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for state, colour in _COLOURS.items():
        points = [point for point in drawn.points if point.state == state]
        if points:
            figure.add_scatter(
                x=[point.x_per_s for point in points],
                y=[point.y for point in points],
                mode="markers",
                name=state,
                marker={"color": colour, "symbol": _SYMBOLS[state], "size": 9},
                text=[_hover_text(point.probe) for point in points],
                hovertemplate="%{x:.0f}/s: %{y:.3g}<br>%{text}<extra></extra>",
            )
    # Explicit ranges: plotly's own include the line and band, which have no end on a logarithmic
    # axis.
    rates = [point.x_per_s for point in drawn.points] or [1.0]
    heights = [point.y for point in drawn.points] + [drawn.limit or 1.0]
    across, up = _ends(rates), _ends(heights)
    if drawn.limit is not None:
        line, label = {"color": _LINE, "dash": "dash"}, f"objective {drawn.limit:g}"
        figure.add_scatter(x=across, y=[drawn.limit] * 2, mode="lines", line=line, name=label, hoverinfo="name")
    capacity = drawn.capacity
    if capacity is not None and capacity.low is not None and capacity.high is not None:
        label = f"capacity {capacity.estimate:.0f}/s ({capacity.low:.0f} to {capacity.high:.0f}/s)"
        band = {"fillcolor": _BAND, "opacity": 0.15, "line_width": 0}
        figure.add_vrect(capacity.low, capacity.high, **band, name=label, showlegend=True)
        figure.add_vline(capacity.estimate, line={"color": _BAND, "width": 1})
    figure.update_xaxes(title="requests due per second", **_logarithmic(across))
    figure.update_yaxes(title=drawn.label, **(_logarithmic(up) if drawn.logarithmic else {"rangemode": "tozero"}))
    figure.update_layout(
        template="simple_white", height=HEIGHT, margin={"t": 30}, legend={"orientation": "h", "y": -0.2}
    )
    return str(figure.to_html(full_html=False, include_plotlyjs=False, div_id=name))


def _ends(values: list[float]) -> tuple[float, float]:
    """Return the ends of a logarithmic axis, with some room."""
    low, high = max(1e-3, min(values)), max(1e-3, *values)
    room = (high / low) ** 0.08 if high > low else 1.1
    return low / room, high * room


def _logarithmic(ends: tuple[float, float]) -> dict[str, object]:
    ticks = curve.ticks(*ends)
    return {
        "type": "log",
        "range": [math.log10(end) for end in ends],
        "tickvals": ticks,
        "ticktext": [f"{at:g}" for at in ticks],
    }


def _hover_text(probe: Probe) -> str:
    """Return what is shown beside the pointer; plotly takes it for HTML."""
    from markupsafe import escape

    return str(escape(f"trial {probe.trial}, {probe.kind}: {met(probe)}; {probe.resource or probe.verdict}"))
