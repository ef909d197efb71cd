"""Figures of a run for notebooks, made with plotly. Every axis has its unit, every time its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UsageError
from orchestrator.result import Verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from orchestrator.data.run import Run

_COLOURS = ("#0969da", "#cf222e", "#1a7f37", "#9a6700", "#8250df", "#57606a", "#bf3989", "#1b7c83")
_SYMBOLS = {Verdict.VALID: "circle", Verdict.SUSPECT: "triangle-up", Verdict.INVALID: "x"}


def figure(run: Run, kind: str | None) -> go.Figure:
    """Return a figure of a run.

    Raise UsageError for a kind that does not exist or that the run has no data for, and without plotly.
    """
    try:
        import plotly  # noqa: F401
    except ImportError:
        raise UsageError("the plotly package is not installed", "pip install 'volley-load[plot]'") from None
    chosen = kind or ("capacity" if run.summary.saturation else "spectrum")
    if chosen not in KINDS:
        raise UsageError(f"{chosen!r} is not a kind of figure", f"write one of: {', '.join(KINDS)}")
    figure = KINDS[chosen](run)
    if not figure.data:
        raise UsageError(f"{run.name} has no data for a figure of kind {chosen!r}", "choose another kind")
    figure.update_layout(template="simple_white", title=_escaped(f"{run.name}: {run.verdict}"), hovermode="closest")
    return figure


def _escaped(text: str) -> str:
    """Return text for plotly, which takes titles and names for HTML."""
    from markupsafe import escape

    return str(escape(text))


def _empty() -> go.Figure:
    import plotly.graph_objects as go

    return go.Figure()


def _lines(figure: go.Figure, name: str, position: int, **of_line: Any) -> None:
    line = {"color": _COLOURS[position % len(_COLOURS)], **of_line.pop("line", {})}
    figure.add_scatter(name=_escaped(name), legendgroup=name, line=line, **of_line)


def _spectrum(run: Run) -> go.Figure:
    """Percentiles of each case, on an axis that shows the tail."""
    figure, smallest = _empty(), 0.1
    for position, case in enumerate(run.case_names()):
        histogram = run.histogram(case)
        points = histogram.spectrum()
        if points.empty:
            continue
        beyond = 1 / (1 - points["quantile"])
        smallest = min(smallest, 1 / float(beyond.iloc[-1]))
        _lines(
            figure,
            f"{case}, {histogram.time}",
            position,
            x=beyond,
            y=points["time_us"] / 1000,
            customdata=100 * points["quantile"],
            mode="lines",
            hovertemplate="p%{customdata:.4~g}: %{y:.3~g} ms<extra>%{fullData.name}</extra>",
        )
    ticks = [(2.0, "p50"), (10.0, "p90"), (100.0, "p99"), (1e3, "p99.9"), (1e4, "p99.99"), (1e5, "p99.999")]
    shown = [(at, text) for at, text in ticks if at <= 1 / smallest * 1.01]
    tickvals, ticktext = [at for at, _ in shown], [text for _, text in shown]
    figure.update_xaxes(title="percentile", type="log", tickvals=tickvals, ticktext=ticktext)
    figure.update_yaxes(title="ms", type="log")
    return figure


def _throughput(run: Run) -> go.Figure:
    """Throughput of each trial, in the order in which they ran."""
    figure, trials = _empty(), run.trials[run.trials["throughput_per_s"].notna()]
    for position, (case, own) in enumerate(trials.groupby("case", sort=False)):
        _lines(
            figure,
            str(case),
            position,
            x=own["trial"],
            y=own["throughput_per_s"],
            mode="markers+lines",
            marker={"symbol": [_SYMBOLS[Verdict(verdict)] for verdict in own["verdict"]], "size": 9},
            line={"width": 1, "dash": "dot"},
            text=own["verdict"],
            hovertemplate="trial %{x}: %{y:,.0f} answers/s, %{text}<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(title="trial")
    figure.update_yaxes(title="successful answers per second", rangemode="tozero")
    return figure


def _series(run: Run) -> go.Figure:
    """Throughput over time, a line for each trial."""
    return _over_time(
        run, {"throughput": lambda rows: rows["ok"] / rows["interval_s"]}, "successful answers per second"
    )


def _times(run: Run) -> go.Figure:
    """The p50 and p99 of service time over time, a line for each trial."""
    columns = {"p50": lambda rows: rows["p50_us"] / 1000, "p99": lambda rows: rows["p99_us"] / 1000}
    return _over_time(run, columns, "service time, ms")


def _over_time(run: Run, columns: dict[str, Callable[[Any], Any]], axis: str) -> go.Figure:
    figure, places = _empty(), {case: position for position, case in enumerate(run.case_names())}
    shown: set[str] = set()
    for (trial, case), rows in run.series.groupby(["trial", "case"], sort=False):
        for dash, (name, value) in zip(("solid", "dot"), columns.items(), strict=False):
            label = str(case) if len(columns) == 1 else f"{case} {name}"
            _lines(
                figure,
                label,
                places[str(case)],
                x=rows["second"],
                y=value(rows),
                mode="lines",
                line={"dash": dash, "width": 1.5},
                showlegend=label not in shown,
                hovertemplate=f"trial {trial}, %{{x}} s: %{{y:.4~g}}<extra>%{{fullData.name}}</extra>",
            )
            shown.add(label)
    figure.update_xaxes(title="seconds since the window opened")
    figure.update_yaxes(title=axis, rangemode="tozero")
    return figure


def _capacity(run: Run) -> go.Figure:
    """Every probe of a search: the rate asked for against the p99 of response time."""
    figure, probes = _empty(), run.saturation[run.saturation["kind"] != "estimate"]
    for position, (target, own) in enumerate(probes.groupby("target", sort=False)):
        _lines(
            figure,
            str(target),
            position,
            x=own["rate_per_s"],
            y=own["response_time_p99_us"] / 1000,
            mode="markers",
            marker={"symbol": ["circle" if passed else "x" for passed in own["passed"]], "size": 9},
            text=["objective met" if passed else "objective not met" for passed in own["passed"]],
            hovertemplate="%{x:,.0f}/s: %{y:.3~g} ms, %{text}<extra>%{fullData.name}</extra>",
        )
    for search in run.summary.saturation:
        found = search.capacity_per_s
        if found is not None and found.low is not None and found.high is not None:
            figure.add_vrect(found.low, found.high, fillcolor=_COLOURS[0], opacity=0.12, line_width=0)
    figure.update_xaxes(title="requests due per second")
    figure.update_yaxes(title="response time p99, ms", type="log")
    return figure


KINDS: dict[str, Callable[[Run], Any]] = {
    "spectrum": _spectrum,
    "throughput": _throughput,
    "series": _series,
    "times": _times,
    "capacity": _capacity,
}
