"""The answer of a search for capacity, its probes and its curve; for the terminal and for other pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.generators.contract import Arrivals
from orchestrator.analyse.capacity import in_words, within
from orchestrator.analyse.people import digits, lasting, rate, several
from orchestrator.counted import counted
from orchestrator.report import curve
from orchestrator.report.answer import target_of
from orchestrator.report.format import milliseconds, objective
from orchestrator.report.layout import Cell, Column, grid, wrapped
from orchestrator.report.requests import status_codes
from orchestrator.result import Probe, Saturation, Time
from orchestrator.search.records import Kind
from orchestrator.slo import Metric

SHOWN_TIMES = (Metric.P50, Metric.P90, Metric.P99)
_NEEDS = {Metric.P50: 1, Metric.P90: 4, Metric.P95: 6, Metric.P99: 0, Metric.P999: 5, Metric.MAX: 7}
_ARRIVALS = {Arrivals.EVEN: "even arrivals", Arrivals.POISSON: "random (Poisson) arrivals"}
_KINDS = {Kind.REFERENCE: "light"}


def render(searches: Sequence[Saturation], width: int) -> list[Any]:
    """Return what rich prints below the answers: for each target its limit, the curve and the probes."""
    lines: list[Any] = []
    for search in searches:
        lines += ["", *([f"{target_of(search)}"] if len(searches) > 1 else []), *_facts(search, width)]
        drawn = curve.drawn(curve.curve_of(search), width)
        lines += ["", *drawn.split("\n")] if drawn.plain else []
        lines += _probes(search, width)
        began = f"In the closed loop, as fast as it can, it answered {_start(search)}."
        how = [began, f"{valid_for(search)}." if valid_for(search) else ""]
        lines += ["", *wrapped(" ".join(how).strip(), width, "  ")] if search.curve else []
    return lines


def _facts(search: Saturation, width: int) -> list[str]:
    took = "" if search.took_s is None else f", {lasting(search.took_s)}"
    parts = [*limit_reached(search), *statuses_of(search), f"{several(search.probes, 'probe', 'probes')}{took}"]
    line = "  " + "      ".join(parts)
    return [line] if len(line) <= width else [line for part in parts for line in wrapped(part, width, "  ", "    ")]


def _probes(search: Saturation, width: int) -> list[Any]:
    """Return the table of probes, in the order of their rates; equal ones share a row.

    Light loads are left out: they show whether the server has recovered, and nothing about a rate.
    """
    alike: dict[tuple[str, str, str], list[Probe]] = {}
    for probe in by_rate(search):
        if probe.kind != Kind.REFERENCE:
            alike.setdefault((rate_of(probe), kind(probe), _met_briefly(probe)), []).append(probe)
    rows = [(max(equal, key=_p99), len(equal)) for equal in alike.values()]
    probes = [probe for probe, _ in rows]
    repeated = any(number > 1 for _, number in rows)
    columns = [
        Column("asked", "/s", [rate_of(probe) for probe in probes]),
        Column("kind", "", [kind(probe) for probe in probes], 2, left=True),
        Column("probes", "", [str(number) if repeated else "" for _, number in rows], 3),
        Column("answered", "/s", [_digits(answered(probe)) for probe in probes], 1),
        *(_time(name, probes) for name in _NEEDS),
        Column("errors", "%", [_errors(probe) for probe in probes], 3),
        Column("met", "", [_mark(probe) for probe in probes], left=True),
    ]
    table = ["", *grid(columns, width)] if probes else []
    return [*table, *wrapped("Of equal probes the slowest is shown.", width, "  ")] if repeated else table


def _p99(probe: Probe) -> float:
    return probe.response_time_us.get(Metric.P99) or 0.0


def _time(name: Metric, probes: Sequence[Probe]) -> Column:
    values = [probe.response_time_us.get(name) for probe in probes]
    shown = ["" if value is None else milliseconds(value) for value in values]
    return Column(name.label, f"{Time.RESPONSE}, ms", shown, _NEEDS[name])


def rate_of(probe: Probe) -> str:
    """Return the rate of a probe; the search chose it, so that three digits are enough."""
    return rate(probe.rate_per_s) if probe.rate_per_s == round(probe.rate_per_s) else digits(probe.rate_per_s)


def kind(probe: Probe) -> str:
    """Return what a probe was for."""
    return _KINDS.get(probe.kind, str(probe.kind))


def answered(probe: Probe) -> float | None:
    """Return what the server answered in time, per second."""
    return probe.throughput_per_s if probe.answered_per_s is None else probe.answered_per_s


def _digits(value: float | None) -> str:
    return "" if value is None else digits(value)


def _errors(probe: Probe) -> str:
    """Return the share of errors in per cent; empty for none, so that a search without errors has no column."""
    return "" if not probe.error_share else digits(100 * probe.error_share)


def _mark(probe: Probe) -> Cell:
    return _met_briefly(probe), curve.COLOURS[curve.state_of(probe)]


def by_rate(search: Saturation) -> list[Probe]:
    """Return the probes in the order of their rates."""
    return sorted(search.curve, key=lambda probe: probe.rate_per_s)


def answers(search: Saturation) -> list[str]:
    """Return the answer in sentences: the capacity, what limits it, and how it was found."""
    return [
        f"{search.target}: {search.slo}: {in_words(search)}",
        *([f"{search.target}: {' · '.join(limit)}"] if (limit := limit_reached(search)) else []),
        f"{search.target}: {measured_how(search)}",
    ]


def measured_how(search: Saturation) -> str:
    """Return how the answer was found, and for which arrivals and windows it is."""
    found = f"{several(search.probes, 'probe', 'probes')}; {_start(search)} in the closed loop"
    return ". ".join(part for part in (found, valid_for(search)) if part)


def _start(search: Saturation) -> str:
    return f"{digits(search.start_per_s)} {counted([search.protocol]).per_s}"


def valid_for(search: Saturation) -> str:
    """Return for which arrivals and windows an answer is, in sentences; empty without a probe."""
    probes = [probe for probe in search.curve if probe.kind == Kind.PROBE]
    if not probes:
        return ""
    sent = counted([search.protocol]).one
    arrivals = " and ".join(dict.fromkeys(_ARRIVALS[probe.arrivals] for probe in probes))
    windows = _range([probe.window_s for probe in probes if probe.window_s is not None])
    soaks = _range([probe.window_s for probe in search.curve if probe.kind == Kind.SOAK and probe.window_s is not None])
    soaked = f", a soak of {soaks}" if soaks else ", no soak"
    return (
        f"The answer is for {arrivals}, windows of {windows or 'no length'}{soaked}. Capacity is the highest "
        f"rate that meets the objective in the long run. Response times count from when a {sent} is due"
    )


def _range(lengths_s: Sequence[float]) -> str:
    if not lengths_s:
        return ""
    low, high = digits(min(lengths_s)), digits(max(lengths_s))
    return f"{low} s" if low == high else f"{low} to {high} s"


def limit_reached(search: Saturation) -> list[str]:
    """Return the objective that failed first, and the bottleneck; nothing if no objective failed."""
    if search.gave_way is None:
        return []
    return [f"limit reached: {objective(search.gave_way)}", f"bottleneck: {search.resource or 'unknown'}"]


def statuses_of(search: Saturation) -> list[str]:
    """Return how the server answered over all probes; nothing for a search of an earlier version."""
    return [f"status {codes}"] if (codes := status_codes(search.statuses)) else []


def board(targets: Sequence[Saturation], last: str, lines: int) -> Any:
    """Return what is shown during a search, in so many lines; None where they are too few.

    A line for each target, and the curve of the one that was probed last.
    """
    from rich.text import Text

    height = min(curve.HEIGHT, lines - len(targets) - curve.BESIDE)
    if height < curve.LOWEST:
        return None
    shown = Text()
    for search in targets:
        if search.target == last and (drawn := curve.drawn(curve.curve_of(search), lines=height)).plain:
            shown.append_text(drawn).append("\n")
    names = "\n".join(
        f"{search.target}: {within(search)}, {several(search.probes, 'probe', 'probes')}" for search in targets
    )
    return shown.append(names)


def cells(probe: Probe, times: Sequence[Metric] = SHOWN_TIMES) -> list[str]:
    """Return the columns of a probe between its rate and whether it met the objectives, for report.html."""
    errors = "–" if probe.error_share is None else f"{digits(100 * probe.error_share)} %"
    values = (milliseconds(probe.response_time_us.get(name)) for name in times)
    return [kind(probe), _digits(answered(probe)), *values, errors]


def met(probe: Probe) -> str:
    """Return whether a probe met the objectives, and if not, which it missed."""
    if probe.limited_by is not None:
        return f"not counted ({probe.limited_by})"
    return "yes" if probe.passed else f"no: {', '.join(map(objective, probe.failed)) or probe.resource or 'failed'}"


def _met_briefly(probe: Probe) -> str:
    """Return the same in a narrow column: the first objective that was missed."""
    if probe.limited_by is not None:
        return f"limit: {probe.limited_by}"
    if probe.passed or not probe.failed:
        return met(probe).partition(":")[0]
    return f"no: {objective(probe.failed[0])}" + (f" +{len(probe.failed) - 1}" if probe.failed[1:] else "")
