"""report.html of a search for capacity: one file that needs no network, with the curve of each target to zoom into."""

from __future__ import annotations

import math
from typing import Any

from orchestrator.facts import Environment
from orchestrator.report import curve
from orchestrator.report.capacity import answers, cells, met
from orchestrator.result import Probe, Saturation, Summary

_COLOURS = {curve.MET: "#1a7f37", curve.NOT_MET: "#cf222e", curve.NOT_COUNTED: "#8c959f"}
_SYMBOLS = {curve.MET: "circle", curve.NOT_MET: "x", curve.NOT_COUNTED: "circle-open"}
_BAND, _LINE = "#0969da", "#57606a"
HEIGHT = 460


def page(summary: Summary, environment: Environment | None) -> str:
    """Give the page. Names and messages come from files and servers: the template escapes them."""
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
        searches=[_search(one, f"curve-{i}") for i, one in enumerate(summary.saturation)],
        environment=environment,
        plotly=get_plotlyjs(),
    )


def _search(found: Saturation, name: str) -> dict[str, Any]:
    rows = [(probe, [*cells(probe), met(probe)]) for probe in sorted(found.curve, key=lambda p: p.rate_per_s)]
    return {"found": found, "answers": answers(found), "rows": rows, "chart": _chart(curve.curve_of(found), name)}


def _chart(drawn: curve.Curve, name: str) -> str:
    """Give the curve as a piece of HTML: probes, the objective's line, the interval's band."""
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
                text=[_told(point.probe) for point in points],
                hovertemplate="%{x:.0f}/s: %{y:.3g}<br>%{text}<extra></extra>",
            )
    # The ranges are given: plotly's own take in what is drawn across, which has no place on a logarithmic axis.
    rates = [point.x_per_s for point in drawn.points] or [1.0]
    heights = [point.y for point in drawn.points] + [drawn.limit or 1.0]
    across, up = _ends(rates), _ends(heights)
    if drawn.limit is not None:
        line, told = {"color": _LINE, "dash": "dash"}, f"objective {drawn.limit:g}"
        figure.add_scatter(x=across, y=[drawn.limit] * 2, mode="lines", line=line, name=told, hoverinfo="name")
    capacity = drawn.capacity
    if capacity is not None and capacity.low is not None and capacity.high is not None:
        told = f"capacity {capacity.estimate:.0f}/s ({capacity.low:.0f} to {capacity.high:.0f}/s)"
        band = {"fillcolor": _BAND, "opacity": 0.15, "line_width": 0}
        figure.add_vrect(capacity.low, capacity.high, **band, name=told, showlegend=True)
        figure.add_vline(capacity.estimate, line={"color": _BAND, "width": 1})
    figure.update_xaxes(title="requests due per second", **_logarithmic(across))
    figure.update_yaxes(title=drawn.label, **(_logarithmic(up) if drawn.logarithmic else {"rangemode": "tozero"}))
    figure.update_layout(
        template="simple_white", height=HEIGHT, margin={"t": 30}, legend={"orientation": "h", "y": -0.2}
    )
    return str(figure.to_html(full_html=False, include_plotlyjs=False, div_id=name))


def _ends(values: list[float]) -> tuple[float, float]:
    """Give the ends of a logarithmic axis, with some room."""
    low, high = max(1e-3, min(values)), max(1e-3, *values)
    room = (high / low) ** 0.08 if high > low else 1.1
    return low / room, high * room


def _logarithmic(ends: tuple[float, float]) -> dict[str, Any]:
    ticks = curve.ticks(*ends)
    return {
        "type": "log",
        "range": [math.log10(end) for end in ends],
        "tickvals": ticks,
        "ticktext": [f"{at:g}" for at in ticks],
    }


def _told(probe: Probe) -> str:
    """What is shown beside the pointer; plotly takes it for HTML."""
    from markupsafe import escape

    return str(escape(f"trial {probe.trial}, {probe.kind}: {met(probe)}; {probe.resource or probe.verdict}"))
