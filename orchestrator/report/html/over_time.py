"""Plots of a run's trials: percentile spectra, throughput by trial, and everything over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orchestrator.counted import REQUESTS, Counted
from orchestrator.report.conditions import counted_by
from orchestrator.report.html.collect import LEVELS, Drawn
from orchestrator.report.html.columns import Columns, columns
from orchestrator.report.html.figures import (
    BAD,
    PALETTE,
    SYMBOLS,
    Figure,
    Json,
    View,
    axis,
    band,
    colour,
    ends,
    line,
    logarithmic,
    rounded,
)
from orchestrator.result import SHAPE_PER_DECADE, Time, Trial, Verdict

# Columns of all heatmaps together: they are most of a page.
_MOST_COLUMNS, _FEWEST_COLUMNS = 300, 40
_CELLS = 4
MOST_POINTS = 600
_PERCENTILES = {1: "min", 2: "p50", 10: "p90", 100: "p99", 1000: "p99.9", 10_000: "p99.99"}
# Up to this number of trials each has its number on the axis.
_EVERY_TICK = 24
# On an axis from zero, a case this many times slower than another seems to answer nothing.
_FAR_APART = 30


def spectrum(drawn: Sequence[Drawn], colours: Mapping[str, int]) -> Figure | None:
    """Return percentiles of the times: response time first, because it is what users wait for."""
    views = []
    for time in (Time.RESPONSE, Time.SERVICE):
        having = [own for own in drawn if time in own.times and np.isfinite(own.times[time].mean).any()]
        if not having:
            continue
        data: list[Json] = []
        values: list[float] = []
        for own in having:
            found, shade = own.times[time], colour(colours[own.name])
            x = [1 / (1 - q) for q in LEVELS]
            mean = [_ms(value) for value in found.mean.tolist()]
            values += [value for value in mean if value is not None]
            if found.trials > 1:
                low, high = ([_ms(v) for v in edge.tolist()] for edge in (found.lowest, found.highest))
                values += [value for value in (*low, *high) if value is not None]
                data.append(band(x, low, high, shade))
            names = [f"p{100 * q:.6g}" for q in LEVELS]
            hover = "%{customdata}: %{y:.3r} ms"
            data.append(line(own.name, x, mean, shade, hover, customdata=names))
        ticks = {"tickvals": list(_PERCENTILES), "ticktext": list(_PERCENTILES.values())}
        furthest = max((1 / (1 - q) for own in having for q, v in zip(LEVELS, own.times[time].mean, strict=True)
                        if math.isfinite(v)), default=10)  # fmt: skip
        layout = {
            "xaxis": axis("percentile", type="log", range=[0, math.log10(furthest) * 1.02], **ticks),
            "yaxis": logarithmic(f"{time}, ms", *ends(values)),
        }
        views.append(View(str(time), data, layout))
    return Figure("spectrum", "percentiles of the times of each case", views, 420) if views else None


def by_trial(trials: Sequence[Trial], colours: Mapping[str, int]) -> Figure | None:
    """Return throughput by trial, in the order in which they ran."""
    ran = [trial for trial in trials if trial.metrics is not None]
    if len(ran) < 2:
        return None
    step = math.ceil(len(ran) / MOST_POINTS)
    data: list[Json] = []
    present = {trial.facts.case.name for trial in ran}
    for name in (name for name in colours if name in present):
        own = [trial for trial in ran if trial.facts.case.name == name][::step]
        shade, at = colour(colours.get(name, 0)), colours.get(name, 0)
        symbols = ["x" if trial.verdict == Verdict.INVALID else SYMBOLS[at % len(SYMBOLS)] for trial in own]
        shades = [BAD if trial.verdict == Verdict.INVALID else shade for trial in own]
        x = [trial.facts.number for trial in own]
        y = [trial.metrics.throughput_per_s if trial.metrics else None for trial in own]
        points = line(name, x, y, shade, "trial %{x}: %{y:,.4r} " + f"{counted_by(own).per_s}, %{{customdata}}")
        points |= {"mode": "lines+markers", "marker": {"size": 8, "color": shades, "symbol": symbols}}
        points |= {"line": {"color": shade, "width": 1, "dash": "dot"}, "customdata": [str(t.verdict) for t in own]}
        data.append(points)
    layout = {
        "xaxis": axis(
            "trial, in the order in which they ran", tickformat="d", **({"dtick": 1} if len(ran) <= _EVERY_TICK else {})
        ),
        "yaxis": _throughputs([trial.metrics.throughput_per_s for trial in ran if trial.metrics], counted_by(ran)),
    }
    notes = [f"Every {step}th trial of each case is shown."] if step > 1 else []
    return Figure("trials", "throughput by trial", [View("", data, layout)], 320, notes=notes)


def _throughputs(per_s: Sequence[float], sent: Counted) -> Json:
    """Return an axis from zero; a logarithmic one where slow cases would lie on zero beside fast ones."""
    if 0 < min(per_s) < max(per_s) / _FAR_APART:
        return logarithmic(f"{sent.many} per second", *ends(per_s))
    return axis(f"{sent.many} per second", rangemode="tozero")


def over_time(drawn: Sequence[Drawn]) -> list[Figure]:
    """Return throughput, percentiles and errors over time, and the heatmap of service time, a view for each case."""
    most = max(_FEWEST_COLUMNS, min(_MOST_COLUMNS, _MOST_COLUMNS * _CELLS // max(1, len(drawn))))
    found = [(own, columns(own, most)) for own in drawn]
    found = [(own, those) for own, those in found if those.at_s]
    if not found:
        return []
    joined = [f"{own.name}: a point stands for {those.width_s} s." for own, those in found if those.width_s > 1]
    notes = joined if len(joined) <= 3 else ["Long loads are drawn with fewer, longer intervals."]
    lines = [View(own.name, *_lines(those, own.sent)) for own, those in found]
    heat = [View(own.name, *_heatmap(those, own.sent)) for own, those in found if those.heat]
    figures = [Figure("time", "throughput, service time and errors over time", lines, 620, "case", notes)]
    if heat:
        figures.append(Figure("heat", "service times over time, by how often they occur", heat, 380, "case"))
    return figures


def _lines(those: Columns, sent: Counted = REQUESTS) -> tuple[list[Json], Json]:
    x = [(at + min(at + those.width_s, those.end_s)) / 2 for at in those.at_s]
    with_errors = any(those.errors_per_s)
    times = [value / 1e3 for value in (*those.p50_us, *those.p99_us) if value is not None]
    span = "%{x} s: "
    marks = {"mode": "lines+markers", "marker": {"size": 5}}
    data = [
        line("throughput", x, those.answered_per_s, PALETTE[0], span + "%{y:,.4r} " + sent.per_s, **marks),
        *(
            line(name, x, [_ms(v) for v in values], shade, span + "%{y:.3r} ms", yaxis="y2", **marks)
            for name, values, shade in (("p50", those.p50_us, PALETTE[2]), ("p99", those.p99_us, PALETTE[1]))
            if any(value is not None for value in values)
        ),
    ]
    domains = ([0.68, 1], [0.32, 0.6], [0, 0.22]) if with_errors else ([0.56, 1], [0, 0.44], [0, 0])
    layout: dict[str, Any] = {
        "xaxis": axis(
            "seconds since the window began",
            range=[0, rounded(1.02 * those.end_s)],
            anchor="y3" if with_errors else "y2",
        ),
        "yaxis": axis(sent.per_s, rangemode="tozero", domain=domains[0]),
        "yaxis2": logarithmic("service time, ms", *ends(times)) | {"domain": domains[1]},
    }
    if with_errors:
        bars = line("errors", x, those.errors_per_s, BAD, span + "%{y:,.3r} errors/s", yaxis="y3")
        data.append(
            bars | {"type": "bar", "marker": {"color": BAD}, "mode": None, "line": None, "width": those.width_s}
        )
        layout["yaxis3"] = axis("errors/s", rangemode="tozero", domain=domains[2])
    return [{key: value for key, value in trace.items() if value is not None} for trace in data], layout


def _heatmap(those: Columns, sent: Counted) -> tuple[list[Json], Json]:
    edges = [
        10 ** (bucket / SHAPE_PER_DECADE) / 1e3
        for bucket in range(those.lowest_bucket, those.lowest_bucket + len(those.heat) + 1)
    ]
    trace: Json = {
        "type": "heatmap",
        "x": [*those.at_s, rounded(those.end_s)],
        "y": [float(f"{edge:.4g}") for edge in edges],
        # The page's script colours the logarithm, so that rare slow requests can be seen.
        "z": those.heat,
        "meta": "counts",
        "hovertemplate": "%{x} s, %{y:.3r} ms: %{customdata:,} " + f"{sent.many}<extra></extra>",
        "colorbar": {
            "title": {"text": sent.many},
            "thickness": 10,
            "tickvals": [0, 1, 2, 3, 4, 5, 6, 7],
            "ticktext": ["1", "10", "100", "1k", "10k", "100k", "1M", "10M"],
        },
    }
    layout = {
        "xaxis": axis("seconds since the window began"),
        "yaxis": logarithmic("service time, ms", edges[0], edges[-1]),
        "hovermode": "closest",
    }
    return [trace], layout


def usage(trials: Sequence[Trial], names: Sequence[str]) -> list[Figure]:
    """Return what server and hosts used over time, a view for each case: means over its trials."""
    server, hosts = [], []
    for name in names:
        own = [trial for trial in trials if trial.facts.case.name == name and trial.metrics is not None][:MOST_POINTS]
        series = [trial.facts.server.series for trial in own if trial.facts.server.series.get("cpu_us")]
        if series:
            server.append(View(name, *_server(series)))
        for service in dict.fromkeys(service.name for trial in own for service in trial.facts.services):
            of_service = [each.series for trial in own for each in trial.facts.services if each.name == service]
            if used_by_service := [one for one in of_service if one.get("cpu_us")]:
                server.append(View(f"{name}, service {service}", *_server(used_by_service)))
        used: dict[str, list[Mapping[str, list[float]]]] = {}
        for trial in own:
            for use in trial.facts.hosts:
                used.setdefault(use.host, []).append(use.series)
        data, layout = _hosts(used)
        if data:
            hosts.append(View(name, data, layout))
    what = "the server and its services" if any(trial.facts.services for trial in trials) else "the server"
    figures = [Figure("server", f"CPU and memory of {what} over time", server, 380, "case")] if server else []
    return [*figures, *([Figure("hosts", "CPU of the hosts over time", hosts, 320, "case")] if hosts else [])]


def _server(series: Sequence[Mapping[str, list[float]]]) -> tuple[list[Json], Json]:
    span = "%{x} s: "
    cores = [value / 1e6 for value in _means(series, "cpu_us")]
    mib = [value / 2**20 for value in _means(series, "memory_bytes")]
    x = _means(series, "at_s")
    data = [
        line("CPU", x, cores, PALETTE[0], span + "%{y:.3r} cores"),
        line("memory", x, mib, PALETTE[4], span + "%{y:.3r} MiB", yaxis="y2"),
    ]
    throttled = [value / 1e6 for value in _means(series, "throttled_us")]
    if any(throttled):
        data.insert(1, line("throttled", x, throttled, BAD, span + "throttled %{y:.3r} s per second"))
    return data, {
        "xaxis": axis("seconds since the window began", rangemode="tozero", anchor="y2"),
        "yaxis": axis("cores", rangemode="tozero", domain=[0.56, 1]),
        "yaxis2": axis("memory, MiB", rangemode="tozero", domain=[0, 0.44]),
    }


def _hosts(used: Mapping[str, Sequence[Mapping[str, list[float]]]]) -> tuple[list[Json], Json]:
    data = []
    for i, (host, series) in enumerate(used.items()):
        # A load that is over before the second sample has none.
        if not (x := _means(series, "at_s")):
            continue
        busy = [100 * value for value in _means(series, "busy_share")]
        steal = [100 * value for value in _means(series, "steal_share")]
        data.append(line(f"{host}: busy", x, busy, colour(i), "%{x} s: %{y:.3r} % of its cores busy"))
        if max(steal, default=0) >= 1:
            dotted = {"color": colour(i), "width": 2, "dash": "dot"}
            data.append(line(f"{host}: other VMs", x, steal, colour(i), "%{x} s: %{y:.3r} % taken") | {"line": dotted})
    return data, {
        "xaxis": axis("seconds since the load began", rangemode="tozero"),
        "yaxis": axis("CPU, %", range=[0, 104]),
    }


def _means(series: Sequence[Mapping[str, list[float]]], column: str) -> list[float]:
    """Return the mean of a column, sample by sample; trials with fewer samples end earlier."""
    rows = [own[column] for own in series if own.get(column)]
    longest = max(map(len, rows), default=0)
    return [sum(row[i] for row in rows if i < len(row)) / sum(i < len(row) for row in rows) for i in range(longest)]


def _ms(us: float | None) -> float | None:
    return None if us is None or not math.isfinite(us) else us / 1e3
